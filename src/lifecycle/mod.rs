//! Moves old data into cheaper classes by the age of its events, and knows what every move costs and saves.
//!
//! # Flow
//! ```text
//! snapshot, policy, holds, prices, now ──plan (pure)──▶ every file with its reason; actions, one commit each
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
//! Planning reads the leaves. A bundle is one GET per cell file, one upload, and its part of one small commit.

mod apply;
mod bucket_rules;
mod drift;
mod gate;
mod holds;
mod layout;
mod plan;
mod policy;
mod stale;

pub use apply::{ApplyReport, apply};
pub use bucket_rules::{AwsRule, RulesDocument, rules_for};
pub use drift::{Drift, Finding, drift, record};
pub use gate::Gate;
pub use holds::{add_hold, remove_hold};
pub use plan::{Action, ActionKind, Decision, Plan, Planning, Reason, Totals, bundle_keys, plan};
pub use policy::{Age, Layout, Policy, Rule, Target, Transitions, glob};
pub use stale::{Facts, PlanHeader};
