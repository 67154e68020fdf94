//! Sorted rows of one cell to Parquet files, read back before they count.
//!
//! # Cost
//! Half of an archive run. What was measured, on 3 million events of 1,000 cells: ids and texts that rarely repeat cost more
//! time *and* more bytes with a dictionary, so who repeats is looked at first; zstd at level 1 takes half the time of level
//! 3 and, on delta-encoded ids and times, fewer bytes, because what is left of them matches only by chance.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};
use foldhash::fast::RandomState;
use parquet::basic::Encoding;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{DEFAULT_MAX_ROW_GROUP_ROW_COUNT, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

use super::buffer::CHUNK_ROWS;
use super::encoder::Encoder;
use super::footer::{self, Hashing};
use super::row::Row;
use super::turns::Turn;
use super::typed::Typed;
use crate::catalog::{FileAudit, NewFile};
use crate::error::{Context, Error, Result};
use crate::model::{DataFile, KeyRange, Partition, StorageClass};
use crate::store::{Layout, ObjectWriter, Store};

/// A file of a cell grows to about this size; DESIGN allows 1 GiB, so that no S3 copy limit ever matters.
const MAX_FILE_BYTES: usize = 512 << 20;

/// A row group is closed when its encoded pages take this much memory.
pub const MAX_ROW_GROUP_BYTES: usize = 32 << 20;

/// Of fewer rows than this the ids are one request, as a filter of them would be; a small file is read whole in any case,
/// and a filter would be 4% of it.
pub const WORTH_A_FILTER: u64 = 20_000;

/// Ids wrongly thought present, of those looked for in a row group.
pub const BLOOM_FALSE_POSITIVES: f64 = 0.01;

/// What a cell's file says of itself, as JSON in its footer.
pub const CELL_KEY: &str = "tier.cell";

/// Where the files of a run go.
pub struct Target<'a> {
    pub store: &'a Store,
    pub layout: &'a Layout,
    pub runtime: tokio::runtime::Handle,
    /// Numbers the run's files.
    pub next_file: &'a AtomicUsize,
    /// The version whose schema, with this run's new columns, the files have.
    pub schema_id: u32,
}

/// How a cell's file came to be, for a rebuild of the catalog: it tells whether two files can share an event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Origin<'a> {
    /// Names of the files whose events it holds.
    pub replaces: &'a [&'a str],
    /// Names of the files that its events were compared with, and that have none of them: of each part that it was made
    /// of a list. Where one is empty nothing is known of the whole.
    pub beside: &'a [Vec<String>],
}

/// More are not worth their bytes in every footer.
const MAX_BESIDE: usize = 64;

/// Writes the files of one cell.
pub struct CellWriter<'a> {
    cell: &'a Partition,
    beside: Vec<String>,
    typed: &'a Typed,
    target: &'a Target<'a>,
    /// About how many rows there will be.
    rows: u64,
    turn: Option<&'a Turn<'a>>,
    open: Option<OpenFile>,
    files: Vec<NewFile>,
}

struct OpenFile {
    writer: Encoder<Hashing<ObjectWriter>>,
    path: String,
    rows: u64,
    ts: KeyRange<i64>,
    ids: KeyRange<String>,
}

impl<'a> CellWriter<'a> {
    /// `rows` is about how many there will be.
    pub fn new(cell: &'a Partition, typed: &'a Typed, rows: u64, target: &'a Target<'a>) -> Self {
        CellWriter { cell, beside: Vec::new(), typed, target, rows, turn: None, open: None, files: Vec::new() }
    }

    /// Lets another thread work while the store has a file.
    pub fn pausing(self, turn: &'a Turn<'a>) -> Self {
        CellWriter { turn: Some(turn), ..self }
    }

    /// What is written was compared with these files, and none of it is there.
    pub fn beside(mut self, paths: impl Iterator<Item = &'a str>) -> Self {
        self.beside = paths.filter_map(Layout::name).map(str::to_owned).collect();
        self
    }

    /// Writes rows that follow the earlier ones in (ts, event_id) order.
    pub fn write(&mut self, rows: &[Row<'_>]) -> Result<()> {
        for chunk in rows.chunks(CHUNK_ROWS) {
            let chunk = self.typed.gather(chunk.iter().copied())?;
            self.write_chunk(&chunk).with_context(|| format!("write the cell {}", self.cell))?;
        }
        Ok(())
    }

    fn write_chunk(&mut self, chunk: &RecordBatch) -> Result<()> {
        let Some((chunk_ts, chunk_ids)) = bounds(chunk) else { return Ok(()) };
        let file = match &mut self.open {
            Some(file) => {
                file.ts.extend(&chunk_ts);
                file.ids.extend(&chunk_ids);
                file
            }
            none => {
                none.insert(open_file(self.cell, &self.beside, chunk, self.rows, self.target, chunk_ts, chunk_ids)?)
            }
        };
        file.rows += chunk.num_rows() as u64;
        file.writer.write(chunk).context("encode events")?;
        if file.writer.in_progress_size() >= MAX_ROW_GROUP_BYTES {
            file.writer.flush().context("encode events")?;
        }
        if file.writer.bytes_written() >= MAX_FILE_BYTES {
            self.close()?;
        }
        Ok(())
    }

    /// Completes the last file; all of them are visible on the store and read back.
    pub fn finish(mut self) -> Result<Vec<NewFile>> {
        self.close()?;
        Ok(self.files)
    }

    fn close(&mut self) -> Result<()> {
        let Some(file) = self.open.take() else { return Ok(()) };
        let (object, sha256) = file.writer.into_inner().context("encode events")?.finish();
        let store = || {
            let size_bytes = object.finish()?;
            let footer_bytes = read_back(self.target, &file.path, size_bytes, file.rows)
                .with_context(|| format!("read back {}", self.target.store.address(&file.path)))?;
            Ok::<_, Error>((size_bytes, footer_bytes))
        };
        let (size_bytes, footer_bytes) = match self.turn {
            Some(turn) => turn.pause(store),
            None => store(),
        }?;
        self.files.push(NewFile {
            file: DataFile {
                path: file.path,
                tenants: KeyRange::one(self.cell.tenant_id.as_str()).to_text(),
                event_types: KeyRange::one(self.cell.event_type.as_str()).to_text(),
                dates: KeyRange::one(self.cell.date),
                ts: file.ts,
                rows: file.rows,
                size_bytes,
                footer_bytes,
                schema_id: self.target.schema_id,
                storage_class: StorageClass::Standard,
                class_since: None,
                pack: None,
            },
            audit: FileAudit { sha256, min_event_id: file.ids.min, max_event_id: file.ids.max },
        });
        Ok(())
    }
}

/// The times and ids of a file's rows that are in (ts, event_id) order; `None` where there are none.
pub(super) fn bounds(rows: &RecordBatch) -> Option<(KeyRange<i64>, KeyRange<String>)> {
    let ids = rows.column(0).as_string::<i32>();
    let times = rows.column(1).as_primitive::<TimestampMicrosecondType>().values();
    let ts = KeyRange { min: *times.first()?, max: *times.last()? };
    let id = |row: usize| ids.value(row);
    let (min, max) = (0..ids.len()).map(id).fold((id(0), id(0)), |(low, high), id| (low.min(id), high.max(id)));
    Some((ts, KeyRange { min: min.to_owned(), max: max.to_owned() }))
}

fn open_file(
    cell: &Partition,
    beside: &Vec<String>,
    first: &RecordBatch,
    rows: u64,
    target: &Target<'_>,
    ts: KeyRange<i64>,
    ids: KeyRange<String>,
) -> Result<OpenFile> {
    let number = target.next_file.fetch_add(1, Ordering::Relaxed);
    let path = target.layout.data_file(cell, number);
    let origin = Origin { replaces: &[], beside: std::slice::from_ref(beside) };
    let sink = Hashing::new(target.store.writer(&path, target.runtime.clone()));
    let properties = properties(cell, &path, origin, first, rows);
    let writer = Encoder::new(sink, first.schema(), properties, rows).context("encode events")?;
    Ok(OpenFile { writer, path, rows: 0, ts, ids })
}

/// `first` are the first of about `rows` rows.
pub(super) fn properties(
    cell: &Partition,
    path: &str,
    origin: Origin<'_>,
    first: &RecordBatch,
    rows: u64,
) -> WriterProperties {
    let ascending = |column_idx| SortingColumn { column_idx, descending: false, nulls_first: false };
    // The path names the cell too; the copy inside lets a catalog be rebuilt from files that were moved, or of which only
    // the footer can be read.
    let mut keys = serde_json::json!({
        "date": cell.date.to_string(), "event_type": cell.event_type.as_str(), "tenant_id": cell.tenant_id.as_str(),
        "file": Layout::name(path),
    });
    if !origin.replaces.is_empty() {
        keys["replaces"] = origin.replaces.into();
    }
    let is_known = !origin.beside.is_empty() && origin.beside.iter().all(|names| !names.is_empty());
    if is_known && origin.beside.iter().map(Vec::len).sum::<usize>() <= MAX_BESIDE {
        keys["beside"] = origin.beside.into();
    }
    let mut builder = WriterProperties::builder();
    if rows >= WORTH_A_FILTER {
        let event_id = || ColumnPath::from("event_id");
        builder = builder
            .set_column_bloom_filter_enabled(event_id(), true)
            .set_column_bloom_filter_fpp(event_id(), BLOOM_FALSE_POSITIVES)
            // The filter begins at the size for so many and is folded to that for those that there are.
            .set_column_bloom_filter_max_ndv(event_id(), rows.min(DEFAULT_MAX_ROW_GROUP_ROW_COUNT as u64));
    }
    encodings(builder, first)
        .set_sorting_columns(Some(vec![ascending(1), ascending(0)]))
        .set_key_value_metadata(Some(vec![KeyValue::new(CELL_KEY.to_owned(), keys.to_string())]))
        .build()
}

/// How many of a column's first values are looked at.
const SAMPLE_ROWS: usize = 1024;

/// A dictionary pays where the values of a sample come so often on average. The number of a value takes a byte or two:
/// less than a text at once, less than what is left of a number after delta encoding only if there are few.
const TEXT_REPEATS: usize = 2;
const NUMBER_REPEATS: usize = 16;

/// Chooses each column's encoding from its first rows.
pub(super) fn encodings(builder: WriterPropertiesBuilder, first: &RecordBatch) -> WriterPropertiesBuilder {
    let schema = first.schema();
    schema.fields().iter().zip(first.columns()).fold(builder, |builder, (field, values)| {
        let column = ColumnPath::from(field.name().as_str());
        let (encoding, repeats) = match field.data_type() {
            // Ids that begin with their time share that with the id before them.
            _ if field.name() == "event_id" => (Encoding::DELTA_BYTE_ARRAY, None),
            DataType::Timestamp(..) => (Encoding::DELTA_BINARY_PACKED, None),
            DataType::Int64 => (Encoding::DELTA_BINARY_PACKED, Some(NUMBER_REPEATS)),
            DataType::Utf8 => (Encoding::DELTA_LENGTH_BYTE_ARRAY, Some(TEXT_REPEATS)),
            DataType::Float64 => (Encoding::PLAIN, Some(NUMBER_REPEATS)),
            _ => return builder,
        };
        if repeats.is_some_and(|repeats| do_repeat(values, repeats)) {
            return builder;
        }
        builder.set_column_dictionary_enabled(column.clone(), false).set_column_encoding(column, encoding)
    })
}

/// Whether the first values come at least so often on average.
fn do_repeat(values: &ArrayRef, repeats: usize) -> bool {
    let sample = values.slice(0, values.len().min(SAMPLE_ROWS));
    let most = (sample.len() - sample.null_count()) / repeats;
    match sample.data_type() {
        DataType::Utf8 => are_at_most(most, sample.as_string::<i32>().iter().flatten()),
        DataType::Int64 => are_at_most(most, sample.as_primitive::<Int64Type>().iter().flatten()),
        DataType::Float64 => are_at_most(most, sample.as_primitive::<Float64Type>().iter().flatten().map(f64::to_bits)),
        _ => false,
    }
}

/// Whether no more than so many of the values differ.
fn are_at_most<T: Eq + Hash>(most: usize, mut values: impl Iterator<Item = T>) -> bool {
    let mut distinct = HashSet::with_capacity_and_hasher(most + 1, RandomState::default());
    values.all(|value| {
        distinct.insert(value);
        distinct.len() <= most
    })
}

/// Reads the footer from the store and checks it against what was written; returns its length with the page index.
fn read_back(target: &Target<'_>, path: &str, size_bytes: u64, rows: u64) -> Result<u32> {
    footer::read_back(size_bytes, rows, |length| {
        target.store.block_on(&target.runtime, target.store.get_suffix(path, size_bytes, length))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Key, Schema};

    fn properties_of(first: &RecordBatch, rows: u64) -> WriterProperties {
        let key = |text| Key::parse(text).unwrap();
        let cell = Partition {
            tenant_id: key("acme"),
            event_type: key("login"),
            date: jiff::civil::Date::constant(2026, 8, 24),
        };
        properties(&cell, "events/1.parquet", Origin::default(), first, rows)
    }

    #[test]
    fn ids_have_a_filter_only_where_it_saves_something() {
        let first = RecordBatch::new_empty(Schema::default().arrow());
        let has_filter =
            |rows| properties_of(&first, rows).bloom_filter_properties(&ColumnPath::from("event_id")).is_some();
        assert_eq!([0, WORTH_A_FILTER - 1, WORTH_A_FILTER, u64::MAX].map(has_filter), [false, false, true, true]);
    }
}
