//! Rows of the hot tier that nobody needs there any more: deleted only when asked, and only what the archive has.
//!
//! # Flow
//! Sealed days, last read longer ago than the grace ([`due`]), are verified: every data file of the day is there with its
//! size, and every row that the hot tier has *now* is compared with the archive, as the nightly job would do. A day that
//! is not whole is looked at tenant by tenant, so that one late row keeps one partition. What is verified is deleted.
//!
//! # Consistency
//! A commit notes the days as trimmed before the first delete: no question asks the hot tier for them after it, and it
//! fails if the days' files changed since they were looked at. Only rows written before the grace are deleted, by their
//! write time: one that arrives between the comparison and the delete stays, and the nightly job finds it.
//!
//! # Crash
//! Days are noted and some partitions still there: the next trim compares and deletes them without waiting again, and the
//! nightly job reads them until then. Deleting twice is deleting.

mod due;
mod look;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tokio::runtime::Handle;

use super::HotDay;
use crate::catalog::{Change, Lease, Operation, Outcome, Snapshot, commit};
use crate::clock::Clock;
use crate::context::Context as Ctx;
use crate::error::{Context, Error, Kind, Result};
use crate::hot::{Cassandra, CassandraSettings, Partition, Restriction, Unit};
use crate::model::Mapping;
use crate::store::Layout;

pub use due::{KeptDay, Stays};
use look::Looked;

/// Objects looked at, and partitions deleted, side by side.
const IN_FLIGHT: usize = 16;

/// Errors of one day that say nothing of the others.
const NOT_NOW: [&str; 2] = ["too-many-undecided", "hot-changing"];

/// What may be deleted, and how much the comparison may take.
#[derive(Debug, Clone)]
pub struct TrimRequest {
    /// Days that were last read less than this ago stay, and rows that were written less than this ago.
    pub grace: Duration,
    /// Later days stay.
    pub until: Option<Date>,
    pub memory_bytes: u64,
    pub threads: usize,
}

/// What would be deleted, and what stays and why.
#[derive(Debug, Serialize)]
pub struct TrimPlan {
    /// The version that it was compared with.
    pub version: u64,
    pub source: String,
    pub rows: u64,
    pub days: Vec<TrimDay>,
    pub kept: Vec<KeptDay>,
    /// Rows that were written later stay.
    pub written_until: Timestamp,
    #[serde(skip)]
    snapshot: Snapshot,
    #[serde(skip)]
    hot: Cassandra,
}

/// A day that is verified, or part of it.
#[derive(Debug, Serialize)]
pub struct TrimDay {
    pub date: Date,
    /// When the nightly job read it; absent where a trim had begun.
    pub read_at: Option<Timestamp>,
    pub rows: u64,
    pub partitions: u64,
    /// Tenants whose rows stay, and why.
    pub kept: Vec<KeptTenant>,
    #[serde(skip)]
    delete: Vec<Partition>,
}

#[derive(Debug, Serialize)]
pub struct KeptTenant {
    /// Absent where the partition key does not have it.
    pub tenant: Option<String>,
    pub why: String,
}

/// What was deleted.
#[derive(Debug, Default, Serialize)]
pub struct TrimReport {
    /// That notes the days, if they were not noted before.
    pub version: Option<u64>,
    pub days: u64,
    pub partitions: u64,
    pub rows: u64,
    /// Rows that stay in these partitions, because they were written within the grace.
    pub left: u64,
}

/// Decides what can go. Reads every row of the days that are due.
pub async fn plan_trim(ctx: &Ctx, settings: &CassandraSettings, request: &TrimRequest) -> Result<TrimPlan> {
    let hot = Cassandra::open(settings, 0).await?;
    if !hot.has_days() {
        return Err(Error::usage(format!(
            "{} has no day in its partition key: its rows are not deleted by days",
            hot.name()
        ))
        .hint("they go when their time to live is over"));
    }
    let grace = SignedDuration::try_from(request.grace).unwrap_or(SignedDuration::MAX);
    // Write times are of the real clock, whatever this run takes for the present.
    let written_until = Clock::System.now().checked_sub(grace).unwrap_or(Timestamp::MIN);
    let snapshot = Snapshot::open(&ctx.store).await?;
    let there = hot.days().await?;
    let seals = &snapshot.root().document.seals;
    let dates: BTreeSet<Date> = there.keys().copied().collect();
    let (due, mut kept) = due::due(seals, &dates, request.until, grace, ctx.now());
    let mut days = Vec::new();
    for date in due {
        ctx.stop.check()?;
        if let Some(problem) = damaged(ctx, &snapshot, date).await? {
            kept.push(KeptDay { date, why: Stays::Damaged(problem) });
            continue;
        }
        let verifying = Verifying { ctx, request, mapping: &settings.columns.mapping, snapshot: &snapshot, hot: &hot };
        match verifying.day(date, there[&date].clone()).await {
            Ok(day) if day.delete.is_empty() => kept.push(KeptDay { date, why: Stays::Unverified(day.kept) }),
            Ok(day) => days.push(day),
            Err(error) if NOT_NOW.contains(&error.stable_code()) => {
                let why = vec![KeptTenant { tenant: None, why: error.headline() }];
                kept.push(KeptDay { date, why: Stays::Unverified(why) });
            }
            Err(error) => return Err(error).with_context(|| format!("verify {date}")),
        }
    }
    kept.sort_by_key(|day| day.date);
    let rows = days.iter().map(|day| day.rows).sum();
    Ok(TrimPlan { version: snapshot.version(), source: hot.name(), rows, days, kept, written_until, snapshot, hot })
}

/// A data file of the date that is not as the catalog says.
async fn damaged(ctx: &Ctx, snapshot: &Snapshot, date: Date) -> Result<Option<String>> {
    let dates = BTreeSet::from([date]);
    let files = snapshot.files(|leaf| leaf.may_hold_any(&dates)).await?;
    let of_date = files.into_iter().filter(|file| file.dates.contains(&date));
    let looked = futures::stream::iter(of_date).map(|file| async move {
        let found = ctx.store.stat(&file.path).await?;
        Ok::<_, Error>(match found {
            Some(object) if object.size_bytes == file.size_bytes => None,
            Some(object) => Some(format!("{} has {} bytes, not {}", file.path, object.size_bytes, file.size_bytes)),
            None => Some(format!("{} does not exist", file.path)),
        })
    });
    let problems: Vec<String> =
        looked.buffered(IN_FLIGHT).try_filter_map(|problem| async { Ok(problem) }).try_collect().await?;
    Ok(problems.into_iter().next())
}

/// The comparison of days with a version of the archive.
struct Verifying<'a> {
    ctx: &'a Ctx,
    request: &'a TrimRequest,
    mapping: &'a Mapping,
    snapshot: &'a Snapshot,
    hot: &'a Cassandra,
}

impl Verifying<'_> {
    async fn day(&self, date: Date, partitions: Vec<Partition>) -> Result<TrimDay> {
        let seal = self.snapshot.root().document.seals.get(date);
        let read_at = seal.and_then(|seal| seal.read.as_ref()).map(|read| read.at);
        let mut day = TrimDay { date, read_at, rows: 0, partitions: 0, kept: Vec::new(), delete: Vec::new() };
        let all = self.look(date, &partitions).await?;
        if all.is_whole() {
            day.add(all.rows, partitions);
            return Ok(day);
        }
        let mut tenants: BTreeMap<Option<String>, Vec<Partition>> = BTreeMap::new();
        for partition in partitions {
            tenants.entry(partition.tenant.clone()).or_default().push(partition);
        }
        for (tenant, partitions) in tenants {
            let looked = self.look(date, &partitions).await?;
            match looked.is_whole() {
                true => day.add(looked.rows, partitions),
                false => day.kept.push(KeptTenant { tenant, why: looked.to_string() }),
            }
        }
        Ok(day)
    }

    async fn look(&self, date: Date, partitions: &[Partition]) -> Result<Looked> {
        self.ctx.stop.check()?;
        let units = partitions.iter().cloned().map(Unit::Partition).collect();
        let day = HotDay::new(self.hot, date, false, units, Restriction::default());
        let (ctx, request, mapping, snapshot, runtime) =
            (self.ctx.clone(), self.request.clone(), self.mapping.clone(), self.snapshot.clone(), Handle::current());
        let work = move || look::look(&ctx, &runtime, &request, &mapping, &snapshot, day);
        tokio::task::spawn_blocking(work).await.context("wait for the comparison")?
    }
}

impl TrimDay {
    fn add(&mut self, rows: u64, partitions: Vec<Partition>) {
        self.rows += rows;
        self.partitions += partitions.len() as u64;
        self.delete.extend(partitions);
    }
}

/// Notes the plan's days as trimmed and deletes their rows, under the lease of the nightly job.
pub async fn trim(ctx: &Ctx, plan: &TrimPlan) -> Result<TrimReport> {
    let mut report = TrimReport::default();
    if plan.days.is_empty() {
        return Ok(report);
    }
    let lease = Lease::take(ctx).await?;
    let outcome = async {
        report.version = note(ctx, plan).await?;
        for day in &plan.days {
            ctx.stop.check()?;
            lease.check()?;
            let left = delete(plan, day).await.with_context(|| format!("trim {}", day.date))?;
            report.days += 1;
            report.partitions += day.partitions;
            report.rows += day.rows.saturating_sub(left);
            report.left += left;
        }
        Ok(())
    }
    .await;
    let released = lease.release().await;
    outcome.and(released).map(|()| report)
}

/// Commits that the days are trimmed; `None` where a run that died had done so.
async fn note(ctx: &Ctx, plan: &TrimPlan) -> Result<Option<u64>> {
    let snapshot = &plan.snapshot;
    let seals = &snapshot.root().document.seals;
    let is_noted = |date: Date| seals.get(date).is_some_and(|seal| seal.trimmed && seal.read.is_none());
    let mut change = Change::new(Operation::new("trim", snapshot.version()));
    change.trims = plan.days.iter().map(|day| day.date).collect();
    if change.trims.iter().all(|date| is_noted(*date)) {
        return Ok(None);
    }
    let layout = Layout::for_run(snapshot.version(), &ctx.random.id());
    match commit(ctx, Some(snapshot), &layout, change).await? {
        Outcome::Committed(snapshot) => Ok(Some(snapshot.version())),
        Outcome::Conflict(why) => {
            Err(Error::new(Kind::TryAgain, why).hint("nothing was deleted; run it again, to look at these days again"))
        }
    }
}

/// Deletes the day's verified partitions; returns how many rows they still have.
async fn delete(plan: &TrimPlan, day: &TrimDay) -> Result<u64> {
    let deleted = futures::stream::iter(day.delete.clone()).map(|partition| async move {
        plan.hot.delete_written_until(&partition, plan.written_until).await?;
        plan.hot.count(&Unit::Partition(partition), &Restriction::default()).await
    });
    deleted.buffer_unordered(IN_FLIGHT).try_fold(0, |sum, left| async move { Ok(sum + left) }).await
}
