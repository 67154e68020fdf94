//! Reads data files with few requests: what lies near the end of a file is fetched once and shared.
//!
//! DataFusion opens a file in steps (footer, page index, bloom filters, columns), some of them with a fresh reader.
//! Here the first step fetches a tail of the file, as long as everything small in it or the whole file where that is
//! small, and the later steps are served from it while any reader of the file lives. A footer known beforehand costs no
//! request; that of a large file, once decoded, is kept for the session's other ranges and scans of it.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use datafusion::common::Result;
use datafusion::common::runtime::SpawnedTask;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetMetaData;
use datafusion::datasource::physical_plan::{ParquetFileMetrics, ParquetFileReaderFactory};
use datafusion::execution::cache::cache_manager::{CachedFileMetadataEntry, FileMetadataCache};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use tokio::sync::{OnceCell, Semaphore};

use super::ahead::{self, Turn};
use super::requests;

/// A file up to this size is read whole: on S3 a round trip costs as much time as some megabytes.
pub const WHOLE_FILE_BYTES: u64 = 1 << 20;

/// Read along with the footer of a larger file: the page index lies there, and often the bloom filters.
const BESIDE_FOOTER_BYTES: u64 = 64 << 10;

/// Known tails before the dead ones are dropped.
const TAILS_BEFORE_CLEANING: usize = 1024;

/// Tails kept of files that are read in several ranges, one after the other perhaps.
const TAILS_KEPT: usize = 32;

/// Ranges of one file that are under way together.
const RANGES_IN_FLIGHT: usize = 16;

/// Noted in a `PartitionedFile` whose footer, with its page index, is at hand.
#[derive(Debug, Clone)]
pub struct KnownFooter(pub Arc<ParquetMetaData>);

/// The end of a file, from `start`.
#[derive(Debug, Default)]
pub struct Tail {
    start: u64,
    bytes: OnceCell<Bytes>,
}

/// Makes the readers of one scan.
pub struct Readers {
    store: Arc<dyn ObjectStore>,
    footers: Footers,
    tails: Mutex<Tails>,
    room: Arc<Semaphore>,
}

/// Footers of large files that a session has read. Files never change.
#[derive(Clone)]
struct Footers {
    kept: Arc<FileMetadataCache>,
    /// Whether they are wanted with the page index.
    with_pages: bool,
}

#[derive(Default)]
struct Tails {
    /// Of files that somebody reads.
    known: HashMap<Path, Weak<Tail>>,
    kept: VecDeque<Arc<Tail>>,
}

impl Readers {
    /// `kept` are the footers that the session has read, wanted `with_pages` where filters may rule out some.
    pub fn new(store: Arc<dyn ObjectStore>, kept: Arc<FileMetadataCache>, with_pages: bool) -> Self {
        let footers = Footers { kept, with_pages };
        Readers { store, footers, tails: Mutex::default(), room: ahead::room() }
    }

    /// The tail of a file whose turn has come, and what still fetches it.
    fn turn(&self, file: &PartitionedFile, has_footer: bool) -> (Arc<Tail>, Option<SpawnedTask<()>>) {
        let taken =
            file.extension::<Turn>().and_then(|turn| turn.take(&self.room, |path, size| self.fetch(path, size)));
        match taken {
            Some((tail, task)) => (tail, Some(task)),
            None => (self.tail(file, has_footer), None),
        }
    }

    /// Begins to fetch a whole file. An error comes up again when the file is read.
    fn fetch(&self, path: &Path, size: u64) -> (Arc<Tail>, SpawnedTask<()>) {
        let tail = Arc::new(Tail { start: 0, bytes: OnceCell::new() });
        self.tails.lock().unwrap_or_else(PoisonError::into_inner).known.insert(path.clone(), Arc::downgrade(&tail));
        let (store, path, fetched) = (self.store.clone(), path.clone(), tail.clone());
        let task = SpawnedTask::spawn(async move {
            fetched.bytes.get_or_try_init(|| store.get_range(&path, 0..size)).await.ok();
        });
        (tail, task)
    }

    /// The tail that the living readers of a file share.
    fn tail(&self, file: &PartitionedFile, has_footer: bool) -> Arc<Tail> {
        let mut tails = self.tails.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tail) = tails.known.get(file.path()).and_then(Weak::upgrade) {
            return tail;
        }
        if tails.known.len() >= TAILS_BEFORE_CLEANING {
            tails.known.retain(|_, tail| tail.strong_count() > 0);
        }
        let size = file.object_meta.size;
        let footer = file.metadata_size_hint.unwrap_or(0) as u64;
        let wanted = match has_footer {
            _ if size <= WHOLE_FILE_BYTES => size,
            true => 0,
            false => footer + BESIDE_FOOTER_BYTES,
        };
        let tail = Arc::new(Tail { start: size.saturating_sub(wanted), bytes: OnceCell::new() });
        tails.known.insert(file.path().clone(), Arc::downgrade(&tail));
        if file.range.is_some() {
            if tails.kept.len() == TAILS_KEPT {
                tails.kept.pop_front();
            }
            tails.kept.push_back(tail.clone());
        }
        tail
    }
}

impl Footers {
    fn of(&self, file: &PartitionedFile) -> Option<Arc<ParquetMetaData>> {
        if let Some(KnownFooter(footer)) = file.extension::<KnownFooter>() {
            return Some(footer.clone());
        }
        let kept = self.kept.get(file.path())?;
        let footer = kept.file_metadata.as_any().downcast_ref::<CachedParquetMetaData>()?.parquet_metadata();
        (!self.with_pages || footer.offset_index().is_some()).then(|| footer.clone())
    }

    fn keep(&self, file: &ObjectMeta, footer: &Arc<ParquetMetaData>) {
        let kept = Arc::new(CachedParquetMetaData::new(footer.clone()));
        self.kept.put(&file.location, CachedFileMetadataEntry::new(file.clone(), kept));
    }
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Readers({})", self.store)
    }
}

impl ParquetFileReaderFactory for Readers {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        _metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let footer = self.footers.of(&file);
        let (tail, fetching) = self.turn(&file, footer.is_some());
        let metrics = ParquetFileMetrics::new(partition, file.path().as_ref(), metrics);
        if fetching.is_some() {
            metrics.bytes_scanned.add(file.object_meta.size as usize);
        }
        Ok(Box::new(Reader {
            store: self.store.clone(),
            tail,
            _fetching: fetching,
            footer,
            footers: self.footers.clone(),
            metrics,
            file: file.object_meta,
        }))
    }
}

struct Reader {
    store: Arc<dyn ObjectStore>,
    file: ObjectMeta,
    tail: Arc<Tail>,
    /// Dropped, it stops.
    _fetching: Option<SpawnedTask<()>>,
    footer: Option<Arc<ParquetMetaData>>,
    footers: Footers,
    metrics: ParquetFileMetrics,
}

impl Reader {
    fn is_in_tail(&self, range: &Range<u64>) -> bool {
        self.tail.start <= range.start && range.end <= self.file.size
    }

    async fn slice_of_tail(&self, range: Range<u64>) -> ParquetResult<Bytes> {
        let tail = self
            .tail
            .bytes
            .get_or_try_init(|| async {
                let whole = self.tail.start..self.file.size;
                self.metrics.bytes_scanned.add((whole.end - whole.start) as usize);
                self.store.get_range(&self.file.location, whole).await
            })
            .await
            .map_err(external)?;
        slice_of(tail, self.tail.start, &range, &self.file.location)
    }

    async fn ranges(&self, ranges: Vec<Range<u64>>) -> ParquetResult<Vec<Bytes>> {
        let far: Vec<_> = ranges.iter().filter(|range| !self.is_in_tail(range)).cloned().collect();
        let fetched = self.fetch(requests::joined(&far)).await?;
        let mut parts = Vec::with_capacity(ranges.len());
        for range in ranges {
            parts.push(match fetched.iter().find(|(whole, _)| whole.start <= range.start && range.end <= whole.end) {
                Some((whole, bytes)) => slice_of(bytes, whole.start, &range, &self.file.location)?,
                None => self.slice_of_tail(range).await?,
            });
        }
        Ok(parts)
    }

    async fn fetch(&self, requests: Vec<Range<u64>>) -> ParquetResult<Vec<(Range<u64>, Bytes)>> {
        self.metrics.bytes_scanned.add(requests.iter().map(|range| (range.end - range.start) as usize).sum());
        futures::stream::iter(requests)
            .map(|range| async move {
                let bytes = self.store.get_range(&self.file.location, range.clone()).await?;
                Ok((range, bytes))
            })
            .buffered(RANGES_IN_FLIGHT)
            .try_collect()
            .await
            .map_err(external)
    }
}

fn slice_of(bytes: &Bytes, start: u64, range: &Range<u64>, path: &Path) -> ParquetResult<Bytes> {
    let (from, to) = (range.start - start, range.end - start);
    if from > to || to > bytes.len() as u64 {
        return Err(ParquetError::EOF(format!("{path} is shorter than the catalog says")));
    }
    Ok(bytes.slice(from as usize..to as usize))
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        async move {
            let mut bytes = self.ranges(vec![range]).await?;
            bytes.pop().ok_or_else(|| ParquetError::General("the store returned nothing for a range".to_owned()))
        }
        .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        self.ranges(ranges).boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move {
            if let Some(footer) = &self.footer {
                return Ok(footer.clone());
            }
            let size = self.file.size;
            let tail = (size - self.tail.start) as usize;
            let mut reader =
                ParquetMetaDataReader::new().with_prefetch_hint(Some(tail)).with_arrow_reader_options(options);
            if options.is_none() {
                reader = reader.with_page_index_policy(PageIndexPolicy::Skip);
            }
            let mut footer = reader.load_and_finish(&mut *self, size).await?;
            if size <= WHOLE_FILE_BYTES {
                return Ok(Arc::new(footer));
            }
            if self.footers.with_pages && page_index_start(&footer).is_some_and(|start| start >= self.tail.start) {
                reader =
                    ParquetMetaDataReader::new_with_metadata(footer).with_page_index_policy(PageIndexPolicy::Optional);
                reader.load_page_index(&mut *self).await?;
                footer = reader.finish()?;
            }
            let footer = Arc::new(footer);
            self.footers.keep(&self.file, &footer);
            Ok(footer)
        }
        .boxed()
    }
}

/// Where the page index of a file begins; `None` where there is none.
fn page_index_start(footer: &ParquetMetaData) -> Option<u64> {
    let columns = footer.row_groups().iter().flat_map(|group| group.columns());
    let starts = columns.flat_map(|column| [column.column_index_offset(), column.offset_index_offset()]);
    starts.flatten().min().map(|start| start as u64)
}

fn external(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}
