//! `tier lifecycle drift`: is everything where it should be?

use clap::Args;
use indicatif::HumanCount;

use crate::cli::App;
use crate::error::Result;
use crate::lifecycle;

/// A person must look.
const LOOK: u8 = 7;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tier lifecycle drift --exit-code
  tier lifecycle drift --record

Exit codes: 0, or 7 with --exit-code when something has come apart.")]
pub struct DriftArgs {
    /// Exit with 7 when something is found
    #[arg(long)]
    exit_code: bool,

    /// Write the classes that the store says into the catalog
    #[arg(long)]
    record: bool,
}

pub async fn run(app: &App, args: DriftArgs) -> Result<u8> {
    let policy = app.settings.file.lifecycle.policy()?;
    let drift = lifecycle::drift(&app.context, &policy).await?;
    if app.ui.json {
        app.ui.document(&drift)?;
    } else {
        app.ui.data(&drift.findings.iter().map(|finding| format!("{finding}\n")).collect::<String>())?;
        if drift.findings.is_empty() {
            let objects = HumanCount(drift.objects);
            app.ui.say(&format!("no drift: {objects} objects are what the catalog and the policy say"));
        }
    }
    if args.record
        && let Some(snapshot) = lifecycle::record(&app.context, &drift).await?
    {
        let files = HumanCount(snapshot.root().document.operation.files);
        app.ui.say(&format!("recorded the class of {files} files in version {}", snapshot.version()));
    }
    Ok(if args.exit_code && !drift.findings.is_empty() { LOOK } else { 0 })
}
