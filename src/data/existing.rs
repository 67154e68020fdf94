//! Which new rows the archive already holds in the same cell, read from its files.
//!
//! # Cost
//! Per file one request for the footer, unless it lies in a pack; for the row groups whose bloom filter cannot exclude
//! every new id one for the ids; rows are read whole only where an id is found. Of a bundle only the cell's rows are
//! looked at. A file that cannot be read now costs nothing: its packed footer excludes what it can.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, RecordBatchReader};
use foldhash::fast::RandomState;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::file::metadata::PageIndexPolicy;

use super::encode::{Target, WORTH_A_FILTER};
use super::footers::Footers;
use super::id_bounds::IdBounds;
use super::range_reader::RangeReader;
use super::typed::{Same, Typed};
use crate::error::{Context, Result};
use crate::model::{DataFile, Schema};

/// Below this a file of the cell is fetched whole: one request costs more than its bytes.
const FETCH_WHOLE_BYTES: u64 = 4 << 20;

/// Rows by their event ids.
pub type RowsById<'a> = HashMap<&'a str, u32, RandomState>;

/// What the archive holds under a new row's identity.
#[derive(Debug, Clone)]
pub enum Found {
    Same,
    Different,
    /// Perhaps something: this file cannot be read now, and its statistics do not exclude the id.
    Undecided(Arc<DataFile>),
}

/// A file of the archive that holds rows of a cell.
#[derive(Debug, Clone)]
pub struct ExistingFile {
    pub file: Arc<DataFile>,
    /// Positions of the cell's rows: all of them, unless the file is a bundle.
    pub rows: Range<u64>,
    /// It is not archived, or restored.
    pub is_readable: bool,
}

/// The files that new rows of a cell are compared with.
pub struct Existing<'a> {
    pub files: &'a [ExistingFile],
    pub schema: &'a Schema,
    pub target: &'a Target<'a>,
    pub footers: &'a Footers,
}

impl Existing<'_> {
    /// The rows among `firsts` (id to row of `rows`) whose identity the archive has, or may have.
    pub fn find(&self, rows: &RecordBatch, firsts: &RowsById<'_>) -> Result<Vec<(u32, Found)>> {
        let mut found = Vec::new();
        let mut settled: HashSet<u32> = HashSet::new();
        for existing in self.files.iter().filter(|existing| existing.is_readable) {
            let phrase = || format!("look for duplicates in {}", self.target.store.address(&existing.file.path));
            let source = StoredFile::open(self.target, existing, self.footers).with_context(phrase)?;
            let matches = source.rows_with(firsts).with_context(phrase)?;
            if matches.is_empty() {
                continue;
            }
            let stored = source.read(&matches, self.schema).with_context(phrase)?;
            let same = Same::new(rows, &stored)?;
            let ids = stored.column(0).as_string::<i32>();
            for position in 0..stored.num_rows() {
                let row = firsts[ids.value(position)];
                if settled.insert(row) {
                    let is_same = same.rows(row as usize, position);
                    found.push((row, if is_same { Found::Same } else { Found::Different }));
                }
            }
        }
        for existing in self.files.iter().filter(|existing| !existing.is_readable) {
            let footer = self.footers.get(self.target, &existing.file)?;
            let bounds = footer.map(|footer| IdBounds::of(&footer, &existing.rows));
            for (id, &row) in firsts {
                if bounds.as_ref().is_none_or(|bounds| bounds.may_hold(id)) && settled.insert(row) {
                    found.push((row, Found::Undecided(existing.file.clone())));
                }
            }
        }
        Ok(found)
    }
}

struct StoredFile {
    reader: RangeReader,
    metadata: ArrowReaderMetadata,
    /// Of the cell.
    rows: Range<u64>,
}

impl StoredFile {
    fn open(target: &Target<'_>, existing: &ExistingFile, footers: &Footers) -> Result<Self> {
        let ExistingFile { file, rows, .. } = existing;
        let mut reader = RangeReader::new(target, file);
        // Of a bundle each cell needs little.
        if file.size_bytes <= FETCH_WHOLE_BYTES && !file.is_bundle() {
            reader = reader.fetch_whole()?;
        }
        let options =
            ArrowReaderOptions::new().with_skip_arrow_metadata(true).with_page_index_policy(PageIndexPolicy::Optional);
        let metadata = match footers.get(target, file)? {
            Some(footer) => ArrowReaderMetadata::try_new(footer, options),
            None => ArrowReaderMetadata::load(&reader, options),
        };
        Ok(StoredFile { reader, metadata: metadata.context("read the footer")?, rows: rows.clone() })
    }

    /// Positions of the cell's rows whose id is among the new ones, ascending.
    fn rows_with(&self, firsts: &RowsById<'_>) -> Result<Vec<u64>> {
        let mut matches = Vec::new();
        let id_column = self.metadata.schema().index_of("event_id").context("find the id column")?;
        for (group, all) in self.row_groups() {
            let wanted = all.start.max(self.rows.start)..all.end.min(self.rows.end);
            let builder = self.builder();
            if wanted == all || wanted.end - wanted.start >= WORTH_A_FILTER {
                let filter = builder.get_row_group_column_bloom_filter(group, id_column);
                let filter = filter.context("read a bloom filter")?;
                if filter.is_some_and(|filter| !firsts.keys().any(|id| filter.check(*id))) {
                    continue;
                }
            }
            let mask = ProjectionMask::roots(builder.parquet_schema(), [id_column]);
            let within = wanted.start - all.start..wanted.end - all.start;
            let inside = select(std::slice::from_ref(&within), all.end - all.start);
            let reader = builder.with_row_groups(vec![group]).with_projection(mask).with_row_selection(inside).build();
            let mut position = wanted.start;
            for batch in reader.context("read the ids")? {
                let batch = batch.context("read the ids")?;
                let ids = batch.column(0).as_string::<i32>();
                matches.extend(
                    (position..)
                        .zip(ids.iter())
                        .filter_map(|(position, id)| firsts.contains_key(id.unwrap_or_default()).then_some(position)),
                );
                position += batch.num_rows() as u64;
            }
        }
        Ok(matches)
    }

    /// The rows at these positions, with the columns of a cell.
    fn read(&self, positions: &[u64], schema: &Schema) -> Result<RecordBatch> {
        let (mut groups, mut wanted, mut rows) = (Vec::new(), Vec::new(), 0);
        for (group, all) in self.row_groups() {
            let inside = positions.iter().filter(|position| all.contains(position));
            let before = wanted.len();
            wanted.extend(inside.map(|position| rows + position - all.start..rows + position - all.start + 1));
            if wanted.len() > before {
                groups.push(group);
                rows += all.end - all.start;
            }
        }
        let selected = select(&wanted, rows);
        let reader = self.builder().with_row_groups(groups).with_row_selection(selected).build();
        let reader = reader.context("read the rows")?;
        let stored_schema = reader.schema();
        let batches = reader.collect::<Result<Vec<_>, _>>().context("read the rows")?;
        let rows = arrow::compute::concat_batches(&stored_schema, &batches).context("read the rows")?;
        Typed::new(schema).complete(&rows)
    }

    /// The row groups that hold rows of the cell, each with the positions of all its rows.
    fn row_groups(&self) -> Vec<(usize, Range<u64>)> {
        let mut groups = Vec::new();
        let mut start = 0;
        for (group, metadata) in self.metadata.metadata().row_groups().iter().enumerate() {
            let all = start..start + metadata.num_rows() as u64;
            start = all.end;
            if all.start < self.rows.end && self.rows.start < all.end {
                groups.push((group, all));
            }
        }
        groups
    }

    fn builder(&self) -> ParquetRecordBatchReaderBuilder<RangeReader> {
        ParquetRecordBatchReaderBuilder::new_with_metadata(self.reader.clone(), self.metadata.clone())
    }
}

/// Of so many rows those in the ranges, which ascend.
fn select(ranges: &[Range<u64>], rows: u64) -> RowSelection {
    RowSelection::from_consecutive_ranges(ranges.iter().map(|r| r.start as usize..r.end as usize), rows as usize)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use arrow::array::{ArrayRef, StringArray, TimestampMicrosecondArray};
    use bytes::Bytes;
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;

    use super::super::pack::{PackBuilder, Packed};
    use super::*;
    use crate::model::{KeyRange, StorageClass};
    use crate::store::{Layout, Store};

    const ROWS: u64 = 50;

    /// A file of ids `000`, `002`, … in row groups of 10 and pages of 4.
    fn parquet() -> Bytes {
        let schema = Schema::default().arrow();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values((0..ROWS).map(|row| format!("{:03}", 2 * row)))),
            Arc::new(TimestampMicrosecondArray::from_iter_values(0..ROWS as i64).with_timezone("UTC")),
        ];
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(10))
            .set_data_page_row_count_limit(4)
            .set_write_batch_size(4)
            .set_column_bloom_filter_enabled("event_id".into(), true)
            .build();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, schema.clone(), Some(properties)).unwrap();
        writer.write(&RecordBatch::try_new(schema, columns).unwrap()).unwrap();
        writer.close().unwrap();
        bytes.into()
    }

    /// With a pack that holds the whole file as its footer.
    fn with_file(check: impl FnOnce(&Target<'_>, &DataFile)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let (store, layout) = (Store::memory(), Layout::for_run(0, "0123456789abcdef"));
        let bytes = parquet();
        let mut pack = PackBuilder::new(layout.pack(0));
        let part = pack.add(&Packed { cells: Vec::new(), footer: bytes.clone(), replaces: Vec::new() }).unwrap();
        let file = DataFile {
            path: "_bundles/month=2026-08/bucket=0000/1.parquet".to_owned(),
            tenants: KeyRange::one("acme").to_text(),
            event_types: KeyRange::one("login").to_text(),
            dates: KeyRange::one("2026-08-24".parse().unwrap()),
            ts: KeyRange { min: 0, max: ROWS as i64 - 1 },
            rows: ROWS,
            size_bytes: bytes.len() as u64,
            footer_bytes: bytes.len() as u32,
            schema_id: 1,
            storage_class: StorageClass::Standard,
            class_since: None,
            pack: Some(part),
        };
        runtime.block_on(store.put(&file.path, bytes)).unwrap();
        runtime.block_on(pack.write(&store)).unwrap();
        let next_file = &AtomicUsize::new(0);
        let target =
            Target { store: &store, layout: &layout, runtime: runtime.handle().clone(), next_file, schema_id: 1 };
        check(&target, &file);
    }

    fn each_range() -> impl Iterator<Item = Range<u64>> {
        (0..ROWS).flat_map(|start| (start + 1..=ROWS).map(move |end| start..end))
    }

    #[test]
    fn of_a_bundle_just_the_rows_of_the_cell_are_found_and_read() {
        with_file(|target, file| {
            let ids: Vec<String> = (0..2 * ROWS).map(|id| format!("{id:03}")).collect();
            let firsts: RowsById<'_> = (0..).zip(&ids).map(|(row, id)| (id.as_str(), row)).collect();
            for pack in [file.pack.clone(), None] {
                let file = Arc::new(DataFile { pack, ..file.clone() });
                let footers = Footers::default();
                for rows in each_range().step_by(7) {
                    let existing = ExistingFile { file: file.clone(), rows: rows.clone(), is_readable: true };
                    let stored = StoredFile::open(target, &existing, &footers).unwrap();
                    let found = stored.rows_with(&firsts).unwrap();
                    assert_eq!(found, rows.clone().collect::<Vec<_>>());
                    let some: Vec<u64> = found.into_iter().filter(|row| row % 3 == 0).collect();
                    if some.is_empty() {
                        continue;
                    }
                    let read = stored.read(&some, &Schema::default()).unwrap();
                    let read: Vec<_> = read.column(0).as_string::<i32>().iter().flatten().collect();
                    assert_eq!(read, some.iter().map(|row| format!("{:03}", 2 * row)).collect::<Vec<_>>());
                }
            }
        });
    }

    #[test]
    fn a_footer_excludes_ids_and_never_one_that_is_there() {
        with_file(|target, file| {
            let footer = Footers::default().get(target, file).unwrap().unwrap();
            for rows in each_range() {
                let bounds = IdBounds::of(&footer, &rows);
                for id in 0..2 * ROWS {
                    // The ids of each page are a range; pages end every 4 rows of a row group of 10.
                    let may = bounds.may_hold(&format!("{id:03}"));
                    let row = id / 2;
                    if rows.contains(&row) && id % 2 == 0 {
                        assert!(may, "{id} in {rows:?}");
                    }
                    if row + 4 < rows.start || row > rows.end + 4 {
                        assert!(!may, "{id} in {rows:?}");
                    }
                }
            }
        });
    }
}
