//! SQL in, batches out: DataFusion over the one table `events`, read-only.
//!
//! # Flow
//! text → tokens, with column names resolved ignoring case → statements → plan → files still needed → stream of batches.
//! Whether the answer can be whole, and about what it costs, is known before the first data is read: of the archived
//! files that a plan still needs the store is asked which can be read now. Where one cannot, the query fails and names
//! what a restore takes; or, when told to, answers without it and says what is missing. Where there is a hot tier, dates
//! that the archive is not sealed for are asked of both: see [`live`].
//!
//! # Cost
//! Opening the catalog is three requests; planning one GET for each leaf that may match, and one for near parts of a
//! pack; asking for the state of archived files one HEAD each, or one LIST of a folder; the rest is what the scan reads.
//! Operators share a bounded memory pool and spill to a temporary folder beyond it.

mod answer;
mod archived;
mod doubts;
mod engine;
mod errors;
mod estimate;
mod identifiers;
mod ladder;
mod live;
mod plan;
mod read_only;
mod session;
mod snippet;
mod times;
mod types;

use std::time::Duration;

use jiff::Timestamp;

pub use answer::{Answer, Incomplete, LeftOut, Report, RequestCounts};
pub use archived::{Missing, Obstacle, Offer, Unreadable};
pub use engine::{Engine, Statement, is_finished};
pub use estimate::{Budget, Estimate, Tariff};
pub use ladder::{Ladder, count, size};
pub use live::{HotMissing, OnHotError, PlannedHot, Tiers};
pub use plan::Plan;
pub use types::sql_type;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::hot::HotSettings;

/// Which version answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    Version(u64),
    /// The version that was the newest then.
    Time(Timestamp),
}

/// What becomes of a question when archived files are in the way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnArchived {
    /// It fails before the first read, and says what a restore takes.
    #[default]
    Fail,
    /// It is answered without them, and the answer says what it lacks.
    Skip,
}

/// What does not belong to the SQL text.
#[derive(Debug, Clone)]
pub struct QuerySettings {
    /// The newest version, where nothing is said.
    pub as_of: Option<AsOf>,
    /// Operators that need more spill.
    pub memory_bytes: u64,
    pub on_archived: OnArchived,
    /// Where recent events are, for dates that the archive is not sealed for.
    pub hot: Option<HotSettings>,
    pub on_hot_error: OnHotError,
    /// Whether a question may read the hot tier through.
    pub allow_hot_scan: bool,
    pub tiers: Tiers,
    /// Events of the hot tier that are further in the future are none, as for a run that archives them.
    pub accept_future: Duration,
    pub budget: Budget,
    pub tariff: Tariff,
    /// Of simulated storage classes: how many times faster than the clock windows pass. 1 is real.
    pub class_speed: f64,
}

impl QuerySettings {
    pub const DEFAULT_MEMORY_BYTES: u64 = 512 << 20;
    pub const DEFAULT_ACCEPT_FUTURE: Duration = Duration::from_secs(86_400);
}

impl Default for QuerySettings {
    fn default() -> Self {
        QuerySettings {
            as_of: None,
            memory_bytes: Self::DEFAULT_MEMORY_BYTES,
            on_archived: OnArchived::default(),
            hot: None,
            on_hot_error: OnHotError::default(),
            allow_hot_scan: false,
            tiers: Tiers::ALL,
            accept_future: Self::DEFAULT_ACCEPT_FUTURE,
            budget: Budget::default(),
            tariff: Tariff::default(),
            class_speed: 1.0,
        }
    }
}

/// Answers one statement.
pub async fn run(ctx: &Context, settings: &QuerySettings, sql: &str) -> Result<Answer> {
    let mut engine = Engine::open(ctx, settings).await?;
    let mut statements = engine.parse(sql)?;
    match (statements.pop_front(), statements.is_empty()) {
        (Some(statement), true) => engine.run(statement).await,
        (None, _) => Err(Error::usage("there is no SQL to run")),
        (Some(_), false) => Err(Error::usage("there is more than one statement")),
    }
}
