//! A question that would read all of the hot tier takes its share of what serves users: it has to be wanted.

use std::collections::BTreeSet;

use jiff::civil::Date;

use crate::error::{Error, Result};

/// Days of all tenants that are read without being asked for: today, yesterday until the night's run has sealed it, and
/// one night that was missed.
const DAYS_UNASKED: usize = 3;

/// Refuses to read events of so many days, for all tenants.
pub fn check(days: &BTreeSet<Date>, today: Date) -> Result<()> {
    // Of days to come there is nothing but what clocks that are fast have written.
    let read: Vec<&Date> = days.iter().filter(|date| **date <= today).collect();
    if read.len() <= DAYS_UNASKED {
        return Ok(());
    }
    let (first, last) = (read[0], read[read.len() - 1]);
    Err(refused(format!(
        "the query would scan {} days of the hot tier, {first} to {last}, which the archive is not sealed for",
        read.len()
    )))
}

/// A table without days is read whole for any of them.
pub fn of_all(name: &str) -> Error {
    refused(format!("the query would scan all of the hot tier: {name} is not partitioned by day"))
}

fn refused(message: String) -> Error {
    Error::usage(message).code("hot-scan").hint(
        "name a tenant or fewer days; seal days with `tier archive --from-hot`; leave the hot tier out with \
         --tiers cold,deep; or allow it: --allow-hot-scan, or `allow_scan = true` in the section [hot]",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn three_days_are_read_unasked_and_more_are_not() {
        let days = |from: i8, to: i8| (from..=to).map(|day| date(2026, 11, day)).collect::<BTreeSet<Date>>();
        let today = date(2026, 11, 25);
        assert!(check(&days(23, 26), today).is_ok());
        assert!(check(&BTreeSet::new(), today).is_ok());
        let error = check(&days(22, 26), today).unwrap_err();
        assert_eq!(error.stable_code(), "hot-scan");
        assert_eq!(
            error.to_string(),
            "the query would scan 4 days of the hot tier, 2026-11-22 to 2026-11-25, which the archive is not sealed for"
        );
    }
}
