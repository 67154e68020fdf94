//! A Delta table over the readable cold tier, in the archive's own folder: `_delta_log/` beside `events/`.
//!
//! The catalog stays the truth. The table follows it: each version that changed a readable cell's files, or the columns,
//! becomes one Delta commit, and says in its `txn` which version that was.
//!
//! ```text
//! newest Delta commit ──▶ the version it shows ──┐
//! newest version ─────────────────────────────────┴▶ files that differ ──▶ add, remove ──▶ create the next commit if absent
//! ```
//! Bundles hold many cells and are left out, and said so: a Delta file has one value of each partition column. Files in
//! archived classes leave the table, and come back when they are readable again.
//!
//! # Consistency
//! A commit's file is created if absent: who loses the race looks again at what the winner published. A commit that is
//! not ours is never built upon. The table's protocol names a writer feature of our own, so that other writers, their
//! vacuum and optimize included, refuse; any reader reads it.
//!
//! # Crash
//! Before a commit's file is created: nothing happened. After: done; a checkpoint that is missing is written by the next
//! run. A killed removal leaves a log that readers refuse and the next `--replace` or `--remove` completes.
//!
//! # Cost
//! One LIST and one GET to see that nothing is due. A commit reads the leaves that differ, not all files; publishing from
//! nothing and a classic checkpoint read every leaf, in constant memory. A V2 checkpoint, which a large table has, reads
//! and writes what changed since the last.

mod action;
mod checkpoint;
mod draft;
mod log;

use futures::{Stream, StreamExt, TryStreamExt};
use serde::Serialize;
use uuid::Uuid;

use crate::catalog::{Snapshot, Totals, Version, read_leaf};
use crate::context::Context as Ctx;
use crate::error::{Context, Error, Kind, Result};
use crate::model::{DataFile, shell_word};
use crate::progress::Unit;
use crate::scan::{ChangedFiles, Side};
use crate::store::PutOutcome;

use action::{Action, CommitInfo, MetaData, Protocol, Shown, Txn, is_shown};
use checkpoint::Subject;
use draft::Draft;
use log::{Log, Tip};

pub use checkpoint::Checkpoints;

/// Leaves read at once.
const LEAVES_IN_FLIGHT: usize = 8;

/// Lost races before giving up: each means that somebody else made progress.
const MAX_RACES: usize = 64;

/// A first commit of more files has a checkpoint at once: its JSON is slow to read.
const CHECKPOINT_FILES: u64 = 10_000;

/// What was published.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The newest version of the archive, which the table shows now.
    pub archive_version: u64,
    pub table_version: u64,
    /// Of this run; none where the table showed it all.
    pub commits: u64,
    pub added: Totals,
    pub removed: Totals,
    /// What the table holds.
    pub table: Totals,
    /// Readable, and not in the table: bundles.
    pub left_out: Totals,
    /// The version that a checkpoint was written of.
    pub checkpoint: Option<u64>,
    /// A commit of this run asks of readers that they know V2 checkpoints.
    pub upgraded: bool,
}

/// What is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Due {
    /// The archive's version that the table shows; `None` where there is no table.
    pub shown_version: Option<u64>,
    pub archive_version: u64,
    pub add: Totals,
    pub remove: Totals,
    pub left_out: Totals,
}

/// Brings the table to the newest version, or makes it. Safe to run twice, and by several at once.
pub async fn publish(ctx: &Ctx, checkpoints: &Checkpoints) -> Result<Report> {
    let mut report = Report::default();
    let mut races = 0;
    while races < MAX_RACES {
        ctx.stop.check()?;
        let log = Log::list(&ctx.store).await?;
        // Opened after the log is listed: the table cannot be ahead of it.
        let newest = Snapshot::open(&ctx.store).await?;
        let (version, commit) = match log.tip(&ctx.store, &newest.root().document.table_id).await? {
            Tip::Unknown(why) => return Err(log::unknown(&ctx.store, &why)),
            Tip::None => (0, first(ctx, &newest, checkpoints).await?),
            Tip::Ours { version, shown } => match next(ctx, &shown, &newest, checkpoints).await? {
                Some(commit) => (version + 1, commit),
                None => {
                    report.checkpoint = {
                        let subject = Subject { version, shown: &shown, snapshot: &newest };
                        care(ctx, &log, checkpoints, subject).await?
                    };
                    report.archive_version = newest.version();
                    report.table_version = version;
                    report.left_out = left_out(&newest, shown.totals);
                    report.table = shown.totals;
                    return Ok(report);
                }
            },
        };
        let Commit { draft, head, is_upgrade } = commit;
        let (added, removed) = (draft.added, draft.removed);
        let file = draft.finish(&head)?;
        match log::put_commit(&ctx.store, version, &file).await? {
            PutOutcome::Created => {
                report.commits += 1;
                report.upgraded |= is_upgrade;
                report.added.add(added.files, added.rows, added.bytes);
                report.removed.add(removed.files, removed.rows, removed.bytes);
            }
            PutOutcome::AlreadyExists => races += 1,
        }
    }
    Err(Error::new(Kind::TryAgain, format!("lost {MAX_RACES} races to publish in a row"))
        .hint("run it again when fewer publishers are at work"))
}

/// The archive's version that the table shows, where there is a table of this archive.
pub async fn shown_version(ctx: &Ctx) -> Result<Option<u64>> {
    let log = Log::list(&ctx.store).await?;
    let newest = Snapshot::open(&ctx.store).await?;
    match log.tip(&ctx.store, &newest.root().document.table_id).await? {
        Tip::Ours { shown, .. } => Ok(Some(shown.root_version)),
        Tip::None | Tip::Unknown(_) => Ok(None),
    }
}

/// What [`publish`] would do.
pub async fn due(ctx: &Ctx) -> Result<Due> {
    let log = Log::list(&ctx.store).await?;
    let newest = Snapshot::open(&ctx.store).await?;
    let (mut add, mut remove) = (Totals::default(), Totals::default());
    let (shown_version, mut table) = match log.tip(&ctx.store, &newest.root().document.table_id).await? {
        Tip::Unknown(why) => return Err(log::unknown(&ctx.store, &why)),
        Tip::None => {
            let mut leaves = std::pin::pin!(shown_files(&newest));
            while let Some(files) = leaves.try_next().await? {
                files.iter().for_each(|file| add.add(1, file.rows, file.size_bytes));
            }
            (None, Totals::default())
        }
        Tip::Ours { shown, .. } => {
            let before = retained(ctx, shown.root_version).await?;
            let changed = changed_files(&before, &newest).await?;
            let mut leaves = std::pin::pin!(changed.by_leaf());
            while let Some((side, files)) = leaves.try_next().await? {
                let totals = if side == Side::After { &mut add } else { &mut remove };
                files.iter().for_each(|file| totals.add(1, file.rows, file.size_bytes));
            }
            (Some(shown.root_version), shown.totals)
        }
    };
    table = less(table, remove);
    table.add(add.files, add.rows, add.bytes);
    let left_out = left_out(&newest, table);
    Ok(Due { shown_version, archive_version: newest.version(), add, remove, left_out })
}

/// Takes the table away, whoever wrote to it; the data stays. Returns the number of files of its log.
pub async fn remove(ctx: &Ctx) -> Result<usize> {
    Log::list(&ctx.store).await?.remove(&ctx.store).await
}

/// The operation of the first commit.
const CREATE_TABLE: &str = "CREATE TABLE";

/// A commit that is ready to be put.
struct Commit {
    draft: Draft,
    /// What stands before the lines of files.
    head: Vec<Action>,
    /// From it on the table's checkpoints are V2.
    is_upgrade: bool,
}

impl Commit {
    /// Of the files in `draft`, which bring a table of `before` to `after`.
    fn new(
        draft: Draft,
        before: Shown,
        after: &Snapshot,
        operation: &str,
        has_new_columns: bool,
        checkpoints: &Checkpoints,
    ) -> Self {
        let document = &after.root().document;
        let mut totals = less(before.totals, draft.removed);
        totals.add(draft.added.files, draft.added.rows, draft.added.bytes);
        let has_sidecars = before.has_sidecars || totals.files > checkpoints.sidecars_above;
        let is_upgrade = has_sidecars && !before.has_sidecars;
        let shown = Shown { root_version: after.version(), totals, has_sidecars, ..before };
        let mut head = vec![
            Action::CommitInfo(CommitInfo {
                timestamp: document.time.as_millisecond(),
                operation: operation.to_owned(),
                engine_info: format!("tier/{}", env!("CARGO_PKG_VERSION")),
                tier: Some(shown.clone()),
            }),
            Action::Txn(txn(after, &shown)),
        ];
        if has_new_columns || is_upgrade {
            head.push(Action::MetaData(MetaData::new(&shown, after.schema())));
        }
        if operation == CREATE_TABLE || is_upgrade {
            head.push(Action::Protocol(Protocol::of(&shown)));
        }
        Commit { draft, head, is_upgrade }
    }
}

fn txn(snapshot: &Snapshot, shown: &Shown) -> Txn {
    let document = &snapshot.root().document;
    Txn { app_id: document.table_id.clone(), version: shown.root_version, last_updated: document.time.as_millisecond() }
}

/// The table's first commit: all there is in the newest version.
async fn first(ctx: &Ctx, newest: &Snapshot, checkpoints: &Checkpoints) -> Result<Commit> {
    let document = &newest.root().document;
    let mut draft = Draft::new(document.time, true);
    let total = left_out(newest, Totals::default()).files;
    let task = ctx.progress.task("publish", Unit::Files, Some(total));
    let mut leaves = std::pin::pin!(shown_files(newest));
    while let Some(files) = leaves.try_next().await? {
        ctx.stop.check()?;
        files.iter().try_for_each(|file| draft.add(file))?;
        task.advance(files.len() as u64);
    }
    let table_id = Uuid::try_parse(&ctx.random.id()).context("make the Delta table's id")?.to_string();
    let nothing = Shown {
        root_version: 0,
        table_id,
        created_time: document.time.as_millisecond(),
        has_sidecars: false,
        totals: Totals::default(),
    };
    Ok(Commit::new(draft, nothing, newest, CREATE_TABLE, true, checkpoints))
}

/// The commit of the first version after the one shown that changes the table; `None` where no version does.
async fn next(ctx: &Ctx, shown: &Shown, newest: &Snapshot, checkpoints: &Checkpoints) -> Result<Option<Commit>> {
    if shown.root_version > newest.version() {
        let message =
            format!("it shows version {} of an archive whose newest is {}", shown.root_version, newest.version());
        return Err(log::unknown(&ctx.store, &message));
    }
    if shown.root_version == newest.version() {
        return Ok(None);
    }
    let mut before = retained(ctx, shown.root_version).await?;
    if before.root().leaves == newest.root().leaves && before.schema() == newest.schema() {
        return Ok(None);
    }
    for version in shown.root_version + 1..=newest.version() {
        // What an expired version did is part of the next commit.
        let Some(Version::Retained(after)) = Snapshot::look(&ctx.store, version).await? else { continue };
        let operation = &after.root().document.operation;
        let is_alone = before.version() + 1 == version;
        if is_alone && operation.keeps_files() {
            before = after;
            continue;
        }
        let changed = changed_files(&before, &after).await?;
        let has_new_columns = before.schema() != after.schema();
        if changed.is_empty() && !has_new_columns {
            before = after;
            continue;
        }
        let keeps_events = is_alone && operation.kind == "compact";
        let mut draft = Draft::new(after.root().document.time, !keeps_events);
        let mut leaves = std::pin::pin!(changed.by_leaf());
        while let Some((side, files)) = leaves.try_next().await? {
            ctx.stop.check()?;
            match side {
                Side::Before => files.iter().try_for_each(|file| draft.remove(file))?,
                Side::After => files.iter().try_for_each(|file| draft.add(file))?,
            }
        }
        let operation = operation.kind.to_uppercase();
        return Ok(Some(Commit::new(draft, shown.clone(), &after, &operation, has_new_columns, checkpoints)));
    }
    Ok(None)
}

/// Writes the checkpoint that is due, and deletes what is no longer needed before an old one.
async fn care(ctx: &Ctx, log: &Log, checkpoints: &Checkpoints, subject: Subject<'_>) -> Result<Option<u64>> {
    let (version, shown) = (subject.version, subject.shown);
    let is_due = match log.newest_checkpoint() {
        Some(checkpoint) => version >= checkpoint + checkpoints.every,
        None => version >= checkpoints.every || shown.totals.files > CHECKPOINT_FILES || shown.has_sidecars,
    };
    if !is_due {
        return Ok(None);
    }
    checkpoint::write(ctx, log, checkpoints, subject).await?;
    let outdated = log.outdated(ctx.now());
    if !outdated.is_empty() {
        let clean = async {
            ctx.store.delete(outdated.clone()).await?;
            checkpoint::clean(ctx, log, &outdated).await
        };
        clean.await.context("delete outdated files of the Delta log")?;
    }
    Ok(Some(version))
}

/// The version that the table shows, which it takes to tell what has changed since.
async fn retained(ctx: &Ctx, version: u64) -> Result<Snapshot> {
    if let Some(Version::Retained(snapshot)) = Snapshot::look(&ctx.store, version).await? {
        return Ok(snapshot);
    }
    Err(Error::usage(format!("the Delta table shows version {version}, which has expired"))
        .code("expired-version")
        .hint("what has changed since is not known any more; publish the newest version anew")
        .command(format!("tier publish delta --replace --archive {}", shell_word(&ctx.store.location().to_string()))))
}

async fn changed_files(before: &Snapshot, after: &Snapshot) -> Result<ChangedFiles> {
    ChangedFiles::between(before, after, |file| is_shown(file).then(|| file.path.clone())).await
}

/// The files that the table shows of a version, leaf by leaf.
fn shown_files(snapshot: &Snapshot) -> impl Stream<Item = Result<Vec<DataFile>>> {
    let leaves = &snapshot.root().leaves;
    let reads = (0..leaves.len()).map(move |number| async move {
        let files = read_leaf(snapshot.store(), &leaves[number]).await?;
        Ok(files.into_iter().map(|(_, file)| file).filter(is_shown).collect())
    });
    futures::stream::iter(reads).buffered(LEAVES_IN_FLIGHT)
}

/// What of the readable files a table of `table` lacks.
fn left_out(snapshot: &Snapshot, table: Totals) -> Totals {
    let mut readable = Totals::default();
    for (class, totals) in &snapshot.root().document.totals {
        if !class.is_archived() {
            readable.add(totals.files, totals.rows, totals.bytes);
        }
    }
    less(readable, table)
}

fn less(whole: Totals, part: Totals) -> Totals {
    Totals {
        files: whole.files.saturating_sub(part.files),
        rows: whole.rows.saturating_sub(part.rows),
        bytes: whole.bytes.saturating_sub(part.bytes),
    }
}
