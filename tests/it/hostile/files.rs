//! Whole files that are not what they seem.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, UInt32Array};
use flate2::Compression;
use flate2::write::GzEncoder;
use tier::error::Kind;

use super::tolerant;
use crate::archive::formats::write_parquet;
use crate::support::lab::{Lab, full, lines};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

fn parquet() -> Vec<u8> {
    let lab = Lab::new();
    let text = |value: &str| -> ArrayRef { Arc::new(StringArray::from(vec![value; 100])) };
    let path = lab.path("a.parquet");
    let ids: ArrayRef = Arc::new(UInt32Array::from_iter_values(0..100));
    let columns = [("event_type", text("a")), ("tenant_id", text("t")), ("ts", text("2026-08-24"))];
    write_parquet(&path, [("event_id", ids)].into_iter().chain(columns).collect());
    std::fs::read(path).unwrap()
}

/// Text that packs badly, so that cutting it short cuts data.
fn noise() -> Vec<u8> {
    let line = |id: u32| {
        let digest = blake3::hash(&id.to_le_bytes()).to_hex();
        format!("{{\"event_id\":\"{digest}\",\"event_type\":\"a\",\"tenant_id\":\"t\",\"ts\":\"2026-08-24\"}}\n")
    };
    (0..2_000).map(line).collect::<String>().into_bytes()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn cut(mut bytes: Vec<u8>, percent: usize) -> Vec<u8> {
    bytes.truncate(bytes.len() * percent / 100);
    bytes
}

fn broken_files() -> Vec<(&'static str, Vec<u8>)> {
    let changed = |mut bytes: Vec<u8>, at: usize| {
        let middle = bytes.len() * at / 100;
        bytes[middle] ^= 0xff;
        bytes
    };
    let mut files = vec![
        ("empty.gz.ndjson.gz", Vec::new()),
        ("empty.parquet", Vec::new()),
        ("text.ndjson.gz", noise()),
        ("text.ndjson.zst", noise()),
        ("text.parquet", noise()),
        ("gzip-named-zstd.ndjson.zst", gzip(&noise())),
        ("zstd-named-gzip.ndjson.gz", zstd(&noise())),
        ("gzip-named-plain.ndjson", gzip(&noise())),
        ("zstd-named-plain.ndjson", zstd(&noise())),
        ("parquet-named-plain.ndjson", parquet()),
        ("gzip-named-plain.csv", gzip(&noise())),
        ("parquet-named-plain.csv", parquet()),
        ("gzip-named.parquet", gzip(&parquet())),
        ("magic-only.parquet", b"PAR1PAR1".to_vec()),
        ("array.ndjson", b"[\n{\"event_id\":\"1\"},\n{\"event_id\":\"2\"}\n]".to_vec()),
        ("trailing.ndjson.gz", [gzip(b"{}\n"), b"rubbish".to_vec()].concat()),
        ("flipped.ndjson.gz", changed(gzip(&noise()), 50)),
        ("flipped-magic.ndjson.zst", changed(zstd(&noise()), 0)),
        ("flipped-footer.parquet", changed(parquet(), 97)),
        ("utf16.ndjson", utf16("\u{feff}{\"event_id\":1}\n")),
        ("utf16-without-mark.ndjson", utf16(&"{\"event_id\":1}\n".repeat(20))),
        ("utf16.csv", utf16("\u{feff}event_id,ts\n1,2\n")),
        ("utf16-without-mark.csv", utf16("event_id,ts\n1,2\n")),
        ("binary.csv", (0..=255).cycle().take(10_000).collect()),
        ("binary.ndjson", (0..=255).cycle().take(10_000).collect()),
        ("header-twice.csv", b"event_id,ts,TS\n1,2,3\n".to_vec()),
        ("header-empty.csv", b"event_id,,ts\n1,2,3\n".to_vec()),
        ("returns.csv", b"event_id,ts\r1,2026-08-24\r".to_vec()),
        ("open-quote.csv", b"event_id,\"ts\n1,2026-08-24\n".to_vec()),
        ("one-line-of-gzip.ndjson", gzip(b"{}\n")),
        ("one-line-of-zstd.csv", zstd(b"a,b\n")),
        ("header-latin.csv", b"event_id,caf\xe9\n1,2\n".to_vec()),
    ];
    for percent in [1, 10, 50, 90, 99] {
        files.push(("cut.ndjson.gz", cut(gzip(&noise()), percent)));
        files.push(("cut.ndjson.zst", cut(zstd(&noise()), percent)));
        files.push(("cut.parquet", cut(parquet(), percent)));
    }
    files
}

/// A file that cannot be read to its end fails the run before anything is written, with a good file beside it or not.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_is_an_error_that_names_it_and_nothing_is_archived() {
    for (name, bytes) in broken_files() {
        let lab = Lab::new();
        lab.write("good.ndjson", lines(0..100));
        lab.write(name, &bytes);
        for exports in [vec![name], vec!["good.ndjson", name]] {
            let error = lab.fail(&exports).await;
            let text = full(&error);
            assert!(matches!(error.kind(), Kind::Failed), "{name}: {text}");
            assert!(text.contains(name) && !text.contains("panicked"), "{name} of {} bytes: {text}", bytes.len());
            assert_eq!(lab.objects().await, Vec::<String>::new(), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parquet_file_changed_at_any_byte_never_panics_and_never_loses_a_row() {
    let whole = parquet();
    for at in (0..whole.len()).step_by(whole.len() / 60) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        let lab = Lab::new();
        lab.write("a.parquet", bytes);
        let mut request = lab.request(&["a.parquet"]);
        tolerant(&mut request);
        match tier::archive::archive(&lab.ctx, &request).await {
            Ok(report) => {
                let sum = report.accepted + report.duplicate + report.dead_letter;
                assert_eq!((report.read, sum), (100, 100), "byte {at}");
                assert_eq!(lab.rows().await.len() as u64, report.accepted, "byte {at}");
            }
            Err(error) => {
                let text = full(&error);
                let named = text.contains("a.parquet") || error.stable_code() == "too-many-dead-letters";
                assert!(named && !text.contains("panicked"), "byte {at}: {text}");
                assert_eq!(lab.objects().await, Vec::<String>::new(), "byte {at}");
            }
        }
    }
}

/// Other endings of the same text, and text that is fine though it looks odd.
#[tokio::test(flavor = "multi_thread")]
async fn odd_but_whole_files_are_archived_whole() {
    let text = lines(0..10);
    for (name, bytes) in [
        ("no-break-at-end.ndjson", text.trim_end().as_bytes().to_vec()),
        ("mark.ndjson", format!("\u{feff}{text}").into_bytes()),
        ("crlf.ndjson", text.replace('\n', "\r\n").into_bytes()),
        ("blank.ndjson", text.replace('\n', "\n\n \n").into_bytes()),
        ("members.ndjson.gz", text.lines().flat_map(|line| gzip(format!("{line}\n").as_bytes())).collect()),
        ("empty-member.ndjson.gz", [gzip(b""), gzip(text.as_bytes()), gzip(b"")].concat()),
        ("frames.ndjson.zst", text.lines().flat_map(|line| zstd(format!("{line}\n").as_bytes())).collect()),
        ("split-in-a-line.ndjson.gz", [gzip(&text.as_bytes()[..33]), gzip(&text.as_bytes()[33..])].concat()),
        ("UPPER.NDJSON", text.clone().into_bytes()),
        ("ü & 'b' $(c) %2e.jsonl", text.clone().into_bytes()),
    ] {
        let lab = Lab::new();
        lab.write(name, bytes);
        let report = lab.archive(&[name]).await;
        assert_eq!((report.read, report.accepted), (10, 10), "{name}");
    }
}
