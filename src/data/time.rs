//! Times as exports write them, to microseconds since the epoch, UTC.

use jiff::Timestamp;

use crate::model::TimeUnit;

/// Why a time was not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadTime {
    /// A number, and nobody said what it counts; the likely unit.
    UnitNeeded(TimeUnit),
    NotATime,
}

/// Reads RFC 3339, `YYYY-MM-DD HH:MM:SS[.fraction]` and `YYYY-MM-DD` (without a zone: UTC), or a number in `unit`.
/// Digits beyond microseconds are cut off.
pub fn parse(text: &str, unit: Option<TimeUnit>) -> Result<i64, BadTime> {
    if let Some(micros) = civil(text.as_bytes()) {
        return Ok(micros);
    }
    if is_number(text) {
        let Some(unit) = unit else { return Err(BadTime::UnitNeeded(likely_unit(text))) };
        return number(text, unit).ok_or(BadTime::NotATime);
    }
    // Offsets like +0530 and lower-case letters are rare: leave them to the library.
    text.parse::<Timestamp>().map(|time| time.as_microsecond()).map_err(|_| BadTime::NotATime)
}

/// The unit whose reading of a number is nearest to our century: years 1973 to 5138 in each.
pub fn likely_unit(text: &str) -> TimeUnit {
    let digits = text.trim_start_matches('-').split('.').next().unwrap_or("").len();
    match digits {
        0..=11 => TimeUnit::Seconds,
        12..=14 => TimeUnit::Millis,
        15..=17 => TimeUnit::Micros,
        _ => TimeUnit::Nanos,
    }
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    all_digits(whole) && all_digits(fraction)
}

/// A number with up to nine decimals, exactly: epoch seconds are often written as 1756000000.123.
fn number(text: &str, unit: TimeUnit) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let micros = unit.to_micros(whole.parse().ok()?)?;
    let unit_micros = unit.to_micros(1)?;
    let mut part = 0;
    let mut scale = unit_micros;
    for digit in fraction.bytes() {
        scale /= 10;
        part += i64::from(digit - b'0') * scale;
    }
    if text.starts_with('-') { micros.checked_sub(part) } else { micros.checked_add(part) }
}

/// `YYYY-MM-DD`, then optionally `T` or a space, `HH:MM:SS`, a fraction, and `Z` or `±HH:MM`. The hot path of an archive
/// run: the general parser costs five times as much.
fn civil(b: &[u8]) -> Option<i64> {
    if b.len() < 10 || b[4] != b'-' || b[7] != b'-' {
        return None;
    }
    let (year, month, day) = (digits(&b[0..4])?, digits(&b[5..7])?, digits(&b[8..10])?);
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    let midnight = days_from_civil(year, month, day) * 86_400;
    if b.len() == 10 {
        return Some(midnight * 1_000_000);
    }
    if b.len() < 19 || !matches!(b[10], b'T' | b't' | b' ') || b[13] != b':' || b[16] != b':' {
        return None;
    }
    let (hour, minute, second) = (digits(&b[11..13])?, digits(&b[14..16])?, digits(&b[17..19])?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut rest = &b[19..];
    let mut micros = 0;
    if let Some(fraction) = rest.strip_prefix(b".") {
        let length = fraction.iter().take_while(|c| c.is_ascii_digit()).count();
        if length == 0 {
            return None;
        }
        let mut scale = 100_000;
        for digit in &fraction[..length.min(6)] {
            micros += i64::from(digit - b'0') * scale;
            scale /= 10;
        }
        rest = &fraction[length..];
    }
    let offset = match rest {
        b"" | b"Z" | b"z" | b" UTC" => 0,
        [sign @ (b'+' | b'-'), zone @ ..] if zone.len() == 5 && zone[2] == b':' => {
            let (hours, minutes) = (digits(&zone[0..2])?, digits(&zone[3..5])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = hours * 3_600 + minutes * 60;
            if *sign == b'+' { seconds } else { -seconds }
        }
        _ => return None,
    };
    Some((midnight + hour * 3_600 + minute * 60 + second - offset) * 1_000_000 + micros)
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0, |number, b| b.is_ascii_digit().then(|| number * 10 + i64::from(b - b'0')))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Howard Hinnant's algorithm, <https://howardhinnant.github.io/date_algorithms.html#days_from_civil>
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_agree_with_the_general_parser() {
        for text in [
            "2026-08-24T10:11:12Z",
            "2026-08-24T10:11:12.123456Z",
            "2026-08-24T10:11:12.1+05:30",
            "1969-12-31T23:59:59.999999-01:00",
            "2000-02-29T00:00:00Z",
            "9999-12-30T00:00:00Z",
            "0001-01-01T00:00:00Z",
        ] {
            let expected = text.parse::<Timestamp>().unwrap().as_microsecond();
            assert_eq!(parse(text, None), Ok(expected), "{text}");
            assert_eq!(civil(text.as_bytes()), Some(expected), "{text} goes the fast way");
        }
    }

    #[test]
    fn zone_less_times_are_utc_and_fractions_are_cut_to_micros() {
        let noon = parse("2026-08-24T12:00:00Z", None);
        assert_eq!(parse("2026-08-24 12:00:00", None), noon);
        assert_eq!(parse("2026-08-24T12:00:00", None), noon);
        assert_eq!(parse("2026-08-24T12:00:00.000000999Z", None), noon);
        assert_eq!(parse("2026-08-24", None), parse("2026-08-24T00:00:00Z", None));
    }

    #[test]
    fn numbers_need_a_unit_and_the_likely_one_is_named() {
        assert_eq!(parse("1756000000", None), Err(BadTime::UnitNeeded(TimeUnit::Seconds)));
        assert_eq!(parse("1756000000000", None), Err(BadTime::UnitNeeded(TimeUnit::Millis)));
        assert_eq!(parse("1756000000000000", None), Err(BadTime::UnitNeeded(TimeUnit::Micros)));
        assert_eq!(parse("1756000000000000000", None), Err(BadTime::UnitNeeded(TimeUnit::Nanos)));
        assert_eq!(parse("1756000000.25", Some(TimeUnit::Seconds)), Ok(1_756_000_000_250_000));
        assert_eq!(parse("1756000000250", Some(TimeUnit::Millis)), Ok(1_756_000_000_250_000));
        assert_eq!(parse("-0.5", Some(TimeUnit::Seconds)), Ok(-500_000));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in
            ["", "yesterday", "2026-02-30", "2026-08-24T25:00:00Z", "2026-13-01", "24/08/2026", "NaN", "2026-08-24T10"]
        {
            assert_eq!(parse(text, Some(TimeUnit::Seconds)), Err(BadTime::NotATime), "{text}");
        }
    }
}
