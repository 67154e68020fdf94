//! Dates that the archive answers for from now on.

use std::collections::BTreeMap;

use jiff::ToSpan;
use jiff::civil::Date;
use serde::Serialize;
use tokio::runtime::Handle;

use super::{HotCounts, HotDay};
use crate::archive::report::ArchiveReport;
use crate::catalog::{Change, NewSeal, Operation, Outcome, Snapshot, commit};
use crate::context::Context as Ctx;
use crate::error::{Error, Kind, Result};
use crate::hot::HotSettings;
use crate::model::HotRead;
use crate::store::Layout;

/// What a sealing by hand did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SealReport {
    pub version: u64,
    /// Those that were not sealed before.
    pub sealed: Vec<Date>,
}

/// The seal of a day that was read. `written` rows come with it.
pub fn new_seal(
    ctx: &Ctx,
    runtime: &Handle,
    snapshot: Option<&Snapshot>,
    day: &HotDay,
    counts: &HotCounts,
    report: &ArchiveReport,
) -> Result<NewSeal> {
    let known = snapshot.map_or(Ok(Some(0)), |snapshot| runtime.block_on(rows_of(snapshot, day.date)))?;
    let is_mirror = report.dead_letter == 0 && known.is_some_and(|known| known + report.accepted == counts.counted);
    let read = HotRead { at: ctx.now(), rows: counts.counted, is_mirror };
    Ok(NewSeal { incomplete: day.incomplete, read: Some(read) })
}

/// The archive's rows of a date; `None` where a bundle has some of them among others.
async fn rows_of(snapshot: &Snapshot, date: Date) -> Result<Option<u64>> {
    let files = snapshot.files(|leaf| leaf.dates.min <= date && date <= leaf.dates.max).await?;
    let of_date = files.iter().filter(|file| file.dates.min <= date && date <= file.dates.max);
    Ok(of_date.map(|file| file.partition().map(|_| file.rows)).sum())
}

/// Seals dates whose events came from exports: the hot tier is no longer asked for them.
pub async fn seal_dates(ctx: &Ctx, dates: &[Date]) -> Result<SealReport> {
    let newest = Snapshot::open(&ctx.store).await?;
    let seals = &newest.root().document.seals;
    let sealed: Vec<Date> = dates.iter().copied().filter(|date| !seals.contains(*date)).collect();
    if sealed.is_empty() {
        return Ok(SealReport { version: newest.version(), sealed });
    }
    let mut change = Change::new(Operation::new("seal", newest.version()));
    change.seals = sealed.iter().map(|date| (*date, NewSeal::default())).collect::<BTreeMap<_, _>>();
    let layout = Layout::for_run(newest.version(), &ctx.random.id());
    match commit(ctx, Some(&newest), &layout, change).await? {
        Outcome::Committed(snapshot) => Ok(SealReport { version: snapshot.version(), sealed }),
        Outcome::Conflict(why) => Err(Error::new(Kind::TryAgain, why).hint("run it again")),
    }
}

/// Seals every closed date after the last seal, or from the archive's first date on.
pub async fn seal_closed(ctx: &Ctx, hot: &HotSettings) -> Result<Vec<Date>> {
    let Some(newest) = Snapshot::latest(&ctx.store).await? else { return Ok(Vec::new()) };
    let root = newest.root();
    let first_archived = root.leaves.iter().map(|leaf| leaf.dates.min).min();
    let after_seals = root.document.seals.last().and_then(|date| date.tomorrow().ok());
    let Some(first) = after_seals.or(first_archived) else { return Ok(Vec::new()) };
    let last = hot.last_closed(ctx.now());
    let dates: Vec<Date> = first.series(1.day()).take_while(|date| *date <= last).collect();
    Ok(seal_dates(ctx, &dates).await?.sealed)
}
