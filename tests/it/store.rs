//! One suite of the promises that the archive relies on, for every kind of store.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::Command;

use tempfile::TempDir;
use tier::store::{ClassTime, Location, PutOutcome, Store};
use tokio::runtime::Handle;

use crate::support::minio::{endpoint, fresh_store};
use crate::support::tier::{Tier, sample_data};

/// Above two parts of an upload, and not a multiple of one.
const LARGE: usize = (20 << 20) + 7;

async fn paths(store: &Store, prefix: &str, after: Option<&str>) -> BTreeSet<String> {
    store.list(prefix, after).await.unwrap().into_iter().map(|object| object.path).collect()
}

fn set(paths: &[&str]) -> BTreeSet<String> {
    paths.iter().map(|path| path.to_string()).collect()
}

async fn only_one_of_many_creates_an_object(store: &Store) {
    for round in 0..4 {
        let path = format!("_tier/root/{round:020}.parquet");
        let callers: Vec<_> = (0..16)
            .map(|caller| {
                let (store, path) = (store.clone(), path.clone());
                tokio::spawn(async move { store.put_if_absent(&path, format!("caller {caller}")).await.unwrap() })
            })
            .collect();
        let mut winners = Vec::new();
        for (caller, outcome) in callers.into_iter().enumerate() {
            if outcome.await.unwrap() == PutOutcome::Created {
                winners.push(format!("caller {caller}"));
            }
        }
        assert_eq!(winners.len(), 1, "{winners:?}");
        assert_eq!(store.get(&path).await.unwrap(), winners[0]);
        let again = store.put_if_absent(&path, "too late").await.unwrap();
        assert_eq!(
            (again, store.get(&path).await.unwrap().as_ref()),
            (PutOutcome::AlreadyExists, winners[0].as_bytes())
        );
    }
}

async fn what_is_not_there_is_none_and_deleting_it_is_fine(store: &Store) {
    assert_eq!(store.get_opt("_tier/nothing").await.unwrap(), None);
    assert_eq!(store.stat("_tier/nothing").await.unwrap(), None);
    assert_eq!(store.get("_tier/nothing").await.unwrap_err().stable_code(), "missing-object");
    assert_eq!(paths(store, "no/such/folder", None).await, set(&[]));
    store.put("d/1", "x").await.unwrap();
    store.put("d/2", "y").await.unwrap();
    for _ in 0..2 {
        store.delete(vec!["d/1".to_owned(), "d/never".to_owned()]).await.unwrap();
        assert_eq!(paths(store, "d", None).await, set(&["d/2"]));
    }
    store.put("d/2", "replaced").await.unwrap();
    assert_eq!(store.get("d/2").await.unwrap(), "replaced");
    store.delete(vec![]).await.unwrap();
}

async fn a_listing_can_begin_after_a_name(store: &Store) {
    for name in ["l/1", "l/2", "l/3/a", "l/3/b", "l10/x"] {
        store.put(name, name).await.unwrap();
    }
    assert_eq!(paths(store, "l", None).await, set(&["l/1", "l/2", "l/3/a", "l/3/b"]));
    assert_eq!(paths(store, "l", Some("l/2")).await, set(&["l/3/a", "l/3/b"]));
    assert_eq!(paths(store, "l", Some("l/3/b")).await, set(&[]));
    let listed = store.list("l/3", None).await.unwrap();
    assert!(listed.iter().all(|object| object.size_bytes == 5), "{listed:?}");
    let stat = store.stat("l/3/a").await.unwrap().unwrap();
    assert_eq!((stat.path.as_str(), stat.size_bytes), ("l/3/a", 5));
}

async fn a_part_of_an_object_can_be_read(store: &Store) {
    store.put("r/x", "0123456789").await.unwrap();
    assert_eq!(store.get_range("r/x", 2..5).await.unwrap(), "234");
    assert_eq!(store.get_range("r/x", 9..10).await.unwrap(), "9");
    assert_eq!(store.get_suffix("r/x", 10, 3).await.unwrap(), "789");
    assert_eq!(store.get_suffix("r/x", 10, 99).await.unwrap(), "0123456789");
}

/// Names as cells of odd tenants have them; each is its own object and comes back as it was written.
async fn odd_names_are_kept(store: &Store) {
    let names = [
        "events/tenant_id=名前/a.parquet",
        "events/tenant_id=a b/a.parquet",
        "events/tenant_id=%2e/a.parquet",
        "events/tenant_id=%252e/a.parquet",
        "events/tenant_id=a%3Db/a.parquet",
        "events/tenant_id=a%2Fb/a.parquet",
        "events/tenant_id=~/a.parquet",
        "events/tenant_id=é/a.parquet",
        "events/tenant_id=e\u{301}/a.parquet",
        "events/tenant_id=🦀/a.parquet",
        "events/tenant_id=a+b/a.parquet",
        "events/tenant_id=a&b;c,d@e!f$g(h)/a.parquet",
    ];
    for name in names {
        store.put(name, name).await.unwrap();
    }
    assert_eq!(paths(store, "events", None).await, set(&names));
    for name in names {
        assert_eq!(store.get(name).await.unwrap(), name);
        let folder = name.rsplit_once('/').unwrap().0;
        assert_eq!(paths(store, folder, None).await, set(&[name]));
    }
    store.delete(names.map(str::to_owned).to_vec()).await.unwrap();
    assert_eq!(paths(store, "events", None).await, set(&[]));
}

async fn a_written_object_appears_when_it_is_finished(store: &Store) {
    for size in [0, 10, LARGE] {
        let (store, runtime) = (store.clone(), Handle::current());
        let work = tokio::task::spawn_blocking(move || {
            let path = format!("w/{size}");
            let bytes: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            let mut writer = store.writer(&path, runtime.clone());
            for piece in bytes.chunks(3 << 20) {
                writer.write_all(piece).unwrap();
            }
            assert_eq!(runtime.block_on(store.get_opt(&path)).unwrap(), None, "{size}");
            assert_eq!(runtime.block_on(store.list("w", None)).unwrap().len(), 0, "{size}");
            assert_eq!(writer.finish().unwrap(), size as u64);
            assert!(runtime.block_on(store.get(&path)).unwrap() == bytes, "{size} bytes differ");
            // One that is given up never appears.
            let mut abandoned = store.writer("w/abandoned", runtime.clone());
            abandoned.write_all(&bytes).unwrap();
            drop(abandoned);
            let listed = runtime.block_on(store.list("w", None)).unwrap();
            assert_eq!(
                listed.iter().map(|o| (o.path.as_str(), o.size_bytes)).collect::<Vec<_>>(),
                [(&*path, size as u64)]
            );
            runtime.block_on(store.delete(vec![path])).unwrap();
        });
        work.await.unwrap();
    }
}

async fn keeps_its_promises(store: Store) {
    only_one_of_many_creates_an_object(&store).await;
    what_is_not_there_is_none_and_deleting_it_is_fine(&store).await;
    a_listing_can_begin_after_a_name(&store).await;
    a_part_of_an_object_can_be_read(&store).await;
    odd_names_are_kept(&store).await;
    a_written_object_appears_when_it_is_finished(&store).await;
    assert_eq!(store.temporary_files().await.unwrap_or_default(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_keeps_its_promises() {
    keeps_its_promises(Store::memory()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_local_folder_keeps_its_promises_whatever_its_name() {
    for name in ["archive", "not there yet/a b", "名前 %20 #1", "a%2Fb", "it's [odd]", "a~b"] {
        let folder = TempDir::new().unwrap();
        let store = Store::open(&Location::Local(folder.path().join(name)), ClassTime::default()).await.unwrap();
        keeps_its_promises(store).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_bucket_keeps_its_promises() {
    keeps_its_promises(fresh_store().await).await;
}

/// Runs the binary against a store of its own, over https with a certificate that only `AWS_CA_BUNDLE` knows.
#[test]
fn https_works_with_the_ca_bundle_and_fails_clearly_without_it() {
    endpoint();
    let tier = Tier::new();
    let script = "set -u
        ca=$AWS_CA_BUNDLE
        env=(env -i HOME=\"$TIER_HOME\" AWS_ENDPOINT_URL=\"$AWS_ENDPOINT_URL\" AWS_REGION=\"$AWS_REGION\"
            AWS_ACCESS_KEY_ID=\"$AWS_ACCESS_KEY_ID\" AWS_SECRET_ACCESS_KEY=\"$AWS_SECRET_ACCESS_KEY\"
            AWS_EC2_METADATA_DISABLED=true NO_PROXY=127.0.0.1)
        \"${env[@]}\" AWS_CA_BUNDLE=\"$ca\" \"$TIER\" archive \"$SAMPLE\" --archive s3://events/a || exit 1
        \"${env[@]}\" AWS_CA_BUNDLE=/no/such/file \"$TIER\" status --archive s3://events/a; echo \"missing: $?\"
        \"${env[@]}\" \"$TIER\" status --archive s3://events/a; echo \"without: $?\"
        \"${env[@]}\" AWS_CA_BUNDLE=\"$ca\" \"$TIER\" status --archive s3://events/a; echo \"with: $?\"";
    let minio = concat!(env!("CARGO_MANIFEST_DIR"), "/infra/minio.sh");
    let output = Command::new(minio)
        .args(["run", "--tls", "bash", "-c", script])
        .env("TIER", env!("CARGO_BIN_EXE_tier"))
        .env("SAMPLE", sample_data())
        .env("TIER_HOME", tier.folder.path())
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    let codes: Vec<&str> = stdout
        .lines()
        .filter(|line| ["missing", "without", "with"].iter().any(|w| line.starts_with(&format!("{w}: "))))
        .collect();
    assert_eq!(codes, ["missing: 2", "without: 6", "with: 0"], "{stdout}\n{stderr}");
    assert!(stderr.contains("AWS_CA_BUNDLE /no/such/file"), "{stderr}");
    assert!(stderr.to_lowercase().contains("certificate"), "{stderr}");
}
