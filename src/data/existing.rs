//! Which new rows the archive already holds in the same cell, read from its files.
//!
//! # Cost
//! Per file one request for the footer, and for the row groups whose bloom filter cannot exclude every new id one for
//! the ids; rows are read whole only where an id is found.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, RecordBatchReader, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use bytes::{Buf, Bytes};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};
use parquet::file::reader::{ChunkReader, Length};

use super::encode::Target;
use super::rows::ORDER;
use super::typed::{Same, Typed};
use crate::error::{Context, Result};
use crate::model::{DataFile, Schema};
use crate::store::Store;

/// Below this a file is fetched whole: one request costs more than its bytes.
const FETCH_WHOLE_BYTES: u64 = 4 << 20;

/// What the archive holds under a new row's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Same,
    Different,
}

/// The files of a cell that new rows are compared with.
pub struct Existing<'a> {
    pub files: &'a [DataFile],
    pub schema: &'a Schema,
    pub target: &'a Target<'a>,
}

impl Existing<'_> {
    /// The rows among `firsts` (id to row of `rows`) whose identity the archive has.
    pub fn find(&self, rows: &RecordBatch, firsts: &HashMap<&str, u32>) -> Result<Vec<(u32, Found)>> {
        let mut found = Vec::new();
        let mut settled: HashSet<u32> = HashSet::new();
        for file in self.files {
            let phrase = || format!("look for duplicates in {}", self.target.store.address(&file.path));
            let source = StoredFile::open(self.target, file).with_context(phrase)?;
            let matches = source.rows_with(firsts).with_context(phrase)?;
            if matches.is_empty() {
                continue;
            }
            let stored = source.read(&matches, self.schema).with_context(phrase)?;
            let same = Same::new(rows, &stored)?;
            let ids = stored.column(1).as_string::<i32>();
            for position in 0..stored.num_rows() {
                let row = firsts[ids.value(position)];
                if settled.insert(row) {
                    let is_same = same.rows(row as usize, position);
                    found.push((row, if is_same { Found::Same } else { Found::Different }));
                }
            }
        }
        Ok(found)
    }
}

struct StoredFile {
    reader: RangeReader,
    metadata: ArrowReaderMetadata,
}

impl StoredFile {
    fn open(target: &Target<'_>, file: &DataFile) -> Result<Self> {
        let whole = (file.size_bytes <= FETCH_WHOLE_BYTES)
            .then(|| target.runtime.block_on(target.store.get(&file.path)))
            .transpose()?;
        let reader = RangeReader {
            store: target.store.clone(),
            path: file.path.clone(),
            size_bytes: file.size_bytes,
            whole,
            runtime: target.runtime.clone(),
        };
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = ArrowReaderMetadata::load(&reader, options).context("read the footer")?;
        Ok(StoredFile { reader, metadata })
    }

    /// Positions of the rows whose id is among the new ones, ascending.
    fn rows_with(&self, firsts: &HashMap<&str, u32>) -> Result<Vec<usize>> {
        let mut matches = Vec::new();
        let mut start = 0;
        let id_column = self.column("event_id")?;
        for (group, metadata) in self.metadata.metadata().row_groups().iter().enumerate() {
            let rows = metadata.num_rows() as usize;
            let builder = self.builder();
            let filter = builder.get_row_group_column_bloom_filter(group, id_column).context("read a bloom filter")?;
            let may_match = filter.is_none_or(|filter| firsts.keys().any(|id| filter.check(*id)));
            if may_match {
                let mask = ProjectionMask::roots(builder.parquet_schema(), [id_column]);
                let reader =
                    builder.with_row_groups(vec![group]).with_projection(mask).build().context("read the ids")?;
                let mut position = start;
                for batch in reader {
                    let batch = batch.context("read the ids")?;
                    let ids = batch.column(0).as_string::<i32>();
                    matches.extend(
                        (0..ids.len()).filter(|&row| firsts.contains_key(ids.value(row))).map(|row| position + row),
                    );
                    position += batch.num_rows();
                }
            }
            start += rows;
        }
        Ok(matches)
    }

    /// The rows at these positions, with the columns of a cell.
    fn read(&self, positions: &[usize], schema: &Schema) -> Result<RecordBatch> {
        let mut selectors = Vec::new();
        let mut next = 0;
        for &position in positions {
            if position > next {
                selectors.push(RowSelector::skip(position - next));
            }
            selectors.push(RowSelector::select(1));
            next = position + 1;
        }
        let reader =
            self.builder().with_row_selection(RowSelection::from(selectors)).build().context("read the rows")?;
        let stored_schema = reader.schema();
        let batches = reader.collect::<Result<Vec<_>, _>>().context("read the rows")?;
        let rows = arrow::compute::concat_batches(&stored_schema, &batches).context("read the rows")?;
        Typed::new(schema).settle(&with_order(&rows)?)
    }

    fn builder(&self) -> ParquetRecordBatchReaderBuilder<RangeReader> {
        ParquetRecordBatchReaderBuilder::new_with_metadata(self.reader.clone(), self.metadata.clone())
    }

    fn column(&self, name: &str) -> Result<usize> {
        self.metadata.schema().index_of(name).context("find the id column")
    }
}

/// Puts a hidden column of zeros in front, so that stored rows have the shape of new ones.
fn with_order(rows: &RecordBatch) -> Result<RecordBatch> {
    let mut fields = vec![Arc::new(Field::new(ORDER, DataType::UInt64, false))];
    fields.extend(rows.schema().fields().iter().cloned());
    let zeros = UInt64Array::from(vec![0; rows.num_rows()]);
    let mut arrays: Vec<arrow::array::ArrayRef> = vec![Arc::new(zeros)];
    arrays.extend(rows.columns().iter().cloned());
    RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), arrays).context("read the rows")
}

/// A stored object as the Parquet reader wants it, from a thread outside the runtime.
#[derive(Clone)]
struct RangeReader {
    store: Store,
    path: String,
    size_bytes: u64,
    whole: Option<Bytes>,
    runtime: tokio::runtime::Handle,
}

impl Length for RangeReader {
    fn len(&self) -> u64 {
        self.size_bytes
    }
}

impl ChunkReader for RangeReader {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        // Only thrift headers of unknown length are read this way; they are short.
        const HEADER_BYTES: u64 = 64 << 10;
        let end = (start + HEADER_BYTES).min(self.size_bytes);
        Ok(self.get_bytes(start, (end - start) as usize)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let end = start + length as u64;
        if let Some(whole) = &self.whole {
            return Ok(whole.slice(start as usize..end as usize));
        }
        let range = self.runtime.block_on(self.store.get_range(&self.path, start..end));
        range.map_err(|error| parquet::errors::ParquetError::External(Box::new(error)))
    }
}
