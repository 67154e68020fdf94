//! A leaf: a sorted list of data files, one GET.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray, UInt64Array,
};
use futures::{StreamExt, TryStreamExt};
use jiff::civil::Date;
use roaring::RoaringBitmap;

use super::leaf_table::LeafTable;
use super::names;
use super::ranges::{self, Covered};
use super::table;
use crate::error::{Context, Result};
use crate::model::{DataFile, KeyRange, PackRef, micros_of_timestamp, sha256};
use crate::store::{Layout, Store};

pub(super) const KEY: &str = "tier.leaf";
const AUDIT_KEY: &str = "tier.leaf.audit";
const AUDIT_FORMAT: &str = "1";
const LEAF_FORMAT: &str = "3";
/// Those that are read. Since 2 columns that say nothing are left out; since 3 the run and number of files stand for their
/// paths, where each lies in the folder of its cell.
pub(super) const LEAF_FORMATS: [&str; 3] = ["1", "2", LEAF_FORMAT];

/// Data files per leaf: about 110 KB, so that one GET is worth its round trip and a plan reads little in vain.
pub const FILES_PER_LEAF: usize = 4096;

/// Leaves written at once.
const WRITES_IN_FLIGHT: usize = 8;

/// A leaf as the root lists it. Ranges cover the leaf as it was written; counts are of the files still alive.
#[derive(Debug, Clone, PartialEq)]
pub struct LeafRef {
    pub path: String,
    /// Size of the leaf object itself.
    pub leaf_bytes: u64,
    /// Of the leaf object's bytes, hex.
    pub sha256: String,
    pub tenants: KeyRange<Arc<str>>,
    pub event_types: KeyRange<Arc<str>>,
    pub dates: KeyRange<Date>,
    /// Microseconds since the epoch, UTC.
    pub ts: KeyRange<i64>,
    pub files: u64,
    pub rows: u64,
    /// Of the data files.
    pub size_bytes: u64,
    /// The catalog version that added the leaf, and its files too where it is not merged.
    pub added_version: u64,
    /// The oldest version that added one of its files.
    pub oldest_version: u64,
    /// Positions in the leaf of files that are no longer part of the archive.
    pub deleted: RoaringBitmap,
}

impl LeafRef {
    /// Whether the leaf may list files of one of these dates.
    pub fn may_hold_any(&self, dates: &BTreeSet<Date>) -> bool {
        dates.range(self.dates.min..=self.dates.max).next().is_some()
    }

    /// Whether it lists files anew that earlier versions added.
    pub fn is_merged(&self) -> bool {
        self.oldest_version < self.added_version
    }

    /// Whether the leaf may list files that one of these versions added.
    pub fn may_list(&self, versions: &RangeInclusive<u64>) -> bool {
        self.oldest_version <= *versions.end() && *versions.start() <= self.added_version
    }

    /// The file of this leaf's [`FileAudit`]s.
    pub fn audit_path(&self) -> String {
        Layout::audit_of(&self.path)
    }
}

impl<'a> From<&'a LeafRef> for Covered<'a> {
    fn from(leaf: &'a LeafRef) -> Self {
        Covered {
            tenants: leaf.tenants.as_text(),
            event_types: leaf.event_types.as_text(),
            dates: leaf.dates.clone(),
            ts: leaf.ts.clone(),
            rows: leaf.rows,
        }
    }
}

/// What only audits need, kept beside the leaf so that planning does not pay for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileAudit {
    /// Of the data file's bytes, hex; empty where a rebuilt catalog does not know it.
    pub sha256: String,
    /// Both ends are empty where a rebuilt catalog does not know them.
    pub min_event_id: String,
    pub max_event_id: String,
}

/// A data file to be added by a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    pub file: DataFile,
    pub audit: FileAudit,
}

/// A data file and its place in the catalog, which never changes while the file is part of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveFile {
    /// The path of its leaf.
    pub leaf: String,
    pub position: u32,
    pub file: DataFile,
}

/// A data file in the catalog, with the version that added it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub live: LiveFile,
    pub version: u64,
}

/// A data file that a merge of leaves lists anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relisted {
    /// Where it was.
    pub live: LiveFile,
    pub version: u64,
    pub audit: FileAudit,
}

/// A line of a leaf.
struct Entry {
    new: NewFile,
    /// `None`: the version of the commit at hand.
    version: Option<u64>,
}

/// Writes the leaves of a commit, sorted, with their audit files: one list of new files, and each list of `relisted`.
pub async fn write_leaves(
    store: &Store,
    layout: &Layout,
    files: Vec<NewFile>,
    relisted: Vec<Vec<Relisted>>,
) -> Result<Vec<LeafRef>> {
    let mut lists: Vec<Vec<Entry>> = vec![files.into_iter().map(|new| Entry { new, version: None }).collect()];
    let again =
        |Relisted { live, version, audit }| Entry { new: NewFile { file: live.file, audit }, version: Some(version) };
    lists.extend(relisted.into_iter().map(|list| list.into_iter().map(again).collect()));
    let mut leaves: Vec<Vec<Entry>> = Vec::new();
    for mut list in lists {
        list.sort_by(|a, b| sort_key(&a.new.file).cmp(&sort_key(&b.new.file)));
        let mut list = list.into_iter().peekable();
        while list.peek().is_some() {
            leaves.push(list.by_ref().take(FILES_PER_LEAF).collect());
        }
    }
    futures::stream::iter(leaves.into_iter().enumerate())
        .map(|(number, files)| async move { write_leaf(store, layout.leaf(number), &files).await })
        .buffered(WRITES_IN_FLIGHT)
        .try_collect()
        .await
}

async fn write_leaf(store: &Store, (path, audit_path): (String, String), files: &[Entry]) -> Result<LeafRef> {
    let bytes = table::encode(&leaf_batch(files), KEY, LEAF_FORMAT.to_owned())?;
    let audit = table::encode(&audit_batch(files), AUDIT_KEY, AUDIT_FORMAT.to_owned())?;
    let (leaf_bytes, sha256) = (bytes.len() as u64, sha256(&bytes));
    futures::try_join!(store.put(&path, bytes), store.put(&audit_path, audit))?;
    let covered = Covered::all(files.iter().map(|entry| Covered::from(&entry.new.file)));
    let Covered { tenants, event_types, dates, ts, rows } = covered.expect("a chunk is never empty");
    Ok(LeafRef {
        path,
        leaf_bytes,
        sha256,
        tenants: tenants.to_text(),
        event_types: event_types.to_text(),
        dates,
        ts,
        files: files.len() as u64,
        rows,
        size_bytes: files.iter().map(|entry| entry.new.file.size_bytes).sum(),
        added_version: 0,
        oldest_version: files.iter().filter_map(|entry| entry.version).min().unwrap_or(u64::MAX),
        deleted: RoaringBitmap::new(),
    })
}

/// The files of a leaf that are still alive, with their positions.
pub async fn read_leaf(store: &Store, leaf: &LeafRef) -> Result<Vec<(u32, DataFile)>> {
    let table = LeafTable::read(store, leaf).await?;
    table.files()?.map(|listed| listed.map(|(position, _, file)| (position, file))).collect()
}

/// The audits of a leaf's files, by position, the deleted ones included.
pub async fn read_audits(store: &Store, leaf_path: &str) -> Result<Vec<FileAudit>> {
    let path = Layout::audit_of(leaf_path);
    let bytes = store.get(&path).await?;
    let (batch, _) = table::decode(bytes, AUDIT_KEY).with_context(|| format!("read {}", store.address(&path)))?;
    let sha256 = table::texts(&batch, "sha256")?;
    let (min, max) = (table::texts(&batch, "min_event_id")?, table::texts(&batch, "max_event_id")?);
    let audit = |row| FileAudit {
        sha256: sha256(row).to_owned(),
        min_event_id: min(row).to_owned(),
        max_event_id: max(row).to_owned(),
    };
    Ok((0..batch.num_rows()).map(audit).collect())
}

fn sort_key(file: &DataFile) -> (&str, &str, Date, i64, &str) {
    (&file.tenants.min, &file.event_types.min, file.dates.min, file.ts.min, &file.path)
}

fn leaf_batch(files: &[Entry]) -> RecordBatch {
    fn texts<'a>(files: &'a [Entry], get: impl Fn(&'a DataFile) -> &'a str) -> ArrayRef {
        Arc::new(StringViewArray::from_iter_values(files.iter().map(|entry| get(&entry.new.file))))
    }
    let integers = |get: fn(&DataFile) -> u64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(files.iter().map(|entry| get(&entry.new.file) as i64)))
    };
    let packs = |get: fn(&PackRef) -> i64| files.iter().map(move |entry| entry.new.file.pack.as_ref().map(get));
    let since: TimestampMicrosecondArray =
        files.iter().map(|f| f.new.file.class_since.map(micros_of_timestamp)).collect();
    let covered: Vec<Covered> = files.iter().map(|entry| Covered::from(&entry.new.file)).collect();
    let mut columns = ranges::without_repeated(ranges::encode(&covered));
    columns.extend(names::encode(files.iter().map(|entry| &entry.new.file)));
    columns.extend([
        ("rows", integers(|f| f.rows)),
        ("size_bytes", integers(|f| f.size_bytes)),
        ("footer_bytes", Arc::new(Int32Array::from_iter_values(files.iter().map(|f| f.new.file.footer_bytes as i32)))),
        ("schema_id", Arc::new(Int32Array::from_iter_values(files.iter().map(|f| f.new.file.schema_id as i32)))),
        ("storage_class", texts(files, |f| f.storage_class.as_str())),
        ("class_since", Arc::new(since.with_timezone("UTC"))),
        (
            "pack_path",
            Arc::new(files.iter().map(|f| Some(f.new.file.pack.as_ref()?.path.as_str())).collect::<StringViewArray>()),
        ),
        ("pack_offset", Arc::new(packs(|pack| pack.offset as i64).collect::<Int64Array>())),
        ("pack_cells_bytes", Arc::new(packs(|pack| i64::from(pack.cells_bytes)).collect::<Int64Array>())),
        ("pack_footer_bytes", Arc::new(packs(|pack| i64::from(pack.footer_bytes)).collect::<Int64Array>())),
        // Null: the version in the root's row. A merged leaf holds files of several.
        ("added_version", Arc::new(files.iter().map(|entry| entry.version).collect::<UInt64Array>()) as ArrayRef),
    ]);
    // Every column costs a reader some microseconds, however little is in it.
    columns.retain(|(_, array)| array.null_count() < array.len());
    table::batch(columns)
}

fn audit_batch(files: &[Entry]) -> RecordBatch {
    fn texts<'a>(files: &'a [Entry], get: impl Fn(&'a NewFile) -> &'a str) -> ArrayRef {
        Arc::new(StringViewArray::from_iter_values(files.iter().map(|entry| get(&entry.new))))
    }
    table::batch(vec![
        ("path", texts(files, |f| &f.file.path)),
        ("sha256", texts(files, |f| &f.audit.sha256)),
        ("min_event_id", texts(files, |f| &f.audit.min_event_id)),
        ("max_event_id", texts(files, |f| &f.audit.max_event_id)),
    ])
}
