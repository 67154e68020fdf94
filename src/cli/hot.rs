//! `tier hot`: what can be done to the hot tier itself.

use clap::{Args, Subcommand};
use indicatif::HumanCount;
use jiff::civil::Date;

use super::App;
use super::archive::hot::{LOOK, no_hot_tier};
use super::parse::{parse_bytes, parse_duration};
use super::words::{counted, when};
use crate::archive::{self, TrimDay, TrimPlan, TrimReport, TrimRequest};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::hot::Place;

const DEFAULT_GRACE: &str = "7d";
const DEFAULT_MEMORY: &str = "512MB";

#[derive(Debug, Args)]
#[command(subcommand_required = true)]
pub struct HotArgs {
    #[command(subcommand)]
    verb: HotVerb,
}

#[derive(Debug, Subcommand)]
enum HotVerb {
    /// Delete rows from the hot tier that the archive has: nothing else ever deletes there
    Trim(TrimArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tier hot trim --verified --dry-run
  tier hot trim --verified --until 2026-07-31 --confirm 1500 --yes

Looked at are sealed days that the nightly job has read, longer ago than the grace. Every row that the hot tier has of them
now is compared with the archive, and a tenant's day with one row that the archive does not have is left alone. It may be
killed and run again. After it the archive alone has these events: `tier rehydrate --to hot` brings them back.

Exit codes: 0 done, 1 failed, 2 usage, 6 try again, 7 done, but what should have gone could not be verified,
130 interrupted, 143 terminated.")]
struct TrimArgs {
    /// Compare every row with the archive first; there is no other way
    #[arg(long)]
    verified: bool,

    /// Leave days alone that were read more recently than this, and rows that were written since
    #[arg(long, value_name = "AGE", default_value = DEFAULT_GRACE)]
    grace: String,

    /// Leave later days alone
    #[arg(long, value_name = "DATE")]
    until: Option<Date>,

    /// Print what would be deleted
    #[arg(long)]
    dry_run: bool,

    /// How many rows are deleted: what cannot be undone is said twice
    #[arg(long, value_name = "ROWS")]
    confirm: Option<u64>,

    /// Bound of the memory used
    #[arg(long, value_name = "SIZE", env = "TIER_MEMORY")]
    memory: Option<String>,
}

pub async fn run(app: &App, args: HotArgs) -> Result<u8> {
    match args.verb {
        HotVerb::Trim(args) => trim(app, args).await,
    }
}

async fn trim(app: &App, args: TrimArgs) -> Result<u8> {
    if !args.verified {
        return Err(Error::usage("rows of the hot tier are deleted only when each was compared with the archive")
            .code("not-verified")
            .hint("that takes a read of all of these days: add --verified"));
    }
    if !args.dry_run && app.context.now() > Clock::System.now() {
        return Err(Error::usage("--now has not come yet, and what is deleted is gone")
            .hint("add --dry-run, or leave --now out"));
    }
    let hot = app.settings.hot()?.ok_or_else(no_hot_tier)?;
    let Place::Cassandra(settings) = &hot.place else {
        return Err(Error::usage("the hot tier is a folder of exports: its files are yours to delete"));
    };
    let memory = args.memory.as_deref().or(app.settings.file.archive.memory.as_deref());
    let request = TrimRequest {
        grace: parse_duration(&args.grace)?,
        until: args.until,
        memory_bytes: parse_bytes(memory.unwrap_or(DEFAULT_MEMORY))?,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let plan = archive::plan_trim(&app.context, settings, &request).await?;
    let is_trouble =
        plan.kept.iter().any(|day| day.why.is_trouble()) || plan.days.iter().any(|day| !day.kept.is_empty());
    let code = if is_trouble { LOOK } else { 0 };
    if args.dry_run && app.ui.json {
        return app.ui.document(&plan).map(|()| code);
    }
    if !app.ui.json {
        app.ui.data(&shown(app, &plan))?;
    }
    if args.dry_run || plan.days.is_empty() {
        say_plan(app, &plan);
    }
    if args.dry_run {
        return Ok(code);
    }
    consent(app, &plan, args.confirm)?;
    let report = archive::trim(&app.context, &plan).await?;
    if app.ui.json {
        app.ui.document(&report)?;
    } else if report.days > 0 {
        say_done(app, &plan, &report);
    }
    Ok(code)
}

fn consent(app: &App, plan: &TrimPlan, confirm: Option<u64>) -> Result<()> {
    if plan.days.is_empty() {
        return Ok(());
    }
    let rows = counted(plan.rows, "row");
    if confirm != Some(plan.rows) {
        return Err(Error::usage(format!("{rows} would be deleted from {}, which cannot be undone", plan.source))
            .code("confirm")
            .hint(format!("look at the plan, then add --confirm {}", plan.rows)));
    }
    match app.ui.confirm(&format!("Delete {rows} from {}?", plan.source), app.settings.yes)? {
        true => Ok(()),
        false => Err(Error::failed("nothing was deleted")),
    }
}

fn shown(app: &App, plan: &TrimPlan) -> String {
    let mut lines: Vec<(Date, String)> = plan.days.iter().map(|day| (day.date, day_lines(app, day))).collect();
    lines.extend(plan.kept.iter().map(|day| (day.date, format!("{}  stays: {}\n", day.date, day.why))));
    lines.sort_by_key(|(date, _)| *date);
    lines.into_iter().map(|(_, line)| line).collect()
}

fn day_lines(app: &App, day: &TrimDay) -> String {
    let read = match day.read_at {
        Some(at) => format!("read {}", when(at, app.context.now())),
        None => "left by an earlier trim".to_owned(),
    };
    let rows = counted(day.rows, "row");
    let partitions = counted(day.partitions, "partition");
    let kept = day.kept.iter().map(|kept| format!("            stays: {kept}\n"));
    format!("{}  {rows} of {partitions}, all in the archive · {read}\n{}", day.date, kept.collect::<String>())
}

fn say_plan(app: &App, plan: &TrimPlan) {
    app.ui.say(&format!(
        "Plan: delete {} of {} from {}; {} stay",
        counted(plan.rows, "row"),
        counted(plan.days.len() as u64, "day"),
        plan.source,
        counted(plan.kept.len() as u64, "day")
    ));
}

fn say_done(app: &App, plan: &TrimPlan, report: &TrimReport) {
    let version = report.version.map(|version| format!(" · version {version}")).unwrap_or_default();
    app.ui.say(&format!(
        "deleted {} of {} from {}: {} partitions{version}",
        counted(report.rows, "row"),
        counted(report.days, "day"),
        plan.source,
        HumanCount(report.partitions)
    ));
    if report.left > 0 {
        app.ui.say(&format!("{} stay: they were written within the grace", counted(report.left, "row")));
    }
}
