//! Reads one object from a thread that is not part of the runtime.

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::runtime::Handle;

/// The bytes of an object as they arrive; see [`super::Store::reader`].
pub struct ObjectReader {
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    current: Bytes,
    runtime: Handle,
}

impl ObjectReader {
    pub(super) fn new(stream: BoxStream<'static, object_store::Result<Bytes>>, runtime: Handle) -> Self {
        ObjectReader { stream, current: Bytes::new(), runtime }
    }
}

impl Read for ObjectReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.runtime.block_on(self.stream.next()) {
                Some(bytes) => self.current = bytes.map_err(|error| io::Error::other(super::explain(error)))?,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
