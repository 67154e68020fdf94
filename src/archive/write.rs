//! The cells of a decoded batch to data files, on all cores.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use jiff::civil::Date;
use tokio::runtime::Handle;

use super::read::Decoded;
use crate::catalog::{NewFile, Snapshot};
use crate::context::Context as Ctx;
use crate::data::cell::{CellPlan, CellReport, write_cell};
use crate::data::encode::Target;
use crate::data::rows::export_and_line;
use crate::error::{Context, Result};
use crate::model::{DataFile, Partition, Schema};
use crate::progress::Unit;
use crate::store::Layout;

/// What became of the rows.
#[derive(Default)]
pub struct Written {
    pub files: Vec<NewFile>,
    /// By input number.
    pub duplicates: BTreeMap<u64, u64>,
    /// Orders of the records that conflict.
    pub conflicts: Vec<u64>,
    pub cells: Vec<Partition>,
    /// Dates on which rows were dropped because the archive has them.
    pub leaned_on: BTreeSet<Date>,
}

/// What the cells are written from and how.
pub struct Writing<'a> {
    pub ctx: &'a Ctx,
    pub runtime: &'a Handle,
    pub decoded: &'a Decoded,
    pub snapshot: Option<&'a Snapshot>,
    pub schema: &'a Schema,
    pub layout: &'a Layout,
    /// Rows of a cell held in memory by each thread.
    pub cell_bytes: usize,
    pub threads: usize,
}

impl Writing<'_> {
    /// Writes all cells. On an error the files written so far are deleted: a run that fails leaves no trace.
    pub fn write_cells(&self) -> Result<Written> {
        let cells = self.decoded.rules.cells.all();
        let existing = self.runtime.block_on(existing_files(self.snapshot, &cells))?;
        let next_file = AtomicUsize::new(0);
        let target = Target {
            store: &self.ctx.store,
            layout: self.layout,
            runtime: self.runtime.clone(),
            next_file: &next_file,
            schema_id: self.snapshot.map_or(1, |snapshot| snapshot.version() as u32 + 1),
        };
        let task = self.ctx.progress.task("write", Unit::Files, Some(cells.len() as u64));
        let written = Mutex::new(Written { cells: cells.clone(), ..Written::default() });
        let (next_cell, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let work = || -> Result<()> {
            while !failed.load(Ordering::Relaxed) {
                let number = next_cell.fetch_add(1, Ordering::Relaxed);
                let Some(cell) = cells.get(number) else { break };
                let outcome = self.write_one(cell, number as u32, &existing, &target);
                let report = outcome.inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
                add(&mut written.lock().unwrap_or_else(PoisonError::into_inner), cell, report);
                task.advance(1);
            }
            Ok(())
        };
        let outcome = thread::scope(|scope| {
            let writers: Vec<_> = (0..self.threads).map(|_| scope.spawn(work)).collect();
            let join = |writer: thread::ScopedJoinHandle<'_, Result<()>>| {
                writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            writers.into_iter().map(join).fold(Ok(()), Result::and)
        });
        let written = written.into_inner().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(()) => Ok(written),
            Err(error) => {
                discard(self.ctx, self.runtime, &written);
                Err(error)
            }
        }
    }

    fn write_one(
        &self,
        cell: &Partition,
        number: u32,
        existing: &HashMap<Partition, Vec<DataFile>>,
        target: &Target<'_>,
    ) -> Result<CellReport> {
        self.ctx.stop.check()?;
        let plan = CellPlan {
            cell,
            number,
            schema: self.schema,
            existing: existing.get(cell).cloned().unwrap_or_default(),
            memory_bytes: self.cell_bytes,
        };
        write_cell(&plan, &self.decoded.parts, target).with_context(|| format!("archive the cell {cell}"))
    }
}

/// Deletes the files of a run that will not be committed.
pub fn discard(ctx: &Ctx, runtime: &Handle, written: &Written) {
    let paths = written.files.iter().map(|new| new.file.path.clone()).collect();
    if let Err(error) = runtime.block_on(ctx.store.delete(paths)) {
        tracing::warn!("files of this run are left for `tier vacuum`: {error}");
    }
}

fn add(written: &mut Written, cell: &Partition, report: CellReport) {
    written.files.extend(report.files);
    for order in report.duplicates {
        *written.duplicates.entry(export_and_line(order).0).or_default() += 1;
    }
    written.conflicts.extend(report.conflicts);
    if report.leaned_on_archive {
        written.leaned_on.insert(cell.date);
    }
}

/// The files that the archive has in these cells.
async fn existing_files(snapshot: Option<&Snapshot>, cells: &[Partition]) -> Result<HashMap<Partition, Vec<DataFile>>> {
    let Some(snapshot) = snapshot else { return Ok(HashMap::new()) };
    let dates: BTreeSet<Date> = cells.iter().map(|cell| cell.date).collect();
    let mut existing: HashMap<Partition, Vec<DataFile>> = cells.iter().map(|cell| (cell.clone(), Vec::new())).collect();
    for file in snapshot.files(|leaf| leaf.may_hold_any(&dates)).await? {
        if let Some(files) = file.partition().and_then(|cell| existing.get_mut(&cell)) {
            files.push(file);
        }
    }
    Ok(existing)
}
