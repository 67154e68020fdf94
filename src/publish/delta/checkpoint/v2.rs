//! V2 checkpoints: a top file that names sidecars, each of which lists the live files of one range of paths.
//!
//! ```text
//! the newest checkpoint's sidecars ─┐
//! commits since, sorted by path ────┴▶ ranges that changed ──▶ new sidecars ─┐
//!                                      all others ───────────────────────────┴▶ top file
//! ```
//! Paths begin with the date, so that a night's events, a month's compaction or its move to deep change few ranges.
//! Without such a checkpoint the catalog's files go through the same merge, into one range that was empty.
//!
//! # Crash
//! Names are fresh, so a run that died leaves sidecars that nothing names. They are deleted, a day later, with the first
//! checkpoint that is outdated.
//!
//! # Cost
//! Reads the commits since the last checkpoint and the sidecars that changed, and writes as many. Memory: of the changes
//! 64 MiB, of one sidecar its bytes.

use std::collections::HashSet;
use std::sync::Arc;

use futures::TryStreamExt;

use super::super::action::{Action, Add, CheckpointMetadata, Sidecar};
use super::super::draft::write_line;
use super::super::log::{self, Log};
use super::super::shown_files;
use super::changes::{ChangeSorter, Changes};
use super::ranges::{Range, Step, plan, range_of, sizes};
use super::sidecars::{self, Writer, fresh_uuid};
use super::{LastCheckpoint, Subject, TopFile};
use crate::context::Context as Ctx;
use crate::error::{Context, Error, Result};
use crate::progress::{Task, Unit};
use crate::store::{Listed, Store};

/// What a top file holds beside the sidecars.
const HEAD_ACTIONS: u64 = 4;

pub async fn write(ctx: &Ctx, log: &Log, subject: &Subject<'_>, files_per_sidecar: u64) -> Result<LastCheckpoint> {
    let (ranges, changes) = match base(&ctx.store, log).await? {
        Some((version, sidecars)) => since(ctx, log, version, sidecars).await?,
        None => whole(ctx, subject).await?,
    };
    let adds: u64 = ranges.iter().map(|range| range.files).sum();
    let expected = subject.shown.totals.files;
    if adds != expected {
        let why = format!("its newest commit says {expected} files, and its log adds up to {adds}");
        return Err(log::unknown(&ctx.store, &why));
    }
    let sidecars = merged(ctx, ranges, changes, files_per_sidecar).await?;
    let size = HEAD_ACTIONS + sidecars.len() as u64 + adds;
    let name = log::top_name(subject.version, fresh_uuid(ctx)?);
    let lines = top(subject, sidecars)?;
    let file = TopFile {
        path: name.clone(),
        size_in_bytes: lines.len() as u64,
        modification_time: ctx.now().as_millisecond(),
    };
    ctx.store.put_if_absent(&log::path(&name), lines).await?;
    Ok(LastCheckpoint { version: subject.version, size, num_of_add_files: adds, v2_checkpoint: Some(file) })
}

/// The newest checkpoint where it is V2: its version, and its sidecars in the order of their ranges.
async fn base(store: &Store, log: &Log) -> Result<Option<(u64, Vec<Sidecar>)>> {
    let Some((version, top)) = log.newest_top() else { return Ok(None) };
    Ok(Some((version, named(store, top).await?)))
}

/// The sidecars that a top file names.
async fn named(store: &Store, top: &str) -> Result<Vec<Sidecar>> {
    let bytes = store.get(top).await?;
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let sidecars = lines.filter_map(|line| match serde_json::from_slice(line) {
        Ok(Action::Sidecar(sidecar)) => Some(Ok(sidecar)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    });
    sidecars.collect::<Result<_, _>>().with_context(|| format!("read {}", store.address(top)))
}

/// Ranges and their changes, while these are collected.
struct Collected {
    ranges: Vec<Range>,
    changes: ChangeSorter,
    task: Arc<dyn Task>,
}

impl Collected {
    fn new(ctx: &Ctx, mut ranges: Vec<Range>) -> Self {
        if ranges.is_empty() {
            ranges.push(Range::whole());
        }
        let task = ctx.progress.task("checkpoint", Unit::Files, None);
        Collected { ranges, changes: ChangeSorter::new(), task }
    }

    /// What the commit of `version` did to the file at `path`.
    fn push(&mut self, version: u64, path: &str, add: Option<&Add>) -> Result<()> {
        let number = range_of(&self.ranges, path);
        let range = &mut self.ranges[number];
        range.is_changed = true;
        range.files = match add {
            Some(_) => range.files + 1,
            None => range.files.checked_sub(1).ok_or_else(|| Error::failed(format!("{path} is removed twice")))?,
        };
        self.task.advance(1);
        self.changes.push(version, path, add)
    }

    fn finish(self) -> Result<(Vec<Range>, Changes)> {
        Ok((self.ranges, self.changes.finish()?))
    }
}

/// All files of the archive's version.
async fn whole(ctx: &Ctx, subject: &Subject<'_>) -> Result<(Vec<Range>, Changes)> {
    let mut collected = Collected::new(ctx, Vec::new());
    let mut leaves = std::pin::pin!(shown_files(subject.snapshot));
    while let Some(files) = leaves.try_next().await? {
        ctx.stop.check()?;
        for file in files {
            let add = Add::new(&file, false)?;
            collected.push(subject.version, &add.path, Some(&add))?;
        }
    }
    collected.finish()
}

/// What the commits after the checkpoint of version `base` changed of its sidecars.
async fn since(ctx: &Ctx, log: &Log, base: u64, sidecars: Vec<Sidecar>) -> Result<(Vec<Range>, Changes)> {
    let mut collected = Collected::new(ctx, sidecars.into_iter().map(Range::from).collect());
    for (version, commit) in log.commits_after(base) {
        each_line(ctx, commit, |line| match serde_json::from_slice(line).context("read a line")? {
            Action::Add(add) => collected.push(version, &add.path, Some(&add)),
            Action::Remove(remove) => collected.push(version, &remove.path, None),
            _ => Ok(()),
        })
        .await
        .with_context(|| format!("read version {version} of the Delta table"))?;
    }
    collected.finish()
}

async fn each_line(ctx: &Ctx, file: &Listed, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    // The beginning of a line that ends in the next part.
    let mut begun = Vec::new();
    ctx.store
        .each_part(&file.path, file.size_bytes, |part| {
            ctx.stop.check()?;
            for piece in part.split_inclusive(|byte| *byte == b'\n') {
                begun.extend_from_slice(piece);
                if let Some(line) = begun.strip_suffix(b"\n") {
                    take(line)?;
                    begun.clear();
                }
            }
            Ok(())
        })
        .await
}

/// The sidecars of the ranges with their changes.
async fn merged(ctx: &Ctx, ranges: Vec<Range>, mut changes: Changes, files_per_sidecar: u64) -> Result<Vec<Sidecar>> {
    let mut sidecars = Vec::new();
    for step in plan(&ranges, files_per_sidecar) {
        match step {
            Step::Keep(number) => sidecars.extend(ranges[number].sidecar.clone()),
            Step::Rewrite(numbers, files) => {
                let end = ranges.get(numbers.end).map(|range| range.first.as_str());
                let writer = Writer::new(ctx, sizes(files, files_per_sidecar));
                sidecars.extend(rewritten(ctx, &ranges[numbers], end, &mut changes, writer).await?);
            }
        }
    }
    Ok(sidecars)
}

/// Of ranges that lie side by side, before the path `end`.
async fn rewritten(
    ctx: &Ctx,
    ranges: &[Range],
    end: Option<&str>,
    changes: &mut Changes,
    mut writer: Writer<'_>,
) -> Result<Vec<Sidecar>> {
    for sidecar in ranges.iter().filter_map(|range| range.sidecar.as_ref()) {
        for adds in sidecars::read(&ctx.store, sidecar).await? {
            for old in adds? {
                while let Some(change) = changes.next_if(|path| path < old.path.as_str())? {
                    if let Some(add) = change.add {
                        writer.push(add).await?;
                    }
                }
                match changes.next_if(|path| path == old.path)? {
                    Some(change) => {
                        if let Some(add) = change.add {
                            writer.push(add).await?;
                        }
                    }
                    None => writer.push(old).await?,
                }
            }
        }
    }
    while let Some(change) = changes.next_if(|path| end.is_none_or(|end| path < end))? {
        if let Some(add) = change.add {
            writer.push(add).await?;
        }
    }
    writer.finish()
}

/// The top file: one line each of what it needs, and of the sidecars.
fn top(subject: &Subject<'_>, sidecars: Vec<Sidecar>) -> Result<Vec<u8>> {
    let (protocol, metadata, txn) = subject.head();
    let checkpoint = CheckpointMetadata { version: subject.version, tags: Default::default() };
    let head: [Action; HEAD_ACTIONS as usize] = [
        Action::CheckpointMetadata(checkpoint),
        Action::Protocol(protocol),
        Action::MetaData(metadata),
        Action::Txn(txn),
    ];
    let mut lines = Vec::new();
    for action in head.into_iter().chain(sidecars.into_iter().map(Action::Sidecar)) {
        write_line(&mut lines, &action)?;
    }
    Ok(lines)
}

/// Deletes the sidecars that no checkpoint names but those in `outdated`, which are gone already.
///
/// One that is named again stays safe: it is named by the newest checkpoint of `log`, or is newer than the log was listed.
pub async fn clean(ctx: &Ctx, log: &Log, outdated: &[String]) -> Result<()> {
    let mut unnamed: HashSet<String> = log.old_sidecars(ctx.now()).map(str::to_owned).collect();
    if unnamed.is_empty() {
        return Ok(());
    }
    for top in log.tops().filter(|top| !outdated.iter().any(|path| path == top)) {
        for sidecar in named(&ctx.store, top).await? {
            unnamed.remove(&log::sidecar_path(&sidecar.path));
        }
    }
    ctx.store.delete(unnamed.into_iter().collect()).await
}
