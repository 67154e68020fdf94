//! What killed runs leave behind, and what takes it away.

use std::time::Duration;

use tier::archive;
use tier::catalog::{Change, LeafRef, Operation, Snapshot, commit};
use tier::clock::Clock;
use tier::error::Kind;
use tier::store::{ClassTime, Layout, Location, Store};
use tier::vacuum;

use crate::support::fault::{Fault, FaultStore, Plan};
use crate::support::lab::{Lab, check_versions, context, full, line, lines, objects, rows};
use crate::support::tier::Tier;

const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// Objects are as old as the store says; only the clock can be set.
fn in_days(ctx: &tier::context::Context, days: i64) -> tier::context::Context {
    let mut later = ctx.clone();
    let now = Clock::System.now();
    later.clock = Clock::Fixed(now + jiff::SignedDuration::from_hours(24 * days));
    later
}

/// Dies at its `at`th change.
async fn die(store: &Store, lab: &Lab, name: &str, at: u64) {
    let plan = Plan::new(Fault::Death, at);
    let dying = store.decorated(|inner| FaultStore::over(inner, plan));
    archive::archive(&context(dying), &lab.request(&[name])).await.expect_err("it dies");
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_and_reverted_files_go_when_the_grace_is_over() {
    let mut lab = Lab::new();
    // Versions as old as the objects, whose times are the store's.
    lab.ctx.clock = Clock::System;
    let store = lab.ctx.store.clone();
    lab.write("a.ndjson", lines(0..20) + "{\n");
    lab.write("b.ndjson", line("x", "2026-08-25T12:00:00Z", "") + "\n{");
    // Dead before its commit: data, dead letters and leaves are there, no root.
    die(&store, &lab, "a.ndjson", 6).await;
    let orphans = objects(&store).await;
    assert!(orphans.iter().any(|path| path.starts_with("events/")), "{orphans:?}");
    lab.archive(&["a.ndjson"]).await;
    lab.archive(&["b.ndjson"]).await;
    archive::revert(&lab.ctx, 2).await.unwrap();
    let (before, expected) = (objects(&store).await, rows(&store).await);
    let young = vacuum::plan(&in_days(&lab.ctx, 6), &vacuum::Retention::of(WEEK)).await.unwrap();
    assert_eq!((young.orphans.sum.objects, young.young > 0), (0, true));
    let report = vacuum::apply(&in_days(&lab.ctx, 6), &young).await.unwrap();
    assert_eq!((report.deleted, report.version), (0, None));
    assert_eq!(objects(&store).await, before);

    let old = vacuum::plan(&in_days(&lab.ctx, 8), &vacuum::Retention::of(WEEK)).await.unwrap();
    assert_eq!(objects(&store).await, before, "a plan deletes nothing");
    let reverted = Snapshot::at_version(&store, 2).await.unwrap();
    let of_reverted: Vec<LeafRef> =
        reverted.root().leaves.iter().filter(|leaf| leaf.added_version == 2).cloned().collect();
    let files = reverted.files(|leaf| leaf.added_version == 2).await.unwrap();
    let mut expected_doomed: Vec<String> = orphans.into_iter().filter(|path| path != Layout::TABLE).collect();
    expected_doomed.extend(of_reverted.iter().flat_map(|leaf| [leaf.path.clone(), leaf.audit_path()]));
    expected_doomed.extend(files.into_iter().map(|file| file.path));
    let letters = reverted.root().document.dead_letters.iter().filter(|file| file.version == 2);
    expected_doomed.extend(letters.map(|file| file.path.clone()));
    expected_doomed.sort_unstable();
    let found: Vec<String> = old.orphans.iter().map(|orphan| orphan.unwrap().path).collect();
    let mut doomed: Vec<&str> = found.iter().map(String::as_str).collect();
    doomed.sort_unstable();
    assert_eq!((doomed.clone(), old.expires.clone()), (expected_doomed.iter().map(String::as_str).collect(), vec![2]));
    let report = vacuum::apply(&in_days(&lab.ctx, 8), &old).await.unwrap();
    assert_eq!((report.deleted, report.version), (doomed.len() as u64, Some(4)));
    let left: Vec<String> = objects(&store).await.into_iter().filter(|path| *path != Layout::root(4)).collect();
    let expected_left: Vec<String> = before.into_iter().filter(|path| !doomed.contains(&path.as_str())).collect();
    assert_eq!(left, expected_left);
    assert_eq!(rows(&store).await, expected);
    check_versions(&store).await;
    let error = Snapshot::at_version(&store, 2).await.expect_err("its file is gone");
    assert_eq!((error.stable_code(), error.kind()), ("expired-version", Kind::Usage), "{}", full(&error));
    assert_eq!(Snapshot::at_version(&store, 1).await.unwrap().root().leaves.rows(), 20, "it has all of its files");
    let runs = tier::status::status(&Snapshot::open(&store).await.unwrap()).await.unwrap().last_runs;
    let kinds: Vec<_> = runs.iter().map(|run| (run.version, run.operation.kind.as_str())).collect();
    assert_eq!(kinds, [(4, "vacuum"), (3, "revert"), (2, "append"), (1, "append")], "what it did is still known");
    let again = vacuum::plan(&in_days(&lab.ctx, 8), &vacuum::Retention::of(WEEK)).await.unwrap();
    assert_eq!((again.orphans.sum.objects, again.young), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_behind_the_store_does_not_make_young_files_old() {
    let lab = Lab::new();
    lab.write("a.ndjson", lines(0..20));
    die(&lab.ctx.store, &lab, "a.ndjson", 4).await;
    lab.archive(&["a.ndjson"]).await;
    let plan = vacuum::plan(&in_days(&lab.ctx, -30), &vacuum::Retention::of(WEEK)).await.unwrap();
    assert_eq!((plan.orphans.sum.objects, plan.young > 0), (0, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_begun_below_the_floor_is_refused() {
    let lab = Lab::new();
    let store = lab.ctx.store.clone();
    lab.write("a.ndjson", lines(0..20));
    lab.write("b.ndjson", lines(20..40));
    lab.archive(&["a.ndjson"]).await;
    // A run that reads version 1 and stops there for a week.
    let base = Snapshot::open(&store).await.unwrap();
    die(&store, &lab, "b.ndjson", 2).await;
    let later = in_days(&lab.ctx, 8);
    let report =
        vacuum::apply(&later, &vacuum::plan(&later, &vacuum::Retention::of(WEEK)).await.unwrap()).await.unwrap();
    assert_eq!((report.deleted > 0, report.version), (true, Some(2)));
    let layout = Layout::for_run(base.version(), &lab.ctx.random.id());
    let change = Change::new(Operation::new("append", base.version()));
    let error = commit(&lab.ctx, Some(&base), &layout, change).await.expect_err("it began too early");
    assert_eq!((error.kind(), error.kind().exit_code()), (Kind::TryAgain, 6), "{}", full(&error));
    assert_eq!(Snapshot::open(&store).await.unwrap().version(), 2);
    lab.archive(&["b.ndjson"]).await;
    assert_eq!(rows(&store).await.len(), 40);
}

/// Half-written files of a local archive, and files of other people.
#[tokio::test(flavor = "multi_thread")]
async fn the_binary_removes_unfinished_writes_and_leaves_foreign_files_alone() {
    let tier = Tier::new();
    tier.write("a.ndjson", lines(0..20));
    tier.ok(&["archive", "a.ndjson", "--archive", "archive"]);
    let cell = "archive/events/date=2026-08-24/event_type=login/tenant_id=acme";
    let orphan = format!("{cell}/00000000000000000000-0123456789abcdef-0.parquet");
    let unfinished = [format!("{orphan}#1"), "archive/_tier/root/.00000000000000000002.parquet.4711.0".to_owned()];
    let foreign = [format!("{cell}/theirs.parquet"), "archive/_tier/notes.txt".to_owned()];
    for path in unfinished.iter().chain(&foreign).chain([&orphan]) {
        tier.write(path, "x");
    }
    let now = Clock::System.now();
    let at = |days: i64| (now + jiff::SignedDuration::from_hours(24 * days)).to_string();
    let young = tier.json(&["vacuum", "--dry-run", "--archive", "archive", "--now", &at(6)]);
    assert_eq!((&young["orphans"], &young["young"]), (&serde_json::json!([]), &serde_json::json!(1)));
    let plan = tier.json(&["vacuum", "--dry-run", "--archive", "archive", "--now", &at(8)]);
    assert_eq!((plan["orphans"].as_array().unwrap().len(), plan["temporary"].as_array().unwrap().len()), (1, 2));
    assert!(tier.path(&orphan).exists());
    let unasked = tier.run(&["vacuum", "--archive", "archive", "--now", &at(8)]);
    assert_eq!(unasked.code, Some(2), "{unasked:#?}");
    let report = tier.json(&["vacuum", "--yes", "--archive", "archive", "--now", &at(8)]);
    assert_eq!(report["deleted"], 3);
    assert!(unfinished.iter().chain([&orphan]).all(|path| !tier.path(path).exists()));
    assert!(foreign.iter().all(|path| tier.path(path).exists()));
    let store = Store::open(&Location::Local(tier.path("archive")), ClassTime::default()).await.unwrap();
    std::fs::remove_file(tier.path(&foreign[0])).unwrap();
    assert_eq!(rows(&store).await.len(), 20);
}
