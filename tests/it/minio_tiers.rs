//! A real transition and a real restore: two MinIO servers, where the first moves objects to the second by a lifecycle
//! rule, because its remote tiers have the names of S3's classes.

use std::process::Command;
use std::time::Duration;

use tier::clock::{Clock, Stopwatch};
use tier::model::{RestoreState, Retrieval, StorageClass};
use tier::store::{BucketFacts, BucketRule, ObjectLock, RestoreOutcome, Store};

use crate::support::server::{Server, program};
use crate::support::temp_file;

const KEY_ID: &str = "tieradmin";
const SECRET: &str = "tiersecret123";
const WAITS_AT_MOST_MS: u64 = 40_000;

fn start_minio() -> Server {
    Server::start(|port, folder| {
        let mut minio = program("TIER_TEST_MINIO_SERVER");
        minio.args(["server", "--quiet", "--address", &format!("127.0.0.1:{port}"), "--certs-dir"]);
        minio.arg(folder.path().join("certs")).arg(folder.path().join("data"));
        for (name, value) in [
            ("MINIO_ROOT_USER", KEY_ID),
            ("MINIO_ROOT_PASSWORD", SECRET),
            ("MINIO_CI_CD", "1"),
            ("MINIO_BROWSER", "off"),
            ("MINIO_UPDATE", "off"),
            ("MINIO_SCANNER_SPEED", "fastest"),
            ("MINIO_SCANNER_CYCLE", "5s"),
        ] {
            minio.env(name, value);
        }
        minio
    })
}

fn mc(hot: &Server, args: &[&str]) {
    let run = |args: &[&str]| {
        let mut command: Command = program("TIER_TEST_MC");
        command.arg("--config-dir").arg(hot.folder.path().join("mc")).arg("--quiet").args(args);
        command.output().unwrap()
    };
    let started = Stopwatch::start();
    loop {
        let output = run(args);
        if output.status.success() {
            return;
        }
        // A server listens a moment before it is ready.
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(started.elapsed_ms() < WAITS_AT_MOST_MS, "mc {args:?}: {said}\n{}", hot.log());
        std::thread::sleep(Duration::from_millis(250));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_moves_a_tagged_bundle_to_another_server_and_a_restore_brings_it_back() {
    let (hot, cold) = (start_minio(), start_minio());
    for (alias, server) in [("hot", &hot), ("cold", &cold)] {
        mc(&hot, &["alias", "set", alias, &server.endpoint(), KEY_ID, SECRET]);
    }
    mc(&hot, &["mb", "hot/archive", "cold/backing"]);
    for class in ["GLACIER", "DEEP_ARCHIVE"] {
        let (endpoint, prefix) = (cold.endpoint(), format!("{class}/"));
        let server = ["--endpoint", &endpoint, "--access-key", KEY_ID, "--secret-key", SECRET];
        let place = ["--bucket", "backing", "--prefix", &prefix];
        mc(&hot, &[&["ilm", "tier", "add", "minio", "hot", class][..], &server, &place].concat());
    }
    let store = Store::open_s3_at(&hot.endpoint(), "archive", "prod", KEY_ID, SECRET).await.unwrap();
    let classes = store.classes();
    let file = temp_file(vec![7; 200_000]);

    let refused = classes.put_file("x", &file, StorageClass::DeepArchive, &[]).await.unwrap_err();
    assert_eq!(refused.stable_code(), "class-refused", "{refused:?}");
    assert!(refused.hint_text().unwrap().contains("mc ilm tier add"), "{refused:?}");

    let tag = ("tier-class".to_owned(), "DEEP_ARCHIVE".to_owned());
    let rule = BucketRule {
        id: "tier-deep".to_owned(),
        enabled: true,
        prefix: "prod/_bundles/".to_owned(),
        tags: vec![tag.clone()],
        transitions: vec![(0, StorageClass::DeepArchive)],
        ..BucketRule::default()
    };
    classes.put_rules(std::slice::from_ref(&rule)).await.unwrap();
    assert_eq!(classes.rules().await.unwrap(), [rule]);
    let (path, untagged) = ("_bundles/month=2026-08/a.parquet", "_bundles/month=2026-08/b.parquet");
    classes.put_file(untagged, &file, StorageClass::Standard, &[]).await.unwrap();
    store.put("events/c.parquet", "stays").await.unwrap();
    // A rule of day 0 may be quicker than the HEAD after the upload.
    classes.put_file(path, &file, StorageClass::Standard, &[tag]).await.unwrap();

    let started = Stopwatch::start();
    let moved = loop {
        let state = classes.look(path).await.unwrap().unwrap();
        if state.storage_class == StorageClass::DeepArchive {
            break state;
        }
        assert!(started.elapsed_ms() < WAITS_AT_MOST_MS, "{state:?}\n{}", hot.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert_eq!(moved.restore, RestoreState::None);
    assert_eq!(classes.look(untagged).await.unwrap().unwrap().storage_class, StorageClass::Standard);

    assert_eq!(classes.restore(untagged, 1, Retrieval::Bulk).await.unwrap(), RestoreOutcome::NotArchived);
    assert_eq!(classes.restore(path, 1, Retrieval::Bulk).await.unwrap(), RestoreOutcome::Started);
    let started = Stopwatch::start();
    // MinIO lists no restore status: the listing must find it out all the same.
    let restored = loop {
        let listed = classes.list("_bundles").await.unwrap();
        let state = listed.into_iter().find(|state| state.path == path).unwrap();
        if matches!(state.restore, RestoreState::Restored { .. }) {
            break state;
        }
        assert!(started.elapsed_ms() < WAITS_AT_MOST_MS, "{state:?}\n{}", hot.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert!(restored.is_readable(Clock::System.now()), "{restored:?}");
    assert_eq!(restored.storage_class, StorageClass::DeepArchive);
    assert_eq!(store.get(path).await.unwrap().len(), 200_000);
    assert_eq!(classes.restore(path, 3, Retrieval::Bulk).await.unwrap(), RestoreOutcome::Extended);
    classes.delete_all_versions(&[path.to_owned()]).await.unwrap();
    assert_eq!(classes.look(path).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_locked_bucket_holds_is_known_and_is_not_deleted() {
    let server = start_minio();
    mc(&server, &["alias", "set", "hot", &server.endpoint(), KEY_ID, SECRET]);
    mc(&server, &["mb", "hot/plain"]);
    mc(&server, &["mb", "--with-lock", "hot/locked"]);
    let open = async |bucket| Store::open_s3_at(&server.endpoint(), bucket, "", KEY_ID, SECRET).await.unwrap();
    let (plain, locked) = (open("plain").await, open("locked").await);
    assert_eq!(plain.classes().bucket().await.unwrap(), BucketFacts::default());
    assert_eq!(locked.classes().bucket().await.unwrap(), BucketFacts { versioned: true, object_lock: true });
    for store in [&plain, &locked] {
        for bytes in ["one", "two"] {
            store.put("x/y", bytes).await.unwrap();
        }
        assert_eq!(store.classes().lock("x/y").await.unwrap(), ObjectLock::default());
    }
    mc(&server, &["legalhold", "set", "hot/locked/x/y"]);
    assert!(locked.classes().lock("x/y").await.unwrap().legal_hold);
    let paths = ["x/y".to_owned()];
    let held = locked.classes().delete_all_versions(&paths).await.unwrap_err();
    assert_eq!(held.stable_code(), "object-locked", "{held:?}");
    mc(&server, &["legalhold", "clear", "hot/locked/x/y"]);
    for store in [&plain, &locked] {
        store.classes().delete_all_versions(&paths).await.unwrap();
        assert_eq!(store.classes().look("x/y").await.unwrap(), None);
        assert_eq!(store.classes().list("").await.unwrap(), []);
    }
}
