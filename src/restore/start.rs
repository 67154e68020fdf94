//! Looks, writes the job, asks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use serde::Serialize;

use super::job::{Job, find_job, jobs};
use super::plan::{
    Action, Asked, Count, Needed, Offer, Order, RestorePlan, Standing, Terms, extensions, price, standing,
};
use crate::context::Context as Ctx;
use crate::error::{Error, Result};
use crate::model::{ObjectState, RestoreQuote, Retrieval, Usd};
use crate::progress::Unit;
use crate::store::{Requests, RestoreOutcome};

/// Requests under way at once; the store paces them besides.
const REQUESTS_IN_FLIGHT: usize = 32;

/// After so many requests it is looked whether the job has been cancelled, or the run is to end.
const BATCH: usize = 256;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StartReport {
    pub job: String,
    /// Whether the job was there before.
    pub is_known: bool,
    pub version: u64,
    pub sql: String,
    pub simulated: bool,
    pub files: Count,
    pub requested: Count,
    /// Were running by a slower tier.
    pub hastened: Count,
    pub extended: Count,
    /// Were on their way already.
    pub running: Count,
    /// Can be read now, for long enough.
    pub readable: Count,
    /// By the slower tier that had to be asked, where the wanted one had no capacity.
    pub fell_back: BTreeMap<Retrieval, u64>,
    pub retrieval: Retrieval,
    pub days: u32,
    /// Of what was asked for, by the price list; sending the bytes out of the region comes on top.
    pub quote: RestoreQuote,
    pub cost_usd: Usd,
    pub ready_by: Timestamp,
    pub until: Timestamp,
    /// The job was cancelled meanwhile, and the rest was not asked for.
    pub cancelled: bool,
    pub spent: Requests,
}

/// Asks the store how the files are, and what other jobs have asked for.
pub async fn plan(ctx: &Ctx, needed: &Needed, days: u32, terms: &Terms<'_>) -> Result<RestorePlan> {
    let states = existing_states(ctx, needed).await?;
    let mut asked = Asked::default();
    let own = Job::id_of(needed);
    for job in jobs(&ctx.store).await? {
        for file in &job.files {
            let known = asked.retrievals.entry(file.path.clone()).or_insert(job.retrieval);
            *known = (*known).min(job.retrieval);
        }
        if job.id == own && job.days >= days && job.cancelled.is_none() {
            asked.complete = job.complete;
        }
    }
    Ok(RestorePlan::new(needed, &states, &asked, days, ctx.store.classes().is_simulated(), terms))
}

async fn existing_states(ctx: &Ctx, needed: &Needed) -> Result<BTreeMap<String, ObjectState>> {
    let states = ctx.store.states(needed.files.iter().map(|file| file.path.as_str())).await?;
    match needed.files.iter().find(|file| !states.contains_key(&file.path)) {
        None => Ok(states),
        Some(file) => Err(Error::failed(format!("{} does not exist", ctx.store.address(&file.path)))
            .code("missing-object")
            .hint("the catalog names it; tier status shows the newest version")),
    }
}

/// Writes the job and requests what the offer says; `offer` is `None` where there is nothing to ask for. Safe to repeat.
pub async fn start(
    ctx: &Ctx,
    needed: &Needed,
    plan: &RestorePlan,
    offer: Option<&Offer>,
    retrieval: Retrieval,
    terms: &Terms<'_>,
) -> Result<StartReport> {
    let before = ctx.store.requests();
    let until = offer.map_or_else(|| terms.after_days(terms.now, plan.days), |offer| offer.until);
    let orders = offer.map_or(&[][..], |offer| &offer.orders);
    let (mut job, is_known) = open_job(ctx, needed, retrieval, plan.days, until, !orders.is_empty()).await?;
    let done = ask_all(ctx, &job.id, orders).await?;
    let is_cancelled = done.len() < orders.len();
    let mut fell_back = BTreeMap::new();
    for answer in done.iter().filter(|answer| answer.retrieval != answer.order.retrieval) {
        *fell_back.entry(answer.retrieval).or_insert(0) += 1;
    }
    if let Some(slowest) = fell_back.keys().max() {
        job.retrieval = job.retrieval.max(*slowest);
    }
    if !is_cancelled && (job.complete.is_none() || !fell_back.is_empty()) {
        job.complete = Some(terms.now);
        job.write(&ctx.store).await?;
    }
    let asked_for: Vec<Order> = done.iter().filter_map(Answer::billed).collect();
    let quote = price(&asked_for, &BTreeMap::new(), terms);
    let count = |action| Count::of(done.iter().filter(|a| a.order.action == action).map(|a| &a.order.file));
    let ready = done.iter().map(|answer| terms.ready(terms.now, answer.order.file.storage_class, answer.retrieval));
    let offered = offer.map_or(terms.now, |offer| offer.ready_by);
    Ok(StartReport {
        job: job.id,
        is_known,
        version: job.version,
        sql: job.sql,
        simulated: plan.simulated,
        files: plan.needed,
        requested: count(Action::Request),
        hastened: count(Action::Hasten),
        extended: count(Action::Extend),
        running: plan.running,
        readable: plan.readable,
        fell_back,
        retrieval,
        days: job.days,
        quote,
        cost_usd: quote.data + quote.requests + quote.temporary_copy,
        ready_by: ready.filter(|_| plan.archived.files > 0).chain([offered]).max().unwrap_or(offered),
        until: job.until,
        cancelled: is_cancelled,
        spent: ctx.store.requests().since(&before),
    })
}

/// The job of these files, durable: a new one, or the one there is, brought up to what is wanted now.
async fn open_job(
    ctx: &Ctx,
    needed: &Needed,
    retrieval: Retrieval,
    days: u32,
    until: Timestamp,
    has_orders: bool,
) -> Result<(Job, bool)> {
    let fresh = Job::new(needed, retrieval, days, ctx.now(), until);
    let known = match find_job(&ctx.store, &fresh.id).await? {
        Some(known) => known,
        None if fresh.create(&ctx.store).await? => return Ok((fresh, false)),
        // Another run was quicker.
        None => match find_job(&ctx.store, &fresh.id).await? {
            Some(known) => known,
            None => return Err(Error::failed(format!("the job {} came and went", fresh.id))),
        },
    };
    let mut job = known.clone();
    job.cancelled = None;
    job.days = known.days.max(days);
    if has_orders {
        job.retrieval = retrieval;
        job.asked = ctx.now();
        job.complete = None;
        job.until = until;
    }
    if job != known {
        job.write(&ctx.store).await?;
    }
    Ok((job, true))
}

/// What came of an order.
struct Answer<'a> {
    order: &'a Order,
    /// The tier that was asked in the end.
    retrieval: Retrieval,
    outcome: RestoreOutcome,
}

impl Answer<'_> {
    /// The order as it will be billed; `None` where the store did nothing.
    fn billed(&self) -> Option<Order> {
        let action = match self.outcome {
            RestoreOutcome::Started => self.order.action,
            RestoreOutcome::Extended => Action::Extend,
            _ => return None,
        };
        Some(Order { action, retrieval: self.retrieval, ..self.order.clone() })
    }
}

/// Carries out orders, side by side. Fewer answers than orders mean that the job was cancelled meanwhile.
async fn ask_all<'a>(ctx: &Ctx, job: &str, orders: &'a [Order]) -> Result<Vec<Answer<'a>>> {
    let task = ctx.progress.task("restore", Unit::Files, Some(orders.len() as u64));
    // Once Expedited has no room, nobody need ask for it again in this run.
    let is_full = AtomicBool::new(false);
    let mut answers = Vec::with_capacity(orders.len());
    for (number, batch) in orders.chunks(BATCH).enumerate() {
        if let Some(kind) = ctx.stop.requested() {
            let message = format!("stopped on request; {} of {} files were asked for", answers.len(), orders.len());
            return Err(Error::new(kind, message).hint("run it again: it asks for the rest"));
        }
        if number > 0 && find_job(&ctx.store, job).await?.is_some_and(|job| job.cancelled.is_some()) {
            break;
        }
        let asks = futures::stream::iter(batch).map(|order| ask(ctx, order, &is_full)).buffered(REQUESTS_IN_FLIGHT);
        let asked: Vec<Answer> = asks.inspect_ok(|_| task.advance(1)).try_collect().await?;
        answers.extend(asked);
    }
    Ok(answers)
}

/// Where a tier has no capacity now, the next slower one is asked.
async fn ask<'a>(ctx: &Ctx, order: &'a Order, is_full: &AtomicBool) -> Result<Answer<'a>> {
    let mut retrieval = order.retrieval;
    loop {
        let slower = retrieval.slower();
        if let Some(slower) = slower.filter(|_| retrieval == Retrieval::Expedited && is_full.load(Ordering::Relaxed)) {
            retrieval = slower;
        }
        let outcome = ctx.store.classes().restore(&order.file.path, order.days, retrieval).await?;
        match (outcome, retrieval.slower()) {
            (RestoreOutcome::NoCapacity, Some(slower)) => {
                is_full.store(true, Ordering::Relaxed);
                retrieval = slower;
            }
            (RestoreOutcome::NoCapacity, None) => {
                return Err(Error::new(crate::error::Kind::TryAgain, "the store has no capacity to restore now")
                    .hint("run it again later: it asks for the rest"));
            }
            (outcome, _) => return Ok(Answer { order, retrieval, outcome }),
        }
    }
}

/// What was kept readable for longer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExtendReport {
    pub job: String,
    pub days: u32,
    pub simulated: bool,
    pub extended: Count,
    /// Readable for long enough as they are.
    pub long_enough: Count,
    /// On their way: their window begins when they are ready.
    pub running: Count,
    /// Have no copy; `start` asks for them.
    pub archived: Count,
    pub quote: RestoreQuote,
    pub cost_usd: Usd,
    pub until: Timestamp,
    #[serde(skip)]
    orders: Vec<Order>,
}

/// What keeping a job's files readable for `days` from now takes.
pub async fn plan_extend(ctx: &Ctx, job: &Job, days: u32, terms: &Terms<'_>) -> Result<ExtendReport> {
    let states = ctx.store.states(job.files.iter().map(|file| file.path.as_str())).await?;
    let orders = extensions(&job.files, &states, days, job.retrieval, terms);
    let mut report = ExtendReport {
        job: job.id.clone(),
        days,
        simulated: ctx.store.classes().is_simulated(),
        extended: Count::of(orders.iter().map(|order| &order.file)),
        long_enough: Count::default(),
        running: Count::default(),
        archived: Count::default(),
        quote: price(&orders, &states, terms),
        cost_usd: Usd::default(),
        until: terms.after_days(terms.now, days),
        orders,
    };
    report.cost_usd = report.quote.requests + report.quote.temporary_copy;
    for file in &job.files {
        match standing(file, &states, terms.now) {
            Standing::Archived => report.archived.add(file),
            Standing::Running => report.running.add(file),
            Standing::Readable(_) => report.long_enough.add(file),
        }
    }
    report.long_enough.files -= report.extended.files;
    report.long_enough.bytes -= report.extended.bytes;
    Ok(report)
}

/// Does what [`plan_extend`] found. Safe to repeat.
pub async fn extend(ctx: &Ctx, job: &Job, plan: &ExtendReport) -> Result<()> {
    ask_all(ctx, &job.id, &plan.orders).await?;
    if plan.orders.is_empty() || plan.until <= job.until {
        return Ok(());
    }
    let mut job = job.clone();
    job.until = plan.until;
    job.write(&ctx.store).await
}

/// Marks the job: nothing more is asked for. What is under way no store can stop. Safe to repeat.
pub async fn cancel(ctx: &Ctx, job: &Job) -> Result<Job> {
    let mut job = job.clone();
    if job.cancelled.is_none() {
        job.cancelled = Some(ctx.now());
        job.write(&ctx.store).await?;
    }
    Ok(job)
}
