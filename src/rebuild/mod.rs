//! The catalog from data files and packs alone, for the day when roots or leaves are lost.
//!
//! # Flow
//! [`packs`] reads every pack and finds the footers in it; then a [`month`] at a time its bundles are looked at, and a
//! [`day`] at a time the files of its cells: by a footer from a pack, or from the file where it can be read ([`files`]).
//! What goes is decided by [`choose`]; the rest becomes leaves and a root ([`crate::catalog::commit_rebuilt`]), or is
//! compared with the catalog ([`check`]).
//!
//! # Which files are part of the archive
//! A bundle or a merged file says which files it was made of: those go. Whatever else shares a cell is compared by its
//! event ids, and a file goes when all of its events are in others, as after a run that was killed and run again. What
//! cannot be decided, because an archived file cannot be read or because files share only some events, is named, and
//! nothing is committed until a person decides. No event is listed twice, and none is dropped silently.
//!
//! Nothing in the data tells that events were reverted, or have expired, before a vacuum deletes them: they come back.
//! So do those of a killed run that was never run again.
//!
//! # Cost
//! One LIST per thousand objects, every pack once, one GET for each data file without a pack, and the ids of files that
//! share a cell; with `read` every byte of what can be read. In memory are one day's files, the cells of one month's
//! bundles, and a line per leaf.
//!
//! # Crash
//! Until the root there are leaves that no version names. Running it again does it all anew.

mod check;
mod choose;
mod columns;
mod day;
mod files;
mod ids;
mod letters;
mod month;
mod packs;
mod report;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use jiff::civil::Date;

pub use report::{Difference, LeftOut, Lost, Problem, ProblemKind, RebuildReport};

use crate::catalog::{FILES_PER_LEAF, Leaves, NewFile, Rebuilt, Remains, Snapshot, commit_rebuilt};
use crate::context::Context as Ctx;
use crate::error::{Error, Result};
use crate::model::ObjectState;
use crate::progress::{Task, Unit};
use crate::store::Layout;
use check::Check;
use columns::Columns;
use files::Item;
use month::Folders;
use packs::Packs;

/// Files are written to leaves when so many have come: few leaves, and little memory.
const FILES_AT_ONCE: usize = 4 * FILES_PER_LEAF;

/// A name that tells of more versions than this is not one of ours: a commit a minute for a century are fewer.
const MAX_VERSIONS: u64 = 100_000_000;

/// Files whose bytes are read side by side, each a part at a time.
const READS_IN_FLIGHT: usize = 16;

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RebuildOptions {
    /// Compare with the catalog, and write nothing.
    pub check: bool,
    /// Commit although the newest version can be read.
    pub replace: bool,
    /// Read the bytes of every readable file for its SHA-256.
    pub read: bool,
    /// Paths of files, or of folders, that are to be no part of the archive.
    pub leave_out: Vec<String>,
    /// Paths of files, or of folders, whose events are in no file that cannot be read.
    pub keep: Vec<String>,
}

/// Rebuilds the catalog, or compares it. Where the report has problems nothing was committed.
pub async fn rebuild(ctx: &Ctx, options: &RebuildOptions) -> Result<RebuildReport> {
    let remains = Remains::find(&ctx.store).await?;
    let sink = match (&remains.readable, options.check) {
        (Some(readable), true) if remains.is_readable() => Sink::Check(Box::new(Check::of(ctx, readable).await?)),
        (_, true) => return Err(unreadable(&remains)),
        (Some(readable), false) if remains.is_readable() && !options.replace => return Err(is_readable(readable)),
        _ => Sink::Leaves { leaves: Leaves::default(), waiting: Vec::new() },
    };
    let packs = Packs::read(ctx).await?;
    let newest = newest_named(ctx, &remains).await?;
    let base_version = newest.max(1);
    let mut run = Run {
        ctx,
        options,
        packs,
        report: RebuildReport { newest_known: remains.newest(), ..RebuildReport::default() },
        columns: Columns::default(),
        sink,
        task: ctx.progress.task("files", Unit::Files, None),
        base_version,
        layout: Layout::for_run(base_version, &ctx.random.id()),
        packs_written: 0,
    };
    for (month, folders) in months(&mut run).await? {
        month::rebuild(&mut run, month, &folders).await?;
    }
    run.finish(&remains).await
}

/// Where the files go.
enum Sink {
    Leaves { leaves: Leaves, waiting: Vec<NewFile> },
    Check(Box<Check>),
}

/// A rebuild under way.
pub struct Run<'a> {
    ctx: &'a Ctx,
    options: &'a RebuildOptions,
    packs: Packs,
    report: RebuildReport,
    columns: Columns,
    sink: Sink,
    task: Arc<dyn Task>,
    /// Nothing that was seen was named by a later version.
    base_version: u64,
    layout: Layout,
    packs_written: usize,
}

impl Run<'_> {
    fn writes(&self) -> bool {
        matches!(self.sink, Sink::Leaves { .. })
    }

    fn keeps(&self, path: &str) -> bool {
        self.options.keep.iter().any(|named| is_named(named, path))
    }

    fn next_pack(&mut self) -> String {
        self.packs_written += 1;
        self.layout.pack(self.packs_written)
    }

    /// The objects of a folder that a run of ours made and that are not to be left out.
    async fn list(&mut self, folder: &str) -> Result<Vec<ObjectState>> {
        let mut objects = self.ctx.store.classes().list(folder).await?;
        self.task.advance(objects.len() as u64);
        let (left_out, base_version) = (&mut self.report.left_out, &mut self.base_version);
        objects.retain(|object| {
            let is_in_place = object.path.starts_with(Layout::BUNDLES) || day::cell_of(&object.path).is_some();
            let Some(base) = Layout::base_version(&object.path).filter(|_| is_in_place) else {
                left_out.foreign.add(object.size_bytes);
                return false;
            };
            *base_version = (base + 1).max(*base_version);
            let is_asked = self.options.leave_out.iter().any(|named| is_named(named, &object.path));
            if is_asked {
                left_out.asked.add(object.size_bytes);
            }
            !is_asked
        });
        Ok(objects)
    }

    /// Takes a folder's files into the new catalog, or compares them.
    async fn add(&mut self, folder: &str, files: Vec<(NewFile, &Item)>) -> Result<()> {
        let report = &mut self.report;
        for (new, item) in &files {
            self.columns.count(&item.columns, &new.file.path);
            report.files += 1;
            report.rows += new.file.rows;
            report.bytes += new.file.size_bytes;
            report.classes.entry(new.file.storage_class).or_default().add(1, new.file.rows, new.file.size_bytes);
        }
        match &mut self.sink {
            Sink::Check(check) => check.folder(folder, files.iter().map(|(new, _)| new), report),
            Sink::Leaves { leaves, waiting } => {
                let (store, read) = (&self.ctx.store, self.options.read);
                let digests = files.into_iter().map(|(mut new, item)| async move {
                    if read && item.is_readable {
                        new.audit.sha256 = store.sha256(&new.file.path, new.file.size_bytes).await?;
                    }
                    Ok::<_, Error>(new)
                });
                let mut digests = futures::stream::iter(digests).buffered(READS_IN_FLIGHT);
                while let Some(new) = digests.try_next().await? {
                    self.ctx.stop.check()?;
                    report.without_digest += u64::from(new.audit.sha256.is_empty());
                    waiting.push(new);
                }
                match waiting.len() >= FILES_AT_ONCE {
                    true => leaves.add(self.ctx, self.base_version, std::mem::take(waiting)).await,
                    false => Ok(()),
                }
            }
        }
    }

    async fn finish(mut self, remains: &Remains) -> Result<RebuildReport> {
        let ctx = self.ctx;
        let schema = self.columns.schema(&mut self.report);
        let mut report = self.report;
        report.columns = schema.columns().to_vec();
        report.broken_packs = self.packs.broken.iter().map(|(path, what)| format!("{path}: {what}")).collect();
        let (mut leaves, waiting) = match self.sink {
            Sink::Check(check) => {
                check.finish(ctx, &mut report).await?;
                if let Some(readable) = &remains.readable {
                    compare_columns(&mut report, readable);
                }
                return Ok(report);
            }
            Sink::Leaves { leaves, waiting } => (leaves, waiting),
        };
        if !report.problem_counts.is_empty() {
            return Ok(report);
        }
        if self.base_version > MAX_VERSIONS {
            let message = format!("the name of an object tells of version {}", self.base_version);
            return Err(Error::failed(message).hint("move it away from the archive: no run of tier has made it"));
        }
        if report.files == 0 && remains.newest() == 0 {
            return Err(Error::failed(format!("there is no data of an archive at {}", ctx.store.location()))
                .code("no-archive")
                .hint("check the address"));
        }
        if !waiting.is_empty() {
            leaves.add(ctx, self.base_version, waiting).await?;
        }
        let readable = remains.readable.as_ref();
        report.carried_from = readable.map(Snapshot::version);
        report.carried_rows = readable.map(|readable| readable.root().leaves.rows());
        let keeps_ledger = report.carried_rows.is_some_and(|before| leaves.rows() >= before);
        let version = self.base_version + 1;
        let dead_letters = letters::find(ctx, readable, version, &mut report).await?;
        report.lost = lost(&report, readable, remains.newest(), keeps_ledger);
        let rebuilt = Rebuilt { version, schema, leaves, dead_letters, keeps_ledger };
        let snapshot = commit_rebuilt(ctx, remains, rebuilt).await?;
        report.version = Some(snapshot.version());
        Ok(report)
    }
}

/// Whether the path is what was named, or below it.
fn is_named(named: &str, path: &str) -> bool {
    let named = named.trim_end_matches('/');
    path.strip_prefix(named).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn compare_columns(report: &mut RebuildReport, readable: &Snapshot) {
    for column in report.columns.clone() {
        if !readable.schema().columns().contains(&column) {
            let what = format!("files have it as id {}, {}; the catalog has not", column.id, column.column_type);
            report.difference(&format!("column {}", column.name), what);
        }
    }
}

/// What only a root says.
fn lost(report: &RebuildReport, readable: Option<&Snapshot>, newest: u64, keeps_ledger: bool) -> Vec<Lost> {
    let mut lost = Vec::new();
    let mut add = |what, way_out: &str, command: Option<&str>| {
        lost.push(Lost { what, way_out: way_out.to_owned(), command: command.map(str::to_owned) });
    };
    let is_newest = readable.is_some_and(|readable| readable.version() == newest);
    if !is_newest {
        let since = readable.map_or_else(String::new, |readable| {
            format!("; those of version {} are in force again", readable.version())
        });
        let hold = format!("until they are put again, nothing keeps held events from being expired or moved{since}");
        add("legal holds", &hold, Some("tier hold add --tenant TENANT --reason REASON"));
        let seals = "unsealed dates are answered from hot tier and archive together, and read again by the nightly job; \
                     dates whose rows the hot tier no longer has must be sealed again";
        add("seals", seals, Some("tier archive --seal FIRST..LAST"));
    }
    if !keeps_ledger {
        let ledger = "exports are read again when they come again; event ids keep every event from being doubled";
        add("export ledger", ledger, None);
    }
    if readable.is_none() {
        let mapping = "name --id, --type, --tenant and --time at the next archive run as they were: another --id would \
                       count the same events twice";
        add("mapping", mapping, Some("tier archive EXPORT --id COL --type COL --tenant COL --time COL"));
        if report.dead_letter_files > 0 {
            let letters = "all that are still there are open again, those that were settled too; replaying one again \
                           changes nothing";
            add("dead letters' state", letters, Some("tier dead-letter list"));
        }
    }
    let past = "older versions can no longer be asked, reverted, or rehydrated from with --since; what was reverted or has \
                expired, and was not vacuumed, is part of the archive again";
    add("history", past, None);
    lost
}

fn unreadable(remains: &Remains) -> Error {
    let error = match remains.newest() {
        0 => Error::failed("there is no catalog to compare with"),
        newest => {
            Error::failed(format!("version {newest}, the newest, cannot be read: there is nothing to compare with"))
        }
    };
    error.code("unreadable-root").command("tier rebuild")
}

fn is_readable(readable: &Snapshot) -> Error {
    Error::usage(format!(
        "version {} of the catalog can be read: it knows more than data files tell",
        readable.version()
    ))
    .code("readable-root")
    .hint("compare it with the data first; --replace commits a new version over it")
    .command("tier verify")
    .command("tier rebuild --check")
}

/// The months that hold data, each with its folders.
async fn months(run: &mut Run<'_>) -> Result<BTreeMap<Date, Folders>> {
    let mut months: BTreeMap<Date, Folders> = BTreeMap::new();
    for top in [Layout::EVENTS, Layout::BUNDLES] {
        let (folders, objects) = run.ctx.store.children(top).await?;
        for folder in folders {
            // Nothing of ours: counted, and left alone.
            let Some(dates) = Layout::dates_of(&folder) else {
                run.list(&folder).await?;
                continue;
            };
            let month = months.entry(dates.min.first_of_month()).or_default();
            if top == Layout::EVENTS {
                month.days.push(folder);
            } else {
                month.bundles = Some(folder);
            }
        }
        for object in objects {
            run.report.left_out.foreign.add(object.size_bytes);
        }
    }
    Ok(months)
}

/// The newest version that may have been: of a root, or after the base of a run that left something behind.
async fn newest_named(ctx: &Ctx, remains: &Remains) -> Result<u64> {
    let mut newest = remains.newest();
    let mut see = |path: &str| newest = newest.max(Layout::base_version(path).map_or(0, |base| base + 1));
    for folder in [Layout::LEAVES, Layout::PACKS, Layout::LEDGERS, Layout::DEAD_LETTERS] {
        ctx.store.list(folder, None).await?.iter().for_each(|object| see(&object.path));
    }
    Ok(newest)
}
