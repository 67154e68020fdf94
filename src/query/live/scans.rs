//! A question that would read all of the hot tier takes its share of what serves users: it has to be wanted.

use std::collections::BTreeSet;

use jiff::civil::Date;

use crate::error::{Error, Result};

/// Days of all tenants that are read without being asked for: today, yesterday until the night's run has sealed it, and
/// one night that was missed.
const DAYS_UNASKED: usize = 3;

/// Refuses what would scan the hot tier.
pub fn check(name: &str, has_days: bool, names_tenants: bool, days: &BTreeSet<Date>, today: Date) -> Result<()> {
    // Of days to come there is nothing but what clocks that are fast have written.
    let read = days.iter().filter(|date| **date <= today).count();
    let Some((first, last)) = days.first().zip(days.last().map(|last| last.min(&today))) else { return Ok(()) };
    let message = if !has_days {
        format!("the query would scan all of the hot tier: {name} is not partitioned by day")
    } else if !names_tenants && read > DAYS_UNASKED {
        format!(
            "the query would scan {read} days of the hot tier, {first} to {last}, which the archive is not sealed for"
        )
    } else {
        return Ok(());
    };
    Err(Error::usage(message).code("hot-scan").hint(
        "name a tenant or fewer days; seal days with `tier archive --from-hot`; leave the hot tier out with --tiers cold,deep; \
         or allow it: --allow-hot-scan, or `allow_scan = true` in the section [hot]",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    fn days(from: i8, to: i8) -> BTreeSet<Date> {
        (from..=to).map(|day| date(2026, 11, day)).collect()
    }

    fn is_refused(has_days: bool, names_tenants: bool, days: &BTreeSet<Date>) -> bool {
        match check("cassandra prod.events", has_days, names_tenants, days, date(2026, 11, 25)) {
            Ok(()) => false,
            Err(error) => {
                assert_eq!(error.stable_code(), "hot-scan");
                true
            }
        }
    }

    #[test]
    fn three_days_of_all_tenants_are_read_unasked_and_more_are_not() {
        assert!(!is_refused(true, false, &days(23, 26)));
        assert!(is_refused(true, false, &days(22, 25)));
        assert!(!is_refused(true, true, &days(1, 25)));
        assert!(!is_refused(true, false, &BTreeSet::new()));
    }

    #[test]
    fn a_table_without_days_is_always_scanned_whole() {
        assert!(is_refused(false, false, &days(25, 25)));
        assert!(is_refused(false, true, &days(25, 25)));
    }
}
