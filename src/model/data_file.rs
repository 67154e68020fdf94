//! One immutable Parquet object, as the catalog knows it.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;

use super::{Key, Partition, StorageClass};

/// Bundles lie below this folder, and nothing else does.
pub const BUNDLES: &str = "_bundles";

/// An inclusive range of keys; of a cell's file it is one value, of a bundle it may be wider.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyRange<T> {
    pub min: T,
    pub max: T,
}

impl<T: Clone + PartialEq + PartialOrd> KeyRange<T> {
    pub fn one(value: T) -> Self {
        KeyRange { min: value.clone(), max: value }
    }

    /// The value, where the range is just one.
    pub fn single(&self) -> Option<&T> {
        (self.min == self.max).then_some(&self.min)
    }

    pub fn contains(&self, value: &T) -> bool {
        &self.min <= value && value <= &self.max
    }

    /// Whether a value may lie in both.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.min <= other.max && other.min <= self.max
    }

    /// The smallest range that holds both.
    pub fn extend(&mut self, other: &Self) {
        if other.min < self.min {
            self.min = other.min.clone();
        }
        if other.max > self.max {
            self.max = other.max.clone();
        }
    }
}

impl KeyRange<&str> {
    pub fn to_text(&self) -> KeyRange<Arc<str>> {
        let min: Arc<str> = self.min.into();
        let max = if self.max == self.min { min.clone() } else { self.max.into() };
        KeyRange { min, max }
    }
}

impl KeyRange<Arc<str>> {
    pub fn as_text(&self) -> KeyRange<&str> {
        KeyRange { min: &self.min, max: &self.max }
    }
}

/// A data file as a leaf lists it: enough to prune and plan without touching the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile {
    /// Relative to the archive root.
    pub path: String,
    pub tenants: KeyRange<Arc<str>>,
    pub event_types: KeyRange<Arc<str>>,
    pub dates: KeyRange<Date>,
    /// Microseconds since the epoch, UTC.
    pub ts: KeyRange<i64>,
    pub rows: u64,
    pub size_bytes: u64,
    /// Length of the Parquet footer with its 8-byte tail: what a reader fetches from the end.
    pub footer_bytes: u32,
    /// The catalog version whose schema the file was written with; columns added later are null in it.
    pub schema_id: u32,
    pub storage_class: StorageClass,
    /// When it was put into that class: minimum durations count from here. `None` in STANDARD, which has none.
    pub class_since: Option<Timestamp>,
    /// Where its footer lies hot, when the file itself may be out of reach.
    pub pack: Option<PackRef>,
}

/// What decisions look at of a data file, whether it lies in a leaf's columns or in a [`DataFile`].
#[derive(Debug, Clone)]
pub struct FileView<'a> {
    pub path: &'a str,
    pub tenants: KeyRange<&'a str>,
    pub event_types: KeyRange<&'a str>,
    pub dates: KeyRange<Date>,
    pub rows: u64,
    pub size_bytes: u64,
    pub storage_class: StorageClass,
    pub class_since: Option<Timestamp>,
    /// Whether its footer lies hot.
    pub is_packed: bool,
}

impl FileView<'_> {
    pub fn is_bundle(&self) -> bool {
        self.path.starts_with(BUNDLES)
    }
}

impl<'a> From<&'a DataFile> for FileView<'a> {
    fn from(file: &'a DataFile) -> Self {
        FileView {
            path: &file.path,
            tenants: file.tenants.as_text(),
            event_types: file.event_types.as_text(),
            dates: file.dates.clone(),
            rows: file.rows,
            size_bytes: file.size_bytes,
            storage_class: file.storage_class,
            class_since: file.class_since,
            is_packed: file.pack.is_some(),
        }
    }
}

/// A data file's part of a footer pack: its cells, then the end of the file.
///
/// A file of one cell has no cells part; a bundle always has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackRef {
    /// Relative to the archive root.
    pub path: String,
    pub offset: u64,
    /// Length of the list of cells; see [`crate::data::pack`].
    pub cells_bytes: u32,
    /// Length of the copy of the file's last [`DataFile::footer_bytes`].
    pub footer_bytes: u32,
}

impl DataFile {
    /// Whether the file holds several cells, with the keys as columns inside.
    pub fn is_bundle(&self) -> bool {
        self.path.starts_with(BUNDLES)
    }

    /// The cell this file belongs to; `None` of a bundle.
    pub fn partition(&self) -> Option<Partition> {
        if self.is_bundle() {
            return None;
        }
        Some(Partition {
            tenant_id: Key::parse(self.tenants.single()?).ok()?,
            event_type: Key::parse(self.event_types.single()?).ok()?,
            date: *self.dates.single()?,
        })
    }

    /// Whether the file may hold events of this cell.
    pub fn covers(&self, cell: &Partition) -> bool {
        let within = |range: &KeyRange<Arc<str>>, key: &Key| &*range.min <= key.as_str() && key.as_str() <= &*range.max;
        self.dates.contains(&cell.date)
            && within(&self.tenants, &cell.tenant_id)
            && within(&self.event_types, &cell.event_type)
    }
}
