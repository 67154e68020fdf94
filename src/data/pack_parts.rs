//! The parts of a pack, found without the catalog that says where they are.
//!
//! A part ends with a Parquet footer, which tells its own length, and begins with the list of cells, a small Parquet
//! file. So a pack is read from its end: each part tells where the one before it ends.

use bytes::{Bytes, BytesMut};
use parquet::file::metadata::ParquetMetaData;

use super::footer;
use super::pack::{CellRows, KEY, Replaced, decode_with_replaced};
use crate::error::{Context, Error, Result};
use crate::model::PackRef;
use crate::store::Store;

/// What is fetched at once; a part is rarely larger.
const WINDOW_BYTES: u64 = 8 << 20;

/// What a pack holds of one data file.
#[derive(Debug)]
pub struct Part {
    pub pack: PackRef,
    /// Of the data file; without the page index.
    pub metadata: ParquetMetaData,
    /// Of the data file.
    pub size_bytes: u64,
    /// In the order of the rows; empty of a file that is no bundle.
    pub cells: Vec<CellRows>,
    /// `None` where the pack does not say.
    pub replaces: Option<Replaced>,
}

/// Hands out the parts of a pack, the last one first.
pub async fn each(store: &Store, path: &str, size_bytes: u64, mut take: impl FnMut(Part) -> Result<()>) -> Result<()> {
    let mut window = Window { store, path, start: size_bytes, bytes: Bytes::new() };
    let mut end = size_bytes;
    while end > 0 {
        let (metadata, tail) = window.metadata_before(end).await?;
        let size_bytes = footer::file_bytes(&metadata, tail);
        let footer_bytes = footer::footer_bytes(&metadata, size_bytes, tail);
        let middle = end.checked_sub(footer_bytes).ok_or_else(corrupt)?;
        let mut start = middle;
        let (mut cells, mut replaces) = (Vec::new(), None);
        if middle > 0 {
            let (before, tail) = window.metadata_before(middle).await?;
            if has_key(&before, KEY) {
                start = middle.checked_sub(footer::file_bytes(&before, tail)).ok_or_else(corrupt)?;
                (cells, replaces) = decode_with_replaced(window.bytes(start, middle).await?)?;
            }
        }
        let length = |bytes: u64| u32::try_from(bytes).map_err(|_| corrupt());
        let pack = PackRef {
            path: path.to_owned(),
            offset: start,
            cells_bytes: length(middle - start)?,
            footer_bytes: length(footer_bytes)?,
        };
        take(Part { pack, metadata, size_bytes, cells, replaces })?;
        end = start;
    }
    Ok(())
}

/// The part at this place.
pub async fn read(store: &Store, pack: &PackRef) -> Result<Part> {
    let middle = pack.offset + u64::from(pack.cells_bytes);
    let bytes = store.get_range(&pack.path, pack.offset..middle + u64::from(pack.footer_bytes)).await?;
    let phrase = || format!("read pack {}", store.address(&pack.path));
    if bytes.len() as u64 != u64::from(pack.cells_bytes) + u64::from(pack.footer_bytes) {
        return Err(corrupt()).with_context(phrase);
    }
    let footer = bytes.slice(pack.cells_bytes as usize..);
    let tail = footer::tail_bytes(&footer).with_context(phrase)?;
    let metadata = footer::metadata(&footer).with_context(phrase)?;
    let (cells, replaces) = match pack.cells_bytes {
        0 => (Vec::new(), None),
        length => decode_with_replaced(bytes.slice(..length as usize)).with_context(phrase)?,
    };
    let size_bytes = footer::file_bytes(&metadata, tail);
    Ok(Part { pack: pack.clone(), metadata, size_bytes, cells, replaces })
}

/// Whether the file says something of itself under `key`.
fn has_key(metadata: &ParquetMetaData, key: &str) -> bool {
    let pairs = metadata.file_metadata().key_value_metadata();
    pairs.is_some_and(|pairs| pairs.iter().any(|pair| pair.key == key))
}

fn corrupt() -> Error {
    Error::failed("its parts do not lie one after another").code("corrupt-pack")
}

/// The bytes of a pack that were fetched last.
struct Window<'a> {
    store: &'a Store,
    path: &'a str,
    start: u64,
    bytes: Bytes,
}

impl Window<'_> {
    /// The metadata of the Parquet file whose last byte lies before `end`, and the length of its tail.
    async fn metadata_before(&mut self, end: u64) -> Result<(ParquetMetaData, usize)> {
        let last = self.bytes(end.checked_sub(8).ok_or_else(corrupt)?, end).await?;
        let tail = footer::tail_bytes(&last).context("read the end of a part")?;
        let start = end.checked_sub(tail as u64).ok_or_else(corrupt)?;
        let metadata = footer::metadata(&self.bytes(start, end).await?)?;
        Ok((metadata, tail))
    }

    async fn bytes(&mut self, start: u64, end: u64) -> Result<Bytes> {
        if start < self.start {
            let from = start.min(end.saturating_sub(WINDOW_BYTES));
            let more = self.store.get_range(self.path, from..self.start.min(end)).await?;
            if (more.len() as u64) < self.start.min(end) - from {
                return Err(Error::failed("it is shorter than the listing says").code("corrupt-pack"));
            }
            // What lies behind `end` is done with.
            let kept = self.bytes.slice(..(end.max(self.start) - self.start) as usize);
            let mut joined = BytesMut::with_capacity(more.len() + kept.len());
            joined.extend_from_slice(&more);
            joined.extend_from_slice(&kept);
            (self.start, self.bytes) = (from, joined.freeze());
        }
        let at = (start - self.start) as usize;
        Ok(self.bytes.slice(at..at + (end - start) as usize))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
    use parquet::arrow::ArrowWriter;

    use super::super::pack::{PackBuilder, Packed};
    use super::*;
    use crate::model::{Key, KeyRange, Partition, Schema};

    /// A small data file, and its end as a pack holds it.
    fn data_file(rows: usize) -> (Bytes, Bytes) {
        let schema = Schema::default().arrow();
        let ids: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|row| format!("id {row:09}"))));
        let ts: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter_values(0..rows as i64).with_timezone("UTC"));
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, schema.clone(), None).unwrap();
        writer.write(&RecordBatch::try_new(schema, vec![ids, ts]).unwrap()).unwrap();
        writer.close().unwrap();
        let bytes = Bytes::from(bytes);
        let suffix = |length: u64| Ok(bytes.slice(bytes.len() - length as usize..));
        let length = footer::read_back(bytes.len() as u64, rows as u64, suffix).unwrap() as usize;
        (bytes.clone(), bytes.slice(bytes.len() - length..))
    }

    fn cell_rows(tenant: &str, rows: u64) -> CellRows {
        let key = |text| Key::parse(text).unwrap();
        let cell = Partition { tenant_id: key(tenant), event_type: key("a b"), date: "2026-08-24".parse().unwrap() };
        CellRows { cell, first_row: 0, rows, ts: KeyRange { min: 0, max: rows as i64 - 1 } }
    }

    #[tokio::test]
    async fn every_part_is_found_where_the_catalog_would_say_it_is() {
        let store = Store::memory();
        let mut builder = PackBuilder::new("_tier/pack/p.pack".to_owned());
        let mut expected = Vec::new();
        for (number, rows) in [1, 70_000, 3, 40_000].into_iter().enumerate() {
            let (bytes, footer) = data_file(rows);
            let cells = if number % 2 == 0 { Vec::new() } else { vec![cell_rows("名前", rows as u64)] };
            let replaces: Vec<Vec<String>> = if number == 3 { vec![vec!["a".into(), "b".into()]] } else { Vec::new() };
            let pack = builder.add(&Packed { cells: cells.clone(), footer, replaces: replaces.clone() }).unwrap();
            expected.push((pack, bytes.len() as u64, rows as i64, cells, Some(replaces).filter(|r| !r.is_empty())));
        }
        builder.write(&store).await.unwrap();
        let size = store.stat("_tier/pack/p.pack").await.unwrap().unwrap().size_bytes;
        let mut found = Vec::new();
        let take = |part: Part| {
            let rows = part.metadata.file_metadata().num_rows();
            found.push((part.pack, part.size_bytes, rows, part.cells, part.replaces));
            Ok(())
        };
        each(&store, "_tier/pack/p.pack", size, take).await.unwrap();
        found.reverse();
        assert_eq!(found, expected);
        store.put("_tier/pack/q.pack", "no pack at all, but long enough").await.unwrap();
        assert!(each(&store, "_tier/pack/q.pack", 31, |_| Ok(())).await.is_err());
    }
}
