//! `tier archive --from-hot` and `--seal`: closed days of the hot tier, and dates that need it no longer.

use indicatif::{HumanBytes, HumanCount};
use jiff::ToSpan;
use jiff::civil::Date;

use super::ArchiveArgs;
use super::upkeep::Upkeep;
use crate::archive::{self, ArchiveReport, ArchiveRequest, DayReport, Days, HotReport, RunRecord, Unarchived, Why};
use crate::cli::App;
use crate::cli::parse::parse_date_range;
use crate::error::{Context, Error, Result};
use crate::hot::HotSettings;
use crate::model::DateRange;

/// Done, but a person must look.
pub const LOOK: u8 = 7;

/// Days that a line names before it only counts.
const NAMED: usize = 5;

pub async fn run(app: &App, args: &ArchiveArgs) -> Result<u8> {
    let hot = app.settings.hot()?.ok_or_else(no_hot_tier)?;
    let request = args.decode.request(app, Vec::new())?;
    let (days, upkeep) = (days(args)?, Upkeep::of(app)?);
    let record = RunRecord::begin(&app.context).await?;
    let outcome = archive::from_hot(&app.context, &request, &hot, days).await;
    let code = match &outcome {
        Ok(HotReport { failed, .. }) if !failed.is_empty() => failed[0].error.kind().exit_code(),
        Ok(report) if in_danger(&report.unarchived).is_empty() => 0,
        Ok(_) => LOOK,
        Err(error) => error.kind().exit_code(),
    };
    if let Err(error) = record.end(&app.context, code, &outcome).await {
        app.ui.warn(&format!("the run is not recorded: {error}"));
    }
    let report = outcome?;
    let has_committed =
        !report.days.is_empty() || report.exports.as_ref().is_some_and(|exports| !exports.committed.is_empty());
    let done = upkeep.after(app, has_committed).await;
    match app.ui.json {
        true => app.ui.document(&done.beside(&report))?,
        false => {
            print(app, &report, &hot, &request)?;
            done.say(app);
        }
    }
    match report.failed.into_iter().next() {
        Some(failed) => Err(failed.error).with_context(|| format!("archive {}", failed.date)),
        None => Ok(code),
    }
}

/// `--seal 2026-08-24` or `--seal 2026-08-01..2026-08-24`.
pub async fn seal(app: &App, args: &ArchiveArgs) -> Result<()> {
    let mut dates = Vec::new();
    for text in &args.seal {
        dates.extend(parse_dates(text)?);
    }
    let done = archive::seal_dates(&app.context, &dates).await?;
    if app.ui.json {
        return app.ui.document(&done);
    }
    match done.sealed.len() {
        0 => app.ui.say("sealed already, nothing written"),
        _ => app.ui.say(&format!("{} sealed: version {} committed", first_of(&done.sealed), done.version)),
    }
    Ok(())
}

pub fn no_hot_tier() -> Error {
    Error::usage("no hot tier is named")
        .code("no-hot-tier")
        .hint("write `[hot]` with contact_points, keyspace and table into tier.toml, or `exports = \"FOLDER\"`")
}

fn days(args: &ArchiveArgs) -> Result<Days> {
    Ok(match (&args.date, &args.until) {
        (Some(date), _) => Days::Only(parse_date(date)?),
        (None, Some(date)) => Days::Until(parse_date(date)?),
        (None, None) => Days::All,
    })
}

fn parse_date(text: &str) -> Result<Date> {
    text.parse().map_err(|_| Error::usage(format!("`{text}` is not a date")).hint("write it as 2026-08-24"))
}

fn parse_dates(text: &str) -> Result<Vec<Date>> {
    let DateRange { first, last } = parse_date_range(text)?;
    Ok(first.series(1.day()).take_while(|date| *date <= last).collect())
}

fn print(app: &App, report: &HotReport, hot: &HotSettings, request: &ArchiveRequest) -> Result<()> {
    if let Some(exports) = &report.exports {
        super::print(app, exports, request)?;
    }
    words(report).iter().for_each(|line| app.ui.say(line));
    for day in &report.days {
        warn_of_day(app, day, hot);
    }
    let danger = in_danger(&report.unarchived);
    if !danger.is_empty() {
        app.ui.warn(&danger_words(&danger, hot));
    }
    Ok(())
}

fn words(report: &HotReport) -> Vec<String> {
    if report.exports.is_some() {
        return match report.sealed.len() {
            0 => Vec::new(),
            _ => vec![format!("sealed {}", first_of(&report.sealed))],
        };
    }
    if report.days.is_empty() {
        return vec![format!("{}: no day is due, nothing written", report.source)];
    }
    let mut lines: Vec<String> = report.days.iter().map(day_words).collect();
    let seconds = report.elapsed_ms as f64 / 1000.0;
    lines.push(format!(
        "{}: {} days, {} rows: {} new · {} duplicate · {} dead letter in {seconds:.1} s ({} rows/s)",
        report.source,
        report.days.len(),
        HumanCount(report.read),
        HumanCount(report.accepted),
        HumanCount(report.duplicate),
        HumanCount(report.dead_letter),
        rate(report.read, report.elapsed_ms)
    ));
    lines
}

fn day_words(day: &DayReport) -> String {
    let what = match day.why {
        Why::New => "sealed",
        Why::Late | Why::Asked => "read again",
        Why::Expiring => "read before it expires",
    };
    format!(
        "{} {what}: {} rows, counted {} · {} new in {} cells, {} · {} rows/s · version {}",
        day.date,
        HumanCount(day.read),
        HumanCount(day.counted),
        HumanCount(day.accepted),
        HumanCount(day.cells),
        HumanBytes(day.bytes_out),
        rate(day.read, day.elapsed_ms),
        day.version
    )
}

fn rate(rows: u64, elapsed_ms: u64) -> HumanCount {
    HumanCount(rows.saturating_mul(1000) / elapsed_ms.max(1))
}

fn warn_of_day(app: &App, day: &DayReport, hot: &HotSettings) {
    let date = day.date;
    if day.incomplete && day.why == Why::New {
        app.ui
            .warn(&format!("{date} may be incomplete: it was older than {} days when it was first read", hot.ttl_days));
    }
    if day.expiring > 0 {
        app.ui.warn(&format!("{} rows of {date} expire within {} days", HumanCount(day.expiring), hot.warn_days));
    }
    let ArchiveReport { reasons, renamed_columns, .. } = &day.archive;
    let letters: u64 = reasons.values().sum();
    if letters > 0 {
        app.ui.warn(&format!(
            "{} records of {date} are dead letters: tier dead-letter list --version {}",
            HumanCount(letters),
            day.version
        ));
    }
    for (source, stored) in renamed_columns {
        app.ui.warn(&format!("the column `{source}` is stored as `{stored}`: its own name means something else here"));
    }
}

/// Closed days that nobody archived and that expire soon.
pub fn in_danger(unarchived: &[Unarchived]) -> Vec<&Unarchived> {
    unarchived.iter().filter(|day| day.is_closed && day.is_in_danger).collect()
}

pub fn danger_words(danger: &[&Unarchived], hot: &HotSettings) -> String {
    let dates: Vec<Date> = danger.iter().map(|day| day.date).collect();
    let least = danger.iter().map(|day| day.days_left).min().unwrap_or(0);
    let when = match least {
        ..0 => "have begun to expire".to_owned(),
        0 => "begin to expire within a day".to_owned(),
        1 => "begin to expire in 1 day".to_owned(),
        days => format!("begin to expire in {days} days"),
    };
    format!(
        "{} {}: only the hot tier has these events, and they {when} (warn_before is {} days): tier archive --from-hot",
        if dates.len() == 1 {
            "1 closed day is not archived:".to_owned()
        } else {
            format!("{} closed days are not archived:", dates.len())
        },
        first_of(&dates),
        hot.warn_days
    )
}

fn first_of(dates: &[Date]) -> String {
    let names: Vec<String> = dates.iter().take(NAMED).map(Date::to_string).collect();
    match dates.len() {
        n if n > NAMED => format!("{} to {} ({n} days)", dates[0], dates[n - 1]),
        _ => names.join(", "),
    }
}
