//! Runs of one cell's rows, each sorted by (ts, event_id), merged into one in that order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::TimestampMicrosecondType;

use super::buffer::CHUNK_ROWS;
use crate::error::{Context, Result};

/// Hands out all rows, in batches of at most [`CHUNK_ROWS`] where there are several runs. Memory: of each run the batch
/// it is at, and what the rows picked since the last hand-out lie in.
pub fn merge<R>(runs: &mut [R], mut take: impl FnMut(RecordBatch) -> Result<()>) -> Result<()>
where
    R: Iterator<Item = Result<RecordBatch>>,
{
    if let [run] = runs {
        return run.try_for_each(|rows| take(rows?));
    }
    let mut cursors = Vec::new();
    let mut heap = BinaryHeap::new();
    for run in runs {
        if let Some(cursor) = Cursor::open(run)? {
            heap.push(Reverse((cursor.key(), cursors.len())));
            cursors.push(cursor);
        }
    }
    // Batches that the rows picked so far lie in; a cursor's next batch gets a new number.
    let mut batches: Vec<RecordBatch> = cursors.iter().map(|cursor| cursor.rows.clone()).collect();
    let mut number_of: Vec<usize> = (0..cursors.len()).collect();
    let mut picked = Vec::with_capacity(CHUNK_ROWS);
    while let Some(Reverse((_, run))) = heap.pop() {
        let cursor = &mut cursors[run];
        let next = heap.peek().map(|Reverse((key, _))| key);
        let mut ended = false;
        // As long as no other run is before it.
        loop {
            picked.push((number_of[run], cursor.row));
            match cursor.advance()? {
                Step::Row => {}
                Step::Batch => {
                    batches.push(cursor.rows.clone());
                    number_of[run] = batches.len() - 1;
                }
                Step::End => ended = true,
            }
            if ended || picked.len() == CHUNK_ROWS || next.is_some_and(|next| cursor.is_after(next)) {
                break;
            }
        }
        if !ended {
            heap.push(Reverse((cursor.key(), run)));
        }
        if picked.len() == CHUNK_ROWS || heap.is_empty() {
            let all: Vec<&RecordBatch> = batches.iter().collect();
            take(interleave_record_batch(&all, &picked).context("merge runs")?)?;
            picked.clear();
            batches = cursors.iter().map(|cursor| cursor.rows.clone()).collect();
            number_of = (0..cursors.len()).collect();
        }
    }
    Ok(())
}

/// Where the merge stands in one run.
struct Cursor<'a, R> {
    run: &'a mut R,
    rows: RecordBatch,
    row: usize,
}

enum Step {
    Row,
    /// The first row of a new batch.
    Batch,
    End,
}

impl<'a, R: Iterator<Item = Result<RecordBatch>>> Cursor<'a, R> {
    /// `None` where the run has no rows.
    fn open(run: &'a mut R) -> Result<Option<Self>> {
        let first = next_rows(run)?;
        Ok(first.map(|rows| Cursor { run, rows, row: 0 }))
    }

    fn advance(&mut self) -> Result<Step> {
        self.row += 1;
        if self.row < self.rows.num_rows() {
            return Ok(Step::Row);
        }
        let Some(rows) = next_rows(self.run)? else { return Ok(Step::End) };
        (self.rows, self.row) = (rows, 0);
        Ok(Step::Batch)
    }

    fn parts(&self) -> (i64, &str) {
        let times = column(&self.rows, "ts").as_primitive::<TimestampMicrosecondType>();
        (times.value(self.row), column(&self.rows, "event_id").as_string::<i32>().value(self.row))
    }

    fn key(&self) -> (i64, String) {
        let (ts, id) = self.parts();
        (ts, id.to_owned())
    }

    fn is_after(&self, key: &(i64, String)) -> bool {
        self.parts() > (key.0, key.1.as_str())
    }
}

fn next_rows(run: &mut impl Iterator<Item = Result<RecordBatch>>) -> Result<Option<RecordBatch>> {
    run.find(|rows| rows.as_ref().map_or(true, |rows| rows.num_rows() > 0)).transpose()
}

fn column<'a>(rows: &'a RecordBatch, name: &str) -> &'a dyn arrow::array::Array {
    rows.column_by_name(name).expect("every event has an id and a time")
}
