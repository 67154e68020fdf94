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
//! Planning reads the leaves once and remembers only small files. A group is one GET per file and one PUT.

mod apply;
mod merge;
mod plan;
mod runs;

pub use apply::{CompactReport, apply};
pub use merge::{Bound, CatalogReport, merge_runs};
pub use plan::{Group, Plan, Planner, Policy, Reason, Sum, Totals};
pub use runs::{Period, Run, RunMerge, plan as plan_runs};

use std::collections::HashSet;

use crate::catalog::{LeafRef, Snapshot};
use crate::error::Result;

/// Leaves held in memory at once.
const LEAVES_AT_ONCE: usize = 64;

/// Decides about every file of the snapshot that the policy asks for.
pub async fn plan(snapshot: &Snapshot, mut planner: Planner<'_>) -> Result<Plan> {
    let wanted: Vec<&LeafRef> = snapshot.root().leaves.iter().filter(|leaf| planner.may_ask_for(leaf)).collect();
    for some in wanted.chunks(LEAVES_AT_ONCE) {
        let some: HashSet<&str> = some.iter().map(|leaf| leaf.path.as_str()).collect();
        for live in snapshot.live_files(|leaf| some.contains(leaf.path.as_str())).await? {
            planner.add(live);
        }
    }
    Ok(planner.finish())
}
