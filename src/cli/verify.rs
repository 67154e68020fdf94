//! `tier verify`: is the archive whole?

use clap::{Args, ValueEnum};
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

use super::App;
use super::words::counted;
use crate::clock::Stopwatch;
use crate::error::Result;
use crate::store::ObjectSum;
use crate::verify::{self, Read, VerifyOptions, VerifyReport};

const BROKEN: u8 = 1;

/// A person must look.
const LOOK: u8 = 7;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tier verify
  tier verify --read sample --tree
  tier verify --read all --duplicates --json

Catalog and listing are compared always: every root, leaf, pack, ledger and dead-letter file, and of every data file
that it exists, its size and its class. No data is read for that. Archived files are never read.

Exit codes: 0 whole; 1 something is missing or damaged, and named on stdout; 7 a person must look: objects that no
version names, repeated ids, or with --tree a direct read that is not exact.")]
pub struct VerifyArgs {
    /// Read files and compare every byte and row with the catalog
    #[arg(long, value_name = "WHICH")]
    read: Option<Which>,

    /// About so many files for --read sample
    #[arg(long, value_name = "FILES", default_value_t = 100)]
    sample: u64,

    /// Look for event ids that a tenant has more than once; reads the ids of all files
    #[arg(long)]
    duplicates: bool,

    /// Say whether other engines that read events/ directly see exactly the archive now
    #[arg(long)]
    tree: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// Some files, by chance
    Sample,
    /// All files
    All,
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    report: &'a VerifyReport,
    is_broken: bool,
    elapsed_ms: u64,
}

pub async fn run(app: &App, args: VerifyArgs) -> Result<u8> {
    let read = args.read.map(|which| match which {
        Which::Sample => Read::Sample(args.sample),
        Which::All => Read::All,
    });
    let watch = Stopwatch::start();
    let options = VerifyOptions { read, duplicates: args.duplicates, tree: args.tree };
    let report = verify::verify(&app.context, &options).await?;
    let elapsed_ms = watch.elapsed_ms();
    if app.ui.json {
        app.ui.document(&Document { report: &report, is_broken: report.is_broken(), elapsed_ms })?;
    } else {
        show(app, &report, elapsed_ms)?;
    }
    Ok(match (report.is_broken(), report.wants_a_look()) {
        (true, _) => BROKEN,
        (false, true) => LOOK,
        (false, false) => 0,
    })
}

/// Findings are data; what was looked at is words.
fn show(app: &App, report: &VerifyReport, elapsed_ms: u64) -> Result<()> {
    let mut text = String::new();
    for problem in &report.problems {
        text.push_str(&format!("{problem}\n  way out: {}\n", problem.way_out));
    }
    if let Some(duplicates) = &report.duplicates {
        for repeated in &duplicates.examples {
            let cells = repeated.cells.join(", ");
            text.push_str(&format!("{:?} of {} is in {cells}\n", repeated.event_id, repeated.tenant_id));
        }
    }
    for reason in report.tree.iter().flat_map(|tree| &tree.reasons) {
        text.push_str(&format!("events/ is not exact: {reason}\n"));
    }
    app.ui.data(&text)?;
    for line in words(report, elapsed_ms) {
        app.ui.say(&line);
    }
    Ok(())
}

fn words(report: &VerifyReport, elapsed_ms: u64) -> Vec<String> {
    let of = |sum: ObjectSum, noun| format!("{} ({})", counted(sum.objects, noun), HumanBytes(sum.bytes));
    let mut lines = Vec::new();
    if let Some(read) = &report.read {
        let archived = match read.archived.objects {
            0 => String::new(),
            _ => format!("; {} not read", of(read.archived, "archived file")),
        };
        let (files, rows) = (counted(read.files, "file"), HumanCount(read.rows));
        let bytes = HumanBytes(read.bytes);
        lines.push(format!("read {files}, {rows} rows; {bytes} of it whole{archived}"));
    }
    if let Some(duplicates) = &report.duplicates {
        let repeated = counted(duplicates.repeated_ids, "id");
        lines
            .push(format!("{repeated} in more than one cell of a tenant, of {} events", HumanCount(duplicates.events)));
    }
    if report.tree.as_ref().is_some_and(|tree| tree.is_exact) {
        lines.push("a direct read of events/ is exact now".to_owned());
    }
    if report.archived.objects > 0 && report.read.is_none() {
        lines.push(format!("{}, compared by the listing only", of(report.archived, "archived file")));
    }
    if report.replaced.objects > 0 {
        lines.push(format!("{} kept for older versions until a vacuum", of(report.replaced, "replaced file")));
    }
    if report.orphans.objects > 0 {
        let orphans = of(report.orphans, "object");
        lines.push(match report.unreadable {
            0 => format!("{orphans} named by no version: of a run at work, or left by a killed one: tier vacuum"),
            _ => format!("{orphans} named by no version that can be read: delete nothing before it can"),
        });
    }
    if report.unfinished.objects > 0 {
        lines.push(format!("{}: tier vacuum", of(report.unfinished, "unfinished write")));
    }
    if report.foreign.objects > 0 {
        lines.push(format!("{} not made by tier", of(report.foreign, "object")));
    }
    if !report.examples.is_empty() {
        lines.push(format!("  such as {}", report.examples.join(", ")));
    }
    if let Some(newer) = report.newer_version {
        lines.push(format!("version {newer} came meanwhile: what it added is among the objects named by no version"));
    }
    let per_second = report.objects * 1_000 / elapsed_ms.max(1);
    let problems = report.counts.values().sum::<u64>();
    let verdict = if problems == 0 { "no problem".to_owned() } else { counted(problems, "problem") };
    lines.push(format!(
        "version {}: {} ({}), {} rows in {}; {} listed in {:.1} s ({}/s): {verdict}",
        report.version,
        counted(report.files, "file"),
        HumanBytes(report.bytes),
        HumanCount(report.rows),
        if report.leaves == 1 { "1 leaf".to_owned() } else { format!("{} leaves", HumanCount(report.leaves)) },
        counted(report.objects, "object"),
        elapsed_ms as f64 / 1_000.0,
        HumanCount(per_second),
    ));
    lines
}
