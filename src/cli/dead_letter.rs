//! `tier dead-letter`: the records that could not be archived.

use clap::{Args, Subcommand};
use indicatif::HumanCount;
use serde::Serialize;

use super::App;
use super::archive::{self as archive_verb, DecodeArgs};
use crate::archive::{self, Replay};
use crate::catalog::{DeadLetterFile, Snapshot};
use crate::error::{Error, Result};
use crate::model::Reason;

#[derive(Debug, Args)]
#[command(
    subcommand_required = true,
    after_help = "\
Examples:
  tier dead-letter list
  tier dead-letter export --reason type > bad.ndjson
  tier dead-letter replay --reason type --column price=DOUBLE"
)]
pub struct DeadLetterArgs {
    #[command(subcommand)]
    verb: DeadLetterVerb,
}

#[derive(Debug, Subcommand)]
enum DeadLetterVerb {
    /// Count the open dead letters by version and reason
    List(Which),
    /// Print them as NDJSON
    Export(Which),
    /// Try them again; those that pass are archived, the others stay dead letters
    Replay(Box<ReplayArgs>),
    /// Give them up
    Discard(Which),
}

#[derive(Debug, Args)]
struct Which {
    /// Only this reason
    #[arg(long)]
    reason: Option<String>,
    /// Only those that this version added
    #[arg(long)]
    version: Option<u64>,
}

#[derive(Debug, Args)]
struct ReplayArgs {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    decode: DecodeArgs,
}

impl Which {
    fn parse(&self) -> Result<Replay> {
        Ok(Replay { reason: self.reason.as_deref().map(str::parse::<Reason>).transpose()?, version: self.version })
    }
}

pub async fn run(app: &App, args: DeadLetterArgs) -> Result<u8> {
    match args.verb {
        DeadLetterVerb::List(which) => list(app, which.parse()?).await,
        DeadLetterVerb::Export(which) => export(app, which.parse()?).await,
        DeadLetterVerb::Replay(args) => replay(app, &args).await,
        DeadLetterVerb::Discard(which) => discard(app, &which).await,
    }?;
    Ok(0)
}

async fn list(app: &App, which: Replay) -> Result<()> {
    #[derive(Serialize)]
    struct List {
        dead_letters: Vec<DeadLetterFile>,
    }
    let snapshot = Snapshot::open(&app.context.store).await?;
    let files = archive::list_dead_letters(&snapshot, which.reason, which.version);
    if app.ui.json {
        return app.ui.document(&List { dead_letters: files });
    }
    if files.is_empty() {
        app.ui.say("no open dead letters");
        return Ok(());
    }
    let mut text = String::new();
    for file in files {
        let first = archive::read_dead_letters(&app.context.store, &file).await?.next().transpose()?;
        text.push_str(&format!("version {}  {}  {} records", file.version, file.reason, HumanCount(file.records)));
        if let Some(letter) = first {
            text.push_str(&format!("  first: {} line {}: {}", letter.file, letter.line, letter.detail));
        }
        text.push('\n');
    }
    app.ui.data(&text)
}

async fn export(app: &App, which: Replay) -> Result<()> {
    let snapshot = Snapshot::open(&app.context.store).await?;
    for file in archive::list_dead_letters(&snapshot, which.reason, which.version) {
        for letter in archive::read_dead_letters(&app.context.store, &file).await? {
            let line = serde_json::to_string(&letter?)
                .map_err(|error| Error::failed("encode a dead letter").with_source(error))?;
            app.ui.data(&format!("{line}\n"))?;
        }
    }
    Ok(())
}

async fn replay(app: &App, args: &ReplayArgs) -> Result<()> {
    let request = args.decode.request(app, Vec::new())?;
    let report = archive::replay(&app.context, &request, args.which.parse()?).await?;
    if report.committed.is_empty() && !app.ui.json {
        app.ui.say("no open dead letters: nothing to replay");
        return Ok(());
    }
    archive_verb::print(app, &report, &request)
}

async fn discard(app: &App, which: &Which) -> Result<()> {
    #[derive(Serialize)]
    struct Discarded {
        discarded: u64,
    }
    if which.reason.is_none() && which.version.is_none() {
        return Err(Error::usage("discard what?")
            .hint("name the dead letters with --reason or --version; `tier dead-letter list` shows them"));
    }
    let question = "Give these dead letters up for ever?";
    if !app.ui.confirm(question, app.settings.yes)? {
        return Err(Error::failed("not discarded"));
    }
    let discarded = archive::discard(&app.context, which.parse()?).await?;
    if app.ui.json {
        return app.ui.document(&Discarded { discarded });
    }
    app.ui.say(&format!("{} dead letters discarded", HumanCount(discarded)));
    Ok(())
}
