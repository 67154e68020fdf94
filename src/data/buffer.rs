//! Rows of all cells, in memory up to a budget, beyond it in temporary files sorted by cell.
//!
//! # Crash
//! Spill files have no name: the system frees them with the process, however it ends.
//!
//! # Cost
//! Each row is copied once to its cell, and written and read once more when it spills; however many cells there are,
//! nothing is kept per cell but where its rows lie.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::row::{self, Row};
use super::rows::Rows;
use crate::error::{Context, Error, Result};

/// Rows handed to the Parquet writer at once, at most.
pub const CHUNK_ROWS: usize = 8192;

/// What is read of a spill file at once; a longer row is read in several steps.
const READ_BYTES: u64 = 1 << 20;

/// What is written to one at once.
const WRITE_BYTES: usize = 1 << 20;

/// Collects rows from many threads.
pub struct Buffer {
    budget_bytes: usize,
    state: Mutex<State>,
    /// Held by the thread that spills.
    spilling: Mutex<()>,
}

#[derive(Default)]
struct State {
    rows: Vec<Rows>,
    bytes: usize,
    spilled: Vec<Spilled>,
}

impl Buffer {
    /// A buffer that keeps at most `budget_bytes` of rows in memory and spills into the system's temporary folder.
    pub fn new(budget_bytes: usize) -> Self {
        Buffer { budget_bytes, state: Mutex::default(), spilling: Mutex::default() }
    }

    /// Takes rows. When half of the budget is full the thread that filled it spills that, while the others go on with
    /// the other half.
    pub fn add(&self, rows: Rows) -> Result<()> {
        let is_full = |state: &State| state.bytes >= self.budget_bytes / 2;
        {
            let mut state = self.lock();
            state.bytes += rows.memory_bytes();
            state.rows.push(rows);
            if !is_full(&state) {
                return Ok(());
            }
        }
        let _spilling = self.spilling.lock().unwrap_or_else(PoisonError::into_inner);
        // Another may have spilled them while this one waited.
        let rows = {
            let mut state = self.lock();
            if !is_full(&state) {
                return Ok(());
            }
            state.bytes = 0;
            std::mem::take(&mut state.rows)
        };
        tracing::debug!("spill {} blocks of rows", rows.len());
        let folder = std::env::temp_dir();
        let spilled = Grouped::new(rows).spill().with_context(|| format!("spill rows to {}", folder.display()))?;
        self.lock().spilled.push(spilled);
        Ok(())
    }

    /// All rows.
    pub fn finish(self) -> Parts {
        let State { rows, spilled, .. } = std::mem::take(&mut *self.lock());
        rows.iter().for_each(|rows| rows.bytes.release_others());
        Parts { memory: Grouped::new(rows), spilled }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rows of a whole run.
pub struct Parts {
    memory: Grouped,
    spilled: Vec<Spilled>,
}

impl Parts {
    /// Bytes and number of a cell's rows, over all parts.
    pub fn size_of_cell(&self, cell: u32) -> (u64, u64) {
        let memory = self.memory.rows(cell).map(|row| (row.stored_bytes() as u64, 1));
        let spilled = self.spilled.iter().filter_map(|spilled| spilled.place(cell));
        let sizes = memory.chain(spilled.map(|place| (place.bytes, place.rows)));
        sizes.fold((0, 0), |(bytes, rows), (more_bytes, more_rows)| (bytes + more_bytes, rows + more_rows))
    }

    /// A cell's rows. `spilled` takes the bytes of those that were.
    pub fn rows_of_cell<'a>(&'a self, cell: u32, spilled: &'a mut Vec<Vec<u8>>) -> Result<Vec<Row<'a>>> {
        *spilled = self.spilled.iter().map(|part| part.cell(cell)).collect::<Result<_>>()?;
        Ok(self.memory.rows(cell).chain(spilled.iter().flat_map(|bytes| row::rows(bytes))).collect())
    }

    /// Hands out a cell's rows, of which memory holds few at a time.
    pub fn read_cell(&self, cell: u32, mut take: impl FnMut(Row<'_>) -> Result<()>) -> Result<()> {
        self.memory.rows(cell).try_for_each(&mut take)?;
        self.spilled.iter().try_for_each(|spilled| spilled.read_cell(cell, &mut take))
    }
}

/// Rows in memory with, for each cell, where they are.
struct Grouped {
    blocks: Vec<Rows>,
    /// Of each row, by cell. Its length too: rows of a cell lie far apart, and where none has to be looked at to find its
    /// end, several are fetched from memory at once.
    places: Vec<InBlock>,
    /// Of each cell and of the one after the last, its first place.
    firsts: Vec<usize>,
}

#[derive(Clone, Copy, Default)]
struct InBlock {
    start: usize,
    block: u32,
    length: u32,
}

impl Grouped {
    fn new(blocks: Vec<Rows>) -> Self {
        let cells = || blocks.iter().flat_map(|block| &block.cells).map(|&cell| cell as usize);
        let mut firsts = vec![0; cells().max().map_or(1, |last| last + 2)];
        cells().for_each(|cell| firsts[cell + 1] += 1);
        for cell in 1..firsts.len() {
            firsts[cell] += firsts[cell - 1];
        }
        let mut next = firsts.clone();
        let mut places = vec![InBlock::default(); firsts[firsts.len() - 1]];
        for (number, rows) in (0..).zip(&blocks) {
            let mut start = 0;
            for (&cell, &length) in rows.cells.iter().zip(&rows.lengths) {
                places[next[cell as usize]] = InBlock { block: number, start, length };
                next[cell as usize] += 1;
                start += length as usize;
            }
        }
        Grouped { blocks, places, firsts }
    }

    fn rows(&self, cell: u32) -> impl Iterator<Item = Row<'_>> {
        let cell = cell as usize;
        let places = match self.firsts.get(cell..cell + 2) {
            Some(&[first, end]) => &self.places[first..end],
            _ => &[],
        };
        places.iter().map(|&InBlock { block, start, length }| {
            Row::whole(&self.blocks[block as usize].bytes[start..][..length as usize])
        })
    }

    fn spill(self) -> Result<Spilled> {
        let mut file = tempfile::tempfile().context("make a temporary file")?;
        let (mut cells, mut end) = (Vec::new(), 0);
        let mut bytes = Vec::with_capacity(2 * WRITE_BYTES);
        for cell in (0..).take(self.firsts.len() - 1) {
            let (start, mut rows) = (end, 0);
            for row in self.rows(cell) {
                row.append_to(&mut bytes);
                end += row.stored_bytes() as u64;
                rows += 1;
                if bytes.len() >= WRITE_BYTES {
                    file.write_all(&bytes).context("write")?;
                    bytes.clear();
                }
            }
            if rows > 0 {
                cells.push(Place { cell, start, bytes: end - start, rows });
            }
        }
        file.write_all(&bytes).context("write")?;
        Ok(Spilled { file, cells })
    }
}

/// Rows in a file, sorted by cell.
struct Spilled {
    file: File,
    /// Of the cells that have rows, ascending.
    cells: Vec<Place>,
}

/// Where a cell's rows are.
#[derive(Debug, Clone, Copy)]
struct Place {
    cell: u32,
    start: u64,
    bytes: u64,
    rows: u64,
}

impl Spilled {
    fn place(&self, cell: u32) -> Option<Place> {
        self.cells.binary_search_by_key(&cell, |place| place.cell).ok().map(|at| self.cells[at])
    }

    fn cell(&self, cell: u32) -> Result<Vec<u8>> {
        let Some(Place { start, bytes: wanted, .. }) = self.place(cell) else { return Ok(Vec::new()) };
        // Memory that nobody has to clear before it is read into.
        let mut bytes = Vec::with_capacity(wanted as usize);
        while (bytes.len() as u64) < wanted {
            let start = start + bytes.len() as u64;
            match rustix::io::pread(&self.file, rustix::buffer::spare_capacity(&mut bytes), start) {
                Ok(0) => return Err(Error::failed("a spill file ends within a row")),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context("read a spill file"),
            }
        }
        bytes.truncate(wanted as usize);
        Ok(bytes)
    }

    fn read_cell(&self, cell: u32, take: &mut impl FnMut(Row<'_>) -> Result<()>) -> Result<()> {
        let Some(Place { mut start, bytes, .. }) = self.place(cell) else { return Ok(()) };
        let end = start + bytes;
        let mut bytes = Vec::new();
        while start < end {
            let (kept, read) = (bytes.len(), READ_BYTES.min(end - start));
            bytes.resize(kept + read as usize, 0);
            self.file.read_exact_at(&mut bytes[kept..], start).context("read a spill file")?;
            start += read;
            let mut rest = &bytes[..];
            while let Some((row, after)) = Row::split_first(rest) {
                take(row)?;
                rest = after;
            }
            bytes.drain(..bytes.len() - rest.len());
        }
        if bytes.is_empty() { Ok(()) } else { Err(Error::failed("a spill file ends within a row")) }
    }
}
