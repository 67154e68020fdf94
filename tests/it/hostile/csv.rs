//! CSV: quotes, headers, numbers of fields.

use tier::model::Reason;

use super::tolerant;
use crate::support::lab::{Lab, counts};

const NOON: &str = "2026-08-24T12:00:00Z";
const HEADER: &str = "event_id,event_type,tenant_id,ts,note\n";

fn record(id: impl std::fmt::Display, note: &str) -> String {
    format!("{id},login,acme,{NOON},{note}\n")
}

/// Records and what must become of each: accepted, or a dead letter.
#[tokio::test(flavor = "multi_thread")]
async fn every_hostile_record_is_an_event_or_a_dead_letter_with_its_line() {
    let long = "x".repeat(201);
    let cases: Vec<(String, Result<(), Reason>)> = vec![
        (record(1, "plain"), Ok(())),
        (record(2, "\"quoted, \"\"twice\"\"\""), Ok(())),
        (record(3, "\"two\nlines\""), Ok(())),
        (record(4, "\"\r\n\r\n\""), Ok(())),
        (record(5, "5\" disk"), Ok(())),
        (record(6, "\"a\"b\"c"), Ok(())),
        (record(7, "a \"quoted\" word"), Ok(())),
        (record(8, "\"\""), Ok(())),
        (record(9, "'"), Ok(())),
        (record(10, "\u{0}"), Ok(())),
        (record(11, "=cmd|' /C calc'!A0"), Ok(())),
        ("\n".to_owned(), Ok(())),
        ("\r\n".to_owned(), Ok(())),
        ("a\n".to_owned(), Err(Reason::Syntax)),
        (",,,,\n".to_owned(), Err(Reason::Id)),
        (",,,,,\n".to_owned(), Err(Reason::Syntax)),
        ("   \n".to_owned(), Err(Reason::Syntax)),
        (record(12, "one,too many"), Err(Reason::Syntax)),
        (format!("13,login,acme,{NOON}\n"), Err(Reason::Syntax)),
        (record("", "no id"), Err(Reason::Id)),
        (record("\"\"", "no id"), Err(Reason::Id)),
        (format!("14,,acme,{NOON},x\n"), Err(Reason::Key)),
        (format!("15,login,{long},{NOON},x\n"), Err(Reason::Key)),
        (format!("16,login,__HIVE_DEFAULT_PARTITION__,{NOON},x\n"), Err(Reason::Key)),
        ("17,login,acme,never,x\n".to_owned(), Err(Reason::Time)),
        ("18,login,acme,,x\n".to_owned(), Err(Reason::Time)),
        ("19,login,acme,9999-01-01,x\n".to_owned(), Err(Reason::Time)),
        (record(20, "last"), Ok(())),
    ];
    let lab = Lab::new();
    lab.write("a.csv", HEADER.to_owned() + &cases.iter().map(|(text, _)| text.as_str()).collect::<String>());
    let report = lab.archive_with(&["a.csv"], tolerant).await;
    let (mut line, mut expected) = (2, Vec::new());
    for (text, outcome) in &cases {
        expected.extend(outcome.err().map(|reason| (line, reason)));
        line += text.matches('\n').count() as u64;
    }
    let got: Vec<_> = lab.letters().await.iter().map(|letter| (letter.line, letter.reason)).collect();
    assert_eq!(got, expected);
    let records = cases.iter().filter(|(text, _)| !text.trim_matches(['\r', '\n']).is_empty()).count() as u64;
    let dead = expected.len() as u64;
    assert_eq!(counts(&report), (records, records - dead, 0, dead));
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_text_are_dead_letters() {
    let lab = Lab::new();
    let (one, three) = (record(1, "x"), record(3, "y"));
    let latin = b"2,login,acme,2026-08-24,caf\xe9\n";
    let bytes = [HEADER.as_bytes(), one.as_bytes(), latin, three.as_bytes()];
    lab.write("a.csv", bytes.concat());
    assert_eq!(counts(&lab.archive(&["a.csv"]).await), (3, 2, 0, 1));
    let letter = lab.letters().await.remove(0);
    assert_eq!((letter.reason, letter.line, letter.raw_is_hex), (Reason::Encoding, 3, true));
    assert_eq!(letter.raw, "322c6c6f67696e2c61636d652c323032362d30382d32342c636166e9");
}

/// A quote that opens and never closes would swallow the rest of the export as one record.
#[tokio::test(flavor = "multi_thread")]
async fn a_quote_that_never_closes_costs_its_own_record_only() {
    for records in [10, 200_000] {
        let lab = Lab::new();
        // Long enough that the rest of the large export is more than the longest record.
        let note = "n".repeat(60);
        let text: String =
            (0..records).map(|id| if id == 3 { record(id, "\"open") } else { record(id, &note) }).collect();
        lab.write("a.csv", HEADER.to_owned() + &text);
        let report = lab.archive(&["a.csv"]).await;
        assert_eq!(counts(&report), (records, records - 1, 0, 1));
        let letters = lab.letters_in_short().await;
        assert_eq!(letters, [format!("syntax 5: {}", record(3, "\"open").trim_end())]);
    }
}

/// A quote in the middle of a field means itself, however far away the next one is.
#[tokio::test(flavor = "multi_thread")]
async fn a_stray_quote_hides_no_record_of_a_large_export() {
    let lab = Lab::new();
    let note = "n".repeat(60);
    let text: String =
        (0..200_000).map(|id| if id == 3 { record(id, "5\" disk") } else { record(id, &note) }).collect();
    lab.write("a.csv", HEADER.to_owned() + &text);
    assert_eq!(counts(&lab.archive(&["a.csv"]).await), (200_000, 200_000, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_alone_is_an_export_without_records() {
    for text in [HEADER, HEADER.trim_end(), "\u{feff}event_id\r\n\r\n"] {
        let lab = Lab::new();
        lab.write("a.csv", text);
        assert_eq!(counts(&lab.archive(&["a.csv"]).await), (0, 0, 0, 0), "{text:?}");
    }
}
