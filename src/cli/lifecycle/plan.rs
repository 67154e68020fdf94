//! `tier lifecycle plan`: pure, and priced.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

use super::{Planned, planned, simulated};
use crate::catalog::Snapshot;
use crate::cli::App;
use crate::cli::ui;
use crate::cli::words::counted;
use crate::error::{Context, Result};
use crate::lifecycle::{self, Action, ActionKind, Decision, Gate, Plan, PlanHeader, Sum, Totals};
use crate::model::{StorageClass, Usd};

/// A plan that is not empty, where the caller asked to be told.
const SOMETHING_TO_DO: u8 = 7;

/// Lines printed together.
const PRINT_BYTES: usize = 64 << 10;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tier lifecycle plan
  tier lifecycle plan --files | grep 'legal hold'
  tier lifecycle plan --out nov.plan
  tier lifecycle plan --now 2028-01-01

Exit codes: 0, or 7 with --exit-code when there is something to do.")]
pub struct PlanArgs {
    /// Write the plan to a file, for `tier lifecycle apply FILE`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Show every file with its reason, month by month
    #[arg(long)]
    files: bool,

    /// Exit with 7 when there is something to do
    #[arg(long)]
    exit_code: bool,
}

pub async fn run(app: &App, args: PlanArgs) -> Result<u8> {
    let snapshot = Snapshot::open(&app.context.store).await?;
    let planned = planned(app, snapshot, app.context.now()).await?;
    if let Some(path) = &args.out {
        let mut json = Vec::new();
        ui::write_document(&mut json, &planned.header)?;
        std::fs::write(path, json).with_context(|| format!("write {}", path.display()))?;
    }
    if app.ui.json {
        let mut files = args.files.then(Vec::new);
        if let Some(files) = &mut files {
            each_decision(&planned, |decision| {
                files.push(decision);
                Ok(())
            })
            .await?;
        }
        app.ui.document(&Document::of(app, &planned, files))?;
    } else if args.files {
        let mut text = String::new();
        each_decision(&planned, |Decision { path, size_bytes, reason }| {
            text.push_str(&format!("{path}  {size_bytes}  {reason}\n"));
            if text.len() < PRINT_BYTES { Ok(()) } else { app.ui.data(&std::mem::take(&mut text)) }
        })
        .await?;
        app.ui.data(&text)?;
    } else {
        show(app, &planned)?;
    }
    if let Some(path) = &args.out {
        let cost = planned.plan.totals.one_off_usd.round_up();
        app.ui.say(&format!("to do exactly this: tier lifecycle apply {} --max-cost {cost}", path.display()));
    } else if !planned.plan.actions.is_empty() {
        app.ui.say("to do it: tier lifecycle apply; with --out FILE, apply does exactly what was shown");
    }
    Ok(if args.exit_code && !planned.plan.actions.is_empty() { SOMETHING_TO_DO } else { 0 })
}

async fn each_decision(planned: &Planned, mut look: impl FnMut(Decision) -> Result<()>) -> Result<()> {
    let (snapshot, plan) = (&planned.snapshot, &planned.plan);
    lifecycle::decisions(planned.planning(), snapshot, plan, |_| true, |decision, _| look(decision)).await
}

/// The table of actions and the reasons of what stays, on stdout; the sums on stderr.
pub fn show(app: &App, planned: &Planned) -> Result<()> {
    let plan = &planned.plan;
    let mut text = String::new();
    if !plan.actions.is_empty() {
        text.push_str(&format!(
            "{:<8} {:<24} {:>17} {:>11} {:>12} {:>14}  {}\n",
            "month", "what", "objects", "bytes", "once", "saves/month", "pays back"
        ));
    }
    for action in &plan.actions {
        text.push_str(&line(action));
    }
    let stays = stays(plan);
    if !stays.is_empty() {
        text.push_str(if plan.actions.is_empty() { "" } else { "\n" });
        for (reason, Sum { files, size_bytes }) in stays {
            let (files, bytes) = (counted(files, "file"), HumanBytes(size_bytes).to_string());
            text.push_str(&format!("{files:>18} {bytes:>12}  {reason}\n"));
        }
    }
    app.ui.data(&text)?;
    say_totals(app, planned);
    Ok(())
}

fn line(action: &Action) -> String {
    let objects = format!("{} → {}", HumanCount(action.files), HumanCount(action.objects_after()));
    format!(
        "{:<8} {:<24} {:>17} {:>11} {:>12} {:>14}  {}\n",
        action.month.strftime("%Y-%m").to_string(),
        action.what(),
        objects,
        HumanBytes(action.bytes).to_string(),
        action.gate.one_off.to_string(),
        action.gate.monthly_saving().to_string(),
        pay_back(&action.gate)
    )
}

fn pay_back(gate: &Gate) -> String {
    match gate.pays_back_month() {
        Some(month) if gate.months_left > 0 => format!("month {month} of {}", gate.months_left),
        _ => "—".to_owned(),
    }
}

/// How much stays, by the words for the reason.
fn stays(plan: &Plan) -> BTreeMap<String, Sum> {
    plan.stays.iter().map(|(reason, sum)| (reason.to_string(), *sum)).collect()
}

pub fn say_totals(app: &App, planned: &Planned) {
    let Totals { objects_before, objects_after, expires, stays, one_off_usd, monthly_saving_usd, .. } =
        planned.plan.totals;
    if planned.plan.actions.is_empty() {
        app.ui.say(&format!("nothing to do: {} in place", counted(stays, "file")));
        return;
    }
    let after = Gate { one_off: one_off_usd, monthly_before: monthly_saving_usd, ..Gate::default() }.pays_back_month();
    app.ui.say(&format!(
        "Plan{}: {} → {}, {} stay, {} expire · once {one_off_usd} · saves {monthly_saving_usd}/month{}",
        simulated(app),
        counted(objects_before, "object"),
        HumanCount(objects_after),
        HumanCount(stays),
        HumanCount(expires),
        after.map_or(String::new(), |month| format!(" · pays back after month {month}"))
    ));
    if planned.plan.actions.iter().any(|action| matches!(action.kind, ActionKind::Bundle { .. })) {
        app.ui.say("months that become bundles leave events/: engines that read the folders no longer see them");
    }
    app.ui.say(&format!("prices of {} in {}", planned.prices.date, planned.prices.region));
}

/// The plan as one JSON document.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    header: &'a PlanHeader,
    simulated: bool,
    actions: Vec<ActionLine>,
    stays: Vec<StayLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<Vec<Decision>>,
}

#[derive(Serialize)]
struct ActionLine {
    month: String,
    what: String,
    class: Option<StorageClass>,
    rules: Vec<String>,
    objects_before: u64,
    objects_after: u64,
    size_bytes: u64,
    one_off_usd: Usd,
    early_delete_usd: Usd,
    monthly_before_usd: Usd,
    monthly_after_usd: Usd,
    pays_back_month: Option<u32>,
    months_left: u32,
}

#[derive(Serialize)]
struct StayLine {
    reason: String,
    files: u64,
    size_bytes: u64,
}

impl<'a> Document<'a> {
    fn of(app: &App, planned: &'a Planned, files: Option<Vec<Decision>>) -> Self {
        let action = |action: &Action| ActionLine {
            month: action.month.strftime("%Y-%m").to_string(),
            what: action.what(),
            class: match action.kind {
                ActionKind::Bundle { class, .. } | ActionKind::InPlace { class } => Some(class),
                ActionKind::Expire => None,
            },
            rules: action.rules.iter().cloned().collect(),
            objects_before: action.files,
            objects_after: action.objects_after(),
            size_bytes: action.bytes,
            one_off_usd: action.gate.one_off,
            early_delete_usd: action.gate.early_delete,
            monthly_before_usd: action.gate.monthly_before,
            monthly_after_usd: action.gate.monthly_after,
            pays_back_month: action.gate.pays_back_month(),
            months_left: action.gate.months_left,
        };
        let stays = stays(&planned.plan).into_iter();
        Document {
            header: &planned.header,
            simulated: app.context.store.classes().is_simulated(),
            actions: planned.plan.actions.iter().map(action).collect(),
            stays: stays.map(|(reason, Sum { files, size_bytes })| StayLine { reason, files, size_bytes }).collect(),
            files,
        }
    }
}
