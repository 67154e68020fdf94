//! Hot and cold in one answer: the table `events` over an archive and the hot tier that feeds it.
//!
//! # Flow
//! ```text
//! filters ──▶ days of the hot tier's window that may match
//!             ├─ none that is open: the archive's plan, and nothing is asked of the hot tier
//!             ├─ all whole in the hot tier, tenants named, fewer requests: the hot tier alone
//!             └─ open days: archive ∪ (hot ─▶ filter ─▶ without what the archive has of these days)
//! ```
//! A date is *open* until the archive is sealed for it. Rows of the hot tier go through the same mapping and validation
//! as those of an export; what a run would make a dead letter is no event here either, and is counted.
//!
//! # Consistency
//! An answer is made of one version of the archive and of what the hot tier has while it is read. An event that is in
//! both counts once, as the archive has it.
//!
//! # When the hot tier is down
//! It is connected when a scan first needs it. A failure then, or while rows are flowing, fails the statement; or, when
//! told to, ends the hot part, and the answer says which days it lacks.
//!
//! # Cost
//! A named tenant is one partition a day; anything else looks at the keys of all partitions first, and what would read
//! more than a few days of all tenants is refused unless it is allowed ([`scans`]). The identities of the archive's
//! events on open days are held in memory while the hot tier's are compared with them, and so are those of the hot tier
//! itself where it may have an event twice.

mod asked;
mod cassandra;
mod decode;
mod exec;
mod exports;
mod log;
mod merge;
mod route;
mod scans;
mod source;
mod table;
mod tier;
mod tiers;
mod unique;
mod window;

use std::sync::Arc;

pub use asked::Asked;
pub use exec::PlannedHot;
pub use log::{HotLog, HotMissing};
pub use table::LiveTable;
pub use tier::HotTier;
pub use tiers::Tiers;

use super::QuerySettings;
use crate::catalog::Snapshot;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::model::{Schema, micros_of_timestamp};
use crate::scan::EventsTable;
use window::Window;

/// What becomes of a question when the hot tier does not answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnHotError {
    /// It fails.
    #[default]
    Fail,
    /// It is answered without the hot tier, and the answer says what it lacks.
    Skip,
}

/// The hot tier of these settings, where a question may ask one: an older version is only the archive's.
pub fn tier(settings: &QuerySettings) -> Result<Option<Arc<HotTier>>> {
    let hot = settings.hot.clone().filter(|_| settings.tiers.hot && settings.as_of.is_none());
    match hot {
        Some(hot) => Ok(Some(Arc::new(HotTier::new(hot, settings.on_hot_error)))),
        None if settings.tiers.archive() => Ok(None),
        None if settings.as_of.is_some() => Err(Error::usage("an older version is the archive's alone")
            .hint("ask the tiers cold and deep for it, or leave --as-of out")),
        None => Err(Error::usage("there is no hot tier to ask").hint("describe it in the section [hot] of tier.toml")),
    }
}

/// The columns of `events`: those of the archive. Before the first events are archived, those that it will get.
async fn columns(snapshot: &Snapshot, tier: &HotTier, window: &Window) -> Result<Schema> {
    let archive = snapshot.schema();
    if *archive != Schema::default() || !snapshot.root().document.seals.is_empty() {
        return Ok(archive.clone());
    }
    match tier.forgive(tier.source().await, &window.days().collect(), false)? {
        Some(source) => decode::with_columns_of(archive, &source.columns().await?, &source.mapping(snapshot)),
        None => Ok(archive.clone()),
    }
}

/// The table over both.
pub async fn table(
    ctx: &Context,
    settings: &QuerySettings,
    snapshot: Snapshot,
    tier: Arc<HotTier>,
) -> Result<LiveTable> {
    let ttl_days = settings.hot.as_ref().map_or(0, |hot| hot.ttl_days);
    let window = Window::new(ctx.now(), ttl_days, settings.accept_future);
    let columns = columns(&snapshot, &tier, &window).await?;
    let accepted = i64::try_from(settings.accept_future.as_micros()).unwrap_or(i64::MAX);
    Ok(LiveTable {
        archive: Arc::new(EventsTable::with_schema(snapshot, &columns).with_classes(settings.tiers.classes())),
        tier,
        columns,
        tiers: settings.tiers,
        window,
        max_time: micros_of_timestamp(ctx.now()).saturating_add(accepted),
        may_scan: settings.allow_hot_scan,
    })
}
