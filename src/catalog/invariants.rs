//! What must hold of every root: checked before it is written and after it is read.

use super::root::Root;
use crate::error::{Error, Result};

/// Each invariant by name, and whether it holds.
pub fn check(root: &Root) -> Result<()> {
    let document = &root.document;
    let leaves = &root.leaves;
    let sum = |get: fn(&super::LeafRef) -> u64| leaves.iter().map(get).sum::<u64>();
    let totals = |get: fn(&super::Totals) -> u64| document.totals.values().map(get).sum::<u64>();
    let held = [
        ("totals count the leaves' files", sum(|l| l.files) == totals(|t| t.files)),
        ("totals count the leaves' rows", sum(|l| l.rows) == totals(|t| t.rows)),
        ("totals count the leaves' bytes", sum(|l| l.size_bytes) == totals(|t| t.bytes)),
        ("no leaf is empty", leaves.iter().all(|l| l.files > 0)),
        ("no leaf is newer than its root", leaves.iter().all(|l| l.added_version <= document.version)),
        ("no leaf is older than its files", leaves.iter().all(|l| l.oldest_version <= l.added_version)),
        ("deleted positions ascend", leaves.iter().all(|l| l.deleted.is_sorted_by(|a, b| a < b))),
        ("ranges are not reversed", leaves.iter().all(|l| l.dates.min <= l.dates.max && l.ts.min <= l.ts.max)),
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
