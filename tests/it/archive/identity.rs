//! Ids, keys and times: how source columns become an event.

use tier::archive::ArchiveRequest;
use tier::error::Kind;
use tier::model::{IdSource, KeySource, TimeUnit};

use crate::support::lab::{Lab, counts, full, line, lines};

const NOON: &str = "2026-08-24T12:00:00Z";

fn id(text: &str) -> impl FnOnce(&mut ArchiveRequest) {
    let id: IdSource = text.parse().unwrap();
    move |request| request.mapping.id = Some(id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_composite_id_is_the_json_array_of_its_texts() {
    let lab = Lab::new();
    lab.write("a.ndjson", r#"{"shop":"a\"b","no":7,"event_type":"sale","tenant_id":"t","ts":"2026-08-24"}"#);
    lab.archive_with(&["a.ndjson"], id("shop,no")).await;
    let row = r#"2026-08-24/sale/t {"event_id":"[\"a\\\"b\",\"7\"]","ts":"2026-08-24T00:00:00Z","no":7,"shop":"a\"b"}"#;
    assert_eq!(lab.rows().await, [row]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hash_id_is_a_digest_of_the_source_text_whatever_the_order_of_columns() {
    let lab = Lab::new();
    let rows = [
        r#"{"event_type":"sale","tenant_id":"t","ts":"2026-08-24","n":1.50,"note":null}"#,
        r#"{"n":1.50,"ts":"2026-08-24","tenant_id":"t","event_type":"sale"}"#,
        r#"{"n":1.5,"ts":"2026-08-24","tenant_id":"t","event_type":"sale"}"#,
    ];
    lab.write("a.ndjson", rows.join("\n"));
    assert_eq!(counts(&lab.archive_with(&["a.ndjson"], id("hash")).await), (3, 2, 1, 0));
    // The digest as the format documents it: BLAKE3 over length and text of each lower-case name and value.
    let digest = |n: &str| {
        let mut hasher = blake3::Hasher::new();
        for text in ["event_type", "sale", "n", n, "tenant_id", "t", "ts", "2026-08-24"] {
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
        hasher.finalize().to_hex()[..32].to_owned()
    };
    let row = |n: &str| {
        let id = digest(n);
        format!(r#"2026-08-24/sale/t {{"event_id":"{id}","ts":"2026-08-24T00:00:00Z","n":1.5}}"#)
    };
    let mut expected = [row("1.50"), row("1.5")];
    expected.sort();
    assert_eq!(lab.rows().await, expected);
    assert_eq!(digest("1.50"), "b1bd1fb21dd242f9281a6c9a04b271de");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_csv_row_and_the_same_json_row_have_the_same_hash_id() {
    let lab = Lab::new();
    lab.write("a.csv", "event_type,tenant_id,ts,n,note\nsale,t,2026-08-24,007,\n");
    lab.write("b.ndjson", r#"{"event_type":"sale","tenant_id":"t","ts":"2026-08-24","n":"007"}"#);
    assert_eq!(counts(&lab.archive_with(&["*"], id("hash")).await), (2, 1, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_id_is_refused_once_the_archive_has_one() {
    let lab = Lab::new();
    lab.write("a.ndjson", lines(0..10));
    lab.archive(&["a.ndjson"]).await;
    lab.write("b.ndjson", lines(10..20));
    let before = lab.objects().await;
    let error = lab.fail_with(&["b.ndjson"], id("hash")).await;
    assert_eq!((error.kind(), error.stable_code()), (Kind::Usage, "other-id"), "{}", full(&error));
    assert_eq!(lab.objects().await, before);
    assert_eq!(counts(&lab.archive_with(&["b.ndjson"], id("event_id")).await), (10, 10, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn type_and_tenant_can_be_constants_and_the_mapping_is_remembered() {
    let lab = Lab::new();
    let row = |id: &str| format!(r#"{{"key":"{id}","at":"2026-08-24 10:11:12","what":"x"}}"#);
    lab.write("a.ndjson", row("1"));
    lab.archive_with(&["a.ndjson"], |request| {
        request.mapping.id = Some("key".parse().unwrap());
        request.mapping.event_type = Some(KeySource::Constant("request".into()));
        request.mapping.tenant = Some(KeySource::Constant("a/b".into()));
        request.mapping.time = Some("at".into());
    })
    .await;
    lab.write("b.ndjson", row("2"));
    lab.archive(&["b.ndjson"]).await;
    let stored = |id: &str| {
        format!(
            r#"2026-08-24/request/a/b {{"event_id":"{id}","ts":"2026-08-24T10:11:12Z","at":"2026-08-24 10:11:12","key":"{id}","what":"x"}}"#
        )
    };
    assert_eq!(lab.rows().await, [stored("1"), stored("2")]);
    // A flag is for one run.
    lab.write("c.ndjson", row("3"));
    let tenant = |request: &mut ArchiveRequest| request.mapping.tenant = Some(KeySource::Constant("other".into()));
    lab.archive_with(&["c.ndjson"], tenant).await;
    lab.write("d.ndjson", row("4"));
    lab.archive(&["d.ndjson"]).await;
    let cells: Vec<String> = lab.rows().await.iter().map(|row| row.split_once(' ').unwrap().0.to_owned()).collect();
    assert_eq!(
        cells,
        ["2026-08-24/request/a/b", "2026-08-24/request/a/b", "2026-08-24/request/a/b", "2026-08-24/request/other"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_times_once_their_unit_is_named() {
    for (unit, number) in [
        (TimeUnit::Seconds, "1787573472"),
        (TimeUnit::Seconds, "1787573472.0"),
        (TimeUnit::Millis, "1787573472000"),
        (TimeUnit::Micros, "1787573472000000"),
        (TimeUnit::Nanos, "1787573472000000999"),
    ] {
        let lab = Lab::new();
        let json = line("1", NOON, "").replace(&format!("\"{NOON}\""), number);
        lab.write("a.ndjson", &json);
        let error = lab.fail(&["a.ndjson"]).await;
        let hint = format!("it looks like {0}: add --time-unit {0}, or events.time_unit to tier.toml", unit.as_str());
        assert_eq!((error.kind(), error.stable_code()), (Kind::Usage, "time-unit"));
        assert_eq!(error.hint_text(), Some(hint.as_str()));
        assert!(full(&error).contains("a.ndjson line 1"), "{}", full(&error));
        assert_eq!(lab.objects().await, Vec::<String>::new());
        lab.archive_with(&["a.ndjson"], |request| request.mapping.time_unit = Some(unit)).await;
        let row = r#"2026-08-24/login/acme {"event_id":"1","ts":"2026-08-24T12:11:12Z"}"#;
        assert_eq!(lab.rows().await, [row], "{number} {unit:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confused_unit_makes_dead_letters_that_name_the_likely_one() {
    let lab = Lab::new();
    let row = |id: &str, ts: &str| line(id, NOON, "").replace(&format!("\"{NOON}\""), ts);
    lab.write("a.ndjson", [row("1", "1787573472"), row("2", "1787573472000")].join("\n"));
    lab.archive_with(&["a.ndjson"], |request| request.mapping.time_unit = Some(TimeUnit::Seconds)).await;
    let details: Vec<String> = lab.letters().await.into_iter().map(|letter| letter.detail).collect();
    assert_eq!(details.len(), 1);
    assert!(details[0].ends_with("(it looks like ms, not s)"), "{details:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn times_are_accepted_from_1970_to_a_day_ahead() {
    let lab = Lab::new();
    let times = [
        ("1970-01-01T00:00:00Z", true),
        ("1969-12-31T23:59:59.999999Z", false),
        ("2026-11-23T12:00:00Z", true),
        ("2026-11-23T12:00:00.000001Z", false),
        ("0000-01-01T00:00:00Z", false),
        ("9999-12-31T23:59:59Z", false),
        ("2026-08-24T23:30:00-01:00", true),
    ];
    let text: String = times.iter().enumerate().map(|(id, (ts, _))| line(&id.to_string(), ts, "") + "\n").collect();
    lab.write("a.ndjson", text);
    assert_eq!(counts(&lab.archive(&["a.ndjson"]).await), (7, 3, 0, 4));
    let lines: Vec<u64> = lab.letters().await.iter().map(|letter| letter.line).collect();
    assert_eq!(lines, [2, 4, 5, 6]);
    let cells: Vec<String> = lab.rows().await.iter().map(|row| row[..10].to_owned()).collect();
    assert_eq!(cells, ["1970-01-01", "2026-08-25", "2026-11-23"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_no_folder_can_carry_are_dead_letters() {
    let lab = Lab::new();
    let row = |id: usize, key: &str| {
        let key = serde_json::to_string(key).unwrap();
        format!(r#"{{"event_id":"{id}","event_type":{key},"tenant_id":{key},"ts":"{NOON}"}}"#)
    };
    let long = ("x".repeat(200), "x".repeat(201), "%".repeat(67));
    let keys = [
        ("007", true),
        ("a=b", true),
        ("名前", true),
        ("a b", true),
        ("%2e", true),
        ("..", true),
        (".", true),
        ("a/b", true),
        ("\u{0}", true),
        ("\n", true),
        ("~", true),
        ("a\\b", true),
        (&long.0, true),
        ("🦀", true),
        ("", false),
        ("__HIVE_DEFAULT_PARTITION__", false),
        (&long.1, false),
        (&long.2, false),
    ];
    let text: Vec<String> = keys.iter().enumerate().map(|(id, (key, _))| row(id, key)).collect();
    lab.write("a.ndjson", text.join("\n"));
    let good = keys.iter().filter(|(_, good)| *good).count() as u64;
    assert_eq!(counts(&lab.archive(&["a.ndjson"]).await), (keys.len() as u64, good, 0, keys.len() as u64 - good));
    let dead: Vec<u64> = (1..).zip(&keys).filter(|(_, (_, good))| !good).map(|(line, _)| line).collect();
    assert_eq!(lab.letters().await.iter().map(|letter| letter.line).collect::<Vec<_>>(), dead);
    let mut stored: Vec<(String, String)> = Vec::new();
    for file in lab.snapshot().await.files(|_| true).await.unwrap() {
        stored.push((file.tenants.min.to_string(), file.event_types.min.to_string()));
    }
    stored.sort();
    let mut expected: Vec<_> = keys.iter().filter(|k| k.1).map(|k| (k.0.to_owned(), k.0.to_owned())).collect();
    expected.sort();
    assert_eq!(stored, expected);
}
