//! One root, leaf or data file, laid open: for people who look for what went wrong.

use jiff::Timestamp;
use jiff::civil::Date;
use parquet::data_type::AsBytes;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::statistics::Statistics;
use serde::Serialize;

use crate::catalog::{FileAudit, LeafRef, RootDocument, Snapshot, read_audits, read_leaf};
use crate::context::Context as Ctx;
use crate::data::{footer, pack};
use crate::error::{Error, Result};
use crate::model::{DataFile, KeyRange, PackRef, RestoreState, StorageClass, timestamp_of_micros};
use crate::store::{Layout, Listed};

/// A value of a statistic longer than this is cut.
const SHOWN_CHARS: usize = 40;

#[derive(Debug, Clone, Serialize)]
pub struct RootView {
    pub path: String,
    pub sha256: String,
    pub document: RootDocument,
    pub leaves: Vec<LeafView>,
}

/// A leaf as a root lists it.
#[derive(Debug, Clone, Serialize)]
pub struct LeafView {
    pub path: String,
    pub leaf_bytes: u64,
    pub sha256: String,
    pub added_version: u64,
    pub tenants: [String; 2],
    pub event_types: [String; 2],
    pub dates: [Date; 2],
    pub ts: [Option<Timestamp>; 2],
    pub files: u64,
    pub rows: u64,
    pub bytes: u64,
    pub deleted: Vec<u32>,
}

/// A leaf with its files.
#[derive(Debug, Clone, Serialize)]
pub struct LeafContent {
    pub leaf: LeafView,
    pub entries: Vec<Entry>,
}

/// A data file as the catalog knows it.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    pub leaf: String,
    pub position: u32,
    pub path: String,
    pub is_bundle: bool,
    pub tenants: [String; 2],
    pub event_types: [String; 2],
    pub dates: [Date; 2],
    pub ts: [Option<Timestamp>; 2],
    pub rows: u64,
    pub bytes: u64,
    pub footer_bytes: u32,
    pub schema_id: u32,
    pub storage_class: StorageClass,
    pub class_since: Option<Timestamp>,
    pub pack: Option<PackView>,
    /// Absent where the audit beside the leaf cannot be read.
    pub sha256: Option<String>,
    pub event_ids: Option<[String; 2]>,
}

#[derive(Debug, Clone, Serialize)]
pub struct PackView {
    pub path: String,
    pub offset: u64,
    pub cells_bytes: u32,
    pub footer_bytes: u32,
}

#[derive(Debug, Clone, Serialize)]
pub struct FileView {
    pub entry: Entry,
    /// `None`: the store has no such object.
    pub object: Option<ObjectView>,
    /// Cells of a bundle.
    pub cells: u64,
    /// Why there is no footer, where there is none.
    pub footer_missing: Option<String>,
    pub key_values: Vec<(String, String)>,
    pub row_groups: Vec<RowGroup>,
}

#[derive(Debug, Clone, Serialize)]
pub struct ObjectView {
    pub bytes: u64,
    pub modified: Timestamp,
    pub etag: Option<String>,
    pub storage_class: StorageClass,
    #[serde(flatten)]
    pub restore: RestoreState,
    pub is_readable: bool,
}

#[derive(Debug, Clone, Serialize)]
pub struct RowGroup {
    pub rows: u64,
    pub compressed_bytes: u64,
    pub bytes: u64,
    pub columns: Vec<ColumnView>,
}

#[derive(Debug, Clone, Serialize)]
pub struct ColumnView {
    pub name: String,
    pub physical_type: String,
    pub compression: String,
    pub encodings: Vec<String>,
    pub compressed_bytes: u64,
    pub bytes: u64,
    pub has_dictionary: bool,
    pub bloom_filter_bytes: Option<u64>,
    pub nulls: Option<u64>,
    pub min: Option<String>,
    pub max: Option<String>,
}

/// A version's root.
pub fn root(snapshot: &Snapshot) -> RootView {
    RootView {
        path: Layout::root(snapshot.version()),
        sha256: snapshot.sha256(),
        document: snapshot.root().document.clone(),
        leaves: snapshot.root().leaves.iter().map(LeafView::of).collect(),
    }
}

/// A leaf of the version with its live files.
pub async fn leaf(snapshot: &Snapshot, path: &str) -> Result<LeafContent> {
    let leaf = snapshot.root().leaves.iter().find(|leaf| leaf.path == path).ok_or_else(|| {
        Error::usage(format!("version {} has no leaf {path}", snapshot.version()))
            .hint("tier inspect root lists its leaves; --as-of looks at another version")
    })?;
    let audits = read_audits(snapshot.store(), &leaf.path).await.unwrap_or_default();
    let files = read_leaf(snapshot.store(), leaf).await?;
    let entry =
        |(position, file): (u32, DataFile)| Entry::of(&leaf.path, position, &file, audits.get(position as usize));
    Ok(LeafContent { leaf: LeafView::of(leaf), entries: files.into_iter().map(entry).collect() })
}

/// A data file of the version: what the catalog says, what the store says, and its footer, from the pack where the file
/// itself is out of reach.
pub async fn file(ctx: &Ctx, snapshot: &Snapshot, path: &str) -> Result<FileView> {
    let live = snapshot.file(path).await?.ok_or_else(|| {
        Error::usage(format!("version {} has no data file {path}", snapshot.version()))
            .hint("paths are relative to the archive; --as-of looks at another version")
    })?;
    let audit = snapshot.audits(std::slice::from_ref(&live)).await.ok().and_then(|mut audits| audits.pop());
    let entry = Entry::of(&live.leaf, live.position, &live.file, audit.as_ref());
    let (state, listed) = futures::try_join!(ctx.store.classes().look(path), ctx.store.stat(path))?;
    let etag = listed.and_then(|listed: Listed| listed.etag);
    let object = state.map(|state| ObjectView {
        bytes: state.size_bytes,
        modified: state.modified,
        etag,
        storage_class: state.storage_class,
        restore: state.restore,
        is_readable: state.is_readable(ctx.now()),
    });
    let mut view =
        FileView { entry, object, cells: 0, footer_missing: None, key_values: Vec::new(), row_groups: Vec::new() };
    match metadata(ctx, &live.file).await {
        Ok((metadata, cells)) => {
            view.cells = cells;
            let pairs = metadata.file_metadata().key_value_metadata().into_iter().flatten();
            view.key_values = pairs.map(|pair| (pair.key.clone(), pair.value.clone().unwrap_or_default())).collect();
            view.row_groups = row_groups(&metadata);
        }
        Err(error) => view.footer_missing = Some([vec![error.headline()], error.causes()].concat().join(": ")),
    }
    Ok(view)
}

async fn metadata(ctx: &Ctx, file: &DataFile) -> Result<(ParquetMetaData, u64)> {
    if let Some(packed) = pack::read(&ctx.store, std::slice::from_ref(file)).await?.pop().flatten() {
        return Ok((footer::decode(&packed.footer, file.rows)?, packed.cells.len() as u64));
    }
    let end = ctx.store.get_suffix(&file.path, file.size_bytes, u64::from(file.footer_bytes)).await?;
    Ok((footer::decode(&end, file.rows)?, 0))
}

fn row_groups(metadata: &ParquetMetaData) -> Vec<RowGroup> {
    let groups = metadata.row_groups().iter();
    groups
        .map(|group| RowGroup {
            rows: group.num_rows() as u64,
            compressed_bytes: group.compressed_size() as u64,
            bytes: group.total_byte_size() as u64,
            columns: group.columns().iter().map(ColumnView::of).collect(),
        })
        .collect()
}

fn ends<T: Clone>(range: &KeyRange<T>) -> [T; 2] {
    [range.min.clone(), range.max.clone()]
}

fn times(ts: &KeyRange<i64>) -> [Option<Timestamp>; 2] {
    [timestamp_of_micros(ts.min), timestamp_of_micros(ts.max)]
}

impl LeafView {
    fn of(leaf: &LeafRef) -> Self {
        LeafView {
            path: leaf.path.clone(),
            leaf_bytes: leaf.leaf_bytes,
            sha256: leaf.sha256.clone(),
            added_version: leaf.added_version,
            tenants: ends(&leaf.tenants).map(|key| key.to_string()),
            event_types: ends(&leaf.event_types).map(|key| key.to_string()),
            dates: ends(&leaf.dates),
            ts: times(&leaf.ts),
            files: leaf.files,
            rows: leaf.rows,
            bytes: leaf.size_bytes,
            deleted: leaf.deleted.iter().collect(),
        }
    }
}

impl Entry {
    fn of(leaf: &str, position: u32, file: &DataFile, audit: Option<&FileAudit>) -> Self {
        let pack = |pack: &PackRef| PackView {
            path: pack.path.clone(),
            offset: pack.offset,
            cells_bytes: pack.cells_bytes,
            footer_bytes: pack.footer_bytes,
        };
        Entry {
            leaf: leaf.to_owned(),
            position,
            path: file.path.clone(),
            is_bundle: file.is_bundle(),
            tenants: ends(&file.tenants).map(|key| key.to_string()),
            event_types: ends(&file.event_types).map(|key| key.to_string()),
            dates: ends(&file.dates),
            ts: times(&file.ts),
            rows: file.rows,
            bytes: file.size_bytes,
            footer_bytes: file.footer_bytes,
            schema_id: file.schema_id,
            storage_class: file.storage_class,
            class_since: file.class_since,
            pack: file.pack.as_ref().map(pack),
            sha256: audit.map(|audit| audit.sha256.clone()),
            event_ids: audit.map(|audit| [audit.min_event_id.clone(), audit.max_event_id.clone()]),
        }
    }
}

impl ColumnView {
    fn of(column: &ColumnChunkMetaData) -> Self {
        let (min, max) = column.statistics().map_or((None, None), bounds);
        ColumnView {
            name: column.column_path().string(),
            physical_type: column.column_type().to_string(),
            // A file does not say the level.
            compression: column.compression().to_string().split('(').next().unwrap_or_default().to_owned(),
            encodings: column.encodings().map(|encoding| encoding.to_string()).collect(),
            compressed_bytes: column.compressed_size() as u64,
            bytes: column.uncompressed_size() as u64,
            has_dictionary: column.dictionary_page_offset().is_some(),
            bloom_filter_bytes: column.bloom_filter_length().map(|length| length as u64),
            nulls: column.statistics().and_then(Statistics::null_count_opt),
            min,
            max,
        }
    }
}

fn bounds(statistics: &Statistics) -> (Option<String>, Option<String>) {
    fn pair<T: ToString>(min: Option<&T>, max: Option<&T>) -> (Option<String>, Option<String>) {
        (min.map(T::to_string), max.map(T::to_string))
    }
    let text =
        |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).chars().take(SHOWN_CHARS).collect());
    match statistics {
        Statistics::Boolean(of) => pair(of.min_opt(), of.max_opt()),
        Statistics::Int32(of) => pair(of.min_opt(), of.max_opt()),
        Statistics::Int64(of) => pair(of.min_opt(), of.max_opt()),
        Statistics::Double(of) => pair(of.min_opt(), of.max_opt()),
        Statistics::ByteArray(of) => {
            (text(of.min_opt().map(AsBytes::as_bytes)), text(of.max_opt().map(AsBytes::as_bytes)))
        }
        _ => (None, None),
    }
}
