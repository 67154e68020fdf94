//! The root of a version: one row per leaf, and the document.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Date32Array, Int64Array, ListBuilder, RecordBatch, StringArray, TimestampMicrosecondArray,
    UInt32Builder,
};
use arrow::datatypes::{Date32Type, Int64Type, TimestampMicrosecondType, UInt32Type};
use bytes::Bytes;

use super::document::RootDocument;
use super::leaf::LeafRef;
use super::table;
use crate::error::{Context, Error, Result};
use crate::model::{KeyRange, date_of_days, days_of_date};

const KEY: &str = "tier.root";

/// A version of the archive.
#[derive(Debug, Clone, PartialEq)]
pub struct Root {
    pub document: RootDocument,
    pub leaves: Vec<LeafRef>,
}

impl Root {
    pub fn encode(&self) -> Result<Bytes> {
        let document = serde_json::to_string(&self.document).context("encode the root document")?;
        table::encode(&root_batch(&self.leaves), KEY, document)
    }

    pub fn decode(bytes: Bytes) -> Result<Self> {
        let (batch, document) = table::decode(bytes, KEY)?;
        // Read the two fields that decide readability before anything that a newer format may have changed.
        let document: RootDocument = match serde_json::from_str(&document) {
            Ok(document) => document,
            Err(error) => return Err(unreadable(&document, error)),
        };
        document.check_readable()?;
        Ok(Root { document, leaves: decode_leaves(&batch)? })
    }

    /// Rows alive in this version.
    pub fn rows(&self) -> u64 {
        self.leaves.iter().map(|leaf| leaf.rows).sum()
    }
}

fn unreadable(document: &str, error: serde_json::Error) -> Error {
    let version = serde_json::from_str::<serde_json::Value>(document).ok().and_then(|v| v["format_version"].as_u64());
    match version {
        Some(version) if version > u64::from(super::FORMAT_VERSION) => Error::usage(format!(
            "the archive has catalog format {version}; this tier reads up to {}",
            super::FORMAT_VERSION
        ))
        .code("newer-format")
        .hint("use a newer tier"),
        _ => Error::failed("the root's document cannot be read").code("corrupt-root").with_source(error),
    }
}

fn root_batch(leaves: &[LeafRef]) -> RecordBatch {
    fn texts<'a>(leaves: &'a [LeafRef], get: impl Fn(&'a LeafRef) -> &'a str) -> ArrayRef {
        Arc::new(StringArray::from_iter_values(leaves.iter().map(get)))
    }
    let integers = |get: fn(&LeafRef) -> u64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(leaves.iter().map(|leaf| get(leaf) as i64)))
    };
    let times = |get: fn(&LeafRef) -> i64| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from_iter_values(leaves.iter().map(get)).with_timezone("UTC"))
    };
    let mut deleted = ListBuilder::new(UInt32Builder::new());
    for leaf in leaves {
        deleted.values().append_slice(&leaf.deleted);
        deleted.append(true);
    }
    table::batch(vec![
        ("path", texts(leaves, |l| &l.path)),
        ("leaf_bytes", integers(|l| l.leaf_bytes)),
        ("sha256", texts(leaves, |l| &l.sha256)),
        ("tenant_min", texts(leaves, |l| &l.tenants.min)),
        ("tenant_max", texts(leaves, |l| &l.tenants.max)),
        ("event_type_min", texts(leaves, |l| &l.event_types.min)),
        ("event_type_max", texts(leaves, |l| &l.event_types.max)),
        ("date_min", Arc::new(Date32Array::from_iter_values(leaves.iter().map(|l| days_of_date(l.dates.min))))),
        ("date_max", Arc::new(Date32Array::from_iter_values(leaves.iter().map(|l| days_of_date(l.dates.max))))),
        ("ts_min", times(|l| l.ts.min)),
        ("ts_max", times(|l| l.ts.max)),
        ("files", integers(|l| l.files)),
        ("rows", integers(|l| l.rows)),
        ("size_bytes", integers(|l| l.size_bytes)),
        ("added_version", integers(|l| l.added_version)),
        ("deleted", Arc::new(deleted.finish())),
    ])
}

fn decode_leaves(batch: &RecordBatch) -> Result<Vec<LeafRef>> {
    let (path, sha256) = (table::texts(batch, "path")?, table::texts(batch, "sha256")?);
    let (tenant_min, tenant_max) = (table::texts(batch, "tenant_min")?, table::texts(batch, "tenant_max")?);
    let (type_min, type_max) = (table::texts(batch, "event_type_min")?, table::texts(batch, "event_type_max")?);
    let date_min = table::numbers::<Date32Type>(batch, "date_min")?;
    let date_max = table::numbers::<Date32Type>(batch, "date_max")?;
    let ts_min = table::numbers::<TimestampMicrosecondType>(batch, "ts_min")?;
    let ts_max = table::numbers::<TimestampMicrosecondType>(batch, "ts_max")?;
    let leaf_bytes = table::numbers::<Int64Type>(batch, "leaf_bytes")?;
    let (files, rows) = (table::numbers::<Int64Type>(batch, "files")?, table::numbers::<Int64Type>(batch, "rows")?);
    let size_bytes = table::numbers::<Int64Type>(batch, "size_bytes")?;
    let added_version = table::numbers::<Int64Type>(batch, "added_version")?;
    let deleted = table::column(batch, "deleted")?.as_list_opt::<i32>().ok_or_else(|| table::wrong_type("deleted"))?;
    let date = |days| date_of_days(days).ok_or_else(|| Error::failed("a date in the root is out of range"));
    (0..batch.num_rows())
        .map(|row| {
            let positions = deleted.value(row);
            let positions = positions.as_primitive_opt::<UInt32Type>().ok_or_else(|| table::wrong_type("deleted"))?;
            Ok(LeafRef {
                path: path(row).to_owned(),
                leaf_bytes: leaf_bytes(row) as u64,
                sha256: sha256(row).to_owned(),
                tenants: KeyRange { min: tenant_min(row).to_owned(), max: tenant_max(row).to_owned() },
                event_types: KeyRange { min: type_min(row).to_owned(), max: type_max(row).to_owned() },
                dates: KeyRange { min: date(date_min(row))?, max: date(date_max(row))? },
                ts: KeyRange { min: ts_min(row), max: ts_max(row) },
                files: files(row) as u64,
                rows: rows(row) as u64,
                size_bytes: size_bytes(row) as u64,
                added_version: added_version(row) as u64,
                deleted: positions.values().to_vec(),
            })
        })
        .collect()
}
