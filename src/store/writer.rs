//! Writes one object from a thread that is not part of the runtime, in bounded memory.

use std::io::{self, Write};
use std::mem;

use bytes::Bytes;
use object_store::{ObjectStoreExt, WriteMultipart};
use tokio::runtime::Handle;

use super::{Store, explain};
use crate::error::{Context, Result};

/// Below this an object is one PUT; above it parts of this size are uploaded. S3 takes parts of 5 MiB at least,
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
const PART_BYTES: usize = 8 << 20;

/// Parts under way at once: they are what an unfinished object costs in memory.
const PARTS_IN_FLIGHT: usize = 2;

/// The object appears when [`ObjectWriter::finish`] returns, and not at all if it is dropped before.
pub struct ObjectWriter {
    store: Store,
    path: String,
    runtime: Handle,
    buffer: Vec<u8>,
    upload: Option<WriteMultipart>,
    written: u64,
}

impl ObjectWriter {
    pub(super) fn new(store: Store, path: String, runtime: Handle) -> Self {
        ObjectWriter { store, path, runtime, buffer: Vec::new(), upload: None, written: 0 }
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    /// Makes the object visible and returns its size.
    pub fn finish(mut self) -> Result<u64> {
        let rest = Bytes::from(mem::take(&mut self.buffer));
        match self.upload.take() {
            None => self.store.block_on(&self.runtime, self.store.put(&self.path, rest))?,
            Some(mut upload) => {
                upload.put(rest);
                self.runtime
                    .block_on(upload.finish())
                    .map_err(explain)
                    .with_context(|| format!("complete the upload of {}", self.store.address(&self.path)))?;
            }
        }
        Ok(self.written)
    }

    fn send_part(&mut self) -> io::Result<()> {
        let part = Bytes::from(mem::replace(&mut self.buffer, Vec::with_capacity(PART_BYTES)));
        let object = self.store.object_path(&self.path);
        let upload = match &mut self.upload {
            Some(upload) => upload,
            none => {
                let upload =
                    self.runtime.block_on(self.store.inner.put_multipart(&object)).map_err(io::Error::other)?;
                none.insert(WriteMultipart::new_with_chunk_size(upload, PART_BYTES))
            }
        };
        self.runtime.block_on(upload.wait_for_capacity(PARTS_IN_FLIGHT)).map_err(io::Error::other)?;
        let _in_runtime = self.runtime.enter();
        upload.put(part);
        Ok(())
    }
}

impl Write for ObjectWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        self.written += bytes.len() as u64;
        if self.buffer.len() >= PART_BYTES {
            self.send_part()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for ObjectWriter {
    fn drop(&mut self) {
        if let Some(upload) = self.upload.take() {
            // An abandoned upload would be billed until a bucket rule removes it.
            let _ = self.runtime.block_on(upload.abort());
        }
    }
}
