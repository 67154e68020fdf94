//! The leaves of many nights become few: planning reads little, and nothing else changes.

use std::collections::BTreeMap;

use jiff::ToSpan;
use jiff::civil::{Date, date};
use tier::archive;
use tier::catalog::{self, Change, Operation, Outcome, Snapshot};
use tier::clock::Clock;
use tier::compact::{self, Bound, CatalogReport};
use tier::context::Context;
use tier::model::{DataFile, KeyRange, Schema};
use tier::store::{Layout, Store};

use crate::support::dice::Dice;
use crate::support::events;
use crate::support::fault::{Fault, FaultStore, Plan};
use crate::support::lab::{Lab, check_versions, context, full, line, lines, rows};

const TENANTS: u64 = 20;
const TYPES: [&str; 3] = ["click", "login", "view"];

fn at(store: &Store, day: Date) -> Context {
    let noon = day.at(12, 0, 0, 0).to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
    Context { clock: Clock::Fixed(noon), ..context(store.clone()) }
}

/// Commits one file for each cell of a day, and some late ones, without the data files themselves.
async fn night(ctx: &Context, base: Option<&Snapshot>, day: Date, dice: &mut Dice) -> Snapshot {
    let layout = events::layout(ctx, base);
    let mut files = Vec::new();
    let mut add = |day: Date, tenant: u64, event_type: &str| {
        let cell = events::cell(day, &format!("t{tenant:02}"), event_type);
        let ts = i64::from(tier::model::days_of_date(day)) * 86_400_000_000;
        let path = layout.data_file(&cell, files.len());
        files.push(events::new_file(path, &cell, KeyRange::one(ts), 10, 1_000, 100));
    };
    for tenant in 0..TENANTS {
        TYPES.iter().for_each(|event_type| add(day, tenant, event_type));
    }
    for _ in 0..dice.below(3) {
        let late = (day - (1 + dice.below(60) as i64).days()).max(date(2026, 1, 1));
        add(late, dice.below(TENANTS), TYPES[dice.below(3) as usize]);
    }
    events::commit(ctx, base, &layout, &Schema::default(), files).await
}

/// The nights of 2026; after each `then` is done.
async fn year(store: &Store, then: impl AsyncFn(Date)) {
    let (mut base, mut dice) = (None, Dice(5));
    for day in date(2026, 1, 1).series(1.day()).take(365) {
        let ctx = at(store, day + 1.day());
        if base.is_some() {
            base = Snapshot::latest(store).await.unwrap();
        }
        base = Some(night(&ctx, base.as_ref(), day, &mut dice).await);
        then(day + 1.day()).await;
    }
}

async fn merge(ctx: &Context, bound: Bound) -> CatalogReport {
    compact::merge_runs(ctx, bound).await.unwrap_or_else(|error| panic!("{}", full(&error)))
}

/// What a question for one tenant and these dates reads of the catalog: leaves, and the files it finds.
async fn asked(store: &Store, tenant: &str, dates: KeyRange<Date>) -> (u64, Vec<DataFile>) {
    let plan = Plan::new(Fault::Before, u64::MAX);
    let counting = store.decorated(|inner| FaultStore::over(inner, plan.clone()));
    let snapshot = Snapshot::open(&counting).await.unwrap();
    let opened = plan.reads();
    let tenant = tenant.to_owned();
    let keep = |leaf: &tier::catalog::LeafRef| {
        leaf.tenants.as_text().contains(&tenant.as_str()) && leaf.dates.min <= dates.max && dates.min <= leaf.dates.max
    };
    let mut files = snapshot.files(keep).await.unwrap();
    files.retain(|file| file.tenants.as_text().contains(&tenant.as_str()) && dates.contains(&file.dates.min));
    files.sort_by(|a, b| a.path.cmp(&b.path));
    (plan.reads() - opened, files)
}

fn whole_year() -> KeyRange<Date> {
    KeyRange { min: date(2026, 1, 1), max: date(2026, 12, 31) }
}

/// Each version with the paths of the files it added.
async fn versions(snapshot: &Snapshot) -> BTreeMap<u64, Vec<String>> {
    let mut all: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for listed in snapshot.added(0..=snapshot.version(), |_| true).await.unwrap() {
        all.entry(listed.version).or_default().push(listed.live.file.path);
    }
    all.values_mut().for_each(|paths| paths.sort());
    all
}

/// The paths without what is random in them.
fn cells(files: &[DataFile]) -> Vec<String> {
    let mut cells: Vec<String> = files.iter().map(|file| file.partition().unwrap().to_string()).collect();
    cells.sort();
    cells
}

#[tokio::test(flavor = "multi_thread")]
async fn a_year_of_nights_is_planned_from_few_leaves_once_merged() {
    let (plain, merged) = (Store::memory(), Store::memory());
    year(&plain, async |_| {}).await;
    let written = std::sync::atomic::AtomicU64::new(0);
    let most = std::sync::atomic::AtomicU64::new(0);
    year(&merged, async |day| {
        let report = merge(&at(&merged, day), Bound::default()).await;
        written.fetch_add(report.files, std::sync::atomic::Ordering::Relaxed);
        most.fetch_max(report.leaves_after, std::sync::atomic::Ordering::Relaxed);
    })
    .await;
    let (written, most) = (written.into_inner(), most.into_inner());
    let (before, expected) = asked(&plain, "t07", whole_year()).await;
    assert_eq!(before, 365, "one leaf for each night");
    let (after, found) = asked(&merged, "t07", whole_year()).await;
    let total = Snapshot::open(&plain).await.unwrap().root().leaves.iter().map(|leaf| leaf.files).sum::<u64>();
    assert_eq!(cells(&found), cells(&expected));
    assert!(after <= 40, "{after} leaves while the year is open; {most} at most");
    assert!(written <= 6 * total, "{written} listed anew of {total}");
    // The year is over.
    let ctx = at(&merged, date(2027, 2, 15));
    let names = versions(&Snapshot::open(&merged).await.unwrap()).await;
    let report = merge(&ctx, Bound::default()).await;
    let (sealed, found) = asked(&merged, "t07", whole_year()).await;
    assert_eq!(cells(&found), cells(&expected));
    assert!(sealed <= 3, "{sealed} leaves of the sealed year: {report:?}");
    let newest = Snapshot::open(&merged).await.unwrap();
    assert_eq!(versions(&newest).await, names, "each file keeps the version that added it");
    assert_eq!(names.len(), 365);
    let plain_totals = Snapshot::open(&plain).await.unwrap().root().document.totals.clone();
    assert_eq!(newest.root().document.totals, plain_totals);
    assert_eq!(merge(&ctx, Bound::default()).await.commits, 0, "nothing is left to do");
    eprintln!(
        "a year of {total} files: {before} leaves read before, {after} while open, {sealed} sealed; \
         {:.1} times listed anew; at most {most} leaves",
        written as f64 / total as f64
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_in_small_parts_comes_to_an_end_and_to_the_same() {
    for files_per_commit in [50, 333] {
        let store = Store::memory();
        let (mut base, mut dice) = (None, Dice(9));
        for day in date(2026, 3, 1).series(1.day()).take(12) {
            base = Some(night(&at(&store, day), base.as_ref(), day, &mut dice).await);
        }
        let base = base.unwrap();
        let names = versions(&base).await;
        let ctx = at(&store, date(2027, 6, 1));
        let total = names.values().map(Vec::len).sum::<usize>() as u64;
        let mut nights = 0;
        // Each night a quarter.
        while merge(&ctx, Bound { files: total / 4, files_per_commit }).await.commits > 0 {
            nights += 1;
            assert!(nights < 40, "{files_per_commit}: no end");
        }
        assert!(nights >= 2, "{files_per_commit}: {nights} nights");
        let newest = Snapshot::open(&store).await.unwrap();
        assert_eq!(versions(&newest).await, names, "{files_per_commit}");
        assert_eq!(newest.root().document.totals, base.root().document.totals);
        let (leaves, _) = asked(&store, "t07", whole_year()).await;
        assert!(leaves <= 15, "{files_per_commit}: {leaves} leaves");
    }
}

/// Five versions of one cell each, in leaves that were merged.
async fn merged_versions() -> Lab {
    let lab = Lab::new();
    for number in 0..5 {
        let day = format!("2026-08-{:02}T12:00:00Z", 10 + number);
        lab.write(&format!("{number}.ndjson"), line(&number.to_string(), &day, r#""n":1"#));
        lab.archive(&[&format!("{number}.ndjson")]).await;
    }
    let report = merge(&lab.ctx, Bound::default()).await;
    assert_eq!((report.commits, report.files, report.leaves_before, report.leaves_after), (1, 5, 5, 1));
    lab
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_in_a_merged_leaf_is_taken_back_and_no_other() {
    let lab = merged_versions().await;
    let before = lab.rows().await;
    let report = archive::revert(&lab.ctx, 3).await.unwrap();
    assert_eq!((report.files, report.rows, report.exports), (1, 1, 1));
    let expected: Vec<String> = before.iter().filter(|row| !row.contains(r#""event_id":"2""#)).cloned().collect();
    assert_eq!(lab.rows().await, expected);
    check_versions(&lab.ctx.store).await;
    let merged = archive::revert(&lab.ctx, 6).await.expect_err("a merge adds no events");
    assert!(full(&merged).contains("version 6 is a merge"), "{}", full(&merged));
    lab.archive(&["2.ndjson"]).await;
    assert_eq!(lab.rows().await, before);
    // Later versions that build on it are found in merged leaves too.
    let lab = merged_versions().await;
    lab.write("more.ndjson", line("x", "2026-08-12T13:00:00Z", r#""n":1"#));
    lab.archive(&["more.ndjson"]).await;
    merge(&lab.ctx, Bound::default()).await;
    let refused = archive::revert(&lab.ctx, 3).await.expect_err("version 7 added to its cell");
    assert_eq!(refused.stable_code(), "built-upon", "{}", full(&refused));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_whose_events_went_into_other_files_is_not_said_to_be_taken_back() {
    let lab = Lab::new();
    for (name, ids) in [("a.ndjson", 0..5), ("b.ndjson", 5..9)] {
        lab.write(name, lines(ids));
        lab.archive(&[name]).await;
    }
    let plan = crate::compact::plan(&lab.ctx, &compact::Policy::default()).await;
    compact::apply(&lab.ctx, &plan).await.unwrap();
    let refused = archive::revert(&lab.ctx, 2).await.expect_err("its file is gone");
    assert!(full(&refused).contains("1 of the 1 files that version 2 added"), "{}", full(&refused));
    assert_eq!(lab.rows().await.len(), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_before_a_merge_is_done_after_it() {
    let lab = Lab::new();
    for number in 0..3 {
        let day = format!("2026-08-{:02}T12:00:00Z", 10 + number);
        lab.write(&format!("{number}.ndjson"), line(&number.to_string(), &day, ""));
        lab.archive(&[&format!("{number}.ndjson")]).await;
    }
    let base = lab.snapshot().await;
    let gone = base.live_files(|_| true).await.unwrap().remove(1);
    assert_eq!(merge(&lab.ctx, Bound::default()).await.commits, 1);
    let mut change = Change::new(Operation::new("expire", base.version()));
    change.remove = vec![gone.clone()];
    let layout = Layout::for_run(base.version(), &lab.ctx.random.id());
    let outcome = catalog::commit(&lab.ctx, Some(&base), &layout, change.clone()).await.unwrap();
    assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
    assert_eq!(lab.rows().await.len(), 2);
    let layout = Layout::for_run(base.version(), &lab.ctx.random.id());
    let again = catalog::commit(&lab.ctx, Some(&base), &layout, change).await.unwrap();
    assert!(matches!(again, Outcome::Conflict(_)), "it is gone: {again:?}");
    check_versions(&lab.ctx.store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn merges_appends_and_merges_of_files_at_the_same_moment_lose_nothing() {
    for round in 0..6 {
        let store = crate::compact::scattered().await;
        let lab = Lab::over(store.clone());
        let tasks: Vec<_> = (0..3)
            .map(|number: u32| {
                lab.write(&format!("{number}.ndjson"), lines(100 + number * 10..110 + number * 10));
                let (ctx, request) = (context(store.clone()), lab.request(&[&format!("{number}.ndjson")]));
                tokio::spawn(async move {
                    archive::archive(&ctx, &request).await.map(|_| ()).map_err(|error| full(&error))?;
                    compact::merge_runs(&ctx, Bound::default()).await.map(|_| ()).map_err(|error| full(&error))?;
                    let plan = crate::compact::plan(&ctx, &compact::Policy::default()).await;
                    compact::apply(&ctx, &plan).await.map(|_| ()).map_err(|error| full(&error))
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap_or_else(|error| panic!("round {round}: {error}"));
        }
        assert_eq!(rows(&store).await.len(), 26 + 30, "round {round}");
        check_versions(&store).await;
    }
}
