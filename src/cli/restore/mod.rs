//! `tier restore`: archived files become readable for a while.

mod offers;
mod watch;

pub use offers::{count, say_started};
pub use watch::poll_of;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::App;
use super::parse::{parse_time, parse_usd};
use super::question::QuestionArgs;
use crate::error::Result;
use crate::model::{Prices, Retrieval, Usd};
use crate::restore::{Limits, Terms};

const DEFAULT_DAYS: &str = "7";

/// S3 takes any number; a window of years is a mistake that is paid for.
const MAX_DAYS: u64 = 365;

/// DESIGN's exit code for an answer that needs a restore.
const NOT_READABLE: u8 = 4;

#[derive(Debug, Args)]
#[command(
    subcommand_required = true,
    after_help = "\
Examples:
  tier restore plan --query \"SELECT count(*) FROM events WHERE date < '2020-01-01'\"
  tier restore start --tenant acme --from 2019-03-01 --to 2019-03-31 --retrieval bulk --max-cost 0.50
  tier restore status --wait && tier query --as-of 412 \"SELECT …\"

Exit codes: 0 done, 1 failed, 2 usage, 4 not everything is readable (status), 5 over --max-cost or later than --by,
6 try again."
)]
pub struct RestoreArgs {
    #[command(subcommand)]
    verb: RestoreVerb,
}

#[derive(Debug, Subcommand)]
enum RestoreVerb {
    /// Show what a restore would cost and when it would be ready, by retrieval tier
    Plan(PlanArgs),
    /// Make the archived files that a question needs readable; safe to run again
    Start(StartArgs),
    /// Show how far restores are; exit with 4 until everything is readable
    Status(StatusArgs),
    /// Keep what a job restored readable for longer
    Extend(ExtendArgs),
    /// Ask for nothing more for a job
    Cancel(CancelArgs),
}

#[derive(Debug, Args)]
struct WindowArgs {
    /// How many days the files are to be readable
    #[arg(long, value_name = "N", default_value = DEFAULT_DAYS, value_parser = days())]
    days: u32,
}

#[derive(Debug, Args)]
struct LimitArgs {
    /// Ready by this time: the cheapest tier that is
    #[arg(long, value_name = "TIME")]
    by: Option<String>,

    /// Spend at most this
    #[arg(long, value_name = "USD")]
    max_cost: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tier restore plan --tenant acme --from 2019-03-01 --to 2019-03-31
  tier restore plan --query \"SELECT * FROM events WHERE event_id = 'x'\" --by 2026-11-24 --max-cost 1

Exit codes: 0, 5 when no tier is within the limits.")]
struct PlanArgs {
    #[command(flatten)]
    question: QuestionArgs,
    #[command(flatten)]
    window: WindowArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tier restore start --tenant acme --from 2019-03-01 --to 2019-03-31 --max-cost 0.50
  tier restore start --query \"SELECT * FROM events WHERE event_id = 'x'\" --by 2026-11-24 --yes

Exit codes: 0 everything is asked for (see tier restore status), 5 over --max-cost.")]
struct StartArgs {
    #[command(flatten)]
    question: QuestionArgs,
    #[command(flatten)]
    window: WindowArgs,
    #[command(flatten)]
    limits: LimitArgs,

    /// How fast: expedited, standard or bulk [default: standard, or with --by the cheapest that is ready in time]
    #[arg(long, value_name = "TIER", conflicts_with = "by")]
    retrieval: Option<Retrieval>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tier restore status
  tier restore status 1f0c9a7d22b4 --wait

Exit codes: 0 all is readable, 4 not yet, or not any more.")]
struct StatusArgs {
    /// The job [default: all]
    job: Option<String>,

    /// Return when nothing is running any more
    #[arg(long)]
    wait: bool,

    /// How often to look while waiting, for example 5m [default: by the retrieval tier]
    #[arg(long, value_name = "TIME", requires = "wait")]
    poll: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  tier restore extend 1f0c9a7d22b4 --days 14 --max-cost 0.10")]
struct ExtendArgs {
    /// The job
    job: String,

    /// How many days from now the files are to be readable
    #[arg(long, value_name = "N", value_parser = days())]
    days: u32,

    /// Spend at most this
    #[arg(long, value_name = "USD")]
    max_cost: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  tier restore cancel 1f0c9a7d22b4")]
struct CancelArgs {
    /// The job
    job: String,
}

pub async fn run(app: &App, args: RestoreArgs) -> Result<u8> {
    match args.verb {
        RestoreVerb::Plan(args) => offers::plan(app, args).await,
        RestoreVerb::Start(args) => offers::start(app, args).await,
        RestoreVerb::Status(args) => watch::status(app, args).await,
        RestoreVerb::Extend(args) => watch::extend(app, args).await,
        RestoreVerb::Cancel(args) => watch::cancel(app, args).await,
    }
}

fn days() -> RangedU64ValueParser<u32> {
    RangedU64ValueParser::new().range(1..=MAX_DAYS)
}

impl LimitArgs {
    fn parse(&self) -> Result<Limits> {
        let by: Option<Timestamp> = self.by.as_deref().map(parse_time).transpose()?;
        Ok(Limits { by, max_cost: max_cost(self.max_cost.as_deref())? })
    }
}

fn max_cost(text: Option<&str>) -> Result<Option<Usd>> {
    text.map(parse_usd).transpose()
}

pub fn terms<'a>(app: &App, prices: &'a Prices) -> Terms<'a> {
    let speed = if app.context.store.classes().is_simulated() { app.settings.class_time().speed } else { 1.0 };
    Terms { prices, pays_egress: app.settings.pays_egress(), now: app.context.now(), speed }
}

/// Ends every line about classes that are only played.
pub fn mark(simulated: bool) -> &'static str {
    if simulated { " (simulated)" } else { "" }
}
