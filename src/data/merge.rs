//! A cell that does not fit into memory: split by id, so that duplicates meet; sorted piece by piece; merged by time.

use std::fs::File;
use std::hash::BuildHasher;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use foldhash::fast::RandomState;

use super::buffer::Parts;
use super::cell::{CellPlan, CellReport, new_rows};
use super::encode::{CellWriter, Target};
use super::{row, runs};
use crate::error::{Context, Result};

/// Rows that the merge holds of each piece.
const CURSOR_ROWS: usize = 1024;

/// Writes the cell through temporary files. Memory: one piece while pieces are sorted, [`CURSOR_ROWS`] of each after.
pub fn write_large_cell(
    plan: &CellPlan<'_>,
    parts: &Parts,
    target: &Target<'_>,
    writer: &mut CellWriter<'_>,
    report: &mut CellReport,
) -> Result<()> {
    // Twice as many as would do on average: ids are spread well, but not evenly.
    let (bytes, _) = parts.size_of_cell(plan.number);
    let pieces = 2 * bytes.div_ceil(plan.memory_bytes.max(1) as u64) as usize;
    let folder = tempfile::tempdir_in(parts.folder()).context("make a temporary folder")?;
    split_by_id(plan.number, parts, folder.path(), pieces)?;
    let mut sorted = Vec::new();
    for piece in 0..pieces {
        let path = piece_path(folder.path(), piece);
        let bytes = std::fs::read(&path).context("read a temporary file")?;
        let rows = new_rows(plan, &row::rows(&bytes).collect::<Vec<_>>(), target, report)?;
        std::fs::remove_file(&path).context("remove a temporary file")?;
        if rows.num_rows() > 0 {
            let path = folder.path().join(format!("sorted-{piece}.arrow"));
            write_run(&path, &rows)?;
            sorted.push(path);
        }
    }
    let mut runs = sorted.iter().map(|path| read_run(path)).collect::<Result<Vec<_>>>()?;
    runs::merge(&mut runs, |rows| writer.write(&rows))
}

/// Sends each row to the piece of its id.
fn split_by_id(cell: u32, parts: &Parts, folder: &Path, pieces: usize) -> Result<()> {
    let create =
        |piece| Ok(BufWriter::new(File::create(piece_path(folder, piece)).context("create a temporary file")?));
    let mut writers = (0..pieces).map(create).collect::<Result<Vec<_>>>()?;
    let (hasher, mut bytes) = (RandomState::default(), Vec::new());
    parts.read_cell(cell, |row| {
        bytes.clear();
        row.append_to(&mut bytes);
        let piece = hasher.hash_one(row.id()) % pieces as u64;
        writers[piece as usize].write_all(&bytes).context("write a temporary file")
    })?;
    writers.iter_mut().try_for_each(|writer| writer.flush()).context("write a temporary file")
}

fn piece_path(folder: &Path, piece: usize) -> PathBuf {
    folder.join(format!("piece-{piece}.rows"))
}

fn stream_writer(path: &Path, schema: &SchemaRef) -> Result<StreamWriter<BufWriter<File>>> {
    let file = File::create(path).context("create a temporary file")?;
    StreamWriter::try_new(BufWriter::new(file), schema).context("write a temporary file")
}

fn stream_reader(path: &Path) -> Result<StreamReader<BufReader<File>>> {
    let file = File::open(path).context("open a temporary file")?;
    StreamReader::try_new_buffered(file, None).context("read a temporary file")
}

fn write_run(path: &Path, rows: &RecordBatch) -> Result<()> {
    let mut writer = stream_writer(path, &rows.schema())?;
    for start in (0..rows.num_rows()).step_by(CURSOR_ROWS) {
        let chunk = rows.slice(start, CURSOR_ROWS.min(rows.num_rows() - start));
        writer.write(&chunk).context("write a temporary file")?;
    }
    writer.finish().context("write a temporary file")
}

/// The rows of a run, batch by batch.
fn read_run(path: &Path) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
    Ok(stream_reader(path)?.map(|rows| rows.context("read a temporary file")))
}
