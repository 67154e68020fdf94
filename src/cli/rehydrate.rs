//! `tier rehydrate`: archived events back out, into files or into a table of the hot tier.

mod place;
mod report;

use std::path::PathBuf;

use clap::Args;
use jiff::civil::Date;

use super::App;
use super::parse::{parse_bytes, parse_usd};
use super::query::{parse_as_of, until_stopped};
use crate::catalog::Snapshot;
use crate::clock::{Clock, Stopwatch};
use crate::context::Context as Ctx;
use crate::error::{Context, Error, Kind, Result};
use crate::progress::Unit;
use crate::query::{Answer, AsOf, Budget, Engine, Plan, QuerySettings, Tariff};
use crate::rehydrate::{Record, Sink, Wanted, added_since};

use place::Place;
use report::Report;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tier rehydrate --where \"tenant_id = 'acme' AND date >= '2026-08-01'\" --to ndjson out/
  tier rehydrate --to parquet all/ --since 41
  tier rehydrate --where \"date = '2026-08-24'\" --to hot --ttl 7d

Events come in the order of (ts, event_id), a file for each date. It may be killed and run again: it goes on after the last
date that is done, with the version that it began with; FOLDER/_rehydrate.json remembers it, and for hot a state file.
--since VERSION takes only what later versions added; the version to name next time is printed at the end.

Exit codes: 0 done, 1 failed, 2 usage, 4 archived files must be restored first, 5 over --max-cost, --max-bytes or the
memory limit, 6 try again, 130 interrupted, 143 terminated: run it again for the rest.")]
pub struct RehydrateArgs {
    /// Where the events go: hot, ndjson FOLDER or parquet FOLDER
    #[arg(long, required = true, num_args = 1..=2, value_names = ["KIND", "FOLDER"])]
    to: Vec<String>,

    /// Events for which this SQL condition holds [default: all]
    #[arg(long = "where", value_name = "EXPR")]
    condition: Option<String>,

    /// Only events that later versions than this added
    #[arg(long, value_name = "VERSION")]
    since: Option<u64>,

    /// Events of an older version: its number, or a time at which it was the newest
    #[arg(long, value_name = "VERSION|TIME")]
    as_of: Option<String>,

    /// Leave columns out
    #[arg(long, value_name = "COL[,COL…]", value_delimiter = ',')]
    omit: Vec<String>,

    /// Begin anew: what an earlier run has written is deleted from the folder
    #[arg(long)]
    restart: bool,

    #[command(flatten)]
    hot: HotArgs,

    /// Refuse before the first read of data what would cost more, in dollars
    #[arg(long, value_name = "USD", env = "TIER_MAX_COST")]
    max_cost: Option<String>,

    /// Refuse before the first read of data what would read more
    #[arg(long, value_name = "SIZE", env = "TIER_MAX_BYTES")]
    max_bytes: Option<String>,

    /// What sorting a date may hold in memory before it spills [default: 512MB]
    #[arg(long, value_name = "SIZE", env = "TIER_QUERY_MEMORY")]
    memory: Option<String>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Options of --to hot")]
struct HotArgs {
    /// Insert into this table instead of the one that [hot] names
    #[arg(long, value_name = "KEYSPACE.TABLE")]
    table: Option<String>,

    /// How long the events live there, for example 7d [default: as the table says]
    #[arg(long, value_name = "AGE")]
    ttl: Option<String>,

    /// The file that remembers how far it is [default: one in the user's state folder]
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
}

/// `event_id` and `ts` are the first columns of a schema, and these are no columns there.
const KEYS: [&str; 2] = ["event_type", "tenant_id"];

pub async fn run(app: &App, args: RehydrateArgs) -> Result<u8> {
    let watch = Stopwatch::start();
    let place = Place::parse(app, &args.to, &args.hot)?;
    let as_of = args.as_of.as_deref().map(parse_as_of).transpose()?;
    let asked = match as_of {
        None => Snapshot::open(&app.context.store).await?,
        Some(as_of) => version(&app.context, as_of).await?,
    };
    let wanted = Wanted {
        table_id: asked.root().document.table_id.clone(),
        condition: args.condition.clone(),
        since: args.since,
        to: place.name(),
        omit: args.omit.clone(),
    };
    let place = place.open(app, &wanted).await?;
    let mut begun = place.record()?;
    if args.restart
        && let Some(record) = begun.take()
    {
        place.clear(record)?;
    }
    if let Some(record) = &begun {
        record.check(&wanted, as_of.map(|_| asked.version()))?;
        place.check(record)?;
    }
    let snapshot = match &begun {
        Some(record) if record.version != asked.version() => {
            let pinned = version(&app.context, AsOf::Version(record.version)).await;
            pinned.with_context(|| format!("go on with version {}; --restart begins anew", record.version))?
        }
        _ => asked,
    };
    let now = begun.as_ref().map_or(app.context.now(), |record| record.now);
    let mut run = Run::prepare(app, &args, &snapshot, now, begun.as_ref()).await?;
    let mut sink = place.sink(snapshot.schema(), &args.omit)?;
    let mut record = match begun {
        Some(record) => record,
        None => {
            place.consent(app, run.dates.len() as u64)?;
            place.begin(wanted, snapshot.version(), now)?
        }
    };
    let rows_before = record.rows();
    let columns = columns(&sink, &snapshot, &args.omit)?;
    run.fill(app, &mut sink, &mut record, &columns).await?;
    let report = Report::new(&record, args.since, place.words(), record.rows() - rows_before, watch.elapsed_ms());
    report.print(app)?;
    place.done(record)?;
    Ok(0)
}

async fn version(ctx: &Ctx, as_of: AsOf) -> Result<Snapshot> {
    match as_of {
        AsOf::Version(version) => Snapshot::at_version(&ctx.store, version).await,
        AsOf::Time(time) => Snapshot::at_time(&ctx.store, time).await,
    }
}

/// What is left to do.
struct Run {
    engine: Engine,
    condition: Option<String>,
    dates: Vec<Date>,
}

impl Run {
    /// Finds the dates, and whether all of them can be read and paid for, before anything is written.
    async fn prepare(
        app: &App,
        args: &RehydrateArgs,
        snapshot: &Snapshot,
        now: jiff::Timestamp,
        begun: Option<&Record>,
    ) -> Result<Self> {
        // One present time for all dates, however long it takes and however often it is run again.
        let ctx = Ctx { clock: Clock::Fixed(now), ..app.context.clone() };
        let view = match args.since {
            None => snapshot.clone(),
            Some(since) => until_stopped(&ctx.stop, added_since(snapshot, since)).await?,
        };
        let (settings, budget) = (settings(app, args, snapshot.version())?, budget(args)?);
        let mut run =
            Run { engine: Engine::over(&ctx, &settings, view)?, condition: args.condition.clone(), dates: Vec::new() };
        if begun.is_some_and(|record| record.complete) {
            return Ok(run);
        }
        let after = begun.and_then(Record::last).map(|last| format!("date > DATE '{last}'"));
        let plan =
            until_stopped(&ctx.stop, run.plan(&format!("SELECT * FROM events{}", run.conditions(after)))).await?;
        if !plan.unreadable().is_empty() {
            return Err(run.engine.refusal(&plan));
        }
        run.engine.estimate(&plan).check(&budget)?;
        run.dates = plan.ladder().planned.dates.iter().copied().collect();
        Ok(run)
    }

    /// Writes date after date.
    async fn fill(&mut self, app: &App, sink: &mut Sink, record: &mut Record, columns: &[String]) -> Result<()> {
        if record.complete {
            return Ok(());
        }
        let task = app.context.progress.task("write", Unit::Rows, None);
        for date in std::mem::take(&mut self.dates) {
            let filled = self.fill_date(app, sink, date, columns, |rows| task.advance(rows)).await;
            let rows = filled.map_err(go_on_later)?;
            if let Some(done) = sink.finish(date, rows)? {
                record.finish(done)?;
            }
        }
        record.complete()
    }

    async fn fill_date(
        &mut self,
        app: &App,
        sink: &mut Sink,
        date: Date,
        columns: &[String],
        advance: impl Fn(u64),
    ) -> Result<u64> {
        let stop = &app.context.stop;
        let mut answer = until_stopped(stop, self.ask(date, columns)).await?;
        let mut rows = 0;
        while let Some(batch) = until_stopped(stop, answer.next()).await? {
            until_stopped(stop, sink.write(date, &batch)).await?;
            rows += batch.num_rows() as u64;
            advance(batch.num_rows() as u64);
        }
        Ok(rows)
    }

    async fn ask(&mut self, date: Date, columns: &[String]) -> Result<Answer> {
        let names: Vec<String> = columns.iter().map(|name| format!("\"{}\"", name.replace('"', "\"\""))).collect();
        let conditions = self.conditions(Some(format!("date = DATE '{date}'")));
        // With the keys nothing is left to chance.
        let sql =
            format!("SELECT {} FROM events{conditions} ORDER BY ts, event_id, tenant_id, event_type", names.join(", "));
        let plan = self.plan(&sql).await?;
        self.engine.start(plan)
    }

    async fn plan(&mut self, sql: &str) -> Result<Plan> {
        let mut statements = self.engine.parse(sql)?;
        match (statements.pop_front(), statements.is_empty()) {
            (Some(statement), true) => self.engine.plan(statement).await,
            _ => Err(Error::usage("--where is one SQL condition, without a semicolon")),
        }
    }

    fn conditions(&self, bound: Option<String>) -> String {
        // A comment at the end of the condition must not reach the parenthesis.
        let end = |condition: &str| if condition.contains("--") { "\n" } else { "" };
        let condition = self.condition.as_ref().map(|condition| format!("({condition}{})", end(condition)));
        let all: Vec<String> = bound.into_iter().chain(condition).collect();
        if all.is_empty() { String::new() } else { format!(" WHERE {}", all.join(" AND ")) }
    }
}

fn settings(app: &App, args: &RehydrateArgs, version: u64) -> Result<QuerySettings> {
    let memory = args.memory.as_deref().or(app.settings.file.query.memory.as_deref());
    Ok(QuerySettings {
        as_of: Some(AsOf::Version(version)),
        memory_bytes: memory.map_or(Ok(QuerySettings::DEFAULT_MEMORY_BYTES), parse_bytes)?,
        tariff: Tariff { prices: app.settings.prices()?, pays_egress: app.settings.pays_egress() },
        class_speed: app.settings.class_time().speed,
        ..QuerySettings::default()
    })
}

fn budget(args: &RehydrateArgs) -> Result<Budget> {
    Ok(Budget {
        cost: args.max_cost.as_deref().map(parse_usd).transpose()?,
        bytes: args.max_bytes.as_deref().map(parse_bytes).transpose()?,
    })
}

/// The columns that the sink takes, in its order.
fn columns(sink: &Sink, snapshot: &Snapshot, omit: &[String]) -> Result<Vec<String>> {
    let others: Vec<&str> = snapshot.schema().columns()[2..].iter().map(|column| column.name.as_str()).collect();
    if let Some(unknown) = omit.iter().find(|name| !others.contains(&name.as_str())) {
        let error = Error::usage(format!("--omit names `{unknown}`, and there is no such column to leave out"));
        return Err(error.hint(format!("the columns are {}", others.join(", "))));
    }
    Ok(match sink {
        Sink::Table(table) => table.columns(),
        Sink::Folder { .. } => {
            let kept = others.into_iter().filter(|name| !omit.iter().any(|omitted| omitted == name));
            ["event_id"].into_iter().chain(KEYS).chain(["ts"]).chain(kept).map(str::to_owned).collect()
        }
    })
}

fn go_on_later(error: Error) -> Error {
    match error.kind() {
        kind @ (Kind::Interrupted | Kind::Terminated) => {
            Error::new(kind, "stopped on request").hint("whole dates are done; run the same command again for the rest")
        }
        _ => error,
    }
}
