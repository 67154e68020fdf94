//! Which days of the hot tier a run reads: pure, from the calendar, the seals, and the days that are there.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::{SignedDuration, ToSpan};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::hot::HotSettings;
use crate::model::Seals;

/// Late events come mostly soon: so many of the newest sealed days are read again every night.
const NIGHTLY_DAYS: usize = 3;

/// A second run of the same night reads no day again.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_hours(20);

/// Every day is read once more so many days before its first events expire.
const LAST_READ_DAYS: i64 = 10;

/// Which days were asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Days {
    /// Every closed day that is not sealed, and what should be read again.
    #[default]
    All,
    /// As all, up to this date.
    Until(Date),
    /// This one, sealed or not.
    Only(Date),
}

/// Why a day is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// It is not sealed yet.
    New,
    /// For late events.
    Late,
    /// For the last time before it expires.
    Expiring,
    Asked,
}

/// A day to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Due {
    pub date: Date,
    pub why: Why,
    /// Its first events may have expired before anybody read them.
    pub incomplete: bool,
}

/// The days to read at `now`: new ones first, from the oldest on, then those to read again. `there` are the days of
/// which the hot tier has events.
pub fn due(hot: &HotSettings, seals: &Seals, there: &BTreeSet<Date>, days: Days, now: Timestamp) -> Result<Vec<Due>> {
    let last_closed = hot.last_closed(now);
    let last = match days {
        Days::Only(date) => {
            check_closed(hot, date, last_closed)?;
            let incomplete = is_incomplete(hot, seals, date, now);
            return Ok(vec![Due { date, why: Why::Asked, incomplete }]);
        }
        Days::Until(date) => {
            check_closed(hot, date, last_closed)?;
            date
        }
        Days::All => last_closed,
    };
    let after_seals = seals.last().and_then(|date| date.tomorrow().ok());
    let first = there.first().copied().into_iter().chain(after_seals).min();
    let mut all: Vec<Due> = first
        .into_iter()
        .flat_map(|first| first.series(1.day()).take_while(|date| *date <= last))
        .filter(|date| !seals.contains(*date))
        .map(|date| Due { date, why: Why::New, incomplete: is_incomplete(hot, seals, date, now) })
        .collect();
    let was_read = |date: &&Date| seals.get(**date).is_some_and(|seal| seal.read.is_some());
    let newest: BTreeSet<&Date> = there.iter().rev().filter(was_read).take(NIGHTLY_DAYS).collect();
    let again = there.iter().filter(|date| **date <= last).filter_map(|date| {
        let why = again(hot, seals, *date, newest.contains(date), now)?;
        Some(Due { date: *date, why, incomplete: is_incomplete(hot, seals, *date, now) })
    });
    all.extend(again);
    Ok(all)
}

/// Why a sealed day should be read again; the newest are every night.
fn again(hot: &HotSettings, seals: &Seals, date: Date, is_newest: bool, now: Timestamp) -> Option<Why> {
    let seal = seals.get(date)?;
    let Some(read) = &seal.read else {
        // What came after the rest was deleted, or what a killed trim has left.
        return seal.trimmed.then_some(Why::Late);
    };
    let last_read_at = hot.expires_from(date).checked_sub((LAST_READ_DAYS * 24).hours()).ok()?;
    if is_newest && now.duration_since(read.at) >= AGAIN_AFTER {
        return Some(Why::Late);
    }
    (read.at < last_read_at && last_read_at <= now && now < hot.expired_at(date)).then_some(Why::Expiring)
}

/// What is incomplete once stays so; a day that is read for the first time is when its events expire already.
fn is_incomplete(hot: &HotSettings, seals: &Seals, date: Date, now: Timestamp) -> bool {
    match seals.get(date) {
        Some(seal) => seal.incomplete,
        None => hot.expires_from(date) <= now,
    }
}

fn check_closed(hot: &HotSettings, date: Date, last_closed: Date) -> Result<()> {
    if date <= last_closed {
        return Ok(());
    }
    Err(Error::usage(format!("{date} is not closed: events of it may still come"))
        .code("open-day")
        .hint(format!("it closes at {:.0}; the newest closed day is {last_closed}", hot.closes_at(date))))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::hot::{ExportsSettings, Place};
    use crate::model::{HotRead, Mapping};
    use jiff::civil::date;

    fn hot() -> HotSettings {
        HotSettings {
            place: Place::Exports(Box::new(ExportsSettings {
                address: "x".into(),
                mapping: Mapping::default(),
                null_tokens: Vec::new(),
            })),
            ttl_days: 90,
            closes_after: Duration::from_secs(7200),
            warn_days: 14,
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn august(days: &[i8]) -> BTreeSet<Date> {
        days.iter().map(|&day| date(2026, 8, day)).collect()
    }

    fn sealed(days: &[i8], read: &str) -> Seals {
        let mut seals = Seals::default();
        for &day in days {
            seals.set(date(2026, 8, day), false, Some(HotRead { at: at(read), rows: 1, is_mirror: true }));
        }
        seals
    }

    fn shown(due: &[Due]) -> Vec<(i8, Why)> {
        due.iter().map(|due| (due.date.day(), due.why)).collect()
    }

    #[test]
    fn a_day_closes_two_hours_after_its_midnight() {
        assert_eq!(hot().last_closed(at("2026-08-10T01:59:59Z")), date(2026, 8, 8));
        assert_eq!(hot().last_closed(at("2026-08-10T02:00:00Z")), date(2026, 8, 9));
    }

    #[test]
    fn closed_days_are_read_oldest_first_with_quiet_days_between_them() {
        let due = due(&hot(), &Seals::default(), &august(&[3, 5, 9, 10]), Days::All, at("2026-08-10T03:00:00Z"));
        let new: Vec<_> = (3..=9).map(|day| (day, Why::New)).collect();
        assert_eq!(shown(&due.unwrap()), new);
        let until = Days::Until(date(2026, 8, 4));
        let due = super::due(&hot(), &Seals::default(), &august(&[3, 5]), until, at("2026-08-10T03:00:00Z"));
        assert_eq!(shown(&due.unwrap()), [(3, Why::New), (4, Why::New)]);
    }

    #[test]
    fn a_missed_night_is_caught_up_and_the_last_three_days_are_read_again() {
        let seals = sealed(&[3, 4, 5, 6, 7, 8], "2026-08-09T03:00:00Z");
        let there = august(&[3, 4, 5, 6, 7, 8, 9, 10]);
        let due = due(&hot(), &seals, &there, Days::All, at("2026-08-11T03:00:00Z")).unwrap();
        assert_eq!(shown(&due), [(9, Why::New), (10, Why::New), (6, Why::Late), (7, Why::Late), (8, Why::Late)]);
    }

    #[test]
    fn a_second_run_of_a_night_has_nothing_to_do() {
        let seals = sealed(&[7, 8, 9], "2026-08-10T03:00:00Z");
        assert_eq!(due(&hot(), &seals, &august(&[7, 8, 9, 10]), Days::All, at("2026-08-10T05:00:00Z")).unwrap(), []);
    }

    #[test]
    fn every_day_is_read_once_more_ten_days_before_it_expires() {
        let seals = sealed(&[1], "2026-08-04T03:00:00Z");
        let all = |now: &str, seals: &Seals| {
            shown(&due(&hot(), seals, &august(&[1]), Days::Only(date(2026, 8, 1)), at(now)).unwrap())
        };
        assert_eq!(all("2026-10-20T03:00:00Z", &seals), [(1, Why::Asked)]);
        let why = |read: &str, now: &str| again(&hot(), &sealed(&[1], read), date(2026, 8, 1), false, at(now));
        assert_eq!(why("2026-08-04T03:00:00Z", "2026-10-19T23:00:00Z"), None);
        assert_eq!(why("2026-08-04T03:00:00Z", "2026-10-20T03:00:00Z"), Some(Why::Expiring));
        assert_eq!(why("2026-10-20T03:00:00Z", "2026-10-21T03:00:00Z"), None);
        assert_eq!(why("2026-08-04T03:00:00Z", "2026-12-01T03:00:00Z"), None);
    }

    #[test]
    fn what_is_there_of_a_trimmed_day_is_read() {
        let mut seals = sealed(&[1, 2], "2026-08-04T03:00:00Z");
        seals.trim(date(2026, 8, 2));
        seals.set(date(2026, 8, 3), false, None);
        let due = due(&hot(), &seals, &august(&[1, 2, 3]), Days::Until(date(2026, 8, 3)), at("2026-08-20T03:00:00Z"));
        assert_eq!(shown(&due.unwrap()), [(2, Why::Late)]);
    }

    #[test]
    fn a_day_first_read_after_its_first_events_expired_is_incomplete() {
        let due =
            due(&hot(), &Seals::default(), &august(&[1, 2]), Days::Until(date(2026, 8, 2)), at("2026-10-30T12:00:00Z"));
        let incomplete: Vec<_> = due.unwrap().iter().map(|due| (due.date.day(), due.incomplete)).collect();
        assert_eq!(incomplete, [(1, true), (2, false)]);
    }

    #[test]
    fn an_open_day_is_refused_with_the_time_when_it_closes() {
        let error =
            due(&hot(), &Seals::default(), &august(&[1]), Days::Only(date(2026, 8, 10)), at("2026-08-10T03:00:00Z"));
        let error = error.unwrap_err();
        assert_eq!(error.to_string(), "2026-08-10 is not closed: events of it may still come");
        assert_eq!(error.hint_text(), Some("it closes at 2026-08-11T02:00:00Z; the newest closed day is 2026-08-09"));
    }
}
