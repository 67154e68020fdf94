//! `tier lifecycle why`: the decision about one file or partition, with its arithmetic.

use std::collections::BTreeSet;

use clap::Args;
use indicatif::HumanBytes;
use serde::Serialize;

use super::{planned, simulated};
use crate::catalog::Snapshot;
use crate::cli::App;
use crate::error::{Error, Result};
use crate::lifecycle::{self, Decision};
use crate::model::FileView;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tier lifecycle why date=2024-08-24/event_type=login/tenant_id=acme
  tier lifecycle why _bundles/month=2024-08")]
pub struct WhyArgs {
    /// A file's path in the archive, or the beginning of one: a partition, a date, a month of bundles
    path: String,
}

pub async fn run(app: &App, args: WhyArgs) -> Result<u8> {
    #[derive(Serialize)]
    struct Document {
        decisions: Vec<Decision>,
    }
    let snapshot = Snapshot::open(&app.context.store).await?;
    let planned = planned(app, snapshot, app.context.now()).await?;
    let path = args.path.trim_end_matches('/');
    let is_meant = |file: &FileView<'_>| {
        let whole = file.path();
        let at = whole.strip_prefix("events/").unwrap_or(&whole);
        whole.starts_with(path) || at.starts_with(path)
    };
    let (mut decisions, mut actions) = (Vec::new(), BTreeSet::new());
    lifecycle::decisions(planned.planning(), &planned.snapshot, &planned.plan, is_meant, |decision, place| {
        actions.extend(place.map(|place| place.action));
        decisions.push(decision);
        Ok(())
    })
    .await?;
    if decisions.is_empty() {
        return Err(Error::usage(format!("the archive has nothing at `{path}`"))
            .hint("give a path below the archive, such as date=2026-08-24/event_type=login/tenant_id=acme"));
    }
    if app.ui.json {
        return app.ui.document(&Document { decisions }).map(|()| 0);
    }
    let lines = decisions.iter().map(|decision| {
        format!("{}  {}\n  {}{}\n", decision.path, HumanBytes(decision.size_bytes), decision.reason, simulated(app))
    });
    app.ui.data(&lines.collect::<String>())?;
    for action in actions.into_iter().map(|action| &planned.plan.actions[action]) {
        let gate = &action.gate;
        app.ui.say(&format!(
            "{}: {} costs {} once ({} of it for early delete); storage falls from {} to {} a month",
            action.month.strftime("%Y-%m"),
            action.what(),
            gate.one_off,
            gate.early_delete,
            gate.monthly_before,
            gate.monthly_after
        ));
    }
    Ok(0)
}
