//! CSV, Parquet and packed exports.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float32Array, Int32Array,
    ListArray, RecordBatch, StringArray, StructArray, TimestampNanosecondArray, UInt64Array,
};
use arrow::datatypes::{Field, Int32Type};
use parquet::arrow::ArrowWriter;

use crate::support::lab::{Lab, counts, line, lines};

const NOON: &str = "2026-08-24T12:00:00Z";
const HEADER: &str = "event_id,event_type,tenant_id,ts";

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_csv_field_is_null_and_tokens_add_to_it() {
    let lab = Lab::new();
    lab.write("a.csv", format!("{HEADER},n\n1,login,acme,{NOON},\n2,login,acme,{NOON},NA\n3,login,acme,{NOON},5\n"));
    lab.archive_with(&["a.csv"], |request| request.null_tokens = vec!["NA".into()]).await;
    let row = |id: u32, more: &str| format!(r#"2026-08-24/login/acme {{"event_id":"{id}","ts":"{NOON}"{more}}}"#);
    assert_eq!(lab.columns().await, ["n BIGINT"]);
    assert_eq!(lab.rows().await, [row(1, ""), row(2, ""), row(3, r#","n":5"#)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_became_text_through_few_values_is_named_with_file_and_line() {
    let lab = Lab::new();
    let value = |id: u32| if id == 57 { "NA".to_owned() } else { id.to_string() };
    let rows: String = (0..100).map(|id| format!("{id},login,acme,{NOON},{}\n", value(id))).collect();
    let path = lab.write("a.csv", format!("{HEADER},n\n{rows}"));
    let report = lab.archive(&["a.csv"]).await;
    let spoiled: Vec<_> =
        report.spoiled_columns.iter().map(|c| (&*c.column, c.texts, c.values, &*c.file, c.line, &*c.value)).collect();
    assert_eq!(spoiled, [("n", 1, 100, path.to_str().unwrap(), 59, "NA")]);
    assert_eq!(lab.columns().await, ["n VARCHAR"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_knows_quotes_line_breaks_in_them_and_both_line_ends() {
    for end in ["\n", "\r\n"] {
        let lab = Lab::new();
        let rows = [
            "\u{feff}event_id,event_type,tenant_id,ts,note".to_owned(),
            format!("1,login,acme,{NOON},\"a, \"\"b\"\"\""),
            String::new(),
            format!("2,login,acme,{NOON},\"two{end}lines\""),
            "3,login".to_owned(),
            format!("4,login,acme,{NOON},x,extra"),
            format!("5,login,acme,{NOON},last"),
        ];
        lab.write("a.csv", rows.join(end));
        assert_eq!(counts(&lab.archive(&["a.csv"]).await), (5, 3, 0, 2));
        let letters = lab.letters().await;
        let letters: Vec<_> = letters.iter().map(|l| (l.line, l.raw.as_str(), l.header.as_deref().unwrap())).collect();
        let header = "event_id,event_type,tenant_id,ts,note";
        assert_eq!(letters, [(6, "3,login", header), (7, &*format!("4,login,acme,{NOON},x,extra"), header)], "{end:?}");
        let row = |id: u32, note: &str| {
            let note = serde_json::to_string(note).unwrap();
            format!(r#"2026-08-24/login/acme {{"event_id":"{id}","ts":"{NOON}","note":{note}}}"#)
        };
        let two = format!("two{end}lines");
        assert_eq!(lab.rows().await, [row(1, "a, \"b\""), row(2, &two), row(5, "last")]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tsv_and_another_delimiter_are_csv_too() {
    let lab = Lab::new();
    lab.write("a.tsv", format!("{HEADER}\n1,login,acme,{NOON}\n2,login,acme,{NOON}").replace(',', "\t"));
    lab.write("b.txt", format!("{HEADER}\n3,login,acme,{NOON}\n").replace(',', ";"));
    assert_eq!(counts(&lab.archive(&["a.tsv"]).await), (2, 2, 0, 0));
    let semicolon =
        |request: &mut tier::archive::ArchiveRequest| request.format = Some(tier::exports::Format::Csv(b';'));
    assert_eq!(counts(&lab.archive_with(&["b.txt"], semicolon).await), (1, 1, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quote_inside_a_csv_field_is_part_of_it_and_hides_no_record() {
    let lab = Lab::new();
    let rows: String =
        (0..1_000).map(|id| format!("{id},login,acme,{NOON},{}\n", if id == 3 { "5\" disk" } else { "x" })).collect();
    lab.write("a.csv", format!("{HEADER},note\n{rows}"));
    assert_eq!(counts(&lab.archive(&["a.csv"]).await), (1_000, 1_000, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn nested_json_is_kept_as_its_text() {
    let lab = Lab::new();
    lab.write("a.ndjson", line("1", NOON, r#""payload": { "b" : [1, 2.50, "é"],"a":null }"#));
    lab.archive(&["a.ndjson"]).await;
    let row = r#"2026-08-24/login/acme {"event_id":"1","ts":"2026-08-24T12:00:00Z","payload":"{ \"b\" : [1, 2.50, \"é\"],\"a\":null }"}"#;
    assert_eq!(lab.rows().await, [row]);
}

#[tokio::test(flavor = "multi_thread")]
async fn packed_exports_are_unpacked_even_in_several_members() {
    let lab = Lab::new();
    let mut gzip = Vec::new();
    let mut zstd = Vec::new();
    for part in [0..10, 10..20] {
        let text = lines(part);
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        gzip.extend(encoder.finish().unwrap());
        zstd.extend(zstd::encode_all(text.as_bytes(), 1).unwrap());
    }
    lab.write("a.ndjson.gz", gzip);
    lab.write("b.ndjson.zst", zstd);
    assert_eq!(counts(&lab.archive(&["*"]).await), (40, 20, 20, 0));
}

pub fn write_parquet(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)));
    let batch = batch.unwrap();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parquet_export_keeps_what_its_types_say() {
    let lab = Lab::new();
    let text = |values: [&str; 2]| -> ArrayRef { Arc::new(StringArray::from(values.to_vec())) };
    let dictionary: DictionaryArray<Int32Type> = vec!["login", "login"].into_iter().collect();
    let noon = 1_787_572_800_000_000_999;
    let point = StructArray::from(vec![
        (
            Arc::new(Field::new("x", arrow::datatypes::DataType::Int32, true)),
            Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef,
        ),
        (Arc::new(Field::new("s", arrow::datatypes::DataType::Utf8, true)), text(["a", "b"])),
    ]);
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
    write_parquet(
        &lab.path("a.parquet"),
        vec![
            ("event_id", Arc::new(UInt64Array::from(vec![u64::MAX, 7]))),
            ("event_type", Arc::new(dictionary)),
            ("tenant_id", text(["acme", "007"])),
            ("ts", Arc::new(TimestampNanosecondArray::from(vec![noon, noon]).with_timezone("+02:00"))),
            ("big", Arc::new(UInt64Array::from(vec![Some(u64::MAX), None]))),
            ("small", Arc::new(UInt64Array::from(vec![5, 6]))),
            ("float", Arc::new(Float32Array::from(vec![Some(0.5), None]))),
            ("day", Arc::new(Date32Array::from(vec![20_689, 0]))),
            ("price", Arc::new(Decimal128Array::from(vec![123_450, -5]).with_precision_and_scale(20, 3).unwrap())),
            ("at", Arc::new(TimestampNanosecondArray::from(vec![Some(noon), None]))),
            ("ok", Arc::new(BooleanArray::from(vec![Some(true), None]))),
            ("point", Arc::new(point)),
            ("list", Arc::new(list)),
            ("code", text(["007", "8"])),
            ("bytes", Arc::new(BinaryArray::from(vec![b"\x00\xff".as_slice(), b"ab"]))),
        ],
    );
    assert_eq!(counts(&lab.archive(&["a.parquet"]).await), (2, 2, 0, 0));
    assert_eq!(
        lab.columns().await,
        [
            "at TIMESTAMP",
            "big VARCHAR",
            "bytes VARCHAR",
            "code VARCHAR",
            "day VARCHAR",
            "float DOUBLE",
            "list VARCHAR",
            "ok BOOLEAN",
            "point VARCHAR",
            "price VARCHAR",
            "small BIGINT",
        ]
    );
    assert_eq!(
        lab.rows().await,
        [
            r#"2026-08-24/login/007 {"event_id":"7","ts":"2026-08-24T12:00:00Z","bytes":"6162","code":"8","day":"1970-01-01","point":"{\"x\":2,\"s\":\"b\"}","price":"-0.005","small":6}"#,
            r#"2026-08-24/login/acme {"event_id":"18446744073709551615","ts":"2026-08-24T12:00:00Z","at":"2026-08-24T12:00:00Z","big":"18446744073709551615","bytes":"00ff","code":"007","day":"2026-08-24","float":0.5,"list":"[1,null]","ok":true,"point":"{\"x\":1,\"s\":\"a\"}","price":"123.450","small":5}"#,
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_rows_of_a_parquet_export_are_dead_letters_with_their_row_as_json() {
    let lab = Lab::new();
    let text = |values: [Option<&str>; 3]| -> ArrayRef { Arc::new(StringArray::from(values.to_vec())) };
    write_parquet(
        &lab.path("a.parquet"),
        vec![
            ("event_id", text([Some("1"), None, Some("1")])),
            ("event_type", text([Some("login"); 3])),
            ("tenant_id", text([Some("acme"); 3])),
            ("ts", text([Some(NOON); 3])),
            ("n", Arc::new(Int32Array::from(vec![1, 2, 3]))),
        ],
    );
    assert_eq!(counts(&lab.archive(&["a.parquet"]).await), (3, 1, 0, 2));
    let raw = |id: &str, n: u32| format!(r#"{{{id}"event_type":"login","tenant_id":"acme","ts":"{NOON}","n":{n}}}"#);
    assert_eq!(
        lab.letters_in_short().await,
        [format!("id 2: {}", raw("", 2)), format!("conflict 3: {}", raw(r#""event_id":"1","#, 3))]
    );
}
