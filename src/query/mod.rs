//! SQL in, batches out: DataFusion over the one table `events`, read-only.
//!
//! # Flow
//! text → tokens, with column names resolved ignoring case → statements → plan → files still needed → stream of batches.
//! Whether the answer can be whole is known before the first data is read: where a needed file is archived, the query
//! fails there and names what it would take.
//!
//! # Cost
//! Opening the catalog is three requests; planning one GET for each leaf that may match; the rest is what the scan
//! reads. Operators share a bounded memory pool and spill to a temporary folder beyond it.

mod answer;
mod engine;
mod errors;
mod identifiers;
mod ladder;
mod read_only;
mod session;
mod snippet;
mod times;
mod types;

use jiff::Timestamp;

pub use answer::{Answer, Report, RequestCounts};
pub use engine::{Engine, Statement, is_finished};
pub use ladder::Ladder;
pub use types::sql_type;

use crate::context::Context;
use crate::error::{Error, Result};

/// Which version answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    Version(u64),
    /// The version that was the newest then.
    Time(Timestamp),
}

/// What does not belong to the SQL text.
#[derive(Debug, Clone)]
pub struct QuerySettings {
    /// The newest version, where nothing is said.
    pub as_of: Option<AsOf>,
    /// Operators that need more spill.
    pub memory_bytes: u64,
}

impl QuerySettings {
    pub const DEFAULT_MEMORY_BYTES: u64 = 512 << 20;
}

impl Default for QuerySettings {
    fn default() -> Self {
        QuerySettings { as_of: None, memory_bytes: Self::DEFAULT_MEMORY_BYTES }
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
