//! The lines of a Delta log, <https://github.com/delta-io/delta/blob/master/PROTOCOL.md>.

use std::collections::BTreeMap;

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::catalog::Totals;
use crate::error::{Context, Result};
use crate::model::{ColumnType, DataFile, Schema};

/// The partition columns, in the order of the folders.
pub const KEYS: [&str; 3] = ["date", "event_type", "tenant_id"];

/// A writer that does not know it must not write, delete, compact or clean: the data files are the archive's own.
pub const WRITER_FEATURE: &str = "tier-archive";

/// Of readers and writers.
const V2_CHECKPOINT: &str = "v2Checkpoint";

/// What a path in the log may hold unencoded: it is a URI. The folders' own `%` are encoded once more.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'=').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    CommitInfo(CommitInfo),
    Txn(Txn),
    Protocol(Protocol),
    MetaData(MetaData),
    Add(Add),
    Remove(Remove),
    /// Of a V2 checkpoint alone, as [`Action::Sidecar`] is.
    CheckpointMetadata(CheckpointMetadata),
    Sidecar(Sidecar),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommitInfo {
    pub timestamp: i64,
    pub operation: String,
    #[serde(default)]
    pub engine_info: String,
    /// Absent of anybody else's commit.
    pub tier: Option<Shown>,
}

/// What the table shows from a commit on: all that the next commit needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// The archive's version.
    pub root_version: u64,
    /// Of the Delta table; another one each time it is published from nothing.
    pub table_id: String,
    pub created_time: i64,
    /// Its checkpoints are V2, and stay so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_sidecars: bool,
    #[serde(flatten)]
    pub totals: Totals,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Txn {
    /// The archive's id.
    pub app_id: String,
    /// The archive's version.
    pub version: u64,
    pub last_updated: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Protocol {
    pub min_reader_version: i32,
    pub min_writer_version: i32,
    /// From reader version 3 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reader_features: Option<Vec<String>>,
    pub writer_features: Vec<String>,
}

impl Protocol {
    /// Any reader that knows the table's checkpoints, and no writer but us. `invariants` is what columns that are never
    /// null ask of a writer.
    pub fn of(shown: &Shown) -> Self {
        let names = |names: &[&str]| names.iter().copied().map(str::to_owned).collect();
        match shown.has_sidecars {
            false => Protocol {
                min_reader_version: 1,
                min_writer_version: 7,
                reader_features: None,
                writer_features: names(&[WRITER_FEATURE, "invariants"]),
            },
            true => Protocol {
                min_reader_version: 3,
                min_writer_version: 7,
                reader_features: Some(names(&[V2_CHECKPOINT])),
                writer_features: names(&[WRITER_FEATURE, "invariants", V2_CHECKPOINT]),
            },
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetaData {
    pub id: String,
    pub name: String,
    pub format: Format,
    pub schema_string: String,
    pub partition_columns: Vec<String>,
    pub configuration: BTreeMap<String, String>,
    pub created_time: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Format {
    pub provider: String,
    pub options: BTreeMap<String, String>,
}

impl MetaData {
    pub fn new(shown: &Shown, schema: &Schema) -> Self {
        // A checkpoint lists live files alone: what was removed is the archive's to delete, not a Delta vacuum's.
        let no_tombstones = ("delta.deletedFileRetentionDuration", "interval 0 hours");
        let checkpoints = shown.has_sidecars.then_some(("delta.checkpointPolicy", "v2"));
        let properties = [no_tombstones].into_iter().chain(checkpoints);
        MetaData {
            id: shown.table_id.clone(),
            name: "events".to_owned(),
            format: Format { provider: "parquet".to_owned(), options: BTreeMap::new() },
            schema_string: schema_string(schema),
            partition_columns: KEYS.map(str::to_owned).to_vec(),
            configuration: properties.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            created_time: shown.created_time,
        }
    }
}

/// The columns of the data files, then the keys.
fn schema_string(schema: &Schema) -> String {
    let field = |name: &str, of: &str, nullable: bool| serde_json::json!({"name": name, "type": of, "nullable": nullable, "metadata": {}});
    let columns = schema.columns().iter().map(|column| {
        let of = match column.column_type {
            ColumnType::Boolean => "boolean",
            ColumnType::BigInt => "long",
            ColumnType::Double => "double",
            ColumnType::Varchar => "string",
            ColumnType::Timestamp => "timestamp",
        };
        field(&column.name, of, column.is_nullable())
    });
    let keys = KEYS.map(|key| field(key, if key == "date" { "date" } else { "string" }, false));
    serde_json::json!({"type": "struct", "fields": columns.chain(keys).collect::<Vec<_>>()}).to_string()
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Add {
    pub path: String,
    pub partition_values: BTreeMap<String, String>,
    pub size: u64,
    pub modification_time: i64,
    pub data_change: bool,
    pub stats: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Remove {
    pub path: String,
    pub deletion_timestamp: i64,
    pub data_change: bool,
    pub extended_file_metadata: bool,
    pub partition_values: BTreeMap<String, String>,
    pub size: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointMetadata {
    pub version: u64,
    pub tags: BTreeMap<String, String>,
}

/// A file that lists some of a checkpoint's files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sidecar {
    /// Its name in the folder of sidecars.
    pub path: String,
    pub size_in_bytes: u64,
    pub modification_time: i64,
    pub tags: Tags,
}

/// What the next checkpoint needs to know of a sidecar that it may name again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tags {
    /// The first path; the others are in order, and before the first of the next sidecar.
    #[serde(rename = "tier.first")]
    pub first: String,
    /// How many; a tag is text.
    #[serde(rename = "tier.files", with = "text")]
    pub files: u64,
}

mod text {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub fn deserialize<'a, D: Deserializer<'a>>(deserializer: D) -> Result<u64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Add {
    pub fn new(file: &DataFile, data_change: bool) -> Result<Self> {
        Ok(Add {
            path: path(file),
            partition_values: partition_values(file),
            size: file.size_bytes,
            // The catalog knows no other time of a file that stays the same from commit to checkpoint.
            modification_time: millis_up(file.ts.max),
            data_change,
            stats: stats(file)?,
        })
    }
}

impl Remove {
    pub fn new(file: &DataFile, at: Timestamp, data_change: bool) -> Self {
        Remove {
            path: path(file),
            deletion_timestamp: at.as_millisecond(),
            data_change,
            extended_file_metadata: true,
            partition_values: partition_values(file),
            size: file.size_bytes,
        }
    }
}

/// Whether the table can show the file: it can be read at once, and is of one cell, as a Delta partition is.
pub fn is_shown(file: &DataFile) -> bool {
    !file.is_bundle() && !file.storage_class.is_archived()
}

fn path(file: &DataFile) -> String {
    utf8_percent_encode(&file.path, PATH).to_string()
}

fn partition_values(file: &DataFile) -> BTreeMap<String, String> {
    let values = [file.dates.min.to_string(), file.event_types.min.to_string(), file.tenants.min.to_string()];
    KEYS.into_iter().map(str::to_owned).zip(values).collect()
}

/// What the catalog knows without opening the file. Times are in milliseconds, and the range holds every event.
fn stats(file: &DataFile) -> Result<String> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Stats {
        num_records: u64,
        min_values: Times,
        max_values: Times,
        null_count: Nulls,
    }
    #[derive(Serialize)]
    struct Times {
        ts: String,
    }
    #[derive(Serialize)]
    struct Nulls {
        event_id: u64,
        ts: u64,
    }
    let text = |millis: i64| -> Result<Times> {
        let time = Timestamp::from_millisecond(millis).context("write a time into the Delta log")?;
        Ok(Times { ts: time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string() })
    };
    let stats = Stats {
        num_records: file.rows,
        min_values: text(file.ts.min.div_euclid(1000))?,
        max_values: text(millis_up(file.ts.max))?,
        null_count: Nulls { event_id: 0, ts: 0 },
    };
    serde_json::to_string(&stats).context("write statistics into the Delta log")
}

/// Microseconds to milliseconds that are not before them.
fn millis_up(micros: i64) -> i64 {
    -(-micros).div_euclid(1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{KeyRange, StorageClass};

    fn file(tenant: &str, min: i64, max: i64) -> DataFile {
        DataFile {
            path: "events/date=2026-08-24/event_type=a b/tenant_id=a%3Db/1.parquet".to_owned(),
            tenants: KeyRange::one(tenant).to_text(),
            event_types: KeyRange::one("a b").to_text(),
            dates: KeyRange::one("2026-08-24".parse().unwrap()),
            ts: KeyRange { min, max },
            rows: 3,
            size_bytes: 100,
            footer_bytes: 10,
            schema_id: 1,
            storage_class: StorageClass::Standard,
            class_since: None,
            pack: None,
        }
    }

    #[test]
    fn paths_are_encoded_once_more_and_values_not_at_all() {
        let add = Add::new(&file("a=b", 0, 0), true).unwrap();
        assert_eq!(add.path, "events/date=2026-08-24/event_type=a%20b/tenant_id=a%253Db/1.parquet");
        assert_eq!(add.partition_values["tenant_id"], "a=b");
    }

    #[test]
    fn the_range_of_times_holds_every_microsecond() {
        for (min, max, expected_min, expected_max) in [
            (1_500, 1_500, "1970-01-01T00:00:00.001Z", "1970-01-01T00:00:00.002Z"),
            (2_000, 2_000, "1970-01-01T00:00:00.002Z", "1970-01-01T00:00:00.002Z"),
            (-1, -1, "1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00.000Z"),
        ] {
            let stats: serde_json::Value = serde_json::from_str(&stats(&file("t", min, max)).unwrap()).unwrap();
            assert_eq!(stats["minValues"]["ts"], expected_min);
            assert_eq!(stats["maxValues"]["ts"], expected_max);
            assert_eq!(stats["numRecords"], 3);
        }
    }
}
