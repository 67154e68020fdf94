//! `--on-archived restore` and `wait`: a question starts the restore of what it needs.

use crate::cli::App;
use crate::cli::restore::{count, mark, poll_of, say_started, terms};
use crate::cli::words::archive_option;
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::model::{Retrieval, Usd, shell_word};
use crate::query::{Engine, Plan};
use crate::restore::{self, Count, Needed};

/// For how long files become readable; `tier restore extend` makes it longer.
const DAYS: u32 = 7;

/// What may be spent in all, where that has to be said: real money is not spent without a limit.
pub fn check_limit(app: &App, max_cost: Option<Usd>) -> Result<()> {
    if max_cost.is_some() || app.context.store.classes().is_simulated() {
        return Ok(());
    }
    Err(Error::usage("--on-archived restore and wait spend money").hint("add --max-cost USD to set a limit"))
}

/// Refuses to wait for a time that does not come.
pub fn check_clock(app: &App) -> Result<()> {
    match app.context.clock {
        Clock::System => Ok(()),
        _ => Err(Error::usage("under a fixed --now no time passes: waiting would not end")
            .hint("use --on-archived restore, and ask again with a later --now")),
    }
}

/// Starts the restore of what the plan needs, by the standard tier, and says so; returns the job's id.
pub async fn start(app: &App, engine: &Engine, plan: &Plan, max_cost: Option<Usd>) -> Result<String> {
    let needed = Needed {
        version: engine.snapshot().version(),
        sql: plan.sql().trim().trim_end_matches(';').to_owned(),
        files: plan.ladder().planned.archived_files().collect(),
    };
    let prices = app.settings.prices()?;
    let terms = terms(app, &prices);
    let offers = restore::plan(&app.context, &needed, DAYS, &terms).await?;
    let offer = offers.offer(Retrieval::Standard);
    let reading = engine.estimate(plan).cost_usd;
    let total = reading + offer.map_or(Usd::default(), |offer| offer.cost_usd);
    if let Some(most) = max_cost.filter(|&most| total > most) {
        let files = Count::of(&needed.files);
        let message = format!(
            "restoring {} and reading them would cost {total}, more than {most}{}",
            count(files),
            mark(offers.simulated)
        );
        let passes = format!("--max-cost {} would pass", total.round_up());
        return Err(Error::new(Kind::OverBudget, message).code("max-cost").hint(passes));
    }
    let report = restore::start(&app.context, &needed, &offers, offer, Retrieval::Standard, &terms).await?;
    say_started(app, &offers, &report);
    Ok(report.job)
}

/// Waits until nothing of the job is running any more.
pub async fn wait(app: &App, job: &str) -> Result<()> {
    let prices = app.settings.prices()?;
    let job = restore::read_job(&app.context.store, job).await?;
    let poll = poll_of(&job, &terms(app, &prices));
    restore::wait(&app.context, &job, poll, || terms(app, &prices)).await.map(|_| ())
}

/// That there is no answer yet, and how to come by it.
pub fn started(app: &App, engine: &Engine, plan: &Plan, job: &str) -> Error {
    let (archive, version) = (archive_option(app), engine.snapshot().version());
    // What an older version answers is without the hot tier.
    let as_of = if engine.is_live() { String::new() } else { format!("--as-of {version} ") };
    Error::new(Kind::RestoreNeeded, format!("the files this query needs are being restored: job {job}"))
        .hint("when they are readable, ask again")
        .command(format!("tier restore status {job} --wait {archive}"))
        .command(format!("tier query {as_of}{} {archive}", shell_word(plan.sql().trim())))
}
