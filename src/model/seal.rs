//! Which dates the archive answers for: from its seal on, a date is no longer asked of the hot tier.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// Sealed dates, ascending and apart from each other; neighbours of which the same is known are one entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seals(Vec<Seal>);

/// Sealed dates of which the same is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    pub first: Date,
    pub last: Date,
    /// Events may have expired in the hot tier before it was first read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
    /// The last read of the hot tier, while it may still have events of the date; absent of dates sealed by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<HotRead>,
    /// Rows of the date were deleted from the hot tier, because the archive has them; it stays so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trimmed: bool,
}

/// How a date was last read from the hot tier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HotRead {
    pub at: Timestamp,
    /// That the hot tier had, as counted by it too.
    pub rows: u64,
    /// Whether archive and hot tier had the same events of the date then, and no commit has touched it since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_mirror: bool,
}

impl Seals {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Seal> {
        self.0.iter()
    }

    /// What is known of a sealed date.
    pub fn get(&self, date: Date) -> Option<&Seal> {
        let after = self.0.partition_point(|seal| seal.last < date);
        self.0.get(after).filter(|seal| seal.first <= date)
    }

    pub fn contains(&self, date: Date) -> bool {
        self.get(date).is_some()
    }

    /// The newest sealed date.
    pub fn last(&self) -> Option<Date> {
        self.0.last().map(|seal| seal.last)
    }

    /// Seals a date, or replaces what is known of it.
    pub fn set(&mut self, date: Date, incomplete: bool, read: Option<HotRead>) {
        let trimmed = self.get(date).is_some_and(|seal| seal.trimmed);
        self.put(Seal { first: date, last: date, incomplete, read, trimmed });
    }

    /// Of a sealed date the hot tier no longer has all that it had.
    pub fn trim(&mut self, date: Date) {
        if let Some(seal) = self.get(date) {
            let incomplete = seal.incomplete;
            self.put(Seal { first: date, last: date, incomplete, read: None, trimmed: true });
        }
    }

    /// Replaces what is known of one date.
    fn put(&mut self, seal: Seal) {
        self.remove(seal.first);
        let at = self.0.partition_point(|other| other.last < seal.first);
        self.0.insert(at, seal);
        self.join();
    }

    /// The hot tier answers for this date again.
    pub fn remove(&mut self, date: Date) {
        let Some(at) = self.0.iter().position(|seal| seal.first <= date && date <= seal.last) else { return };
        let whole = self.0.remove(at);
        let before = date.yesterday().ok().filter(|last| whole.first <= *last);
        let after = date.tomorrow().ok().filter(|first| *first <= whole.last);
        let parts = [before.map(|last| Seal { last, ..whole.clone() }), after.map(|first| Seal { first, ..whole })];
        self.0.splice(at..at, parts.into_iter().flatten());
    }

    /// Changes what is known of the reads of the dates that `touches` names; `None` forgets it.
    pub fn map_reads(&mut self, mut touches: impl FnMut(&Seal) -> bool, change: impl Fn(HotRead) -> Option<HotRead>) {
        for seal in &mut self.0 {
            if seal.read.is_some() && touches(seal) {
                seal.read = seal.read.take().and_then(&change);
            }
        }
        self.join();
    }

    fn join(&mut self) {
        self.0.dedup_by(|next, seal| {
            let known = |seal: &Seal| (seal.incomplete, seal.read.clone(), seal.trimmed);
            let same = known(seal) == known(next);
            let joined = same && seal.last.tomorrow().is_ok_and(|date| date == next.first);
            if joined {
                seal.last = next.last;
            }
            joined
        });
    }
}

/// Dates without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DateRange {
    pub first: Date,
    pub last: Date,
}

impl DateRange {
    /// Ascending dates, neighbours joined.
    pub fn of(dates: impl IntoIterator<Item = Date>) -> Vec<DateRange> {
        Self::joined(dates.into_iter().map(|date| DateRange { first: date, last: date }))
    }

    /// Ascending ranges, neighbours joined.
    pub fn joined(ranges: impl IntoIterator<Item = DateRange>) -> Vec<DateRange> {
        let mut joined: Vec<DateRange> = Vec::new();
        for range in ranges {
            match joined.last_mut().filter(|before| before.last.tomorrow().is_ok_and(|next| next == range.first)) {
                Some(before) => before.last = range.last,
                None => joined.push(range),
            }
        }
        joined
    }
}

impl fmt::Display for DateRange {
    /// `2026-08-01 to 2026-08-03`, or the one date.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => self.first.fmt(f),
            false => write!(f, "{} to {}", self.first, self.last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    fn seals(days: &[i8]) -> Seals {
        let mut seals = Seals::default();
        days.iter().for_each(|&day| seals.set(date(2026, 8, day), false, None));
        seals
    }

    fn ranges(seals: &Seals) -> Vec<(i8, i8)> {
        seals.iter().map(|seal| (seal.first.day(), seal.last.day())).collect()
    }

    #[test]
    fn neighbours_become_one_entry_in_whatever_order_they_come() {
        assert_eq!(ranges(&seals(&[3, 1, 2, 7, 6])), [(1, 3), (6, 7)]);
        assert_eq!(ranges(&seals(&[1, 1, 1])), [(1, 1)]);
    }

    #[test]
    fn removing_a_date_splits_its_entry() {
        let mut all = seals(&[1, 2, 3, 4, 5]);
        all.remove(date(2026, 8, 3));
        assert_eq!(ranges(&all), [(1, 2), (4, 5)]);
        all.remove(date(2026, 8, 1));
        all.remove(date(2026, 8, 9));
        assert_eq!(ranges(&all), [(2, 2), (4, 5)]);
        assert!(!all.contains(date(2026, 8, 3)) && all.contains(date(2026, 8, 4)));
    }

    #[test]
    fn a_trimmed_date_stays_trimmed_when_it_is_read_again() {
        let mut all = seals(&[1, 2, 3]);
        all.trim(date(2026, 8, 2));
        all.trim(date(2026, 8, 9));
        assert_eq!(ranges(&all), [(1, 1), (2, 2), (3, 3)]);
        all.set(date(2026, 8, 2), false, Some(HotRead { at: Timestamp::UNIX_EPOCH, rows: 1, is_mirror: false }));
        assert!(all.get(date(2026, 8, 2)).is_some_and(|seal| seal.trimmed && seal.read.is_some()));
    }

    #[test]
    fn dates_of_which_something_else_is_known_stay_apart_until_it_is_forgotten() {
        let mut all = seals(&[1, 3]);
        let read = HotRead { at: Timestamp::UNIX_EPOCH, rows: 9, is_mirror: true };
        all.set(date(2026, 8, 2), false, Some(read));
        assert_eq!(ranges(&all), [(1, 1), (2, 2), (3, 3)]);
        all.map_reads(|_| true, |_| None);
        assert_eq!(ranges(&all), [(1, 3)]);
    }
}
