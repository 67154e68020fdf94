//! `tier archive`: exports or the hot tier in, a boring night in four lines out.

pub mod hot;
mod upkeep;

use std::time::Duration;

use clap::Args;
use indicatif::{HumanBytes, HumanCount};

use super::App;
use super::parse::{parse_bytes, parse_duration};
use crate::archive::{self, ArchivePlan, ArchiveReport, ArchiveRequest, DeadLetterLimit, ExportStatus, MappingChoice};
use crate::error::{Error, Result};
use crate::exports::Format;
use crate::model::{ColumnType, Reason};

pub use upkeep::CompactSection;
use upkeep::Upkeep;

const DEFAULT_MEMORY: &str = "512MB";
pub const DEFAULT_ACCEPT_FUTURE: &str = "24h";

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tier archive exports/ --archive ./a
  tier archive 'logs/*.csv.gz' --id request_id --type =request --tenant =acme --time time --archive ./a
  zcat day.gz | tier archive - --format ndjson --archive s3://events/prod
  tier archive --from-hot
  tier archive --seal 2026-08-24

What was committed is followed by a bounded part of the merging that is due, as `[compact]` in tier.toml says.
Exit codes: 0 done (some dead letters may be kept), 1 failed and nothing was archived, 2 usage, 6 try again,
7 done, but closed days of the hot tier expire soon and are not archived.")]
pub struct ArchiveArgs {
    /// Files, folders, globs, s3:// addresses, or - for standard input
    #[arg(required_unless_present_any = ["from_hot", "seal"], value_name = "EXPORT")]
    exports: Vec<String>,

    /// Archive the closed days of the hot tier that `[hot]` in tier.toml names
    #[arg(long, conflicts_with_all = ["exports", "dry_run", "format", "settle", "rehash", "after_commit"])]
    from_hot: bool,

    /// With --from-hot: this day only, also when it is sealed
    #[arg(long, value_name = "DATE", requires = "from_hot", conflicts_with = "until")]
    date: Option<String>,

    /// With --from-hot: days up to this one
    #[arg(long, value_name = "DATE", requires = "from_hot")]
    until: Option<String>,

    /// From now on answer these dates from the archive alone: DATE or DATE..DATE (repeatable)
    #[arg(long, value_name = "DATE", conflicts_with_all = ["exports", "from_hot", "dry_run"])]
    seal: Vec<String>,

    /// Show what would be done, from the beginning of each export
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    decode: DecodeArgs,

    /// Leave files alone that changed less than this ago, for example 5m
    #[arg(long, value_name = "AGE", env = "TIER_SETTLE")]
    settle: Option<String>,

    /// Read files that look unchanged since they were archived
    #[arg(long)]
    rehash: bool,

    /// What to do with an export once it is committed: keep, delete or move:FOLDER
    #[arg(long, value_name = "WHAT")]
    after_commit: Option<String>,
}

/// How records become events: shared with the replay of dead letters.
#[derive(Debug, Args)]
pub struct DecodeArgs {
    /// The format, where names do not tell: ndjson, csv, tsv or parquet
    #[arg(long)]
    format: Option<String>,

    /// CSV delimiter, one character
    #[arg(long, value_name = "CHAR")]
    delimiter: Option<char>,

    /// Column of the event id, several for a composite one, or hash for a digest of the whole row
    #[arg(long, value_name = "COL[,COL…]|hash")]
    id: Option<String>,

    /// Column of the event type, or =VALUE
    #[arg(long = "type", value_name = "COL|=VALUE")]
    event_type: Option<String>,

    /// Column of the tenant, or =VALUE
    #[arg(long, value_name = "COL|=VALUE")]
    tenant: Option<String>,

    /// Column of the event's time
    #[arg(long, value_name = "COL")]
    time: Option<String>,

    /// What a numeric time counts: s, ms, us or ns
    #[arg(long, value_name = "UNIT")]
    time_unit: Option<String>,

    /// Take this text for null in CSV, beside the empty one (repeatable)
    #[arg(long, value_name = "TOKEN")]
    null: Vec<String>,

    /// Add a column with this type: BOOLEAN, BIGINT, DOUBLE, VARCHAR or TIMESTAMP (repeatable)
    #[arg(long, value_name = "NAME=TYPE")]
    column: Vec<String>,

    /// Bad records allowed per export, as a number or a percentage [default: the larger of 10 and 1%]
    #[arg(long, value_name = "N|P%")]
    max_dead_letters: Option<String>,

    /// Accept times up to this far in the future
    #[arg(long, value_name = "AGE")]
    accept_future: Option<String>,

    /// Bound of the memory used
    #[arg(long, value_name = "SIZE", env = "TIER_MEMORY")]
    memory: Option<String>,
}

pub async fn run(app: &App, args: ArchiveArgs) -> Result<u8> {
    if args.from_hot {
        return hot::run(app, &args).await;
    }
    match args.seal.is_empty() {
        true => exports(app, &args).await?,
        false => hot::seal(app, &args).await?,
    }
    Ok(0)
}

async fn exports(app: &App, args: &ArchiveArgs) -> Result<()> {
    let file = &app.settings.file.archive;
    let mut request = args.decode.request(app, args.exports.clone())?;
    request.settle = args.settle.as_deref().or(file.settle.as_deref()).map_or(Ok(Duration::ZERO), parse_duration)?;
    request.rehash = args.rehash;
    if let Some(what) = args.after_commit.as_deref().or(file.after_commit.as_deref()) {
        request.after_commit = what.parse()?;
    }
    if args.dry_run {
        let plan = archive::plan(&app.context, &request).await?;
        return if app.ui.json { app.ui.document(&plan) } else { app.ui.data(&show_plan(&plan)) };
    }
    let upkeep = Upkeep::of(app)?;
    let report = archive::archive(&app.context, &request).await?;
    let done = upkeep.after(app, !report.committed.is_empty()).await;
    if app.ui.json {
        return app.ui.document(&done.beside(&report));
    }
    print(app, &report, &request)?;
    done.say(app);
    Ok(())
}

impl DecodeArgs {
    /// What was typed over `tier.toml` over the defaults.
    pub fn request(&self, app: &App, exports: Vec<String>) -> Result<ArchiveRequest> {
        let (file, events) = (&app.settings.file.archive, &app.settings.file.events);
        let pick = |typed: &Option<String>, file: &Option<String>| typed.clone().or_else(|| file.clone());
        let mapping = MappingChoice {
            id: parse_opt(pick(&self.id, &events.id))?,
            event_type: parse_opt(pick(&self.event_type, &events.event_type))?,
            tenant: parse_opt(pick(&self.tenant, &events.tenant))?,
            time: pick(&self.time, &events.time),
            time_unit: parse_opt(pick(&self.time_unit, &events.time_unit))?,
        };
        let limit: Option<DeadLetterLimit> = parse_opt(pick(&self.max_dead_letters, &file.max_dead_letters))?;
        let accept_future = pick(&self.accept_future, &events.accept_future);
        let memory = pick(&self.memory, &file.memory);
        Ok(ArchiveRequest {
            exports,
            format: self.format()?,
            mapping,
            null_tokens: if self.null.is_empty() { events.null.clone().unwrap_or_default() } else { self.null.clone() },
            columns: self.column.iter().map(|text| parse_column(text)).collect::<Result<_>>()?,
            settle: Duration::ZERO,
            rehash: false,
            max_dead_letters: limit.unwrap_or(DeadLetterLimit::Default),
            after_commit: archive::AfterCommit::Keep,
            accept_future: parse_duration(accept_future.as_deref().unwrap_or(DEFAULT_ACCEPT_FUTURE))?,
            memory_bytes: parse_bytes(memory.as_deref().unwrap_or(DEFAULT_MEMORY))?,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        })
    }

    fn format(&self) -> Result<Option<Format>> {
        let format = self.format.as_deref().map(str::parse::<Format>).transpose()?;
        let can_delimit = |c: char| c.is_ascii() && !matches!(c, '"' | '\n' | '\r');
        match (self.delimiter, format) {
            (None, format) => Ok(format),
            (Some(delimiter), None | Some(Format::Csv(_))) if can_delimit(delimiter) => {
                Ok(Some(Format::Csv(delimiter as u8)))
            }
            (Some(delimiter), _) => Err(Error::usage(format!("{delimiter:?} cannot be a delimiter here"))
                .hint("--delimiter takes one ASCII character, no quote and no line break, and is for CSV")),
        }
    }
}

fn parse_opt<T: std::str::FromStr<Err = Error>>(text: Option<String>) -> Result<Option<T>> {
    text.map(|text| text.parse()).transpose()
}

fn parse_column(text: &str) -> Result<(String, ColumnType)> {
    let (name, column_type) = text.rsplit_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
        Error::usage(format!("`{text}` is not a column"))
            .hint("write --column NAME=TYPE, for example --column price=DOUBLE")
    })?;
    Ok((name.to_owned(), column_type.parse()?))
}

/// The report as JSON on stdout, or as a few lines of words.
pub fn print(app: &App, report: &ArchiveReport, request: &ArchiveRequest) -> Result<()> {
    if app.ui.json {
        return app.ui.document(report);
    }
    for line in words(report) {
        app.ui.say(&line);
    }
    if request.mapping.id == Some(crate::model::IdSource::Hash) && report.duplicate > 0 {
        app.ui.say("ids are digests of whole rows: identical rows count as one event");
    }
    for (source, stored) in &report.renamed_columns {
        app.ui.warn(&format!(
            "the source column `{source}` is stored as `{stored}`: its own name means something else here"
        ));
    }
    for column in &report.spoiled_columns {
        app.ui.warn(&format!(
            "column `{}` became text through {} of {} values, first {:?} at {} line {}; if it means null, add --null {}",
            column.column, column.texts, column.values, column.value, column.file, column.line, column.value
        ));
    }
    Ok(())
}

fn words(report: &ArchiveReport) -> Vec<String> {
    let count = |status| report.exports.iter().filter(|export| export.status == status).count();
    let (known, settling) = (count(ExportStatus::AlreadyArchived), count(ExportStatus::Settling));
    let mut lines = Vec::new();
    if settling > 0 {
        lines.push(format!("{settling} exports left alone: they changed too recently (--settle)"));
    }
    if report.committed.is_empty() {
        lines.push(format!("already archived: {known} of {} exports, nothing written", report.exports.len()));
        return lines;
    }
    let share = report.dead_letter as f64 * 100.0 / report.read.max(1) as f64;
    lines.push(format!(
        "{} exports, {} records: {} new · {} duplicate · {} dead letter{}",
        report.exports.len(),
        HumanCount(report.read),
        HumanCount(report.accepted),
        HumanCount(report.duplicate),
        HumanCount(report.dead_letter),
        if report.dead_letter > 0 { format!(" ({share:.2}%: {})", reasons(report)) } else { String::new() }
    ));
    if known > 0 {
        lines.push(format!("already archived: {known} exports"));
    }
    lines.push(format!(
        "{} cells, {} files, {} (from {}) in {:.1} s",
        HumanCount(report.cells),
        HumanCount(report.files),
        HumanBytes(report.bytes_out),
        HumanBytes(report.bytes_in),
        report.elapsed_ms as f64 / 1000.0
    ));
    for version in &report.committed {
        lines.push(format!("version {version} committed"));
    }
    if let Some(version) = report.committed.first().filter(|_| report.dead_letter > 0) {
        lines
            .push(format!("look at the {}: tier dead-letter list --version {version}", HumanCount(report.dead_letter)));
    }
    if let Some((first, last)) = report.undecided_dates.first().zip(report.undecided_dates.last()) {
        let undecided = report.reasons.get(&Reason::Undecided).copied().unwrap_or(0);
        lines.push(format!(
            "{} may be in archived files: tier restore plan --from {first} --to {last}",
            HumanCount(undecided)
        ));
        lines.push("then settle them: tier dead-letter replay --reason undecided".to_owned());
    }
    lines
}

fn reasons(report: &ArchiveReport) -> String {
    let counts: Vec<String> =
        report.reasons.iter().map(|(reason, count)| format!("{} {reason}", HumanCount(*count))).collect();
    counts.join(", ")
}

fn show_plan(plan: &ArchivePlan) -> String {
    let mut text = String::new();
    for export in &plan.exports {
        let what = match export.status {
            ExportStatus::Archived => format!("would archive about {} rows", HumanCount(export.rows_estimated)),
            ExportStatus::AlreadyArchived => "would skip: already archived".to_owned(),
            ExportStatus::Settling => "would leave alone: changed too recently".to_owned(),
        };
        text.push_str(&format!("{}: {what} ({})\n", export.path, HumanBytes(export.bytes)));
    }
    let dates = plan.dates.first().zip(plan.dates.last()).map_or(String::new(), |(a, b)| format!(", dates {a} to {b}"));
    text.push_str(&format!(
        "Plan: about {} rows in at least {} cells{dates} (from the beginning of each export)\n",
        HumanCount(plan.rows_estimated),
        HumanCount(plan.cells.len() as u64)
    ));
    text
}
