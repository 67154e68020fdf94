//! A cell that does not fit into memory: split by id, so that duplicates meet; sorted piece by piece; merged by time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::hash::BuildHasher;
use std::io::{BufReader, Read, Seek, Write};

use foldhash::fast::RandomState;

use super::buffer::{CHUNK_ROWS, Parts};
use super::cell::{CellPlan, CellReport, new_rows};
use super::encode::{CellWriter, Target};
use super::row::{self, Row};
use crate::error::{Context, Result};

/// What is read of a run, or written to a piece, at once.
const BUFFER_BYTES: usize = 64 << 10;

/// Of rows merged at once, but for the last.
const CHUNK_BYTES: usize = 8 << 20;

/// Writes the cell through temporary files. Memory: one piece while pieces are sorted, after it a buffer of each and
/// [`CHUNK_BYTES`].
pub fn write_large_cell(
    plan: &CellPlan<'_>,
    parts: &Parts,
    target: &Target<'_>,
    writer: &mut CellWriter<'_>,
    report: &mut CellReport,
) -> Result<()> {
    // Half as many again as would do on average: ids are spread well, but not evenly.
    let (bytes, _) = parts.size_of_cell(plan.number);
    let pieces = (bytes + bytes / 2).div_ceil(plan.memory_bytes.max(1) as u64);
    let mut files = (0..pieces).map(|_| Rows::create()).collect::<Result<Vec<_>>>()?;
    let hasher = RandomState::default();
    parts.read_cell(plan.number, |row| files[(hasher.hash_one(row.id()) % pieces) as usize].write(&row))?;
    let mut runs = BinaryHeap::new();
    for mut file in files {
        let bytes = file.take()?;
        let rows = new_rows(plan, &row::rows(&bytes).collect::<Vec<_>>(), target, report)?;
        rows.iter().try_for_each(|row| file.write(row))?;
        runs.extend(Run::open(file)?);
    }
    merge(runs, |rows| writer.write(rows))
}

/// Hands out the rows of all runs by time and id, in batches of at most [`CHUNK_ROWS`] and about [`CHUNK_BYTES`].
fn merge(mut runs: BinaryHeap<Run>, mut take: impl FnMut(&[Row<'_>]) -> Result<()>) -> Result<()> {
    let (mut chunk, mut rows) = (Vec::new(), 0);
    while let Some(mut first) = runs.peek_mut() {
        first.row().append_to(&mut chunk);
        rows += 1;
        if !first.advance()? {
            PeekMut::pop(first);
        }
        if rows == CHUNK_ROWS || chunk.len() >= CHUNK_BYTES {
            take(&row::rows(&chunk).collect::<Vec<_>>())?;
            chunk.clear();
            rows = 0;
        }
    }
    take(&row::rows(&chunk).collect::<Vec<_>>())
}

/// A file of rows that is being written.
struct Rows {
    file: File,
    bytes: Vec<u8>,
}

impl Rows {
    fn create() -> Result<Self> {
        Ok(Rows { file: tempfile::tempfile().context("make a temporary file")?, bytes: Vec::new() })
    }

    fn write(&mut self, row: &Row<'_>) -> Result<()> {
        row.append_to(&mut self.bytes);
        if self.bytes.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.file.write_all(&self.bytes).context("write a temporary file")?;
        self.bytes.clear();
        Ok(())
    }

    /// All that was written; the file is empty then.
    fn take(&mut self) -> Result<Vec<u8>> {
        self.flush()?;
        let mut bytes = Vec::new();
        let read = self.file.rewind().and_then(|()| self.file.read_to_end(&mut bytes));
        read.context("read a temporary file")?;
        self.file.set_len(0).and_then(|()| self.file.rewind()).context("write a temporary file")?;
        Ok(bytes)
    }
}

/// A file of sorted rows, at one of them. The greatest of several is the one whose row comes first.
struct Run {
    file: BufReader<File>,
    bytes: Vec<u8>,
}

impl Run {
    /// At the first row; `None` where there is none.
    fn open(mut rows: Rows) -> Result<Option<Self>> {
        rows.flush()?;
        rows.file.rewind().context("read a temporary file")?;
        let mut run = Run { file: BufReader::with_capacity(BUFFER_BYTES, rows.file), bytes: Vec::new() };
        Ok(run.advance()?.then_some(run))
    }

    /// To the next row; `false` at the end.
    fn advance(&mut self) -> Result<bool> {
        row::read_next(&mut self.file, &mut self.bytes).context("read a temporary file")
    }

    fn row(&self) -> Row<'_> {
        Row::split_first(&self.bytes).expect("a row was read").0
    }
}

impl Ord for Run {
    fn cmp(&self, other: &Self) -> Ordering {
        let (row, other) = (self.row(), other.row());
        other.ts().cmp(&row.ts()).then_with(|| other.id().cmp(row.id()))
    }
}

impl PartialOrd for Run {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Run {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Run {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::row::RowWriter;

    #[test]
    fn the_rows_of_all_runs_come_by_time_and_id() {
        let mut runs = BinaryHeap::new();
        let mut expected = Vec::new();
        for run in 0..5_i64 {
            let mut writer = RowWriter::default();
            for row in 0..run * 3000 {
                // Of each time there are several ids, and in several runs; some are long.
                let long = if row % 50 == 0 { "x".repeat(100_000) } else { String::new() };
                let (ts, id) = (row / 4, format!("{}-{run}{long}", row % 4));
                writer.end(0, ts, &id);
                expected.push((ts, id));
            }
            let mut file = Rows::create().unwrap();
            row::rows(&writer.take()).try_for_each(|row| file.write(&row)).unwrap();
            runs.extend(Run::open(file).unwrap());
        }
        expected.sort();
        let mut merged = Vec::new();
        let take = |rows: &[Row<'_>]| {
            assert!(rows.len() <= CHUNK_ROWS);
            assert!(rows.iter().map(Row::stored_bytes).sum::<usize>() < CHUNK_BYTES + 101_000);
            merged.extend(rows.iter().map(|row| (row.ts(), String::from_utf8(row.id().to_vec()).unwrap())));
            Ok(())
        };
        merge(runs, take).unwrap();
        assert_eq!(merged, expected);
    }
}
