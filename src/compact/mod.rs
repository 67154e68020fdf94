//! Merges what late events, replays and nightly commits have scattered: small files of a cell.
//!
//! # Flow
//! ```text
//! snapshot, policy, holds, prices, now ──plan (pure)──▶ groups of one cell's small files; what stays, with the reason
//!                                                        │
//!   a group ──▶ merge by (ts, event_id) ──▶ verify ──▶ put into its class ──▶ Replace commit, one for many groups
//! ```
//! A file is rewritten only in a class that is read as it lies, never before the class's minimum duration is over, and
//! never under a legal hold. Bundles and archived files stay what they are.
//!
//! [`merge_runs`] does the same for the catalog itself: the leaves of many nights become few, by key, and no data file is
//! touched.
//!
//! # Crash
//! Objects are complete and confirmed before the commit that names them: a kill leaves orphans, which `tier vacuum`
//! removes, and running it again does the rest. Appends to the same cell and merges commute; of two merges of the same
//! files the later one gives up its own.
//!
//! # Cost
//! Planning reads the leaves twice, the second time only those that may list what is merged, and remembers no other file. A
//! group is one GET per file and one PUT.

mod apply;
mod due;
mod merge;
mod plan;
mod runs;

pub use apply::{CompactReport, apply};
use due::{Due, MAX_FILES};
pub use merge::{Bound, CatalogReport, merge_runs};
pub use plan::{Group, Plan, Planner, Policy, Reason, Sum, Totals};
pub use runs::{Period, Run, RunMerge, plan as plan_runs};

use crate::catalog::{LeafRef, Snapshot};
use crate::error::Result;

/// Decides about every file of the snapshot that the policy asks for.
pub async fn plan(snapshot: &Snapshot, mut planner: Planner<'_>) -> Result<Plan> {
    let wanted: Vec<LeafRef> =
        snapshot.root().leaves.iter().filter(|leaf| planner.may_ask_for(leaf)).cloned().collect();
    let due = Due::find(snapshot, &wanted, &mut planner, MAX_FILES).await?;
    for live in due.files(snapshot, &wanted, &planner).await? {
        planner.take(live);
    }
    Ok(planner.finish())
}
