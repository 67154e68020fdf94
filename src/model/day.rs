//! Conversions between calendar types and the integers that Parquet and Arrow store. All times are UTC.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

const SECONDS_PER_DAY: i64 = 86_400;

/// Days since 1970-01-01, as in an Arrow `Date32`.
pub fn days_of_date(date: Date) -> i32 {
    let midnight = date.to_zoned(TimeZone::UTC).expect("every civil date exists in UTC").timestamp();
    midnight.as_second().div_euclid(SECONDS_PER_DAY) as i32
}

/// The date of a number of days since 1970-01-01; `None` outside years -9999..=9999.
pub fn date_of_days(days: i32) -> Option<Date> {
    let second = i64::from(days).checked_mul(SECONDS_PER_DAY)?;
    Some(TimeZone::UTC.to_datetime(Timestamp::from_second(second).ok()?).date())
}

/// The UTC date of a time in microseconds since the epoch; `None` outside years -9999..=9999.
pub fn date_of_micros(micros: i64) -> Option<Date> {
    date_of_days(i32::try_from(micros.div_euclid(SECONDS_PER_DAY * 1_000_000)).ok()?)
}

pub fn micros_of_timestamp(time: Timestamp) -> i64 {
    time.as_microsecond()
}

pub fn timestamp_of_micros(micros: i64) -> Option<Timestamp> {
    Timestamp::from_microsecond(micros).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn days_and_dates_are_inverse_around_the_epoch() {
        for (day, days) in [(date(1970, 1, 1), 0), (date(1969, 12, 31), -1), (date(2026, 8, 24), 20_689)] {
            assert_eq!(days_of_date(day), days);
            assert_eq!(date_of_days(days), Some(day));
        }
        assert_eq!(date_of_micros(-1), Some(date(1969, 12, 31)));
    }
}
