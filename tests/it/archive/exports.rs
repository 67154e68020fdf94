//! Which exports are read, what is new in them, and what happens to them afterwards.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use tier::archive::{self, AfterCommit, ExportStatus};
use tier::error::Kind;
use tier::progress::{Progress, Silent, Task, Unit};

use crate::support::events::NOW;
use crate::support::lab::{Lab, check_versions, counts, full, line, lines, names_in};

fn statuses(report: &archive::ArchiveReport) -> Vec<ExportStatus> {
    report.exports.iter().map(|export| export.status).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_export_again_adds_nothing_and_makes_no_version() {
    let lab = Lab::new();
    lab.write("day.ndjson", lines(0..100));
    let first = lab.archive(&["day.ndjson"]).await;
    assert_eq!((counts(&first), first.version, first.committed), ((100, 100, 0, 0), Some(1), vec![1]));
    let before = lab.objects().await;
    let again = lab.archive(&["day.ndjson"]).await;
    assert_eq!((counts(&again), again.version, again.committed.len()), ((0, 0, 0, 0), Some(1), 0));
    assert_eq!(statuses(&again), [ExportStatus::AlreadyArchived]);
    assert_eq!(again.exports[0].digest, first.exports[0].digest);
    let rehashed = lab.archive_with(&["day.ndjson"], |request| request.rehash = true).await;
    assert_eq!((statuses(&rehashed), rehashed.committed.len()), (vec![ExportStatus::AlreadyArchived], 0));
    assert_eq!(lab.objects().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_name_with_new_bytes_is_a_new_export() {
    let lab = Lab::new();
    lab.write("day.ndjson", lines(0..10));
    lab.archive(&["day.ndjson"]).await;
    lab.write("day.ndjson", lines(5..15));
    let report = lab.archive(&["day.ndjson"]).await;
    assert_eq!((counts(&report), report.version), ((10, 5, 5, 0), Some(2)));
    assert_eq!(lab.rows().await.len(), 15);
    check_versions(&lab.ctx.store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_changed_in_place_is_noticed_by_its_modification_time() {
    let lab = Lab::new();
    let path = lab.write("day.ndjson", lines(10..20));
    lab.archive(&["day.ndjson"]).await;
    let stamp = fs::metadata(&path).unwrap().modified().unwrap();
    lab.write("day.ndjson", lines(20..30));
    File::open(&path).unwrap().set_modified(stamp + Duration::from_secs(60)).unwrap();
    assert_eq!(counts(&lab.archive(&["day.ndjson"]).await), (10, 10, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn rehash_reads_a_file_that_looks_unchanged() {
    let lab = Lab::new();
    let path = lab.write("day.ndjson", lines(10..20));
    let stamp = fs::metadata(&path).unwrap().modified().unwrap();
    lab.archive(&["day.ndjson"]).await;
    lab.write("day.ndjson", lines(20..30));
    File::open(&path).unwrap().set_modified(stamp).unwrap();
    assert_eq!(statuses(&lab.archive(&["day.ndjson"]).await), [ExportStatus::AlreadyArchived]);
    let report = lab.archive_with(&["day.ndjson"], |request| request.rehash = true).await;
    assert_eq!(counts(&report), (10, 10, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_under_another_name_are_archived_already() {
    let lab = Lab::new();
    lab.write("a.ndjson", lines(0..10));
    lab.archive(&["a.ndjson"]).await;
    lab.write("b.ndjson", lines(0..10));
    let report = lab.archive(&["b.ndjson"]).await;
    assert_eq!((statuses(&report), report.version), (vec![ExportStatus::AlreadyArchived], Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn overlapping_exports_of_one_run_count_duplicates_where_they_come_later() {
    let lab = Lab::new();
    lab.write("in/b.ndjson", lines(5..20));
    lab.write("in/a.ndjson", lines(0..10));
    lab.write("in/deep/c.ndjson", lines(0..20));
    lab.write("in/_not.ndjson", "{");
    lab.write("in/.not.ndjson", "{");
    let report = lab.archive(&["in"]).await;
    let of_each: Vec<_> = report.exports.iter().map(|e| (e.read, e.accepted, e.duplicate)).collect();
    assert_eq!(of_each, [(10, 10, 0), (15, 10, 5), (20, 0, 20)]);
    assert_eq!(lab.rows().await.len(), 20);
    assert_eq!(report.committed, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_in_the_same_run_is_all_duplicates() {
    let lab = Lab::new();
    lab.write("a.ndjson", lines(0..10));
    lab.write("b.ndjson", lines(0..10));
    let report = lab.archive(&["a.ndjson", "b.ndjson", "*.ndjson"]).await;
    assert_eq!((report.exports.len(), counts(&report)), (2, (20, 10, 10, 0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_export_lands_in_its_own_day() {
    let lab = Lab::new();
    lab.write("mon.ndjson", line("1", "2026-08-24T10:00:00Z", ""));
    lab.write(
        "tue.ndjson",
        [line("2", "2026-08-25T00:00:00Z", ""), line("3", "2026-08-24T23:59:59.999999Z", "")].join("\n"),
    );
    lab.archive(&["mon.ndjson"]).await;
    let report = lab.archive(&["tue.ndjson"]).await;
    let dates: Vec<String> = report.dates.iter().map(ToString::to_string).collect();
    assert_eq!((dates, report.cells, report.files), (vec!["2026-08-24".to_owned(), "2026-08-25".to_owned()], 2, 2));
    assert_eq!(
        lab.rows().await,
        [
            r#"2026-08-24/login/acme {"event_id":"1","ts":"2026-08-24T10:00:00Z"}"#,
            r#"2026-08-24/login/acme {"event_id":"3","ts":"2026-08-24T23:59:59.999999Z"}"#,
            r#"2026-08-25/login/acme {"event_id":"2","ts":"2026-08-25T00:00:00Z"}"#,
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_alone_is_archived_and_known_afterwards() {
    for name in ["empty.ndjson", "empty.csv"] {
        let lab = Lab::new();
        lab.write(name, "");
        let report = lab.archive(&[name]).await;
        assert_eq!((counts(&report), report.files), ((0, 0, 0, 0), 0), "{name}");
        assert_eq!(statuses(&lab.archive(&[name]).await), [ExportStatus::AlreadyArchived], "{name}");
    }
    let lab = Lab::new();
    lab.write("blank.ndjson", "\n\r\n  \n\t\n");
    assert_eq!(counts(&lab.archive(&["blank.ndjson"]).await), (0, 0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn settle_leaves_young_files_alone() {
    let lab = Lab::new();
    let now: SystemTime = NOW.parse::<Timestamp>().unwrap().into();
    for (name, age) in [("old.ndjson", 301), ("young.ndjson", 299)] {
        let path = lab.write(name, lines(0..age as u32));
        File::open(path).unwrap().set_modified(now - Duration::from_secs(age)).unwrap();
    }
    let settle = |request: &mut archive::ArchiveRequest| request.settle = Duration::from_secs(300);
    let report = lab.archive_with(&["*.ndjson"], settle).await;
    assert_eq!(statuses(&report), [ExportStatus::Archived, ExportStatus::Settling]);
    assert_eq!(counts(&report), (301, 301, 0, 0));
    let report = lab.archive(&["*.ndjson"]).await;
    assert_eq!(statuses(&report), [ExportStatus::AlreadyArchived, ExportStatus::Archived]);
    assert_eq!(counts(&report), (299, 0, 299, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_commit_exports_are_moved_or_deleted() {
    let lab = Lab::new();
    lab.write("in/a.ndjson", lines(0..10));
    let done = lab.path("done");
    lab.archive_with(&["in"], |request| request.after_commit = AfterCommit::Move(done.clone())).await;
    assert_eq!((names_in(&lab.path("in")), names_in(&done)), (vec![], vec!["a.ndjson".to_owned()]));
    // A run killed between commit and move left this one: it goes although it is archived already.
    lab.write("in/b.ndjson", lines(0..10));
    lab.write("in/c.ndjson", lines(10..20));
    lab.archive_with(&["in"], |request| request.after_commit = AfterCommit::Delete).await;
    assert_eq!(names_in(&lab.path("in")), Vec::<String>::new());
    assert_eq!(lab.rows().await.len(), 20);
}

/// Writes to a file once its run has read it.
struct Appending(PathBuf);

impl Progress for Appending {
    fn task(&self, name: &'static str, unit: Unit, total: Option<u64>) -> Arc<dyn Task> {
        if name == "write" {
            let mut file = File::options().append(true).open(&self.0).unwrap();
            file.write_all(lines(10..12).as_bytes()).unwrap();
        }
        Silent.task(name, unit, total)
    }

    fn warn(&self, _: &str) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_grew_while_it_was_archived_is_not_deleted() {
    let mut lab = Lab::new();
    let path = lab.write("in/a.ndjson", lines(0..10));
    lab.ctx.progress = Arc::new(Appending(path.clone()));
    let delete = |request: &mut archive::ArchiveRequest| request.after_commit = AfterCommit::Delete;
    assert_eq!(counts(&lab.archive_with(&["in"], delete).await), (10, 10, 0, 0));
    assert!(path.exists());
    lab.ctx.progress = Arc::new(Silent);
    assert_eq!(counts(&lab.archive_with(&["in"], delete).await), (12, 2, 10, 0));
    assert!(!path.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_run_leaves_the_exports_where_they_are() {
    let lab = Lab::new();
    lab.write("in/a.ndjson", "{");
    lab.fail_with(&["in"], |request| request.after_commit = AfterCommit::Delete).await;
    assert_eq!(names_in(&lab.path("in")), ["a.ndjson"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_writes_nothing_and_names_exports_dates_and_cells() {
    let lab = Lab::new();
    lab.write("a.ndjson", lines(0..1000));
    let plan = archive::plan(&lab.ctx, &lab.request(&["a.ndjson"])).await.unwrap();
    assert_eq!(
        plan.exports.iter().map(|e| (e.status, e.rows_estimated)).collect::<Vec<_>>(),
        [(ExportStatus::Archived, 1000)]
    );
    assert_eq!(plan.cells.into_iter().collect::<Vec<_>>(), ["date=2026-08-24/event_type=login/tenant_id=acme"]);
    assert_eq!(plan.dates.into_iter().collect::<Vec<_>>(), ["2026-08-24"]);
    assert_eq!(lab.objects().await, Vec::<String>::new());
    lab.archive(&["a.ndjson"]).await;
    let (before, plan) = (lab.objects().await, archive::plan(&lab.ctx, &lab.request(&["a.ndjson"])).await.unwrap());
    assert_eq!((plan.exports[0].status, plan.rows_estimated), (ExportStatus::AlreadyArchived, 0));
    assert_eq!(lab.objects().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_names_no_export_is_an_error_that_says_so() {
    let lab = Lab::new();
    lab.write("a.log", "{}");
    lab.write("in/_hidden.ndjson", "{}");
    for (name, kind, code) in [
        ("missing.ndjson", Kind::Failed, "no-exports"),
        ("*.csv", Kind::Failed, "no-exports"),
        ("in", Kind::Failed, "no-exports"),
        ("a.log", Kind::Usage, "unknown-format"),
    ] {
        let error = lab.fail(&[name]).await;
        assert_eq!((error.kind(), error.stable_code()), (kind, code), "{name}: {}", full(&error));
        assert!(full(&error).contains(name), "{}", full(&error));
    }
}
