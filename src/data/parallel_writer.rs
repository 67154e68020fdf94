//! A Parquet writer whose columns are encoded on all cores while its caller reads on.
//!
//! The bytes are those that one thread would have written: each column gets the same rows in the same order. No column
//! waits for another: one that takes as long as all others together keeps one of two cores busy, and they the other.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::DEFAULT_MAX_ROW_GROUP_ROW_COUNT;
use parquet::file::writer::SerializedFileWriter;

use super::threads;

/// What the rows handed to the threads at once take in memory: enough that doing so costs nothing beside it. At most two
/// such steps are there at once, one of which may still be read.
const STEP_BYTES: usize = 16 << 20;

/// Writes flat rows to `W`.
pub struct ParallelWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
    factory: ArrowRowGroupWriterFactory,
    schema: SchemaRef,
    waiting: Vec<RecordBatch>,
    waiting_bytes: usize,
    /// Of the open row group.
    rows: usize,
    /// The open row group, once some of its rows were handed to threads.
    group: Option<Group>,
}

impl<W: Write + Send> ParallelWriter<W> {
    /// Goes on with a file that has no rows yet.
    pub fn new(writer: ArrowWriter<W>, schema: SchemaRef) -> Result<Self> {
        let (file, factory) = writer.into_serialized_writer()?;
        Ok(ParallelWriter { file, factory, schema, waiting: Vec::new(), waiting_bytes: 0, rows: 0, group: None })
    }

    /// Adds rows to the open row group.
    pub fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        if self.rows + rows.num_rows() > DEFAULT_MAX_ROW_GROUP_ROW_COUNT {
            self.flush()?;
        }
        self.rows += rows.num_rows();
        self.waiting_bytes += (0..rows.num_columns()).map(|column| bytes_of(rows, column)).sum::<usize>();
        self.waiting.push(rows.clone());
        if self.waiting_bytes < STEP_BYTES {
            return Ok(());
        }
        self.hand_over()?.wait_for_room()
    }

    /// What the open row group takes in the file, but for its last few rows.
    pub fn in_progress_size(&self) -> usize {
        self.group.as_ref().map_or(0, |group| group.encoded_bytes)
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
        self.hand_over()?;
        let columns = self.group.take().expect("rows were handed to it").finish()?;
        let mut group = self.file.next_row_group()?;
        for column in columns {
            column.close()?.append_to_row_group(&mut group)?;
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }

    /// Completes the file.
    pub fn into_inner(mut self) -> Result<W> {
        self.flush()?;
        self.file.into_inner()
    }

    /// Gives the waiting rows to the threads of the open row group.
    fn hand_over(&mut self) -> Result<&mut Group> {
        if self.group.is_none() {
            let columns = self.factory.create_column_writers(self.file.flushed_row_groups().len())?;
            self.group = Some(Group::start(columns, &self.schema));
        }
        let group = self.group.as_mut().expect("it was started");
        group.hand_over(std::mem::take(&mut self.waiting));
        self.waiting_bytes = 0;
        Ok(group)
    }
}

/// Threads that encode the columns of a row group.
struct Group {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Steps handed over.
    steps: usize,
    /// What the steps take that [`Group::wait_for_room`] has waited for.
    encoded_bytes: usize,
}

struct Shared {
    schema: SchemaRef,
    state: Mutex<State>,
    /// There is more to do, or something was done.
    changed: Condvar,
}

struct State {
    columns: Vec<Column>,
    /// No more steps will come.
    ended: bool,
    failed: Option<ParquetError>,
}

struct Column {
    /// `None` while a thread has it.
    writer: Option<ArrowColumnWriter>,
    pending: VecDeque<Arc<Step>>,
    /// What the column takes after each step that it has been through.
    sizes: Vec<usize>,
}

/// Rows handed over at once.
struct Step {
    rows: Vec<RecordBatch>,
    /// What each column takes in memory.
    bytes: Vec<usize>,
}

impl Group {
    fn start(writers: Vec<ArrowColumnWriter>, schema: &SchemaRef) -> Self {
        let column = |writer| Column { writer: Some(writer), pending: VecDeque::new(), sizes: Vec::new() };
        let columns = writers.into_iter().map(column).collect();
        let state = Mutex::new(State { columns, ended: false, failed: None });
        let shared = Arc::new(Shared { schema: schema.clone(), state, changed: Condvar::new() });
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let start = |_| {
            let shared = shared.clone();
            thread::spawn(move || shared.encode())
        };
        Group { threads: (0..threads).map(start).collect(), shared, steps: 0, encoded_bytes: 0 }
    }

    fn hand_over(&mut self, rows: Vec<RecordBatch>) {
        let mut state = self.shared.lock();
        let bytes = |column| rows.iter().map(|rows| bytes_of(rows, column)).sum();
        let step = Arc::new(Step { bytes: (0..state.columns.len()).map(bytes).collect(), rows });
        state.columns.iter_mut().for_each(|column| column.pending.push_back(step.clone()));
        self.steps += 1;
        self.shared.changed.notify_all();
    }

    /// Until all but the last step are encoded.
    fn wait_for_room(&mut self) -> Result<()> {
        let Some(before_last) = self.steps.checked_sub(2) else { return Ok(()) };
        let state = self.shared.wait_while(|state| state.columns.iter().any(|c| c.sizes.len() <= before_last))?;
        // Not what they take by now: where row groups end must not depend on which thread was faster.
        self.encoded_bytes = state.columns.iter().map(|column| column.sizes[before_last]).sum();
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<ArrowColumnWriter>> {
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
        self.threads.drain(..).for_each(|thread| threads::outcome(thread.join()));
        let mut state = self.shared.lock();
        if let Some(error) = state.failed.take() {
            return Err(error);
        }
        Ok(state.columns.drain(..).map(|column| column.writer.expect("no thread has it")).collect())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a thread does.
    fn encode(&self) {
        let _guard = EndsAll(self);
        let mut state = self.lock();
        loop {
            // Whoever has most left first: the others can make up for it.
            let left = |column: usize| state.columns[column].bytes_left(column);
            let next = (0..state.columns.len()).filter(|&c| state.columns[c].is_waiting()).max_by_key(|&c| left(c));
            let Some(column) = next.filter(|_| state.failed.is_none()) else {
                if state.ended || state.failed.is_some() {
                    return;
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let mut writer = state.columns[column].writer.take().expect("it waits");
            let step = state.columns[column].pending.pop_front().expect("it waits");
            drop(state);
            let encoded = step.encode(&mut writer, column, &self.schema);
            drop(step);
            state = self.lock();
            state.columns[column].sizes.push(writer.get_estimated_total_bytes());
            state.columns[column].writer = Some(writer);
            if let Err(error) = encoded {
                state.failed = Some(error);
            }
            self.changed.notify_all();
        }
    }

    /// Fails when a thread does.
    fn wait_while(&self, mut is_so: impl FnMut(&State) -> bool) -> Result<MutexGuard<'_, State>> {
        let waits = |state: &mut State| state.failed.is_none() && is_so(state);
        let mut state = self.changed.wait_while(self.lock(), waits).unwrap_or_else(PoisonError::into_inner);
        match state.failed.take() {
            Some(error) => Err(error),
            None => Ok(state),
        }
    }
}

/// Nobody waits for a thread that has panicked.
struct EndsAll<'a>(&'a Shared);

impl Drop for EndsAll<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.lock().failed = Some(ParquetError::General("a thread that encodes has panicked".to_owned()));
            self.0.changed.notify_all();
        }
    }
}

impl Column {
    fn is_waiting(&self) -> bool {
        self.writer.is_some() && !self.pending.is_empty()
    }

    fn bytes_left(&self, number: usize) -> usize {
        self.pending.iter().map(|step| step.bytes[number]).sum()
    }
}

impl Step {
    fn encode(&self, writer: &mut ArrowColumnWriter, column: usize, schema: &SchemaRef) -> Result<()> {
        for rows in &self.rows {
            for leaf in compute_leaves(schema.field(column), rows.column(column))? {
                writer.write(&leaf)?;
            }
        }
        Ok(())
    }
}

fn bytes_of(rows: &RecordBatch, column: usize) -> usize {
    rows.column(column).to_data().get_slice_memory_size().unwrap_or(0)
}

#[cfg(test)]
mod tests {
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
        let mut most_in_progress = 0;
        for (number, batch) in batches.iter().enumerate() {
            one.write(batch).unwrap();
            many.write(batch).unwrap();
            most_in_progress = most_in_progress.max(many.in_progress_size());
            if number == 200 {
                one.flush().unwrap();
                many.flush().unwrap();
                many.flush().unwrap();
            }
        }
        assert!(most_in_progress > 0, "rows were encoded while others were still to come");
        assert_eq!(many.bytes_written(), one.bytes_written());
        assert!(many.into_inner().unwrap() == one.into_inner().unwrap());
    }
}
