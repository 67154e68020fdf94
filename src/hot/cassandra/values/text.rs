//! Values as exact text.

use std::fmt::Write;

use jiff::Timestamp;
use jiff::civil::Time;
use scylla::value::{CqlDate, CqlDuration, CqlTime, CqlTimestamp, CqlValue};

use super::{days, json, number};
use crate::model::date_of_days;

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// `None` for a value that is empty, as old clients could write one for any type.
pub fn text(value: &CqlValue) -> Option<String> {
    Some(match value {
        CqlValue::Empty => return None,
        CqlValue::Ascii(text) | CqlValue::Text(text) => text.clone(),
        CqlValue::Boolean(value) => value.to_string(),
        CqlValue::TinyInt(value) => value.to_string(),
        CqlValue::SmallInt(value) => value.to_string(),
        CqlValue::Int(value) => value.to_string(),
        CqlValue::BigInt(value) => value.to_string(),
        CqlValue::Counter(value) => value.0.to_string(),
        CqlValue::Float(value) => format!("{value:?}"),
        CqlValue::Double(value) => format!("{value:?}"),
        CqlValue::Uuid(value) => value.to_string(),
        CqlValue::Timeuuid(value) => value.to_string(),
        CqlValue::Inet(value) => value.to_string(),
        CqlValue::Blob(bytes) => hex(bytes),
        CqlValue::Date(value) => date_text(*value),
        CqlValue::Time(value) => time_text(*value),
        CqlValue::Timestamp(value) => timestamp_text(*value),
        CqlValue::Duration(value) => duration_text(value),
        CqlValue::Decimal(value) => number::decimal_text(value),
        CqlValue::Varint(value) => number::varint_text(value),
        nested => json::json(nested),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A date that calendars here do not reach stays the number that CQL stores, and reads as a date.
fn date_text(date: CqlDate) -> String {
    let known = days(date).and_then(date_of_days).filter(|date| date.year() >= 0);
    known.map_or_else(|| date.0.to_string(), |date| date.to_string())
}

fn time_text(time: CqlTime) -> String {
    let (second, nanos) = (time.0.div_euclid(NANOS_PER_SECOND), time.0.rem_euclid(NANOS_PER_SECOND));
    let part = |value: i64| i8::try_from(value).ok();
    let known = Option::zip(part(second / 3_600), part(second / 60 % 60)).zip(part(second % 60));
    let known = known.and_then(|((hour, minute), second)| Time::new(hour, minute, second, nanos as i32).ok());
    known.map_or_else(|| time.0.to_string(), |time| time.to_string())
}

fn timestamp_text(time: CqlTimestamp) -> String {
    Timestamp::from_millisecond(time.0).map_or_else(|_| time.0.to_string(), |time| time.to_string())
}

/// As CQL writes it: `1y2mo3d4h5m6s7ms8us9ns`; all parts have one sign.
fn duration_text(duration: &CqlDuration) -> String {
    const NANOS: [(u64, &str); 6] = [
        (3_600_000_000_000, "h"),
        (60_000_000_000, "m"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1_000, "us"),
        (1, "ns"),
    ];
    let is_negative = duration.months < 0 || duration.days < 0 || duration.nanoseconds < 0;
    let months = duration.months.unsigned_abs();
    let mut parts = vec![
        (u64::from(months / 12), "y"),
        (u64::from(months % 12), "mo"),
        (u64::from(duration.days.unsigned_abs()), "d"),
    ];
    let mut nanos = duration.nanoseconds.unsigned_abs();
    for (size, unit) in NANOS {
        parts.push((nanos / size, unit));
        nanos %= size;
    }
    parts.retain(|(count, _)| *count > 0);
    if parts.is_empty() {
        return "0s".to_owned();
    }
    let text: String = parts.iter().map(|(count, unit)| format!("{count}{unit}")).collect();
    if is_negative { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_durations_are_exact() {
        assert_eq!(time_text(CqlTime(0)), "00:00:00");
        assert_eq!(time_text(CqlTime(86_399_999_999_999)), "23:59:59.999999999");
        let duration = CqlDuration { months: -14, days: -3, nanoseconds: -3_600_000_000_001 };
        assert_eq!(duration_text(&duration), "-1y2mo3d1h1ns");
        assert_eq!(duration_text(&CqlDuration { months: 0, days: 0, nanoseconds: 0 }), "0s");
    }

    #[test]
    fn dates_beyond_the_calendar_stay_numbers() {
        assert_eq!(date_text(CqlDate(1 << 31)), "1970-01-01");
        assert_eq!(date_text(CqlDate(0)), "0");
        assert_eq!(date_text(CqlDate(u32::MAX)), u32::MAX.to_string());
    }
}
