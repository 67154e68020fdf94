//! What a machine keeps of a bucket's catalog: fewer requests, never another answer.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tier::store::{Cache, ClassTime, Layout, Store};

use crate::support::lab::lines;
use crate::support::minio::fresh_address;
use crate::support::tier::Tier;

const COUNT: &str = "SELECT count(*) AS n FROM events";
/// Planned from a leaf, answered without reading data.
const OF_A_KEY: &str = "SELECT count(*) AS n FROM events WHERE tenant_id <> 'nobody'";

struct Asked {
    answer: String,
    list: u64,
    get: u64,
}

fn ask(tier: &Tier, address: &str, sql: &str, more: &[&str]) -> Asked {
    let args = ["query", sql, "--archive", address, "--report", "report.json"];
    let answer = tier.ok(&[&args[..], more].concat()).stdout;
    let report: Value = serde_json::from_slice(&fs::read(tier.path("report.json")).unwrap()).unwrap();
    let requests = |kind: &str| report["requests"][kind].as_u64().unwrap();
    Asked { answer, list: requests("list"), get: requests("get") }
}

fn entries(tier: &Tier) -> Vec<PathBuf> {
    let folder = tier.folder.path().join("home/.cache/tier/catalog");
    let inside = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut entries: Vec<PathBuf> = inside(folder).flat_map(inside).collect();
    entries.sort();
    entries
}

fn archived(ids: std::ops::Range<u32>) -> (Tier, String) {
    let (tier, address) = (Tier::with_s3(), fresh_address());
    tier.write("a.ndjson", lines(ids));
    tier.ok(&["archive", "a.ndjson", "--archive", &address]);
    tier.ok(&["cache", "--clear"]);
    (tier, address)
}

#[test]
fn the_second_question_is_planned_with_one_request() {
    let (tier, address) = archived(0..600);
    for sql in [COUNT, OF_A_KEY] {
        let first = ask(&tier, &address, sql, &[]);
        let second = ask(&tier, &address, sql, &[]);
        assert_eq!((first.answer.as_str(), second.answer.as_str()), ("n\n600\n", "n\n600\n"));
        assert!(first.get > 0, "{sql}");
        assert_eq!((second.list, second.get), (1, 0), "{sql}");
        let without = ask(&tier, &address, sql, &["--no-cache"]);
        assert_eq!((without.answer.as_str(), without.get > 0), ("n\n600\n", true), "{sql}");
    }
}

#[test]
fn a_newer_version_is_seen_at_once() {
    let (tier, address) = archived(0..600);
    ask(&tier, &address, OF_A_KEY, &[]);
    tier.write("b.ndjson", lines(600..700));
    // By a machine with another cache.
    tier.ok(&["archive", "b.ndjson", "--archive", &address, "--no-cache"]);
    let next = ask(&tier, &address, OF_A_KEY, &[]);
    // The new root and its leaf; what the old root named is here.
    assert_eq!((next.answer.as_str(), next.list, next.get), ("n\n700\n", 1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_archive_at_the_same_address_is_no_longer_the_old_one() {
    let (tier, address) = archived(0..600);
    ask(&tier, &address, COUNT, &[]);
    let store = Store::open(&address.parse().unwrap(), ClassTime::default()).await.unwrap();
    let all = store.list("", None).await.unwrap().into_iter().map(|object| object.path).collect();
    store.delete(all).await.unwrap();
    tier.write("b.ndjson", lines(0..50));
    tier.ok(&["archive", "b.ndjson", "--archive", &address, "--no-cache"]);
    assert_eq!(store.list(Layout::ROOTS, None).await.unwrap().len(), 1, "the same version, another root");
    assert_eq!(ask(&tier, &address, COUNT, &[]).answer, "n\n50\n");
    assert_eq!(ask(&tier, &address, OF_A_KEY, &[]).answer, "n\n50\n");
}

#[test]
fn a_damaged_entry_is_found_out_and_read_anew() {
    let (tier, address) = archived(0..600);
    ask(&tier, &address, OF_A_KEY, &[]);
    let whole: Vec<(PathBuf, Vec<u8>)> =
        entries(&tier).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    assert!(whole.len() >= 3, "the newest version's number, its root and its leaf: {whole:?}");
    for (path, bytes) in &whole {
        let mut flipped = bytes.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for damaged in [&flipped[..], &bytes[..bytes.len() / 2], &[]] {
            fs::write(path, damaged).unwrap();
            assert_eq!(ask(&tier, &address, OF_A_KEY, &[]).answer, "n\n600\n");
            assert_eq!(&fs::read(path).unwrap(), bytes, "it is whole again");
        }
    }
}

#[test]
fn verify_looks_at_the_store_and_not_at_the_cache() {
    let (tier, address) = archived(0..600);
    ask(&tier, &address, OF_A_KEY, &[]);
    let before = entries(&tier);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = Store::open(&address.parse().unwrap(), ClassTime::default()).await.unwrap();
        let leaf = store.list("_tier/leaf", None).await.unwrap().into_iter().find(|leaf| !leaf.path.contains("audit"));
        store.put(&leaf.unwrap().path, "damaged").await.unwrap();
    });
    // The question is answered right, from the copy that is right.
    assert_eq!(ask(&tier, &address, OF_A_KEY, &[]).answer, "n\n600\n");
    let verified = tier.run(&["verify", "--archive", &address]);
    assert_ne!(verified.code, Some(0), "{verified:#?}");
    assert_eq!(entries(&tier), before);
}

#[test]
fn it_is_shown_and_cleared_and_a_local_archive_needs_none() {
    let (tier, address) = archived(0..600);
    ask(&tier, &address, OF_A_KEY, &[]);
    let shown = tier.json(&["cache"]);
    assert_eq!(shown["objects"].as_u64().unwrap() as usize, entries(&tier).len());
    assert_eq!((shown["max_bytes"].as_u64(), shown["cleared"].as_bool()), (Some(1 << 30), Some(false)));
    let cleared = tier.json(&["cache", "--clear"]);
    assert_eq!((&cleared["objects"], &cleared["bytes"]), (&shown["objects"], &shown["bytes"]));
    assert_eq!(entries(&tier), Vec::<PathBuf>::new());
    tier.ok(&["archive", "a.ndjson", "--archive", "local"]);
    tier.ok(&["query", COUNT, "--archive", "local"]);
    assert_eq!(entries(&tier), Vec::<PathBuf>::new());
    let off = tier.run(&["cache", "--no-cache"]);
    assert_eq!(off.code, Some(2), "{off:#?}");
}

#[test]
fn it_stays_within_its_bound_and_lets_go_of_what_was_not_used_for_longest() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::new(folder.path().join("cache"), 1 << 20);
    let bytes = vec![7; 1_000];
    for number in 0..3_000 {
        cache.keep(&format!("entry {number}"), &bytes);
        assert_eq!(cache.get(&format!("entry {number}")).as_deref(), Some(&bytes[..]));
        assert!(cache.get("entry 0").is_some(), "used all the time, gone after {number}");
    }
    let sum = cache.sum().unwrap();
    assert!(sum.bytes <= 1 << 20, "{sum:?}");
    assert!(sum.objects > 800, "{sum:?}");
    // What is larger than a folder's share would push everything else out.
    cache.keep("large", &vec![1; 1 << 19]);
    assert_eq!(cache.get("large"), None);
    assert_eq!(cache.clear().unwrap(), sum);
    assert_eq!(cache.get("entry 0"), None);
}
