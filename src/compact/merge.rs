//! Merges runs of leaves, a bounded part per commit. No data file is touched.
//!
//! # Flow
//! The leaves of each run are read one at a time, their files merged in the order of leaves, and after about
//! [`Bound::files_per_commit`] listed anew: sorted, leaves for each period of dates. What was listed anew leaves its old leaf by
//! a mark, as a deleted file does, and emptied leaves leave the root.
//!
//! # Crash
//! Before the commit there are orphans, after it the run is shorter by that part: the next one goes on.
//!
//! # Consistency
//! Appends commute. Who removes a file that was listed anew meanwhile finds it in its new place; where a file is removed
//! first, the part is merged again. Every file keeps the version that added it: `tier revert` goes by it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashSet, VecDeque};
use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::runs::{self, Period, Run, RunMerge};
use crate::catalog::{
    Change, Covered, FILES_PER_LEAF, LeafRef, Listed, Operation, Outcome, Relist, Relisted, Snapshot, commit,
};
use crate::context::Context as Ctx;
use crate::error::{Error, Kind, Result};
use crate::progress::{Task, Unit};
use crate::store::Layout;

/// How much one run lists anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// About so many files in all.
    pub files: u64,
    /// So many in one commit, up to the end of a tenant, and never twice as many: they are in memory.
    pub files_per_commit: usize,
}

impl Default for Bound {
    /// 64 leaves, 16 in one commit.
    fn default() -> Self {
        Bound { files: 64 * FILES_PER_LEAF as u64, files_per_commit: 16 * FILES_PER_LEAF }
    }
}

/// Conflicts in a row before giving up: each means that somebody else replaced a file.
const MAX_CONFLICTS: usize = 8;

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CatalogReport {
    /// The newest version.
    pub version: u64,
    pub commits: u64,
    /// Files listed anew.
    pub files: u64,
    pub leaves_before: u64,
    pub leaves_after: u64,
}

/// Merges runs until nothing is worth it or the bound is reached.
pub async fn merge_runs(ctx: &Ctx, bound: Bound) -> Result<CatalogReport> {
    let mut newest = Snapshot::open(&ctx.store).await?;
    let today = ctx.now().to_zoned(TimeZone::UTC).date();
    let leaves = newest.root().leaves.len() as u64;
    let mut report = CatalogReport { leaves_before: leaves, ..CatalogReport::default() };
    let task: Arc<dyn Task> = ctx.progress.task("merge the catalog", Unit::Files, None);
    let (mut conflicts, mut why) = (0, String::new());
    while report.files < bound.files && conflicts < MAX_CONFLICTS {
        ctx.stop.check()?;
        let Some((change, files)) = next_part(&newest, today, bound.files_per_commit).await? else { break };
        let layout = Layout::for_run(newest.version(), &ctx.random.id());
        match commit(ctx, Some(&newest), &layout, change).await? {
            Outcome::Committed(snapshot) => {
                newest = snapshot;
                report.commits += 1;
                report.files += files;
                task.advance(files);
                conflicts = 0;
            }
            Outcome::Conflict(conflict) => {
                why = conflict;
                conflicts += 1;
                newest = Snapshot::open(&ctx.store).await?;
            }
        }
    }
    if conflicts == MAX_CONFLICTS {
        return Err(
            Error::new(Kind::TryAgain, why).hint("nothing was lost; run it again when fewer writers are at work")
        );
    }
    report.version = newest.version();
    report.leaves_after = newest.root().leaves.len() as u64;
    Ok(report)
}

/// The next part to list anew as a change, and its number of files; `None` when nothing is left to do.
async fn next_part(newest: &Snapshot, today: Date, enough: usize) -> Result<Option<(Change, u64)>> {
    for RunMerge { mut runs, .. } in runs::plan(&newest.root().leaves, today) {
        while runs.len() >= 2 {
            let part = Part::of(newest, &runs, enough).await?;
            let from: HashSet<u64> = part.taken.iter().map(|&run| runs[run].leaves[0].added_version).collect();
            if from.len() >= 2 {
                return Ok(Some(part.change(newest, today)));
            }
            // Its files come before all others: it is merged already, though its ranges do not tell.
            runs = runs.into_iter().enumerate().filter(|(run, _)| !part.taken.contains(run)).map(|(_, r)| r).collect();
        }
    }
    Ok(None)
}

/// The first files of some runs, in order.
struct Part {
    files: Vec<Relisted>,
    /// Which runs they are from.
    taken: BTreeSet<usize>,
    cursors: Vec<Cursor>,
}

impl Part {
    async fn of(newest: &Snapshot, runs: &[Run], enough: usize) -> Result<Self> {
        let mut heap = BinaryHeap::new();
        let mut part = Part { files: Vec::new(), taken: BTreeSet::new(), cursors: Vec::new() };
        for run in runs {
            let cursor = Cursor::open(newest, run).await?;
            heap.extend(cursor.key().map(|key| Reverse((key, part.cursors.len()))));
            part.cursors.push(cursor);
        }
        let mut tenant: Arc<str> = "".into();
        while let Some(Reverse((key, at))) = heap.pop() {
            let is_enough = part.files.len() >= enough && key.0 != tenant;
            if is_enough || part.files.len() >= 2 * enough {
                break;
            }
            part.files.push(part.cursors[at].take(newest).await?);
            part.taken.insert(at);
            heap.extend(part.cursors[at].key().map(|key| Reverse((key, at))));
            tenant = key.0;
        }
        Ok(part)
    }

    fn change(self, newest: &Snapshot, today: Date) -> (Change, u64) {
        let files = self.files.len() as u64;
        let mut lists: BTreeMap<Period, Vec<Relisted>> = BTreeMap::new();
        for relisted in self.files {
            lists.entry(Period::of(relisted.live.file.dates.max, today)).or_default().push(relisted);
        }
        let mut change = Change::new(Operation::new("merge", newest.version()));
        change.operation.files = files;
        let narrowed = self.cursors.into_iter().filter_map(Cursor::rest).collect();
        change.relist = Relist { lists: lists.into_values().collect(), narrowed };
        (change, files)
    }
}

/// The order of files in leaves.
type Key = (Arc<str>, Arc<str>, Date, i64, String);

/// Where the merge stands in one run.
struct Cursor {
    leaves: VecDeque<LeafRef>,
    /// The leaf at hand, and what is left of it.
    leaf: Option<LeafRef>,
    files: VecDeque<Relisted>,
}

impl Cursor {
    async fn open(newest: &Snapshot, run: &Run) -> Result<Self> {
        let mut cursor = Cursor { leaves: run.leaves.clone().into(), leaf: None, files: VecDeque::new() };
        cursor.fill(newest).await?;
        Ok(cursor)
    }

    async fn fill(&mut self, newest: &Snapshot) -> Result<()> {
        while self.files.is_empty() {
            let Some(leaf) = self.leaves.pop_front() else { return Ok(()) };
            let listed = newest.listed(&leaf).await?;
            let files = listed.iter().map(|listed| listed.live.clone()).collect::<Vec<_>>();
            let audits = newest.audits(&files).await?;
            let relisted = |(Listed { live, version }, audit)| Relisted { live, version, audit };
            self.files = listed.into_iter().zip(audits).map(relisted).collect();
            self.leaf = Some(leaf);
        }
        Ok(())
    }

    fn key(&self) -> Option<Key> {
        let file = &self.files.front()?.live.file;
        let (tenant, event_type) = (file.tenants.min.clone(), file.event_types.min.clone());
        Some((tenant, event_type, file.dates.min, file.ts.min, file.path.clone()))
    }

    async fn take(&mut self, newest: &Snapshot) -> Result<Relisted> {
        let taken = self.files.pop_front().ok_or_else(|| Error::failed("a run ended early"))?;
        self.fill(newest).await?;
        Ok(taken)
    }

    /// The leaf that loses some of its files, with the ranges of the others.
    fn rest(self) -> Option<LeafRef> {
        let mut leaf = self.leaf.filter(|leaf| (self.files.len() as u64) < leaf.files)?;
        let covered = Covered::all(self.files.iter().map(|relisted| Covered::from(&relisted.live.file)))?;
        (leaf.tenants, leaf.event_types) = (covered.tenants.to_text(), covered.event_types.to_text());
        (leaf.dates, leaf.ts) = (covered.dates, covered.ts);
        Some(leaf)
    }
}
