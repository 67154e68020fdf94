//! What must hold of every root: checked before it is written and after it is read.

use arrow::datatypes::{Date32Type, Int64Type, TimestampMicrosecondType};

use super::root::Root;
use super::table;
use crate::error::{Error, Result};

/// Each invariant by name, and whether it holds.
pub fn check(root: &Root) -> Result<()> {
    let (document, leaves) = (&root.document, &root.leaves);
    let batch = leaves.batch();
    let totals = |get: fn(&super::Totals) -> u64| document.totals.values().map(get).sum::<u64>();
    let all = |holds: &dyn Fn(usize) -> bool| (0..batch.num_rows()).all(holds);
    let files = table::numbers::<Int64Type>(batch, "files")?;
    let added = table::numbers::<Int64Type>(batch, "added_version")?;
    let oldest = table::optional::<Int64Type>(batch, "oldest_version")?;
    let (date_min, date_max) =
        (table::numbers::<Date32Type>(batch, "date_min")?, table::numbers::<Date32Type>(batch, "date_max")?);
    let (ts_min, ts_max) = (
        table::numbers::<TimestampMicrosecondType>(batch, "ts_min")?,
        table::numbers::<TimestampMicrosecondType>(batch, "ts_max")?,
    );
    let held = [
        ("totals count the leaves' files", leaves.files() == totals(|t| t.files)),
        ("totals count the leaves' rows", leaves.rows() == totals(|t| t.rows)),
        ("totals count the leaves' bytes", leaves.size_bytes() == totals(|t| t.bytes)),
        ("no leaf is empty", all(&|row| files(row) > 0)),
        ("no leaf is newer than its root", all(&|row| added(row) as u64 <= document.version)),
        ("no leaf is older than its files", all(&|row| oldest(row).is_none_or(|oldest| oldest <= added(row)))),
        ("ranges are not reversed", all(&|row| date_min(row) <= date_max(row) && ts_min(row) <= ts_max(row))),
        ("the first version alone has no parent", (document.version == 1) == document.parent_sha256.is_none()),
        ("the gc floor is not ahead of the version", document.gc_floor <= document.version),
    ];
    match held.iter().find(|(_, holds)| !holds) {
        None => Ok(()),
        Some((name, _)) => {
            Err(Error::failed(format!("the root breaks the invariant: {name}")).code("broken-invariant"))
        }
    }
}
