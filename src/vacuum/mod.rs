//! Deletes what nobody needs any more: what killed runs left behind, and what was replaced or expired.
//!
//! # Flow
//! ```text
//! roots, newest first ──retain──▶ versions that stay ──leaves──▶ digests of names, by folder
//!                             └─▶ versions that expire                     │
//! listing, folder by folder ───────────────────────────────────────────────┴▶ old objects without a name ──▶ delete
//! ```
//! A version stays while it is one of the newest, or was the newest within the time that [`Retention`] gives, or is
//! pinned, or a live run may read it, or a legal hold covers a file that no later version names; and otherwise as long as
//! that keeps no data file. Any other expires: its root becomes a stub, which keeps the name and what was done.
//!
//! # Consistency
//! A commit raises the gc floor, so that no run begun below it can still commit; only then files of such runs are
//! deleted, but for those that commits since the plan have named. While a nightly job holds its lease the floor stays
//! below it, and so do all files that it may have written.
//!
//! # Crash
//! The floor is up, or some roots are stubs, or some files are gone that nothing names: the next vacuum does the rest.
//! Roots become stubs before their files go, so no version is ever half there.
//!
//! # Cost
//! Every root and every leaf that stays is read once, and the data is listed. Memory is bounded: digests and orphans go to
//! disk, and one folder after another is compared.

mod named;
mod orphans;
mod retain;

use std::collections::HashSet;

use futures::TryStreamExt;
use jiff::Timestamp;
use serde::Serialize;

use crate::catalog::{Change, Lease, LiveRun, Operation, Outcome, Snapshot, Stub, Version, commit};
use crate::context::Context as Ctx;
use crate::error::{Context, Error, Kind, Result};
use crate::model::{Hold, short_digest};
use crate::progress::Unit;
use crate::store::{Layout, Listed};

use named::{Digests, Named};
use retain::{Versions, is_past};

pub use orphans::{Orphan, Orphans};
pub use retain::{KeptVersion, Need, Pin, Retention};

/// Objects deleted with one call: what S3 takes in one DeleteObjects request.
const DELETES_AT_ONCE: usize = 1000;

/// What would be deleted.
#[derive(Debug, Serialize)]
pub struct VacuumPlan {
    /// The version this was decided on.
    pub version: u64,
    pub orphans: Orphans,
    /// Versions that can no longer be asked once the orphans are gone.
    pub expires: Vec<u64>,
    /// Versions past their time that stay, each with the reason.
    pub kept: Vec<KeptVersion>,
    /// Orphans younger than the grace period: perhaps of a run still at work.
    pub young: u64,
    /// Old enough, but perhaps of the live run.
    pub waiting: u64,
    pub live_run: Option<LiveRun>,
    /// Unfinished local writes.
    pub temporary: Vec<Orphan>,
    /// The highest version that a run of these orphans began at.
    #[serde(skip)]
    youngest_run: Option<u64>,
    #[serde(skip)]
    holds: Vec<Hold>,
}

/// What was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VacuumReport {
    pub deleted: u64,
    pub bytes: u64,
    pub expired_versions: u64,
    /// Versions past their time that stayed, each with the reason.
    pub kept: Vec<KeptVersion>,
    /// The commit that raised the floor, if any was needed.
    pub version: Option<u64>,
}

/// What has become of an object without a name.
enum Unnamed {
    /// A name that no run of ours makes is somebody else's file: not ours to delete.
    Foreign,
    Young,
    /// The live run may have written it.
    Waits,
    /// Of a run begun at this version.
    Orphan(u64),
}

/// Decides which versions stay, and lists what none of them names.
pub async fn plan(ctx: &Ctx, retention: &Retention) -> Result<VacuumPlan> {
    let store = &ctx.store;
    let live_run = Lease::holder(ctx).await?;
    let newest = Snapshot::open(store).await?;
    let now = ctx.now();
    let Versions { kept, expire, named, live_from } =
        retain::decide(ctx, &newest, retention, live_run.as_ref()).await?;
    let digests = Digests::of(ctx, &newest, named).await?;
    let judge = |object: &Listed| match Layout::base_version(&object.path) {
        None => Unnamed::Foreign,
        Some(_) if !is_past(now, object.modified, retention.grace) => Unnamed::Young,
        Some(base) if live_from.is_some_and(|live| base >= live) => Unnamed::Waits,
        Some(base) => Unnamed::Orphan(base),
    };
    let (mut orphans, mut youngest_run, mut young, mut waiting) = (Orphans::writer()?, None, 0, 0);
    let task = ctx.progress.task("objects without a name", Unit::Files, None);
    let mut unnamed = std::pin::pin!(digests.unnamed(store).await?);
    while let Some(object) = unnamed.try_next().await? {
        ctx.stop.check()?;
        task.advance(1);
        match judge(&object) {
            Unnamed::Foreign => {}
            Unnamed::Young => young += 1,
            Unnamed::Waits => waiting += 1,
            Unnamed::Orphan(base) => {
                youngest_run = youngest_run.max(Some(base));
                orphans.add(&object.into())?;
            }
        }
    }
    let is_old = |time: Timestamp| is_past(now, time, retention.grace);
    let temporary = store.temporary_files().await?.into_iter();
    Ok(VacuumPlan {
        version: newest.version(),
        orphans: orphans.finish()?,
        expires: expire,
        kept,
        young,
        waiting,
        live_run,
        temporary: temporary.filter(|object| is_old(object.modified)).map(Orphan::from).collect(),
        youngest_run,
        holds: newest.root().document.holds.clone(),
    })
}

/// Deletes what the plan names. Safe to run twice.
pub async fn apply(ctx: &Ctx, plan: &VacuumPlan) -> Result<VacuumReport> {
    let store = &ctx.store;
    let mut report = VacuumReport { deleted: 0, bytes: 0, expired_versions: 0, kept: plan.kept.clone(), version: None };
    let mut snapshot = Snapshot::open(store).await?;
    check_needs(ctx, plan, &snapshot).await?;
    let floor = plan.youngest_run.map(|base| base + 1).filter(|floor| *floor > snapshot.root().document.gc_floor);
    if let Some(floor) = floor {
        let mut change = Change::new(Operation::new("vacuum", snapshot.version()));
        change.gc_floor = Some(floor.min(snapshot.version() + 1));
        let layout = Layout::for_run(snapshot.version(), &ctx.random.id());
        snapshot = match commit(ctx, Some(&snapshot), &layout, change).await.context("raise the gc floor")? {
            Outcome::Committed(snapshot) => snapshot,
            Outcome::Conflict(why) => return Err(Error::new(Kind::TryAgain, why).hint("run it again")),
        };
        report.version = Some(snapshot.version());
        check_needs(ctx, plan, &snapshot).await?;
    }
    let since = named_since(ctx, plan.version, &snapshot).await?;
    for version in &plan.expires {
        ctx.stop.check()?;
        if let Some(Version::Retained(old)) = Snapshot::look(store, *version).await? {
            let stub = Stub::of(&old.root().document).encode()?;
            store.put(&Layout::root(*version), stub).await.with_context(|| format!("expire version {version}"))?;
            report.expired_versions += 1;
        }
    }
    store.make_durable().await?;
    let is_versioned = store.classes().bucket().await?.versioned;
    let task = ctx.progress.task("delete", Unit::Files, Some(plan.orphans.sum.objects));
    let mut orphans = plan.orphans.iter().peekable();
    while orphans.peek().is_some() {
        ctx.stop.check()?;
        let some: Vec<Orphan> = orphans.by_ref().take(DELETES_AT_ONCE).collect::<Result<_>>()?;
        task.advance(some.len() as u64);
        let doomed: Vec<Orphan> =
            some.into_iter().filter(|orphan| !since.contains(&short_digest(&orphan.path))).collect();
        report.count(&doomed);
        let paths: Vec<String> = doomed.into_iter().map(|orphan| orphan.path).collect();
        match is_versioned {
            true => store.classes().delete_all_versions(&paths).await?,
            false => store.delete(paths).await?,
        }
    }
    report.count(&plan.temporary);
    store.delete_temporary(plan.temporary.iter().map(|orphan| orphan.path.clone()).collect()).await?;
    Ok(report)
}

impl VacuumReport {
    fn count(&mut self, deleted: &[Orphan]) {
        self.deleted += deleted.len() as u64;
        self.bytes += deleted.iter().map(|orphan| orphan.bytes).sum::<u64>();
    }
}

/// Refuses where somebody needs more by now than the plan knows.
async fn check_needs(ctx: &Ctx, plan: &VacuumPlan, newest: &Snapshot) -> Result<()> {
    let holds = &newest.root().document.holds;
    let what = if let Some(hold) = holds.iter().find(|hold| !plan.holds.contains(hold)) {
        format!("the legal hold {} was placed meanwhile", hold.id)
    } else if Lease::holder(ctx).await?.is_some_and(|run| plan.live_run.as_ref() != Some(&run)) {
        "a nightly job has begun meanwhile".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::new(Kind::TryAgain, what).hint("nothing was deleted: run it again"))
}

/// Digests of what versions after the plan's have added.
async fn named_since(ctx: &Ctx, planned: u64, newest: &Snapshot) -> Result<HashSet<[u8; 16]>> {
    let mut named = Named::default();
    for version in planned + 1..=newest.version() {
        if let Some(Version::Retained(snapshot)) = Snapshot::look(&ctx.store, version).await? {
            named.add(&snapshot, planned + 1);
        }
    }
    let mut digests = HashSet::new();
    let add = |path: &str| {
        digests.insert(short_digest(path));
        Ok(())
    };
    named.each(ctx, newest, add).await?;
    Ok(digests)
}
