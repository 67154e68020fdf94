//! `tier history` and `tier diff`: what was done, and what lies between two versions.

use clap::Args;
use indicatif::{HumanBytes, HumanCount};

use super::App;
use super::words::counted;
use crate::catalog::{Operation, Snapshot};
use crate::error::Result;
use crate::history::{self, Diff, FileSums, Kept, Line};

/// Dates and cells that are shown; `--json` has more.
const SHOWN: usize = 20;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tier history
  tier history --limit 200 --json

An expired version can no longer be asked, what it did is still known.")]
pub struct HistoryArgs {
    /// How many versions, from the newest
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
}

pub async fn run(app: &App, args: HistoryArgs) -> Result<u8> {
    let newest = Snapshot::open(&app.context.store).await?;
    let lines = history::history(&newest, args.limit).await?;
    if app.ui.json {
        #[derive(serde::Serialize)]
        struct Document {
            versions: Vec<Line>,
        }
        return app.ui.document(&Document { versions: lines }).map(|()| 0);
    }
    app.ui.data(&lines.iter().map(show_line).collect::<String>())?;
    Ok(0)
}

fn show_line(line: &Line) -> String {
    let kept = match line.kept {
        Kept::Retained => "",
        Kept::Expired => "  (expired)",
        Kept::Unreadable => "  (unreadable: tier verify)",
    };
    let Some((time, operation)) = line.time.zip(line.operation.as_ref()) else {
        return format!("{:>6}{kept}\n", line.version);
    };
    let base = operation.base_version;
    format!("{:>6}  {time:.0}  {:<8} on {base:<6} {}{kept}\n", line.version, operation.kind, counts(operation))
}

/// What an operation counted; what it did not count is left out.
fn counts(operation: &Operation) -> String {
    let number = |amount: u64, what: &str| (amount > 0).then(|| format!("{} {what}", HumanCount(amount)));
    let mut parts: Vec<String> = [
        number(operation.read, "read"),
        number(operation.accepted, "new"),
        number(operation.duplicate, "duplicate"),
        number(operation.dead_letter, "dead letter"),
        (operation.files > 0).then(|| counted(operation.files, "file")),
        (operation.bytes > 0).then(|| HumanBytes(operation.bytes).to_string()),
        operation.reverts.map(|version| format!("of version {version}")),
    ]
    .into_iter()
    .flatten()
    .collect();
    if let Some(plan) = &operation.plan {
        parts.push(format!("plan {}", &plan[..plan.len().min(12)]));
    }
    parts.join(" · ")
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tier diff 12 13
  tier diff 12 13 --json

A file that only changed its class counts as removed and added. Both versions must not have expired: tier history.")]
pub struct DiffArgs {
    /// The earlier version
    #[arg(value_name = "V1")]
    from: u64,

    /// The later version
    #[arg(value_name = "V2")]
    to: u64,
}

pub async fn run_diff(app: &App, args: DiffArgs) -> Result<u8> {
    let store = &app.context.store;
    let (before, after) =
        futures::try_join!(Snapshot::at_version(store, args.from), Snapshot::at_version(store, args.to))?;
    let diff = history::diff(&before, &after).await?;
    if app.ui.json {
        app.ui.document(&diff)?;
    } else {
        app.ui.data(&show_diff(&diff))?;
    }
    Ok(0)
}

fn show_diff(diff: &Diff) -> String {
    let mut text = format!(
        "version {} of {:.0} → version {} of {:.0}\nall        {}\n",
        diff.from,
        diff.from_time,
        diff.to,
        diff.to_time,
        sums(&diff.total)
    );
    let dates = diff.dates.iter().map(|(date, of)| (date.as_str(), of));
    list("dates", dates.collect(), &mut text);
    list("cells", diff.cells.iter().map(|change| (change.cell.as_str(), &change.sums)).collect(), &mut text);
    let mut lines = |sign: char, what: &str, names: Vec<String>| {
        names.iter().for_each(|name| text.push_str(&format!("{sign} {what} {}\n", name.escape_debug())));
    };
    let columns = |columns: &[crate::model::Column]| -> Vec<String> {
        columns.iter().map(|column| format!("{} {}", column.name, column.column_type)).collect()
    };
    lines('+', "column", columns(&diff.columns_added));
    lines('-', "column", columns(&diff.columns_removed));
    lines('+', "seal", diff.sealed.iter().map(ToString::to_string).collect());
    lines('-', "seal", diff.unsealed.iter().map(ToString::to_string).collect());
    let holds = |holds: &[crate::model::Hold]| -> Vec<String> {
        holds.iter().map(|hold| format!("{} ({})", hold.id, hold.reason)).collect()
    };
    lines('+', "hold", holds(&diff.holds_added));
    lines('-', "hold", holds(&diff.holds_lifted));
    let letters = |files: &[crate::catalog::DeadLetterFile]| -> Vec<String> {
        files.iter().map(|file| format!("{} {} of version {}", file.records, file.reason, file.version)).collect()
    };
    lines('+', "dead letters", letters(&diff.dead_letters_added));
    lines('-', "dead letters", letters(&diff.dead_letters_settled));
    text
}

fn sums(of: &FileSums) -> String {
    let part = |sign: char, files: u64, rows: u64, bytes: u64| {
        format!("{sign}{} {sign}{} rows {sign}{}", counted(files, "file"), HumanCount(rows), HumanBytes(bytes))
    };
    let added = (of.files_added > 0).then(|| part('+', of.files_added, of.rows_added, of.bytes_added));
    let removed = (of.files_removed > 0).then(|| part('-', of.files_removed, of.rows_removed, of.bytes_removed));
    let both: Vec<String> = added.into_iter().chain(removed).collect();
    if both.is_empty() { "the same files".to_owned() } else { both.join("  ") }
}

fn list(title: &str, changes: Vec<(&str, &FileSums)>, text: &mut String) {
    if changes.is_empty() {
        return;
    }
    text.push_str(&format!("\n{title}\n"));
    for (name, of) in changes.iter().take(SHOWN) {
        text.push_str(&format!("  {name}  {}\n", sums(of)));
    }
    if changes.len() > SHOWN {
        text.push_str(&format!("  and {} more: --json\n", HumanCount((changes.len() - SHOWN) as u64)));
    }
    text.push('\n');
}
