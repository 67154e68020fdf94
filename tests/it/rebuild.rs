//! `tier rebuild`: the catalog from data files and packs alone is the one that was lost.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::json;
use tier::catalog::Snapshot;
use tier::clock::Clock;
use tier::compact::{self, Policy};
use tier::context::Context;
use tier::model::{DataFile, StorageClass};
use tier::rebuild::{ProblemKind, RebuildOptions, RebuildReport, rebuild};
use tier::store::{ClassTime, Layout, Store};
use tier::verify::{self, Read, VerifyOptions};

use crate::compact::{plan as plan_merges, scattered};
use crate::support::bundles::{bundle, move_in_place};
use crate::support::dice::Dice;
use crate::support::lab::{Lab, context, full, line, lines, rows};
use crate::support::minio::fresh_address;
use crate::support::tier::{Tier, sample_data};

pub const PLAIN: RebuildOptions =
    RebuildOptions { check: false, replace: false, read: false, leave_out: Vec::new(), keep: Vec::new() };
const CHECK: RebuildOptions =
    RebuildOptions { check: true, replace: false, read: false, leave_out: Vec::new(), keep: Vec::new() };
const REPLACE: RebuildOptions =
    RebuildOptions { check: false, replace: true, read: false, leave_out: Vec::new(), keep: Vec::new() };

/// Takes away everything but data files and packs.
pub async fn lose_catalog(store: &Store) {
    let mut lost = vec![Layout::HINT.to_owned(), Layout::TABLE.to_owned()];
    for folder in [Layout::ROOTS, Layout::LEAVES, Layout::LEDGERS] {
        lost.extend(store.list(folder, None).await.unwrap().into_iter().map(|object| object.path));
    }
    store.delete(lost).await.unwrap();
}

pub async fn run(ctx: &Context, options: &RebuildOptions) -> RebuildReport {
    rebuild(ctx, options).await.unwrap_or_else(|error| panic!("{}", full(&error)))
}

/// Rebuilds; nothing may be in the way.
pub async fn rebuilt(ctx: &Context) -> RebuildReport {
    let report = run(ctx, &PLAIN).await;
    assert_eq!(report.problems, [], "{report:#?}");
    assert!(report.version.is_some(), "{report:#?}");
    report
}

async fn files(store: &Store) -> BTreeMap<String, DataFile> {
    let files = Snapshot::open(store).await.unwrap().files(|_| true).await.unwrap();
    files.into_iter().map(|file| (file.path.clone(), file)).collect()
}

/// What a rebuild must bring back of a file: all but the version that it was written for, and since when it is in its
/// class, which the store tells in its own time.
fn told(files: &BTreeMap<String, DataFile>) -> Vec<DataFile> {
    files.values().map(|file| DataFile { schema_id: 0, class_since: None, ..file.clone() }).collect()
}

/// No problem, by every byte and every id.
pub async fn check_whole(ctx: &Context) {
    let options = VerifyOptions { read: Some(Read::All), duplicates: true, tree: false };
    let report = verify::verify(ctx, &options).await.unwrap_or_else(|error| panic!("{}", full(&error)));
    assert_eq!(report.problems, [], "{report:#?}");
    assert_eq!(report.duplicates.unwrap().doubled_events, 0);
}

fn later(store: &Store) -> Context {
    Context { clock: Clock::Fixed("2200-01-01T00:00:00Z".parse().unwrap()), ..context(store.clone()) }
}

async fn vacuum(store: &Store) {
    let ctx = later(store);
    let plan = tier::vacuum::plan(&ctx, &tier::vacuum::Retention::of(std::time::Duration::ZERO)).await.unwrap();
    tier::vacuum::apply(&ctx, &plan).await.unwrap();
}

async fn merge(ctx: &Context) {
    let plan = plan_merges(ctx, &Policy::default()).await;
    compact::apply(ctx, &plan).await.unwrap_or_else(|error| panic!("{}", full(&error)));
}

/// The catalog is lost and rebuilt: the same files, rows and columns, and the archive is whole.
async fn comes_back(ctx: &Context, what: &str) -> RebuildReport {
    let (files_before, rows_before) = (files(&ctx.store).await, rows(&ctx.store).await);
    let before = Snapshot::open(&ctx.store).await.unwrap();
    let checked = run(ctx, &CHECK).await;
    assert!(checked.is_equal(), "{what}: {checked:#?}");
    assert_eq!(checked.version, None, "{what}");
    lose_catalog(&ctx.store).await;
    let report = rebuilt(ctx).await;
    assert_eq!(told(&files(&ctx.store).await), told(&files_before), "{what}");
    assert_eq!(rows(&ctx.store).await, rows_before, "{what}");
    let columns: BTreeSet<_> = report.columns.iter().map(|column| (column.id, column.name.clone())).collect();
    assert!(
        before.schema().columns().iter().all(|column| columns.contains(&(column.id, column.name.clone()))),
        "{what}"
    );
    check_whole(ctx).await;
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn late_events_and_merged_files_come_back_whether_or_not_their_inputs_are_still_there() {
    let store = scattered().await;
    let ctx = context(store.clone());
    let report = comes_back(&ctx, "scattered").await;
    assert_eq!((report.files, report.rows, report.left_out.replaced.objects), (5, 26, 0));
    merge(&ctx).await;
    let report = comes_back(&ctx, "merged").await;
    assert_eq!((report.files, report.left_out.replaced.objects), (2, 4));
    // A merge of a merged file, while all of the inputs are still there.
    let lab = Lab::over(store.clone());
    lab.write("f.ndjson", lines(24..30));
    lab.archive(&["f.ndjson"]).await;
    merge(&ctx).await;
    assert_eq!(comes_back(&ctx, "merged again").await.left_out.replaced.objects, 6);
    vacuum(&store).await;
    let report = comes_back(&ctx, "vacuumed").await;
    assert_eq!((report.files, report.left_out.replaced.objects), (2, 0));
    // The next runs go on: what is there is not archived again, and what is new is.
    let again = lab.archive_with(&["f.ndjson"], |request| request.rehash = true).await;
    assert_eq!((again.accepted, again.duplicate), (0, 6));
    lab.write("g.ndjson", lines(28..35));
    assert_eq!(lab.archive(&["g.ndjson"]).await.accepted, 5);
    check_whole(&ctx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bundles_and_moved_files_come_back_from_their_packs_in_every_class() {
    for class in [StorageClass::GlacierIr, StorageClass::DeepArchive] {
        let store = scattered().await;
        let ctx = context(store.clone());
        bundle(&ctx, class, |file| file.dates.min.day() == 24).await;
        let report = comes_back(&ctx, "bundled").await;
        assert_eq!((report.files, report.left_out.replaced.objects), (2, 4), "{class}");
        let lab = Lab::over(store.clone());
        // Ids that the bundle's footer excludes: `x` is its last.
        lab.write("late.ndjson", line("y", "2026-08-24T13:00:00Z", ""));
        assert_eq!(lab.archive(&["late.ndjson"]).await.accepted, 1, "{class}");
        assert_eq!(comes_back(&ctx, "late events of a bundled month").await.files, 3, "{class}");
        bundle(&ctx, class, |file| file.dates.min.day() == 24).await;
        assert_eq!(comes_back(&ctx, "a second bundle").await.files, 3, "{class}");
        move_in_place(&ctx, class, |_| true).await;
        assert_eq!(comes_back(&ctx, "moved where it lies").await.files, 3, "{class}");
        vacuum(&store).await;
        assert_eq!(comes_back(&ctx, "vacuumed").await.left_out.replaced.objects, 0, "{class}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_that_can_be_read_is_not_replaced_unasked_and_what_only_it_knows_is_kept() {
    let store = scattered().await;
    let ctx = context(store.clone());
    let refused = rebuild(&ctx, &PLAIN).await.unwrap_err();
    assert_eq!(refused.stable_code(), "readable-root", "{}", full(&refused));
    let hold = tier::model::Hold {
        id: "h".into(),
        tenants: vec!["acme".into()],
        event_types: Vec::new(),
        from: None,
        to: None,
        reason: "lawsuit".into(),
        since: ctx.now(),
    };
    tier::lifecycle::add_hold(&ctx, hold.clone()).await.unwrap();
    let before = Snapshot::open(&store).await.unwrap();
    // A damaged leaf: the root still tells of holds, exports, mapping.
    let leaf = before.root().leaves[0].path.clone();
    store.put(&leaf, "not a leaf").await.unwrap();
    let report = run(&ctx, &RebuildOptions { read: true, ..REPLACE }).await;
    assert_eq!((report.version, report.carried_from), (Some(before.version() + 1), Some(before.version())));
    assert_eq!((report.carried_rows, report.rows, report.without_digest), (Some(26), 26, 0));
    assert_eq!(report.lost.iter().map(|lost| lost.what).collect::<Vec<_>>(), ["history"]);
    let after = Snapshot::open(&store).await.unwrap();
    let (then, now) = (&before.root().document, &after.root().document);
    assert_eq!((&now.holds, &now.exports, &now.mapping), (&vec![hold], &then.exports, &then.mapping));
    assert_eq!((&now.table_id, now.gc_floor, &now.schema), (&then.table_id, now.version, &then.schema));
    check_whole(&ctx).await;
    let audits = after.audits(&after.live_files(|_| true).await.unwrap()).await.unwrap();
    assert!(audits.iter().all(|audit| audit.sha256.len() == 64 && !audit.max_event_id.is_empty()), "{audits:?}");
    let expired = Snapshot::at_version(&store, before.version()).await.unwrap_err();
    assert_eq!(expired.stable_code(), "expired-version", "it named the damaged leaf: {}", full(&expired));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_newest_root_is_in_nobodys_way() {
    for damage in ["cut", "gone", "text"] {
        let store = scattered().await;
        let ctx = context(store.clone());
        let (newest, expected) = (Snapshot::open(&store).await.unwrap().version(), rows(&store).await);
        let root = Layout::root(newest);
        let bytes = store.get(&root).await.unwrap();
        match damage {
            "cut" => store.put(&root, bytes.slice(..bytes.len() / 2)).await.unwrap(),
            "gone" => store.delete(vec![root.clone()]).await.unwrap(),
            _ => store.put(&root, "nothing").await.unwrap(),
        }
        if damage != "gone" {
            let error = Snapshot::open(&store).await.unwrap_err();
            assert_eq!(error.commands(), ["tier rebuild"], "{damage}: {}", full(&error));
        }
        let report = rebuilt(&ctx).await;
        assert_eq!((report.version, report.carried_from), (Some(newest + 1), Some(newest - 1)), "{damage}");
        assert!(report.lost.iter().any(|lost| lost.what == "legal holds"), "{damage}: {report:#?}");
        assert_eq!(rows(&store).await, expected, "{damage}");
        check_whole(&ctx).await;
        assert_eq!(Snapshot::look(&store, newest).await.unwrap().unwrap().operation().kind, "lost", "{damage}");
        let since = tier::rehydrate::added_since(&Snapshot::open(&store).await.unwrap(), 1).await.unwrap_err();
        assert_eq!(since.stable_code(), "since-expired", "{damage}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_begins_a_second_archive_where_the_first_ones_roots_are_gone() {
    let store = scattered().await;
    let roots = store.list(Layout::ROOTS, None).await.unwrap().into_iter().map(|object| object.path).collect();
    store.delete(roots).await.unwrap();
    let lab = Lab::over(store.clone());
    lab.write("a.ndjson", lines(0..3));
    assert_eq!(lab.fail(&["a.ndjson"]).await.stable_code(), "lost-catalog");
    assert_eq!(rebuilt(&lab.ctx).await.version, Some(6));
    assert_eq!(lab.archive(&["a.ndjson"]).await.duplicate, 3);
    // A writer that stood still since version 2 finds its place taken.
    assert!(store.get_opt(&Layout::root(3)).await.unwrap().is_some());
}

/// A file of a run that was killed before its commit: the same rows under a name of its own.
async fn orphan(store: &Store, of: &str, run: &str) -> String {
    let path = format!("{}/{:020}-{run}-0.parquet", of.rsplit_once('/').unwrap().0, 0);
    let bytes = store.get(of).await.unwrap();
    store.put(&path, bytes).await.unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn what_shares_some_events_with_another_file_is_named_and_a_person_decides() {
    let (lab, other) = (Lab::new(), Lab::new());
    lab.write("a.ndjson", lines(0..10));
    lab.archive(&["a.ndjson"]).await;
    other.write("b.ndjson", lines(5..15));
    other.archive(&["b.ndjson"]).await;
    let store = &lab.ctx.store;
    let (ours, theirs) = (files(store).await, files(&other.ctx.store).await);
    let path = theirs.keys().next().unwrap();
    store.put(path, other.ctx.store.get(path).await.unwrap()).await.unwrap();
    lose_catalog(store).await;
    let report = run(&lab.ctx, &PLAIN).await;
    assert_eq!((report.version, report.problem_counts.get(&ProblemKind::Overlap)), (None, Some(&1)), "{report:#?}");
    assert!(report.problems[0].what.starts_with("5 of its events, and not all, are in events/"), "{report:#?}");
    assert_eq!(Snapshot::latest(store).await.unwrap().map(|s| s.version()), None, "nothing was committed");
    // Of rows that cannot be decoded the footer does not tell.
    let whole = store.get(path).await.unwrap();
    let mut spoilt = whole.to_vec();
    spoilt[4..40].fill(0xff);
    store.put(path, spoilt).await.unwrap();
    let error = rebuild(&lab.ctx, &PLAIN).await.unwrap_err();
    assert!(full(&error).contains(path) && error.hint_text().unwrap().contains("--leave-out"), "{}", full(&error));
    store.put(path, whole).await.unwrap();
    let options = RebuildOptions { leave_out: vec![path.clone()], ..PLAIN };
    let report = run(&lab.ctx, &options).await;
    assert_eq!((report.rows, report.left_out.asked.objects), (10, 1), "{report:#?}");
    assert_eq!(told(&files(store).await), told(&ours));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_runs_file_beside_an_archived_bundle_is_doubtful_and_a_known_runs_is_not() {
    let store = scattered().await;
    let ctx = context(store.clone());
    let first = files(&store).await.into_values().find(|file| file.rows == 20).unwrap();
    // Not named by the bundle, and its ids are within the bundle's.
    let left_behind = orphan(&store, &first.path, "0123456789abcdef").await;
    bundle(&ctx, StorageClass::DeepArchive, |file| file.dates.min.day() == 24).await;
    let expected = rows(&store).await;
    lose_catalog(&store).await;
    let report = run(&ctx, &PLAIN).await;
    let [problem] = &report.problems[..] else { panic!("{report:#?}") };
    assert_eq!((problem.kind, &problem.object), (ProblemKind::Undecided, &left_behind));
    let folder = left_behind.rsplit_once('/').unwrap().0;
    let report = run(&ctx, &RebuildOptions { leave_out: vec![left_behind.clone()], ..PLAIN }).await;
    assert_eq!((report.rows, report.version.is_some()), (26, true), "{report:#?}");
    assert_eq!(rows(&store).await, expected);
    check_whole(&ctx).await;
    // Kept because a person said so: then its events are there twice, and a check by ids would say it.
    let kept = run(&ctx, &RebuildOptions { keep: vec![format!("{folder}/")], ..REPLACE }).await;
    assert_eq!(kept.rows, 46);
}

async fn copy(from: &Store, to: &Store, folders: &[&str]) {
    for folder in folders {
        for object in from.list(folder, None).await.unwrap() {
            to.put(&object.path, from.get(&object.path).await.unwrap()).await.unwrap();
        }
    }
}

/// Two runs bundled the same files otherwise, each in an archive of its own; then both bundles lie in one.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_bundles_with_files_in_common_one_goes_or_a_person_decides() {
    let other = scattered().await;
    let store = Store::memory();
    copy(&other, &store, &["events", "_tier"]).await;
    let (ctx, expected) = (context(store.clone()), rows(&store).await);
    bundle(&ctx, StorageClass::GlacierIr, |file| file.rows > 1 && file.dates.min.day() == 24).await;
    bundle(&context(other.clone()), StorageClass::GlacierIr, |file| file.rows < 20 && file.dates.min.day() == 24).await;
    let cells: Vec<String> = files(&store).await.into_values().filter(|f| !f.is_bundle()).map(|f| f.path).collect();
    assert_eq!(cells.len(), 2, "one that was not bundled, and that of another day");
    copy(&other, &store, &["_bundles", "_tier/pack"]).await;
    lose_catalog(&store).await;
    let report = rebuilt(&ctx).await;
    assert_eq!(report.left_out.repeated.objects, 1, "{report:#?}");
    assert_eq!(rows(&store).await, expected);
    check_whole(&ctx).await;
    // Without the files that they were made of neither can go.
    store
        .delete(store.list("events", None).await.unwrap().into_iter().map(|object| object.path).collect())
        .await
        .unwrap();
    lose_catalog(&store).await;
    let report = run(&ctx, &PLAIN).await;
    assert_eq!(report.problem_counts.get(&ProblemKind::Overlap), Some(&1), "{report:#?}");
    assert_eq!(report.version, None);
}

/// Its ids are within those of what is archived: that it was compared with them when it was written settles it.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_file_beside_an_archived_one_comes_back_without_a_doubt() {
    for is_bundle in [true, false] {
        let store = scattered().await;
        let lab = Lab::over(store.clone());
        lab.write("late.ndjson", line("15x", "2026-08-24T12:00:00Z", ""));
        lab.archive(&["late.ndjson"]).await;
        let late =
            files(&store).await.into_values().max_by_key(|file| file.path.rsplit('/').next().unwrap().to_owned());
        let late = late.unwrap().path;
        let pick = |file: &DataFile| file.dates.min.day() == 24 && file.path != late;
        // The bundle was begun before the late file came; or that is too small to pay for a move.
        match is_bundle {
            true => bundle(&lab.ctx, StorageClass::DeepArchive, pick).await,
            false => move_in_place(&lab.ctx, StorageClass::DeepArchive, pick).await,
        };
        let report = comes_back(&lab.ctx, "late").await;
        assert_eq!((report.rows, report.problems.len()), (27, 0), "{report:#?}");
        // A second one, and both merged: what all of them were compared with, the merged file was.
        lab.write("later.ndjson", line("z", "2026-08-24T12:00:00Z", ""));
        assert_eq!(lab.archive(&["later.ndjson"]).await.accepted, 1);
        merge(&lab.ctx).await;
        let report = comes_back(&lab.ctx, "merged late files").await;
        assert_eq!((report.rows, report.left_out.replaced.objects >= 2), (28, true), "{report:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_and_has_no_footer_anywhere_is_named() {
    let store = scattered().await;
    let ctx = context(store.clone());
    move_in_place(&ctx, StorageClass::DeepArchive, |file| file.rows == 20).await;
    let moved = files(&store).await.into_values().find(|file| file.rows == 20).unwrap();
    let damaged = files(&store).await.into_values().find(|file| file.dates.min.day() == 25).unwrap();
    store.delete(vec![moved.pack.unwrap().path]).await.unwrap();
    store.put(&damaged.path, "no Parquet at all").await.unwrap();
    lose_catalog(&store).await;
    let report = run(&ctx, &PLAIN).await;
    let mut found: Vec<_> = report.problems.iter().map(|problem| (problem.kind, problem.object.clone())).collect();
    found.sort();
    assert_eq!(found, [(ProblemKind::NoFooter, moved.path.clone()), (ProblemKind::Damaged, damaged.path.clone())]);
    let options = RebuildOptions { leave_out: vec![moved.path, "events/date=2026-08-25".into()], ..PLAIN };
    assert_eq!(run(&ctx, &options).await.rows, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_names_what_differs_and_writes_nothing() {
    let store = scattered().await;
    let ctx = context(store.clone());
    let before = store.list("", None).await.unwrap();
    assert!(run(&ctx, &CHECK).await.is_equal());
    assert_eq!(store.list("", None).await.unwrap(), before);
    let (lab, own) = (Lab::over(store.clone()), files(&store).await);
    lab.write("f.ndjson", line("f", "2026-08-26T12:00:00Z", ""));
    let reverted = lab.archive(&["f.ndjson"]).await.version.unwrap();
    tier::archive::revert(&ctx, reverted).await.unwrap();
    let gone = own.keys().next().unwrap();
    store.delete(vec![gone.clone()]).await.unwrap();
    let report = run(&ctx, &CHECK).await;
    let whats: Vec<_> = report.differences.iter().map(|d| (d.object.as_str(), d.what.as_str())).collect();
    assert_eq!(report.difference_count, 2, "{report:#?}");
    assert!(
        whats[0].0.contains("date=2026-08-26") && whats[0].1.starts_with("the data has it, with 1 rows"),
        "{whats:?}"
    );
    assert!(whats[1].0 == gone && whats[1].1.starts_with("the catalog names it, with 20 rows"), "{whats:?}");
    vacuum(&store).await;
    lose_catalog(&store).await;
    let nothing = rebuild(&ctx, &CHECK).await.unwrap_err();
    assert_eq!(nothing.stable_code(), "unreadable-root");
    let nowhere = rebuild(&context(Store::memory()), &PLAIN).await.unwrap_err();
    assert_eq!(nowhere.stable_code(), "no-archive");
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_come_back_open() {
    let lab = Lab::new();
    lab.write("a.ndjson", lines(0..20) + "{\n" + &line("1", "2026-08-24T12:00:00Z", r#""n":2"#));
    lab.archive(&["a.ndjson"]).await;
    let before = lab.letters_in_short().await;
    assert_eq!(before.len(), 2);
    lose_catalog(&lab.ctx.store).await;
    let report = rebuilt(&lab.ctx).await;
    assert_eq!((report.dead_letter_files, report.dead_letters), (2, 2));
    assert_eq!(lab.letters_in_short().await, before);
    check_whole(&lab.ctx).await;
}

/// Any history, and after each step the catalog that the data makes is the one that there is; at the end it is lost.
#[tokio::test(flavor = "multi_thread")]
async fn random_histories_come_back() {
    for seed in 0..8 {
        let (lab, mut dice) = (Lab::new(), Dice(seed));
        for step in 0..14 {
            let ctx = &lab.ctx;
            let is_there = Snapshot::latest(&ctx.store).await.unwrap().is_some();
            let what = match dice.below(if is_there { 9 } else { 1 }) {
                0..=3 => {
                    let name = format!("{step}.ndjson");
                    let first = dice.below(40);
                    let record = |id: u64| {
                        let day = 20 + id % 3;
                        let tenant = ["acme", "a/b=c", "名前 1"][(id / 3 % 3) as usize];
                        let more = if id.is_multiple_of(5) { r#""n":1"# } else { "" };
                        let line = line(&format!("e{id}"), &format!("2026-08-{day}T12:00:{:02}Z", id % 60), more);
                        line.replace("acme\",\"ts", &format!("{tenant}\",\"ts")) + "\n"
                    };
                    lab.write(&name, (first..first + 9).map(record).collect::<String>());
                    lab.archive(&[&name]).await;
                    "archived"
                }
                4 | 5 => {
                    merge(ctx).await;
                    "merged"
                }
                6 => {
                    compact::merge_runs(ctx, compact::Bound::default()).await.unwrap();
                    "merged leaves"
                }
                7 => {
                    let class = [StorageClass::Standard, StorageClass::GlacierIr][dice.below(2) as usize];
                    let day = 20 + dice.below(3) as i8;
                    let is_any = files(&ctx.store).await.values().any(|f| !f.is_bundle() && f.dates.min.day() == day);
                    if is_any {
                        bundle(ctx, class, |file| file.dates.min.day() == day).await;
                    }
                    "bundled"
                }
                _ => {
                    vacuum(&ctx.store).await;
                    "vacuumed"
                }
            };
            let report = run(ctx, &CHECK).await;
            assert!(report.is_equal(), "seed {seed}, step {step}: {what}: {report:#?}");
        }
        comes_back(&lab.ctx, &format!("seed {seed}")).await;
    }
}

const ANSWERS: [&str; 2] = [
    "SELECT date, event_type, tenant_id, count(*) AS n, min(ts) AS first, max(ts) AS last FROM events GROUP BY 1, 2, 3 \
     ORDER BY 1, 2, 3",
    "SELECT tenant_id, count(*) AS n, count(DISTINCT event_id) AS ids, round(sum(amount), 2) AS amount, max(payload) AS p \
     FROM events GROUP BY 1 ORDER BY 1",
];

/// As a user would live it: a year later the catalog is gone.
#[test]
fn every_question_is_answered_as_before() {
    let mut tier = Tier::new();
    tier.set("TIER_ARCHIVE", "archive");
    let at = |now: &str, args: &[&str]| tier.ok(&[&["--now", now], args].concat());
    at("2026-09-01T00:00:00Z", &["archive", &sample_data()]);
    tier.write("late.ndjson", line("late", "2026-08-24T12:00:00Z", r#""brand_new":1.5"#));
    at("2026-09-02T00:00:00Z", &["archive", "late.ndjson"]);
    at("2026-09-03T00:00:00Z", &["compact"]);
    at("2026-09-04T00:00:00Z", &["hold", "add", "--tenant", "acme", "--reason", "case 17"]);
    tier.write("sep.ndjson", line("sep", "2026-09-04T12:00:00Z", r#""amount":3"#));
    at("2026-09-05T00:00:00Z", &["archive", "sep.ndjson"]);
    let lose = || {
        for folder in ["root", "leaf"] {
            fs::remove_dir_all(tier.path(&format!("archive/_tier/{folder}"))).unwrap();
        }
        fs::remove_file(tier.path("archive/_tier/hint")).unwrap();
    };
    let answers = |now: &str| ANSWERS.map(|sql| at(now, &["query", sql]).stdout);
    let before = answers("2026-09-06T00:00:00Z");
    lose();
    let done = at("2026-09-06T00:00:00Z", &["rebuild"]);
    for words in ["1,502 rows", "committed", "legal holds", "tier hold add", "mapping", "4 dead letters in"] {
        assert!(done.stderr.contains(words), "{words}: {done:#?}");
    }
    assert_eq!(answers("2026-09-06T00:00:00Z"), before);
    let whole = tier.run(&["--now", "2026-09-06T00:00:00Z", "--json", "verify", "--read", "all"]);
    assert!(
        whole.code == Some(7) && whole.stdout.contains("\"problems\": []"),
        "what was merged lies there: {whole:#?}"
    );
    let again = at("2026-09-07T00:00:00Z", &["archive", &sample_data()]);
    assert!(again.stderr.contains("1,539 duplicate") || again.stderr.contains("0 new"), "{again:#?}");
    assert_eq!(answers("2026-09-07T00:00:00Z"), before);

    let year = "2027-09-01T00:00:00Z";
    at(year, &["lifecycle", "apply", "--yes", "--max-cost", "1"]);
    let sql = "SELECT count(*) AS n, sum(amount) AS amount FROM events WHERE date < '2026-09-01'";
    at(year, &["restore", "start", "--query", sql, "--yes", "--max-cost", "1"]);
    let restored = "2027-09-03T00:00:00Z";
    let question = at(restored, &["query", sql]);
    lose();
    let outcome = tier.run(&["--now", year, "rebuild", "--json"]);
    let report: serde_json::Value =
        serde_json::from_str(&outcome.stdout).unwrap_or_else(|e| panic!("{e} {outcome:#?}"));
    assert_eq!(
        (outcome.code, &report["rows"], &report["problems"]),
        (Some(0), &json!(1_502), &json!([])),
        "{report:#}"
    );
    assert_eq!(report["classes"]["DEEP_ARCHIVE"]["files"], 1, "{report:#}");
    let count = at(year, &["query", "SELECT count(*) FROM events"]);
    assert_eq!(count.stdout, "count(*)\n1502\n", "the catalog alone answers");
    assert_eq!(at(restored, &["query", sql]), question, "the restored copy is found again");
    assert_eq!(answers(restored), before);
    let whole = tier.run(&["--now", year, "--json", "verify"]);
    assert!(whole.stdout.contains("\"problems\": []"), "{whole:#?}");
    at("2027-09-20T00:00:00Z", &["vacuum", "--yes"]);
    assert_eq!(tier.json(&["--now", year, "rebuild", "--check"])["difference_count"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_an_s3_store_it_comes_back_with_a_request_for_each_file() {
    let (tier, address) = (Tier::with_s3(), fresh_address());
    tier.ok(&["archive", &sample_data(), "--archive", &address]);
    tier.write("late.ndjson", line("late", "2026-08-24T12:00:00Z", r#""brand_new":1.5"#));
    tier.ok(&["archive", "late.ndjson", "--archive", &address]);
    tier.ok(&["compact", "--archive", &address]);
    let answers = || ANSWERS.map(|sql| tier.ok(&["query", sql, "--archive", &address]).stdout);
    let before = answers();
    let store = Store::open(&address.parse().unwrap(), ClassTime::default()).await.unwrap();
    assert_eq!(tier.json(&["rebuild", "--check", "--archive", &address])["difference_count"], 0);
    lose_catalog(&store).await;
    let requests = store.requests();
    let report = rebuilt(&context(store.clone())).await;
    let spent = store.requests().since(&requests);
    assert_eq!(report.rows, 1_501);
    assert!(spent.get < 2 * report.files + 20, "{spent:?} for {} files", report.files);
    assert_eq!(answers(), before);
    check_whole(&context(store)).await;
}

/// A bundle whose run was killed before it wrote the pack, and its inputs.
#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_without_a_pack_goes_or_gets_one() {
    let store = scattered().await;
    let ctx = context(store.clone());
    let expected = rows(&store).await;
    bundle(&ctx, StorageClass::GlacierIr, |_| true).await;
    let bundled = files(&store).await.into_values().next().unwrap();
    store.delete(vec![bundled.pack.unwrap().path]).await.unwrap();
    lose_catalog(&store).await;
    let report = rebuilt(&ctx).await;
    assert_eq!((report.files, report.left_out.repeated.objects), (5, 1), "{report:#?}");
    assert_eq!(rows(&store).await, expected);
    // Without the inputs it is all there is.
    store.delete(files(&store).await.into_keys().collect()).await.unwrap();
    lose_catalog(&store).await;
    assert_eq!(rebuilt(&ctx).await.files, 1);
    assert_eq!(rows(&store).await, expected);
    check_whole(&ctx).await;
    assert!(files(&store).await.into_values().all(|file: DataFile| file.pack.is_some()));
}

#[test]
fn what_has_expired_is_told_from_the_rest_by_a_vacuum_alone() {
    let mut tier = Tier::new();
    tier.set("TIER_ARCHIVE", "archive").set("TIER_NOW", "2034-01-01T00:00:00Z");
    tier.ok(&["archive", &sample_data(), "--now", "2026-09-01"]);
    tier.write("tier.toml", "[[lifecycle.rules]]\nafter = \"7y\"\ntenant = \"globex\"\nexpire = true\n");
    let expires = tier.json(&["lifecycle", "plan"])["totals"]["expires"].as_u64().unwrap();
    assert!(expires > 0);
    let sql = "SELECT tenant_id, count(*) AS n, max(ts) AS last FROM events GROUP BY 1 ORDER BY 1";
    tier.ok(&["lifecycle", "apply", "--yes", "--max-cost", "1", "--confirm", &expires.to_string()]);
    let lose = || {
        fs::remove_dir_all(tier.path("archive/_tier/root")).unwrap();
        fs::remove_dir_all(tier.path("archive/_tier/leaf")).unwrap();
    };
    let differs = tier.run(&["rebuild", "--check"]);
    assert_eq!(differs.code, Some(7), "{differs:#?}");
    let of_globex = |line: &&str| line.contains("tenant_id=globex") && line.contains("the data has it");
    assert_eq!(differs.stdout.lines().filter(of_globex).count() as u64, expires, "{differs:#?}");
    let before = tier.ok(&["query", sql]).stdout;
    assert!(!before.contains("globex"), "{before}");
    tier.ok(&["vacuum", "--yes", "--grace", "0s", "--now", "2200-01-01"]);
    tier.ok(&["rebuild", "--check"]);
    lose();
    tier.ok(&["rebuild"]);
    assert_eq!(tier.ok(&["query", sql]).stdout, before);
    let refused = tier.run(&["rebuild"]);
    assert_eq!(refused.code, Some(2), "{refused:#?}");
    assert!(refused.stderr.contains("tier rebuild --check"), "{refused:#?}");
    assert_eq!(tier.run(&["rebuild", "--replace"]).code, Some(2), "nobody was asked");
    tier.ok(&["rebuild", "--replace", "--yes"]);
    assert_eq!(tier.ok(&["query", sql]).stdout, before);
}
