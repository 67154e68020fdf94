//! Times, durations and sizes as people type them.

use jiff::Timestamp;

use crate::error::{Error, Result};
use crate::model::{DateRange, Usd};

/// A time as people type it: RFC 3339, or a date with or without a time of day, taken as UTC.
pub fn parse_time(text: &str) -> Result<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let civil = text.parse::<jiff::civil::DateTime>();
    civil.ok().and_then(|civil| civil.to_zoned(jiff::tz::TimeZone::UTC).ok()).map(|zoned| zoned.timestamp()).ok_or_else(
        || Error::usage(format!("`{text}` is not a time")).hint("write 2026-08-24, or 2026-08-24T03:00:00Z"),
    )
}

/// A duration as people type it: `5m`, `36h`, `7d`.
pub fn parse_duration(text: &str) -> Result<std::time::Duration> {
    const HOURS_PER_DAY: i64 = 24;
    let bad = || Error::usage(format!("`{text}` is not a duration")).hint("write 30s, 5m, 36h or 7d");
    let span: jiff::Span = text.parse().map_err(|_| bad())?;
    let days = i64::from(span.get_days()) + 7 * i64::from(span.get_weeks());
    let rest = span.days(0).weeks(0);
    let rest: jiff::SignedDuration = rest.try_into().map_err(|_| bad())?;
    let whole = jiff::SignedDuration::from_hours(days * HOURS_PER_DAY) + rest;
    whole.try_into().map_err(|_| bad())
}

/// An age as people type it, in whole days: `90d`, `6mo`, `1y`. A month is 30 days, a year 365, as a bucket's rules count.
pub fn parse_age_days(text: &str) -> Result<u32> {
    let bad = || Error::usage(format!("`{text}` is not an age")).hint("write 90d, 12w, 6mo or 1y");
    let span: jiff::Span = text.parse().map_err(|_| bad())?;
    let days = i64::from(span.get_years()) * 365
        + i64::from(span.get_months()) * 30
        + i64::from(span.get_weeks()) * 7
        + i64::from(span.get_days());
    let is_whole = span.years(0).months(0).weeks(0).days(0).is_zero();
    if is_whole { u32::try_from(days).map_err(|_| bad()) } else { Err(bad()) }
}

/// `2026-08-24`, or `2026-08-01..2026-08-24` with both ends.
pub fn parse_date_range(text: &str) -> Result<DateRange> {
    let date = |text: &str| {
        text.parse().map_err(|_| Error::usage(format!("`{text}` is not a date")).hint("write it as 2026-08-24"))
    };
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    let range = DateRange { first: date(first)?, last: date(last)? };
    match range.last < range.first {
        true => Err(Error::usage(format!("`{text}` ends before it begins"))),
        false => Ok(range),
    }
}

/// An amount of dollars as people type it: `0.45`, `$3`.
pub fn parse_usd(text: &str) -> Result<Usd> {
    let number = text.strip_prefix('$').unwrap_or(text).parse::<f64>().ok();
    number
        .filter(|amount| amount.is_finite() && *amount >= 0.0)
        .map(Usd)
        .ok_or_else(|| Error::usage(format!("`{text}` is not an amount of dollars")).hint("write for example 0.45"))
}

/// A size as people type it: `512MB`, `512MiB`, `2GB`; a plain number is bytes. MB and MiB are both 2^20, as memory is.
pub fn parse_bytes(text: &str) -> Result<u64> {
    let bad = || Error::usage(format!("`{text}` is not a size")).hint("write for example 512MB or 2GB");
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return Err(bad()),
    };
    let number: f64 = number.parse().map_err(|_| bad())?;
    Ok((number * factor as f64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_durations_and_times_are_read_as_people_write_them() {
        assert_eq!(parse_bytes("512MB").unwrap(), 512 << 20);
        assert_eq!(parse_bytes("1.5 GiB").unwrap(), 3 << 29);
        assert!(parse_bytes("many").is_err());
        assert_eq!(parse_duration("5m").unwrap().as_secs(), 300);
        assert_eq!(parse_duration("7d").unwrap().as_secs(), 7 * 86_400);
        assert_eq!(
            ["0d", "90d", "12w", "6mo", "1y", "1y 5d"].map(|age| parse_age_days(age).unwrap()),
            [0, 90, 84, 180, 365, 370]
        );
        assert!(["36h", "1y 1h", "-1d", "old"].iter().all(|age| parse_age_days(age).is_err()));
        assert_eq!((parse_usd("0.45").unwrap(), parse_usd("$3").unwrap()), (Usd(0.45), Usd(3.0)));
        assert!(["", "-1", "nan", "inf", "3 EUR"].iter().all(|amount| parse_usd(amount).is_err()));
        assert_eq!(parse_time("2026-08-24").unwrap(), parse_time("2026-08-24T00:00:00Z").unwrap());
        assert!(parse_time("yesterday").is_err());
    }
}
