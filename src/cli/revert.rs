//! `tier revert VERSION`: the way back from a wrong mapping.

use clap::Args;
use indicatif::HumanCount;

use super::App;
use crate::archive;
use crate::error::{Error, Result};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tier revert 41 --yes

Refused where later versions added to the same cells or relied on them for duplicates.")]
pub struct RevertArgs {
    /// The version whose events are taken back; its exports can then be archived again
    version: u64,
}

pub async fn run(app: &App, args: RevertArgs) -> Result<u8> {
    let question = format!("Take back everything that version {} added?", args.version);
    if !app.ui.confirm(&question, app.settings.yes)? {
        return Err(Error::failed("not reverted"));
    }
    let report = archive::revert(&app.context, args.version).await?;
    if app.ui.json {
        app.ui.document(&report)?;
    } else {
        app.ui.say(&format!(
            "version {} took back version {}: {} events in {} files; {} exports can be archived again",
            report.version,
            report.reverted,
            HumanCount(report.rows),
            HumanCount(report.files),
            HumanCount(report.exports)
        ));
    }
    Ok(0)
}
