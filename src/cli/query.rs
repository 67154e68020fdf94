//! `tier query`: SQL from an argument, a file, stdin or a shell; rows to stdout or a file; words to stderr.

mod cells;
mod complete;
mod estimate;
mod format;
mod json;
mod output;
mod plans;
mod restores;
mod shell;
mod table;
mod text;

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::App;
use super::archive::DEFAULT_ACCEPT_FUTURE;
use super::args::{OnArchived, OnHotError};
use super::parse::{parse_bytes, parse_duration, parse_time, parse_usd};
use crate::error::{Context, Error, Result};
use crate::model::Usd;
use crate::progress::Stop;
use crate::query::{self, Answer, AsOf, Budget, Engine, QuerySettings, Statement, Tariff, Tiers};

use format::{Format, MaxRows, Style};
use output::Target;

/// The exit code of an answer that lacks what it was told to leave out.
const PARTIAL: u8 = 3;

/// How often a running query looks whether it should stop.
const STOP_POLL: Duration = Duration::from_millis(50);

const EXAMPLES: &str = "\
Examples:
  tier query \"SELECT event_type, count(*) FROM events WHERE date = '2026-08-24' GROUP BY 1\"
  tier query -f report.sql --format parquet --output report.parquet
  tier query --estimate \"SELECT * FROM events WHERE tenant_id = 'acme' AND date < '2020-01-01'\"
  tier query

Without SQL it is a shell on a terminal, and reads SQL from stdin otherwise. The one table is `events`.
--json means --format json: rows; what the query took is written by --report.

Archived files that a question needs are known before anything is read; --on-archived says what happens then.
With a hot tier, in the section [hot] of tier.toml, dates that are not sealed are asked of it as well; an event that is in
both counts once, as the archive has it. EXPLAIN shows which tier answers.

Exit codes: 0 answered whole, 1 failed, 2 the SQL or an option is wrong, 3 answered without archived files or without the
hot tier, as asked for (the last lines on stderr say what is missing), 4 archived files must be restored first or are
being restored, 5 over --max-cost, --max-bytes or the memory limit, 6 the store or the hot tier does not answer, 130
interrupted, 143 terminated.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct QueryArgs {
    /// The question; - reads it from stdin
    #[arg(conflicts_with = "file")]
    pub sql: Option<String>,

    /// Read the SQL from a file
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// How rows are written [default: table on a terminal, else csv]
    #[arg(long, value_name = "FORMAT", env = "TIER_FORMAT")]
    pub format: Option<Format>,

    /// Write the rows to a file; it appears when they are all there
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// What to do when archived files are in the way [default: fail]
    #[arg(long, value_name = "WHAT", env = "TIER_ON_ARCHIVED")]
    pub on_archived: Option<OnArchived>,

    /// What to do when the hot tier does not answer [default: fail]
    #[arg(long, value_name = "WHAT", env = "TIER_ON_HOT_ERROR")]
    pub on_hot_error: Option<OnHotError>,

    /// Ask only these: hot, cold (the archive's files that can be read), deep (those that need a restore) [default: all]
    #[arg(long, value_name = "TIER,…", env = "TIER_TIERS")]
    pub tiers: Option<String>,

    /// Read the hot tier even where that scans it: more than 3 days of all tenants
    #[arg(long)]
    pub allow_hot_scan: bool,

    /// Print what the answer would take, and do not run it
    #[arg(long)]
    pub estimate: bool,

    /// Refuse before the first read of data what would cost more, in dollars
    #[arg(long, value_name = "USD", env = "TIER_MAX_COST")]
    pub max_cost: Option<String>,

    /// Refuse before the first read of data what would read more
    #[arg(long, value_name = "SIZE", env = "TIER_MAX_BYTES")]
    pub max_bytes: Option<String>,

    /// Say on stderr what was pruned, requested, read and paid, against the estimate
    #[arg(long)]
    pub stats: bool,

    /// Write a JSON report of what the query took
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,

    /// Answer from an older version: its number, or a time at which it was the newest
    #[arg(long, value_name = "VERSION|TIME")]
    pub as_of: Option<String>,

    /// What sorts, joins and groups may hold in memory before they spill [default: 512MB]
    #[arg(long, value_name = "SIZE", env = "TIER_QUERY_MEMORY")]
    pub memory: Option<String>,

    /// How NULL is written in csv and tsv, where it is empty by default
    #[arg(long, value_name = "TOKEN")]
    pub null: Option<String>,

    /// Rows a table shows, the first and the last [default: 40 on a terminal, else all]
    #[arg(long, value_name = "N|all")]
    pub max_rows: Option<MaxRows>,
}

pub async fn run(app: &App, args: QueryArgs) -> Result<u8> {
    let settings = settings(app, &args)?;
    match sql_text(&args)? {
        Some(sql) if args.estimate => estimate(app, &settings, &sql).await,
        Some(sql) => batch(app, &args, &settings, &sql).await,
        None => shell::run(app, &args, settings).await.map(|()| 0),
    }
}

/// Says of every statement what it would take.
async fn estimate(app: &App, settings: &QuerySettings, sql: &str) -> Result<u8> {
    let mut engine = until_stopped(&app.context.stop, Engine::open(&app.context, settings)).await?;
    let statements = engine.parse(sql)?;
    if app.ui.json && statements.len() != 1 {
        let message = format!("an estimate is one document of one statement, and here are {}", statements.len());
        return Err(Error::usage(message));
    }
    for statement in statements {
        let plan = until_stopped(&app.context.stop, engine.plan(statement)).await?;
        estimate::print(app, &engine, &plan)?;
    }
    Ok(0)
}

/// Runs every statement, in order, up to the first error; the exit code says whether all answers are whole.
async fn batch(app: &App, args: &QueryArgs, settings: &QuerySettings, sql: &str) -> Result<u8> {
    let mut incomplete = Vec::new();
    let mut engine = until_stopped(&app.context.stop, Engine::open(&app.context, settings)).await?;
    let statements = engine.parse(sql)?;
    if statements.is_empty() {
        return Err(Error::usage("there is no SQL to run").hint("write it as an argument, or - for stdin"));
    }
    let style = style(app, args);
    if statements.len() > 1 && (args.output.is_some() || style.format.is_binary()) {
        return Err(Error::usage(format!("a file takes the rows of one statement, and here are {}", statements.len())));
    }
    for statement in statements {
        let target = Target::open(args.output.as_deref(), &style, app.ui.stdout_is_terminal)?;
        let answer = answer(app, args, &mut engine, statement, target, &style).await?;
        warn_of_refused(app, &answer);
        if args.stats {
            say_stats(app, &answer);
        }
        if let Some(path) = &args.report {
            write_report(path, &answer.report())?;
        }
        say_doubts(app, &answer);
        incomplete.extend(answer.incomplete());
    }
    for incomplete in &incomplete {
        app.ui.insist(&incomplete.to_string());
    }
    Ok(if incomplete.is_empty() { 0 } else { PARTIAL })
}

/// Runs one statement and writes its rows.
async fn answer(
    app: &App,
    args: &QueryArgs,
    engine: &mut Engine,
    statement: Statement,
    target: Target,
    style: &Style,
) -> Result<Answer> {
    let (on_archived, max_cost) = (on_archived(app, args), max_cost(args)?);
    let stop = &app.context.stop;
    let mut plan = until_stopped(stop, engine.plan(statement.clone())).await?;
    if !plan.unreadable().is_empty() && matches!(on_archived, OnArchived::Restore | OnArchived::Wait) {
        let job = until_stopped(stop, restores::start(app, engine, &plan, max_cost)).await?;
        if on_archived == OnArchived::Restore {
            return Err(restores::started(app, engine, &plan, &job));
        }
        until_stopped(stop, restores::wait(app, &job)).await?;
        plan = until_stopped(stop, engine.plan(statement)).await?;
    }
    let mut answer = engine.start(plan)?;
    let mut rows = style.start(&answer.schema(), target)?;
    while let Some(batch) = until_stopped(stop, answer.next()).await? {
        rows.write(&batch)?;
    }
    rows.finish()?.keep()?;
    Ok(answer)
}

/// Drops the work, and with it what is in flight, when the user wants to stop.
pub async fn until_stopped<T>(stop: &Stop, work: impl Future<Output = Result<T>>) -> Result<T> {
    let stopped = async {
        loop {
            if let Some(kind) = stop.requested() {
                return Err(Error::new(kind, "the query was stopped on request"));
            }
            tokio::time::sleep(STOP_POLL).await;
        }
    };
    tokio::select! {
        done = work => done,
        stopped = stopped => stopped,
    }
}

fn settings(app: &App, args: &QueryArgs) -> Result<QuerySettings> {
    let memory = args.memory.as_deref().or(app.settings.file.query.memory.as_deref());
    let tiers = args.tiers.as_deref().or(app.settings.file.query.tiers.as_deref());
    let tiers: Tiers = tiers.map_or(Ok(Tiers::ALL), str::parse)?;
    let accept_future = app.settings.file.events.accept_future.as_deref();
    let wanted = on_archived(app, args);
    if matches!(wanted, OnArchived::Restore | OnArchived::Wait) && !args.estimate {
        restores::check_limit(app, max_cost(args)?)?;
    }
    if wanted == OnArchived::Wait && !args.estimate {
        restores::check_clock(app)?;
    }
    Ok(QuerySettings {
        as_of: args.as_of.as_deref().map(parse_as_of).transpose()?,
        memory_bytes: memory.map_or(Ok(QuerySettings::DEFAULT_MEMORY_BYTES), parse_bytes)?,
        on_archived: match wanted {
            OnArchived::Skip => query::OnArchived::Skip,
            OnArchived::Fail | OnArchived::Restore | OnArchived::Wait => query::OnArchived::Fail,
        },
        hot: if tiers.hot { app.settings.hot()? } else { None },
        on_hot_error: match args.on_hot_error.or(app.settings.file.query.on_hot_error).unwrap_or_default() {
            OnHotError::Fail => query::OnHotError::Fail,
            OnHotError::Skip => query::OnHotError::Skip,
        },
        allow_hot_scan: args.allow_hot_scan || app.settings.file.hot.allow_scan.unwrap_or(false),
        tiers,
        accept_future: parse_duration(accept_future.unwrap_or(DEFAULT_ACCEPT_FUTURE))?,
        budget: Budget { cost: max_cost(args)?, bytes: args.max_bytes.as_deref().map(parse_bytes).transpose()? },
        tariff: Tariff { prices: app.settings.prices()?, pays_egress: app.settings.pays_egress() },
        class_speed: app.settings.class_time().speed,
    })
}

fn on_archived(app: &App, args: &QueryArgs) -> OnArchived {
    args.on_archived.or(app.settings.file.query.on_archived).unwrap_or_default()
}

fn max_cost(args: &QueryArgs) -> Result<Option<Usd>> {
    args.max_cost.as_deref().map(parse_usd).transpose()
}

/// A version's number, or a time at which it was the newest.
pub fn parse_as_of(text: &str) -> Result<AsOf> {
    match text.parse::<u64>() {
        Ok(version) => Ok(AsOf::Version(version)),
        Err(_) => parse_time(text).map(AsOf::Time).context("read --as-of, a version's number or a time"),
    }
}

/// The SQL, wherever it is; `None` where a person waits at a terminal.
fn sql_text(args: &QueryArgs) -> Result<Option<String>> {
    if let Some(path) = &args.file {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::usage("the SQL file cannot be read").with_source(error))
            .with_context(|| format!("read {}", path.display()))?;
        return Ok(Some(text));
    }
    match args.sql.as_deref() {
        Some("-") => read_stdin().map(Some),
        Some(sql) => Ok(Some(sql.to_owned())),
        None if std::io::stdin().is_terminal() => Ok(None),
        None => read_stdin().map(Some),
    }
}

fn read_stdin() -> Result<String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("read the SQL from stdin")?;
    Ok(text)
}

fn style(app: &App, args: &QueryArgs) -> Style {
    let on_terminal = app.ui.stdout_is_terminal && args.output.is_none();
    let format = match (args.format, app.ui.json, on_terminal) {
        (Some(format), _, _) => format,
        (None, true, _) => Format::Json,
        (None, false, true) => Format::Table,
        (None, false, false) => args.output.as_deref().and_then(Format::of_file).unwrap_or(Format::Csv),
    };
    let max_rows = args.max_rows.unwrap_or(if on_terminal { MaxRows::DEFAULT } else { MaxRows::All });
    Style { format, null: args.null.clone().unwrap_or_default(), max_rows, is_dimmed: on_terminal }
}

/// Says that rows of the hot tier were left out which a run that archives them refuses.
fn warn_of_refused(app: &App, answer: &Answer) {
    let refused = answer.report().hot_refused;
    if refused > 0 {
        app.ui.warn(&format!(
            "{} of the hot tier are no events and were left out; archiving their day makes dead letters of them",
            table::rows_counted(refused)
        ));
    }
}

/// What the archive itself says that it may lack.
pub fn say_doubts(app: &App, answer: &Answer) {
    let dates: Vec<String> = answer.possibly_incomplete().iter().map(ToString::to_string).collect();
    if !dates.is_empty() {
        app.ui.insist(&format!(
            "possibly incomplete: {} was read from the hot tier only after its events had begun to expire",
            dates.join(", ")
        ));
    }
}

fn say_stats(app: &App, answer: &Answer) {
    let report = answer.report();
    app.ui.say(&answer.ladder().to_string());
    app.ui.say(&format!(
        "{} LIST · {} GET · {} HEAD · {} read · {} · {} ms · version {}",
        report.requests.list,
        report.requests.get,
        report.requests.head,
        indicatif::HumanBytes(report.bytes_read),
        table::rows_counted(report.rows),
        report.elapsed_ms,
        report.version
    ));
    let simulated = if report.simulated { ", simulated" } else { "" };
    app.ui.say(&format!(
        "{} (prices of {}{simulated}) · estimated {} requests, {}, {}",
        report.cost_usd,
        report.prices_date,
        query::count(report.estimate.requests),
        indicatif::HumanBytes(report.estimate.bytes),
        report.estimate.cost_usd
    ));
}

fn write_report(path: &std::path::Path, report: &impl Serialize) -> Result<()> {
    let mut json = serde_json::to_string_pretty(report).context("write the report")?;
    json.push('\n');
    std::fs::write(path, json).with_context(|| format!("write {}", path.display()))
}
