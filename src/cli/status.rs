//! `tier status`: what the archive holds.

use std::time::Duration;

use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::App;
use super::archive::hot::{danger_words, in_danger};
use super::parse::parse_duration;
use crate::archive::{self, RunRecord, Unarchived};
use crate::catalog::Snapshot;
use crate::error::{Kind, Result};
use crate::hot::HotSettings;
use crate::model::DateRange;
use crate::status::{Share, Status, status};

/// A person must look: DESIGN's exit code for work that is done but not well.
const LOOK: u8 = 7;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tier status
  tier status --max-age 36h || alert

Exit codes: 0; 6 when the hot tier does not answer; 7 when closed days of it expire soon and are not archived, or when
--max-age is given and the newest archived date is older.")]
pub struct StatusArgs {
    /// Exit with 7 when the newest archived date ended longer ago than this, for example 36h
    #[arg(long, value_name = "AGE")]
    max_age: Option<String>,
}

/// What `[hot]` adds.
#[derive(Debug, Default, Serialize)]
struct Hot {
    /// Days whose events only the hot tier has.
    unarchived: Vec<Unarchived>,
    /// Why the hot tier could not be asked for them.
    error: Option<String>,
    /// Of the nightly job.
    last_run: Option<RunRecord>,
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    status: &'a Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    hot: Option<&'a Hot>,
}

pub async fn run(app: &App, args: StatusArgs) -> Result<u8> {
    let max_age = args.max_age.as_deref().map(parse_duration).transpose()?;
    let snapshot = Snapshot::open(&app.context.store).await?;
    let status = status(&snapshot).await?;
    let settings = app.settings.hot()?;
    let hot = match &settings {
        Some(settings) => Some(look_at_hot(app, settings).await?),
        None => None,
    };
    if app.ui.json {
        app.ui.document(&Document { status: &status, hot: hot.as_ref() })?;
    } else {
        app.ui.data(&show(&status, &app.context.store.location().to_string(), hot.as_ref()))?;
    }
    let mut code = 0;
    if let Some((hot, settings)) = hot.zip(settings) {
        if let Some(error) = &hot.error {
            app.ui.warn(error);
            code = Kind::TryAgain.exit_code();
        }
        let danger = in_danger(&hot.unarchived);
        if !danger.is_empty() {
            app.ui.warn(&danger_words(&danger, &settings));
            code = LOOK;
        }
    }
    if max_age.is_some_and(|max_age| is_overdue(app, &status, max_age)) {
        let date = status.last_date.map_or("none".to_owned(), |date| date.to_string());
        app.ui.warn(&format!("the newest archived date is {date}, older than --max-age allows"));
        code = LOOK;
    }
    Ok(code)
}

fn is_overdue(app: &App, status: &Status, max_age: Duration) -> bool {
    let end =
        status.last_date.and_then(|date| date.tomorrow().ok()?.to_zoned(TimeZone::UTC).ok()).map(|end| end.timestamp());
    let age = end.map(|end| app.context.now().duration_since(end));
    age.is_none_or(|age| age > SignedDuration::try_from(max_age).unwrap_or(SignedDuration::MAX))
}

/// A hot tier that does not answer must not hide what the archive holds.
async fn look_at_hot(app: &App, settings: &HotSettings) -> Result<Hot> {
    let (unarchived, error) = match archive::look_for_unarchived(&app.context, settings).await {
        Ok(unarchived) => (unarchived, None),
        Err(error) if error.kind() == Kind::TryAgain => {
            (Vec::new(), Some(format!("the hot tier was not asked for what is not archived: {}", error.headline())))
        }
        Err(error) => return Err(error),
    };
    Ok(Hot { unarchived, error, last_run: archive::last_run(&app.context.store).await? })
}

fn show(status: &Status, location: &str, hot: Option<&Hot>) -> String {
    let dates = status.first_date.zip(status.last_date).map_or("no events".to_owned(), |(a, b)| format!("{a} to {b}"));
    let mut text = format!(
        "archive   {location}\nversion   {} of {:.0}\ndates     {dates}\nrows      {}\nfiles     {} ({})\ncolumns   {}\n",
        status.version,
        status.committed_at,
        HumanCount(status.rows),
        HumanCount(status.files),
        HumanBytes(status.bytes),
        status.columns
    );
    if status.open_dead_letters > 0 {
        text.push_str(&format!(
            "dead      {} open dead letters: tier dead-letter list\n",
            HumanCount(status.open_dead_letters)
        ));
    }
    if let Some(range) = status.sealed.last() {
        text.push_str(&format!("sealed    {}\n", show_ranges(&status.sealed, range)));
    }
    if let Some(range) = status.possibly_incomplete.last() {
        text.push_str(&format!("maybe incomplete  {}\n", show_ranges(&status.possibly_incomplete, range)));
    }
    if let Some(hot) = hot {
        text.push_str(&show_hot(hot));
    }
    text.push_str("\ntiers\n");
    for (class, totals) in &status.tiers {
        text.push_str(&format!(
            "  {:<14}{:>14} rows  {:>10} files  {:>12}\n",
            class.as_str(),
            HumanCount(totals.rows).to_string(),
            HumanCount(totals.files).to_string(),
            HumanBytes(totals.bytes).to_string()
        ));
    }
    shares("largest tenants", &status.largest_tenants, &mut text);
    shares("largest event types", &status.largest_event_types, &mut text);
    text.push_str("\nlast runs\n");
    for run in &status.last_runs {
        let operation = &run.operation;
        let what = match operation.kind.as_str() {
            "append" => format!(
                "{} new, {} duplicate, {} dead letter",
                HumanCount(operation.accepted),
                HumanCount(operation.duplicate),
                HumanCount(operation.dead_letter)
            ),
            _ => operation.reverts.map_or(String::new(), |version| format!("of version {version}")),
        };
        text.push_str(&format!("  version {:<6}{:.0}  {} {what}\n", run.version, run.time, operation.kind));
    }
    text
}

/// The newest range, and how many there are before it.
fn show_ranges(ranges: &[DateRange], last: &DateRange) -> String {
    let earlier = match ranges.len() {
        1 => String::new(),
        more => format!(", and {} earlier ranges", more - 1),
    };
    format!("{last}{earlier}")
}

fn show_hot(hot: &Hot) -> String {
    let mut text = String::new();
    if let Some(run) = &hot.last_run {
        let how = match (run.ended, run.exit_code) {
            (Some(ended), Some(code)) => {
                format!("ended {ended:.0} with exit code {code}, {} new", HumanCount(run.accepted))
            }
            _ => format!("running, or killed: process {} on {}", run.pid, run.host),
        };
        text.push_str(&format!("nightly   began {:.0}, {how}\n", run.began));
    }
    if !hot.unarchived.is_empty() {
        text.push_str("\nonly in the hot tier\n");
    }
    for day in &hot.unarchived {
        let state = if day.is_closed { "closed" } else { "open" };
        text.push_str(&format!("  {}  {state:<7} {:>4} days left\n", day.date, day.days_left));
    }
    text
}

fn shares(title: &str, shares: &[Share], text: &mut String) {
    text.push_str(&format!("\n{title}\n"));
    for share in shares {
        let name: String = share.name.escape_debug().to_string();
        text.push_str(&format!(
            "  {name:<24}{:>14} rows  {:>5.1}%\n",
            HumanCount(share.rows).to_string(),
            share.share * 100.0
        ));
    }
}
