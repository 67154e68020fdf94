//! Rows of all cells, in memory up to a budget, beyond it in temporary files sorted by cell.
//!
//! # Crash
//! Spill files live in a temporary folder and mean nothing to anybody else.
//!
//! # Cost
//! Each row is copied once to its cell, and written and read once more when it spills; however many cells there are,
//! nothing is kept per cell but where its rows lie.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;
use tempfile::TempDir;

use super::rows::Rows;
use crate::error::{Context, Result};

/// Rows of one cell handed on at once, at most.
pub const CHUNK_ROWS: usize = 8192;

/// Collects rows from many threads.
pub struct Buffer {
    budget_bytes: usize,
    folder: TempDir,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rows: Vec<Rows>,
    bytes: usize,
    parts: Vec<Part>,
}

/// Some of a run's rows, reachable by cell.
pub enum Part {
    Memory(Grouped),
    Spilled(Spilled),
}

impl Buffer {
    /// A buffer that keeps at most `budget_bytes` of rows in memory and spills into `folder`.
    pub fn new(budget_bytes: usize, folder: TempDir) -> Self {
        Buffer { budget_bytes, folder, state: Mutex::default() }
    }

    /// Takes rows; a thread that fills the buffer spills it before it goes on, and the others wait.
    pub fn add(&self, rows: Rows) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.bytes += rows.batch.get_array_memory_size() + rows.cells.len() * size_of::<u32>();
        state.rows.push(rows);
        if state.bytes >= self.budget_bytes {
            self.spill(&mut state)?;
        }
        Ok(())
    }

    /// All rows, and the folder their files live in. When some had to spill, the rest does too: what follows needs the
    /// memory more.
    pub fn finish(self) -> Result<Parts> {
        let mut state = std::mem::take(&mut *self.state.lock().unwrap_or_else(PoisonError::into_inner));
        if !state.parts.is_empty() {
            self.spill(&mut state)?;
        } else if !state.rows.is_empty() {
            state.parts.push(Part::Memory(Grouped::new(std::mem::take(&mut state.rows))));
        }
        Ok(Parts { parts: state.parts, folder: self.folder })
    }

    fn spill(&self, state: &mut State) -> Result<()> {
        if state.rows.is_empty() {
            return Ok(());
        }
        let path = self.folder.path().join(format!("part-{}.arrow", state.parts.len()));
        tracing::debug!("spill {} bytes of rows to {}", state.bytes, path.display());
        let grouped = Grouped::new(std::mem::take(&mut state.rows));
        state.bytes = 0;
        state.parts.push(Part::Spilled(grouped.write(path).context("spill rows to the temporary folder")?));
        Ok(())
    }
}

/// The rows of a whole run.
pub struct Parts {
    parts: Vec<Part>,
    folder: TempDir,
}

impl Parts {
    /// Bytes and rows of a cell, over all parts; the bytes are an estimate.
    pub fn size_of_cell(&self, cell: u32) -> (usize, usize) {
        let add = |(bytes, rows): (usize, usize), (b, r): (usize, usize)| (bytes + b, rows + r);
        self.parts.iter().map(|part| part.size_of_cell(cell)).fold((0, 0), add)
    }

    /// Hands out a cell's rows in chunks of at most [`CHUNK_ROWS`]; their columns may differ from part to part.
    pub fn read_cell(&self, cell: u32, mut take: impl FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        self.parts.iter().try_for_each(|part| match part {
            Part::Memory(grouped) => grouped.chunks(cell).try_for_each(&mut take),
            Part::Spilled(spilled) => spilled.read_cell(cell, &mut take),
        })
    }

    /// For more temporary files.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

impl Part {
    fn size_of_cell(&self, cell: u32) -> (usize, usize) {
        match self {
            Part::Memory(grouped) => {
                let rows = grouped.cells.get(&cell).map_or(0, Vec::len);
                (rows * grouped.row_bytes, rows)
            }
            Part::Spilled(spilled) => spilled.cells.get(&cell).map_or((0, 0), |place| (place.bytes, place.rows)),
        }
    }
}

/// Rows in memory with, for each cell, where they are.
pub struct Grouped {
    schema: SchemaRef,
    /// For each column of the schema its array in every block.
    columns: Vec<Vec<ArrayRef>>,
    /// Block and row of each of a cell's rows.
    cells: BTreeMap<u32, Vec<(u32, u32)>>,
    row_bytes: usize,
}

impl Grouped {
    fn new(blocks: Vec<Rows>) -> Self {
        let schema = union(&blocks);
        let columns = schema
            .fields()
            .iter()
            .map(|field| {
                let of_block = |block: &Rows| match block.batch.column_by_name(field.name()) {
                    Some(array) => array.clone(),
                    None => new_null_array(field.data_type(), block.batch.num_rows()),
                };
                blocks.iter().map(of_block).collect()
            })
            .collect();
        let mut cells: BTreeMap<u32, Vec<(u32, u32)>> = BTreeMap::new();
        let (mut bytes, mut rows) = (0, 0);
        for (number, block) in blocks.iter().enumerate() {
            bytes += block.batch.get_array_memory_size();
            rows += block.batch.num_rows();
            for (row, cell) in block.cells.iter().enumerate() {
                cells.entry(*cell).or_default().push((number as u32, row as u32));
            }
        }
        Grouped { schema, columns, cells, row_bytes: bytes.checked_div(rows).unwrap_or(0) }
    }

    fn chunks(&self, cell: u32) -> impl Iterator<Item = RecordBatch> {
        let places = self.cells.get(&cell).map_or(&[][..], Vec::as_slice);
        places.chunks(CHUNK_ROWS).map(|chunk| self.gather(chunk))
    }

    fn gather(&self, places: &[(u32, u32)]) -> RecordBatch {
        let places: Vec<_> = places.iter().map(|(block, row)| (*block as usize, *row as usize)).collect();
        let gather = |arrays: &Vec<ArrayRef>| {
            let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
            interleave(&arrays, &places).expect("arrays of one type, rows that exist")
        };
        let arrays = self.columns.iter().map(gather).collect();
        RecordBatch::try_new(self.schema.clone(), arrays).expect("columns of one length")
    }

    fn write(self, path: PathBuf) -> Result<Spilled> {
        let file = BufWriter::new(File::create(&path).context("create a file")?);
        let mut writer = FileWriter::try_new(file, &self.schema).context("write")?;
        let (mut cells, mut written) = (HashMap::new(), 0);
        for (cell, places) in &self.cells {
            let mut place = Place { first: written, count: 0, rows: places.len(), bytes: 0 };
            for chunk in self.chunks(*cell) {
                place.bytes += chunk.get_array_memory_size();
                place.count += 1;
                writer.write(&chunk).context("write")?;
            }
            written += place.count;
            cells.insert(*cell, place);
        }
        writer.finish().context("write")?;
        // One reader for all cells: opening one reads where every batch of the file lies.
        let file = File::open(&path).context("open")?;
        let reader = FileReader::try_new(file, None).context("read")?;
        Ok(Spilled { reader: Mutex::new(reader), cells })
    }
}

/// Rows in a file, sorted by cell.
pub struct Spilled {
    reader: Mutex<FileReader<File>>,
    cells: HashMap<u32, Place>,
}

/// Which batches of the file hold a cell.
struct Place {
    first: usize,
    count: usize,
    rows: usize,
    bytes: usize,
}

impl Spilled {
    fn read_cell(&self, cell: u32, take: &mut impl FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        let Some(place) = self.cells.get(&cell) else { return Ok(()) };
        for number in place.first..place.first + place.count {
            let batch = {
                let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
                reader.set_index(number).context("read a spill file")?;
                reader.next().transpose().context("read a spill file")?
            };
            batch.map_or(Ok(()), &mut *take)?;
        }
        Ok(())
    }
}

/// Every column of any block. A column has one type in all of them: what the archive knows, or text.
fn union(blocks: &[Rows]) -> SchemaRef {
    let mut fields: Vec<Arc<Field>> = Vec::new();
    let mut seen: HashMap<String, DataType> = HashMap::new();
    for field in blocks.iter().flat_map(|block| block.batch.schema().fields().iter().cloned().collect::<Vec<_>>()) {
        if seen.insert(field.name().clone(), field.data_type().clone()).is_none() {
            fields.push(field);
        }
    }
    Arc::new(Schema::new(fields))
}
