//! Which leaves are merged with which: a pure function of the root.
//!
//! The files of every commit lie in leaves of their own, a sorted *run*. A question about one tenant reads about one leaf
//! of every run whose dates it asks for, so runs merge like those of an LSM tree, within a *period* of dates: what is not
//! a closed month, a closed month, a closed quarter, a sealed year. Small runs merge with small ones, and a large one is rewritten only when
//! what joins it is worth it: the runs left of a period grow by a factor, and each file is rewritten only so often.

use std::collections::BTreeMap;
use std::fmt;

use jiff::ToSpan;
use jiff::civil::{Date, date};

use crate::catalog::{FILES_PER_LEAF, LeafRef};

/// A run joins smaller ones when together they have at least this part of its files.
const RATIO: u64 = 4;

/// Runs of dates that still grow are merged when there are so many; those of closed periods at once.
const OPEN_RUNS: usize = 8;

/// Late events are common for this long after the end of a month, of a quarter, of a year.
const MONTH_CLOSES_AFTER_DAYS: i64 = 3;
const QUARTER_CLOSES_AFTER_DAYS: i64 = 14;
const YEAR_CLOSES_AFTER_DAYS: i64 = 31;

/// What the merge holds in memory: of each run one leaf.
const MAX_OPEN_FILES: u64 = 16 * FILES_PER_LEAF as u64;

/// Dates whose files are merged with each other; the order is that of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    Year(i16),
    /// Its first day.
    Quarter(Date),
    /// Its first day.
    Month(Date),
    Open,
}

impl Period {
    pub fn of(day: Date, today: Date) -> Self {
        let is_over = |last: Date, days: i64| last.checked_add(days.days()).is_ok_and(|closes| closes <= today);
        if is_over(day.last_of_year(), YEAR_CLOSES_AFTER_DAYS) {
            return Self::Year(day.year());
        }
        let first = date(day.year(), (day.month() - 1) / 3 * 3 + 1, 1);
        let last = first.saturating_add(2.months()).last_of_month();
        if is_over(last, QUARTER_CLOSES_AFTER_DAYS) {
            return Self::Quarter(first);
        }
        match is_over(day.last_of_month(), MONTH_CLOSES_AFTER_DAYS) {
            true => Self::Month(day.first_of_month()),
            false => Self::Open,
        }
    }

    fn min_runs(self) -> usize {
        if self == Self::Open { OPEN_RUNS } else { 2 }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Year(year) => write!(f, "{year}"),
            Self::Quarter(first) => write!(f, "{}-Q{}", first.year(), (first.month() + 2) / 3),
            Self::Month(month) => write!(f, "{}", month.strftime("%Y-%m")),
            Self::Open => f.write_str("the open month"),
        }
    }
}

/// Leaves that one commit added, in their order: sorted, and apart from each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    pub leaves: Vec<LeafRef>,
}

impl Run {
    pub fn files(&self) -> u64 {
        self.leaves.iter().map(|leaf| leaf.files).sum()
    }

    /// Whether its leaves are worth their requests as they are.
    fn is_full(&self) -> bool {
        2 * self.files() >= (self.leaves.len() * FILES_PER_LEAF) as u64
    }

    fn open_files(&self) -> u64 {
        self.leaves.iter().map(|leaf| leaf.files).max().unwrap_or(0)
    }

    /// Whether the other's files come after all of these. A merge that stopped in the middle of a tenant touches what it
    /// left: that counts as apart.
    fn is_before(&self, other: &Run) -> bool {
        let (Some(last), Some(first)) = (self.leaves.last(), other.leaves.first()) else { return true };
        is_before(last, first, last.is_merged())
    }

    fn overlaps(&self, other: &Run) -> bool {
        !self.is_before(other) && !other.is_before(self)
    }
}

/// Whether the files of `first` come after those of `last`, as far as their ranges tell; `touches`: what is said of two
/// that share a value which their ranges do not divide.
fn is_before(last: &LeafRef, first: &LeafRef, touches: bool) -> bool {
    if last.tenants.max != first.tenants.min {
        return last.tenants.max < first.tenants.min;
    }
    if last.tenants.single().is_none() || first.tenants.single().is_none() {
        return touches;
    }
    if last.event_types.max != first.event_types.min {
        return last.event_types.max < first.event_types.min;
    }
    if last.event_types.single().is_none() || first.event_types.single().is_none() {
        return touches;
    }
    last.dates.max < first.dates.min || touches && last.dates.max == first.dates.min
}

/// Runs that become one.
#[derive(Debug, Clone, PartialEq)]
pub struct RunMerge {
    pub period: Period,
    pub runs: Vec<Run>,
}

impl RunMerge {
    pub fn files(&self) -> u64 {
        self.runs.iter().map(Run::files).sum()
    }
}

/// What is worth merging, the most runs first.
pub fn plan(leaves: &[LeafRef], today: Date) -> Vec<RunMerge> {
    let mut periods: BTreeMap<Period, Vec<Run>> = BTreeMap::new();
    for leaf in leaves {
        // One that also lists older dates is sorted out when its newest ones are merged.
        let runs = periods.entry(Period::of(leaf.dates.max, today)).or_default();
        // A merge adds a sorted list for each period: those of two that have become one period are two runs.
        let follows = |run: &&mut Run| {
            let last = run.leaves.last().expect("a run has leaves");
            last.added_version == leaf.added_version && is_before(last, leaf, true)
        };
        match runs.last_mut().filter(|run| follows(run)) {
            Some(run) => run.leaves.push(leaf.clone()),
            None => runs.push(Run { leaves: vec![leaf.clone()] }),
        }
    }
    let merge = |(period, runs): (Period, Vec<Run>)| {
        let runs = select(period, runs);
        (runs.len() >= 2).then_some(RunMerge { period, runs })
    };
    let mut merges: Vec<RunMerge> = periods.into_iter().filter_map(merge).collect();
    merges.sort_by_key(|merge| std::cmp::Reverse(merge.runs.len()));
    merges
}

/// The runs that are merged now, of all of a period.
fn select(period: Period, runs: Vec<Run>) -> Vec<Run> {
    let mut chains = chains(runs);
    let files = |chain: &Vec<Run>| chain.iter().map(Run::files).sum::<u64>();
    chains.sort_by_key(|chain| files(chain));
    let (mut count, mut sum) = (0, 0);
    for (index, chain) in chains.iter().enumerate() {
        if index == 0 || files(chain) <= RATIO * sum {
            count = index + 1;
        }
        sum += files(chain);
    }
    if count < period.min_runs() {
        return Vec::new();
    }
    chains.truncate(count);
    let mut open = 0;
    let mut chosen: Vec<Run> = Vec::new();
    for (index, run) in chains.iter().enumerate().flat_map(|(index, chain)| chain.iter().map(move |run| (index, run))) {
        let others = chains.iter().enumerate().filter(|(other, _)| *other != index).flat_map(|(_, chain)| chain);
        // What is full and lies apart from all others is merged already.
        if run.is_full() && !others.clone().any(|other| run.overlaps(other)) {
            continue;
        }
        open += run.open_files();
        if open > MAX_OPEN_FILES && chosen.len() >= 2 {
            break;
        }
        chosen.push(run.clone());
    }
    chosen
}

/// Full runs that lie apart from each other one after the other: what a question reads one leaf of. Others are alone.
fn chains(mut runs: Vec<Run>) -> Vec<Vec<Run>> {
    let first = |run: &Run| {
        let leaf = run.leaves.first().expect("a run has leaves");
        (leaf.tenants.min.clone(), leaf.event_types.min.clone(), leaf.dates.min)
    };
    runs.sort_by_key(|run| (first(run), run.leaves.last().map(|leaf| leaf.tenants.max.clone())));
    let mut chains: Vec<Vec<Run>> = Vec::new();
    for run in runs {
        let follows = |chain: &&mut Vec<Run>| {
            chain.last().is_some_and(|last| last.is_full() && run.is_full() && last.is_before(&run))
        };
        match chains.iter_mut().find(follows) {
            Some(chain) => chain.push(run),
            None => chains.push(vec![run]),
        }
    }
    chains
}
