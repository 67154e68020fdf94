//! Deletes what killed runs left behind.
//!
//! Two steps: a commit raises the gc floor, so that no run begun below it can still commit; then the files of such runs
//! that no root names and that are older than the grace period are deleted. A file's name tells the version its run
//! began at.
//!
//! # Crash
//! Between the steps the floor is up and nothing is deleted; the next vacuum does it.

use std::collections::HashSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::catalog::{Change, Operation, Outcome, Snapshot, commit};
use crate::context::Context as Ctx;
use crate::error::{Context, Error, Kind, Result};
use crate::store::{Layout, Listed};

/// An object that no version needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Orphan {
    pub path: String,
    pub bytes: u64,
    pub modified: Timestamp,
}

/// What would be deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VacuumPlan {
    /// The version this was decided on.
    pub version: u64,
    pub orphans: Vec<Orphan>,
    /// Orphans younger than the grace period: perhaps of a run still at work.
    pub young: u64,
    /// Unfinished local writes.
    pub temporary: Vec<Orphan>,
}

/// What was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VacuumReport {
    pub deleted: u64,
    pub bytes: u64,
    /// The commit that raised the floor, if any was needed.
    pub version: Option<u64>,
}

/// Lists first, then reads every version still there: what was listed and is named by none has been left behind.
pub async fn plan(ctx: &Ctx, grace: Duration) -> Result<VacuumPlan> {
    let store = &ctx.store;
    let mut listed = Vec::new();
    for prefix in [Layout::EVENTS, Layout::LEAVES, Layout::LEDGERS, Layout::DEAD_LETTERS] {
        listed.extend(store.list(prefix, None).await?);
    }
    let temporary = store.temporary_files().await?;
    let newest = Snapshot::open(store).await?;
    let needed = needed_by_any_version(&newest).await?;
    // An object from the future, where clocks differ, is young.
    let grace = SignedDuration::try_from(grace).unwrap_or(SignedDuration::MAX);
    let old = |object: &Listed| ctx.now().duration_since(object.modified) >= grace;
    let mut plan = VacuumPlan { version: newest.version(), orphans: Vec::new(), young: 0, temporary: Vec::new() };
    for object in listed {
        // A name that no run of ours makes is somebody else's file: not ours to delete.
        let ours = Layout::base_version(&object.path).is_some();
        match (ours && !needed.contains(&object.path), old(&object)) {
            (false, _) => {}
            (true, false) => plan.young += 1,
            (true, true) => plan.orphans.push(orphan(object)),
        }
    }
    plan.temporary = temporary.into_iter().filter(old).map(orphan).collect();
    Ok(plan)
}

/// Deletes what the plan names. Safe to run twice.
pub async fn apply(ctx: &Ctx, plan: &VacuumPlan) -> Result<VacuumReport> {
    let snapshot = Snapshot::open(&ctx.store).await?;
    let mut report = VacuumReport { deleted: 0, bytes: 0, version: None };
    let youngest_run = plan.orphans.iter().filter_map(|orphan| Layout::base_version(&orphan.path)).max();
    let floor = youngest_run.map(|base| base + 1).filter(|floor| *floor > snapshot.root().document.gc_floor);
    if let Some(floor) = floor {
        let mut change = Change::new(Operation::new("vacuum", snapshot.version()));
        change.gc_floor = Some(floor);
        let layout = Layout::for_run(snapshot.version(), &ctx.random.id());
        match commit(ctx, Some(&snapshot), &layout, change).await.context("raise the gc floor")? {
            Outcome::Committed(snapshot) => report.version = Some(snapshot.version()),
            Outcome::Conflict(why) => return Err(Error::new(Kind::TryAgain, why).hint("run it again")),
        }
    }
    let doomed: Vec<&Orphan> = plan.orphans.iter().chain(&plan.temporary).collect();
    report.deleted = doomed.len() as u64;
    report.bytes = doomed.iter().map(|orphan| orphan.bytes).sum();
    ctx.store.delete(plan.orphans.iter().map(|orphan| orphan.path.clone()).collect()).await?;
    ctx.store.delete_temporary(plan.temporary.iter().map(|orphan| orphan.path.clone()).collect()).await?;
    Ok(report)
}

fn orphan(object: Listed) -> Orphan {
    Orphan { path: object.path, bytes: object.size_bytes, modified: object.modified }
}

/// Leaves never change and data files never move between them, so a file is needed while any version names its leaf.
async fn needed_by_any_version(newest: &Snapshot) -> Result<HashSet<String>> {
    let mut needed = HashSet::new();
    let mut leaves_seen = HashSet::new();
    for version in newest.versions().await? {
        let snapshot = if version == newest.version() {
            newest.clone()
        } else {
            Snapshot::at_version(newest.store(), version).await?
        };
        let document = &snapshot.root().document;
        needed.extend(document.ledgers.iter().map(|ledger| ledger.path.clone()));
        needed.extend(document.dead_letters.iter().map(|file| file.path.clone()));
        let new = |leaf: &crate::catalog::LeafRef| !leaves_seen.contains(&leaf.path);
        for (leaf, files) in snapshot.leaves(new).await? {
            needed.extend(files.into_iter().map(|(_, file)| file.path));
            needed.extend([leaf.audit_path(), leaf.path.clone()]);
            leaves_seen.insert(leaf.path);
        }
    }
    Ok(needed)
}
