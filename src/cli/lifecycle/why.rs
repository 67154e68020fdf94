//! `tier lifecycle why`: the decision about one file or partition, with its arithmetic.

use clap::Args;
use indicatif::HumanBytes;
use serde::Serialize;

use super::{planned, simulated};
use crate::catalog::Snapshot;
use crate::cli::App;
use crate::error::{Error, Result};
use crate::lifecycle::{Action, Decision};

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
    struct Document<'a> {
        decisions: Vec<&'a Decision>,
    }
    let snapshot = Snapshot::open(&app.context.store).await?;
    let planned = planned(app, snapshot, app.context.now()).await?;
    let path = args.path.trim_end_matches('/');
    let is_meant = |decision: &&Decision| {
        let at = decision.path.strip_prefix("events/").unwrap_or(&decision.path);
        decision.path.starts_with(path) || at.starts_with(path)
    };
    let decisions: Vec<&Decision> = planned.plan.decisions.iter().filter(is_meant).collect();
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
    for action in planned.plan.actions.iter().filter(|action| touches(action, &decisions)) {
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

fn touches(action: &Action, decisions: &[&Decision]) -> bool {
    action.files().iter().any(|live| decisions.iter().any(|decision| decision.path == live.file.path))
}
