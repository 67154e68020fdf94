//! A leaf as it is read: its files are looked at in place, and only those that are wanted become [`DataFile`]s.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType, UInt64Type};
use bytes::Bytes;

use super::leaf::{KEY, LEAF_FORMATS, LeafRef, LiveFile};
use super::names;
use super::ranges::{self, Covered, RangeColumns, SharedTexts};
use super::table::{self, Encoded};
use crate::error::{Context, Error, Result};
use crate::model::{DataFile, FileView, PackRef, StorageClass, sha256, timestamp_of_micros};
use crate::store::Store;

/// A leaf that has been fetched, of which nothing is decoded yet.
#[derive(Debug)]
pub struct LeafFile {
    leaf: LeafRef,
    encoded: Encoded,
}

impl LeafFile {
    /// Of the bytes that the root names, and no others.
    pub async fn read(store: &Store, leaf: &LeafRef) -> Result<Self> {
        let bytes = store.cached(&leaf.sha256, store.get(&leaf.path)).await?;
        Self::open(leaf.clone(), bytes).with_context(|| format!("read leaf {}", store.address(&leaf.path)))
    }

    fn open(leaf: LeafRef, bytes: Bytes) -> Result<Self> {
        if sha256(&bytes) != leaf.sha256 {
            return Err(Error::failed("its bytes are not those the root names (SHA-256 differs)")
                .code("corrupt-leaf")
                .hint("the object was damaged or replaced; restore it from a copy, or rebuild the catalog from the data files")
                .command("tier rebuild --replace"));
        }
        let encoded = Encoded::open(bytes, KEY)?;
        if !LEAF_FORMATS.contains(&encoded.value.as_str()) {
            let message = format!("its format is {}; this tier reads {}", encoded.value, LEAF_FORMATS.join(", "));
            return Err(Error::usage(message).hint("use a newer tier"));
        }
        Ok(LeafFile { leaf, encoded })
    }

    /// Files the leaf was written with.
    pub fn num_files(&self) -> usize {
        self.encoded.num_rows()
    }

    /// What each file covers, those that are gone included, as far as the columns in SQL that `wanted` picks.
    pub fn ranges(&self, wanted: impl Fn(&str) -> bool) -> Result<RangeColumns> {
        RangeColumns::read(&self.encoded, wanted).with_context(|| self.phrase())
    }

    /// With everything it says of its files.
    pub fn table(self) -> Result<LeafTable> {
        let batch = self.encoded.columns(|_| true).with_context(|| self.phrase())?;
        Ok(LeafTable { leaf: self.leaf, batch, positions: None })
    }

    /// With what it says of the files at these positions, which ascend.
    pub fn table_of(self, positions: Vec<u32>) -> Result<LeafTable> {
        let batch = self.encoded.rows(Some(&positions), |_| true).with_context(|| self.phrase())?;
        Ok(LeafTable { leaf: self.leaf, batch, positions: Some(positions) })
    }

    /// With what counts of the files at these positions, which ascend, or of all; `None` unless each is of one cell, can be
    /// read as it is, and has no copy of its footer, which tells more of it than the leaf.
    pub fn counted(&self, positions: Option<&[u32]>) -> Result<Option<CountedFiles>> {
        let has_column = |name: &str| self.encoded.has_column(name);
        if has_column("pack_path") || !ranges::are_of_one_cell(has_column) {
            return Ok(None);
        }
        let batch = self.encoded.rows(positions, |name| !NOT_COUNTED.contains(&name)).with_context(|| self.phrase())?;
        let position = |row: usize| positions.map_or(row as u32, |positions| positions[row]);
        let is_alive = |row: &usize| !self.leaf.deleted.contains(position(*row));
        let alive: Vec<usize> = (0..batch.num_rows()).filter(is_alive).collect();
        let classes = classes(&batch, &alive).with_context(|| self.phrase())?;
        let are_readable = !classes.iter().any(|class| class.is_archived());
        Ok(are_readable.then_some(CountedFiles { batch, alive, classes }))
    }

    pub fn leaf(&self) -> &LeafRef {
        &self.leaf
    }

    fn phrase(&self) -> String {
        format!("read leaf {}", self.leaf.path)
    }
}

/// Files of a leaf of which nothing but numbers and keys is decoded: paths are most of it.
#[derive(Debug)]
pub struct CountedFiles {
    batch: RecordBatch,
    /// Rows of files that are still alive.
    alive: Vec<usize>,
    /// Of those.
    classes: Vec<StorageClass>,
}

/// What counts of a data file that is read whole.
#[derive(Debug)]
pub struct CountedFile<'a> {
    pub covered: Covered<'a>,
    pub size_bytes: u64,
    pub storage_class: StorageClass,
}

/// The columns that a [`CountedFile`] has nothing of.
const NOT_COUNTED: [&str; 7] = ["path", "run", "number", "footer_bytes", "schema_id", "class_since", "added_version"];

impl CountedFiles {
    /// In the leaf's order.
    pub fn files(&self) -> Result<Vec<CountedFile<'_>>> {
        let batch = &self.batch;
        let (keys, times) = (ranges::keys(batch)?, ranges::times(batch)?);
        let rows = table::numbers::<Int64Type>(batch, "rows")?;
        let size_bytes = table::numbers::<Int64Type>(batch, "size_bytes")?;
        let file = |(&row, &storage_class): (&usize, &StorageClass)| {
            let (tenants, event_types, dates) = keys(row)?;
            Ok(CountedFile {
                covered: Covered { tenants, event_types, dates, ts: times(row), rows: rows(row) as u64 },
                size_bytes: size_bytes(row) as u64,
                storage_class,
            })
        };
        self.alive.iter().zip(&self.classes).map(file).collect()
    }
}

/// The storage classes in these rows.
fn classes(batch: &RecordBatch, rows: &[usize]) -> Result<Vec<StorageClass>> {
    let text = table::texts(batch, "storage_class")?;
    let mut classes = Vec::with_capacity(rows.len());
    // Most files have the class of the one before.
    for alike in rows.chunk_by(|a, b| text(*a) == text(*b)) {
        classes.resize(classes.len() + alike.len(), text(alike[0]).parse()?);
    }
    Ok(classes)
}

/// Files that a leaf was written with, by position; some may be gone since.
#[derive(Debug)]
pub struct LeafTable {
    leaf: LeafRef,
    batch: RecordBatch,
    /// Of each row in the leaf; `None` where there is every row.
    positions: Option<Vec<u32>>,
}

impl LeafTable {
    pub async fn read(store: &Store, leaf: &LeafRef) -> Result<Self> {
        LeafFile::read(store, leaf).await?.table()
    }

    pub fn leaf(&self) -> &LeafRef {
        &self.leaf
    }

    pub fn into_leaf(self) -> LeafRef {
        self.leaf
    }

    /// Each file that is still alive, with its position and the version that added it, in the leaf's order.
    pub fn files(&self) -> Result<impl Iterator<Item = Result<(u32, u64, DataFile)>> + use<'_>> {
        self.files_at(|_| true)
    }

    /// As [`LeafTable::files`], of the positions that `wanted` picks.
    pub fn files_at<'a>(
        &'a self,
        wanted: impl Fn(u32) -> bool + 'a,
    ) -> Result<impl Iterator<Item = Result<(u32, u64, DataFile)>> + 'a> {
        let phrase = || format!("read leaf {}", self.leaf.path);
        let file = self.file().with_context(phrase)?;
        let version = table::optional::<UInt64Type>(&self.batch, "added_version").with_context(phrase)?;
        let version = move |row| version(row).unwrap_or(self.leaf.added_version);
        let rows = self.alive().filter(move |&(_, position)| wanted(position));
        Ok(rows.map(move |(row, position)| Ok((position, version(row), file(row).with_context(phrase)?))))
    }

    /// Hands out the path of each file that is still alive, with that of its pack.
    pub fn paths(&self, mut take: impl FnMut(&str, Option<&str>) -> Result<()>) -> Result<()> {
        let (view, packs) = (self.view()?, packs(&self.batch)?);
        self.alive()
            .try_for_each(|(row, _)| take(&view(row)?.path(), packs(row).as_ref().map(|pack| pack.path.as_str())))
    }

    /// The files at these ascending positions that are still alive, with what a commit needs to remove them.
    pub fn live_files(&self, positions: &[u32]) -> Result<Vec<LiveFile>> {
        if positions.is_empty() {
            return Ok(Vec::new());
        }
        let files = self.files_at(|position| positions.binary_search(&position).is_ok())?;
        let live = |(position, _, file)| LiveFile { leaf: self.leaf.path.clone(), position, file };
        files.map(|file| file.map(live)).collect()
    }

    /// Each file that is still alive with its position, looked at in place, in the leaf's order.
    pub fn views(&self) -> Result<impl Iterator<Item = Result<(u32, FileView<'_>)>> + use<'_>> {
        let view = self.view().with_context(|| format!("read leaf {}", self.leaf.path))?;
        Ok(self.alive().map(move |(row, position)| Ok((position, view(row)?))))
    }

    /// Of a row, whether or not its file is still alive.
    fn view<'a>(&'a self) -> Result<impl Fn(usize) -> Result<FileView<'a>> + use<'a>> {
        let batch = &self.batch;
        let keys = ranges::keys(batch)?;
        let (name, class) = (names::decode(batch)?, table::texts(batch, "storage_class")?);
        let rows = table::numbers::<Int64Type>(batch, "rows")?;
        let size_bytes = table::numbers::<Int64Type>(batch, "size_bytes")?;
        let class_since = table::optional::<TimestampMicrosecondType>(batch, "class_since")?;
        let packs = batch.column_by_name("pack_path");
        Ok(move |row| {
            let (tenants, event_types, dates) = keys(row)?;
            Ok(FileView {
                name: name(row),
                tenants,
                event_types,
                dates,
                rows: rows(row) as u64,
                size_bytes: size_bytes(row) as u64,
                storage_class: class(row).parse::<StorageClass>()?,
                class_since: class_since(row).and_then(timestamp_of_micros),
                is_packed: packs.is_some_and(|packs| packs.is_valid(row)),
            })
        })
    }

    /// The rows of files that are still alive, each with its position.
    fn alive(&self) -> impl Iterator<Item = (usize, u32)> {
        let position = |row: usize| self.positions.as_ref().map_or(row as u32, |positions| positions[row]);
        let rows = (0..self.batch.num_rows()).map(move |row| (row, position(row)));
        rows.filter(|(_, position)| !self.leaf.deleted.contains(*position))
    }

    /// Of a row, whether or not it is still alive.
    fn file<'a>(&'a self) -> Result<impl Fn(usize) -> Result<DataFile> + use<'a>> {
        let batch = &self.batch;
        let view = self.view()?;
        let times = ranges::times(batch)?;
        let footer_bytes = table::numbers::<Int32Type>(batch, "footer_bytes")?;
        let schema_id = table::numbers::<Int32Type>(batch, "schema_id")?;
        let packs = packs(batch)?;
        let (tenants, event_types) = (SharedTexts::default(), SharedTexts::default());
        Ok(move |row| {
            let view = view(row)?;
            Ok(DataFile {
                path: view.path().into_owned(),
                tenants: tenants.of(&view.tenants),
                event_types: event_types.of(&view.event_types),
                dates: view.dates,
                ts: times(row),
                rows: view.rows,
                size_bytes: view.size_bytes,
                footer_bytes: footer_bytes(row) as u32,
                schema_id: schema_id(row) as u32,
                storage_class: view.storage_class,
                class_since: view.class_since,
                pack: packs(row),
            })
        })
    }
}

fn packs(batch: &RecordBatch) -> Result<impl Fn(usize) -> Option<PackRef> + use<'_>> {
    let paths = batch
        .column_by_name("pack_path")
        .map(|column| column.as_string_view_opt().ok_or_else(|| table::wrong_type("pack_path")))
        .transpose()?;
    let offset = table::optional::<Int64Type>(batch, "pack_offset")?;
    let cells = table::optional::<Int64Type>(batch, "pack_cells_bytes")?;
    let footer = table::optional::<Int64Type>(batch, "pack_footer_bytes")?;
    Ok(move |row| {
        Some(PackRef {
            path: paths.filter(|paths| paths.is_valid(row))?.value(row).to_owned(),
            offset: offset(row)? as u64,
            cells_bytes: cells(row)? as u32,
            footer_bytes: footer(row)? as u32,
        })
    })
}
