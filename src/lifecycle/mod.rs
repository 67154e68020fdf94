//! Moves old data into cheaper classes by the age of its events, and knows what every move costs and saves.
//!
//! # Flow
//! ```text
//! snapshot, policy, holds, prices, now ──plan (pure)──▶ actions, one commit each; what stays, by reason
//!                                                        │
//!   cells ──▶ one bundle per month and tenants ──▶ verify ──▶ put into its class ──▶ HEAD ──▶ Replace commit
//! ```
//! A month is old enough when its last day is. A move happens when it pays back before the horizon; nothing expires
//! without an explicit rule; a legal hold beats every rule.
//!
//! # Crash
//! Each action becomes visible by one commit. A kill before it leaves orphans, which `tier vacuum` removes; running
//! the same plan again skips what is done. The replaced cells stay until a vacuum finds them older than its grace.
//!
//! # Cost
//! Planning reads the leaves and keeps sums, never a list of files, so it takes as little memory for fifty million files
//! as for one; applying asks again for each action's files and holds those. A bundle is one GET per cell file, one upload,
//! and its part of one small commit.

mod apply;
mod bucket_rules;
mod decide;
mod drift;
mod gate;
mod holds;
mod layout;
mod plan;
mod planner;
mod policy;
mod stale;
mod taken;

pub use apply::{ApplyReport, apply};
pub use bucket_rules::{AwsRule, RulesDocument, rules_for};
pub use decide::{Decider, Keys, Planning};
pub use drift::{Drift, Finding, drift, record};
pub use gate::Gate;
pub use holds::{add_hold, remove_hold};
pub use plan::{Action, ActionKind, BundleAction, Decision, Place, Plan, Reason, Sum, Totals};
pub use planner::{plan, plan_files};
pub use policy::{Age, Layout, Policy, Rule, Target, Transitions, glob};
pub use stale::{Facts, PlanHeader};
pub use taken::decisions;
