//! Files on their way to a store or from it. They have no name: whatever ends the process, nothing of them is left.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use parquet::file::reader::{ChunkReader, Length};

use crate::error::{Context, Result};

/// What a reader of the whole takes at once.
const READ_BYTES: usize = 1 << 20;

/// A temporary file that is complete. Cheap to clone; every reader has a place of its own in it, on whatever thread.
#[derive(Debug, Clone)]
pub struct TempFile {
    file: Arc<File>,
    size_bytes: u64,
}

impl TempFile {
    /// Of all that was written, through whatever buffers there were.
    pub fn new(file: File) -> Result<Self> {
        let size_bytes = file.metadata().context("look at a temporary file")?.len();
        Ok(TempFile { file: Arc::new(file), size_bytes })
    }

    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// From the beginning to the end.
    pub fn reader(&self) -> BufReader<TempFileReader> {
        BufReader::with_capacity(READ_BYTES, self.reader_from(0))
    }

    fn reader_from(&self, start: u64) -> TempFileReader {
        TempFileReader { file: self.file.clone(), at: start }
    }

    /// All of it, in memory.
    pub fn whole(&self) -> io::Result<Bytes> {
        self.bytes(0, self.size_bytes as usize)
    }

    /// These bytes, which it must have.
    pub fn bytes(&self, start: u64, length: usize) -> io::Result<Bytes> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }

    /// As [`TempFile::bytes`], and what `digest` makes of them, on a thread that may block.
    pub(super) async fn part<T: Send + 'static>(
        &self,
        start: u64,
        length: u64,
        digest: impl FnOnce(&[u8]) -> T + Send + 'static,
    ) -> Result<(Bytes, T)> {
        let file = self.clone();
        let read = move || {
            let bytes = file.bytes(start, length as usize)?;
            let digest = digest(&bytes);
            Ok::<_, io::Error>((bytes, digest))
        };
        tokio::task::spawn_blocking(read).await.context("wait for the read")?.context("read the file to upload")
    }
}

/// Reads a [`TempFile`] from where it was asked to.
#[derive(Debug)]
pub struct TempFileReader {
    file: Arc<File>,
    at: u64,
}

impl Read for TempFileReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Length for TempFile {
    fn len(&self) -> u64 {
        self.size_bytes
    }
}

impl ChunkReader for TempFile {
    type T = BufReader<TempFileReader>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(BufReader::new(self.reader_from(start)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        Ok(self.bytes(start, length)?)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn readers_do_not_move_one_another() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let file = TempFile::new(file).unwrap();
        let (mut whole, mut end) = (file.reader(), file.get_read(7).unwrap());
        let mut first = [0; 3];
        whole.read_exact(&mut first).unwrap();
        let (mut rest, mut last) = (String::new(), String::new());
        end.read_to_string(&mut last).unwrap();
        whole.read_to_string(&mut rest).unwrap();
        assert_eq!((&first, rest.as_str(), last.as_str()), (b"012", "3456789", "789"));
        assert_eq!((file.size_bytes(), file.bytes(4, 2).unwrap()), (10, Bytes::from("45")));
        assert_eq!(file.whole().unwrap(), "0123456789");
        assert!(file.bytes(9, 2).is_err());
    }
}
