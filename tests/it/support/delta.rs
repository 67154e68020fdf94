//! A Delta table as its readers see it, and as its log says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use arrow::array::{Array, AsArray};
use jiff::Timestamp;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use tier::model::{StorageClass, micros_of_timestamp, sha256};
use tier::store::{Layout, Store};

use super::tier::Tier;

/// Of a cell the rows, the distinct ids, and a sum over all values.
pub type Cells = BTreeMap<String, (u64, u64, String)>;

const KEYS: [&str; 3] = ["date", "event_type", "tenant_id"];

fn script(tier: &Tier, args: &[&str]) -> std::process::Output {
    let python =
        std::env::var("TIER_TEST_DELTA_READERS").expect("no readers to test with: run the tests with infra/test.sh");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/infra/read_delta.py");
    Command::new(python).arg(script).args(args).current_dir(tier.path("")).output().unwrap()
}

/// What each reader finds in the table; `None` where it does not know the table's protocol.
pub fn of_the_readers(tier: &Tier, archive: &str) -> BTreeMap<String, Option<Cells>> {
    let output = script(tier, &[archive]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// How delta-rs was refused to write, by what it tried; `None` where it was not.
pub fn refusals(tier: &Tier, archive: &str) -> BTreeMap<String, Option<String>> {
    let output = script(tier, &[archive, "--refuse"]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

/// The same from the rows that `tier query --tiers cold` prints.
pub fn of_a_query(tier: &Tier, archive: &str, sql: &str) -> Cells {
    let rows = tier.ok(&["query", "--tiers", "cold", "--format", "ndjson", sql, "--archive", archive]).stdout;
    let mut cells: BTreeMap<String, (u64, BTreeSet<String>, u64)> = BTreeMap::new();
    for line in rows.lines() {
        let row: BTreeMap<String, Value> = serde_json::from_str(line).unwrap();
        let cell = KEYS.map(|key| row[key].as_str().unwrap()).join("/");
        let values = row.iter().filter(|(name, value)| !KEYS.contains(&name.as_str()) && !value.is_null());
        let text: Vec<String> = values.map(|(name, value)| format!("{name}={}", plain(name, value))).collect();
        let digest = u64::from_str_radix(&sha256(text.join("\x1f").as_bytes())[..16], 16).unwrap();
        let (count, ids, sum) = cells.entry(cell).or_default();
        *count += 1;
        ids.insert(row["event_id"].as_str().unwrap().to_owned());
        *sum = sum.wrapping_add(digest);
    }
    cells
        .into_iter()
        .map(|(cell, (count, ids, sum))| (cell, (count, ids.len() as u64, format!("{sum:016x}"))))
        .collect()
}

/// As infra/read_delta.py writes a value.
fn plain(name: &str, value: &Value) -> String {
    match value {
        Value::String(time) if name == "ts" => micros_of_timestamp(time.parse::<Timestamp>().unwrap()).to_string(),
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => format!("{:016x}", number.as_f64().unwrap().to_bits()),
        other => other.to_string(),
    }
}

/// Asserts that every reader sees exactly the rows of `tier query --tiers cold`, and returns them.
pub fn all_agree(tier: &Tier, archive: &str) -> Cells {
    let expected = of_a_query(tier, archive, "SELECT * FROM events");
    assert_eq!(readers_agree(tier, archive), expected);
    expected
}

/// As [`all_agree`], of a table with V2 checkpoints, which Polars refuses.
pub fn all_but_polars_agree(tier: &Tier, archive: &str) -> Cells {
    let expected = of_a_query(tier, archive, "SELECT * FROM events");
    let readers = of_the_readers(tier, archive);
    let but_polars = |reader: &str| (reader != "polars").then(|| expected.clone());
    assert_eq!(readers, ["delta-rs", "duckdb", "polars"].map(|reader| (reader.to_owned(), but_polars(reader))).into());
    expected
}

/// Asserts that the readers see the same rows, and returns them.
pub fn readers_agree(tier: &Tier, archive: &str) -> Cells {
    let mut readers = of_the_readers(tier, archive);
    assert_eq!(readers.keys().collect::<Vec<_>>(), ["delta-rs", "duckdb", "polars"]);
    let first = readers.remove("delta-rs").unwrap();
    for (reader, cells) in readers {
        assert_eq!(cells, first, "{reader}");
    }
    first.expect("delta-rs knows the protocol")
}

pub fn rows(cells: &Cells) -> u64 {
    cells.values().map(|(rows, ..)| rows).sum()
}

/// The lines of a commit.
pub async fn commit(store: &Store, version: u64) -> Vec<Value> {
    let bytes = store.get(&format!("_delta_log/{version:020}.json")).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The versions that have a commit.
pub async fn versions(store: &Store) -> Vec<u64> {
    let listed = store.list("_delta_log", None).await.unwrap();
    let version = |path: &str| path.strip_prefix("_delta_log/")?.strip_suffix(".json")?.parse().ok();
    let mut versions: Vec<u64> = listed.iter().filter_map(|file| version(&file.path)).collect();
    versions.sort_unstable();
    versions
}

/// The live files that replaying every commit leaves.
pub async fn replayed(store: &Store) -> BTreeSet<String> {
    replayed_until(store, u64::MAX).await
}

/// The live files of a version.
pub async fn replayed_until(store: &Store, newest: u64) -> BTreeSet<String> {
    let mut live = BTreeSet::new();
    for version in versions(store).await.into_iter().filter(|version| *version <= newest) {
        for line in commit(store, version).await {
            let path = |action: &str| {
                let path = line[action]["path"].as_str()?;
                Some(percent_decode_str(path).decode_utf8().unwrap().into_owned())
            };
            if let Some(path) = path("add") {
                assert!(live.insert(path.clone()), "version {version} adds {path} twice");
            }
            if let Some(path) = path("remove") {
                assert!(live.remove(&path), "version {version} removes {path}, which is not there");
            }
        }
    }
    live
}

/// The files of a checkpoint.
pub async fn checkpointed(store: &Store, version: u64) -> BTreeSet<String> {
    let parts = match top(store, version).await {
        Some(top) => sidecars_of(&top).iter().map(|name| sidecar_path(name)).collect(),
        None => vec![format!("_delta_log/{version:020}.checkpoint.parquet")],
    };
    let mut live = BTreeSet::new();
    for part in parts {
        for path in listed(store, &part).await {
            assert!(live.insert(percent_decode_str(&path).decode_utf8().unwrap().into_owned()), "{path} twice");
        }
    }
    live
}

/// The lines of the top file of a V2 checkpoint; `None` where it is classic.
pub async fn top(store: &Store, version: u64) -> Option<Vec<Value>> {
    let begin = format!("_delta_log/{version:020}.checkpoint.");
    let files = store.list("_delta_log", None).await.unwrap().into_iter().map(|file| file.path);
    let top = files.filter(|path| path.starts_with(&begin) && path.ends_with(".json")).max()?;
    let bytes = store.get(&top).await.unwrap();
    Some(bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect())
}

/// The names of the sidecars that a top file names, in its order.
pub fn sidecars_of(top: &[Value]) -> Vec<String> {
    top.iter().filter_map(|line| line["sidecar"]["path"].as_str().map(str::to_owned)).collect()
}

pub fn sidecar_path(name: &str) -> String {
    format!("_delta_log/_sidecars/{name}")
}

/// The encoded paths of the live files in a file of a checkpoint, as they follow each other.
pub async fn listed(store: &Store, path: &str) -> Vec<String> {
    let bytes = store.get(path).await.unwrap();
    let mut paths = Vec::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap() {
        let batch = batch.unwrap();
        let adds = batch.column_by_name("add").unwrap().as_struct();
        let path = adds.column_by_name("path").unwrap().as_string::<i32>();
        paths.extend((0..batch.num_rows()).filter(|row| adds.is_valid(*row)).map(|row| path.value(row).to_owned()));
    }
    paths
}

/// The files that a table of the newest version must have.
pub async fn expected(store: &Store) -> BTreeSet<String> {
    let snapshot = tier::catalog::Snapshot::open(store).await.unwrap();
    let files = snapshot.files(|_| true).await.unwrap().into_iter();
    let is_shown = |class: StorageClass, path: &str| !class.is_archived() && path.starts_with(Layout::EVENTS);
    files.filter(|file| is_shown(file.storage_class, &file.path)).map(|file| file.path).collect()
}

/// Names in the log's folder.
pub fn log_names(archive: &Path) -> Vec<String> {
    super::lab::names_in(&archive.join("_delta_log"))
}
