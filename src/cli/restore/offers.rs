//! `tier restore plan` and `tier restore start`.

use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

use super::{PlanArgs, StartArgs, mark, terms};
use crate::cli::App;
use crate::cli::question::archived_files;
use crate::cli::spending::{check_consent, consent};
use crate::cli::words::{archive_option, counted, quoted, when};
use crate::error::{Error, Kind, Result};
use crate::model::Retrieval;
use crate::restore::{self, Choice, Count, Limits, Offer, RestorePlan, StartReport};

/// Of the table of offers.
const COLUMNS: usize = 10;

pub async fn plan(app: &App, args: PlanArgs) -> Result<u8> {
    #[derive(Serialize)]
    struct Document<'a> {
        #[serde(flatten)]
        plan: &'a RestorePlan,
        chosen: Option<Retrieval>,
        command: Option<String>,
    }
    let limits = args.limits.parse()?;
    let needed = archived_files(app, &args.question).await?;
    let prices = app.settings.prices()?;
    let plan = restore::plan(&app.context, &needed, args.window.days, &terms(app, &prices)).await?;
    let offer = pick(app, &plan, limits, None)?;
    let command = offer.map(|offer| start_command(app, &plan, offer));
    if app.ui.json {
        let chosen = offer.map(|offer| offer.retrieval);
        return app.ui.document(&Document { plan: &plan, chosen, command }).map(|()| 0);
    }
    app.ui.data(&show(app, &plan, command.as_deref()))?;
    Ok(0)
}

pub async fn start(app: &App, args: StartArgs) -> Result<u8> {
    let limits = args.limits.parse()?;
    check_consent(app, limits.max_cost)?;
    let needed = archived_files(app, &args.question).await?;
    if needed.files.is_empty() {
        return nothing_archived(app, needed.version);
    }
    let prices = app.settings.prices()?;
    let terms = terms(app, &prices);
    let plan = restore::plan(&app.context, &needed, args.window.days, &terms).await?;
    let wanted = if limits.by.is_some() { None } else { Some(args.retrieval.unwrap_or(Retrieval::Standard)) };
    let offer = pick(app, &plan, limits, wanted)?;
    if let Some(offer) = offer {
        let what = format!("restoring {}{}", count(offered(offer)), mark(plan.simulated));
        consent(app, &what, offer.cost_usd, limits.max_cost)?;
    }
    let retrieval = offer.map(|offer| offer.retrieval).or(wanted).unwrap_or(Retrieval::Standard);
    let report = restore::start(&app.context, &needed, &plan, offer, retrieval, &terms).await?;
    if app.ui.json {
        return app.ui.document(&report).map(|()| 0);
    }
    say_started(app, &plan, &report);
    Ok(0)
}

fn nothing_archived(app: &App, version: u64) -> Result<u8> {
    #[derive(Serialize)]
    struct Nothing {
        job: Option<String>,
        version: u64,
        files: Count,
    }
    if app.ui.json {
        return app.ui.document(&Nothing { job: None, version, files: Count::default() }).map(|()| 0);
    }
    app.ui.say("nothing to restore: none of the files is archived");
    Ok(0)
}

/// The offer of a wanted tier, or the cheapest within the limits; `None` where there is nothing to ask for.
fn pick<'a>(app: &App, plan: &'a RestorePlan, limits: Limits, wanted: Option<Retrieval>) -> Result<Option<&'a Offer>> {
    if plan.offers.is_empty() {
        return Ok(None);
    }
    let unlimited = limits == Limits::default();
    if let Some(wanted) = wanted.or(unlimited.then_some(Retrieval::Standard)) {
        return plan.offer(wanted).map(Some).ok_or_else(|| {
            Error::usage(format!("none of these files can be restored by {wanted}{}", mark(plan.simulated)))
                .hint("DEEP_ARCHIVE has no expedited retrieval: ask for standard or bulk")
        });
    }
    match plan.choose(limits) {
        Choice::Fits(offer) => Ok(Some(offer)),
        Choice::Nothing { in_time, in_budget } => Err(no_choice(app, plan, limits, in_time, in_budget)),
    }
}

fn no_choice(
    app: &App,
    plan: &RestorePlan,
    limits: Limits,
    in_time: Option<&Offer>,
    in_budget: Option<&Offer>,
) -> Error {
    let now = app.context.now();
    let within = [limits.by.map(|by| format!("by {}", when(by, now))), limits.max_cost.map(|max| format!("for {max}"))];
    let within = within.into_iter().flatten().collect::<Vec<_>>().join(" and ");
    let nearest = |offer: &Offer| {
        format!("{} costs {} and is ready by {}", offer.retrieval, offer.cost_usd, when(offer.ready_by, now))
    };
    let soonest = plan.offers.iter().min_by_key(|offer| offer.ready_by);
    let (soonest_word, cheapest_word) = (
        if limits.max_cost.is_some() { "the soonest within the budget" } else { "the soonest" },
        if limits.by.is_some() { "the cheapest in time" } else { "the cheapest" },
    );
    let hints: Vec<String> = match (in_time, in_budget) {
        (None, None) => soonest.map(|offer| format!("the soonest: {}", nearest(offer))).into_iter().collect(),
        (in_time, in_budget) => [
            in_time.map(|offer| format!("{cheapest_word}: {}", nearest(offer))),
            in_budget.map(|offer| format!("{soonest_word}: {}", nearest(offer))),
        ]
        .into_iter()
        .flatten()
        .collect(),
    };
    let message = format!("no retrieval tier restores {} {within}{}", count(plan.archived), mark(plan.simulated));
    let mut error = Error::new(Kind::OverBudget, message).hint(hints.join("; "));
    for offer in [in_time, in_budget.filter(|offer| in_time != Some(*offer))].into_iter().flatten() {
        error = error.command(start_command(app, plan, offer));
    }
    error
}

fn start_command(app: &App, plan: &RestorePlan, offer: &Offer) -> String {
    format!(
        "tier restore start --as-of {} --query {} --retrieval {} --days {} --max-cost {} {}",
        plan.version,
        quoted(&plan.sql),
        offer.retrieval,
        plan.days,
        offer.cost_usd.round_up(),
        archive_option(app)
    )
}

fn offered(offer: &Offer) -> Count {
    Count { files: offer.restored.files + offer.extended.files, bytes: offer.restored.bytes + offer.extended.bytes }
}

pub fn count(count: Count) -> String {
    format!("{}, {}", counted(count.files, "file"), HumanBytes(count.bytes))
}

fn show(app: &App, plan: &RestorePlan, command: Option<&str>) -> String {
    let mark = mark(plan.simulated);
    let mut text = format!("archived files needed at version {}: {}{mark}\n", plan.version, count(plan.needed));
    for (what, amount) in [("readable now", plan.readable), ("on their way", plan.running)] {
        if amount.files > 0 {
            text.push_str(&format!("{what}: {}{mark}\n", count(amount)));
        }
    }
    let Some(command) = command else {
        text.push_str(&match plan.needed.files {
            0 => "nothing to restore: none of the files is archived\n".to_owned(),
            _ => format!("nothing to ask for: see tier restore status{mark}\n"),
        });
        return text;
    };
    let rows = rows(app, plan);
    let widths: [usize; COLUMNS] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default());
    text.push('\n');
    for (number, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(&format!("{}{}\n", line.trim_end(), if number == 0 { "" } else { mark }));
    }
    text.push_str(&format!(
        "\nprices of {}, {}; the transfer is paid when the bytes are read\n\nTo do exactly this:\n    {command}\n",
        plan.prices_date, plan.prices_region
    ));
    text
}

fn rows(app: &App, plan: &RestorePlan) -> Vec<[String; COLUMNS]> {
    let heading =
        ["retrieval", "files", "bytes", "requests", "data", "request fees", "copy", "cost", "transfer", "ready by"];
    let mut rows = vec![heading.map(str::to_owned)];
    rows.extend(plan.offers.iter().map(|offer| {
        let quote = &offer.quote;
        [
            offer.retrieval.to_string(),
            HumanCount(offered(offer).files).to_string(),
            HumanBytes(offered(offer).bytes).to_string(),
            HumanCount(offer.requests).to_string(),
            quote.data.to_string(),
            quote.requests.to_string(),
            quote.temporary_copy.to_string(),
            offer.cost_usd.to_string(),
            quote.egress.to_string(),
            when(offer.ready_by, app.context.now()),
        ]
    }));
    rows
}

pub fn say_started(app: &App, plan: &RestorePlan, report: &StartReport) {
    let (mark, now, say) = (mark(report.simulated), app.context.now(), |line: String| app.ui.say(&line));
    let known = if report.is_known { ", which was there before" } else { "" };
    say(format!("restore job {}{known}: {} of version {}{mark}", report.job, count(report.files), report.version));
    for (what, amount) in [
        ("asked for", report.requested),
        ("asked for faster", report.hastened),
        ("kept for longer", report.extended),
        ("on their way already", report.running),
        ("readable already", report.readable),
    ] {
        if amount.files > 0 {
            say(format!("  {what}: {}{mark}", count(amount)));
        }
    }
    for (retrieval, files) in &report.fell_back {
        app.ui.warn(&format!(
            "{} had no capacity: {} files were asked for by {retrieval}{mark}",
            report.retrieval,
            HumanCount(*files)
        ));
    }
    if report.cancelled {
        app.ui.warn("the job was cancelled meanwhile: the rest was not asked for");
    }
    let asked = report.requested.files + report.hastened.files + report.extended.files;
    if asked == 0 {
        say(format!("nothing more was asked for{mark}"));
    } else {
        let egress = match report.quote.egress.0 > 0.0 {
            true => format!("; reading it out of the region {} more", report.quote.egress),
            false => String::new(),
        };
        say(format!(
            "{}: {} for {} days, prices of {}{egress}{mark}",
            report.retrieval, report.cost_usd, report.days, plan.prices_date
        ));
    }
    if report.ready_by > now {
        say(format!("ready by {}{mark}", when(report.ready_by, now)));
    }
    say(format!("see how far it is: tier restore status {} {}", report.job, archive_option(app)));
}
