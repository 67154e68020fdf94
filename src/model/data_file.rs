//! One immutable Parquet object, as the catalog knows it.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;

use super::partition::path_in_cell;
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
    pub name: FileName<'a>,
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

/// What says, with a file's keys, where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileName<'a> {
    /// Relative to the archive root.
    Path(&'a str),
    /// Of `<run>-<number>.parquet` in the folder of the file's cell.
    OfRun { run: &'a str, number: u64 },
}

impl<'a> FileView<'a> {
    /// Relative to the archive root.
    pub fn path(&self) -> Cow<'a, str> {
        match self.name {
            FileName::Path(path) => Cow::Borrowed(path),
            FileName::OfRun { run, number } => {
                Cow::Owned(path_in_cell(self.dates.min, self.event_types.min, self.tenants.min, run, number))
            }
        }
    }

    pub fn is_bundle(&self) -> bool {
        matches!(self.name, FileName::Path(path) if path.starts_with(BUNDLES))
    }
}

impl<'a> From<&'a DataFile> for FileView<'a> {
    fn from(file: &'a DataFile) -> Self {
        FileView {
            name: FileName::Path(&file.path),
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

    /// Its run and number, where these and its keys make its path.
    pub fn run_and_number(&self) -> Option<(&str, u64)> {
        let (date, event_type, tenant_id) = (self.dates.single()?, self.event_types.single()?, self.tenants.single()?);
        let (run, number) = self.path.rsplit('/').next()?.strip_suffix(".parquet")?.rsplit_once('-')?;
        let number = number.parse().ok()?;
        (path_in_cell(*date, event_type, tenant_id, run, number) == self.path).then_some((run, number))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> DataFile {
        DataFile {
            path: path.to_owned(),
            tenants: KeyRange::one("a/b").to_text(),
            event_types: KeyRange::one("login").to_text(),
            dates: KeyRange::one(Date::constant(2026, 8, 24)),
            ts: KeyRange::one(0),
            rows: 1,
            size_bytes: 1,
            footer_bytes: 1,
            schema_id: 1,
            storage_class: StorageClass::Standard,
            class_since: None,
            pack: None,
        }
    }

    #[test]
    fn a_run_and_a_number_stand_for_a_path_only_where_they_make_it_again() {
        let path = "events/date=2026-08-24/event_type=login/tenant_id=a%2Fb/0041-ab-17.parquet";
        let named = file(path);
        let (run, number) = named.run_and_number().unwrap();
        assert_eq!((run, number), ("0041-ab", 17));
        let view = FileView { name: FileName::OfRun { run, number }, ..FileView::from(&named) };
        assert_eq!(view.path(), path);
        for other in [
            "events/date=2026-08-24/event_type=login/tenant_id=a%2Fb/0041-ab-017.parquet",
            "events/date=2026-08-24/event_type=login/tenant_id=a%2fb/0041-ab-17.parquet",
            "events/date=2026-08-25/event_type=login/tenant_id=a%2Fb/0041-ab-17.parquet",
            "events/date=2026-08-24/event_type=login/tenant_id=a%2Fb/somebody.parquet",
            "_bundles/month=2026-08/bucket=0000/0041-ab-17.parquet",
        ] {
            assert_eq!(file(other).run_and_number(), None, "{other}");
        }
    }
}
