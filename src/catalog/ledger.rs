//! The ledger of exports: which bytes were consumed under which mapping.
//!
//! The newest entries are in the root's document; when they become many, a commit moves them to a Parquet file of their
//! own, so that the root stays small after seven years of nightly exports.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringViewArray};

use super::document::{LedgerRef, RootDocument};
use super::table;
use crate::error::{Context, Error, Result};
use crate::model::{ExportEntry, sha256};
use crate::store::{Layout, Store};

const KEY: &str = "tier.ledger";
const LEDGER_FORMAT: &str = "1";

/// Entries kept in the document, about 300 bytes each.
const INLINE_ENTRIES: usize = 512;

/// Moves the document's entries to a file of their own when there are too many.
pub async fn spill(store: &Store, layout: &Layout, document: &mut RootDocument) -> Result<()> {
    if document.exports.len() <= INLINE_ENTRIES {
        return Ok(());
    }
    let mut entries = std::mem::take(&mut document.exports);
    entries.sort_by(|a, b| a.digest.cmp(&b.digest));
    let json: Vec<String> = entries.iter().map(|e| serde_json::to_string(e).expect("plain data")).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("digest", Arc::new(StringViewArray::from_iter_values(entries.iter().map(|e| &e.digest)))),
        ("entry", Arc::new(StringViewArray::from_iter_values(json))),
    ];
    let bytes = table::encode(&table::batch(columns), KEY, LEDGER_FORMAT.to_owned())?;
    let path = layout.ledger(document.ledgers.len());
    document.ledgers.push(LedgerRef { path: path.clone(), sha256: sha256(&bytes), entries: entries.len() as u64 });
    store.put(&path, bytes).await
}

/// The entries that `wanted` picks, newest file last; one ledger file in memory at a time.
pub async fn find(
    store: &Store,
    document: &RootDocument,
    wanted: impl Fn(&ExportEntry) -> bool,
) -> Result<Vec<ExportEntry>> {
    let counts = |entry: &ExportEntry| !document.reverted.contains(&entry.version) && wanted(entry);
    let mut found = Vec::new();
    for ledger in &document.ledgers {
        let entries =
            read(store, ledger).await.with_context(|| format!("read ledger {}", store.address(&ledger.path)))?;
        found.extend(entries.into_iter().filter(|entry| counts(entry)));
    }
    found.extend(document.exports.iter().filter(|entry| counts(entry)).cloned());
    Ok(found)
}

/// The entries of a ledger file.
pub async fn read(store: &Store, ledger: &LedgerRef) -> Result<Vec<ExportEntry>> {
    let bytes = store.get(&ledger.path).await?;
    if sha256(&bytes) != ledger.sha256 {
        return Err(Error::failed("its bytes are not those the root names (SHA-256 differs)").code("corrupt-ledger"));
    }
    let (batch, format) = table::decode(bytes, KEY)?;
    if format != LEDGER_FORMAT {
        return Err(
            Error::usage(format!("its format is {format}; this tier reads {LEDGER_FORMAT}")).hint("use a newer tier")
        );
    }
    let entry = table::texts(&batch, "entry")?;
    (0..batch.num_rows()).map(|row| serde_json::from_str(entry(row)).context("decode an entry")).collect()
}
