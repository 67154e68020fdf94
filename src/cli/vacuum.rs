//! `tier vacuum`: deletes what killed runs left behind, and what was replaced or expired.

use std::time::Duration;

use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use serde::Deserialize;

use super::App;
use super::parse::{parse_age_days, parse_duration};
use super::words::counted;
use crate::catalog::{Snapshot, Version};
use crate::error::{Error, Result};
use crate::publish::delta;
use crate::restore;
use crate::vacuum::{self, KeptVersion, Need, Pin, Retention, VacuumPlan, VacuumReport};

const DEFAULT_GRACE: Duration = Duration::from_secs(7 * SECONDS_PER_DAY);
const SECONDS_PER_DAY: u64 = 86_400;

/// Lines that are printed at once.
const LINES_AT_ONCE: usize = 1000;

/// The `[vacuum]` section of `tier.toml`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VacuumSection {
    pub grace: Option<String>,
    pub keep: Option<String>,
    pub keep_versions: Option<u64>,
    pub expire_after: Option<String>,
    /// Versions that stay whatever they keep.
    #[serde(default)]
    pub pins: Vec<u64>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tier vacuum --dry-run
  tier vacuum --yes
  tier vacuum --yes --keep 90d              # --as-of goes back 90 days, whatever that keeps
  tier vacuum --yes --expire-after 2y       # roots and leaves of older versions go too

What versions name stays while they are the newest, or were within --grace and --keep. An older version stays as long as
that keeps no replaced or expired file; else it goes with them: --as-of can no longer ask it, tier history still shows it.
Past their time versions also stay that `pins` below `[vacuum]` in tier.toml names, that a restore job or the Delta table
shows, that a nightly job at work may read, and the last one with a file under a legal hold: the report says which and why.")]
pub struct VacuumArgs {
    /// Print what would be deleted
    #[arg(long)]
    dry_run: bool,

    /// Leave files alone that are younger than this, or were part of the archive since: a run or a query may need them
    /// [default: `[vacuum] grace`, else 7d]
    #[arg(long, value_name = "AGE")]
    grace: Option<String>,

    /// Keep what versions need that were the newest within this time
    /// [default: `[vacuum] keep`, else as --grace]
    #[arg(long, value_name = "AGE")]
    keep: Option<String>,

    /// Keep what so many of the newest versions need
    /// [default: `[vacuum] keep_versions`, else 1]
    #[arg(long, value_name = "N")]
    keep_versions: Option<u64>,

    /// Let older versions go even when that deletes no data file
    /// [default: `[vacuum] expire_after`, else never]
    #[arg(long, value_name = "AGE")]
    expire_after: Option<String>,
}

impl VacuumArgs {
    /// What was typed over `tier.toml` over the defaults, but for pins.
    fn retention(&self, file: &VacuumSection) -> Result<Retention> {
        let pick = |typed: &Option<String>, file: &Option<String>, name: &str| match (typed, file) {
            (Some(text), _) => parse_age(text, &format!("--{}", name.replace('_', "-"))).map(Some),
            (None, Some(text)) => parse_age(text, &format!("[vacuum] {name}")).map(Some),
            (None, None) => Ok(None),
        };
        let grace = pick(&self.grace, &file.grace, "grace")?.unwrap_or(DEFAULT_GRACE);
        let keep = pick(&self.keep, &file.keep, "keep")?.unwrap_or(grace);
        let expire_after = pick(&self.expire_after, &file.expire_after, "expire_after")?;
        let keep_versions = self.keep_versions.or(file.keep_versions).unwrap_or(1);
        if keep_versions == 0 {
            return Err(Error::usage("keep_versions is at least 1: the newest version always stays"));
        }
        if expire_after.is_some_and(|after| after < keep.max(grace)) {
            return Err(Error::usage("expire_after is shorter than what keep and grace promise")
                .hint("make it at least as long, or leave it out: then a version goes only when that deletes data"));
        }
        Ok(Retention { grace, keep, keep_versions, expire_after, pins: Vec::new() })
    }
}

/// `36h` or `1y`; an error names the place.
fn parse_age(text: &str, place: &str) -> Result<Duration> {
    let days = || parse_age_days(text).map(|days| Duration::from_secs(u64::from(days) * SECONDS_PER_DAY));
    parse_duration(text)
        .or_else(|_| days())
        .map_err(|_| Error::usage(format!("{place}: `{text}` is not an age")).hint("write 36h, 7d, 6mo or 1y"))
}

/// Versions that somebody outside the catalog needs.
async fn pins(app: &App, settings: &VacuumSection) -> Result<Vec<Pin>> {
    let (ctx, now) = (&app.context, app.context.now());
    let mut pins = Vec::new();
    for &version in &settings.pins {
        let why = match Snapshot::look(&ctx.store, version).await? {
            Some(Version::Retained(_)) => {
                pins.push(Pin { version, by: "[vacuum] pins".to_owned() });
                continue;
            }
            Some(Version::Expired(_)) => "has expired already",
            None => "was never made",
        };
        return Err(Error::usage(format!("`[vacuum] pins` names version {version}, which {why}"))
            .hint("take it off the list; tier history shows the versions there are"));
    }
    let jobs = restore::jobs(&ctx.store).await?.into_iter();
    let alive = jobs.filter(|job| job.cancelled.is_none() && (job.complete.is_none() || job.until > now));
    pins.extend(alive.map(|job| Pin { version: job.version, by: format!("restore job {}", job.id) }));
    let shown = delta::shown_version(ctx).await?;
    pins.extend(
        shown.map(|version| Pin { version, by: "the Delta table; tier publish delta brings it on".to_owned() }),
    );
    Ok(pins)
}

pub async fn run(app: &App, args: VacuumArgs) -> Result<u8> {
    let settings = &app.settings.file.vacuum;
    let mut retention = args.retention(settings)?;
    retention.pins = pins(app, settings).await?;
    let plan = vacuum::plan(&app.context, &retention).await?;
    if args.dry_run {
        return show(app, &plan).map(|()| 0);
    }
    let (count, bytes) = doomed(&plan);
    let question = format!("Delete {count} files that no version needs ({})?", HumanBytes(bytes));
    if count > 0 && !app.ui.confirm(&question, app.settings.yes)? {
        return Err(Error::failed("nothing was deleted"));
    }
    let report = vacuum::apply(&app.context, &plan).await?;
    if app.ui.json {
        return app.ui.document(&report).map(|()| 0);
    }
    say_done(app, &plan, &report);
    Ok(0)
}

/// Files and bytes.
fn doomed(plan: &VacuumPlan) -> (u64, u64) {
    let temporary_bytes: u64 = plan.temporary.iter().map(|orphan| orphan.bytes).sum();
    (plan.orphans.sum.objects + plan.temporary.len() as u64, plan.orphans.sum.bytes + temporary_bytes)
}

fn show(app: &App, plan: &VacuumPlan) -> Result<()> {
    if app.ui.json {
        return app.ui.document(plan);
    }
    let mut all = plan.orphans.iter().chain(plan.temporary.iter().cloned().map(Ok)).peekable();
    while all.peek().is_some() {
        let line = |orphan: vacuum::Orphan| format!("would delete {} ({})\n", orphan.path, HumanBytes(orphan.bytes));
        let lines: String = all.by_ref().take(LINES_AT_ONCE).map(|orphan| orphan.map(line)).collect::<Result<_>>()?;
        app.ui.data(&lines)?;
    }
    if !plan.expires.is_empty() {
        app.ui.say(&format!("{} old versions could no longer be asked", HumanCount(plan.expires.len() as u64)));
    }
    say_kept(app, &plan.kept);
    say_live(app, plan);
    let (count, bytes) = doomed(plan);
    let (count, bytes) = (HumanCount(count), HumanBytes(bytes));
    app.ui.say(&format!("Plan: delete {count} files, {bytes}; {} are too young", plan.young));
    Ok(())
}

fn say_done(app: &App, plan: &VacuumPlan, report: &VacuumReport) {
    match report.deleted {
        0 => app.ui.say(&format!("nothing to delete; {} files are too young", plan.young)),
        _ => app.ui.say(&format!("deleted {} files, {}", HumanCount(report.deleted), HumanBytes(report.bytes))),
    }
    if report.expired_versions > 0 {
        app.ui.say(&format!("{} old versions can no longer be asked", HumanCount(report.expired_versions)));
    }
    say_kept(app, &report.kept);
    say_live(app, plan);
}

fn say_kept(app: &App, kept: &[KeptVersion]) {
    for KeptVersion { version, time, need } in kept {
        let why = match need {
            Need::Pin { by } => format!("pinned by {by}"),
            Need::LegalHold { hold } => format!("it has files under the legal hold {hold}"),
            Need::LiveRun { host, pid } => format!("the nightly job at work, process {pid} on {host}, may need it"),
        };
        app.ui.say(&format!("version {version} of {time:.0} stays: {why}"));
    }
}

fn say_live(app: &App, plan: &VacuumPlan) {
    if let Some(run) = plan.live_run.as_ref().filter(|_| plan.waiting > 0) {
        let files = counted(plan.waiting, "file");
        app.ui.say(&format!("{files} may be of the nightly job at work, process {} on {}", run.pid, run.host));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retention(file: &str) -> Result<Retention> {
        let args = VacuumArgs { dry_run: false, grace: None, keep: None, keep_versions: None, expire_after: None };
        args.retention(&toml::from_str(file).unwrap())
    }

    #[test]
    fn bad_settings_name_their_place() {
        let day = 86_400;
        let standard = retention("").unwrap();
        assert_eq!((standard.grace.as_secs(), standard.keep.as_secs()), (7 * day, 7 * day));
        assert_eq!((standard.keep_versions, standard.expire_after), (1, None));
        let set = retention("grace = \"36h\"\nkeep = \"6mo\"\nkeep_versions = 30\nexpire_after = \"1y\"").unwrap();
        assert_eq!((set.keep.as_secs(), set.expire_after.unwrap().as_secs()), (180 * day, 365 * day));
        for (file, message) in [
            ("keep = \"soon\"", "[vacuum] keep: `soon` is not an age"),
            ("keep_versions = 0", "keep_versions is at least 1: the newest version always stays"),
            ("expire_after = \"6d\"", "expire_after is shorter than what keep and grace promise"),
        ] {
            assert_eq!(retention(file).unwrap_err().headline(), message);
        }
    }
}
