//! `tier vacuum`: deletes what killed runs left behind, and what was replaced or expired.

use clap::Args;
use indicatif::{HumanBytes, HumanCount};

use super::App;
use super::parse::parse_duration;
use crate::error::{Error, Result};
use crate::vacuum;

const DEFAULT_GRACE: &str = "7d";

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tier vacuum --dry-run
  tier vacuum --yes

The newest version keeps everything it names, and so do versions that were the newest within --grace. An older version
that names replaced or expired files goes with them: --as-of can no longer ask it.")]
pub struct VacuumArgs {
    /// Print what would be deleted
    #[arg(long)]
    dry_run: bool,

    /// Leave files alone that are younger than this, or were part of the archive since: a run or a query may need them
    #[arg(long, value_name = "AGE", default_value = DEFAULT_GRACE)]
    grace: String,
}

pub async fn run(app: &App, args: VacuumArgs) -> Result<u8> {
    let plan = vacuum::plan(&app.context, parse_duration(&args.grace)?).await?;
    let all = || plan.orphans.iter().chain(&plan.temporary);
    let (count, bytes) = (all().count() as u64, all().map(|orphan| orphan.bytes).sum());
    if args.dry_run {
        if app.ui.json {
            return app.ui.document(&plan).map(|()| 0);
        }
        let lines: String =
            all().map(|orphan| format!("would delete {} ({})\n", orphan.path, HumanBytes(orphan.bytes))).collect();
        app.ui.data(&lines)?;
        if !plan.expires.is_empty() {
            app.ui.say(&format!("{} old versions could no longer be asked", HumanCount(plan.expires.len() as u64)));
        }
        app.ui.say(&format!(
            "Plan: delete {} files, {}; {} are too young",
            HumanCount(count),
            HumanBytes(bytes),
            plan.young
        ));
        return Ok(0);
    }
    let question = format!("Delete {count} files that no version needs ({})?", HumanBytes(bytes));
    if count > 0 && !app.ui.confirm(&question, app.settings.yes)? {
        return Err(Error::failed("nothing was deleted"));
    }
    let report = vacuum::apply(&app.context, &plan).await?;
    if app.ui.json {
        app.ui.document(&report)?;
    } else if report.deleted == 0 {
        app.ui.say(&format!("nothing to delete; {} files are too young", plan.young));
    } else {
        app.ui.say(&format!("deleted {} files, {}", HumanCount(report.deleted), HumanBytes(report.bytes)));
        if report.expired_versions > 0 {
            app.ui.say(&format!("{} old versions can no longer be asked", HumanCount(report.expired_versions)));
        }
    }
    Ok(0)
}
