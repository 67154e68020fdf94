//! Decodes a bundle again and compares it with what was read from its sources.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use super::super::pack::CellRows;
use super::super::threads;
use super::KEYS;
use super::digest::{RowDigest, RowDigests};
use crate::error::{Context, Error, Result};
use crate::model::days_of_date;
use crate::store::TempFile;

const BATCH_ROWS: usize = 8192;

/// A cell's run of rows as it was written, and the digest of what was read from the cell's files.
#[derive(Debug, Clone)]
pub struct WrittenCell {
    pub rows: CellRows,
    pub digest: RowDigest,
}

/// Checks each cell of a bundle: its keys, its number of rows, their times, order and content; and that there is
/// nothing else in it. Row groups are decoded side by side.
pub fn verify(file: &TempFile, cells: &[WrittenCell], digests: &RowDigests) -> Result<()> {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let metadata = ArrowReaderMetadata::load(file, options).context("read its footer")?;
    let groups = runs_of_groups(&metadata, cells)?;
    let (next, checked) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = || -> Result<()> {
        while let Some(runs) = groups.get(next.fetch_add(1, Ordering::Relaxed)) {
            let parts = check_group(file, &metadata, runs, digests)?;
            checked.lock().unwrap_or_else(PoisonError::into_inner).insert(runs.group, parts);
        }
        Ok(())
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(groups.len());
    threads::on_all(threads, work)?;
    let checked = checked.into_inner().unwrap_or_else(PoisonError::into_inner);
    let parts: Vec<Part<'_>> = checked.into_values().flatten().collect();
    parts.chunk_by(|a, b| std::ptr::eq(a.cell, b.cell)).try_for_each(finish)
}

/// What a row group should hold: of each of these cells so many rows, one after the other.
struct GroupRuns<'a> {
    group: usize,
    runs: Vec<(&'a WrittenCell, u64)>,
}

/// Cuts the cells' rows where row groups end.
fn runs_of_groups<'a>(metadata: &ArrowReaderMetadata, cells: &'a [WrittenCell]) -> Result<Vec<GroupRuns<'a>>> {
    let mut left = cells.iter().map(|cell| (cell, cell.rows.rows)).collect::<VecDeque<_>>();
    let mut groups = Vec::new();
    for (group, group_rows) in metadata.metadata().row_groups().iter().map(|group| group.num_rows() as u64).enumerate()
    {
        let (mut runs, mut missing) = (Vec::new(), group_rows);
        while missing > 0 {
            let (cell, rows) = left.front_mut().ok_or_else(|| differs("it has more rows"))?;
            let here = missing.min(*rows);
            runs.push((*cell, here));
            (*rows, missing) = (*rows - here, missing - here);
            if *rows == 0 {
                left.pop_front();
            }
        }
        groups.push(GroupRuns { group, runs });
    }
    match left.front() {
        Some((cell, _)) => Err(differs(format!("rows of {} are missing", cell.rows.cell))),
        None => Ok(groups),
    }
}

/// Decodes a row group and checks the keys of its rows, and their order within each cell.
fn check_group<'a>(
    file: &TempFile,
    metadata: &ArrowReaderMetadata,
    expected: &GroupRuns<'a>,
    digests: &RowDigests,
) -> Result<Vec<Part<'a>>> {
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file.clone(), metadata.clone());
    let reader =
        builder.with_row_groups(vec![expected.group]).with_batch_size(BATCH_ROWS).build().context("read it")?;
    let (mut parts, mut runs, mut missing) = (Vec::<Part<'a>>::new(), expected.runs.iter(), 0);
    for rows in reader {
        let rows = rows.context("decode it")?;
        let mut start = 0;
        while start < rows.num_rows() {
            if missing == 0 {
                let (cell, rows) = runs.next().ok_or_else(|| differs("it has more rows"))?;
                parts.push(Part::new(cell));
                missing = *rows;
            }
            let length = missing.min((rows.num_rows() - start) as u64) as usize;
            parts.last_mut().expect("one was pushed").check(&rows.slice(start, length), digests)?;
            (start, missing) = (start + length, missing - length as u64);
        }
    }
    if missing > 0 || runs.next().is_some() {
        return Err(differs("it has fewer rows"));
    }
    Ok(parts)
}

pub(super) fn differs(how: impl Into<String>) -> Error {
    Error::failed(format!("the bundle is not what was read from the archive: {}", how.into()))
        .code("bundle-verify")
        .hint("nothing was uploaded; if it happens again, look at this machine's disk and memory")
}

/// What was read of a cell in one row group.
struct Part<'a> {
    cell: &'a WrittenCell,
    digest: RowDigest,
    /// Time and id.
    first: Option<(i64, String)>,
    last: Option<(i64, String)>,
}

impl<'a> Part<'a> {
    fn new(cell: &'a WrittenCell) -> Self {
        Part { cell, digest: RowDigest::default(), first: None, last: None }
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
                return Err(out_of_order(self.cell));
            }
            last = Some(this);
        }
        let owned = |(ts, id): (i64, &str)| (ts, id.to_owned());
        if self.first.is_none() {
            self.first = Some(owned((times[0], ids.value(0))));
        }
        self.last = last.map(owned);
        self.digest += digests.of(&rows.columns()[KEYS..])?;
        Ok(())
    }
}

/// Checks a cell as a whole, from its parts in their order.
fn finish(parts: &[Part<'_>]) -> Result<()> {
    let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return Ok(()) };
    if parts.windows(2).any(|pair| pair[0].last > pair[1].first) {
        return Err(out_of_order(first.cell));
    }
    let CellRows { cell, ts, .. } = &first.cell.rows;
    let mut digest = RowDigest::default();
    parts.iter().for_each(|part| digest += part.digest);
    if digest != first.cell.digest {
        return Err(differs(format!("rows of {cell} have other content")));
    }
    let is_at = |row: &Option<(i64, String)>, expected: i64| row.as_ref().is_some_and(|(ts, _)| *ts == expected);
    if !is_at(&first.first, ts.min) || !is_at(&last.last, ts.max) {
        return Err(differs(format!("rows of {cell} have other times")));
    }
    Ok(())
}

fn out_of_order(cell: &WrittenCell) -> Error {
    differs(format!("rows of {} are out of order", cell.rows.cell))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Date32Array, StringArray, TimestampMicrosecondArray};
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;

    use super::*;
    use crate::model::{Key, KeyRange, Partition, Schema};

    fn partition(tenant: &str) -> Partition {
        let key = |text| Key::parse(text).unwrap();
        Partition { tenant_id: key(tenant), event_type: key("login"), date: "2026-08-24".parse().unwrap() }
    }

    /// One row for each time, whose id is the time too.
    fn rows(tenant: &str, times: &[i64]) -> RecordBatch {
        let cell = partition(tenant);
        let same = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text; times.len()])) };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Date32Array::from(vec![days_of_date(cell.date); times.len()])),
            same(cell.tenant_id.as_str()),
            same(cell.event_type.as_str()),
            Arc::new(StringArray::from_iter_values(times.iter().map(|time| format!("{time:03}")))),
            Arc::new(TimestampMicrosecondArray::from(times.to_vec()).with_timezone("UTC")),
        ];
        RecordBatch::try_new(Schema::default().arrow_with_keys(), columns).unwrap()
    }

    /// What is said of a file of two cells, `a` of the times 0 to 9 and `b` of 5 and 6, that has these rows in row groups of
    /// four instead; empty when it is accepted.
    fn verdict(a: &[i64], b: &[i64]) -> String {
        let digests = RowDigests::default();
        let written = |tenant: &str, times: &[i64], first_row| WrittenCell {
            rows: CellRows {
                cell: partition(tenant),
                first_row,
                rows: times.len() as u64,
                ts: KeyRange { min: times[0], max: times[times.len() - 1] },
            },
            digest: digests.of(&rows(tenant, times).columns()[KEYS..]).unwrap(),
        };
        let all: Vec<i64> = (0..10).collect();
        let cells = [written("a", &all, 0), written("b", &[5, 6], 10)];
        let mut file = tempfile::tempfile().unwrap();
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(4)).build();
        let mut writer =
            ArrowWriter::try_new(&mut file, Schema::default().arrow_with_keys(), Some(properties)).unwrap();
        writer.write(&rows("a", a)).unwrap();
        writer.write(&rows("b", b)).unwrap();
        writer.close().unwrap();
        verify(&TempFile::new(file).unwrap(), &cells, &digests)
            .map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn a_cell_is_checked_over_all_of_its_row_groups() {
        assert_eq!(verdict(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], &[5, 6]), "");
        // Within a row group, and from one to the next.
        assert!(verdict(&[0, 2, 1, 3, 4, 5, 6, 7, 8, 9], &[5, 6]).contains("tenant_id=a are out of order"));
        assert!(verdict(&[0, 1, 2, 4, 3, 5, 6, 7, 8, 9], &[5, 6]).contains("tenant_id=a are out of order"));
        assert!(verdict(&[0, 1, 2, 3, 4, 5, 5, 7, 8, 9], &[5, 6]).contains("tenant_id=a have other content"));
        assert!(verdict(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], &[5]).contains("tenant_id=b are missing"));
        assert!(verdict(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], &[5, 6, 7]).contains("it has more rows"));
        assert!(verdict(&[0, 1, 2, 3, 4, 5, 6, 7, 8], &[4, 5, 6]).contains("rows of another cell lie in"));
    }
}
