//! The leaves of a root, as columns: of the many leaves of an old archive a question names a few, and only those become
//! [`LeafRef`]s.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use arrow::array::{
    ArrayRef, AsArray, FixedSizeBinaryArray, Int64Array, ListBuilder, RecordBatch, StringArray, UInt32Builder,
};
use arrow::datatypes::{Int64Type, UInt32Type};

use super::leaf::LeafRef;
use super::ranges::{self, Covered, RangeColumns, Ranges};
use super::table;
use crate::error::Result;
use crate::model::{hex, sha256_bytes};

/// One row per leaf; a slice of all of them where that is asked for. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LeafList(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    batch: RecordBatch,
    all: OnceLock<Vec<LeafRef>>,
}

impl LeafList {
    /// Of the rows of a root.
    pub(super) fn of(batch: RecordBatch) -> Result<Self> {
        // What may be wrong with them is found here, not when one is looked at.
        reader(&batch).map(drop)?;
        ranges::check_dates(&batch)?;
        Ok(LeafList(Arc::new(Inner { batch, all: OnceLock::new() })))
    }

    pub(super) fn batch(&self) -> &RecordBatch {
        &self.0.batch
    }

    /// What each leaf covers.
    pub fn ranges(&self) -> Result<RangeColumns> {
        RangeColumns::of(self.batch(), |_| true)
    }

    /// Those in these rows.
    pub fn pick(&self, rows: impl IntoIterator<Item = usize>) -> Vec<LeafRef> {
        let leaf = reader(self.batch()).expect("checked when it was made");
        rows.into_iter().map(|row| leaf(row).expect("checked when it was made")).collect()
    }

    /// Files alive, over all leaves.
    pub fn files(&self) -> u64 {
        self.sum("files")
    }

    /// Rows alive, over all leaves.
    pub fn rows(&self) -> u64 {
        self.sum("rows")
    }

    /// Bytes of the files alive, over all leaves.
    pub fn size_bytes(&self) -> u64 {
        self.sum("size_bytes")
    }

    fn sum(&self, column: &str) -> u64 {
        let numbers = table::numbers::<Int64Type>(self.batch(), column).expect("checked when it was made");
        (0..self.batch().num_rows()).map(|row| numbers(row) as u64).sum()
    }
}

impl Deref for LeafList {
    type Target = [LeafRef];

    fn deref(&self) -> &[LeafRef] {
        self.0.all.get_or_init(|| self.pick(0..self.batch().num_rows()))
    }
}

impl From<Vec<LeafRef>> for LeafList {
    fn from(leaves: Vec<LeafRef>) -> Self {
        let batch = encode(&leaves);
        LeafList(Arc::new(Inner { batch, all: OnceLock::from(leaves) }))
    }
}

impl PartialEq for LeafList {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl<'a> IntoIterator for &'a LeafList {
    type Item = &'a LeafRef;
    type IntoIter = std::slice::Iter<'a, LeafRef>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

fn encode(leaves: &[LeafRef]) -> RecordBatch {
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
        ("sha256", digests(leaves).unwrap_or_else(|| texts(leaves, |l| &l.sha256))),
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

/// As bytes: they are half of a large root, and as texts they would be most of the work of reading it.
fn digests(leaves: &[LeafRef]) -> Option<ArrayRef> {
    let digests = leaves.iter().map(|leaf| sha256_bytes(&leaf.sha256)).collect::<Option<Vec<_>>>()?;
    Some(Arc::new(FixedSizeBinaryArray::try_from_iter(digests.into_iter()).ok()?))
}

/// The digests of each leaf, in hex: older roots have them so.
fn hex_digests(batch: &RecordBatch) -> Result<impl Fn(usize) -> String> {
    let column = table::column(batch, "sha256")?;
    let (bytes, texts) = (column.as_fixed_size_binary_opt(), column.as_string_opt::<i32>());
    if bytes.is_none() && texts.is_none() {
        return Err(table::wrong_type("sha256"));
    }
    Ok(move |row| {
        let text = bytes.map(|bytes| hex(bytes.value(row)));
        text.or_else(|| Some(texts?.value(row).to_owned())).expect("it is one of the two")
    })
}

/// Positions of deleted files, of each leaf.
pub(super) fn deleted<'a>(batch: &'a RecordBatch) -> Result<impl Fn(usize) -> &'a [u32] + use<'a>> {
    let wrong_type = || table::wrong_type("deleted");
    let lists = table::column(batch, "deleted")?.as_list_opt::<i32>().ok_or_else(wrong_type)?;
    let positions = lists.values().as_primitive_opt::<UInt32Type>().ok_or_else(wrong_type)?.values();
    let ends = lists.value_offsets();
    Ok(move |row| &positions[ends[row] as usize..ends[row + 1] as usize])
}

fn reader(batch: &RecordBatch) -> Result<impl Fn(usize) -> Result<LeafRef> + use<'_>> {
    let (path, sha256) = (table::texts(batch, "path")?, hex_digests(batch)?);
    let ranges = ranges::decode(batch)?;
    let leaf_bytes = table::numbers::<Int64Type>(batch, "leaf_bytes")?;
    let (files, rows) = (table::numbers::<Int64Type>(batch, "files")?, table::numbers::<Int64Type>(batch, "rows")?);
    let size_bytes = table::numbers::<Int64Type>(batch, "size_bytes")?;
    let added_version = table::numbers::<Int64Type>(batch, "added_version")?;
    let oldest_version = table::optional::<Int64Type>(batch, "oldest_version")?;
    let deleted = deleted(batch)?;
    Ok(move |row| {
        let Ranges { tenants, event_types, dates, ts } = ranges(row)?;
        Ok(LeafRef {
            path: path(row).to_owned(),
            leaf_bytes: leaf_bytes(row) as u64,
            sha256: sha256(row),
            tenants,
            event_types,
            dates,
            ts,
            files: files(row) as u64,
            rows: rows(row) as u64,
            size_bytes: size_bytes(row) as u64,
            added_version: added_version(row) as u64,
            oldest_version: oldest_version(row).unwrap_or(added_version(row)) as u64,
            deleted: deleted(row).to_vec(),
        })
    })
}
