//! The nightly job without exports: closed days of the hot tier, one commit each, which seals the day.
//!
//! # Flow
//! [`due`](mod@due) decides which days; [`HotDay`] reads one as an input of the ordinary run, so that validation, duplicates and
//! dead letters are those of exports; the commit of a day's events seals it.
//!
//! # Consistency
//! A day is sealed when `read = accepted + duplicate + dead letter` and the server's own count, taken after the read of
//! each partition, agrees. What comes later is found when the day is read again, and appended.
//!
//! # Crash
//! A day is committed whole or not at all; the next run goes on with the first day that is not sealed.

mod day;
mod due;
mod record;
mod report;
mod seal;
mod trim;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::civil::Date;

use super::read::Input;
use super::run::{ArchiveRequest, archive, archive_batch};
use crate::catalog::{Lease, Snapshot};
use crate::clock::Stopwatch;
use crate::context::Context as Ctx;
use crate::error::{Error, Result};
use crate::hot::{Cassandra, CassandraSettings, HotSettings, Partition, Place, Restriction, Unit};
use crate::model::{Mapping, Seals, micros_of_timestamp};

pub use day::{HotCounts, HotDay, letters_of};
pub use due::{Days, Due, Why, due};
pub use record::{RunRecord, last_run};
pub use report::{DayReport, FailedDay, HotReport, Unarchived};
pub use seal::{SealReport, seal_dates};
pub(super) use seal::{new_seal, seal_closed};
pub use trim::{KeptDay, Stays, TrimDay, TrimPlan, TrimReport, TrimRequest, plan_trim, trim};

/// Why a day cannot be archived though others may be; after any other error the run ends, with what it has done.
const OTHERS_MAY_DO: [&str; 2] = ["too-many-dead-letters", "hot-changing"];

/// The days of a table by date; `None` where its layout has none.
type There = Option<BTreeMap<Date, Vec<Partition>>>;

/// Archives the days that are due, under the lease. `request` says how records become events.
pub async fn from_hot(ctx: &Ctx, request: &ArchiveRequest, hot: &HotSettings, days: Days) -> Result<HotReport> {
    let lease = Lease::take(ctx).await?;
    let outcome = match &hot.place {
        Place::Cassandra(cassandra) => from_cassandra(ctx, request, hot, cassandra, days, &lease).await,
        Place::Exports(exports) => from_exports(ctx, request, hot, &exports.address, days).await,
    };
    if let Err(error) = lease.release().await {
        ctx.progress.warn(&format!("the lease is not released and ends by itself: {error}"));
    }
    outcome
}

async fn from_cassandra(
    ctx: &Ctx,
    request: &ArchiveRequest,
    hot: &HotSettings,
    cassandra: &CassandraSettings,
    days: Days,
    lease: &Lease,
) -> Result<HotReport> {
    let watch = Stopwatch::start();
    let source = Cassandra::open(cassandra, hot.warn_days).await?;
    hot.check_ttl(&source)?;
    let (there, dates) = find_days(&source, &cassandra.columns.mapping).await?;
    let seals = newest_seals(ctx).await?;
    let mut report = HotReport { source: source.name(), ..HotReport::default() };
    for due in due(hot, &seals, &dates, days, ctx.now())? {
        ctx.stop.check()?;
        lease.check()?;
        let day = hot_day(&source, due, there.as_ref());
        match archive_day(ctx, request, &cassandra.columns.mapping, day, due).await {
            Ok(done) => report.add(done),
            Err(error) => {
                let goes_on = OTHERS_MAY_DO.contains(&error.stable_code());
                report.failed.push(FailedDay { date: due.date, error });
                if !goes_on {
                    break;
                }
            }
        }
    }
    if let Ok(seals) = newest_seals(ctx).await {
        report.unarchived = unarchived(hot, &seals, &dates, ctx);
    }
    report.elapsed_ms = watch.elapsed_ms();
    Ok(report)
}

/// One day, one commit.
async fn archive_day(
    ctx: &Ctx,
    request: &ArchiveRequest,
    mapping: &Mapping,
    day: HotDay,
    due: Due,
) -> Result<DayReport> {
    let watch = Stopwatch::start();
    let done = archive_batch(ctx, request, mapping, vec![Input::Hot(Arc::new(day))], Vec::new()).await?;
    Ok(DayReport::new(due, done, watch.elapsed_ms()))
}

fn hot_day(source: &Cassandra, due: Due, there: Option<&BTreeMap<Date, Vec<Partition>>>) -> HotDay {
    let (units, restriction) = match there {
        Some(there) => {
            let partitions = there.get(&due.date).cloned().unwrap_or_default();
            (partitions.into_iter().map(Unit::Partition).collect(), Restriction::default())
        }
        None => (source.ranges(), Restriction { times: Some(times_of(due.date)), ..Restriction::default() }),
    };
    HotDay::new(source, due.date, due.incomplete, units, restriction)
}

/// The exports are archived as any, whatever their dates; then all closed dates are answered by the archive.
async fn from_exports(
    ctx: &Ctx,
    request: &ArchiveRequest,
    hot: &HotSettings,
    address: &str,
    days: Days,
) -> Result<HotReport> {
    if days != Days::All {
        return Err(Error::usage("a hot tier of exports is archived whole: its exports are not sorted by day")
            .hint("leave --date and --until out"));
    }
    let request = ArchiveRequest { exports: vec![address.to_owned()], ..request.clone() };
    let done = archive(ctx, &request).await?;
    let sealed = seal_closed(ctx, hot).await?;
    Ok(HotReport {
        source: address.to_owned(),
        elapsed_ms: done.elapsed_ms,
        exports: Some(done),
        sealed,
        ..HotReport::default()
    })
}

/// Times of a date as `from ≤ time < to`, in microseconds since the epoch.
fn times_of(date: Date) -> (i64, i64) {
    let midnight = |date: Date| {
        let zoned = date.to_zoned(jiff::tz::TimeZone::UTC);
        zoned.map_or(i64::MAX, |zoned| micros_of_timestamp(zoned.timestamp()))
    };
    (midnight(date), midnight(date.tomorrow().unwrap_or(Date::MAX)))
}

/// The partitions by day, where the layout has days, and the dates of which the hot tier has events.
async fn find_days(source: &Cassandra, mapping: &Mapping) -> Result<(There, BTreeSet<Date>)> {
    if !source.has_days() {
        return Ok((None, source.dates(mapping).await?));
    }
    let there = source.days().await?;
    let dates = there.keys().copied().collect();
    Ok((Some(there), dates))
}

async fn newest_seals(ctx: &Ctx) -> Result<Seals> {
    let newest = Snapshot::latest(&ctx.store).await?;
    Ok(newest.map(|newest| newest.root().document.seals.clone()).unwrap_or_default())
}

/// The days of the hot tier that are not sealed, and how long it still has all of their events.
pub fn unarchived(hot: &HotSettings, seals: &Seals, there: &BTreeSet<Date>, ctx: &Ctx) -> Vec<Unarchived> {
    let now = ctx.now();
    let open = there.iter().filter(|date| !seals.contains(**date));
    open.map(|&date| Unarchived::new(hot, date, now)).collect()
}

/// As [`unarchived`], by asking the hot tier.
pub async fn look_for_unarchived(ctx: &Ctx, hot: &HotSettings) -> Result<Vec<Unarchived>> {
    let Place::Cassandra(settings) = &hot.place else { return Ok(Vec::new()) };
    let source = Cassandra::open(settings, hot.warn_days).await?;
    hot.check_ttl(&source)?;
    let (_, dates) = find_days(&source, &settings.columns.mapping).await?;
    Ok(unarchived(hot, &newest_seals(ctx).await?, &dates, ctx))
}
