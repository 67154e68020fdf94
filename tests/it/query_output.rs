//! `tier query` as a program: what it writes where, in every format, and how it exits.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tempfile::TempDir;
use tier::store::{ClassTime, Location, Store};

use crate::support::events::{Row, append, context, full_schema, row};

/// An archive of three events in a folder.
async fn archive() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&Location::Local(folder.path().join("archive")), ClassTime::default()).await.unwrap();
    let rows = [
        Row { payload: Some(String::new()), user_id: Some(7), ..row("2026-08-24", "acme", "login", "e1", 1) },
        Row { payload: None, ok: Some(true), ..row("2026-08-24", "acme", "login", "e2", 2) },
        Row { payload: Some("a,\"b\"\n\u{1b}[31mc".to_owned()), ..row("2026-08-25", "globex", "click", "e3", 3) },
    ];
    append(&context(store), None, &full_schema(), &rows).await;
    folder
}

fn tier(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tier"));
    command.arg("query").args(args).current_dir(folder).env("TIER_ARCHIVE", "archive").env("HOME", folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(folder: &Path, args: &[&str]) -> Output {
    tier(folder, args).output().unwrap()
}

fn stdout(folder: &Path, args: &[&str]) -> String {
    let output = run(folder, args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), stderr.as_ref()), (Some(0), ""), "{args:?}");
    String::from_utf8(output.stdout).unwrap()
}

const SQL: &str = "SELECT event_id, payload, userId, ts FROM events ORDER BY event_id";

#[tokio::test]
async fn csv_tells_null_from_empty_text_and_has_a_header() {
    let folder = archive().await;
    let rows = "event_id,payload,userId,ts\ne1,\"\",7,2026-08-24T00:00:01Z\ne2,,,2026-08-24T00:00:02Z\n\
                e3,\"a,\"\"b\"\"\n\u{1b}[31mc\",,2026-08-25T00:00:03Z\n";
    assert_eq!(stdout(folder.path(), &[SQL]), rows);
    assert_eq!(
        stdout(folder.path(), &[SQL, "--null", "NA"]),
        rows.replace("e2,,,", "e2,NA,NA,").replace("c\",,", "c\",NA,")
    );
    assert_eq!(stdout(folder.path(), &["SELECT event_id FROM events WHERE false"]), "event_id\n");
}

#[tokio::test]
async fn json_is_one_array_or_one_object_per_line() {
    let folder = archive().await;
    let lines = stdout(folder.path(), &[SQL, "--format", "ndjson"]);
    let rows: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        rows[0],
        serde_json::json!({"event_id": "e1", "payload": "", "userId": 7, "ts": "2026-08-24T00:00:01Z"})
    );
    assert_eq!(
        rows[1],
        serde_json::json!({"event_id": "e2", "payload": null, "userId": null, "ts": "2026-08-24T00:00:02Z"})
    );
    for args in [&[SQL, "--format", "json"][..], &[SQL, "--json"][..]] {
        let array: serde_json::Value = serde_json::from_str(&stdout(folder.path(), args)).unwrap();
        assert_eq!(array, serde_json::Value::Array(rows.clone()), "{args:?}");
    }
    assert_eq!(stdout(folder.path(), &["SELECT event_id FROM events WHERE false", "--json"]), "[]\n");
}

#[tokio::test]
async fn tables_show_types_and_hide_control_characters() {
    let folder = archive().await;
    let sql = "SELECT event_id, replace(payload, chr(10), '') AS p, userId FROM events ORDER BY event_id";
    assert_eq!(
        stdout(folder.path(), &[sql, "--format", "table"]),
        "┌──────────┬──────────────────┬────────┐\n\
         │ event_id ┆ p                ┆ userId │\n\
         │ VARCHAR  ┆ VARCHAR          ┆ BIGINT │\n\
         ╞══════════╪══════════════════╪════════╡\n\
         │ e1       ┆                  ┆      7 │\n\
         │ e2       ┆ NULL             ┆   NULL │\n\
         │ e3       ┆ a,\"b\"\\u{1b}[31mc ┆   NULL │\n\
         └──────────┴──────────────────┴────────┘\n\
         3 rows\n"
    );
    assert_eq!(
        stdout(
            folder.path(),
            &["SELECT * FROM generate_series(1, 20000) ORDER BY 1", "--format", "table", "--max-rows", "3"]
        ),
        "┌────────┐\n│  value │\n│ BIGINT │\n╞════════╡\n│      1 │\n│      2 │\n│      · │\n│  20000 │\n└────────┘\n\
         20,000 rows (3 shown; --max-rows all)\n"
    );
}

#[tokio::test]
async fn markdown_and_line_show_every_value() {
    let folder = archive().await;
    let sql = "SELECT event_id, 'a|b' AS text, userId FROM events WHERE event_id < 'e3' ORDER BY 1";
    assert_eq!(
        stdout(folder.path(), &[sql, "--format", "markdown"]),
        "| event_id | text | userId |\n|---|---|---:|\n| e1 | a\\|b | 7 |\n| e2 | a\\|b | NULL |\n"
    );
    assert_eq!(
        stdout(folder.path(), &[sql, "--format", "line"]),
        "event_id = e1\n    text = a|b\n  userId = 7\n\nevent_id = e2\n    text = a|b\n  userId = NULL\n"
    );
}

#[tokio::test]
async fn a_plan_is_shown_as_text_not_as_a_table() {
    let folder = archive().await;
    let sql = "EXPLAIN SELECT ts FROM events WHERE date = '2026-08-24' AND ts > '2026-08-24'";
    let shown = stdout(folder.path(), &[sql, "--format", "table"]);
    let headings: Vec<&str> = shown.lines().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(headings, ["logical_plan", "physical_plan", "archive"], "{shown}");
    assert!(shown.trim_end().lines().last().unwrap().starts_with("  files 2 → "), "{shown}");
}

#[tokio::test]
async fn a_file_appears_whole_or_not_at_all() {
    let folder = archive().await;
    for name in ["rows.parquet", "rows.arrow", "rows.csv"] {
        assert_eq!(stdout(folder.path(), &[SQL, "--output", name]), "");
    }
    let file = std::fs::File::open(folder.path().join("rows.parquet")).unwrap();
    let rows: usize =
        ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap().map(|b| b.unwrap().num_rows()).sum();
    assert_eq!(rows, 3);
    let file = std::fs::File::open(folder.path().join("rows.arrow")).unwrap();
    let batches = arrow::ipc::reader::FileReader::try_new(file, None).unwrap();
    assert_eq!(batches.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 3);
    let csv = std::fs::read_to_string(folder.path().join("rows.csv")).unwrap();
    assert_eq!(csv, stdout(folder.path(), &[SQL]));
    let before = names(folder.path());
    let failed = run(folder.path(), &["SELECT CAST(event_id AS BIGINT) FROM events", "--output", "half.csv"]);
    assert_eq!(failed.status.code(), Some(1), "{}", String::from_utf8_lossy(&failed.stderr));
    assert_eq!(names(folder.path()), before);
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn words_go_to_stderr_and_the_report_to_its_file() {
    let folder = archive().await;
    let args = ["SELECT count(*) AS n FROM events WHERE date = '2026-08-24'", "--stats", "--report", "report.json"];
    let output = run(folder.path(), &args);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "n\n2\n");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("files 2 → root 2 → leaf 1 → scanned 0 (0 B)\n1 LIST · 3 GET · 0 HEAD · "), "{stderr}");
    let report = std::fs::read_to_string(folder.path().join("report.json")).unwrap();
    let mut report: serde_json::Value = serde_json::from_str(&report).unwrap();
    for varying in ["bytes_read", "elapsed_ms"] {
        assert!(report[varying].take().is_u64(), "{varying}");
    }
    assert!(report["estimate"]["bytes"].take().is_u64() && report["prices_date"].take().is_string(), "{report}");
    for cost in [report["cost_usd"].take(), report["estimate"]["cost_usd"].take()] {
        assert!(cost.as_f64().unwrap() > 0.0 && cost.as_f64().unwrap() < 0.001, "{cost}");
    }
    assert_eq!(
        report,
        serde_json::json!({
            "format_version": "1.0", "version": 1, "rows": 1, "complete": true, "missing": [], "possibly_incomplete": [],
            "files_total": 2,
            "files_pruned": 2, "files_scanned": 0, "files_archived": 0,
            "hot_missing": null, "hot_partitions": 0, "hot_rows": 0, "hot_refused": 0,
            "requests": {"list": 1, "get": 3, "head": 0}, "bytes_read": null, "elapsed_ms": null,
            "cost_usd": null, "prices_date": null, "simulated": true,
            "estimate": {"files": 0, "requests": 4, "bytes": null, "cost_usd": null}
        })
    );
}

#[tokio::test]
async fn sql_comes_from_an_argument_a_file_or_stdin_and_stops_at_the_first_error() {
    let folder = archive().await;
    std::fs::write(folder.path().join("two.sql"), "SELECT 1 AS a; -- one\nSELECT 'x;y' AS b;\n").unwrap();
    assert_eq!(stdout(folder.path(), &["-f", "two.sql"]), "a\n1\nb\nx;y\n");
    for args in [&["-"][..], &[]] {
        let mut child = tier(folder.path(), args).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"SELECT 2 AS c").unwrap();
        assert_eq!(child.wait_with_output().unwrap().stdout, b"c\n2\n");
    }
    let output = run(folder.path(), &["SELECT 1 AS a; SELECT nope; SELECT 2 AS b"]);
    assert_eq!((output.status.code(), output.stdout), (Some(2), b"a\n1\n".to_vec()));
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_ends_the_query_quietly() {
    let folder = archive().await;
    let mut child = tier(folder.path(), &["SELECT * FROM generate_series(1, 3000000)"]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[tokio::test]
async fn ctrl_c_ends_a_running_query_with_130() {
    let folder = archive().await;
    let endless = "SELECT count(*) FROM generate_series(1, 100000000000) WHERE random() > 2";
    let child = tier(folder.path(), &[endless]).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(700));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "stopped: the query was stopped on request\n");
}

#[tokio::test]
async fn errors_under_json_are_one_object_on_stderr() {
    let folder = archive().await;
    let output = run(folder.path(), &["SELECT tenent FROM events", "--json"]);
    assert_eq!((output.status.code(), output.stdout), (Some(2), Vec::new()));
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["code"], "unknown-column");
    assert_eq!(error["hint"], "did you mean `tenant_id`?");
}
