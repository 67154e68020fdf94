//! A cell that does not fit into memory: split by id, so that duplicates meet; sorted piece by piece; merged by time.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use super::buffer::Parts;
use super::cell::{CellPlan, CellReport, new_rows};
use super::encode::{CellWriter, Target};
use super::runs;
use super::typed::Typed;
use crate::error::{Context, Result};

/// Rows that the merge holds of each piece.
const CURSOR_ROWS: usize = 1024;

/// Writes the cell through temporary files. Memory: one piece while pieces are sorted, [`CURSOR_ROWS`] of each after.
pub fn write_large_cell(
    plan: &CellPlan<'_>,
    parts: &Parts,
    typed: &Typed,
    target: &Target<'_>,
    writer: &mut CellWriter<'_>,
    report: &mut CellReport,
) -> Result<()> {
    let (bytes, _) = parts.size_of_cell(plan.number);
    // Twice as many as would do on average: ids are spread well, but not evenly.
    let pieces = 2 * bytes.div_ceil(plan.memory_bytes.max(1));
    let folder = tempfile::tempdir_in(parts.folder()).context("make a temporary folder")?;
    split_by_id(plan.number, parts, typed, folder.path(), pieces)?;
    let mut sorted = Vec::new();
    for piece in 0..pieces {
        let path = piece_path(folder.path(), piece);
        let rows = read_all(&path, &typed.schema)?;
        let rows = new_rows(plan, &rows, target, report)?;
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
fn split_by_id(cell: u32, parts: &Parts, typed: &Typed, folder: &Path, pieces: usize) -> Result<()> {
    let mut writers = (0..pieces)
        .map(|piece| stream_writer(&piece_path(folder, piece), &typed.schema))
        .collect::<Result<Vec<_>>>()?;
    parts.read_cell(cell, |chunk| {
        let chunk = typed.settle(&chunk)?;
        let ids = chunk.column(1).as_string::<i32>();
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); pieces];
        for row in 0..ids.len() {
            let hash = blake3::hash(ids.value(row).as_bytes());
            let hash = u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("eight of 32 bytes"));
            rows[(hash % pieces as u64) as usize].push(row as u32);
        }
        for (writer, rows) in writers.iter_mut().zip(rows).filter(|(_, rows)| !rows.is_empty()) {
            let rows = take_record_batch(&chunk, &UInt32Array::from(rows)).context("split a large cell")?;
            writer.write(&rows).context("write a temporary file")?;
        }
        Ok(())
    })?;
    writers.iter_mut().try_for_each(|writer| writer.finish()).context("write a temporary file")
}

fn piece_path(folder: &Path, piece: usize) -> PathBuf {
    folder.join(format!("piece-{piece}.arrow"))
}

fn stream_writer(path: &Path, schema: &SchemaRef) -> Result<StreamWriter<BufWriter<File>>> {
    let file = File::create(path).context("create a temporary file")?;
    StreamWriter::try_new(BufWriter::new(file), schema).context("write a temporary file")
}

fn stream_reader(path: &Path) -> Result<StreamReader<BufReader<File>>> {
    let file = File::open(path).context("open a temporary file")?;
    StreamReader::try_new_buffered(file, None).context("read a temporary file")
}

fn read_all(path: &Path, schema: &SchemaRef) -> Result<RecordBatch> {
    let batches = stream_reader(path)?.collect::<Result<Vec<_>, _>>().context("read a temporary file")?;
    concat_batches(schema, &batches).context("join a piece's rows")
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
