//! `tier lifecycle`: what moves where, why, and for how much; and doing it.

mod apply;
mod drift;
mod plan;
mod rules;
mod why;

use clap::{Args, Subcommand};

use super::App;
use crate::catalog::Snapshot;
use crate::error::Result;
use crate::lifecycle::{self, Facts, Plan, PlanHeader, Planning, Policy};
use crate::model::{Prices, sha256};
use jiff::Timestamp;

#[derive(Debug, Args)]
#[command(
    subcommand_required = true,
    after_help = "\
Examples:
  tier lifecycle plan
  tier lifecycle plan --out nov.plan && tier lifecycle apply nov.plan --max-cost 0.45 --yes
  tier lifecycle why date=2024-08-24/event_type=login/tenant_id=acme

The policy is in tier.toml; without one, months older than a year become bundles in DEEP_ARCHIVE. Ages count from the
date of the events. Nothing expires without a rule that says `expire = true`; a legal hold beats every rule.

Exit codes: 0 done, 1 failed, 2 usage or configuration, 5 over budget, 6 the plan is stale or a race was lost: plan
again, 7 there is something to do (plan and drift with --exit-code)."
)]
pub struct LifecycleArgs {
    #[command(subcommand)]
    verb: LifecycleVerb,
}

#[derive(Debug, Subcommand)]
enum LifecycleVerb {
    /// Show what would move, with reason, cost, saving and pay-back
    Plan(plan::PlanArgs),
    /// Do it: move, and expire what a rule expires
    Apply(apply::ApplyArgs),
    /// Print the bucket's lifecycle rules that belong to the policy
    Rules(rules::RulesArgs),
    /// Compare policy, bucket rules, catalog and store
    Drift(drift::DriftArgs),
    /// Explain what becomes of one file or partition
    Why(why::WhyArgs),
}

pub async fn run(app: &App, args: LifecycleArgs) -> Result<u8> {
    match args.verb {
        LifecycleVerb::Plan(args) => plan::run(app, args).await,
        LifecycleVerb::Apply(args) => apply::run(app, args).await,
        LifecycleVerb::Rules(args) => rules::run(app, args).await,
        LifecycleVerb::Drift(args) => drift::run(app, args).await,
        LifecycleVerb::Why(args) => why::run(app, args).await,
    }
}

/// A plan and what it was made from.
struct Planned {
    plan: Plan,
    header: PlanHeader,
    policy: Policy,
    prices: Prices,
    snapshot: Snapshot,
}

impl Planned {
    /// What the plan was made with.
    fn planning(&self) -> Planning<'_> {
        let holds = &self.snapshot.root().document.holds;
        Planning { policy: &self.policy, holds, prices: &self.prices, now: self.header.now }
    }
}

/// Decides about every file of `snapshot` at the time `now`.
async fn planned(app: &App, snapshot: Snapshot, now: Timestamp) -> Result<Planned> {
    let (policy, prices) = (app.settings.file.lifecycle.policy()?, app.settings.prices()?);
    let planning = Planning { policy: &policy, holds: &snapshot.root().document.holds, prices: &prices, now };
    let plan = lifecycle::plan(planning, &snapshot).await?;
    let facts = Facts {
        snapshot: &snapshot,
        policy_sha256: policy.digest(),
        prices_date: prices.date,
        prices_sha256: sha256(format!("{prices:?}").as_bytes()),
        now,
    };
    let header = PlanHeader::of(&plan, facts);
    Ok(Planned { plan, header, policy, prices, snapshot })
}

/// ` (simulated)` where classes are only played: every line about them says so.
fn simulated(app: &App) -> &'static str {
    if app.context.store.classes().is_simulated() { " (simulated)" } else { "" }
}
