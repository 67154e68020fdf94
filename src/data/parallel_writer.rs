//! A Parquet writer whose columns are encoded on all cores while its caller reads on.
//!
//! The bytes are those that one thread would have written: each column gets the same rows in the same steps.

use std::cmp::Reverse;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::Result;
use parquet::file::properties::DEFAULT_MAX_ROW_GROUP_ROW_COUNT;
use parquet::file::writer::SerializedFileWriter;

use super::threads;

/// What the rows handed to the threads at once take in memory: enough that starting them costs nothing beside it. As much
/// again waits meanwhile.
const STEP_BYTES: usize = 16 << 20;

/// Writes flat rows to `W`.
pub struct ParallelWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
    factory: ArrowRowGroupWriterFactory,
    schema: SchemaRef,
    threads: usize,
    waiting: Vec<RecordBatch>,
    waiting_bytes: usize,
    /// Of the open row group.
    rows: usize,
    /// Those of the open row group; empty while threads have them.
    columns: Vec<ArrowColumnWriter>,
    encoding: Option<JoinHandle<Result<Vec<ArrowColumnWriter>>>>,
    encoded_bytes: usize,
}

impl<W: Write + Send> ParallelWriter<W> {
    /// Goes on with a file that has no rows yet.
    pub fn new(writer: ArrowWriter<W>, schema: SchemaRef) -> Result<Self> {
        let (file, factory) = writer.into_serialized_writer()?;
        let columns = factory.create_column_writers(0)?;
        let threads = thread::available_parallelism().map_or(1, usize::from);
        Ok(ParallelWriter {
            file,
            factory,
            schema,
            threads,
            waiting: Vec::new(),
            waiting_bytes: 0,
            rows: 0,
            columns,
            encoding: None,
            encoded_bytes: 0,
        })
    }

    /// Adds rows to the open row group.
    pub fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        if self.rows + rows.num_rows() > DEFAULT_MAX_ROW_GROUP_ROW_COUNT {
            self.flush()?;
        }
        self.rows += rows.num_rows();
        self.waiting_bytes += (0..rows.num_columns()).map(|column| bytes_of(rows, column)).sum::<usize>();
        self.waiting.push(rows.clone());
        if self.waiting_bytes >= STEP_BYTES { self.start() } else { Ok(()) }
    }

    /// What the open row group takes in the file, but for its last few rows.
    pub fn in_progress_size(&self) -> usize {
        self.encoded_bytes
    }

    /// What closed row groups take.
    pub fn bytes_written(&self) -> usize {
        self.file.bytes_written()
    }

    /// Closes the open row group, if it has rows.
    pub fn flush(&mut self) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        self.start()?;
        self.join()?;
        let mut group = self.file.next_row_group()?;
        for column in std::mem::take(&mut self.columns) {
            column.close()?.append_to_row_group(&mut group)?;
        }
        group.close()?;
        self.columns = self.factory.create_column_writers(self.file.flushed_row_groups().len())?;
        (self.rows, self.encoded_bytes) = (0, 0);
        Ok(())
    }

    /// Completes the file.
    pub fn into_inner(mut self) -> Result<W> {
        self.flush()?;
        self.file.into_inner()
    }

    /// Gives the waiting rows to the threads, once they are done with earlier ones.
    fn start(&mut self) -> Result<()> {
        self.join()?;
        let (rows, columns) = (std::mem::take(&mut self.waiting), std::mem::take(&mut self.columns));
        let (schema, threads) = (self.schema.clone(), self.threads);
        self.waiting_bytes = 0;
        self.encoding = Some(thread::spawn(move || encode(columns, &schema, &rows, threads)));
        Ok(())
    }

    fn join(&mut self) -> Result<()> {
        if let Some(encoding) = self.encoding.take() {
            self.columns = threads::outcome(encoding.join())?;
            self.encoded_bytes = self.columns.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum();
        }
        Ok(())
    }
}

/// Adds the rows to their columns.
fn encode(
    columns: Vec<ArrowColumnWriter>,
    schema: &SchemaRef,
    rows: &[RecordBatch],
    threads: usize,
) -> Result<Vec<ArrowColumnWriter>> {
    // The largest first: what is left at the end is shared best when it is small.
    let mut order: Vec<usize> = (0..columns.len()).collect();
    order.sort_by_key(|&column| Reverse(rows.iter().map(|rows| bytes_of(rows, column)).sum::<usize>()));
    let columns: Vec<_> = columns.into_iter().map(Mutex::new).collect();
    let next = AtomicUsize::new(0);
    let work = || -> Result<()> {
        while let Some(&column) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut writer = columns[column].lock().unwrap_or_else(PoisonError::into_inner);
            for rows in rows {
                for leaf in compute_leaves(schema.field(column), rows.column(column))? {
                    writer.write(&leaf)?;
                }
            }
        }
        Ok(())
    };
    threads::on_all(threads, work)?;
    Ok(columns.into_iter().map(|column| column.into_inner().unwrap_or_else(PoisonError::into_inner)).collect())
}

fn bytes_of(rows: &RecordBatch, column: usize) -> usize {
    rows.column(column).to_data().get_slice_memory_size().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use parquet::file::properties::WriterProperties;

    use super::*;

    fn rows(first: i64, count: i64) -> RecordBatch {
        let texts = (first..first + count).map(|number| format!("{number:x}{}", "é".repeat(number as usize % 200)));
        let schema =
            Schema::new(vec![Field::new("number", DataType::Int64, false), Field::new("text", DataType::Utf8, false)]);
        let numbers = Int64Array::from_iter_values((first..first + count).map(|number| number * 7 % 1000));
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(numbers), Arc::new(StringArray::from_iter_values(texts))])
            .unwrap()
    }

    fn writer(schema: SchemaRef) -> ArrowWriter<Vec<u8>> {
        let properties = WriterProperties::builder().set_data_page_row_count_limit(900).build();
        ArrowWriter::try_new(Vec::new(), schema, Some(properties)).unwrap()
    }

    #[test]
    fn the_file_is_the_one_that_one_thread_writes() {
        let batches: Vec<_> = (0..300).map(|number| rows(number * 2_000, 1 + number * 13 % 2_000)).collect();
        let schema = batches[0].schema();
        let mut one = writer(schema.clone());
        let mut many = ParallelWriter::new(writer(schema.clone()), schema).unwrap();
        let mut steps = 0;
        for (number, batch) in batches.iter().enumerate() {
            one.write(batch).unwrap();
            many.write(batch).unwrap();
            steps += usize::from(many.encoding.is_some() && many.waiting.is_empty());
            if number == 200 {
                one.flush().unwrap();
                many.flush().unwrap();
                many.flush().unwrap();
            }
        }
        assert!(steps >= 2, "more than one step was encoded beside the reading: {steps}");
        assert_eq!(many.bytes_written(), one.bytes_written());
        assert!(many.into_inner().unwrap() == one.into_inner().unwrap());
    }
}
