//! The dates that the hot tier may hold events of.

use std::time::Duration;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp, ToSpan};

use crate::model::{date_of_micros, micros_of_timestamp};

/// From what has just expired to what is accepted of the future.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub first: Date,
    pub last: Date,
    pub today: Date,
    /// From here on no event has expired, and none will for a day: while an answer is made, and though clocks differ.
    pub first_whole: Date,
}

impl Window {
    pub fn new(now: Timestamp, ttl_days: u32, accept_future: Duration) -> Self {
        let date = |time: Timestamp| date_of_micros(micros_of_timestamp(time)).unwrap_or(Date::MAX);
        let accepted = SignedDuration::try_from(accept_future).unwrap_or(SignedDuration::MAX);
        let today = date(now);
        let expiring = today.saturating_sub(i64::from(ttl_days).days());
        Window {
            // Rows are deleted some time after they expire.
            first: expiring.saturating_sub(1.day()),
            last: date(now.saturating_add(accepted).unwrap_or(Timestamp::MAX)),
            today,
            first_whole: expiring.saturating_add(2.days()),
        }
    }

    pub fn days(&self) -> impl Iterator<Item = Date> {
        self.first.series(1.day()).take_while(|date| *date <= self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn the_window_goes_from_what_has_just_expired_to_what_is_accepted_of_the_future() {
        let window = Window::new("2026-11-25T23:59:59Z".parse().unwrap(), 3, DAY);
        assert_eq!((window.first, window.last), (date(2026, 11, 21), date(2026, 11, 26)));
        assert_eq!(window.days().count(), 6);
        // The first event of the 24th expires at the midnight that ends the 26th, a day after the midnight to come.
        assert_eq!((window.today, window.first_whole), (date(2026, 11, 25), date(2026, 11, 24)));
    }
}
