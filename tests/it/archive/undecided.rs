//! New records of cells whose events lie in bundles or in archived files: found where they can be read, left undecided
//! where not, and settled by a replay after a restore.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use tier::archive::DeadLetterLimit;
use tier::clock::Clock;
use tier::context::Context;
use tier::model::StorageClass::{DeepArchive, Glacier, GlacierIr, Standard, StandardIa};
use tier::model::{DataFile, Reason, RecordFormat, Retrieval};
use tier::store::ClassTime;

use crate::support::bundles::{bundle, move_in_place};
use crate::support::dice::Dice;
use crate::support::lab::{Lab, check_versions, counts, line};

const NOON: &str = "2026-08-24T12:00:00Z";

/// So many hours later, for the archive and for its classes.
fn wait(lab: &mut Lab, hours: i64) {
    let clock = Clock::Fixed(lab.ctx.now() + SignedDuration::from_hours(hours));
    lab.ctx = Context { clock, store: lab.ctx.store.at(ClassTime { clock, speed: 1.0 }), ..lab.ctx.clone() };
}

fn lab() -> Lab {
    let mut lab = Lab::new();
    wait(&mut lab, 0);
    lab
}

/// Makes every archived object readable for two days.
async fn restore_all(lab: &mut Lab) {
    for folder in ["_bundles", "events"] {
        for state in lab.ctx.store.classes().list(folder).await.unwrap() {
            if state.storage_class.is_archived() {
                lab.ctx.store.classes().restore(&state.path, 2, Retrieval::Standard).await.unwrap();
            }
        }
    }
    wait(lab, 13);
}

fn of(tenant: &str, line: &str) -> String {
    line.replace("acme", tenant)
}

/// Events 10 to 50 of `acme`, and one of `zeta`.
async fn five_events(lab: &Lab) -> Vec<String> {
    let five = [10, 20, 30, 40, 50].map(|id| line(&id.to_string(), NOON, r#""n":1"#));
    let all = [&five[..], &[of("zeta", &line("20", NOON, ""))]].concat();
    lab.write("a.ndjson", all.join("\n"));
    assert_eq!(counts(&lab.archive(&["a.ndjson"]).await), (6, 6, 0, 0));
    lab.rows().await
}

/// Pages of a bundle are shared by its small cells: what excludes `99` from the cell of `zeta` are bounds of all ids.
fn late() -> String {
    [
        line("20", NOON, r#""n":1"#),
        line("30", NOON, r#" "n":2 "#),
        line("35", NOON, r#""n":3"#),
        line("60", NOON, r#""n":4"#),
        of("bolt", &line("20", NOON, "")),
        of("zeta", &line("99", NOON, "")),
        line("20", "2026-08-25T12:00:00Z", ""),
    ]
    .join("\n")
}

fn row(tenant: &str, date: &str, id: &str, more: &str) -> String {
    format!(r#"{date}/login/{tenant} {{"event_id":"{id}","ts":"{date}T12:00:00Z"{more}}}"#)
}

/// What of `late` is new without a doubt.
fn decided() -> Vec<String> {
    vec![
        row("acme", "2026-08-24", "60", r#","n":4"#),
        row("bolt", "2026-08-24", "20", ""),
        row("zeta", "2026-08-24", "99", ""),
        row("acme", "2026-08-25", "20", ""),
    ]
}

fn sorted(rows: impl IntoIterator<Item = Vec<String>>) -> Vec<String> {
    let mut rows: Vec<String> = rows.into_iter().flatten().collect();
    rows.sort();
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_archived_bundle_may_hold_waits_for_a_restore_and_a_replay() {
    let mut lab = lab();
    let first = five_events(&lab).await;
    let snapshot = bundle(&lab.ctx, DeepArchive, |_| true).await;
    let path = snapshot.files(|_| true).await.unwrap().remove(0).path;
    assert_eq!(lab.rows().await, first);

    lab.write("b.ndjson", late());
    let report = lab.archive(&["b.ndjson"]).await;
    assert_eq!((counts(&report), report.reasons[&Reason::Undecided]), ((7, 4, 0, 3), 3));
    assert_eq!(report.undecided_dates, ["2026-08-24".parse().unwrap()]);
    let waiting = [
        format!("undecided 1: {}", line("20", NOON, r#""n":1"#)),
        format!("undecided 2: {}", line("30", NOON, r#" "n":2 "#)),
        format!("undecided 3: {}", line("35", NOON, r#""n":3"#)),
    ];
    assert_eq!(lab.letters_in_short().await, waiting);
    let detail = format!("{path} may hold an event of this identity and cannot be read before a restore");
    assert_eq!(lab.letters().await[0].detail, detail);
    assert_eq!(lab.rows().await, sorted([first.clone(), decided()]));

    // Still out of reach: nothing changes but the version. The same export again is known.
    assert_eq!(counts(&lab.replay(|_| {}).await), (3, 0, 0, 3));
    assert_eq!(lab.letters_in_short().await, waiting);
    assert_eq!(lab.archive(&["b.ndjson"]).await.read, 0);

    restore_all(&mut lab).await;
    assert_eq!(counts(&lab.replay(|_| {}).await), (3, 1, 1, 1));
    assert_eq!(lab.letters_in_short().await, [format!("conflict 2: {}", line("30", NOON, r#" "n":2 "#))]);
    let settled = sorted([first, decided(), vec![row("acme", "2026-08-24", "35", r#","n":3"#)]]);
    assert_eq!(lab.rows().await, settled);

    // The window has passed: undecided again, but for those of the cell's own new file.
    wait(&mut lab, 72);
    lab.write("c.ndjson", [line("35", NOON, r#""n":3"#), line("10", NOON, r#""n":1"#)].join("\n"));
    assert_eq!(counts(&lab.archive(&["c.ndjson"]).await), (2, 0, 1, 1));
    assert_eq!(lab.rows().await, settled);
    check_versions(&lab.ctx.store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_can_be_read_is_compared_with_just_the_rows_of_the_cell() {
    for class in [Standard, StandardIa, GlacierIr] {
        let lab = lab();
        let first = five_events(&lab).await;
        bundle(&lab.ctx, class, |_| true).await;
        lab.write("b.ndjson", late());
        let report = lab.archive(&["b.ndjson"]).await;
        assert_eq!((counts(&report), report.undecided_dates.len()), ((7, 5, 1, 1), 0), "{class}");
        assert_eq!(lab.letters_in_short().await, [format!("conflict 2: {}", line("30", NOON, r#" "n":2 "#))]);
        let new = vec![row("acme", "2026-08-24", "35", r#","n":3"#)];
        assert_eq!(lab.rows().await, sorted([first, decided(), new]), "{class}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_whose_file_is_archived_where_it_lies_is_treated_as_a_bundle_is() {
    let mut lab = lab();
    let first = five_events(&lab).await;
    move_in_place(&lab.ctx, Glacier, |file| &*file.tenants.max == "acme").await;
    lab.write("b.ndjson", late());
    assert_eq!(counts(&lab.archive(&["b.ndjson"]).await), (7, 4, 0, 3));
    assert_eq!(lab.rows().await, sorted([first.clone(), decided()]));
    restore_all(&mut lab).await;
    assert_eq!(counts(&lab.replay(|_| {}).await), (3, 1, 1, 1));
    let new = vec![row("acme", "2026-08-24", "35", r#","n":3"#)];
    assert_eq!(lab.rows().await, sorted([first, decided(), new]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_readable_file_decides_another_that_is_archived_cannot_cast_in_doubt() {
    let lab = lab();
    five_events(&lab).await;
    bundle(&lab.ctx, DeepArchive, |_| true).await;
    lab.write("b.ndjson", [line("05", NOON, ""), line("60", NOON, "")].join("\n"));
    assert_eq!(counts(&lab.archive(&["b.ndjson"]).await), (2, 2, 0, 0));
    // Now also with a second bundle, whose ids span those of the first.
    bundle(&lab.ctx, Standard, |_| true).await;
    lab.write("c.ndjson", [line("05", NOON, ""), line("60", NOON, ""), line("20", NOON, "")].join("\n"));
    assert_eq!(counts(&lab.archive(&["c.ndjson"]).await), (3, 0, 2, 1));
    assert_eq!(lab.letters_in_short().await, [format!("undecided 3: {}", line("20", NOON, ""))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn undecided_records_keep_their_text_in_every_format_and_are_no_fault_of_their_export() {
    let mut lab = lab();
    let ids = 10..90;
    let stored: Vec<String> = ids.clone().map(|id| line(&id.to_string(), NOON, "")).collect();
    lab.write("a.ndjson", stored.join("\n"));
    lab.archive(&["a.ndjson"]).await;
    bundle(&lab.ctx, DeepArchive, |_| true).await;
    let rows: String = ids.clone().map(|id| format!("{id}5,login,acme,{NOON},\"a,b\"\n")).collect();
    lab.write("b.csv", format!("event_id,event_type,tenant_id,ts,note\n{rows}"));
    let report = lab.archive_with(&["b.csv"], |request| request.max_dead_letters = DeadLetterLimit::Rows(0)).await;
    // All but 89: `895` lies behind the last id there is.
    assert_eq!(counts(&report), (80, 1, 0, 79));
    let letter = lab.letters().await.remove(0);
    assert_eq!((letter.format, letter.line), (RecordFormat::Csv, 2));
    assert_eq!(letter.header.as_deref(), Some("event_id,event_type,tenant_id,ts,note"));
    assert_eq!(letter.raw, format!("105,login,acme,{NOON},\"a,b\""));
    restore_all(&mut lab).await;
    assert_eq!(counts(&lab.replay(|_| {}).await), (79, 79, 0, 0));
    let rows = lab.rows().await;
    assert_eq!(rows.len(), 160);
    assert!(rows.contains(&row("acme", "2026-08-24", "105", r#","note":"a,b""#)), "{rows:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_whatever_is_archived_when() {
    for seed in 0..6 {
        let mut dice = Dice(seed);
        let mut lab = lab();
        let mut sent = BTreeSet::new();
        for step in 0..8 {
            let name = format!("{step}.ndjson");
            let lines: BTreeSet<String> = (0..20 + dice.below(30))
                .map(|_| {
                    let tenant = dice.pick(&["acme", "bolt", "zeta"]).to_owned();
                    let date = dice.pick(&["2026-08-24", "2026-08-25"]).to_owned();
                    let id = dice.below(60);
                    sent.insert(row(&tenant, &date, &id.to_string(), &format!(r#","n":{id}"#)));
                    of(&tenant, &line(&id.to_string(), &format!("{date}T12:00:00Z"), &format!(r#""n":{id}"#)))
                })
                .collect();
            lab.write(&name, lines.into_iter().collect::<Vec<_>>().join("\n"));
            lab.archive(&[&name]).await;
            let tenant = dice.pick(&["acme", "bolt", "zeta"]).to_owned();
            let of_tenant = |file: &DataFile| *file.tenants.max <= *tenant;
            let has_cells = lab.snapshot().await.files(|_| true).await.unwrap();
            let has_cells = has_cells.iter().any(|file| !file.is_bundle() && of_tenant(file));
            match dice.below(6) {
                0 if has_cells => drop(bundle(&lab.ctx, DeepArchive, of_tenant).await),
                1 if has_cells => drop(bundle(&lab.ctx, GlacierIr, of_tenant).await),
                2 => restore_all(&mut lab).await,
                3 => wait(&mut lab, 40),
                4 => drop(lab.replay(|_| {}).await),
                _ => {}
            }
            let rows = lab.rows().await;
            let distinct: BTreeSet<String> = rows.iter().cloned().collect();
            assert_eq!(rows.len(), distinct.len(), "seed {seed} step {step}: an event is doubled");
        }
        restore_all(&mut lab).await;
        lab.replay(|_| {}).await;
        assert_eq!(lab.letters().await, [], "seed {seed}");
        assert_eq!(lab.rows().await, sent.into_iter().collect::<Vec<_>>(), "seed {seed}");
    }
}
