//! `tier rebuild`: the catalog from data files and packs alone.

use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

use super::App;
use super::words::counted;
use crate::clock::Stopwatch;
use crate::error::{Error, Result};
use crate::rebuild::{self, LeftOut, RebuildOptions, RebuildReport};
use crate::store::ObjectSum;

/// Something is in the way, and was named.
const REFUSED: u8 = 1;

/// A person must look.
const LOOK: u8 = 7;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tier rebuild --check                     # are data and catalog the same?
  tier rebuild                             # no root can be read any more
  tier rebuild --replace --read            # over a root that can be read, with every SHA-256
  tier rebuild --leave-out events/date=2026-08-24/event_type=login/tenant_id=acme/X.parquet

For the day when _tier/root or _tier/leaf is lost or damaged. It reads listings, packs and the footers of data files, and
the ids of files that share a cell; archived files are not read. Stop all other runs before. The new version has every
event once; what cannot be decided is named, and nothing is committed until you decide it with --leave-out or --keep.

Data does not tell what was reverted or has expired: until `tier vacuum` deletes its files, a rebuild brings it back. So
let a vacuum run regularly. Legal holds, seals, the export ledger and the mapping are known to roots alone: they are taken
from the newest one that can be read, and if there is none they are lost, and said so.

Exit codes: 0 rebuilt, or with --check the same; 1 refused, and the reasons are on stdout; 7 with --check: differences.")]
pub struct RebuildArgs {
    /// Compare the catalog that the data makes with the current one; writes nothing
    #[arg(long, conflicts_with_all = ["replace", "read"])]
    check: bool,

    /// Commit although the newest root can be read
    #[arg(long)]
    replace: bool,

    /// Read every byte of every readable file: only then `tier verify --read` can tell changed bytes later
    #[arg(long)]
    read: bool,

    /// A file or folder that is to be no part of the archive (repeatable)
    #[arg(long, value_name = "PATH")]
    leave_out: Vec<String>,

    /// A file or folder whose events are in no archived file, though nothing proves it (repeatable)
    #[arg(long, value_name = "PATH")]
    keep: Vec<String>,
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    report: &'a RebuildReport,
    elapsed_ms: u64,
}

pub async fn run(app: &App, args: RebuildArgs) -> Result<u8> {
    let RebuildArgs { check, replace, read, leave_out, keep } = args;
    let options = RebuildOptions { check, replace, read, leave_out, keep };
    let question = "Commit a new version over one that can be read? Holds, seals and ledger are taken over; what was \
                    reverted or has expired, and was not vacuumed, comes back.";
    if replace && !app.ui.confirm(question, app.settings.yes)? {
        return Err(Error::failed("nothing was committed"));
    }
    let watch = Stopwatch::start();
    let report = rebuild::rebuild(&app.context, &options).await?;
    let elapsed_ms = watch.elapsed_ms();
    if app.ui.json {
        app.ui.document(&Document { report: &report, elapsed_ms })?;
    } else {
        show(app, &report, check, elapsed_ms)?;
    }
    Ok(match (check, report.problem_counts.is_empty(), report.is_equal()) {
        (true, _, true) | (false, true, _) => 0,
        (true, _, false) => LOOK,
        (false, false, _) => REFUSED,
    })
}

/// Findings are data; what was done is words.
fn show(app: &App, report: &RebuildReport, check: bool, elapsed_ms: u64) -> Result<()> {
    let mut text = String::new();
    for problem in &report.problems {
        text.push_str(&format!("{}: {}\n  way out: {}\n", problem.object, problem.what, problem.way_out));
    }
    for difference in &report.differences {
        text.push_str(&format!("{}: {}\n", difference.object, difference.what));
    }
    app.ui.data(&text)?;
    report.broken_packs.iter().for_each(|pack| app.ui.warn(&format!("pack {pack}")));
    left_out(&report.left_out).iter().for_each(|line| app.ui.say(line));
    let rows = HumanCount(report.rows);
    let found = format!("{} ({}), {rows} rows", counted(report.files, "file"), HumanBytes(report.bytes));
    let seconds = elapsed_ms as f64 / 1_000.0;
    let problems = report.problem_counts.values().sum::<u64>();
    match report.version {
        _ if check && report.is_equal() => {
            app.ui.say(&format!("{found}: the catalog says the same, in {seconds:.1} s"))
        }
        _ if check => {
            let differences = counted(report.difference_count + problems, "difference");
            app.ui.say(&format!("{found}: {differences} to the catalog, in {seconds:.1} s"));
        }
        Some(version) => {
            app.ui.say(&format!("{found} in {seconds:.1} s: version {version} committed"));
            committed(app, report);
        }
        None => app.ui.say(&format!("{found}, and {} in the way: nothing was committed", counted(problems, "problem"))),
    }
    Ok(())
}

fn left_out(left_out: &LeftOut) -> Vec<String> {
    let line = |sum: ObjectSum, why: &str| {
        (sum.objects > 0).then(|| format!("{} ({}) {why}", counted(sum.objects, "object"), HumanBytes(sum.bytes)))
    };
    [
        line(left_out.replaced, "left out: their events are in files made of them; tier vacuum deletes them"),
        line(left_out.repeated, "left out: all of their events are in others; tier vacuum deletes them"),
        line(left_out.asked, "left out as asked for; tier vacuum deletes them"),
        line(left_out.foreign, "not made by tier"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn committed(app: &App, report: &RebuildReport) {
    if let (Some(from), Some(before)) = (report.carried_from, report.carried_rows) {
        let rows = match report.rows.cmp(&before) {
            std::cmp::Ordering::Equal => "as many rows as it had".to_owned(),
            std::cmp::Ordering::Less => format!("{} rows fewer than it had", HumanCount(before - report.rows)),
            std::cmp::Ordering::Greater => format!("{} rows more than it had", HumanCount(report.rows - before)),
        };
        app.ui.say(&format!("what only roots know was taken from version {from}: {rows}"));
    }
    if report.dead_letter_files > 0 {
        let (letters, files) = (counted(report.dead_letters, "dead letter"), counted(report.dead_letter_files, "file"));
        app.ui.say(&format!("{letters} in {files} open"));
    }
    if report.without_digest > 0 {
        let files = counted(report.without_digest, "file");
        app.ui.say(&format!("{files} without a known SHA-256: --read reads it of those that can be read"));
    }
    for lost in &report.lost {
        app.ui.warn(&format!("not known any more: {}: {}", lost.what, lost.way_out));
        if let Some(command) = &lost.command {
            app.ui.say(&format!("    {command}"));
        }
    }
}
