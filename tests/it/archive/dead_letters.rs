//! Records that cannot be archived, and the ways back: replay, discard, revert.

use std::sync::Arc;

use tier::archive::{self, ArchiveRequest, DeadLetterLimit, Replay};
use tier::clock::Clock;
use tier::error::Kind;
use tier::model::{Reason, RecordFormat};

use crate::support::lab::{Lab, check_versions, counts, full, line, lines};

const NOON: &str = "2026-08-24T12:00:00Z";

#[tokio::test(flavor = "multi_thread")]
async fn the_first_of_two_contents_stays_and_the_other_is_a_conflict_with_its_text() {
    let lab = Lab::new();
    let first = line("1", NOON, r#""n":1"#);
    let second = line("1", NOON, r#" "n":2 "#);
    lab.write("a.ndjson", format!("{first}\n{second}\n{first}\n"));
    assert_eq!(counts(&lab.archive(&["a.ndjson"]).await), (3, 1, 1, 1));
    let path = lab.path("a.ndjson").to_string_lossy().into_owned();
    let letter = lab.letters().await.remove(0);
    assert_eq!((letter.file, letter.line, letter.reason, letter.raw), (path, 2, Reason::Conflict, second.clone()));
    assert_eq!((letter.format, letter.raw_is_hex, letter.truncated), (RecordFormat::Ndjson, false, false));
    // The same against what the archive holds, and in CSV.
    lab.write(
        "b.csv",
        format!("event_id,event_type,tenant_id,ts,n\n1,login,acme,{NOON},1\n1,login,acme,{NOON},\"3\"\n"),
    );
    assert_eq!(counts(&lab.archive(&["b.csv"]).await), (2, 0, 1, 1));
    let letters = lab.letters_in_short().await;
    assert_eq!(letters, [format!("conflict 2: {second}"), format!("conflict 3: 1,login,acme,{NOON},3")]);
    let row = r#"2026-08-24/login/acme {"event_id":"1","ts":"2026-08-24T12:00:00Z","n":1}"#;
    assert_eq!(lab.rows().await, [row]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_that_is_replayed_stays_one_until_what_it_conflicts_with_is_gone() {
    let lab = Lab::new();
    lab.write("a.ndjson", line("1", NOON, r#""n":1"#));
    lab.write("b.ndjson", [line("1", NOON, r#""n":2"#), line("2", "2026-08-25T12:00:00Z", "")].join("\n"));
    lab.archive(&["a.ndjson"]).await;
    lab.archive(&["b.ndjson"]).await;
    let replayed = lab.replay(|_| {}).await;
    assert_eq!((counts(&replayed), lab.letters_in_short().await.len()), ((1, 0, 0, 1), 1));
    let error = archive::revert(&lab.ctx, 1).await.unwrap_err();
    assert_eq!((error.kind(), error.stable_code()), (Kind::Usage, "built-upon"), "{}", full(&error));
    check_versions(&lab.ctx.store).await;
    for version in [3, 2, 1] {
        archive::revert(&lab.ctx, version).await.unwrap_or_else(|error| panic!("{version}: {}", full(&error)));
    }
    assert_eq!(lab.rows().await, Vec::<String>::new());
    assert_eq!(counts(&lab.archive(&["b.ndjson"]).await), (2, 2, 0, 0));
    check_versions(&lab.ctx.store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_dead_letters_are_closed_in_the_same_commit() {
    let mut lab = Lab::new();
    let early = line("2", "2026-11-24T00:00:00Z", "");
    lab.write("a.ndjson", [line("1", NOON, ""), early.clone(), "{".to_owned()].join("\n"));
    lab.archive(&["a.ndjson"]).await;
    assert_eq!(lab.letters_in_short().await, [format!("time 2: {early}"), "syntax 3: {".to_owned()]);
    lab.ctx.clock = Clock::Fixed("2026-11-25T00:00:00Z".parse().unwrap());
    let report = lab.replay(|_| {}).await;
    assert_eq!((counts(&report), report.committed), ((2, 1, 0, 1), vec![2]));
    assert_eq!(lab.letters_in_short().await, ["syntax 3: {"]);
    assert_eq!(lab.rows().await.len(), 2);
    let reason = Replay { reason: Some(Reason::Syntax), version: None };
    assert_eq!(archive::discard(&lab.ctx, reason).await.unwrap(), 1);
    assert_eq!(lab.letters_in_short().await, Vec::<String>::new());
    let nothing = lab.replay(|_| {}).await;
    assert_eq!((counts(&nothing), nothing.version, nothing.committed), ((0, 0, 0, 0), Some(3), vec![]));
    assert_eq!(archive::discard(&lab.ctx, Replay::default()).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_dead_letter_can_be_replayed() {
    let mut lab = Lab::new();
    let late = "2026-11-24T00:00:00Z";
    lab.write("a.csv", format!("event_id,event_type,tenant_id,ts,note\n1,a,t,{NOON},x\n2,a,t,{late},\"two\nlines\"\n"));
    lab.write("b.ndjson", [b"\xff\n".as_slice(), line("3", late, r#""note":"y""#).as_bytes()].concat());
    super::formats::write_parquet(
        &lab.path("c.parquet"),
        ["event_id", "event_type", "tenant_id", "ts", "note"]
            .into_iter()
            .zip(["4", "a", "t", late, "z"])
            .map(|(name, value)| (name, Arc::new(arrow::array::StringArray::from(vec![value])) as _))
            .collect(),
    );
    assert_eq!(counts(&lab.archive(&["*"]).await), (5, 1, 0, 4));
    lab.ctx.clock = Clock::Fixed("2026-11-25T00:00:00Z".parse().unwrap());
    assert_eq!(counts(&lab.replay(|_| {}).await), (4, 3, 0, 1));
    assert_eq!(lab.letters_in_short().await, ["encoding 1: ff"]);
    let notes: Vec<String> = lab.rows().await.iter().map(|row| row.split("note").nth(1).unwrap().to_owned()).collect();
    assert_eq!(notes, [r#"":"x"}"#, r#"":"two\nlines"}"#, r#"":"z"}"#, r#"":"y"}"#]);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_dead_letters_fail_the_run_and_leave_no_trace() {
    let bad = |count: usize, of: u32| lines(0..of - count as u32) + &"{\n".repeat(count);
    let fails = |limit: DeadLetterLimit, bad: String| async move {
        let lab = Lab::new();
        lab.write("a.ndjson", bad);
        lab.write("b.ndjson", lines(5_000..5_100));
        let set = |request: &mut ArchiveRequest| request.max_dead_letters = limit;
        match archive::archive(&lab.ctx, &{
            let mut r = lab.request(&["*"]);
            set(&mut r);
            r
        })
        .await
        {
            Ok(_) => None,
            Err(error) => {
                assert_eq!((error.kind(), error.stable_code()), (Kind::Failed, "too-many-dead-letters"));
                let text = full(&error);
                assert!(text.contains("a.ndjson") && text.matches("EOF while parsing").count() == 3, "{text}");
                Some(lab.objects().await)
            }
        }
    };
    let none = Some(Vec::new());
    assert_eq!(fails(DeadLetterLimit::Default, bad(10, 100)).await, None);
    assert_eq!(fails(DeadLetterLimit::Default, bad(11, 100)).await, none);
    assert_eq!(fails(DeadLetterLimit::Default, bad(20, 2_000)).await, None);
    assert_eq!(fails(DeadLetterLimit::Default, bad(21, 2_000)).await, none);
    assert_eq!(fails(DeadLetterLimit::Rows(4), bad(4, 100)).await, None);
    assert_eq!(fails(DeadLetterLimit::Rows(4), bad(5, 100)).await, none);
    assert_eq!(fails(DeadLetterLimit::Percent(50.0), bad(50, 100)).await, None);
    assert_eq!(fails(DeadLetterLimit::Percent(50.0), bad(51, 100)).await, none);
}

/// Conflicts are found only when the files of a cell are written already.
#[tokio::test(flavor = "multi_thread")]
async fn too_many_conflicts_leave_no_trace_either() {
    let lab = Lab::new();
    let changed: String = (0..11).map(|id| line(&id.to_string(), NOON, r#""n":1"#) + "\n").collect();
    lab.write("a.ndjson", lines(0..100) + &changed);
    let error = lab.fail(&["a.ndjson"]).await;
    assert_eq!(error.stable_code(), "too-many-dead-letters", "{}", full(&error));
    assert_eq!(lab.objects().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_accepts_nothing_fails() {
    let lab = Lab::new();
    lab.write("a.ndjson", "{\n{}\n");
    let error = lab.fail(&["a.ndjson"]).await;
    assert_eq!(error.to_string(), "none of the 2 records could be archived");
    assert_eq!(lab.objects().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn revert_takes_back_exactly_one_version_and_frees_its_exports() {
    let lab = Lab::new();
    lab.write("a.ndjson", lines(0..10));
    lab.write("b.ndjson", line("x", "2026-08-25T12:00:00Z", r#""n":1"#) + "\n{");
    lab.archive(&["a.ndjson"]).await;
    let before = lab.rows().await;
    lab.archive(&["b.ndjson"]).await;
    let report = archive::revert(&lab.ctx, 2).await.unwrap();
    assert_eq!((report.reverted, report.version, report.files, report.rows, report.exports), (2, 3, 1, 1, 1));
    assert_eq!((lab.rows().await, lab.letters_in_short().await), (before, vec![]));
    assert_eq!(archive::revert(&lab.ctx, 2).await.unwrap_err().to_string(), "version 2 is reverted already");
    assert_eq!(archive::revert(&lab.ctx, 3).await.unwrap_err().kind(), Kind::Usage);
    assert_eq!(archive::revert(&lab.ctx, 9).await.unwrap_err().stable_code(), "no-such-version");
    assert_eq!(counts(&lab.archive(&["a.ndjson", "b.ndjson"]).await), (2, 1, 0, 1));
    assert_eq!(lab.rows().await.len(), 11);
    check_versions(&lab.ctx.store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revert_is_refused_where_later_versions_built_on_it() {
    let lab = Lab::new();
    lab.write("a.ndjson", lines(0..10));
    lab.write("b.ndjson", lines(20..30));
    lab.archive(&["a.ndjson"]).await;
    lab.archive(&["b.ndjson"]).await;
    let error = archive::revert(&lab.ctx, 1).await.unwrap_err();
    assert_eq!((error.stable_code(), error.commands()), ("built-upon", ["tier revert 2".to_owned()].as_slice()));
    archive::revert(&lab.ctx, 2).await.unwrap();
    archive::revert(&lab.ctx, 1).await.unwrap();
    assert_eq!(lab.rows().await, Vec::<String>::new());
    // Duplicates that were dropped because version 4 had them count as built upon, too.
    lab.archive(&["a.ndjson"]).await;
    lab.write("c.ndjson", lines(0..5));
    lab.archive(&["c.ndjson"]).await;
    assert_eq!(archive::revert(&lab.ctx, 5).await.unwrap_err().stable_code(), "built-upon");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_revert_the_columns_it_brought_stay_and_take_the_same_type() {
    let lab = Lab::new();
    lab.write("a.ndjson", line("1", NOON, r#""n":1"#));
    lab.archive(&["a.ndjson"]).await;
    archive::revert(&lab.ctx, 1).await.unwrap();
    assert_eq!(lab.columns().await, ["n BIGINT"]);
    assert_eq!(counts(&lab.archive(&["a.ndjson"]).await), (1, 1, 0, 0));
}
