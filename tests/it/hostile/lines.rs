//! Lines of NDJSON.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use tier::model::{DeadLetter, Reason};

use super::tolerant;
use crate::support::lab::{Lab, line};

const NOON: &str = "2026-08-24T12:00:00Z";

/// A line and what must become of it.
type Case = (Vec<u8>, Result<(), Reason>);

fn event(id: &str, more: &str) -> Vec<u8> {
    line(id, NOON, more).into_bytes()
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut dead = |reason: Reason, line: Vec<u8>| cases.push((line, Err(reason)));
    for text in [
        "{",
        "}",
        "[]",
        "[1]",
        "null",
        "true",
        "1",
        "-",
        "\"text\"",
        "'",
        "{}}",
        "{]",
        "nul",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "{\"a\":1,}",
        "{,}",
        "{'a':1}",
        "// comment",
        "<xml/>",
        "event_id,event_type",
        "{\"a\":01}",
        "{\"a\":+1}",
        "{\"a\":.5}",
        "{\"a\":1.}",
        "{\"a\":0x1}",
        "{\"a\":NaN}",
        "{\"a\":Infinity}",
        "{\"a\":-Infinity}",
        "{\"a\":undefined}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12\"}",
        "{\"a\":\"\t\"}",
        "{\"a\":\"\u{0}\"}",
        "{\"a\":tru}",
        "{\"a\":[1,]}",
        "\u{feff}{}",
        "{\"a\":1} {\"b\":2}",
        "{\"a\":1}x",
        "{\"\\ud800\":1}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\\udc00\\ud800\"}",
        "\u{1}",
    ] {
        dead(Reason::Syntax, text.as_bytes().to_vec());
    }
    for more in
        [r#""n":NaN"#, r#""n":[1"#, r#""n":1,"n":2"#, r#""n":1,"N":2"#, r#""event_id":"x""#, r#""n":1e"#, r#""n":--1"#]
    {
        dead(Reason::Syntax, event("syntax", more));
    }
    for bytes in
        [b"\xff".as_slice(), b"{\"a\":\"\xc3\x28\"}", b"\x89PNG\r\x1a", b"\xed\xa0\x80", b"{\xf8}", b"\x00\xff\x00"]
    {
        dead(Reason::Encoding, bytes.to_vec());
    }
    dead(Reason::Encoding, [event("latin", ""), b"\xe9".to_vec()].concat());
    let without = |name: &str| {
        let fields = [("event_id", "\"1\""), ("event_type", "\"a\""), ("tenant_id", "\"t\""), ("ts", "\"2026-08-24\"")];
        fields.iter().filter(|(n, _)| *n != name).map(|(n, v)| format!("\"{n}\":{v}")).collect::<Vec<_>>().join(",")
    };
    for (name, reason, values) in [
        ("event_id", Reason::Id, vec!["null", "\"\""]),
        ("event_type", Reason::Key, vec!["null", "\"\"", "\"__HIVE_DEFAULT_PARTITION__\""]),
        ("tenant_id", Reason::Key, vec!["null", "\"\"", "\"__HIVE_DEFAULT_PARTITION__\""]),
        (
            "ts",
            Reason::Time,
            vec![
                "null",
                "\"\"",
                "true",
                "[]",
                "{}",
                "\"yesterday\"",
                "\"24/08/2026\"",
                "\"2026-02-29\"",
                "\"2026-13-01\"",
                "\"2026-00-10\"",
                "\"2026-08-24T24:00:00Z\"",
                "\"2026-08-24T10\"",
                "\"0000-01-01\"",
                "\"0001-01-01\"",
                "\"9999-12-31T23:59:59Z\"",
                "\"10000-01-01\"",
                "\"-0001-01-01\"",
                "\"1969-12-31\"",
                "\"2027-01-01\"",
                "\"NaN\"",
                "\"2026-08-24T10:11:12.Z\"",
                "\" 2026-08-24\"",
                "\"２０２６-08-24\"",
                "1e9",
                "\"1e9\"",
            ],
        ),
    ] {
        dead(reason, format!("{{{}}}", without(name)).into_bytes());
        for value in values {
            dead(reason, format!("{{{},\"{name}\":{value}}}", without(name)).into_bytes());
        }
    }
    for (name, long) in [("event_type", "x".repeat(201)), ("tenant_id", "/".repeat(67)), ("tenant_id", "名".repeat(67))]
    {
        dead(Reason::Key, format!("{{{},\"{name}\":\"{long}\"}}", without(name)).into_bytes());
    }
    for more in [r#""":1"#, r#""\u0000":1"#, r#""a\u0000b":1"#] {
        dead(Reason::Columns, event("columns", more));
    }
    let deep = format!("\"deep\":{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let good = [
        r#""n":1"#,
        r#""n":1.5"#,
        r#""n":"x""#,
        r#""n":null"#,
        r#""n":1e999"#,
        r#""n":-0"#,
        r#""n":{"\ud800":1}"#,
        r#""\ud83e\udd80":1"#,
        r#""n":123456789012345678901234567890"#,
        r#""s":"\ud83e\udd80 \u0000""#,
        r#""s":"\"\\\/\b\f\n\r\t""#,
        r#""..":1,"/":2,"%2e":3"#,
        r#""date":"x","__HIVE_DEFAULT_PARTITION__":"y""#,
        r#""select":1,"\"":2,"'; DROP TABLE events; --":3"#,
        &deep,
        "",
    ];
    for (number, more) in good.iter().enumerate() {
        cases.push((event(&format!("good-{number}"), more), Ok(())));
    }
    let long_name = format!("\"{}\":1", "n".repeat(100_000));
    cases.push((event("long-name", &long_name), Ok(())));
    let spaced = String::from_utf8(event("spaced", ""))
        .unwrap()
        .replace(',', " ,\t")
        .replace(':', " : ")
        .replace("12 : 00 : 00Z", "12:00:00Z");
    cases.push((format!("  {spaced} \r").into_bytes(), Ok(())));
    cases
}

/// What the archive made of lines: the reason by line number, and how many were accepted.
async fn archive_lines(lines: &[Vec<u8>]) -> (Lab, BTreeMap<u64, DeadLetter>, (u64, u64, u64)) {
    let lab = Lab::new();
    lab.write("good.ndjson", line("a good one", NOON, ""));
    lab.write("hostile.ndjson", lines.join(&b'\n'));
    let report = lab.archive_with(&["good.ndjson", "hostile.ndjson"], tolerant).await;
    let hostile = &report.exports[1];
    let blank = |line: &&Vec<u8>| line.iter().all(u8::is_ascii_whitespace);
    let records = (lines.len() - lines.iter().filter(blank).count()) as u64;
    assert_eq!(hostile.read, records, "a record is a line that is not blank");
    let letters = lab.letters().await.into_iter().map(|letter| (letter.line, letter)).collect();
    (lab, letters, (hostile.accepted, hostile.duplicate, hostile.dead_letter))
}

fn raw_of(letter: &DeadLetter) -> Vec<u8> {
    if !letter.raw_is_hex {
        return letter.raw.clone().into_bytes();
    }
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    letter.raw.as_bytes().chunks(2).map(byte).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_hostile_line_is_an_event_or_a_dead_letter_with_its_reason_line_and_text() {
    let cases = cases();
    let lines: Vec<Vec<u8>> = cases.iter().map(|(line, _)| line.clone()).collect();
    let (_, letters, (accepted, duplicate, dead)) = archive_lines(&lines).await;
    for (number, (line, expected)) in (1..).zip(&cases) {
        let got = letters.get(&number).map_or(Ok(()), |letter| Err(letter.reason));
        let shown = String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned();
        assert_eq!(&got, expected, "line {number}: {shown}: {:?}", letters.get(&number).map(|letter| &letter.detail));
        if let Some(letter) = letters.get(&number) {
            assert!(raw_of(letter) == *line, "line {number}: {shown}: {}", letter.raw);
        }
    }
    let good = cases.iter().filter(|(_, expected)| expected.is_ok()).count() as u64;
    assert_eq!((accepted, duplicate, dead), (good, 0, cases.len() as u64 - good));
}

/// A sample line cut short, with a byte left out, changed or doubled, at every byte.
fn mutations() -> Vec<Vec<u8>> {
    let mut mutated = Vec::new();
    let sample = |number: usize| {
        let more = r#""n":-1.5e3,"ok":true,"no":null,"nested":{"a":["\u00e9",{}]},"text":"é\n""#;
        event(&format!("id-{number:05}"), more)
    };
    let length = sample(0).len();
    for at in 0..length {
        let cut = sample(mutated.len())[..at].to_vec();
        mutated.push(cut);
        for change in [None, Some(b'"'), Some(b'}'), Some(b'0'), Some(b'\\'), Some(0x80), Some(b',')] {
            let mut line = sample(mutated.len());
            match change {
                None => drop(line.remove(at)),
                Some(byte) => line[at] = byte,
            }
            mutated.push(line);
        }
        let mut line = sample(mutated.len());
        line.insert(at, line[at]);
        mutated.push(line);
    }
    mutated
}

/// An object's fields as they stand, doubles included.
struct Object(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Object(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// Decides by other means than the archive: the identity and the content of a good line.
fn judge(line: &[u8]) -> Option<(String, String)> {
    let Object(mut fields) = serde_json::from_slice(line).ok()?;
    fields.retain(|(_, value)| !value.is_null());
    let mut names = HashSet::new();
    if !fields.iter().all(|(name, _)| !name.is_empty() && names.insert(name.to_lowercase())) {
        return None;
    }
    let text = |name: &str| {
        let value = fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name))?.1.clone();
        Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned)).filter(|text| !text.is_empty())
    };
    let time = text("ts")?;
    let time = time.parse::<jiff::Timestamp>().ok().or_else(|| {
        let civil: jiff::civil::DateTime = time.parse().ok()?;
        Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    })?;
    let earliest: jiff::Timestamp = "1970-01-01T00:00:00Z".parse().unwrap();
    let latest: jiff::Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
    if !(earliest..=latest).contains(&time) {
        return None;
    }
    let date = time.to_zoned(jiff::tz::TimeZone::UTC).date();
    let identity = format!("{date} {} {} {}", text("event_type")?, text("tenant_id")?, text("event_id")?);
    fields.sort_by_key(|(name, _)| name.to_lowercase());
    let content: Vec<String> = fields.iter().map(|(name, value)| format!("{}={value}", name.to_lowercase())).collect();
    Some((identity, content.join("\n")))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_parser_makes_of_a_line_broken_at_any_byte_is_what_the_archive_does() {
    let lines = mutations();
    assert!(lines.len() > 1_000, "{}", lines.len());
    let (lab, letters, (accepted, duplicate, dead)) = archive_lines(&lines).await;
    let mut seen: HashMap<String, String> = HashMap::new();
    let (mut expected_accepted, mut expected_duplicate) = (0, 0);
    for (number, line) in (1..).zip(&lines) {
        let expected = match judge(line) {
            _ if line.is_empty() => None,
            None => Some(false),
            Some((identity, content)) => match seen.get(&identity) {
                None => {
                    expected_accepted += 1;
                    seen.insert(identity, content);
                    None
                }
                Some(first) if *first == content => {
                    expected_duplicate += 1;
                    None
                }
                Some(_) => Some(true),
            },
        };
        let got = letters.get(&number).map(|letter| letter.reason == Reason::Conflict);
        let shown = String::from_utf8_lossy(line);
        assert_eq!(got, expected, "line {number}: {shown}: {:?}", letters.get(&number));
    }
    assert_eq!((accepted, duplicate), (expected_accepted, expected_duplicate));
    assert_eq!(dead, letters.len() as u64);
    // The good line of the other export is there, too.
    assert_eq!(lab.rows().await.len() as u64, accepted + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_ten_megabytes_is_an_event_and_one_of_seventeen_a_dead_letter_with_its_beginning() {
    let text = |id: &str, megabytes: usize| event(id, &format!("\"text\":\"{}\"", "x".repeat(megabytes << 20)));
    let lines = [event("1", ""), text("2", 10), text("3", 17), event("4", ""), text("5", 17)];
    let (_, letters, counts) = archive_lines(&lines).await;
    assert_eq!(counts, (3, 0, 2));
    for line in [3, 5] {
        let letter = &letters[&line];
        assert_eq!((letter.reason, letter.truncated), (Reason::TooLong, true));
        assert!(lines[line as usize - 1].starts_with(letter.raw.as_bytes()) && letter.raw.len() >= 1_000);
    }
}

/// Line breaks of every kind, blank lines, a byte-order mark and no break at the end.
#[tokio::test(flavor = "multi_thread")]
async fn line_numbers_count_every_line_whatever_its_end() {
    let lab = Lab::new();
    let (a, b, c) = (line("1", NOON, ""), line("2", NOON, ""), line("3", NOON, ""));
    lab.write("a.ndjson", format!("\u{feff}{a}\r\n\r\n  \n\t\r\n{b}\n{{\r\n\n{c}"));
    let report = lab.archive_with(&["a.ndjson"], tolerant).await;
    assert_eq!((report.read, report.accepted, report.dead_letter), (4, 3, 1));
    assert_eq!(lab.letters_in_short().await, ["syntax 6: {"]);
}
