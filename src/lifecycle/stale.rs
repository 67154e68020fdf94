//! A plan in a file: what it was decided on, so that applying it does exactly that or nothing.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::plan::{Plan, Totals};
use crate::catalog::Snapshot;
use crate::error::{Error, Kind, Result};

/// The file that `plan --out` writes. The actions are not in it: planning is pure, so the same version, policy, prices
/// and time make the same plan again, and the digest proves it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanHeader {
    /// The archive's address.
    pub archive: String,
    pub table_id: String,
    /// What the archive was like.
    pub version: u64,
    pub root_sha256: String,
    pub policy_sha256: String,
    pub prices_date: Date,
    pub prices_sha256: String,
    /// The time the ages were counted at.
    pub now: Timestamp,
    /// Of what it does.
    pub digest: String,
    pub totals: Totals,
}

impl PlanHeader {
    pub fn check_archive(&self, table_id: &str, plan_again: &str) -> Result<()> {
        if self.table_id == table_id {
            return Ok(());
        }
        Err(stale(format!("it was made for the archive {}", self.archive), plan_again))
    }

    /// What must be as it was, whatever the archive's version: the command that plans again is in the error.
    pub fn check_same(&self, today: &PlanHeader, plan_again: &str) -> Result<()> {
        let why = if self.policy_sha256 != today.policy_sha256 {
            "the policy has changed since".to_owned()
        } else if self.prices_sha256 != today.prices_sha256 {
            format!("it was made with the prices of {}, and they have changed", self.prices_date)
        } else if self.root_sha256 != today.root_sha256 {
            format!("version {} is another one now", self.version)
        } else if self.digest != today.digest {
            "the same decisions no longer come out of it: it was made by another tier".to_owned()
        } else {
            return Ok(());
        };
        Err(stale(why, plan_again))
    }

    /// Whether nothing but this plan's own commits came since it was made. Returns the newest version.
    pub async fn check_fresh(&self, newest: &Snapshot, plan_again: &str) -> Result<()> {
        let mut others = Vec::new();
        for version in self.version + 1..=newest.version() {
            let Some(at) = Snapshot::look(newest.store(), version).await? else { continue };
            let operation = at.operation();
            if operation.plan.as_ref() != Some(&self.digest) && !operation.keeps_files() {
                others.push(operation.kind.clone());
            }
        }
        if others.is_empty() {
            return Ok(());
        }
        let why = format!(
            "planned at version {}, the archive is at {} ({})",
            self.version,
            newest.version(),
            others.join(", ")
        );
        Err(stale(why, plan_again))
    }

    pub fn of(plan: &Plan, facts: Facts<'_>) -> Self {
        let document = &facts.snapshot.root().document;
        PlanHeader {
            archive: facts.snapshot.store().location().to_string(),
            table_id: document.table_id.clone(),
            version: document.version,
            root_sha256: facts.snapshot.sha256(),
            policy_sha256: facts.policy_sha256,
            prices_date: facts.prices_date,
            prices_sha256: facts.prices_sha256,
            now: facts.now,
            digest: plan.digest.clone(),
            totals: plan.totals.clone(),
        }
    }
}

/// What a plan was made from, beside the plan itself.
pub struct Facts<'a> {
    pub snapshot: &'a Snapshot,
    pub policy_sha256: String,
    pub prices_date: Date,
    pub prices_sha256: String,
    pub now: Timestamp,
}

fn stale(why: String, plan_again: &str) -> Error {
    Error::new(Kind::TryAgain, format!("the plan is stale: {why}"))
        .code("stale-plan")
        .hint("plan again and look at what has changed")
        .command(plan_again)
}
