//! Decodes a bundle again and compares it with what was read from its sources.

use std::fs::File;
use std::path::Path;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use super::super::pack::CellRows;
use super::KEYS;
use super::digest::{RowDigest, RowDigests};
use crate::error::{Context, Error, Result};
use crate::model::days_of_date;

const BATCH_ROWS: usize = 8192;

/// A cell's run of rows as it was written, and the digest of what was read from the cell's files.
#[derive(Debug, Clone)]
pub struct WrittenCell {
    pub rows: CellRows,
    pub digest: RowDigest,
}

/// Checks each cell of a local bundle: its keys, its number of rows, their times, order and content; and that there is
/// nothing else in it.
pub fn verify(path: &Path, cells: &[WrittenCell], digests: &RowDigests) -> Result<()> {
    let file = File::open(path).context("open the bundle")?;
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).context("read its footer")?;
    let mut expected = cells.iter();
    let mut cell: Option<Open<'_>> = None;
    for rows in builder.with_batch_size(BATCH_ROWS).build().context("read it")? {
        let rows = rows.context("decode it")?;
        let mut start = 0;
        while start < rows.num_rows() {
            let open = match &mut cell {
                Some(open) => open,
                none => none.insert(Open::new(expected.next().ok_or_else(|| differs("it has more rows"))?)),
            };
            let length = open.missing.min((rows.num_rows() - start) as u64) as usize;
            open.check(&rows.slice(start, length), digests)?;
            start += length;
            if open.missing == 0 {
                open.finish()?;
                cell = None;
            }
        }
    }
    match cell.map(|open| open.cell).or(expected.next()) {
        Some(missing) => Err(differs(format!("rows of {} are missing", missing.rows.cell))),
        None => Ok(()),
    }
}

pub(super) fn differs(how: impl Into<String>) -> Error {
    Error::failed(format!("the bundle is not what was read from the archive: {}", how.into()))
        .code("bundle-verify")
        .hint("nothing was uploaded; if it happens again, look at this machine's disk and memory")
}

/// The cell whose rows are being read.
struct Open<'a> {
    cell: &'a WrittenCell,
    missing: u64,
    digest: RowDigest,
    last: Option<(i64, String)>,
    first_ts: i64,
}

impl<'a> Open<'a> {
    fn new(cell: &'a WrittenCell) -> Self {
        Open { cell, missing: cell.rows.rows, digest: RowDigest::default(), last: None, first_ts: 0 }
    }

    fn check(&mut self, rows: &RecordBatch, digests: &RowDigests) -> Result<()> {
        let cell = &self.cell.rows.cell;
        let (dates, tenants) = (rows.column(0).as_primitive::<Date32Type>(), rows.column(1).as_string::<i32>());
        let event_types = rows.column(2).as_string::<i32>();
        let same_keys = dates.values().iter().all(|&date| date == days_of_date(cell.date))
            && tenants.iter().all(|tenant| tenant == Some(cell.tenant_id.as_str()))
            && event_types.iter().all(|event_type| event_type == Some(cell.event_type.as_str()));
        if !same_keys {
            return Err(differs(format!("rows of another cell lie in {cell}")));
        }
        let ids = rows.column(KEYS).as_string::<i32>();
        let times = rows.column(KEYS + 1).as_primitive::<TimestampMicrosecondType>().values();
        let mut last = self.last.as_ref().map(|(ts, id)| (*ts, id.as_str()));
        for row in 0..rows.num_rows() {
            let this = (times[row], ids.value(row));
            if last.is_some_and(|last| last > this) {
                return Err(differs(format!("rows of {cell} are out of order")));
            }
            last = Some(this);
        }
        if self.last.is_none() {
            self.first_ts = times[0];
        }
        self.last = last.map(|(ts, id)| (ts, id.to_owned()));
        self.digest += digests.of(&rows.columns()[KEYS..])?;
        self.missing -= rows.num_rows() as u64;
        Ok(())
    }

    fn finish(&self) -> Result<()> {
        let CellRows { cell, ts, .. } = &self.cell.rows;
        if self.digest != self.cell.digest {
            return Err(differs(format!("rows of {cell} have other content")));
        }
        if self.first_ts != ts.min || self.last.as_ref().is_none_or(|(last, _)| *last != ts.max) {
            return Err(differs(format!("rows of {cell} have other times")));
        }
        Ok(())
    }
}
