//! Deletes what nobody needs any more: what killed runs left behind, and what was replaced or expired.
//!
//! Two steps: a commit raises the gc floor, so that no run begun below it can still commit; then files are deleted that
//! no version needs and that are older than the grace period. A version is needed while it is the newest, was the newest
//! within the grace period, or still has all of its files; any other expires: its root becomes a stub, which keeps the
//! name and what was done.
//!
//! # Crash
//! The floor is up, or some roots are stubs, or some files are gone that nothing names: the next vacuum does the rest.
//! Roots become stubs before their files go, so no version is ever half there.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::catalog::{Change, LeafRef, Operation, Outcome, Snapshot, Stub, Version, commit};
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
    /// Versions that can no longer be asked once the orphans are gone.
    pub expires: Vec<u64>,
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
    pub expired_versions: u64,
    /// The commit that raised the floor, if any was needed.
    pub version: Option<u64>,
}

/// Lists first, then reads every version still there: what was listed and is named by none has been left behind.
pub async fn plan(ctx: &Ctx, grace: Duration) -> Result<VacuumPlan> {
    let store = &ctx.store;
    let mut listed = Vec::new();
    for prefix in
        [Layout::EVENTS, Layout::BUNDLES, Layout::LEAVES, Layout::PACKS, Layout::LEDGERS, Layout::DEAD_LETTERS]
    {
        listed.extend(store.list(prefix, None).await?);
    }
    let temporary = store.temporary_files().await?;
    let newest = Snapshot::open(store).await?;
    // An object from the future, where clocks differ, is young.
    let grace = SignedDuration::try_from(grace).unwrap_or(SignedDuration::MAX);
    let is_old = |time: Timestamp| ctx.now().duration_since(time) >= grace;
    let Needed { paths, expires } = needed(&newest, is_old).await?;
    let mut plan =
        VacuumPlan { version: newest.version(), orphans: Vec::new(), expires, young: 0, temporary: Vec::new() };
    for object in listed {
        // A name that no run of ours makes is somebody else's file: not ours to delete.
        let ours = Layout::base_version(&object.path).is_some();
        match (ours && !paths.contains(&object.path), is_old(object.modified)) {
            (false, _) => {}
            (true, false) => plan.young += 1,
            (true, true) => plan.orphans.push(orphan(object)),
        }
    }
    plan.temporary = temporary.into_iter().filter(|object| is_old(object.modified)).map(orphan).collect();
    Ok(plan)
}

/// Deletes what the plan names. Safe to run twice.
pub async fn apply(ctx: &Ctx, plan: &VacuumPlan) -> Result<VacuumReport> {
    let snapshot = Snapshot::open(&ctx.store).await?;
    let mut report = VacuumReport { deleted: 0, bytes: 0, expired_versions: 0, version: None };
    let youngest_run = plan.orphans.iter().filter_map(|orphan| Layout::base_version(&orphan.path)).max();
    let floor = youngest_run.map(|base| base + 1).filter(|floor| *floor > snapshot.root().document.gc_floor);
    if let Some(floor) = floor {
        let mut change = Change::new(Operation::new("vacuum", snapshot.version()));
        change.gc_floor = Some(floor.min(snapshot.version() + 1));
        let layout = Layout::for_run(snapshot.version(), &ctx.random.id());
        match commit(ctx, Some(&snapshot), &layout, change).await.context("raise the gc floor")? {
            Outcome::Committed(snapshot) => report.version = Some(snapshot.version()),
            Outcome::Conflict(why) => return Err(Error::new(Kind::TryAgain, why).hint("run it again")),
        }
    }
    for version in &plan.expires {
        if let Some(Version::Retained(old)) = Snapshot::look(&ctx.store, *version).await? {
            let stub = Stub::of(&old.root().document).encode()?;
            ctx.store.put(&Layout::root(*version), stub).await.with_context(|| format!("expire version {version}"))?;
            report.expired_versions += 1;
        }
    }
    ctx.store.make_durable().await?;
    let doomed: Vec<&Orphan> = plan.orphans.iter().chain(&plan.temporary).collect();
    report.deleted = doomed.len() as u64;
    report.bytes = doomed.iter().map(|orphan| orphan.bytes).sum();
    let paths: Vec<String> = plan.orphans.iter().map(|orphan| orphan.path.clone()).collect();
    if ctx.store.classes().bucket().await?.versioned {
        ctx.store.classes().delete_all_versions(&paths).await?;
    } else {
        ctx.store.delete(paths).await?;
    }
    ctx.store.delete_temporary(plan.temporary.iter().map(|orphan| orphan.path.clone()).collect()).await?;
    Ok(report)
}

fn orphan(object: Listed) -> Orphan {
    Orphan { path: object.path, bytes: object.size_bytes, modified: object.modified }
}

struct Needed {
    paths: HashSet<String>,
    /// Old versions that name files which no needed version names.
    expires: Vec<u64>,
}

/// From the newest version back: a version is needed when it is young, and kept when that keeps no further data file.
async fn needed(newest: &Snapshot, is_old: impl Fn(Timestamp) -> bool) -> Result<Needed> {
    let mut needed = Needed { paths: HashSet::new(), expires: Vec::new() };
    let mut files_of = LeafFiles::default();
    // When the version after the one at hand was committed: from then on nobody opens this one as the newest.
    let mut superseded: Option<Timestamp> = None;
    for version in newest.versions().await?.into_iter().rev().filter(|version| *version <= newest.version()) {
        let snapshot = match version == newest.version() {
            true => newest.clone(),
            false => match Snapshot::look(newest.store(), version).await? {
                Some(Version::Retained(snapshot)) => snapshot,
                Some(Version::Expired(stub)) => {
                    superseded = Some(stub.time);
                    continue;
                }
                None => continue,
            },
        };
        let files = files_of.version(&snapshot).await?;
        let is_young = superseded.is_none_or(|time| !is_old(time));
        superseded = Some(snapshot.root().document.time);
        let document = &snapshot.root().document;
        if is_young || files.data.iter().all(|path| needed.paths.contains(path)) {
            needed.paths.extend(files.data);
            needed.paths.extend(files.catalog);
            needed.paths.extend(document.ledgers.iter().map(|ledger| ledger.path.clone()));
            needed.paths.extend(document.dead_letters.iter().map(|file| file.path.clone()));
        } else {
            needed.expires.push(version);
        }
    }
    Ok(needed)
}

/// What the leaves of a version name.
struct VersionFiles {
    data: HashSet<String>,
    /// Leaves, their audits, packs.
    catalog: HashSet<String>,
}

/// Leaves read so far: they never change, and versions share most of them.
#[derive(Default)]
struct LeafFiles(HashMap<String, LeafFileList>);

/// The data files and packs of a leaf by position, the deleted ones included where some version named them.
type LeafFileList = HashMap<u32, (String, Option<String>)>;

impl LeafFiles {
    async fn version(&mut self, snapshot: &Snapshot) -> Result<VersionFiles> {
        // The newest version knows the most deleted files of a leaf; older ones name more of it and read it again.
        let known = |leaf: &LeafRef| self.0.get(&leaf.path).is_some_and(|files| files.len() as u64 >= leaf.files);
        for (leaf, files) in snapshot.leaves(|leaf| !known(leaf)).await? {
            let list = self.0.entry(leaf.path).or_default();
            list.extend(files.into_iter().map(|(at, file)| (at, (file.path, file.pack.map(|pack| pack.path)))));
        }
        let mut files = VersionFiles { data: HashSet::new(), catalog: HashSet::new() };
        for leaf in &snapshot.root().leaves {
            files.catalog.extend([leaf.audit_path(), leaf.path.clone()]);
            let alive = |at: &&u32| leaf.deleted.binary_search(at).is_err();
            for at in self.0[&leaf.path].keys().filter(alive) {
                let (path, pack) = &self.0[&leaf.path][at];
                files.data.insert(path.clone());
                files.catalog.extend(pack.clone());
            }
        }
        Ok(files)
    }
}
