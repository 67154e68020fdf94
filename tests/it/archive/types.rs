//! Types and names of columns.

use tier::model::{ColumnType, Reason};

use crate::support::lab::{Lab, counts, full, line};

const NOON: &str = "2026-08-24T12:00:00Z";

/// One event per value of a column `v`, each value written as JSON.
fn values(values: &[&str]) -> String {
    values.iter().enumerate().map(|(id, v)| line(&id.to_string(), NOON, &format!(r#""v":{v}"#)) + "\n").collect()
}

/// The values of `v` as the archive has them, in the order of their ids; `-` is null.
async fn stored(lab: &Lab) -> Vec<String> {
    let value = |row: String| {
        let json: serde_json::Value = serde_json::from_str(row.split_once(' ').unwrap().1).unwrap();
        let id: usize = json["event_id"].as_str().unwrap().parse().unwrap();
        (id, json.get("v").map_or("-".to_owned(), ToString::to_string))
    };
    let mut all: Vec<_> = lab.rows().await.into_iter().map(value).collect();
    all.sort();
    all.into_iter().map(|(_, value)| value).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_column_gets_the_narrowest_type_that_holds_every_value() {
    for (json, column_type, kept) in [
        (vec!["1", "2", "-3"], Some("BIGINT"), vec!["1", "2", "-3"]),
        (vec!["1", "2.5", "null"], Some("DOUBLE"), vec!["1.0", "2.5", "-"]),
        (vec!["true", "false"], Some("BOOLEAN"), vec!["true", "false"]),
        (vec!["true", "1"], Some("VARCHAR"), vec![r#""true""#, r#""1""#]),
        (vec!["1", r#""x""#], Some("VARCHAR"), vec![r#""1""#, r#""x""#]),
        (vec![r#""1""#, r#""2""#], Some("VARCHAR"), vec![r#""1""#, r#""2""#]),
        (vec!["9007199254740993", "1"], Some("BIGINT"), vec!["9007199254740993", "1"]),
        (vec!["9007199254740993", "0.5"], Some("VARCHAR"), vec![r#""9007199254740993""#, r#""0.5""#]),
        (vec!["9223372036854775807"], Some("BIGINT"), vec!["9223372036854775807"]),
        (vec!["9223372036854775808"], Some("VARCHAR"), vec![r#""9223372036854775808""#]),
        (vec!["1e3", "1E-2"], Some("DOUBLE"), vec!["1000.0", "0.01"]),
        (vec!["1e999"], Some("VARCHAR"), vec![r#""1e999""#]),
        (vec![r#"{"a":[1, 2]}"#, "[]"], Some("VARCHAR"), vec![r#""{\"a\":[1, 2]}""#, r#""[]""#]),
        (vec![r#""2026-08-24T00:00:00Z""#], Some("VARCHAR"), vec![r#""2026-08-24T00:00:00Z""#]),
        (vec!["null", "null"], None, vec!["-", "-"]),
    ] {
        let lab = Lab::new();
        lab.write("a.ndjson", values(&json));
        lab.archive(&["a.ndjson"]).await;
        let expected: Vec<String> = column_type.iter().map(|t| format!("v {t}")).collect();
        assert_eq!(
            (lab.columns().await, stored(&lab).await),
            (expected, kept.iter().map(ToString::to_string).collect()),
            "{json:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leading_zeros_and_plus_signs_in_csv_mean_text() {
    for (values, column_type) in [
        (vec!["1", "007"], "VARCHAR"),
        (vec!["+1"], "VARCHAR"),
        (vec!["1", "-20"], "BIGINT"),
        (vec!["1.5", "2"], "DOUBLE"),
        (vec!["TRUE", "false"], "BOOLEAN"),
        (vec!["0x1F"], "VARCHAR"),
        (vec!["1_000"], "VARCHAR"),
        (vec![" 1"], "VARCHAR"),
    ] {
        let lab = Lab::new();
        let rows = values.iter().enumerate().map(|(id, v)| format!("{id},login,acme,{NOON},{v}\n"));
        lab.write("a.csv", "event_id,event_type,tenant_id,ts,v\n".to_owned() + &rows.collect::<String>());
        lab.archive(&["a.csv"]).await;
        assert_eq!(lab.columns().await, [format!("v {column_type}")], "{values:?}");
    }
}

/// Blocks are a few megabytes, decoded by many threads in no fixed order.
#[tokio::test(flavor = "multi_thread")]
async fn a_double_in_the_last_line_of_a_long_export_makes_the_column_double() {
    let lab = Lab::new();
    let padding = "x".repeat(900);
    let more = |v: &str| format!(r#""v":{v},"padding":"{padding}""#);
    let mut text: String = (0..12_000).map(|id| line(&id.to_string(), NOON, &more(&id.to_string())) + "\n").collect();
    text.push_str(&line("last", NOON, &more("0.5")));
    lab.write("a.ndjson", text);
    assert_eq!(counts(&lab.archive(&["a.ndjson"]).await), (12_001, 12_001, 0, 0));
    assert_eq!(lab.columns().await, ["padding VARCHAR", "v DOUBLE"]);
    let rows = lab.rows().await;
    assert!(rows.iter().any(|row| row.contains(r#""v":0.5"#)) && rows.iter().any(|row| row.contains(r#""v":11999.0"#)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_appears_midweek_is_null_in_old_files() {
    let lab = Lab::new();
    lab.write("mon.ndjson", line("1", "2026-08-24T12:00:00Z", r#""a":1"#));
    lab.write("wed.ndjson", line("2", "2026-08-26T12:00:00Z", r#""experiment":"b","a":2"#));
    lab.archive(&["mon.ndjson"]).await;
    lab.archive(&["wed.ndjson"]).await;
    assert_eq!(lab.columns().await, ["a BIGINT", "experiment VARCHAR"]);
    assert_eq!(
        lab.rows().await,
        [
            r#"2026-08-24/login/acme {"event_id":"1","ts":"2026-08-24T12:00:00Z","a":1}"#,
            r#"2026-08-26/login/acme {"event_id":"2","ts":"2026-08-26T12:00:00Z","a":2,"experiment":"b"}"#,
        ]
    );
    // The same event again, now that the archive has a column more, is still the same event.
    lab.write("again.ndjson", line("1", "2026-08-24T12:00:00Z", r#""a":1,"experiment":null"#));
    assert_eq!(counts(&lab.archive(&["again.ndjson"]).await), (1, 0, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misfit_of_an_existing_column_is_a_dead_letter() {
    let lab = Lab::new();
    lab.write("a.ndjson", values(&["1", "2"]));
    lab.archive(&["a.ndjson"]).await;
    let rows = [line("10", NOON, r#""v":"three""#), line("11", NOON, r#""V":4"#), line("12", NOON, r#""v":4.5"#)];
    lab.write("b.ndjson", rows.join("\n"));
    let report = lab.archive(&["b.ndjson"]).await;
    assert_eq!((counts(&report), lab.columns().await), ((3, 1, 0, 2), vec!["v BIGINT".to_owned()]));
    let letters = lab.letters().await;
    let details: Vec<_> = letters.iter().map(|l| (l.reason, l.line, l.detail.as_str(), l.raw.as_str())).collect();
    assert_eq!(
        details,
        [
            (Reason::Type, 1, "column `v` is BIGINT, not the text \"three\"", rows[0].as_str()),
            (Reason::Type, 3, "column `v` is BIGINT, not 4.5", rows[2].as_str()),
        ]
    );
    assert_eq!(
        report.examples.iter().map(|e| (e.reason, e.line)).collect::<Vec<_>>(),
        [(Reason::Type, 1), (Reason::Type, 3)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_can_be_added_with_a_type_of_choice_and_never_changes_it() {
    let lab = Lab::new();
    lab.write("a.ndjson", values(&["1", "2"]));
    lab.archive_with(&["a.ndjson"], |request| request.columns = vec![("v".into(), ColumnType::Double)]).await;
    assert_eq!(
        (lab.columns().await, stored(&lab).await),
        (vec!["v DOUBLE".to_owned()], vec!["1.0".into(), "2.0".into()])
    );
    lab.write("b.ndjson", values(&["1", "2", "3"]));
    let error = lab.fail_with(&["b.ndjson"], |request| request.columns = vec![("V".into(), ColumnType::BigInt)]).await;
    assert_eq!(
        full(&error),
        "column `v` is DOUBLE in this archive and cannot become BIGINT:  (hint: Some(\"a column never changes its type; archive the values under a new name\"))"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_one_ignoring_case_and_twice_in_one_record_is_a_dead_letter() {
    let lab = Lab::new();
    let rows = [
        line("1", NOON, r#""userId":1"#),
        line("2", NOON, r#""USERID":2"#),
        line("3", NOON, r#""userid":3,"userId":4"#),
        line("4", NOON, r#""É":1"#),
        line("5", NOON, r#""é":2"#),
        r#"{"EVENT_ID":"6","Event_Type":"login","TENANT_ID":"acme","TS":"2026-08-24T12:00:00Z"}"#.to_owned(),
    ];
    lab.write("a.ndjson", rows.join("\n"));
    assert_eq!(counts(&lab.archive(&["a.ndjson"]).await), (6, 5, 0, 1));
    assert_eq!(lab.letters_in_short().await, [format!("syntax 3: {}", rows[2])]);
    assert_eq!(lab.columns().await, ["userId BIGINT", "É BIGINT"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unmapped_column_of_a_reserved_name_is_stored_under_another() {
    let lab = Lab::new();
    lab.write("a.ndjson", line("1", NOON, r#""date":"24.8.","Time":5"#));
    let report = lab.archive_with(&["a.ndjson"], |request| request.mapping.time = Some("ts".into())).await;
    assert_eq!(report.renamed_columns, [("date".to_owned(), "date_source".to_owned())]);
    assert_eq!(lab.columns().await, ["Time BIGINT", "date_source VARCHAR"]);
    let row = r#"2026-08-24/login/acme {"event_id":"1","ts":"2026-08-24T12:00:00Z","Time":5,"date_source":"24.8."}"#;
    assert_eq!(lab.rows().await, [row]);
}

/// Two source columns that would be stored under one name: neither value may be lost in silence.
#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_column_does_not_swallow_another_of_that_name() {
    let lab = Lab::new();
    let rows = [line("1", NOON, r#""date":"a","date_source":"b""#), line("2", NOON, r#""date_source":"c""#)];
    lab.write("a.ndjson", rows.join("\n"));
    assert_eq!(counts(&lab.archive(&["a.ndjson"]).await), (2, 1, 0, 1));
    assert_eq!(lab.letters_in_short().await, [format!("columns 1: {}", rows[0])]);
    assert_eq!(stored_column(&lab, "date_source").await, ["c"]);
}

/// Names that could be taken for the hidden column of a decoded batch, or for a path.
#[tokio::test(flavor = "multi_thread")]
async fn odd_column_names_are_kept_and_those_with_a_nul_refused() {
    let lab = Lab::new();
    let rows = [
        line("1", NOON, r#""\u0000order":1"#),
        line("2", NOON, r#""a\u0000":1"#),
        line("3", NOON, r#""a.b":"dots","a\nb":"break","*":"star","order":"order","\"":"quote","":null"#),
        line("4", NOON, r#""":1"#),
    ];
    lab.write("a.ndjson", rows.join("\n"));
    assert_eq!(counts(&lab.archive(&["a.ndjson"]).await), (4, 1, 0, 3));
    let letters = [(1, &rows[0]), (2, &rows[1]), (4, &rows[3])].map(|(line, raw)| format!("columns {line}: {raw}"));
    assert_eq!(lab.letters_in_short().await, letters);
    for (name, value) in [("a.b", "dots"), ("a\nb", "break"), ("*", "star"), ("order", "order"), ("\"", "quote")] {
        assert_eq!(stored_column(&lab, name).await, [value]);
    }
}

async fn stored_column(lab: &Lab, name: &str) -> Vec<String> {
    let value = |row: String| {
        let json: serde_json::Value = serde_json::from_str(row.split_once(' ').unwrap().1).unwrap();
        json.get(name).and_then(|value| value.as_str()).map(str::to_owned)
    };
    lab.rows().await.into_iter().filter_map(value).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_takes_two_thousand_columns_and_no_more() {
    let lab = Lab::new();
    let rows: String = (0..3_000).map(|n| line(&n.to_string(), NOON, &format!(r#""c{n}":1"#)) + "\n").collect();
    lab.write("a.ndjson", rows);
    let limit = |request: &mut tier::archive::ArchiveRequest| request.max_dead_letters = "50%".parse().unwrap();
    let report = lab.archive_with(&["a.ndjson"], limit).await;
    assert_eq!(counts(&report), (3_000, 1_998, 0, 1_002));
    assert_eq!(lab.columns().await.len(), 1_998);
    assert!(lab.letters().await.iter().all(|letter| letter.reason == Reason::Columns));
}
