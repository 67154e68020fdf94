//! One data file, decoded, against what the catalog says of it.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{Date32Type, TimestampMicrosecondType};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::ChunkReader;

use crate::catalog::FileAudit;
use crate::data::footer;
use crate::data::pack::{CellRows, Packed};
use crate::error::{Context, Error, Result};
use crate::model::{DataFile, KeyRange, Partition, Schema, days_of_date};

const BATCH_ROWS: usize = 8192;

/// The error code of a file that is as it should be and whose pack is not.
pub const BAD_PACK: &str = "corrupt-pack";

/// Takes the ids of a run of rows of one cell.
pub type IdSink = Arc<dyn Fn(&Partition, &StringArray) -> Result<()> + Send + Sync>;

/// What a file is read for.
pub struct Expected {
    pub file: DataFile,
    /// Where all of the file is checked; without it only the ids are read.
    pub audit: Option<FileAudit>,
    /// Of a bundle its pack's; of a cell's file the one.
    pub cells: Vec<CellRows>,
    /// The file's end as its pack has it.
    pub footer: Option<Bytes>,
    pub schema: Schema,
    pub ids: Option<IdSink>,
}

impl Expected {
    pub fn new(
        file: DataFile,
        audit: Option<FileAudit>,
        packed: Option<Packed>,
        schema: Schema,
        ids: Option<IdSink>,
    ) -> Result<Self> {
        let (cells, footer) = packed.map_or((Vec::new(), None), |packed| (packed.cells, Some(packed.footer)));
        let cells = match file.partition() {
            Some(cell) => vec![CellRows { cell, first_row: 0, rows: file.rows, ts: file.ts.clone() }],
            None if cells.is_empty() => return Err(Error::failed("the catalog has no list of its cells")),
            None => cells,
        };
        Ok(Expected { file, audit, cells, footer, schema, ids })
    }

    /// Reads the file; an error says what is not as expected.
    pub fn examine<R: ChunkReader + 'static>(&self, reader: R) -> Result<()> {
        if self.audit.is_some() {
            self.examine_footer(&reader)?;
        }
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(reader, options);
        let mut builder = builder.context("read its footer")?.with_batch_size(BATCH_ROWS);
        if self.audit.is_some() {
            self.examine_columns(builder.metadata(), builder.schema())?;
        } else {
            let id = builder.schema().index_of("event_id").context("find the id column")?;
            let only_ids = ProjectionMask::roots(builder.parquet_schema(), [id]);
            builder = builder.with_projection(only_ids);
        }
        let mut walk = Walk::new(self);
        for rows in builder.build().context("decode it")? {
            walk.take(&rows.context("decode it")?)?;
        }
        walk.finish()
    }

    fn examine_footer<R: ChunkReader>(&self, reader: &R) -> Result<()> {
        let DataFile { size_bytes, footer_bytes, rows, .. } = self.file;
        let length = u64::from(footer_bytes);
        let start =
            size_bytes.checked_sub(length).ok_or_else(|| Error::failed("its footer is larger than the file"))?;
        let end = reader.get_bytes(start, footer_bytes as usize).context("read its footer")?;
        footer::decode(&end, rows).context("decode its footer")?;
        match &self.footer {
            Some(packed) if *packed != end => {
                Err(Error::failed(format!("it holds another footer than {}", self.file.path)).code(BAD_PACK))
            }
            _ => Ok(()),
        }
    }

    /// Every column is one of the archive's, of its type and id; and the file says itself which cell it belongs to.
    fn examine_columns(&self, metadata: &ParquetMetaData, arrow: &arrow::datatypes::SchemaRef) -> Result<()> {
        let descriptor = metadata.file_metadata().schema_descr();
        let keys = if self.file.is_bundle() { KEY_COLUMNS } else { 0 };
        for (index, field) in arrow.fields().iter().enumerate().skip(keys) {
            let name = field.name();
            let known = self.schema.column(name).filter(|column| column.name == *name);
            let known = known.ok_or_else(|| Error::failed(format!("the archive has no column `{name}`")))?;
            let info = descriptor.column(index).self_type().get_basic_info().clone();
            if info.has_id() && info.id() != known.id {
                return Err(Error::failed(format!("column `{name}` has the field id {}, not {}", info.id(), known.id)));
            }
            if *field.data_type() != known.column_type.arrow() {
                return Err(Error::failed(format!("column `{name}` is no {}", known.column_type)));
            }
        }
        let pairs = metadata.file_metadata().key_value_metadata();
        let said = pairs.and_then(|pairs| pairs.iter().find(|pair| pair.key == "tier.cell")?.value.as_deref());
        let (Some(said), Some(cell)) = (said, self.file.partition()) else { return Ok(()) };
        let said: serde_json::Value = serde_json::from_str(said).context("read the cell that it names")?;
        let is_said = |name: &str, value: &str| said[name].as_str() == Some(value);
        let is_same = is_said("date", &cell.date.to_string())
            && is_said("event_type", cell.event_type.as_str())
            && is_said("tenant_id", cell.tenant_id.as_str());
        if is_same {
            Ok(())
        } else {
            Err(Error::failed(format!("it says itself that it belongs to another cell: {said}")))
        }
    }
}

/// In front of the other columns of a bundle.
const KEY_COLUMNS: usize = 3;

/// What a pack says of a file, by itself.
pub fn examine_pack(file: &DataFile, packed: &Packed) -> Result<()> {
    footer::decode(&packed.footer, file.rows).context("decode the footer in it")?;
    if !file.is_bundle() {
        return Ok(());
    }
    let mut next_row = 0;
    let mut ts: Option<KeyRange<i64>> = None;
    for run in &packed.cells {
        if run.first_row != next_row || run.rows == 0 {
            return Err(Error::failed("the cells in it are not one after another"));
        }
        if !file.covers(&run.cell) {
            return Err(Error::failed(format!("{} in it is no cell of {}", run.cell, file.path)));
        }
        next_row += run.rows;
        match &mut ts {
            Some(ts) => ts.extend(&run.ts),
            None => ts = Some(run.ts.clone()),
        }
    }
    if next_row != file.rows || ts.as_ref() != Some(&file.ts) {
        return Err(Error::failed(format!("the cells in it are not the rows of {}", file.path)));
    }
    Ok(())
}

/// Goes through the rows, cell by cell.
struct Walk<'a> {
    expected: &'a Expected,
    /// The cell at hand and how many of its rows are still to come.
    cell: usize,
    missing: u64,
    first_ts: i64,
    last: Option<(i64, String)>,
    ids: Option<KeyRange<String>>,
}

impl<'a> Walk<'a> {
    fn new(expected: &'a Expected) -> Self {
        let missing = expected.cells[0].rows;
        Walk { expected, cell: 0, missing, first_ts: 0, last: None, ids: None }
    }

    fn take(&mut self, rows: &RecordBatch) -> Result<()> {
        let mut start = 0;
        while start < rows.num_rows() {
            if self.missing == 0 {
                self.end_cell()?;
                self.cell += 1;
                let next = self.expected.cells.get(self.cell);
                self.missing = next.ok_or_else(|| Error::failed("it has more rows than the catalog says"))?.rows;
            }
            let length = self.missing.min((rows.num_rows() - start) as u64) as usize;
            self.check(&rows.slice(start, length))?;
            start += length;
            self.missing -= length as u64;
        }
        Ok(())
    }

    fn check(&mut self, rows: &RecordBatch) -> Result<()> {
        let run = &self.expected.cells[self.cell];
        let ids = column(rows, "event_id")?.as_string_opt::<i32>();
        let ids = ids.filter(|ids| ids.null_count() == 0).ok_or_else(|| Error::failed("an event has no id"))?;
        if let Some(sink) = &self.expected.ids {
            sink(&run.cell, ids)?;
        }
        if self.expected.audit.is_none() {
            return Ok(());
        }
        if self.expected.file.is_bundle() {
            same_keys(rows, &run.cell)?;
        }
        let times = column(rows, "ts")?.as_primitive_opt::<TimestampMicrosecondType>();
        let times =
            times.filter(|times| times.null_count() == 0).ok_or_else(|| Error::failed("an event has no time"))?;
        let mut last = self.last.as_ref().map(|(ts, id)| (*ts, id.as_str()));
        let (mut min, mut max) = (ids.value(0), ids.value(0));
        for (id, ts) in ids.iter().flatten().zip(times.values()) {
            if last.is_some_and(|last| last > (*ts, id)) {
                return Err(Error::failed(format!("rows of {} are out of order", run.cell)));
            }
            last = Some((*ts, id));
            (min, max) = (min.min(id), max.max(id));
        }
        let ids = KeyRange { min: min.to_owned(), max: max.to_owned() };
        if self.last.is_none() {
            self.first_ts = times.value(0);
        }
        self.last = last.map(|(ts, id)| (ts, id.to_owned()));
        match &mut self.ids {
            Some(known) => known.extend(&ids),
            None => self.ids = Some(ids),
        }
        Ok(())
    }

    fn end_cell(&mut self) -> Result<()> {
        let run = &self.expected.cells[self.cell];
        let last = self.last.take();
        if self.expected.audit.is_none() {
            return Ok(());
        }
        let is_same = last.is_some_and(|(last, _)| KeyRange { min: self.first_ts, max: last } == run.ts);
        if is_same {
            Ok(())
        } else {
            Err(Error::failed(format!("rows of {} have other times than the catalog says", run.cell)))
        }
    }

    fn finish(mut self) -> Result<()> {
        if self.missing > 0 || self.cell + 1 < self.expected.cells.len() {
            return Err(Error::failed("it has fewer rows than the catalog says"));
        }
        self.end_cell()?;
        let Some(audit) = &self.expected.audit else { return Ok(()) };
        let said = KeyRange { min: audit.min_event_id.clone(), max: audit.max_event_id.clone() };
        // A rebuilt catalog does not know them of a file whose ids are long.
        let is_unknown = said.min.is_empty() && said.max.is_empty();
        if is_unknown || self.ids == Some(said) {
            Ok(())
        } else {
            Err(Error::failed("its event ids are not those the audit says"))
        }
    }
}

fn column<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a arrow::array::ArrayRef> {
    rows.column_by_name(name).ok_or_else(|| Error::failed(format!("it has no column `{name}`")))
}

fn same_keys(rows: &RecordBatch, cell: &Partition) -> Result<()> {
    let [date, tenant, event_type] = ["date", "tenant_id", "event_type"].map(|name| column(rows, name));
    let dates = date?.as_primitive_opt::<Date32Type>();
    let (tenants, types) = (tenant?.as_string_opt::<i32>(), event_type?.as_string_opt::<i32>());
    let (Some(dates), Some(tenants), Some(types)) = (dates, tenants, types) else {
        return Err(Error::failed("its key columns have other types"));
    };
    let is_same = dates.values().iter().all(|date| *date == days_of_date(cell.date))
        && tenants.iter().all(|tenant| tenant == Some(cell.tenant_id.as_str()))
        && types.iter().all(|event_type| event_type == Some(cell.event_type.as_str()));
    if is_same { Ok(()) } else { Err(Error::failed(format!("rows of another cell lie in {cell}"))) }
}
