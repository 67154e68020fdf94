//! The ids of files that share a cell, compared through a temporary file.
//!
//! # Cost
//! The id columns of those files, and 20 bytes of temporary disk an event; in memory one bucket of them at a time.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::AsArray;
use futures::{StreamExt, TryStreamExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader};
use tokio::runtime::Handle;

use super::choose::Shared;
use crate::context::Context as Ctx;
use crate::data::id_bounds::IdBounds;
use crate::data::range_reader::RangeReader;
use crate::data::spill::Spill;
use crate::error::{Context, Error, Kind, Result};
use crate::model::{DataFile, Partition};

/// Below this a file is fetched whole: one request costs more than its bytes.
const FETCH_WHOLE_BYTES: u64 = 4 << 20;

/// Files read at once.
const FILES_IN_FLIGHT: usize = 16;

/// Of all records before they go to disk.
const MEMORY_BYTES: usize = 64 << 20;

/// A bucket is sorted in memory.
const BUCKET_BYTES: u64 = 32 << 20;

const RECORD_BYTES: usize = 20;

/// A run of rows of one cell whose ids are compared.
#[derive(Debug, Clone)]
pub struct CellIds {
    pub cell: Partition,
    pub rows: Range<u64>,
    /// What is known of the cell's ids in files that cannot be read, by their numbers.
    pub out_of_reach: Vec<(u32, Arc<IdBounds>)>,
}

/// What is read of one file: runs that ascend.
#[derive(Debug)]
pub struct Wanted {
    pub number: u32,
    pub file: DataFile,
    pub cells: Vec<CellIds>,
}

/// What the ids show.
#[derive(Debug, Default)]
pub struct Compared {
    pub shared: Shared,
    /// Files with an id that may be in a file that cannot be read: both numbers.
    pub perhaps: BTreeSet<(u32, u32)>,
}

struct Sink {
    spill: Spill<RECORD_BYTES>,
    buckets: u32,
    perhaps: BTreeSet<(u32, u32)>,
}

/// Reads the ids and compares them. An error names the file.
pub async fn compare(ctx: &Ctx, wanted: Vec<Wanted>) -> Result<Compared> {
    let rows: u64 = wanted.iter().flat_map(|wanted| &wanted.cells).map(|run| run.rows.end - run.rows.start).sum();
    let buckets = (rows * RECORD_BYTES as u64 / BUCKET_BYTES + 1).min(u64::from(u16::MAX)) as u32;
    let sink = Sink { spill: Spill::new(MEMORY_BYTES), buckets, perhaps: BTreeSet::new() };
    let sink = Arc::new(Mutex::new(sink));
    let reads = wanted.into_iter().map(|wanted| {
        let (reader, sink) = (RangeReader::over(&ctx.store, Handle::current(), &wanted.file), sink.clone());
        async move {
            ctx.stop.check()?;
            let phrase = format!("read the ids of {}", wanted.file.path);
            let work = tokio::task::spawn_blocking(move || read(&wanted, reader, &sink));
            work.await.context("wait for ids")?.map_err(unreadable).context(phrase)
        }
    });
    futures::stream::iter(reads).buffer_unordered(FILES_IN_FLIGHT).try_collect::<Vec<()>>().await?;
    let sink = Arc::try_unwrap(sink).map_err(|_| Error::failed("a reader of ids still runs"))?;
    let Sink { mut spill, perhaps, .. } = sink.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut counts: HashMap<Vec<u32>, u64> = HashMap::new();
    for bucket in spill.buckets() {
        let records = spill.take(bucket)?;
        for same in records.chunk_by(|a, b| a[..16] == b[..16]).filter(|same| same.len() > 1) {
            let number = |record: &[u8; RECORD_BYTES]| u32::from_be_bytes(record[16..].try_into().expect("4 bytes"));
            let mut files: Vec<u32> = same.iter().map(number).collect();
            files.dedup();
            if files.len() > 1 {
                *counts.entry(files).or_default() += 1;
            }
        }
    }
    Ok(Compared { shared: counts.into_iter().collect(), perhaps })
}

/// A file's own fault, of which only its rows tell.
fn unreadable(error: Error) -> Error {
    match error.kind() {
        Kind::Failed => error.hint("bring the file back from a copy, or go without its events: --leave-out PATH"),
        _ => error,
    }
}

fn read(wanted: &Wanted, mut reader: RangeReader, sink: &Mutex<Sink>) -> Result<()> {
    if wanted.file.size_bytes <= FETCH_WHOLE_BYTES {
        reader = reader.fetch_whole()?;
    }
    let options =
        ArrowReaderOptions::new().with_skip_arrow_metadata(true).with_page_index_policy(PageIndexPolicy::Optional);
    let metadata = ArrowReaderMetadata::load(&reader, options).context("read its footer")?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(reader, metadata);
    let id_column = builder.schema().index_of("event_id").context("find the id column")?;
    let mask = ProjectionMask::roots(builder.parquet_schema(), [id_column]);
    let ranges = wanted.cells.iter().map(|run| run.rows.start as usize..run.rows.end as usize);
    let selection = RowSelection::from_consecutive_ranges(ranges, wanted.file.rows as usize);
    let reader = builder.with_projection(mask).with_row_selection(selection).build().context("read the ids")?;
    let mut cells = wanted.cells.iter();
    let mut left = 0;
    let mut at: Option<(&CellIds, blake3::Hasher)> = None;
    for batch in reader {
        let batch = batch.context("decode the ids")?;
        let ids = batch.column(0).as_string_opt::<i32>().ok_or_else(|| Error::failed("its ids are no text"))?;
        let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids.iter() {
            let id = id.ok_or_else(|| Error::failed("an event has no id"))?;
            while left == 0 {
                let next = cells.next().ok_or_else(|| Error::failed("it has more rows than its cells"))?;
                left = next.rows.end - next.rows.start;
                let mut hasher = blake3::Hasher::new();
                hasher.update(next.cell.folder().as_bytes()).update(b"/");
                at = Some((next, hasher));
            }
            left -= 1;
            let (run, hasher) = at.as_ref().expect("set with the count");
            sink.add(wanted.number, run, hasher.clone().update(id.as_bytes()).finalize(), id)?;
        }
    }
    if left > 0 || cells.next().is_some() {
        return Err(Error::failed("it has fewer rows than its cells"));
    }
    Ok(())
}

impl Sink {
    fn add(&mut self, number: u32, run: &CellIds, digest: blake3::Hash, id: &str) -> Result<()> {
        let mut record = [0; RECORD_BYTES];
        record[..16].copy_from_slice(&digest.as_bytes()[..16]);
        record[16..].copy_from_slice(&number.to_be_bytes());
        let bucket = u32::from_be_bytes(record[..4].try_into().expect("4 bytes")) % self.buckets;
        self.spill.add(bucket, record)?;
        for (other, bounds) in &run.out_of_reach {
            if !self.perhaps.contains(&(number, *other)) && bounds.may_hold(id) {
                self.perhaps.insert((number, *other));
            }
        }
        Ok(())
    }
}

/// What the packed footer of a file that cannot be read says of the ids in these runs of rows.
pub async fn bounds(ctx: &Ctx, file: &DataFile, runs: &[Range<u64>]) -> Result<Vec<Arc<IdBounds>>> {
    let phrase = || format!("read the packed footer of {}", file.path);
    let missing = || Error::failed("no pack has it");
    let pack = file.pack.as_ref().ok_or_else(missing).with_context(phrase)?;
    let start = pack.offset + u64::from(pack.cells_bytes);
    let footer = ctx.store.get_range(&pack.path, start..start + u64::from(pack.footer_bytes)).await?;
    let mut reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional);
    reader.try_parse_sized(&footer, file.size_bytes).with_context(phrase)?;
    let metadata = reader.finish().with_context(phrase)?;
    Ok(runs.iter().map(|rows| Arc::new(IdBounds::of(&metadata, rows))).collect())
}
