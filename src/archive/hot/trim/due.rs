//! Which days of the hot tier may be looked at: pure, from the seals and the calendar.

use std::collections::BTreeSet;
use std::fmt;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, Serializer};

use super::KeptTenant;
use crate::model::Seals;

/// A day of which nothing is deleted.
#[derive(Debug, Serialize)]
pub struct KeptDay {
    pub date: Date,
    #[serde(serialize_with = "as_text")]
    pub why: Stays,
}

fn as_text<S: Serializer>(why: &Stays, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(why)
}

/// Why.
#[derive(Debug)]
pub enum Stays {
    NotSealed,
    /// After the date that was named.
    Later,
    /// Some of its events may never have been archived.
    Incomplete,
    /// Sealed by hand: nobody has read it.
    NeverRead,
    /// Its grace ends then.
    InGrace(Timestamp),
    /// A data file is not as it should be.
    Damaged(String),
    /// Of every tenant the hot tier has rows that the archive does not have so.
    Unverified(Vec<KeptTenant>),
}

impl Stays {
    /// Whether it should have gone: a person must look.
    pub fn is_trouble(&self) -> bool {
        matches!(self, Stays::Damaged(_) | Stays::Unverified(_))
    }
}

impl fmt::Display for Stays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stays::NotSealed => f.write_str("not sealed: only the hot tier has it"),
            Stays::Later => f.write_str("later than --until"),
            Stays::Incomplete => f.write_str("incomplete: some events may have expired before it was first read"),
            Stays::NeverRead => f.write_str("sealed by hand and never read from the hot tier"),
            Stays::InGrace(until) => write!(f, "read too recently: its grace ends at {until:.0}"),
            Stays::Damaged(problem) => write!(f, "a data file is not whole: {problem}"),
            Stays::Unverified(tenants) => {
                let first = tenants.first().map_or(String::new(), ToString::to_string);
                let more = if tenants.len() > 1 { format!(" (and {} more)", tenants.len() - 1) } else { String::new() };
                write!(f, "not verified: {first}{more}")
            }
        }
    }
}

impl fmt::Display for KeptTenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tenant {
            Some(tenant) => write!(f, "tenant {}: {}", tenant.escape_debug(), self.why),
            None => f.write_str(&self.why),
        }
    }
}

/// Of the days that are `there`, those to verify, and the others.
pub fn due(
    seals: &Seals,
    there: &BTreeSet<Date>,
    until: Option<Date>,
    grace: SignedDuration,
    now: Timestamp,
) -> (Vec<Date>, Vec<KeptDay>) {
    let (mut due, mut kept) = (Vec::new(), Vec::new());
    for &date in there {
        match stays(seals, date, until, grace, now) {
            None => due.push(date),
            Some(why) => kept.push(KeptDay { date, why }),
        }
    }
    (due, kept)
}

fn stays(seals: &Seals, date: Date, until: Option<Date>, grace: SignedDuration, now: Timestamp) -> Option<Stays> {
    if until.is_some_and(|until| date > until) {
        return Some(Stays::Later);
    }
    let Some(seal) = seals.get(date) else { return Some(Stays::NotSealed) };
    if seal.incomplete {
        return Some(Stays::Incomplete);
    }
    match &seal.read {
        Some(read) => {
            let ends = read.at.checked_add(grace).unwrap_or(Timestamp::MAX);
            (now < ends).then_some(Stays::InGrace(ends))
        }
        // What a trim that died has left.
        None if seal.trimmed => None,
        None => Some(Stays::NeverRead),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::HotRead;
    use jiff::civil::date;

    #[test]
    fn only_days_that_were_read_and_whose_grace_is_over_are_looked_at() {
        let mut seals = Seals::default();
        let read = |at: &str| Some(HotRead { at: at.parse().unwrap(), rows: 1, is_mirror: true });
        let day = |day| date(2026, 8, day);
        seals.set(day(1), false, read("2026-08-02T03:00:00Z"));
        seals.set(day(2), true, read("2026-08-02T03:00:00Z"));
        seals.set(day(3), false, None);
        seals.set(day(4), false, None);
        seals.trim(day(4));
        seals.set(day(5), false, read("2026-08-08T03:00:01Z"));
        seals.set(day(9), false, read("2026-08-02T03:00:00Z"));
        let there: BTreeSet<Date> = [1, 2, 3, 4, 5, 6, 9].map(day).into();
        let (due, kept) = due(
            &seals,
            &there,
            Some(day(8)),
            SignedDuration::from_hours(7 * 24),
            "2026-08-15T03:00:00Z".parse().unwrap(),
        );
        assert_eq!(due, [day(1), day(4)]);
        let kept: Vec<String> = kept.iter().map(|kept| format!("{} {}", kept.date.day(), kept.why)).collect();
        assert_eq!(
            kept,
            [
                "2 incomplete: some events may have expired before it was first read",
                "3 sealed by hand and never read from the hot tier",
                "5 read too recently: its grace ends at 2026-08-15T03:00:01Z",
                "6 not sealed: only the hot tier has it",
                "9 later than --until",
            ]
        );
    }
}
