//! The files of a bundle's cells, fetched ahead of their turn.
//!
//! On object storage each GET takes tens of milliseconds and a month may have thousands of small files, so many are
//! fetched side by side. Small ones stay in memory, large ones pass through it into temporary files.

use std::collections::VecDeque;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::file::reader::ChunkReader;
use tokio::task::JoinHandle;

use super::super::encode::Target;
use super::super::footer_facts;
use super::super::typed::Typed;
use super::digest::{RowDigest, RowDigests};
use crate::error::{Context, Error, Result};
use crate::model::{DataFile, Partition};
use crate::store::{Store, TempFile};

/// Below this a file is fetched whole: one request costs more than its bytes.
const FETCH_WHOLE_BYTES: u64 = 4 << 20;

/// The files of one cell are open together; beyond this many bytes they are kept on disk.
const CELL_MEMORY_BYTES: u64 = 64 << 20;

/// Files being fetched, or fetched before their turn.
const FETCHES_IN_FLIGHT: usize = 32;

/// What those may take in memory; one file may always be fetched.
const FETCHED_BYTES: u64 = 128 << 20;

/// A large file is fetched in parts of this size, so many at once.
const PART_BYTES: u64 = 8 << 20;
const PARTS_IN_FLIGHT: usize = 4;

/// Rows decoded at once of each file.
const BATCH_ROWS: usize = 2048;

/// Hands out the files in the order of the plan.
pub struct Sources<'a> {
    target: &'a Target<'a>,
    waiting: VecDeque<Fetch>,
    started: VecDeque<(Fetch, JoinHandle<Result<Fetched>>)>,
}

#[derive(Clone)]
struct Fetch {
    file: DataFile,
    to_disk: bool,
}

enum Fetched {
    Memory(Bytes),
    Disk(TempFile),
}

impl Fetch {
    /// Memory it takes until its turn.
    fn bytes(&self) -> u64 {
        if self.to_disk { self.file.size_bytes.min(PART_BYTES * PARTS_IN_FLIGHT as u64) } else { self.file.size_bytes }
    }
}

impl<'a> Sources<'a> {
    pub fn new(cells: &[(Partition, Vec<DataFile>)], target: &'a Target<'a>) -> Self {
        let fetches = cells.iter().flat_map(|(_, files)| {
            let cell_bytes: u64 = files.iter().map(|file| file.size_bytes).sum();
            files.iter().map(move |file| {
                let to_disk = file.size_bytes > FETCH_WHOLE_BYTES || cell_bytes > CELL_MEMORY_BYTES;
                Fetch { file: file.clone(), to_disk }
            })
        });
        let waiting = fetches.collect();
        Sources { target, waiting, started: VecDeque::new() }
    }

    /// The rows of the next file, with all columns of the archive.
    pub fn next<'s>(&mut self, typed: &'s Typed, digests: &'s RowDigests) -> Result<SourceRows<'s>> {
        self.start_fetches();
        let (fetch, fetched) = self.started.pop_front().expect("asked once for each file of the plan");
        let phrase = || format!("read {}", self.target.store.address(&fetch.file.path));
        let fetched = self.target.runtime.block_on(fetched).context("wait for a file")?;
        let opened = match fetched.with_context(phrase)? {
            Fetched::Memory(bytes) => open(bytes),
            Fetched::Disk(file) => open(file),
        };
        let (reader, beside) = opened.with_context(phrase)?;
        Ok(SourceRows { reader, beside, file: fetch.file, typed, digests, rows: 0, digest: RowDigest::default() })
    }

    fn start_fetches(&mut self) {
        let mut bytes: u64 = self.started.iter().map(|(fetch, _)| fetch.bytes()).sum();
        while let Some(next) = self.waiting.front() {
            bytes += next.bytes();
            if !self.started.is_empty() && (self.started.len() >= FETCHES_IN_FLIGHT || bytes > FETCHED_BYTES) {
                break;
            }
            let fetch = self.waiting.pop_front().expect("looked at");
            let work = fetch_file(self.target.store.clone(), fetch.clone());
            self.started.push_back((fetch, self.target.runtime.spawn(work)));
        }
    }
}

impl Drop for Sources<'_> {
    fn drop(&mut self) {
        self.started.iter().for_each(|(_, fetched)| fetched.abort());
    }
}

async fn fetch_file(store: Store, fetch: Fetch) -> Result<Fetched> {
    let Fetch { file, to_disk } = fetch;
    if !to_disk {
        let bytes = store.get(&file.path).await?;
        check_size(&file, bytes.len() as u64)?;
        return Ok(Fetched::Memory(bytes));
    }
    let spool = Arc::new(tempfile::tempfile().context("make a temporary file")?);
    let (store, spool_ref, path) = (&store, &spool, &file.path);
    let parts = (0..file.size_bytes).step_by(PART_BYTES as usize);
    let written: Vec<u64> = futures::stream::iter(parts)
        .map(|start| async move {
            let bytes = store.get_range(path, start..(start + PART_BYTES).min(file.size_bytes)).await?;
            let (length, spool) = (bytes.len() as u64, spool_ref.clone());
            let write = tokio::task::spawn_blocking(move || spool.write_all_at(&bytes, start));
            write.await.context("wait for the write")?.context("write a temporary file")?;
            Ok::<_, Error>(length)
        })
        .buffer_unordered(PARTS_IN_FLIGHT)
        .try_collect()
        .await?;
    check_size(&file, written.iter().sum())?;
    Ok(Fetched::Disk(TempFile::new(Arc::try_unwrap(spool).expect("every write has ended"))?))
}

fn check_size(file: &DataFile, size_bytes: u64) -> Result<()> {
    if size_bytes == file.size_bytes {
        return Ok(());
    }
    let message = format!("it has {size_bytes} bytes, the catalog says {}", file.size_bytes);
    Err(Error::failed(message).code("corrupt-file"))
}

/// The file's rows, and the names of the files that it was compared with.
fn open(file: impl ChunkReader + 'static) -> Result<(ParquetRecordBatchReader, Vec<Vec<String>>)> {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).context("read the footer")?;
    let beside = footer_facts::beside(builder.metadata());
    Ok((builder.with_batch_size(BATCH_ROWS).build().context("read the rows")?, beside))
}

/// The rows of one file, counted and digested as they pass.
pub struct SourceRows<'s> {
    reader: ParquetRecordBatchReader,
    beside: Vec<Vec<String>>,
    file: DataFile,
    typed: &'s Typed,
    digests: &'s RowDigests,
    rows: u64,
    digest: RowDigest,
}

impl SourceRows<'_> {
    /// What the file says of those it was compared with when it was written; see [`super::super::encode::Origin`].
    pub fn beside(&self) -> &[Vec<String>] {
        &self.beside
    }

    /// Of the rows so far.
    pub fn digest(&self) -> RowDigest {
        self.digest
    }

    fn next_rows(&mut self) -> Result<Option<RecordBatch>> {
        let Some(rows) = self.reader.next().transpose().context("decode the rows")? else {
            if self.rows != self.file.rows {
                let message = format!("it holds {} rows, the catalog says {}", self.rows, self.file.rows);
                return Err(Error::failed(message).code("row-count"));
            }
            return Ok(None);
        };
        let rows = self.typed.complete(&rows)?;
        self.rows += rows.num_rows() as u64;
        self.digest += self.digests.of(rows.columns())?;
        Ok(Some(rows))
    }
}

impl Iterator for SourceRows<'_> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_rows().with_context(|| format!("read {}", self.file.path)).transpose()
    }
}
