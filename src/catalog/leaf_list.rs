//! The leaves of a root, as columns: of the many leaves of an old archive a question names a few, and only those become
//! [`LeafRef`]s.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, AsArray, BinaryBuilder, FixedSizeBinaryArray, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Int64Type, UInt32Type};
use roaring::RoaringBitmap;

use super::leaf::LeafRef;
use super::ranges::{self, Covered, RangeColumns, Ranges};
use super::table;
use crate::error::{Context, Result};
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
        check_deleted(&batch)?;
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
        Arc::new(StringViewArray::from_iter_values(leaves.iter().map(get)))
    }
    let integers = |get: fn(&LeafRef) -> u64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(leaves.iter().map(|leaf| get(leaf) as i64)))
    };
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
    ]);
    if leaves.iter().any(|leaf| !leaf.deleted.is_empty()) {
        columns.push(("deleted", bitmaps(leaves.iter().map(|leaf| &leaf.deleted))));
    }
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
    let (bytes, texts) = (column.as_fixed_size_binary_opt(), column.as_string_view_opt());
    if bytes.is_none() && texts.is_none() {
        return Err(table::wrong_type("sha256"));
    }
    Ok(move |row| {
        let text = bytes.map(|bytes| hex(bytes.value(row)));
        text.or_else(|| Some(texts?.value(row).to_owned())).expect("it is one of the two")
    })
}

/// In the portable format of <https://github.com/RoaringBitmap/RoaringFormatSpec>; none are no bytes.
fn bitmaps<'a>(bitmaps: impl Iterator<Item = &'a RoaringBitmap>) -> ArrayRef {
    let mut column = BinaryBuilder::new();
    for bitmap in bitmaps {
        if !bitmap.is_empty() {
            bitmap.serialize_into(&mut column).expect("memory takes all bytes");
        }
        column.append_value([]);
    }
    Arc::new(column.finish())
}

/// Positions of deleted files, of each leaf. Older roots have them as ascending numbers.
fn deleted(batch: &RecordBatch) -> Result<impl Fn(usize) -> Result<RoaringBitmap>> {
    let column = batch.column_by_name("deleted");
    let (bytes, lists) = (
        column.and_then(|column| column.as_binary_opt::<i32>()),
        column.and_then(|column| column.as_list_opt::<i32>()).filter(|lists| lists.value_type() == DataType::UInt32),
    );
    if column.is_some() && bytes.is_none() && lists.is_none() {
        return Err(table::wrong_type("deleted"));
    }
    let phrase = "read the deleted positions of a leaf";
    Ok(move |row| match (bytes.map(|bytes| bytes.value(row)), lists) {
        (None | Some([]), None) => Ok(RoaringBitmap::new()),
        (Some(bytes), _) => RoaringBitmap::deserialize_from(bytes).context(phrase),
        (None, Some(lists)) => {
            let positions = lists.value(row);
            let positions = positions.as_primitive::<UInt32Type>().values().iter().copied();
            RoaringBitmap::from_sorted_iter(positions).context(phrase)
        }
    })
}

fn check_deleted(batch: &RecordBatch) -> Result<()> {
    let deleted = deleted(batch)?;
    (0..batch.num_rows()).try_for_each(|row| deleted(row).map(drop))
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
            deleted: deleted(row)?,
        })
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::{BinaryArray, ListArray};

    use super::*;
    use crate::model::KeyRange;

    fn leaf(path: &str, deleted: impl IntoIterator<Item = u32>) -> LeafRef {
        LeafRef {
            path: path.to_owned(),
            leaf_bytes: 10,
            sha256: "ab".repeat(32),
            tenants: KeyRange::one("acme").to_text(),
            event_types: KeyRange::one("login").to_text(),
            dates: KeyRange::one("2026-08-24".parse().unwrap()),
            ts: KeyRange { min: 0, max: 1 },
            files: 1,
            rows: 2,
            size_bytes: 3,
            added_version: 4,
            oldest_version: 4,
            deleted: deleted.into_iter().collect(),
        }
    }

    #[test]
    fn deleted_positions_take_a_few_bytes_and_read_back() {
        let leaves = vec![leaf("a", (0..60_000).filter(|at| at % 200 < 100)), leaf("b", []), leaf("c", [7, 9])];
        let encoded = encode(&leaves);
        assert!(table::encode(&encoded, "k", String::new()).unwrap().len() < 5_000);
        assert_eq!(LeafList::of(encoded).unwrap().to_vec(), leaves);
        assert!(encode(&leaves[1..2]).column_by_name("deleted").is_none());
    }

    #[test]
    fn what_is_no_set_of_positions_is_refused_when_the_root_is_read() {
        let with = |deleted: ArrayRef| {
            let plain = encode(&[leaf("a", [])]);
            let mut columns: Vec<_> =
                plain.schema_ref().fields().iter().map(|f| f.name().as_str()).zip(plain.columns().to_vec()).collect();
            columns.push(("deleted", deleted));
            LeafList::of(table::batch(columns))
                .map(|leaves| leaves[0].deleted.clone())
                .map_err(|error| error.to_string())
        };
        let list = |positions: &[u32]| -> ArrayRef {
            let positions = positions.iter().map(|at| Some(*at)).collect::<Vec<_>>();
            Arc::new(ListArray::from_iter_primitive::<UInt32Type, _, _>([Some(positions)]))
        };
        assert_eq!(with(list(&[2, 5])), Ok([2, 5].into_iter().collect()));
        let mut bytes = Vec::new();
        RoaringBitmap::from_iter([2, 5]).serialize_into(&mut bytes).unwrap();
        let bitmap = |bytes: &[u8]| -> ArrayRef { Arc::new(BinaryArray::from_iter_values([bytes])) };
        assert_eq!(with(bitmap(&bytes)), Ok([2, 5].into_iter().collect()));
        assert!(with(list(&[5, 2])).unwrap_err().contains("deleted positions"));
        assert!(with(bitmap(&bytes[..bytes.len() - 1])).unwrap_err().contains("deleted positions"));
        assert!(with(Arc::new(Int64Array::from(vec![1]))).unwrap_err().contains("`deleted`"));
    }
}
