//! The run: settle the mapping, leave out what is known, and commit batch by batch.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::runtime::Handle;

use super::after;
use super::dead_letters::{Collector, DeadLetterLimit, Example, known_letters};
use super::hot;
use super::read::{self, Decoded, Input};
use super::report::{ArchiveReport, ExportReport, ExportStatus};
use super::reread;
use super::write::{self, Writing, Written};
use crate::catalog::{Change, Operation, Outcome, Snapshot, commit};
use crate::clock::Stopwatch;
use crate::context::Context as Ctx;
use crate::data::cells::Cells;
use crate::data::columns::Columns;
use crate::data::rows::Rules;
use crate::error::{Context, Error, Kind, Result};
use crate::exports::{self, Export, Format, source};
use crate::model::{ColumnType, ExportEntry, ExportStamp, IdSource, KeySource, Mapping, Schema, TimeUnit};
use crate::store::Layout;

pub use super::after::AfterCommit;

/// A commit takes exports of at most this many bytes, so that a kill late in a long night loses one batch, not the night.
const BATCH_BYTES: u64 = 64 << 30;

/// Times a batch is decided again because another run changed what it relied on.
const MAX_CONFLICTS: usize = 16;

/// What the process needs beside rows: code, runtime, catalog, codecs.
const BASE_BYTES: usize = 96 << 20;

/// The smallest memory a run works with.
pub const MIN_MEMORY_BYTES: u64 = 192 << 20;

/// Parts of a mapping that the user named; the rest is remembered or default.
#[derive(Debug, Clone, Default)]
pub struct MappingChoice {
    pub id: Option<IdSource>,
    pub event_type: Option<KeySource>,
    pub tenant: Option<KeySource>,
    pub time: Option<String>,
    pub time_unit: Option<TimeUnit>,
}

/// What to archive and how.
#[derive(Debug, Clone)]
pub struct ArchiveRequest {
    pub exports: Vec<String>,
    /// Instead of what the names say.
    pub format: Option<Format>,
    pub mapping: MappingChoice,
    pub null_tokens: Vec<String>,
    /// Columns to add with a type of the user's choice.
    pub columns: Vec<(String, ColumnType)>,
    /// Leave files alone that were changed less than this ago.
    pub settle: Duration,
    /// Read files that look unchanged.
    pub rehash: bool,
    pub max_dead_letters: DeadLetterLimit,
    pub after_commit: AfterCommit,
    /// How far in the future a time may lie.
    pub accept_future: Duration,
    /// Bound of the process's resident memory.
    pub memory_bytes: u64,
    pub threads: usize,
}

/// Archives the exports.
pub async fn archive(ctx: &Ctx, request: &ArchiveRequest) -> Result<ArchiveReport> {
    let watch = Stopwatch::start();
    let snapshot = Snapshot::latest(&ctx.store).await?;
    let mapping = settle_mapping(snapshot.as_ref(), &request.mapping)?;
    let found = exports::find(&request.exports, request.format).await?;
    let (fresh, mut report) = leave_out_known(ctx, request, snapshot.as_ref(), &mapping, found).await?;
    report.version = snapshot.as_ref().map(Snapshot::version);
    for batch in batches(fresh.new) {
        ctx.stop.check()?;
        let inputs: Vec<Input> = batch.iter().cloned().map(|export| Input::Export(Box::new(export))).collect();
        let done = archive_batch(ctx, request, &mapping, inputs, Vec::new()).await?;
        after::apply(&request.after_commit, &batch, ctx).await?;
        report.absorb(done);
    }
    // Those of an earlier run that was killed between its commit and this.
    after::apply(&request.after_commit, &fresh.known, ctx).await?;
    report.exports.sort_by(|a, b| a.path.cmp(&b.path));
    report.elapsed_ms = watch.elapsed_ms();
    Ok(report)
}

/// The mapping of this run: what the user named, else what the archive remembers, else the defaults.
pub(super) fn settle_mapping(snapshot: Option<&Snapshot>, choice: &MappingChoice) -> Result<Mapping> {
    let remembered = snapshot.and_then(|snapshot| snapshot.root().document.mapping.clone());
    let base = remembered.clone().unwrap_or_default();
    let mapping = Mapping {
        id: choice.id.clone().unwrap_or(base.id),
        event_type: choice.event_type.clone().unwrap_or(base.event_type),
        tenant: choice.tenant.clone().unwrap_or(base.tenant),
        time: choice.time.clone().unwrap_or(base.time),
        time_unit: choice.time_unit.or(base.time_unit),
    };
    match remembered {
        Some(remembered) if remembered.id != mapping.id => Err(Error::usage(format!(
            "this archive's event ids come from `{}`; `--id {}` would count the same events twice",
            remembered.id, mapping.id
        ))
        .code("other-id")
        .hint("leave --id out, or use another archive")),
        _ => Ok(mapping),
    }
}

/// Exports to read, and those that are done already.
pub(super) struct Fresh {
    pub new: Vec<Export>,
    pub known: Vec<Export>,
}

/// Sorts out exports that are too young, unchanged since an earlier run, or whose bytes the ledger has.
pub(super) async fn leave_out_known(
    ctx: &Ctx,
    request: &ArchiveRequest,
    snapshot: Option<&Snapshot>,
    mapping: &Mapping,
    found: Vec<Export>,
) -> Result<(Fresh, ArchiveReport)> {
    let mut report = ArchiveReport::default();
    let mut fresh = Fresh { new: Vec::new(), known: Vec::new() };
    let sizes: HashSet<u64> = found.iter().map(|export| export.stamp.size_bytes).collect();
    let digest = mapping.digest();
    // The same bytes have the same size: without an entry of that size nothing needs to be read twice.
    let entries = match snapshot {
        Some(snapshot) => snapshot.find_exports(|e| e.mapping == digest && sizes.contains(&e.stamp.size_bytes)).await?,
        None => Vec::new(),
    };
    for export in found {
        let young = |modified: Timestamp| ctx.now().duration_since(modified).unsigned_abs() < request.settle;
        if !request.settle.is_zero() && export.modified.is_some_and(young) {
            report.exports.push(skipped(&export, String::new(), ExportStatus::Settling));
            continue;
        }
        let same_size: Vec<&ExportEntry> =
            entries.iter().filter(|e| e.stamp.size_bytes == export.stamp.size_bytes).collect();
        let unchanged =
            same_size.iter().find(|e| e.stamp == export.stamp && !export.stamp.version.is_empty() && !request.rehash);
        let done = match unchanged {
            Some(entry) => Some(entry.digest.clone()),
            None if same_size.is_empty() => None,
            None => {
                let (export, runtime) = (export.clone(), Handle::current());
                let read = tokio::task::spawn_blocking(move || source::digest(&export, &runtime));
                let digest = read.await.context("wait for the digest")??;
                same_size.iter().any(|entry| entry.digest == digest).then_some(digest)
            }
        };
        match done {
            Some(digest) => {
                report.exports.push(skipped(&export, digest, ExportStatus::AlreadyArchived));
                fresh.known.push(export);
            }
            None => fresh.new.push(export),
        }
    }
    Ok((fresh, report))
}

fn skipped(export: &Export, digest: String, status: ExportStatus) -> ExportReport {
    ExportReport { path: export.stamp.path.clone(), digest, status, read: 0, accepted: 0, duplicate: 0, dead_letter: 0 }
}

fn batches(exports: Vec<Export>) -> Vec<Vec<Export>> {
    let mut batches: Vec<Vec<Export>> = Vec::new();
    let mut bytes = 0;
    for export in exports {
        let size = export.stamp.size_bytes;
        match batches.last_mut() {
            Some(batch) if bytes + size <= BATCH_BYTES => batch.push(export),
            _ => {
                bytes = 0;
                batches.push(vec![export]);
            }
        }
        bytes += size;
    }
    batches
}

/// Decodes, writes and commits inputs as one; `closes` are the dead-letter files that are settled by it.
pub(super) async fn archive_batch(
    ctx: &Ctx,
    request: &ArchiveRequest,
    mapping: &Mapping,
    inputs: Vec<Input>,
    closes: Vec<String>,
) -> Result<ArchiveReport> {
    for _ in 0..MAX_CONFLICTS {
        let snapshot = Snapshot::latest(&ctx.store).await?;
        let batch = Batch {
            ctx: ctx.clone(),
            request: request.clone(),
            mapping: mapping.clone(),
            inputs: inputs.clone(),
            snapshot,
        };
        let (batch, prepared) = {
            let runtime = Handle::current();
            // Decoding and encoding keep every core busy for long: not for the runtime's own threads.
            let work = tokio::task::spawn_blocking(move || batch.prepare(&runtime).map(|prepared| (batch, prepared)));
            work.await.context("wait for the run")??
        };
        let Prepared { layout, mut change, mut report, written } = prepared;
        change.close_dead_letters.clone_from(&closes);
        match commit(ctx, batch.snapshot.as_ref(), &layout, change).await {
            Ok(Outcome::Committed(snapshot)) => {
                report.version = Some(snapshot.version());
                report.committed = vec![snapshot.version()];
                return Ok(report);
            }
            Ok(Outcome::Conflict(why)) => {
                ctx.progress.warn(&format!("{why}: deciding again on the newest version"));
                let (ctx, runtime) = (ctx.clone(), Handle::current());
                let discarded = tokio::task::spawn_blocking(move || write::discard(&ctx, &runtime, &written));
                discarded.await.context("wait for the clean-up")?;
            }
            Err(error) => return Err(error),
        }
    }
    Err(Error::new(Kind::TryAgain, "other runs kept changing the same cells").hint("run it again when they are done"))
}

/// Larger cells are merged from disk however much memory there is: measured from 2 to 26 MiB, that takes no longer.
const MAX_CELL_BYTES: usize = 64 << 20;

/// Of a process's memory what rows may take while they are read, of which half may still be there when cells are written,
/// and a cell that is: what was measured to stay within the bound. Of a cell there are its rows, their order, and what is
/// encoded.
pub(super) fn row_memory(memory_bytes: u64, threads: usize) -> (usize, usize) {
    let memory = (memory_bytes.max(MIN_MEMORY_BYTES) as usize).saturating_sub(BASE_BYTES);
    (memory * 2 / 5, (memory / (8 * threads)).min(MAX_CELL_BYTES))
}

struct Batch {
    ctx: Ctx,
    request: ArchiveRequest,
    mapping: Mapping,
    inputs: Vec<Input>,
    snapshot: Option<Snapshot>,
}

/// Everything but the commit.
struct Prepared {
    layout: Layout,
    change: Change,
    report: ArchiveReport,
    written: Written,
}

impl Batch {
    fn prepare(&self, runtime: &Handle) -> Result<Prepared> {
        let Batch { ctx, request, inputs, snapshot, .. } = self;
        let (buffer_bytes, cell_bytes) = row_memory(request.memory_bytes, request.threads);
        let base_schema = self.base_schema()?;
        let rules = self.rules(&base_schema);
        let dead = self.collector(runtime)?;
        let decoded = read::decode(ctx, runtime, inputs, rules, dead, buffer_bytes, request.threads)?;
        self.check_counts(&decoded)?;
        self.check_dead_letters(&decoded)?;
        let schema = decoded.rules.columns.settle(&base_schema)?;
        let base_version = snapshot.as_ref().map_or(0, Snapshot::version);
        let layout = Layout::for_run(base_version, &ctx.random.id());
        let writing = Writing {
            ctx,
            runtime,
            decoded: &decoded,
            snapshot: snapshot.as_ref(),
            schema: &schema,
            layout: &layout,
            cell_bytes,
            threads: request.threads,
        };
        let written = writing.write_cells()?;
        let finished = reread::refused(runtime, inputs, &decoded, &schema, &written.refused)
            .and_then(|()| self.check_dead_letters(&decoded))
            .and_then(|()| self.finish(runtime, decoded, &written, &schema, &layout, base_version));
        match finished {
            Ok((change, report)) => Ok(Prepared { layout, change, report, written }),
            Err(error) => {
                write::discard(ctx, runtime, &written);
                Err(error)
            }
        }
    }

    /// A day of the hot tier is read again and again: its dead letters are kept once.
    fn collector(&self, runtime: &Handle) -> Result<Collector> {
        let collector = Collector::default();
        match (&self.inputs[..], &self.snapshot) {
            ([Input::Hot(day)], Some(snapshot)) => {
                Ok(collector.knowing(runtime.block_on(known_letters(snapshot, day.name()))?))
            }
            ([Input::Hot(_)], None) => Ok(collector.knowing(HashSet::new())),
            _ => Ok(collector),
        }
    }

    /// What the hot tier counted must be what was read.
    fn check_counts(&self, decoded: &Decoded) -> Result<()> {
        self.inputs.iter().zip(&decoded.inputs).try_for_each(|(input, seen)| match input {
            Input::Hot(day) => day.check(seen.read, &seen.hot),
            _ => Ok(()),
        })
    }

    fn base_schema(&self) -> Result<Schema> {
        let mut schema = self.snapshot.as_ref().map(|snapshot| snapshot.schema().clone()).unwrap_or_default();
        for (name, column_type) in &self.request.columns {
            schema.add(name, *column_type)?;
        }
        Ok(schema)
    }

    fn rules(&self, schema: &Schema) -> Rules {
        let future = i64::try_from(self.request.accept_future.as_micros()).unwrap_or(i64::MAX);
        Rules {
            mapping: self.mapping.clone(),
            columns: Columns::new(schema),
            cells: Cells::default(),
            max_time: self.ctx.now().as_microsecond().saturating_add(future),
            null_tokens: self.request.null_tokens.clone(),
            renamed: Mutex::default(),
        }
    }

    /// Fails the run when an export has too many dead letters, or the whole run nothing else.
    fn check_dead_letters(&self, decoded: &Decoded) -> Result<()> {
        let (mut read, mut dead) = (0, 0);
        for (number, input) in (0..).zip(&self.inputs) {
            let records = decoded.inputs[number as usize].read;
            let count = decoded.dead.bad(number);
            let limit = self.request.max_dead_letters.of(records);
            if count > limit && !matches!(input, Input::Letters(_)) {
                let message =
                    format!("{} has {count} bad records of {records}, more than the limit of {limit}", input.name());
                return Err(too_many(message, &decoded.dead.examples()));
            }
            read += records;
            dead += count;
        }
        // A day of few events may have none but bad ones.
        let replays = self.inputs.iter().all(|input| !matches!(input, Input::Export(_)));
        if dead > 0 && dead == read && !replays {
            return Err(too_many(format!("none of the {read} records could be archived"), &decoded.dead.examples()));
        }
        Ok(())
    }

    fn finish(
        &self,
        runtime: &Handle,
        decoded: Decoded,
        written: &Written,
        schema: &Schema,
        layout: &Layout,
        base_version: u64,
    ) -> Result<(Change, ArchiveReport)> {
        let mut report = self.report(&decoded, written);
        let rows: u64 = written.files.iter().map(|new| new.file.rows).sum();
        if rows != report.accepted {
            let message = format!("{} records were accepted, but {rows} rows written", report.accepted);
            return Err(Error::failed(message).code("row-count").hint("this is a bug of tier; nothing was committed"));
        }
        let document = self.snapshot.as_ref().map(|snapshot| &snapshot.root().document);
        let mut operation = Operation::new("append", base_version);
        operation.read = report.read;
        operation.accepted = report.accepted;
        operation.duplicate = report.duplicate;
        operation.dead_letter = report.dead_letter;
        operation.files = report.files;
        operation.bytes = report.bytes_out;
        operation.leaned_on = written.leaned_on.iter().copied().collect();
        let mut change = Change::new(operation);
        change.exports = self.ledger_entries(&report);
        change.relies_on = written.cells.iter().cloned().collect();
        change.schema = document.is_none_or(|d| &d.schema != schema).then(|| schema.clone());
        change.mapping = document.is_none_or(|d| d.mapping.is_none()).then(|| self.mapping.clone());
        change.add.clone_from(&written.files);
        report.examples = decoded.dead.examples();
        report.reasons = decoded.dead.reasons();
        if let [Input::Hot(day)] = &self.inputs[..] {
            let counts = decoded.inputs[0].hot;
            let seal = hot::new_seal(&self.ctx, runtime, self.snapshot.as_ref(), day, &counts, &report)?;
            change.seals.insert(day.date, seal);
            report.hot = Some(counts);
            if report.accepted == 0 && report.reasons.is_empty() {
                // Nothing was added that could be taken back.
                change.operation.kind = "seal".to_owned();
                change.exports.clear();
            }
        }
        change.dead_letters = decoded.dead.store(&self.ctx, layout, runtime)?;
        Ok((change, report))
    }

    fn ledger_entries(&self, report: &ArchiveReport) -> Vec<ExportEntry> {
        let mapping = self.mapping.digest();
        let stamp = |input: &Input, done: &ExportReport| match input {
            Input::Letters(_) => None,
            Input::Export(export) => Some((export.stamp.clone(), done.digest.clone())),
            Input::Hot(day) => {
                let stamp = ExportStamp { path: day.name().to_owned(), size_bytes: 0, version: String::new() };
                // Its rows come in any order and are read again and again: every read is an export of its own.
                Some((stamp, blake3::hash(self.ctx.random.id().as_bytes()).to_hex().to_string()))
            }
        };
        let entry = |(input, done): (&Input, &ExportReport)| {
            let (stamp, digest) = stamp(input, done)?;
            Some(ExportEntry {
                digest,
                mapping: mapping.clone(),
                stamp,
                archived_at: self.ctx.now(),
                version: 0,
                read: done.read,
                accepted: done.accepted,
                duplicate: done.duplicate,
                dead_letter: done.dead_letter,
            })
        };
        self.inputs.iter().zip(&report.exports).filter_map(entry).collect()
    }

    fn report(&self, decoded: &Decoded, written: &Written) -> ArchiveReport {
        let mut report = ArchiveReport::default();
        for (number, input) in (0..).zip(&self.inputs) {
            let read = &decoded.inputs[number as usize];
            let duplicate = written.duplicates.get(&number).copied().unwrap_or(0);
            let dead_letter = decoded.dead.count(number);
            let accepted = read.read - duplicate - dead_letter;
            report.exports.push(ExportReport {
                path: input.name().to_owned(),
                digest: read.digest.clone(),
                status: ExportStatus::Archived,
                read: read.read,
                accepted,
                duplicate,
                dead_letter,
            });
            report.read += read.read;
            report.accepted += accepted;
            report.duplicate += duplicate;
            report.dead_letter += dead_letter;
            report.bytes_in += input.size_bytes();
        }
        let folders: HashSet<&str> =
            written.files.iter().filter_map(|new| Some(new.file.path.rsplit_once('/')?.0)).collect();
        report.cells = folders.len() as u64;
        report.files = written.files.len() as u64;
        report.bytes_out = written.files.iter().map(|new| new.file.size_bytes).sum();
        report.dates =
            written.files.iter().map(|new| new.file.dates.min).collect::<BTreeSet<_>>().into_iter().collect();
        report.undecided_dates = written.undecided.keys().copied().collect();
        report.spoiled_columns = decoded.rules.columns.spoiled();
        for column in &mut report.spoiled_columns {
            column.file = self.inputs[column.export as usize].name().to_owned();
        }
        report.renamed_columns =
            decoded.rules.renamed.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
        report
    }
}

fn too_many(message: String, examples: &[Example]) -> Error {
    let shown: Vec<String> = examples
        .iter()
        .map(|e| format!("{}: {} line {}: {}\n    {}", e.reason, e.file, e.line, e.detail, e.raw))
        .collect();
    Error::failed(message)
        .code("too-many-dead-letters")
        .hint("mend the export or the mapping, or allow more with --max-dead-letters N|P%; nothing was archived")
        .with_source(Error::failed(format!("for example\n{}", shown.join("\n"))))
}
