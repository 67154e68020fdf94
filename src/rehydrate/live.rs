//! Which days may go back into the table that the nightly job reads: pure, from the seals and the calendar.

use jiff::Timestamp;
use jiff::civil::Date;

use crate::error::{Error, Result};
use crate::hot::HotSettings;
use crate::model::Seals;

/// Refuses days that the nightly job would take for new ones, and those that are there still: inserted again, their rows
/// would live as long as is said now, and a question may count on them.
pub fn check_live(hot: &HotSettings, seals: &Seals, dates: &[Date], now: Timestamp) -> Result<()> {
    for &date in dates {
        let refuse = |problem: &str| {
            Error::usage(format!("{date} cannot go into the hot tier: it is {problem}"))
                .code("live-day")
                .hint("insert it into another table with --table KEYSPACE.TABLE")
        };
        match seals.get(date) {
            None => {
                return Err(refuse("not sealed, and the nightly job would take it for a new day")
                    .hint("insert it into another table with --table KEYSPACE.TABLE, or seal it first")
                    .command(format!("tier archive --seal {date}")));
            }
            Some(seal) if seal.read.is_some() && !seal.trimmed && now < hot.expired_at(date) => {
                return Err(refuse("still there"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::hot::{ExportsSettings, Place};
    use crate::model::{HotRead, Mapping};
    use jiff::civil::date;

    #[test]
    fn only_sealed_days_go_back_that_the_hot_tier_no_longer_has() {
        let place = Place::Exports(Box::new(ExportsSettings {
            address: "x".into(),
            mapping: Mapping::default(),
            null_tokens: Vec::new(),
        }));
        let hot = HotSettings { place, ttl_days: 90, closes_after: Duration::ZERO, warn_days: 14 };
        let read = Some(HotRead { at: Timestamp::UNIX_EPOCH, rows: 1, is_mirror: true });
        let mut seals = Seals::default();
        (1..=3).for_each(|day| seals.set(date(2026, 8, day), false, read.clone()));
        seals.trim(date(2026, 8, 2));
        seals.set(date(2026, 8, 4), false, None);
        let problem = |day: i8, now: &str| {
            let checked = check_live(&hot, &seals, &[date(2026, 8, day)], now.parse().unwrap());
            checked.err().map(|error| error.to_string())
        };
        let (soon, late) = ("2026-09-01T00:00:00Z", "2026-11-03T00:00:00Z");
        assert_eq!(problem(1, soon).unwrap(), "2026-08-01 cannot go into the hot tier: it is still there");
        assert_eq!(problem(1, late), None, "its last events have expired");
        assert_eq!((problem(2, soon), problem(4, soon)), (None, None), "trimmed, and sealed by hand");
        assert!(problem(5, late).unwrap().contains("it is not sealed"));
    }
}
