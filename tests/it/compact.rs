//! Many small files of a cell become few, and nothing else changes.

use jiff::civil::date;
use tier::archive;
use tier::catalog::{LiveFile, Snapshot};
use tier::compact::{self, CompactReport, Plan, Planner, Policy, Reason, Sum};
use tier::context::Context;
use tier::lifecycle;
use tier::model::{DataFile, DateRange, Hold, Prices, StorageClass};
use tier::store::Store;

use crate::support::events::{NOW, in_class, live_file};
use crate::support::lab::{Lab, check_versions, context, full, line, lines, rows};
use crate::support::tier::Tier;

const MIB: u64 = 1 << 20;

fn file(tenant: &str, day: i8, number: i64, size_bytes: u64) -> LiveFile {
    live_file(tenant, date(2026, 8, day), number, size_bytes)
}

fn decide(policy: &Policy, holds: &[Hold], now: &str, files: Vec<LiveFile>) -> Plan {
    let prices = Prices::built_in();
    let mut planner = Planner::new(policy, holds, &prices, now.parse().unwrap());
    files.into_iter().for_each(|live| planner.add(live));
    planner.finish()
}

/// Of each group its tenant and the numbers of its files.
fn groups(plan: &Plan) -> Vec<(String, Vec<i64>)> {
    let numbers = |group: &compact::Group| group.files.iter().map(|live| live.file.ts.min).collect();
    plan.groups.iter().map(|group| (group.cell.tenant_id.to_string(), numbers(group))).collect()
}

fn stays(plan: &Plan) -> Vec<(String, u64)> {
    plan.stays.iter().map(|(reason, sum)| (reason.to_string(), sum.files)).collect()
}

fn hold(tenant: &str) -> Hold {
    Hold {
        id: "H".into(),
        tenants: vec![tenant.into()],
        event_types: Vec::new(),
        from: None,
        to: None,
        reason: "lawsuit".into(),
        since: NOW.parse().unwrap(),
    }
}

#[test]
fn neighbours_in_time_are_merged_up_to_the_target_and_large_files_stay() {
    let sizes = [50, 60, 10, 64, 20, 5];
    let mut files: Vec<LiveFile> =
        (0..).zip(sizes).map(|(number, size)| file("acme", 24, number, size * MIB)).collect();
    files.reverse();
    let plan = decide(&Policy::default(), &[], NOW, files);
    assert_eq!(groups(&plan), [("acme".to_owned(), vec![0, 1, 2]), ("acme".to_owned(), vec![4, 5])]);
    assert_eq!(stays(&plan), [("stays: large enough".to_owned(), 1)]);
    assert_eq!((plan.totals.files_before, plan.totals.files_after, plan.totals.bytes), (5, 2, 145 * MIB));
    // 5 GETs and 2 PUTs of STANDARD.
    assert!((plan.totals.one_off_usd.0 - (5.0 * 0.0004 + 2.0 * 0.005) / 1000.0).abs() < 1e-9, "{plan:?}");
}

#[test]
fn every_file_that_stays_has_its_reason() {
    let mut bundle = file("acme", 24, 0, MIB);
    bundle.file.path = "_bundles/month=2026-08/bucket=0000/x.parquet".into();
    let since = "2026-10-01T00:00:00Z";
    let of_class = |tenant: &str, class| [0, 1].map(|number| in_class(file(tenant, 24, number, MIB), class, since));
    let mut files = vec![bundle, file("alone", 24, 0, MIB), file("held", 24, 0, MIB), file("held", 24, 1, MIB)];
    files.extend(of_class("deep", StorageClass::DeepArchive));
    // 52 days before NOW: STANDARD_IA's 30 are over, GLACIER_IR's 90 are not.
    files.extend(of_class("ia", StorageClass::StandardIa));
    files.extend(of_class("ir", StorageClass::GlacierIr));
    // Of one cell, but not of one class.
    files.extend([file("mixed", 24, 0, MIB), in_class(file("mixed", 24, 1, MIB), StorageClass::StandardIa, since)]);
    let plan = decide(&Policy::default(), &[hold("held")], NOW, files.clone());
    assert_eq!(groups(&plan), [("ia".to_owned(), vec![0, 1])]);
    assert_eq!(
        stays(&plan),
        [
            ("stays: nothing to merge it with", 3),
            ("stays: legal hold H", 2),
            ("stays: inside minimum duration of GLACIER_IR", 2),
            ("stays: archived in DEEP_ARCHIVE", 2),
            ("stays: is a bundle", 1),
        ]
        .map(|(reason, files)| (reason.to_owned(), files))
    );
    let young = decide(&Policy::default(), &[], "2026-08-24T23:00:00Z", vec![file("a", 24, 0, 1), file("a", 24, 1, 1)]);
    assert_eq!((groups(&young), stays(&young)[0].0.as_str()), (vec![], "stays: its date is younger than --min-age"));
    let dates = Some(DateRange { first: date(2026, 8, 25), last: date(2026, 8, 26) });
    let other = decide(&Policy { dates, ..Policy::default() }, &[], NOW, files.clone());
    assert_eq!((groups(&other), stays(&other)), (vec![], vec![]));
    let tenants = vec!["held".to_owned()];
    let one = decide(&Policy { tenants, min_files: 3, ..Policy::default() }, &[], NOW, files);
    assert_eq!(stays(&one), [("stays: nothing to merge it with".to_owned(), 2)]);
}

#[test]
fn a_budget_takes_what_saves_the_most_objects_for_its_bytes() {
    let mut files: Vec<LiveFile> = (0..10).map(|number| file("many", 24, number, MIB)).collect();
    files.extend((0..2).map(|number| file("large", 24, number, 30 * MIB)));
    files.extend((0..2).map(|number| file("small", 24, number, 2 * MIB)));
    let budget =
        |mib: u64| decide(&Policy { max_bytes: Some(mib * MIB), ..Policy::default() }, &[], NOW, files.clone());
    let tenants = |plan: &Plan| groups(plan).into_iter().map(|(tenant, _)| tenant).collect::<Vec<_>>();
    assert_eq!(tenants(&budget(10)), ["many"]);
    assert_eq!(tenants(&budget(14)), ["many", "small"]);
    assert_eq!(tenants(&budget(9)), ["small"]);
    assert_eq!(budget(14).stays[&Reason::OverBudget], Sum { files: 2, bytes: 60 * MIB });
    assert_eq!(tenants(&budget(74)), ["large", "many", "small"]);
}

/// Four exports of one cell, the later ones with columns that the first did not have, and one of another cell.
pub async fn scattered() -> Store {
    let lab = Lab::new();
    let more = |id: u32, more: &str| line(&id.to_string(), "2026-08-24T12:00:00Z", more) + "\n";
    lab.write("a.ndjson", lines(0..20));
    lab.write("b.ndjson", more(20, r#""n":1"#) + &line("x", "2026-08-24T11:00:00Z", r#""n":2"#));
    lab.write("c.ndjson", more(21, r#""n":3,"s":"é""#));
    lab.write("d.ndjson", lines(22..24));
    lab.write("e.ndjson", line("y", "2026-08-25T12:00:00Z", r#""n":4"#));
    for name in ["a.ndjson", "b.ndjson", "c.ndjson", "d.ndjson", "e.ndjson"] {
        lab.archive(&[name]).await;
    }
    lab.ctx.store
}

pub async fn plan(ctx: &Context, policy: &Policy) -> Plan {
    let snapshot = Snapshot::open(&ctx.store).await.unwrap();
    let prices = Prices::built_in();
    let planner = Planner::new(policy, &snapshot.root().document.holds, &prices, ctx.now());
    compact::plan(&snapshot, planner).await.unwrap()
}

async fn merge(ctx: &Context) -> CompactReport {
    let plan = plan(ctx, &Policy::default()).await;
    compact::apply(ctx, &plan).await.unwrap_or_else(|error| panic!("{}", full(&error)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cells_files_become_one_sorted_file_with_every_row_and_column() {
    let store = scattered().await;
    let ctx = context(store.clone());
    let before = rows(&store).await;
    assert_eq!(Snapshot::open(&store).await.unwrap().files(|_| true).await.unwrap().len(), 5);
    let report = merge(&ctx).await;
    assert_eq!((report.commits, report.files_before, report.files_after, report.rows), (1, 4, 1, 25));
    assert_eq!(rows(&store).await, before);
    check_versions(&store).await;
    let snapshot = Snapshot::open(&store).await.unwrap();
    let operation = &snapshot.root().document.operation;
    assert_eq!((operation.kind.as_str(), operation.files, operation.base_version), ("compact", 1, 5));
    let live = snapshot.live_files(|_| true).await.unwrap();
    let merged = live.iter().find(|live| live.file.rows == 25).unwrap();
    let bytes = store.get(&merged.file.path).await.unwrap();
    let in_order = crate::support::lab::rows_of(&merged.file, bytes.clone());
    assert!(in_order[0].contains(r#""event_id":"x""#), "its times begin with 11:00: {}", in_order[0]);
    assert!(in_order[24].contains(r#""event_id":"9""#), "then by id: {}", in_order[24]);
    let audit = &snapshot.audits(std::slice::from_ref(merged)).await.unwrap()[0];
    assert_eq!((&audit.sha256, audit.min_event_id.as_str()), (&tier::model::sha256(&bytes), "0"));
    assert_eq!(audit.max_event_id, "x");
    let again = plan(&ctx, &Policy::default()).await;
    assert_eq!((again.groups, again.stays[&Reason::Alone].files), (vec![], 2));
    assert_eq!(merge(&ctx).await, CompactReport { version: 6, ..CompactReport::default() });
}

#[tokio::test(flavor = "multi_thread")]
async fn merged_files_stay_in_their_class_and_no_new_time_is_counted_for_their_rows() {
    let store = scattered().await;
    let ctx = context(store.clone());
    crate::support::bundles::move_in_place(&ctx, StorageClass::StandardIa, |_| true).await;
    let before = rows(&store).await;
    assert_eq!(plan(&ctx, &Policy::default()).await.groups, vec![], "30 days are not over");
    let mut later = context(store.clone());
    later.clock = tier::clock::Clock::Fixed("2027-01-01T00:00:00Z".parse().unwrap());
    assert_eq!(merge(&later).await.files_after, 1);
    let files = Snapshot::open(&store).await.unwrap().files(|_| true).await.unwrap();
    let merged = files.iter().find(|file| file.rows == 25).unwrap();
    assert_eq!((merged.storage_class, merged.class_since), (StorageClass::StandardIa, Some(later.now())));
    assert!(merged.pack.is_some(), "its sources' footers were kept hot");
    let state = store.classes().look(&merged.path).await.unwrap().unwrap();
    assert_eq!(state.storage_class, StorageClass::StandardIa);
    assert_eq!(rows(&store).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_since_the_plan_is_given_up_and_nothing_is_lost() {
    let store = scattered().await;
    let ctx = context(store.clone());
    let planned = plan(&ctx, &Policy::default()).await;
    // More of the same cell commutes.
    let lab = Lab::over(store.clone());
    lab.write("f.ndjson", lines(24..30));
    lab.archive(&["f.ndjson"]).await;
    let before = rows(&store).await;
    assert_eq!(compact::apply(&ctx, &planned).await.unwrap().files_before, 4);
    assert_eq!(rows(&store).await, before);
    // The files of the same plan are gone.
    let twice = compact::apply(&ctx, &planned).await.unwrap();
    assert_eq!((twice.commits, twice.given_up), (0, 4));
    let planned = plan(&ctx, &Policy::default()).await;
    assert_eq!(planned.totals.files_before, 2);
    lifecycle::add_hold(&ctx, hold("acme")).await.unwrap();
    let held = compact::apply(&ctx, &planned).await.unwrap();
    assert_eq!((held.commits, held.given_up), (0, 2));
    assert_eq!(rows(&store).await, before);
    check_versions(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_merges_and_an_append_at_the_same_moment_lose_and_double_nothing() {
    for round in 0..10 {
        let store = scattered().await;
        let mut expected = rows(&store).await;
        let lab = Lab::over(store.clone());
        // An overlap with what is merged, and something new.
        lab.write("f.ndjson", lines(10..30));
        let request = lab.request(&["f.ndjson"]);
        let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(3));
        let merging = || {
            let (ctx, barrier) = (context(store.clone()), barrier.clone());
            tokio::spawn(async move {
                let plan = plan(&ctx, &Policy::default()).await;
                barrier.wait().await;
                compact::apply(&ctx, &plan).await
            })
        };
        let append = {
            let (ctx, barrier) = (context(store.clone()), barrier.clone());
            tokio::spawn(async move {
                barrier.wait().await;
                archive::archive(&ctx, &request).await
            })
        };
        let (first, second, appended) = tokio::join!(merging(), merging(), append);
        let reports = [first, second].map(|report| report.unwrap().unwrap_or_else(|error| panic!("{}", full(&error))));
        let appended = appended.unwrap().unwrap_or_else(|error| panic!("{}", full(&error)));
        let merged: u64 = reports.iter().map(|report| report.files_before).sum();
        let given_up: u64 = reports.iter().map(|report| report.given_up).sum();
        assert_eq!((merged, given_up), (4, 4), "round {round}: {reports:?}");
        // 20 and 21 came with columns of their own: the same id with other content is a conflict, not a second event.
        assert_eq!((appended.accepted, appended.duplicate, appended.dead_letter), (6, 12, 2), "round {round}");
        expected.extend(
            (24..30).map(|id| format!(r#"2026-08-24/login/acme {{"event_id":"{id}","ts":"2026-08-24T12:00:00Z"}}"#)),
        );
        expected.sort();
        assert_eq!(rows(&store).await, expected, "round {round}");
        check_versions(&store).await;
    }
}

#[test]
fn the_command_plans_merges_and_says_so() {
    let mut tier = Tier::new();
    tier.set("TIER_ARCHIVE", "archive");
    for (name, ids) in [("a.ndjson", 0..20), ("b.ndjson", 20..40), ("c.ndjson", 40..60)] {
        tier.write(name, lines(ids));
        tier.ok(&["archive", name]);
    }
    let dry = tier.ok(&["compact", "--dry-run"]);
    assert!(dry.stdout.contains("would become one in STANDARD: date=2026-08-24/event_type=login/tenant_id=acme"));
    assert!(dry.stderr.contains("Plan: 3 files → 1"), "{dry:#?}");
    assert_eq!(tier.json(&["compact", "--dry-run", "--tenant", "globex"])["groups"], serde_json::json!([]));
    let plan = tier.json(&["compact", "--dry-run", "--max-bytes", "1"]);
    assert_eq!((&plan["files_before"], &plan["stays"][0]["reason"]), (&0.into(), &"over_budget".into()));
    let other = tier.ok(&["compact", "--date", "2026-08-25..2026-08-31"]);
    assert_eq!(other.stderr, "nothing to merge\n");
    let done = tier.ok(&["compact"]);
    assert!(done.stderr.contains("3 files became 1, ") && done.stderr.contains("version 4 committed"), "{done:#?}");
    assert_eq!(tier.json(&["compact"])["files_before"], 0);
    assert!(tier.ok(&["query", "SELECT count(*) FROM events"]).stdout.contains("60"));
    for (args, words) in [
        (["compact", "--target-size", "2GB"], "out of range"),
        (["compact", "--min-files", "1"], "at least 2"),
        (["compact", "--date", "2026-08-31..2026-08-01"], "ends before it begins"),
    ] {
        let outcome = tier.run(&args);
        assert_eq!(outcome.code, Some(2), "{outcome:#?}");
        assert!(outcome.stderr.contains(words), "{outcome:#?}");
    }
}

/// What a run decided about a cell holds when its events only moved meanwhile: a long night's work is not done twice.
#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_loses_the_race_to_a_merge_commits_all_the_same() {
    let store = scattered().await;
    let base = Snapshot::open(&store).await.unwrap();
    let cells: Vec<DataFile> = base.files(|_| true).await.unwrap();
    merge(&context(store.clone())).await;
    let append = |base: Snapshot, ctx: Context| {
        let relies_on = cells.iter().filter_map(DataFile::partition).collect();
        async move {
            let mut change = tier::catalog::Change::new(tier::catalog::Operation::new("append", base.version()));
            change.relies_on = relies_on;
            let layout = tier::store::Layout::for_run(base.version(), &ctx.random.id());
            tier::catalog::commit(&ctx, Some(&base), &layout, change).await.unwrap()
        }
    };
    let moved = append(base.clone(), context(store.clone())).await;
    assert!(matches!(moved, tier::catalog::Outcome::Committed(_)), "{moved:?}");
    // After another append to the cell it must decide again.
    let lab = Lab::over(store.clone());
    lab.write("f.ndjson", lines(24..30));
    lab.archive(&["f.ndjson"]).await;
    let conflict = append(base, context(store.clone())).await;
    assert!(matches!(conflict, tier::catalog::Outcome::Conflict(_)), "{conflict:?}");
    check_versions(&store).await;
}
