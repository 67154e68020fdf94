//! `tier query`: SQL from an argument, a file, stdin or a shell; rows to stdout or a file; words to stderr.

mod cells;
mod complete;
mod format;
mod json;
mod output;
mod plans;
mod shell;
mod table;
mod text;

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::App;
use super::parse::{parse_bytes, parse_time};
use crate::error::{Context, Error, Result};
use crate::progress::Stop;
use crate::query::{Answer, AsOf, Engine, QuerySettings, Statement};

use format::{Format, MaxRows, Style};
use output::Target;

/// How often a running query looks whether it should stop.
const STOP_POLL: Duration = Duration::from_millis(50);

const EXAMPLES: &str = "\
Examples:
  tier query \"SELECT event_type, count(*) FROM events WHERE date = '2026-08-24' GROUP BY 1\"
  tier query -f report.sql --format parquet --output report.parquet
  tier query

Without SQL it is a shell on a terminal, and reads SQL from stdin otherwise. The one table is `events`.
--json means --format json: rows; what the query took is written by --report.

Exit codes: 0 answered, 1 failed, 2 the SQL or an option is wrong, 4 archived files must be restored first,
5 over the memory limit, 6 the store does not answer, 130 interrupted, 143 terminated.";

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

    /// Say on stderr what was pruned, requested and read
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
        Some(sql) => batch(app, &args, &settings, &sql).await?,
        None => shell::run(app, &args, settings).await?,
    }
    Ok(0)
}

/// Runs every statement, in order, up to the first error.
async fn batch(app: &App, args: &QueryArgs, settings: &QuerySettings, sql: &str) -> Result<()> {
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
        let answer = answer(app, &mut engine, statement, target, &style).await?;
        if args.stats {
            say_stats(app, &answer);
        }
        if let Some(path) = &args.report {
            write_report(path, &answer.report())?;
        }
    }
    Ok(())
}

/// Runs one statement and writes its rows.
async fn answer(app: &App, engine: &mut Engine, statement: Statement, target: Target, style: &Style) -> Result<Answer> {
    let stop = &app.context.stop;
    let mut answer = until_stopped(stop, engine.run(statement)).await?;
    let mut rows = style.start(&answer.schema(), target)?;
    while let Some(batch) = until_stopped(stop, answer.next()).await? {
        rows.write(&batch)?;
    }
    rows.finish()?.keep()?;
    Ok(answer)
}

/// Drops the work, and with it what is in flight, when the user wants to stop.
async fn until_stopped<T>(stop: &Stop, work: impl Future<Output = Result<T>>) -> Result<T> {
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
    Ok(QuerySettings {
        as_of: args.as_of.as_deref().map(parse_as_of).transpose()?,
        memory_bytes: memory.map_or(Ok(QuerySettings::DEFAULT_MEMORY_BYTES), parse_bytes)?,
    })
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
}

fn write_report(path: &std::path::Path, report: &impl Serialize) -> Result<()> {
    let mut json = serde_json::to_string_pretty(report).context("write the report")?;
    json.push('\n');
    std::fs::write(path, json).with_context(|| format!("write {}", path.display()))
}
