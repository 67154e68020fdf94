//! The root of a version: one row per leaf, and the document.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, ListBuilder, RecordBatch, StringArray, UInt32Builder};
use arrow::datatypes::{Int64Type, UInt32Type};
use bytes::Bytes;

use super::document::RootDocument;
use super::leaf::LeafRef;
use super::ranges::{self, Covered, Ranges};
use super::table;
use crate::error::{Context, Error, Result};

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

    /// Files alive in this version.
    pub fn files(&self) -> u64 {
        self.leaves.iter().map(|leaf| leaf.files).sum()
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
    let mut deleted = ListBuilder::new(UInt32Builder::new());
    for leaf in leaves {
        deleted.values().append_slice(&leaf.deleted);
        deleted.append(true);
    }
    let covered: Vec<Covered> = leaves.iter().map(Covered::from).collect();
    let mut columns = vec![
        ("path", texts(leaves, |l| &l.path)),
        ("leaf_bytes", integers(|l| l.leaf_bytes)),
        ("sha256", texts(leaves, |l| &l.sha256)),
    ];
    columns.extend(ranges::encode(&covered));
    columns.extend([
        ("files", integers(|l| l.files)),
        ("rows", integers(|l| l.rows)),
        ("size_bytes", integers(|l| l.size_bytes)),
        ("added_version", integers(|l| l.added_version)),
        ("deleted", Arc::new(deleted.finish()) as ArrayRef),
    ]);
    // Readers of roots without merged leaves need not know the column.
    if leaves.iter().any(LeafRef::is_merged) {
        columns.push(("oldest_version", integers(|l| l.oldest_version)));
    }
    table::batch(columns)
}

fn decode_leaves(batch: &RecordBatch) -> Result<Vec<LeafRef>> {
    let (path, sha256) = (table::texts(batch, "path")?, table::texts(batch, "sha256")?);
    let ranges = ranges::decode(batch)?;
    let leaf_bytes = table::numbers::<Int64Type>(batch, "leaf_bytes")?;
    let (files, rows) = (table::numbers::<Int64Type>(batch, "files")?, table::numbers::<Int64Type>(batch, "rows")?);
    let size_bytes = table::numbers::<Int64Type>(batch, "size_bytes")?;
    let added_version = table::numbers::<Int64Type>(batch, "added_version")?;
    let oldest_version = table::optional::<Int64Type>(batch, "oldest_version")?;
    let deleted = table::column(batch, "deleted")?.as_list_opt::<i32>().ok_or_else(|| table::wrong_type("deleted"))?;
    (0..batch.num_rows())
        .map(|row| {
            let positions = deleted.value(row);
            let positions = positions.as_primitive_opt::<UInt32Type>().ok_or_else(|| table::wrong_type("deleted"))?;
            let Ranges { tenants, event_types, dates, ts } = ranges(row)?;
            Ok(LeafRef {
                path: path(row).to_owned(),
                leaf_bytes: leaf_bytes(row) as u64,
                sha256: sha256(row).to_owned(),
                tenants,
                event_types,
                dates,
                ts,
                files: files(row) as u64,
                rows: rows(row) as u64,
                size_bytes: size_bytes(row) as u64,
                added_version: added_version(row) as u64,
                oldest_version: oldest_version(row).unwrap_or(added_version(row)) as u64,
                deleted: positions.values().to_vec(),
            })
        })
        .collect()
}
