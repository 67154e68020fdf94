//! The cells of a decoded batch to data files, on all cores.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::civil::Date;
use tokio::runtime::Handle;

use super::existing::existing_files;
use super::read::Decoded;
use crate::catalog::{NewFile, Snapshot};
use crate::context::Context as Ctx;
use crate::data::cell::{CellPlan, CellReport, write_cell};
use crate::data::encode::Target;
use crate::data::existing::ExistingFile;
use crate::data::footers::Footers;
use crate::data::rows::export_and_line;
use crate::data::threads;
use crate::data::turns::Turns;
use crate::data::typed::Typed;
use crate::error::{Context, Error, Kind, Result};
use crate::model::{BUNDLES, DataFile, Partition, Schema};
use crate::progress::Unit;
use crate::store::Layout;

/// A few late records wait as dead letters until a restore settles them; a month of them is better restored first.
const MAX_UNDECIDED: u64 = 1_000_000;

/// Threads for each that encodes at a time: the others wait for the store, each with the bytes of one file. What a file
/// costs in waiting is a PUT and a GET; a bucket answers in some 30 ms, while a small cell is encoded in 2.
const WRITERS_PER_TURN: usize = 8;

/// What became of the rows.
#[derive(Default)]
pub struct Written {
    pub files: Vec<NewFile>,
    /// By input number.
    pub duplicates: BTreeMap<u64, u64>,
    /// Records that are not archived after all.
    pub refused: Vec<Refused>,
    pub cells: Vec<Partition>,
    /// Dates on which rows were dropped because the archive has them.
    pub leaned_on: BTreeSet<Date>,
    /// Dates of rows that may be in the archive, in a file that cannot be read now.
    pub undecided: BTreeMap<Date, u64>,
}

/// A record whose identity the archive has, or may have.
pub struct Refused {
    /// See [`export_and_line`].
    pub order: u64,
    /// Number of its cell.
    pub cell: u32,
    /// The file that cannot be read now; `None` of a conflict.
    pub perhaps_in: Option<Arc<DataFile>>,
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
        let existing = self.runtime.block_on(existing_files(self.ctx, self.snapshot, &cells))?;
        let order = in_order_of_files(&cells, &existing);
        let next_file = AtomicUsize::new(0);
        let target = Target {
            store: &self.ctx.store,
            layout: self.layout,
            runtime: self.runtime.clone(),
            next_file: &next_file,
            schema_id: self.snapshot.map_or(1, |snapshot| snapshot.version() as u32 + 1),
        };
        let typed = Typed::for_run(self.schema, &self.decoded.rules.columns);
        let task = self.ctx.progress.task("write", Unit::Files, Some(cells.len() as u64));
        let written = Mutex::new(Written { cells: cells.clone(), ..Written::default() });
        let (next_cell, failed, footers) = (AtomicUsize::new(0), AtomicBool::new(false), Footers::default());
        // One more than cores: a thread that is handed a turn needs a moment to wake up.
        let turns = Turns::new(self.threads + 1);
        let work = || -> Result<()> {
            while !failed.load(Ordering::Relaxed) {
                let Some(&number) = order.get(next_cell.fetch_add(1, Ordering::Relaxed)) else { break };
                let (cell, turn) = (&cells[number], turns.take());
                let plan = CellPlan {
                    cell,
                    number: number as u32,
                    schema: self.schema,
                    typed: &typed,
                    existing: existing.get(cell).map_or(&[], Vec::as_slice),
                    footers: &footers,
                    memory_bytes: self.cell_bytes,
                    turn: &turn,
                };
                let outcome = self.write_one(&plan, &target);
                let report = outcome.inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
                drop(turn);
                let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
                add(&mut written, cell, number as u32, report);
                check_undecided(&written).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
                drop(written);
                task.advance(1);
            }
            Ok(())
        };
        let writers = if self.ctx.store.answers_inline() { self.threads + 1 } else { self.threads * WRITERS_PER_TURN };
        let outcome = threads::on_all(writers, work);
        let written = written.into_inner().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(()) => Ok(written),
            Err(error) => {
                discard(self.ctx, self.runtime, &written);
                Err(error)
            }
        }
    }

    fn write_one(&self, plan: &CellPlan<'_>, target: &Target<'_>) -> Result<CellReport> {
        self.ctx.stop.check()?;
        write_cell(plan, &self.decoded.parts, target).with_context(|| format!("archive the cell {}", plan.cell))
    }
}

/// Deletes the files of a run that will not be committed.
pub fn discard(ctx: &Ctx, runtime: &Handle, written: &Written) {
    let paths = written.files.iter().map(|new| new.file.path.clone()).collect();
    if let Err(error) = runtime.block_on(ctx.store.delete(paths)) {
        tracing::warn!("files of this run are left for `tier vacuum`: {error}");
    }
}

fn add(written: &mut Written, cell: &Partition, number: u32, report: CellReport) {
    written.files.extend(report.files);
    for order in report.duplicates {
        *written.duplicates.entry(export_and_line(order).0).or_default() += 1;
    }
    written.refused.extend(report.conflicts.into_iter().map(|order| Refused { order, cell: number, perhaps_in: None }));
    if !report.undecided.is_empty() {
        *written.undecided.entry(cell.date).or_default() += report.undecided.len() as u64;
    }
    let undecided = report.undecided.into_iter();
    written.refused.extend(undecided.map(|(order, file)| Refused { order, cell: number, perhaps_in: Some(file) }));
    if report.leaned_on_archive {
        written.leaned_on.insert(cell.date);
    }
}

fn check_undecided(written: &Written) -> Result<()> {
    let Some((first, last)) = written.undecided.keys().next().zip(written.undecided.keys().next_back()) else {
        return Ok(());
    };
    if written.undecided.values().sum::<u64>() <= MAX_UNDECIDED {
        return Ok(());
    }
    let message = format!("more than {MAX_UNDECIDED} records may be in archived files already");
    Err(Error::new(Kind::RestoreNeeded, message)
        .code("too-many-undecided")
        .hint("restore those files first, then archive; nothing was archived")
        .command(format!("tier restore plan --from {first} --to {last}")))
}

/// The cells' numbers so that those with rows in the same bundle follow each other: its footer is then read once.
fn in_order_of_files(cells: &[Partition], existing: &HashMap<Partition, Vec<ExistingFile>>) -> Vec<usize> {
    let bundle = |cell: &Partition| {
        let files = existing.get(cell).into_iter().flatten();
        files.map(|existing| &existing.file.path).find(|path| path.starts_with(BUNDLES))
    };
    let mut order: Vec<usize> = (0..cells.len()).collect();
    order.sort_by_cached_key(|&number| bundle(&cells[number]));
    order
}
