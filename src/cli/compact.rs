//! `tier compact`: fewer, larger files for the same events.

use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

use super::App;
use super::parse::{parse_age_days, parse_bytes, parse_date_range, parse_usd};
use super::spending::{check_budget, refuse_a_later_now};
use super::words::counted;
use crate::catalog::Snapshot;
use crate::compact::{self, Bound, Plan, Planner, Policy, Reason, Sum, Totals};
use crate::error::{Error, Result};
use crate::model::StorageClass;

/// Larger ones would not be read as one small object, and no store's limit is near.
const MAX_TARGET_BYTES: u64 = 512 << 20;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tier compact --dry-run
  tier compact --date 2026-08-01..2026-08-31 --tenant acme
  tier compact --max-bytes 10GB            # a little, the best first
  tier compact --catalog                   # fewer leaves to read for each query

Files of a bundle, of an archived class, under a legal hold, or inside their
class's minimum duration stay. The replaced files go with `tier vacuum`. One run
merges at most 262,144 files, those of the oldest dates; the next run goes on.

After its commit `tier archive` merges the catalog's lists by itself, and small
files where tier.toml says how much: `[compact] cells = \"1GiB\"`.")]
pub struct CompactArgs {
    /// Only these dates: DATE or DATE..DATE
    #[arg(long, value_name = "DATES")]
    date: Option<String>,

    /// Only this tenant (repeatable)
    #[arg(long, value_name = "TENANT")]
    tenant: Vec<String>,

    /// Leave cells alone that have fewer small files
    #[arg(long, value_name = "N", default_value_t = 2)]
    min_files: usize,

    /// Leave dates alone that are younger: more of them may come
    #[arg(long, value_name = "AGE", default_value = "1d")]
    min_age: String,

    /// How large a merged file may become; one of half that size stays
    #[arg(long, value_name = "BYTES", default_value = "128MB")]
    target_size: String,

    /// Read at most this much in this run
    #[arg(long, visible_alias = "budget", value_name = "BYTES")]
    max_bytes: Option<String>,

    /// Refuse before any work when it would cost more, in dollars
    /// [default: `[budget] per_run`]
    #[arg(long, value_name = "USD")]
    max_cost: Option<String>,

    /// Merge the catalog's own lists instead: no data file is touched
    #[arg(long, conflicts_with_all = ["date", "tenant", "max_bytes", "max_cost", "dry_run"])]
    catalog: bool,

    /// With --catalog, list about so many files anew in this run
    #[arg(long, value_name = "FILES", default_value_t = 262_144, requires = "catalog")]
    max_files: u64,

    /// Print what would be merged, and why the rest stays
    #[arg(long)]
    dry_run: bool,
}

impl CompactArgs {
    fn policy(&self) -> Result<Policy> {
        let target_bytes = parse_bytes(&self.target_size)?;
        if target_bytes == 0 || target_bytes > MAX_TARGET_BYTES {
            return Err(Error::usage(format!("--target-size {} is out of range", self.target_size))
                .hint(format!("at most {}", HumanBytes(MAX_TARGET_BYTES))));
        }
        if self.min_files < 2 {
            return Err(Error::usage("--min-files is at least 2: one file cannot be merged"));
        }
        Ok(Policy {
            dates: self.date.as_deref().map(parse_date_range).transpose()?,
            tenants: self.tenant.clone(),
            min_files: self.min_files,
            min_age_days: parse_age_days(&self.min_age)?,
            target_bytes,
            max_bytes: self.max_bytes.as_deref().map(parse_bytes).transpose()?,
        })
    }
}

pub async fn run(app: &App, args: CompactArgs) -> Result<u8> {
    if args.catalog {
        return merge_catalog(app, args.max_files).await.map(|()| 0);
    }
    let policy = args.policy()?;
    let max_cost = args.max_cost.as_deref().map(parse_usd).transpose()?;
    if !args.dry_run {
        refuse_a_later_now(app)?;
    }
    let prices = app.settings.prices()?;
    let snapshot = Snapshot::open(&app.context.store).await?;
    let planner = Planner::new(&policy, &snapshot.root().document.holds, &prices, app.context.now());
    let plan = compact::plan(&snapshot, planner).await?;
    if args.dry_run {
        return show(app, &snapshot, &plan).map(|()| 0);
    }
    check_budget(app, "merging", plan.totals.one_off_usd, max_cost)?;
    let report = compact::apply(&app.context, &plan).await?;
    if app.ui.json {
        app.ui.document(&report)?;
        return Ok(0);
    }
    if report.files_before == 0 {
        app.ui.say("nothing to merge");
    } else {
        app.ui.say(&format!(
            "{} became {}, {} (from {}): version {} committed",
            counted(report.files_before, "file"),
            HumanCount(report.files_after),
            HumanBytes(report.bytes_after),
            HumanBytes(report.bytes_before),
            report.version
        ));
    }
    if report.given_up > 0 {
        app.ui.say(&format!("{} changed meanwhile and stayed", counted(report.given_up, "file")));
    }
    for reason in [Reason::OverBudget, Reason::NextRun] {
        if let Some(waits) = plan.stays.get(&reason) {
            let (files, bytes) = (counted(waits.files, "file"), HumanBytes(waits.bytes));
            app.ui.say(&format!("{files} of {bytes} wait for the next run"));
        }
    }
    Ok(0)
}

async fn merge_catalog(app: &App, max_files: u64) -> Result<()> {
    let report = compact::merge_runs(&app.context, Bound { files: max_files, ..Bound::default() }).await?;
    if app.ui.json {
        return app.ui.document(&report);
    }
    match report.commits {
        0 => app.ui.say(&format!("nothing to merge: {}", counted(report.leaves_after, "leaf file"))),
        _ => app.ui.say(&format!(
            "{} of the catalog became {}: {} listed anew, version {} committed",
            counted(report.leaves_before, "leaf file"),
            HumanCount(report.leaves_after),
            counted(report.files, "data file"),
            report.version
        )),
    }
    Ok(())
}

/// The plan as one JSON document.
#[derive(Serialize)]
struct Document<'a> {
    version: u64,
    #[serde(flatten)]
    totals: Totals,
    groups: Vec<GroupLine>,
    stays: Vec<StayLine<'a>>,
}

#[derive(Serialize)]
struct GroupLine {
    cell: String,
    class: StorageClass,
    files: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct StayLine<'a> {
    #[serde(flatten)]
    reason: &'a Reason,
    #[serde(flatten)]
    sum: &'a Sum,
}

fn show(app: &App, snapshot: &Snapshot, plan: &Plan) -> Result<()> {
    let groups = plan.groups.iter().map(|group| GroupLine {
        cell: group.cell.to_string(),
        class: group.class,
        files: group.files.len() as u64,
        bytes: group.bytes(),
    });
    if app.ui.json {
        return app.ui.document(&Document {
            version: snapshot.version(),
            totals: plan.totals,
            groups: groups.collect(),
            stays: plan.stays.iter().map(|(reason, sum)| StayLine { reason, sum }).collect(),
        });
    }
    let mut text = String::new();
    for GroupLine { cell, class, files, bytes } in groups {
        let (files, bytes) = (counted(files, "file"), HumanBytes(bytes).to_string());
        text.push_str(&format!("{files:>18} {bytes:>12}  would become one in {class}: {cell}\n"));
    }
    for (reason, sum) in &plan.stays {
        let (files, bytes) = (counted(sum.files, "file"), HumanBytes(sum.bytes).to_string());
        text.push_str(&format!("{files:>18} {bytes:>12}  {reason}\n"));
    }
    app.ui.data(&text)?;
    let Totals { files_before, files_after, bytes, one_off_usd } = plan.totals;
    app.ui.say(&format!(
        "Plan: {} → {}, {} read and written once, {one_off_usd}",
        counted(files_before, "file"),
        HumanCount(files_after),
        HumanBytes(bytes)
    ));
    Ok(())
}
