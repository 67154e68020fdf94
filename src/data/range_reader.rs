//! A stored object as the Parquet reader wants it, from a thread outside the runtime.

use bytes::{Buf, Bytes};
use parquet::file::reader::{ChunkReader, Length};

use super::encode::Target;
use crate::error::Result;
use crate::model::DataFile;
use crate::store::Store;

/// Reads parts of a data file, or all of it at once. Cheap to clone.
#[derive(Clone)]
pub struct RangeReader {
    store: Store,
    path: String,
    size_bytes: u64,
    whole: Option<Bytes>,
    runtime: tokio::runtime::Handle,
}

impl RangeReader {
    /// Each part that is asked for is a request.
    pub fn new(target: &Target<'_>, file: &DataFile) -> Self {
        Self::over(target.store, target.runtime.clone(), file)
    }

    /// As [`RangeReader::new`], where nothing is written.
    pub fn over(store: &Store, runtime: tokio::runtime::Handle, file: &DataFile) -> Self {
        let (path, size_bytes) = (file.path.clone(), file.size_bytes);
        RangeReader { store: store.clone(), path, size_bytes, whole: None, runtime }
    }

    /// One request now, and none later.
    pub fn fetch_whole(self) -> Result<Self> {
        let whole = self.runtime.block_on(self.store.get(&self.path))?;
        Ok(RangeReader { whole: Some(whole), ..self })
    }
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
