//! Archived files in the way of an answer: which can be read now, what a restore of the others takes, and what an answer
//! without them lacks.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::estimate::Tariff;
use super::ladder::{count, size};
use crate::context::Context as Ctx;
use crate::error::{Error, Kind, Result};
use crate::model::{ObjectState, RestoreState, Retrieval, StorageClass, Usd};
use crate::scan::{ArchivedShare, PlannedFiles};

/// A window that ends sooner is too short to begin reading in. Where classes are simulated faster than the clock, so
/// much shorter.
const MARGIN: SignedDuration = SignedDuration::from_hours(1);

/// What a message names before it only counts.
const NAMED: usize = 5;

/// For how long a restore is offered.
const OFFERED_DAYS: u32 = 7;

/// What keeps an archived file from being read now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    NotRestored,
    Running,
    /// It is readable, but not for long enough.
    EndsSoon(Timestamp),
}

/// An archived file that an answer needs and that cannot be read now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    pub share: ArchivedShare,
    pub obstacle: Obstacle,
}

/// What an answer lacks, of one month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// `2019-03`.
    pub month: String,
    pub files: u64,
    /// Of the files that hold the rows.
    pub bytes: u64,
    pub rows: u64,
    pub tenants: Vec<String>,
}

/// What the store said of archived files: each is asked for once in a statement.
#[derive(Default)]
pub struct Looked(HashMap<String, Option<Obstacle>>);

impl Looked {
    /// Those of the plan's archived files that cannot be read now. `speed` is that of simulated classes.
    pub async fn unreadable(&mut self, ctx: &Ctx, planned: &PlannedFiles, speed: f64) -> Result<Vec<Unreadable>> {
        let unknown: Vec<&str> =
            planned.archived.keys().map(String::as_str).filter(|path| !self.0.contains_key(*path)).collect();
        let mut states = ctx.store.states(unknown.iter().copied()).await?;
        let (now, margin) = (ctx.now(), MARGIN.mul_f64(1.0 / speed));
        for path in unknown {
            let Some(state) = states.remove(path) else {
                let message = format!("{} does not exist", ctx.store.address(path));
                return Err(Error::failed(message).code("missing-object"));
            };
            self.0.insert(path.to_owned(), obstacle(&state, now, margin));
        }
        let unreadable = planned.archived.values().filter_map(|share| {
            let obstacle = (*self.0.get(&share.path)?)?;
            Some(Unreadable { share: share.clone(), obstacle })
        });
        Ok(unreadable.collect())
    }
}

/// A listing keeps saying GLACIER of an object that is restored: its restore state decides.
fn obstacle(state: &ObjectState, now: Timestamp, margin: SignedDuration) -> Option<Obstacle> {
    match state.restore {
        _ if !state.storage_class.is_archived() => None,
        RestoreState::Running => Some(Obstacle::Running),
        RestoreState::Restored { until } if until <= now => Some(Obstacle::NotRestored),
        RestoreState::Restored { until } if until.duration_since(now) < margin => Some(Obstacle::EndsSoon(until)),
        RestoreState::Restored { .. } => None,
        RestoreState::None => Some(Obstacle::NotRestored),
    }
}

/// Price and time of a restore by one tier.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Offer {
    pub retrieval: Retrieval,
    pub cost_usd: Usd,
    /// In seconds, at the latest.
    pub ready_within_seconds: u64,
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Offer { retrieval, cost_usd, ready_within_seconds } = *self;
        write!(f, "{retrieval:9} {cost_usd}, ready within {}", hours(ready_within_seconds))
    }
}

/// What a restore of these files costs and when it is ready, for each tier that all their classes have.
pub fn offers(tariff: &Tariff, unreadable: &[Unreadable]) -> Vec<Offer> {
    let mut classes: BTreeMap<StorageClass, (u64, u64)> = BTreeMap::new();
    for Unreadable { share, .. } in unreadable {
        let (files, bytes) = classes.entry(share.storage_class).or_default();
        *files += 1;
        *bytes += share.size_bytes;
    }
    let offer = |retrieval| {
        let mut offer = Offer { retrieval, cost_usd: Usd::default(), ready_within_seconds: 0 };
        for (&class, &(files, bytes)) in &classes {
            let quote = tariff.prices.restore(class, retrieval, files, bytes, OFFERED_DAYS, false)?;
            let (_, latest) = tariff.prices.ready_within(class, retrieval)?;
            offer.cost_usd += quote.total();
            offer.ready_within_seconds = offer.ready_within_seconds.max(latest.unsigned_abs().as_secs());
        }
        Some(offer)
    };
    Retrieval::ALL.into_iter().filter_map(offer).collect()
}

/// A question as it was asked: what a command needs to ask it again.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub sql: &'a str,
    /// The version, where an older one was meant.
    pub as_of: Option<u64>,
}

/// The refusal to answer without these files.
pub fn refused(
    ctx: &Ctx,
    tariff: &Tariff,
    planned: &PlannedFiles,
    unreadable: &[Unreadable],
    asked: Asked<'_>,
) -> Error {
    let bytes = unreadable.iter().map(|file| file.share.size_bytes).sum();
    let message = format!(
        "{} of the {} files this query needs are archived ({})",
        count(unreadable.len() as u64),
        count(planned.files),
        size(bytes)
    );
    let error = Error::new(Kind::RestoreNeeded, message).with_source(Error::failed(named(unreadable)));
    let archive = archive_option(ctx);
    let status = format!("tier restore status {archive}");
    let count_of = |is: fn(&Obstacle) -> bool| unreadable.iter().filter(|file| is(&file.obstacle)).count() as u64;
    let running = count_of(|obstacle| *obstacle == Obstacle::Running);
    let ending = count_of(|obstacle| matches!(obstacle, Obstacle::EndsSoon(_)));
    if running == unreadable.len() as u64 {
        return error.hint("they are being restored; see when they are ready, then ask again").command(status);
    }
    let simulated = if ctx.store.classes().is_simulated() { "simulated; " } else { "" };
    let mut hint = format!(
        "a restore for {OFFERED_DAYS} days would cost ({simulated}prices of {}):{}",
        tariff.prices.date,
        offers(tariff, unreadable).iter().map(|offer| format!("\n  {offer}")).collect::<String>()
    );
    if running > 0 {
        hint += &format!("\n  {} of them are being restored already: see `tier restore status`", count(running));
    }
    if ending > 0 {
        hint += &format!(
            "\n  {} of them are restored, but for less than it may take to read them: see `tier restore extend`",
            count(ending)
        );
    }
    let error = error.hint(hint).command(start_command(ctx, tariff, unreadable, asked));
    if running > 0 { error.command(status) } else { error }
}

fn hours(seconds: u64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    if seconds < HOUR { format!("{} min", seconds.div_ceil(MINUTE)) } else { format!("{} h", seconds.div_ceil(HOUR)) }
}

/// The first of the files, and how many more.
fn named(unreadable: &[Unreadable]) -> String {
    let line = |file: &Unreadable| {
        let state = match file.obstacle {
            Obstacle::NotRestored => String::new(),
            Obstacle::Running => ", being restored".to_owned(),
            Obstacle::EndsSoon(until) => format!(", restored only until {until:.0}"),
        };
        format!("{} ({}, {}{state})", file.share.path, file.share.storage_class, size(file.share.size_bytes))
    };
    let mut lines: Vec<String> = unreadable.iter().take(NAMED).map(line).collect();
    if unreadable.len() > NAMED {
        lines.push(format!("and {} more", count((unreadable.len() - NAMED) as u64)));
    }
    lines.join("\n")
}

/// The command that makes these files readable, complete, for whoever may run it.
pub fn start_command(ctx: &Ctx, tariff: &Tariff, unreadable: &[Unreadable], asked: Asked<'_>) -> String {
    let offers = offers(tariff, unreadable);
    let standard = offers.iter().find(|offer| offer.retrieval == Retrieval::Standard);
    let cost = standard.map_or(Usd::default(), |offer| offer.cost_usd);
    format!(
        "tier restore start --query {}{} --retrieval {} --days {OFFERED_DAYS} --max-cost {} {}",
        quoted(asked.sql.trim().trim_end_matches(';')),
        asked.as_of.map(|version| format!(" --as-of {version}")).unwrap_or_default(),
        Retrieval::Standard,
        cost.round_up(),
        archive_option(ctx)
    )
}

fn archive_option(ctx: &Ctx) -> String {
    format!("--archive {}", quoted(&ctx.store.location().to_string()))
}

/// One word for a POSIX shell, whatever is in it.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// What an answer without these files lacks, by month.
pub fn missing(unreadable: &[Unreadable]) -> Vec<Missing> {
    let mut months: BTreeMap<String, (Missing, BTreeSet<String>)> = BTreeMap::new();
    for Unreadable { share, .. } in unreadable {
        let month = share.dates.min.strftime("%Y-%m").to_string();
        let (missing, tenants) = months
            .entry(month.clone())
            .or_insert_with(|| (Missing { month, files: 0, bytes: 0, rows: 0, tenants: Vec::new() }, BTreeSet::new()));
        missing.files += 1;
        missing.bytes += share.size_bytes;
        missing.rows += share.rows;
        tenants.extend(share.tenants.iter().cloned());
    }
    months
        .into_values()
        .map(|(missing, tenants)| Missing { tenants: tenants.into_iter().collect(), ..missing })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_can_be_pasted_whatever_is_in_them() {
        assert_eq!(quoted("s3://events/prod"), "s3://events/prod");
        assert_eq!(quoted("SELECT 'a'"), r"'SELECT '\''a'\'''");
        assert_eq!(quoted("a b; rm $HOME `x`"), "'a b; rm $HOME `x`'");
        assert_eq!(quoted(""), "''");
    }
}
