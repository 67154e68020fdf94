//! What a hold, a pin, a live run or an as-of root needs stays, and goes when the reason goes.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::SignedDuration;
use tier::archive;
use tier::catalog::{Change, Lease, Operation, Outcome, Snapshot, commit};
use tier::clock::Clock;
use tier::compact::{self, Bound, Planner, Policy};
use tier::context::Context;
use tier::error::Kind;
use tier::lifecycle;
use tier::model::{DateRange, Hold, Prices};
use tier::store::{ClassTime, Layout, Location, Store};
use tier::vacuum::{self, Need, Pin, Retention, VacuumPlan};

use crate::support::events;
use crate::support::fault::{Fault, FaultStore, Plan};
use crate::support::lab::{Lab, check_versions, context, line, lines, objects, rows};
use crate::support::tier::Tier;

const DAY: u64 = 86_400;
const WEEK: Duration = Duration::from_secs(7 * DAY);

/// Objects are as old as the store says; only the clock can be set.
fn in_days(ctx: &Context, days: i64) -> Context {
    Context { clock: Clock::Fixed(Clock::System.now() + SignedDuration::from_hours(24 * days)), ..ctx.clone() }
}

fn paths(plan: &VacuumPlan) -> BTreeSet<String> {
    plan.orphans.iter().map(|orphan| orphan.unwrap().path).collect()
}

async fn files(lab: &Lab, version: u64) -> BTreeSet<String> {
    let snapshot = Snapshot::at_version(&lab.ctx.store, version).await.unwrap();
    snapshot.files(|_| true).await.unwrap().into_iter().map(|file| file.path).collect()
}

/// Version 1: twenty events of acme; 2: one of acme and one of globex on the next day; 3: version 2 is reverted. With the
/// files that only version 2 has.
async fn reverted() -> (Lab, BTreeSet<String>) {
    let mut lab = Lab::new();
    lab.ctx.clock = Clock::System;
    lab.write("a.ndjson", lines(0..20));
    let late = line("x", "2026-08-25T12:00:00Z", "") + "\n";
    lab.write("b.ndjson", late.clone() + &late.replace("acme", "globex"));
    lab.archive(&["a.ndjson"]).await;
    lab.archive(&["b.ndjson"]).await;
    archive::revert(&lab.ctx, 2).await.unwrap();
    let all = files(&lab, 2).await;
    let of_2: BTreeSet<String> = all.difference(&files(&lab, 1).await).cloned().collect();
    assert_eq!(of_2.len(), 2, "{of_2:?}");
    (lab, of_2)
}

/// Deletes what the plan says, and looks at all that is left.
async fn apply(ctx: &Context, plan: &VacuumPlan) {
    let expected = rows(&ctx.store).await;
    vacuum::apply(ctx, plan).await.unwrap();
    assert_eq!(rows(&ctx.store).await, expected);
    check_versions(&ctx.store).await;
    let left: BTreeSet<String> = objects(&ctx.store).await.into_iter().collect();
    for version in Snapshot::open(&ctx.store).await.unwrap().versions().await.unwrap() {
        if let Ok(snapshot) = Snapshot::at_version(&ctx.store, version).await {
            for file in snapshot.files(|_| true).await.unwrap() {
                assert!(left.contains(&file.path), "version {version} lacks {}", file.path);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_legal_hold_keeps_what_was_removed_before_it_and_not_deleted_yet() {
    let (lab, of_2) = reverted().await;
    let hold = |id: &str, tenant: &str| Hold {
        id: id.into(),
        tenants: vec![tenant.into()],
        event_types: Vec::new(),
        from: None,
        to: None,
        reason: "lawsuit".into(),
        since: lab.ctx.now(),
    };
    lifecycle::add_hold(&lab.ctx, hold("nobody", "initech")).await.unwrap();
    let later = in_days(&lab.ctx, 8);
    let goes = vacuum::plan(&later, &Retention::of(WEEK)).await.unwrap();
    assert_eq!((goes.kept.len(), paths(&goes).is_superset(&of_2)), (0, true), "a hold on others keeps nothing");
    lifecycle::add_hold(&lab.ctx, hold("H7", "globex")).await.unwrap();
    let refused = vacuum::apply(&later, &goes).await.expect_err("a hold has come between");
    assert_eq!(refused.kind(), Kind::TryAgain, "{refused}");
    let plan = vacuum::plan(&later, &Retention::of(WEEK)).await.unwrap();
    let kept: Vec<(u64, Need)> = plan.kept.iter().map(|kept| (kept.version, kept.need.clone())).collect();
    assert_eq!(kept, [(2, Need::LegalHold { hold: "H7".into() })]);
    assert_eq!((paths(&plan), &plan.expires), (BTreeSet::new(), &vec![]));
    apply(&later, &plan).await;
    assert!(files(&lab, 2).await.is_superset(&of_2));

    lifecycle::remove_hold(&lab.ctx, "H7").await.unwrap();
    let plan = vacuum::plan(&later, &Retention::of(WEEK)).await.unwrap();
    assert_eq!((plan.kept.len(), &plan.expires), (0, &vec![2]));
    assert!(paths(&plan).is_superset(&of_2));
    apply(&later, &plan).await;
    assert!(objects(&lab.ctx.store).await.iter().all(|path| !of_2.contains(path)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_keeps_its_version_and_says_so() {
    let (lab, of_2) = reverted().await;
    let later = in_days(&lab.ctx, 8);
    let pinned = Retention { pins: vec![Pin { version: 2, by: "restore job 7".into() }], ..Retention::of(WEEK) };
    let plan = vacuum::plan(&later, &pinned).await.unwrap();
    let kept: Vec<(u64, Need)> = plan.kept.iter().map(|kept| (kept.version, kept.need.clone())).collect();
    assert_eq!(kept, [(2, Need::Pin { by: "restore job 7".into() })]);
    assert_eq!((paths(&plan), &plan.expires), (BTreeSet::new(), &vec![]));
    apply(&later, &plan).await;
    let plan = vacuum::plan(&later, &Retention::of(WEEK)).await.unwrap();
    assert!(paths(&plan).is_superset(&of_2));
    apply(&later, &plan).await;
    assert!(objects(&lab.ctx.store).await.iter().all(|path| !of_2.contains(path)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_can_be_asked_as_long_as_the_settings_say() {
    let (lab, of_2) = reverted().await;
    for retention in [
        Retention { keep: Duration::from_secs(30 * DAY), ..Retention::of(WEEK) },
        Retention { keep_versions: 2, ..Retention::of(WEEK) },
    ] {
        let plan = vacuum::plan(&in_days(&lab.ctx, 29), &retention).await.unwrap();
        assert_eq!((paths(&plan), plan.kept.len(), plan.expires.len()), (BTreeSet::new(), 0, 0), "{retention:?}");
    }
    // Of two versions the third is not one.
    for (days, retention) in [
        (31, Retention { keep: Duration::from_secs(30 * DAY), ..Retention::of(WEEK) }),
        (29, Retention { keep_versions: 1, ..Retention::of(WEEK) }),
    ] {
        let plan = vacuum::plan(&in_days(&lab.ctx, days), &retention).await.unwrap();
        assert_eq!((paths(&plan).is_superset(&of_2), &plan.expires), (true, &vec![2]), "{retention:?}");
    }
    // What costs no file goes only when that is asked for.
    let old = Retention { expire_after: Some(Duration::from_secs(30 * DAY)), ..Retention::of(WEEK) };
    assert_eq!(vacuum::plan(&in_days(&lab.ctx, 29), &old).await.unwrap().expires, [2]);
    let later = in_days(&lab.ctx, 31);
    let plan = vacuum::plan(&later, &old).await.unwrap();
    assert_eq!(plan.expires, [2, 1]);
    apply(&later, &plan).await;
    let error = Snapshot::at_version(&lab.ctx.store, 1).await.expect_err("it has expired");
    assert_eq!(error.stable_code(), "expired-version");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nightly_job_at_work_keeps_what_it_read_and_wrote_and_can_commit() {
    let mut lab = Lab::new();
    lab.ctx.clock = Clock::System;
    let store = lab.ctx.store.clone();
    lab.write("a.ndjson", lines(0..20));
    lab.write("b.ndjson", line("x", "2026-08-25T12:00:00Z", "") + "\n");
    lab.write("c.ndjson", line("y", "2026-08-26T12:00:00Z", "") + "\n");
    let die = async |name: &str| {
        let before: BTreeSet<String> = objects(&store).await.into_iter().collect();
        let dying = store.decorated(|inner| FaultStore::over(inner, Plan::new(Fault::Death, 2)));
        archive::archive(&context(dying), &lab.request(&[name])).await.expect_err("it dies");
        let after: BTreeSet<String> = objects(&store).await.into_iter().collect();
        after.difference(&before).filter(|path| path.starts_with("events/")).cloned().collect::<BTreeSet<String>>()
    };
    let long_dead = die("c.ndjson").await;
    lab.archive(&["a.ndjson"]).await;
    lab.archive(&["b.ndjson"]).await;
    let later = in_days(&lab.ctx, 8);
    let lease = Lease::take(&later).await.unwrap();
    let read = Snapshot::open(&store).await.unwrap();
    let written = die("c.ndjson").await;
    assert_eq!((long_dead.len(), written.len()), (1, 1));
    archive::revert(&later, 2).await.unwrap();

    let no_grace = Retention::of(Duration::ZERO);
    let plan = vacuum::plan(&later, &no_grace).await.unwrap();
    let kept: Vec<u64> = plan.kept.iter().map(|kept| kept.version).collect();
    assert!(matches!(&plan.kept[0].need, Need::LiveRun { pid, .. } if *pid == std::process::id()), "{:?}", plan.kept);
    assert_eq!((kept, plan.live_run.is_some(), plan.waiting > 0), (vec![2], true, true));
    assert!(paths(&plan).is_superset(&long_dead) && paths(&plan).is_disjoint(&written), "{:?}", paths(&plan));
    apply(&later, &plan).await;
    let layout = Layout::for_run(read.version(), &later.random.id());
    let change = Change::new(Operation::new("append", read.version()));
    let outcome = commit(&later, Some(&read), &layout, change).await.unwrap();
    assert!(matches!(outcome, Outcome::Committed(_)), "the floor is below the live run");

    lease.release().await.unwrap();
    let plan = vacuum::plan(&later, &no_grace).await.unwrap();
    assert_eq!((plan.waiting, plan.live_run.is_none(), plan.expires.contains(&2)), (0, true, true));
    assert!(paths(&plan).is_superset(&written));
    // Another one begins before it is done.
    let lease = Lease::take(&later).await.unwrap();
    assert_eq!(vacuum::apply(&later, &plan).await.expect_err("a job began").kind(), Kind::TryAgain);
    lease.release().await.unwrap();
    apply(&later, &plan).await;
    assert!(objects(&store).await.iter().all(|path| !written.contains(path) && !long_dead.contains(path)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_between_plan_and_deletion_stays() {
    let mut lab = Lab::new();
    lab.ctx.clock = Clock::System;
    let ctx = &lab.ctx;
    let schema = events::full_schema();
    let first = events::row("2026-08-24", "acme", "login", "1", 0);
    let base = events::append(ctx, None, &schema, std::slice::from_ref(&first)).await;
    // Written, and not committed yet.
    let second = events::row("2026-08-24", "globex", "login", "2", 0);
    let layout = events::layout(ctx, Some(&base));
    let cell = events::cell("2026-08-24".parse().unwrap(), "globex", "login");
    let bytes = events::parquet(&schema, std::slice::from_ref(&second));
    let footer = u32::from_le_bytes(bytes[bytes.len() - 8..bytes.len() - 4].try_into().unwrap()) + 8;
    let ts = tier::model::KeyRange::one(second.ts);
    let file = events::new_file(layout.data_file(&cell, 0), &cell, ts, 1, bytes.len() as u64, footer);
    let path = file.file.path.clone();
    ctx.store.put(&path, bytes).await.unwrap();
    let later = in_days(ctx, 8);
    let plan = vacuum::plan(&later, &Retention::of(WEEK)).await.unwrap();
    assert_eq!(paths(&plan), [path.clone()].into());
    events::commit(ctx, Some(&base), &layout, &schema, vec![file]).await;
    apply(&later, &plan).await;
    assert!(ctx.store.stat(&path).await.unwrap().is_some());
    assert_eq!(rows(&ctx.store).await.len(), 2);
}

/// Merges list files elsewhere and keep them: only what a later version does without makes an old one go.
#[tokio::test(flavor = "multi_thread")]
async fn merged_leaves_do_not_make_old_versions_go_and_merged_files_do() {
    let mut lab = Lab::new();
    lab.ctx.clock = Clock::System;
    let store = lab.ctx.store.clone();
    for night in 0..10_u32 {
        lab.write("a.ndjson", lines(night * 10..night * 10 + 10));
        lab.write("b.ndjson", line(&format!("n{night}"), "2026-08-25T12:00:00Z", "") + "\n");
        lab.archive(&[if night < 2 { "a.ndjson" } else { "b.ndjson" }]).await;
    }
    let merged = compact::merge_runs(&lab.ctx, Bound::default()).await.unwrap();
    assert_eq!((merged.version, merged.leaves_after), (11, 1));
    let later = in_days(&lab.ctx, 8);
    let plan = vacuum::plan(&later, &Retention::of(WEEK)).await.unwrap();
    assert_eq!((&plan.expires, plan.orphans.sum.objects), (&vec![], 0), "all of them keep what the newest names");

    let day = "2026-08-25".parse().unwrap();
    let policy = Policy { dates: Some(DateRange { first: day, last: day }), ..Policy::default() };
    let prices = Prices::built_in();
    let planner = Planner::new(&policy, &[], &prices, lab.ctx.now());
    let files = compact::plan(&lab.snapshot().await, planner).await.unwrap();
    let report = compact::apply(&lab.ctx, &files).await.unwrap();
    assert_eq!((report.files_before, report.files_after, report.version), (8, 1, 12));
    let plan = vacuum::plan(&later, &Retention::of(WEEK)).await.unwrap();
    assert_eq!(plan.expires, (3..=11).rev().collect::<Vec<u64>>(), "1 and 2 have none of the replaced files");
    let data = paths(&plan).into_iter().filter(|path| path.starts_with("events/")).count();
    assert_eq!(data, 8);
    apply(&later, &plan).await;
    assert_eq!(rows(&store).await.len(), 28);
    // What had become of the files between is not known from roots any more: a version that cannot be told from one that
    // costs a file goes, and never a file that the newest names.
    let plan = vacuum::plan(&later, &Retention::of(WEEK)).await.unwrap();
    assert_eq!((paths(&plan).iter().filter(|path| path.starts_with("events/")).count(), plan.young), (0, 0));
    apply(&later, &plan).await;
    assert_eq!(rows(&store).await.len(), 28);
}

#[test]
fn settings_say_how_long_roots_are_kept_and_what_is_pinned() {
    let tier = Tier::new();
    let settings = |more: &str| tier.write("tier.toml", format!("[archive]\nurl = \"archive\"\n{more}"));
    settings("");
    tier.write("a.ndjson", lines(0..20));
    tier.write("b.ndjson", line("x", "2026-08-25T12:00:00Z", "") + "\n");
    tier.ok(&["archive", "a.ndjson"]);
    tier.ok(&["archive", "b.ndjson"]);
    tier.ok(&["revert", "2", "--yes"]);
    let later = (Clock::System.now() + SignedDuration::from_hours(24 * 20)).to_string();
    let dry = |more: &[&str]| tier.json(&[&["vacuum", "--dry-run", "--now", &later], more].concat());
    let expires = |more: &[&str]| dry(more)["expires"].clone();
    assert_eq!(expires(&[]), serde_json::json!([2]));
    assert_eq!(expires(&["--keep", "30d"]), serde_json::json!([]));
    assert_eq!(expires(&["--keep-versions", "2"]), serde_json::json!([]));
    settings("[vacuum]\nkeep = \"1y\"\n");
    assert_eq!(expires(&[]), serde_json::json!([]));
    assert_eq!(expires(&["--keep", "10d"]), serde_json::json!([2]), "what is typed comes first");
    settings("[vacuum]\npins = [2]\n");
    let kept = dry(&[])["kept"].clone();
    let reason = kept.as_array().and_then(|kept| kept.first()).cloned().unwrap_or_default();
    assert_eq!(
        (&reason["version"], &reason["reason"], &reason["by"]),
        (&2.into(), &"pin".into(), &"[vacuum] pins".into()),
        "{kept:#}"
    );
    let words = tier.ok(&["vacuum", "--yes", "--now", &later]);
    assert!(words.stderr.contains("version 2 of ") && words.stderr.contains("stays: pinned by"), "{words:#?}");
    assert!(tier.ok(&["query", "--as-of", "2", "SELECT count(*) FROM events"]).stdout.contains("21"));
    for (more, message) in [
        ("pins = [9]", "`[vacuum] pins` names version 9, which was never made"),
        ("keep = \"soon\"", "[vacuum] keep: `soon` is not an age"),
        ("keep = \"30d\"\nexpire_after = \"20d\"", "expire_after is shorter than what keep and grace promise"),
        ("keep_versions = -1", "invalid value"),
        ("keeps = \"7d\"", "did you mean `keep`?"),
    ] {
        settings(&format!("[vacuum]\n{more}\n"));
        let refused = tier.run(&["vacuum", "--dry-run"]);
        assert!(refused.code == Some(2) && refused.stderr.contains(message), "{more}: {refused:#?}");
    }
    settings("");
    tier.ok(&["vacuum", "--yes", "--now", &later]);
    settings("[vacuum]\npins = [2]\n");
    let refused = tier.run(&["vacuum", "--dry-run"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("version 2, which has expired already"), "{refused:#?}");
}

#[test]
fn a_restore_job_pins_the_version_it_is_of_until_its_window_ends() {
    let tier = Tier::new();
    tier.write("tier.toml", "[archive]\nurl = \"archive\"\n");
    tier.write("a.ndjson", lines(0..20));
    tier.write("b.ndjson", line("x", "2026-08-25T12:00:00Z", "") + "\n");
    tier.ok(&["archive", "a.ndjson"]);
    tier.ok(&["archive", "b.ndjson"]);
    tier.ok(&["revert", "2", "--yes"]);
    let in_days = |days: i64| (Clock::System.now() + SignedDuration::from_hours(24 * days)).to_string();
    let job = |cancelled: Option<String>| {
        let job = serde_json::json!({
            "format_version": 1, "id": "0123456789ab", "version": 2, "sql": "SELECT 1", "files": [],
            "retrieval": "bulk", "days": 30, "created": in_days(0), "asked": in_days(0), "complete": in_days(0),
            "until": in_days(30), "cancelled": cancelled,
        });
        tier.write("archive/_tier/restore/0123456789ab.json", job.to_string());
    };
    let plan = |days: i64| tier.json(&["vacuum", "--dry-run", "--now", &in_days(days)]);
    job(None);
    let kept = &plan(20)["kept"];
    assert_eq!((&kept[0]["version"], &kept[0]["by"]), (&2.into(), &"restore job 0123456789ab".into()), "{kept:#}");
    assert_eq!((&plan(31)["kept"], &plan(31)["expires"]), (&serde_json::json!([]), &serde_json::json!([2])));
    job(Some(in_days(1)));
    assert_eq!(plan(20)["expires"], serde_json::json!([2]));
}

/// Its files are on disk: an external reader may open them at any time.
#[tokio::test(flavor = "multi_thread")]
async fn the_version_that_the_delta_table_shows_is_pinned_until_it_is_published_again() {
    let tier = Tier::new();
    tier.write("tier.toml", "[archive]\nurl = \"archive\"\n");
    tier.write("a.ndjson", lines(0..3));
    tier.write("b.ndjson", lines(3..6));
    tier.ok(&["archive", "a.ndjson"]);
    tier.ok(&["archive", "b.ndjson"]);
    tier.ok(&["publish", "delta"]);
    let later = (Clock::System.now() + SignedDuration::from_hours(24 * 20)).to_string();
    tier.ok(&["compact", "--min-age", "0d"]);
    let plan = tier.json(&["vacuum", "--dry-run", "--now", &later]);
    assert_eq!((&plan["kept"][0]["version"], &plan["kept"][0]["reason"]), (&2.into(), &"pin".into()), "{plan:#}");
    let store = Store::open(&Location::Local(tier.path("archive")), ClassTime::default()).await.unwrap();
    let shown = Snapshot::at_version(&store, 2).await.unwrap().files(|_| true).await.unwrap();
    tier.ok(&["vacuum", "--yes", "--now", &later]);
    assert!(shown.iter().all(|file| tier.path("archive").join(&file.path).exists()));
    tier.ok(&["publish", "delta"]);
    tier.ok(&["vacuum", "--yes", "--now", &later]);
    assert!(shown.iter().all(|file| !tier.path("archive").join(&file.path).exists()));
}

/// A vacuum that fails or dies anywhere is made whole by the next.
#[tokio::test(flavor = "multi_thread")]
async fn a_vacuum_that_fails_anywhere_is_made_whole_by_the_next() {
    for fault in Fault::ALL {
        let mut at = 1;
        loop {
            let (lab, of_2) = reverted().await;
            let (later, plan) = (in_days(&lab.ctx, 8), Plan::new(fault, at));
            let expected = rows(&lab.ctx.store).await;
            let store = lab.ctx.store.decorated(|inner| FaultStore::over(inner, plan.clone()));
            let faulty = Context { store, ..later.clone() };
            let decided = vacuum::plan(&faulty, &Retention::of(WEEK)).await.unwrap();
            let _ = vacuum::apply(&faulty, &decided).await;
            check_versions(&lab.ctx.store).await;
            assert_eq!(rows(&lab.ctx.store).await, expected, "{fault:?} at {at}");
            let again = vacuum::plan(&later, &Retention::of(WEEK)).await.unwrap();
            apply(&later, &again).await;
            assert!(objects(&lab.ctx.store).await.iter().all(|path| !of_2.contains(path)), "{fault:?} at {at}");
            let error = Snapshot::at_version(&lab.ctx.store, 2).await.expect_err("it has expired");
            assert_eq!(error.stable_code(), "expired-version", "{fault:?} at {at}");
            if !plan.was_reached() {
                assert!(at > 3, "a commit, a stub, deletions");
                break;
            }
            at += 1;
        }
    }
}
