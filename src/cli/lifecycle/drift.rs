//! `tier lifecycle drift`: is everything where it should be?

use clap::Args;

use crate::cli::App;
use crate::cli::words::counted;
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
            let objects = counted(drift.objects, "object");
            app.ui.say(&format!("no drift: {objects}, all as the catalog and the policy say"));
        }
    }
    if args.record
        && let Some(snapshot) = lifecycle::record(&app.context, &drift).await?
    {
        let files = counted(snapshot.root().document.operation.files, "file");
        app.ui.say(&format!("recorded the class of {files} in version {}", snapshot.version()));
    }
    Ok(if args.exit_code && !drift.findings.is_empty() { LOOK } else { 0 })
}
