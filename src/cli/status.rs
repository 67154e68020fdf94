//! `tier status`: what the archive holds.

use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use jiff::tz::TimeZone;

use super::App;
use super::parse::parse_duration;
use crate::catalog::Snapshot;
use crate::error::Result;
use crate::status::{Share, Status, status};

/// A person must look: DESIGN's exit code for work that is done but not well.
const LOOK: u8 = 7;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tier status
  tier status --max-age 36h || alert

Exit codes: 0, or 7 when --max-age is given and the newest archived date is older.")]
pub struct StatusArgs {
    /// Exit with 7 when the newest archived date ended longer ago than this, for example 36h
    #[arg(long, value_name = "AGE")]
    max_age: Option<String>,
}

pub async fn run(app: &App, args: StatusArgs) -> Result<u8> {
    let max_age = args.max_age.as_deref().map(parse_duration).transpose()?;
    let snapshot = Snapshot::open(&app.context.store).await?;
    let status = status(&snapshot).await?;
    if app.ui.json {
        app.ui.document(&status)?;
    } else {
        app.ui.data(&show(&status, &app.context.store.location().to_string()))?;
    }
    let Some(max_age) = max_age else { return Ok(0) };
    let end =
        status.last_date.and_then(|date| date.tomorrow().ok()?.to_zoned(TimeZone::UTC).ok()).map(|end| end.timestamp());
    let age = end.map(|end| app.context.now().duration_since(end));
    match age {
        Some(age) if age <= jiff::SignedDuration::try_from(max_age).unwrap_or(jiff::SignedDuration::MAX) => Ok(0),
        _ => {
            let date = status.last_date.map_or("none".to_owned(), |date| date.to_string());
            app.ui.warn(&format!("the newest archived date is {date}, older than --max-age allows"));
            Ok(LOOK)
        }
    }
}

fn show(status: &Status, location: &str) -> String {
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
