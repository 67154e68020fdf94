//! Decides what has to be asked for, at which price, and when it is ready. Pure.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::model::{ArchivedFile, ObjectState, Prices, RestoreQuote, RestoreState, Retrieval, StorageClass, Usd};

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// What a question needs of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needed {
    pub version: u64,
    /// The question, as it can be asked again.
    pub sql: String,
    /// The archived files among those it reads.
    pub files: Vec<ArchivedFile>,
}

/// What prices and times are reckoned with.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    pub prices: &'a Prices,
    /// Whether what is read leaves the region and is paid for.
    pub pays_egress: bool,
    pub now: Timestamp,
    /// How many times faster than the clock the store's time passes: above 1 only where classes are simulated.
    pub speed: f64,
}

impl Terms<'_> {
    pub fn after_days(&self, from: Timestamp, days: u32) -> Timestamp {
        self.after(from, DAY * i32::try_from(days).unwrap_or(i32::MAX))
    }

    /// When a file asked for at `from` is readable at the latest.
    pub fn ready(&self, from: Timestamp, class: StorageClass, retrieval: Retrieval) -> Timestamp {
        let within = self.prices.ready_within(class, offered(class, retrieval));
        self.after(from, within.map_or(SignedDuration::ZERO, |(_, latest)| latest))
    }

    fn after(&self, from: Timestamp, time: SignedDuration) -> Timestamp {
        let seconds = time.as_secs_f64() / self.speed;
        let passed = SignedDuration::try_from_secs_f64(seconds).unwrap_or(SignedDuration::MAX);
        from.checked_add(passed).unwrap_or(Timestamp::MAX)
    }

    /// The days to ask for so that a window that begins now lasts to `until`.
    fn days_until(&self, until: Timestamp) -> u32 {
        let days = until.duration_since(self.now).as_secs_f64() * self.speed / DAY.as_secs_f64();
        // A whole number of days, but for the last bits, is no day more.
        (days - 1e-6).ceil().max(1.0) as u32
    }
}

/// The tier that a class is asked for by: where it does not have the wanted one, the next slower.
pub fn offered(class: StorageClass, retrieval: Retrieval) -> Retrieval {
    if retrieval.is_offered_for(class) { retrieval } else { retrieval.slower().unwrap_or(retrieval) }
}

/// Files and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    pub files: u64,
    pub bytes: u64,
}

impl Count {
    pub fn add(&mut self, file: &ArchivedFile) {
        self.files += 1;
        self.bytes += file.size_bytes;
    }

    pub fn of<'a>(files: impl IntoIterator<Item = &'a ArchivedFile>) -> Self {
        let mut count = Count::default();
        files.into_iter().for_each(|file| count.add(file));
        count
    }
}

/// What is asked of the store for one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// There is no copy.
    Request,
    /// It is on its way by a slower tier.
    Hasten,
    /// There is a copy, and its window ends too early.
    Extend,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub file: ArchivedFile,
    pub action: Action,
    pub retrieval: Retrieval,
    pub days: u32,
}

/// What one retrieval tier would do, cost and take.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Offer {
    pub retrieval: Retrieval,
    /// To be restored.
    pub restored: Count,
    /// Readable already, to be kept for longer.
    pub extended: Count,
    pub requests: u64,
    pub quote: RestoreQuote,
    /// The quote without what sending the bytes out of the region costs later.
    pub cost_usd: Usd,
    pub ready_by: Timestamp,
    /// To here, at least, all of it can be read.
    pub until: Timestamp,
    #[serde(skip)]
    pub orders: Vec<Order>,
}

/// What a question needs, what of it can be read already, and what the rest takes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RestorePlan {
    pub version: u64,
    pub sql: String,
    pub days: u32,
    pub simulated: bool,
    /// All archived files that the question needs.
    pub needed: Count,
    /// Readable now.
    pub readable: Count,
    /// On their way.
    pub running: Count,
    /// Those that every offer restores.
    pub archived: Count,
    /// Fastest first; empty where there is nothing to ask for.
    pub offers: Vec<Offer>,
    pub prices_date: Date,
    pub prices_region: String,
}

/// What was asked for earlier, by this job and by others.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// The tiers of files that jobs have asked for.
    pub retrievals: BTreeMap<String, Retrieval>,
    /// When this very job had requested everything, for at least as many days.
    pub complete: Option<Timestamp>,
}

/// Where the user draws the line.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Limits {
    pub by: Option<Timestamp>,
    pub max_cost: Option<Usd>,
}

/// What a plan has within the limits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Choice<'a> {
    /// The cheapest that fits.
    Fits(&'a Offer),
    /// Nothing does: the cheapest that is ready in time, and the soonest that is cheap enough, where there are such.
    Nothing { in_time: Option<&'a Offer>, in_budget: Option<&'a Offer> },
}

impl RestorePlan {
    /// `states` are those of all the files.
    pub fn new(
        needed: &Needed,
        states: &BTreeMap<String, ObjectState>,
        asked: &Asked,
        days: u32,
        is_simulated: bool,
        terms: &Terms,
    ) -> Self {
        let count = |is: fn(Standing) -> bool| {
            Count::of(needed.files.iter().filter(|file| is(standing(file, states, terms.now))))
        };
        let archived = count(|standing| standing == Standing::Archived);
        let offers = Retrieval::ALL.into_iter().filter_map(|retrieval| {
            let offer = offer(needed, states, asked, days, retrieval, terms);
            let has = |order: &Order| retrieval.is_offered_for(order.file.storage_class);
            offer.orders.iter().any(has).then_some(offer)
        });
        RestorePlan {
            version: needed.version,
            sql: needed.sql.clone(),
            days,
            simulated: is_simulated,
            needed: Count::of(&needed.files),
            readable: count(|standing| matches!(standing, Standing::Readable(_))),
            running: count(|standing| standing == Standing::Running),
            archived,
            offers: offers.collect(),
            prices_date: terms.prices.date,
            prices_region: terms.prices.region.clone(),
        }
    }

    pub fn offer(&self, retrieval: Retrieval) -> Option<&Offer> {
        self.offers.iter().find(|offer| offer.retrieval == retrieval)
    }

    /// The cheapest offer within the limits; of equally cheap ones the soonest.
    pub fn choose(&self, limits: Limits) -> Choice<'_> {
        let cheapest = |offers: &mut dyn Iterator<Item = &'_ Offer>| -> Option<Retrieval> {
            let by_price = |a: &&Offer, b: &&Offer| a.cost_usd.0.total_cmp(&b.cost_usd.0);
            offers.min_by(|a, b| by_price(a, b).then(a.ready_by.cmp(&b.ready_by))).map(|offer| offer.retrieval)
        };
        let in_time = |offer: &&Offer| limits.by.is_none_or(|by| offer.ready_by <= by);
        let in_budget = |offer: &&Offer| limits.max_cost.is_none_or(|max| offer.cost_usd <= max);
        let both = cheapest(&mut self.offers.iter().filter(|offer| in_time(offer) && in_budget(offer)));
        if let Some(offer) = both.and_then(|retrieval| self.offer(retrieval)) {
            return Choice::Fits(offer);
        }
        let cheapest_in_time = cheapest(&mut self.offers.iter().filter(in_time));
        Choice::Nothing {
            in_time: cheapest_in_time.and_then(|retrieval| self.offer(retrieval)),
            in_budget: self.offers.iter().filter(in_budget).min_by_key(|offer| offer.ready_by),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Archived,
    Running,
    /// To the end of its window; `None` where it needs no restore any more.
    Readable(Option<Timestamp>),
}

/// What can be done with a file now. One that the store does not have counts as archived: asking for it will say so.
pub fn standing(file: &ArchivedFile, states: &BTreeMap<String, ObjectState>, now: Timestamp) -> Standing {
    match states.get(&file.path) {
        Some(state) if !state.storage_class.is_archived() => Standing::Readable(None),
        Some(ObjectState { restore: RestoreState::Running, .. }) => Standing::Running,
        Some(ObjectState { restore: RestoreState::Restored { until }, .. }) if *until > now => {
            Standing::Readable(Some(*until))
        }
        _ => Standing::Archived,
    }
}

fn offer(
    needed: &Needed,
    states: &BTreeMap<String, ObjectState>,
    asked: &Asked,
    days: u32,
    retrieval: Retrieval,
    terms: &Terms,
) -> Offer {
    let standing = |file: &ArchivedFile| standing(file, states, terms.now);
    let waited_for = needed.files.iter().filter(|file| !matches!(standing(file), Standing::Readable(_)));
    let ready_by = waited_for.map(|file| terms.ready(terms.now, file.storage_class, retrieval)).max();
    let ready_by = ready_by.unwrap_or(terms.now);
    let has_archived = needed.files.iter().any(|file| standing(file) == Standing::Archived);
    // Where all of it was requested before, windows may have passed in part: that is no reason to ask again.
    let until = match asked.complete {
        Some(complete) if !has_archived => terms.after_days(complete, days),
        _ => terms.after_days(ready_by, days),
    };
    let mut orders = Vec::new();
    for file in &needed.files {
        let retrieval = offered(file.storage_class, retrieval);
        let order = |action, days| Order { file: file.clone(), action, retrieval, days };
        match standing(file) {
            Standing::Archived => orders.push(order(Action::Request, days)),
            Standing::Running => {
                let is_slower = asked.retrievals.get(&file.path).is_some_and(|asked| *asked > retrieval);
                orders.extend(is_slower.then(|| order(Action::Hasten, days)));
            }
            Standing::Readable(Some(end)) if end < until => {
                orders.push(order(Action::Extend, terms.days_until(until)));
            }
            Standing::Readable(_) => {}
        }
    }
    let quote = price(&orders, states, terms);
    let cost_usd = quote.data + quote.requests + quote.temporary_copy;
    let count =
        |extends: bool| Count::of(orders.iter().filter(|o| (o.action == Action::Extend) == extends).map(|o| &o.file));
    let (restored, extended, requests) = (count(false), count(true), orders.len() as u64);
    Offer { retrieval, restored, extended, requests, quote, cost_usd, ready_by, until, orders }
}

/// What orders cost. An extension is a request, and the copy for the days that are added.
pub fn price(orders: &[Order], states: &BTreeMap<String, ObjectState>, terms: &Terms) -> RestoreQuote {
    let mut sum = RestoreQuote::default();
    for Order { file, action, retrieval, days } in orders {
        let quote = |files, bytes, days, transfer| {
            let quote = terms.prices.restore(file.storage_class, *retrieval, files, bytes, days, transfer);
            quote.unwrap_or_default()
        };
        if *action == Action::Extend {
            let end = match standing(file, states, terms.now) {
                Standing::Readable(Some(end)) => end,
                _ => terms.now,
            };
            let added = days.saturating_sub(terms.days_until(end));
            sum.requests += quote(1, 0, 0, false).requests;
            sum.temporary_copy += quote(0, file.size_bytes, added.max(1), false).temporary_copy;
            sum.egress += quote(0, file.size_bytes, 0, terms.pays_egress).egress;
        } else {
            let quote = quote(1, file.size_bytes, *days, terms.pays_egress);
            sum.data += quote.data;
            sum.requests += quote.requests;
            sum.temporary_copy += quote.temporary_copy;
            sum.egress += quote.egress;
        }
    }
    sum
}

/// What is to be asked for so that the readable files among these stay so for `days` from now.
pub fn extensions(
    files: &[ArchivedFile],
    states: &BTreeMap<String, ObjectState>,
    days: u32,
    retrieval: Retrieval,
    terms: &Terms,
) -> Vec<Order> {
    /// A window that ends this much earlier than wanted is left alone: running the command twice costs once.
    const SLACK: SignedDuration = SignedDuration::from_hours(1);
    let wanted = terms.after_days(terms.now, days);
    let ends_early = |end: Timestamp| terms.after(end, SLACK) < wanted;
    let too_short = files
        .iter()
        .filter(|file| matches!(standing(file, states, terms.now), Standing::Readable(Some(end)) if ends_early(end)));
    let order = |file: &ArchivedFile| {
        let retrieval = offered(file.storage_class, retrieval);
        Order { file: file.clone(), action: Action::Extend, retrieval, days }
    };
    too_short.map(order).collect()
}
