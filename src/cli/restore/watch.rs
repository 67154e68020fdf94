//! `tier restore status`, `extend` and `cancel`.

use std::time::Duration;

use jiff::SignedDuration;
use serde::Serialize;

use super::offers::count;
use super::{CancelArgs, ExtendArgs, NOT_READABLE, StatusArgs, mark, max_cost, terms};
use crate::cli::App;
use crate::cli::parse::parse_duration;
use crate::cli::spending::{check_consent, consent};
use crate::cli::words::{archive_option, quoted, when};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::restore::{self, Job, JobState, JobStatus, Terms};

/// Of the time that a restore takes at most, between two looks.
const LOOKS_PER_RESTORE: f64 = 60.0;
const SHORTEST_POLL: Duration = Duration::from_secs(1);

/// Characters of a progress bar.
const BAR: u64 = 24;

pub async fn status(app: &App, args: StatusArgs) -> Result<u8> {
    #[derive(Serialize)]
    struct Shown {
        #[serde(flatten)]
        status: JobStatus,
        /// What answers the question, once all of it is readable.
        command: Option<String>,
    }
    #[derive(Serialize)]
    struct Document {
        jobs: Vec<Shown>,
    }
    let store = &app.context.store;
    let jobs = match &args.job {
        Some(id) => vec![restore::read_job(store, id).await?],
        None => restore::jobs(store).await?,
    };
    if args.wait && matches!(app.context.clock, Clock::Fixed(_)) {
        return Err(Error::usage("under a fixed --now no time passes: waiting would not end")
            .hint("leave --wait out, and look again with a later --now"));
    }
    let poll = args.poll.as_deref().map(parse_duration).transpose()?;
    let prices = app.settings.prices()?;
    let mut shown = Vec::new();
    for job in &jobs {
        let status = match args.wait && job.cancelled.is_none() {
            true => {
                let poll = poll.unwrap_or_else(|| poll_of(job, &terms(app, &prices)));
                restore::wait(&app.context, job, poll, || terms(app, &prices)).await?
            }
            false => restore::status(&app.context, job, &terms(app, &prices)).await?,
        };
        let command = (status.state == JobState::Readable).then(|| query_command(app, &status));
        shown.push(Shown { status, command });
    }
    let waits = |status: &JobStatus| match status.state {
        JobState::Running | JobState::Incomplete => true,
        // What is long over concerns only who asks for it by name.
        JobState::Over | JobState::Cancelled => args.job.is_some(),
        JobState::Readable => false,
    };
    let code = if shown.iter().any(|shown| waits(&shown.status)) { NOT_READABLE } else { 0 };
    if app.ui.json {
        return app.ui.document(&Document { jobs: shown }).map(|()| code);
    }
    if shown.is_empty() {
        app.ui.say("no restore jobs: tier restore plan shows what a restore takes");
    }
    app.ui.data(&shown.iter().map(|shown| show(app, &shown.status, shown.command.as_deref())).collect::<String>())?;
    Ok(code)
}

pub fn poll_of(job: &Job, terms: &Terms) -> Duration {
    let takes = |class| terms.ready(terms.now, class, job.retrieval).duration_since(terms.now);
    let classes = job.files.iter().map(|file| file.storage_class);
    let longest = classes.map(takes).max().unwrap_or(SignedDuration::ZERO);
    Duration::from_secs_f64((longest.as_secs_f64() / LOOKS_PER_RESTORE).max(SHORTEST_POLL.as_secs_f64()))
}

fn query_command(app: &App, status: &JobStatus) -> String {
    format!("tier query --as-of {} {} {}", status.version, quoted(&status.sql), archive_option(app))
}

fn show(app: &App, status: &JobStatus, command: Option<&str>) -> String {
    let (mark, now) = (mark(status.simulated), app.context.now());
    let state = match status.state {
        JobState::Readable => "readable",
        JobState::Running => "running",
        JobState::Incomplete => "incomplete",
        JobState::Over => "over",
        JobState::Cancelled => "cancelled",
    };
    let done = (status.readable.files * BAR).checked_div(status.files.files).unwrap_or(BAR);
    let bar: String = (0..BAR).map(|at| if at < done { '█' } else { '░' }).collect();
    let mut text = format!(
        "{}  {state}  {bar}  {} of {} readable{mark}\n  {}\n",
        status.job,
        status.readable.files,
        count(status.files),
        status.sql
    );
    let mut line = |words: String| text.push_str(&format!("  {words}{mark}\n"));
    if status.running.files > 0 {
        let ready = match status.ready_by {
            Some(time) if time > now => format!("ready by {}", when(time, now)),
            _ => "due at any moment".to_owned(),
        };
        line(format!("{}: {} running, {ready}", status.retrieval, count(status.running)));
    }
    if let Some(until) = status.readable_until {
        line(format!("readable until {}", when(until, now)));
    }
    if let Some(cancelled) = status.cancelled {
        line(format!("cancelled {}: nothing more is asked for", when(cancelled, now)));
    } else if status.archived.files > 0 {
        line(format!("{} have no copy: they were never asked for, or it has expired", count(status.archived)));
        let start = format!(
            "tier restore start --as-of {} --query {} --retrieval {} --days {} {}",
            status.version,
            quoted(&status.sql),
            status.retrieval,
            status.days,
            archive_option(app)
        );
        text.push_str(&format!("  to ask for them: {start}\n"));
    }
    if status.missing.files > 0 {
        text.push_str(&format!(
            "  {} are not on the store any more{mark}; a newer version may answer the question\n",
            count(status.missing)
        ));
    }
    if let Some(command) = command {
        text.push_str(&format!("  to answer it: {command}\n"));
    }
    text
}

pub async fn extend(app: &App, args: ExtendArgs) -> Result<u8> {
    let max_cost = max_cost(args.max_cost.as_deref())?;
    check_consent(app, max_cost)?;
    let job = restore::read_job(&app.context.store, &args.job).await?;
    if job.cancelled.is_some() {
        return Err(Error::usage(format!("the job {} is cancelled", job.id)).hint("starting it again revives it"));
    }
    let prices = app.settings.prices()?;
    let plan = restore::plan_extend(&app.context, &job, args.days, &terms(app, &prices)).await?;
    let mark = mark(plan.simulated);
    if plan.extended.files > 0 {
        let what = format!("keeping {} for {} days{mark}", count(plan.extended), plan.days);
        consent(app, &what, plan.cost_usd, max_cost)?;
    }
    restore::extend(&app.context, &job, &plan).await?;
    if app.ui.json {
        return app.ui.document(&plan).map(|()| 0);
    }
    let until = when(plan.until, app.context.now());
    let cost = format!("{}, prices of {}", plan.cost_usd, prices.date);
    for (words, amount) in [
        (format!("readable until {until}: {cost}"), plan.extended),
        ("readable for long enough as they are".to_owned(), plan.long_enough),
        ("still running: their window begins when they are ready".to_owned(), plan.running),
        ("without a copy: tier restore start asks for them".to_owned(), plan.archived),
    ] {
        if amount.files > 0 {
            app.ui.say(&format!("{}: {words}{mark}", count(amount)));
        }
    }
    Ok(0)
}

pub async fn cancel(app: &App, args: CancelArgs) -> Result<u8> {
    let job = restore::read_job(&app.context.store, &args.job).await?;
    let job = restore::cancel(&app.context, &job).await?;
    let prices = app.settings.prices()?;
    let status = restore::status(&app.context, &job, &terms(app, &prices)).await?;
    if app.ui.json {
        return app.ui.document(&status).map(|()| 0);
    }
    let mark = mark(status.simulated);
    app.ui.say(&format!("job {} is cancelled: nothing more is asked for{mark}", job.id));
    if status.running.files > 0 {
        app.ui.say(&format!(
            "{} are on their way: no store can stop that, and it is paid for{mark}",
            count(status.running)
        ));
    }
    if status.readable.files > 0 {
        app.ui.say(&format!("{} stay readable until their window ends{mark}", count(status.readable)));
    }
    Ok(0)
}
