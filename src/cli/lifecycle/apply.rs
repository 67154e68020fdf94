//! `tier lifecycle apply`: the plan, the price, the question, then the work.

use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::HumanBytes;

use super::plan::{say_totals, show};
use super::{Planned, planned, simulated};
use crate::catalog::Snapshot;
use crate::cli::App;
use crate::cli::parse::parse_usd;
use crate::cli::spending::{check_budget, refuse_a_later_now};
use crate::cli::words::counted;
use crate::error::{Context, Error, Result};
use crate::lifecycle::{self, ApplyReport, PlanHeader, Transitions};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tier lifecycle apply
  tier lifecycle apply nov.plan --max-cost 0.45 --yes
  tier lifecycle apply --yes --confirm 12

It may be killed and run again: what is committed is skipped. The cells that a bundle replaces, and what expires, are
deleted by `tier vacuum` when its grace period is over.")]
pub struct ApplyArgs {
    /// A plan that `tier lifecycle plan --out` wrote: exactly that is done, or nothing
    plan: Option<PathBuf>,

    /// Refuse before any work when it would cost more, in dollars [default: `[budget] per_run`]
    #[arg(long, value_name = "USD")]
    max_cost: Option<String>,

    /// How many files expire: what cannot be undone is said twice
    #[arg(long, value_name = "FILES")]
    confirm: Option<u64>,
}

pub async fn run(app: &App, args: ApplyArgs) -> Result<u8> {
    let max_cost = args.max_cost.as_deref().map(parse_usd).transpose()?;
    refuse_a_later_now(app)?;
    let planned = match &args.plan {
        Some(path) => from_file(app, path).await?,
        None => {
            record_what_the_bucket_moved(app).await?;
            let snapshot = Snapshot::open(&app.context.store).await?;
            planned(app, snapshot, app.context.now()).await?
        }
    };
    let totals = &planned.plan.totals;
    if planned.plan.actions.is_empty() {
        if app.ui.json {
            return app
                .ui
                .document(&ApplyReport { version: planned.snapshot.version(), ..ApplyReport::default() })
                .map(|()| 0);
        }
        say_totals(app, &planned);
        return Ok(0);
    }
    if !app.ui.json && args.plan.is_none() {
        show(app, &planned)?;
    }
    check_budget(app, "the plan", totals.one_off_usd, max_cost)?;
    if totals.expires > 0 && args.confirm != Some(totals.expires) {
        let message = format!("{} would expire, which cannot be undone", counted(totals.expires, "file"));
        return Err(Error::usage(message)
            .code("confirm")
            .hint(format!("look at the plan, then add --confirm {}", totals.expires)));
    }
    let question = format!("Move {}{} for {}?", HumanBytes(totals.bytes), simulated(app), totals.one_off_usd);
    if !app.ui.confirm(&question, app.settings.yes)? {
        return Err(Error::failed("nothing was done"));
    }
    let report = lifecycle::apply(&app.context, planned.planning(), &planned.snapshot, &planned.plan).await?;
    if app.ui.json {
        app.ui.document(&report)?;
    } else {
        say(app, &report);
    }
    Ok(0)
}

fn say(app: &App, report: &ApplyReport) {
    let simulated = if report.simulated { " (simulated)" } else { "" };
    if report.bundles > 0 {
        app.ui.say(&format!(
            "{} became {}, {} (from {}){simulated}",
            counted(report.cells_bundled, "cell file"),
            counted(report.bundles, "bundle"),
            HumanBytes(report.bytes_after),
            HumanBytes(report.bytes_before)
        ));
    }
    if report.moved_in_place > 0 {
        app.ui.say(&format!("{} moved in place{simulated}", counted(report.moved_in_place, "file")));
    }
    if report.expired > 0 {
        app.ui.say(&format!(
            "{} expired; tier vacuum deletes what expired after its grace",
            counted(report.expired, "file")
        ));
    }
    if report.already_done > 0 {
        app.ui.say(&format!("done by an earlier run: {}", counted(report.already_done, "file")));
    }
    app.ui.say(&format!(
        "cost {} once, saves {}/month · version {} committed",
        report.one_off_usd, report.monthly_saving_usd, report.version
    ));
}

/// The same plan made again on the version it was made on; an error when it no longer holds.
async fn from_file(app: &App, path: &Path) -> Result<Planned> {
    let phrase = || format!("read the plan {}", path.display());
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::usage("the plan cannot be read").with_source(error))
        .with_context(phrase)?;
    let header: PlanHeader = serde_json::from_str(&text)
        .map_err(|error| {
            Error::usage("it is not a plan").with_source(error).hint("write one with tier lifecycle plan --out FILE")
        })
        .with_context(phrase)?;
    let again = format!("tier lifecycle plan --out {}", path.display());
    let newest = Snapshot::open(&app.context.store).await?;
    header.check_archive(&newest.root().document.table_id, &again)?;
    header.check_fresh(&newest, &again).await?;
    let then = match header.version == newest.version() {
        true => newest,
        false => Snapshot::at_version(&app.context.store, header.version).await?,
    };
    let planned = planned(app, then, header.now).await?;
    header.check_same(&planned.header, &again)?;
    Ok(planned)
}

/// Where the bucket's rules move objects, the catalog learns of it here.
async fn record_what_the_bucket_moved(app: &App) -> Result<()> {
    let policy = app.settings.file.lifecycle.policy()?;
    if policy.transitions != Transitions::Rules {
        return Ok(());
    }
    let drift = lifecycle::drift(&app.context, &policy).await?;
    if let Some(snapshot) = lifecycle::record(&app.context, &drift).await? {
        let files = snapshot.root().document.operation.files;
        app.ui.say(&format!("the bucket's rules have moved {}", counted(files, "file")));
    }
    Ok(())
}
