//! The end of a Parquet file: what of it a reader needs, and whether it is what was written.

use std::io::{self, Write};

use bytes::Bytes;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use sha2::{Digest, Sha256};

use crate::error::{Context, Error, Result};
use crate::model::hex;

/// The length of the metadata and `PAR1`.
const TAIL_BYTES: usize = 8;

/// Checks the footer of a file of `size_bytes` against its rows and returns its length with the page index; `suffix`
/// reads so many of the file's last bytes.
pub fn read_back(size_bytes: u64, rows: u64, suffix: impl Fn(u64) -> Result<Bytes>) -> Result<u32> {
    const FIRST_GUESS: u64 = 64 << 10;
    let mut end = suffix(FIRST_GUESS.min(size_bytes))?;
    let metadata_bytes = metadata_bytes(&end)?;
    if metadata_bytes + TAIL_BYTES > end.len() {
        end = suffix((metadata_bytes + TAIL_BYTES) as u64)?;
    }
    let metadata = decode(&end, rows)?;
    let start = page_index_start(&metadata).unwrap_or(size_bytes - (metadata_bytes + TAIL_BYTES) as u64);
    Ok((size_bytes - start) as u32)
}

/// The metadata at the end of these bytes, which must be those of a file with so many rows.
pub fn decode(end: &Bytes, rows: u64) -> Result<ParquetMetaData> {
    let metadata = metadata(end)?;
    if metadata.file_metadata().num_rows() as u64 != rows {
        return Err(corrupt()
            .hint(format!("{rows} rows were written, the footer counts {}", metadata.file_metadata().num_rows())));
    }
    Ok(metadata)
}

/// The metadata at the end of these bytes.
pub fn metadata(end: &Bytes) -> Result<ParquetMetaData> {
    let start = end.len().checked_sub(tail_bytes(end)?).ok_or_else(corrupt)?;
    ParquetMetaDataReader::decode_metadata(&end[start..end.len() - TAIL_BYTES]).context("decode the footer")
}

/// How many bytes of a file's end hold its metadata, from the last few.
pub fn tail_bytes(end: &Bytes) -> Result<usize> {
    Ok(metadata_bytes(end)? + TAIL_BYTES)
}

/// What a reader fetches from the end of a file of `size_bytes`: the page index, where there is one, and the metadata.
pub fn footer_bytes(metadata: &ParquetMetaData, size_bytes: u64, tail_bytes: usize) -> u64 {
    page_index_start(metadata).map_or(tail_bytes as u64, |start| size_bytes.saturating_sub(start))
}

/// The size of the file that this metadata ends: the last thing before it is what lies furthest back.
pub fn file_bytes(metadata: &ParquetMetaData, tail_bytes: usize) -> u64 {
    let end = |start: Option<i64>, length: Option<i32>| Some(start? as u64 + u64::from(length?.unsigned_abs()));
    let ends = metadata.row_groups().iter().flat_map(|group| group.columns()).flat_map(|column| {
        let (start, length) = column.byte_range();
        [
            Some(start + length),
            end(column.bloom_filter_offset(), column.bloom_filter_length()),
            end(column.column_index_offset(), column.column_index_length()),
            end(column.offset_index_offset(), column.offset_index_length()),
        ]
    });
    // Without any row the magic bytes are all there is.
    ends.flatten().max().unwrap_or(4) + tail_bytes as u64
}

fn metadata_bytes(end: &Bytes) -> Result<usize> {
    let tail = end.len().checked_sub(TAIL_BYTES).map(|at| &end[at..]).ok_or_else(corrupt)?;
    if &tail[4..] != b"PAR1" {
        return Err(corrupt());
    }
    Ok(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]) as usize)
}

fn corrupt() -> Error {
    Error::failed("the footer is not what was written").code("read-back")
}

fn page_index_start(metadata: &ParquetMetaData) -> Option<u64> {
    let columns = metadata.row_groups().iter().flat_map(|group| group.columns());
    columns.flat_map(|c| [c.column_index_offset(), c.offset_index_offset()]).flatten().min().map(|offset| offset as u64)
}

/// Hashes what is written through it.
pub struct Hashing<W> {
    inner: W,
    hasher: Sha256,
}

impl<W> Hashing<W> {
    pub fn new(inner: W) -> Self {
        Hashing { inner, hasher: Sha256::new() }
    }

    /// What was written to, and the SHA-256 of it as hex.
    pub fn finish(self) -> (W, String) {
        (self.inner, hex(&self.hasher.finalize()))
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
