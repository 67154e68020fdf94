//! Values from their text: the inverse of [`super::text()`].

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use scylla::cluster::metadata::{CollectionType, ColumnType as CqlType, NativeType, UserDefinedType};
use scylla::value::{Counter, CqlDate, CqlDuration, CqlTime, CqlTimestamp, CqlValue};
use serde_json::value::RawValue;

use super::{date, number};
use crate::error::{Error, Result};
use crate::model::days_of_date;

/// A value of a column's type from text; of a collection, tuple or user-defined type from JSON.
pub fn parse(cql: &CqlType<'_>, text: &str) -> Result<CqlValue> {
    let parsed = match cql {
        CqlType::Native(native) => scalar(native, text),
        _ => serde_json::from_str(text).ok().and_then(|raw| nested(cql, raw)),
    };
    parsed.ok_or_else(|| unreadable(cql, text))
}

fn unreadable(cql: &CqlType<'_>, text: &str) -> Error {
    const SHOWN: usize = 40;
    let shown: String = text.chars().take(SHOWN).collect();
    let name = match cql {
        CqlType::Native(native) => format!("{native:?}").to_lowercase(),
        CqlType::Collection { typ: CollectionType::List(_), .. } => "list".to_owned(),
        CqlType::Collection { typ: CollectionType::Set(_), .. } => "set".to_owned(),
        CqlType::Collection { typ: CollectionType::Map(..), .. } => "map".to_owned(),
        CqlType::Vector { .. } => "vector".to_owned(),
        CqlType::Tuple(_) => "tuple".to_owned(),
        CqlType::UserDefinedType { definition, .. } => definition.name.to_string(),
        _ => "known type".to_owned(),
    };
    Error::failed(format!("{shown:?} is no {name}"))
}

fn scalar(native: &NativeType, text: &str) -> Option<CqlValue> {
    Some(match native {
        NativeType::Text => CqlValue::Text(text.to_owned()),
        NativeType::Ascii => CqlValue::Ascii(Some(text.to_owned()).filter(|text| text.is_ascii())?),
        NativeType::Boolean => CqlValue::Boolean(text.parse().ok()?),
        NativeType::TinyInt => CqlValue::TinyInt(text.parse().ok()?),
        NativeType::SmallInt => CqlValue::SmallInt(text.parse().ok()?),
        NativeType::Int => CqlValue::Int(text.parse().ok()?),
        NativeType::BigInt => CqlValue::BigInt(text.parse().ok()?),
        NativeType::Counter => CqlValue::Counter(Counter(text.parse().ok()?)),
        NativeType::Float => CqlValue::Float(text.parse().ok()?),
        NativeType::Double => CqlValue::Double(text.parse().ok()?),
        NativeType::Uuid => CqlValue::Uuid(text.parse().ok()?),
        NativeType::Timeuuid => CqlValue::Timeuuid(text.parse().ok()?),
        NativeType::Inet => CqlValue::Inet(text.parse().ok()?),
        NativeType::Blob => CqlValue::Blob(parse_hex(text)?),
        NativeType::Date => parse_date(text)?,
        NativeType::Time => CqlValue::Time(CqlTime(nanos_of(text)?)),
        NativeType::Timestamp => CqlValue::Timestamp(CqlTimestamp(millis_of(text)?)),
        NativeType::Duration => CqlValue::Duration(parse_duration(text)?),
        NativeType::Decimal => CqlValue::Decimal(number::parse_decimal(text)?),
        NativeType::Varint => CqlValue::Varint(number::parse_varint(text)?),
        _ => return None,
    })
}

fn nested(cql: &CqlType<'_>, raw: &RawValue) -> Option<CqlValue> {
    let items = || serde_json::from_str::<Vec<&RawValue>>(raw.get()).ok();
    let all = |of: &CqlType<'_>| items()?.into_iter().map(|item| nested(of, item)).collect::<Option<Vec<_>>>();
    Some(match cql {
        CqlType::Native(NativeType::Text | NativeType::Ascii) if !raw.get().starts_with('"') => return None,
        CqlType::Native(native) if raw.get().starts_with('"') => {
            scalar(native, &serde_json::from_str::<String>(raw.get()).ok()?)?
        }
        CqlType::Native(native) => scalar(native, raw.get())?,
        CqlType::Collection { typ: CollectionType::List(of), .. } => CqlValue::List(all(of)?),
        CqlType::Collection { typ: CollectionType::Set(of), .. } => CqlValue::Set(all(of)?),
        CqlType::Collection { typ: CollectionType::Map(key, value), .. } => CqlValue::Map(map(key, value, raw)?),
        CqlType::Vector { typ, dimensions } => {
            CqlValue::Vector(all(typ).filter(|items| items.len() == usize::from(*dimensions))?)
        }
        CqlType::Tuple(types) => {
            let items = items().filter(|items| items.len() == types.len())?;
            CqlValue::Tuple(types.iter().zip(items).map(|(of, item)| optional(of, item)).collect::<Option<_>>()?)
        }
        CqlType::UserDefinedType { definition, .. } => user_defined(definition, raw)?,
        _ => return None,
    })
}

/// The outer `None` is a misfit, the inner one a null.
fn optional(cql: &CqlType<'_>, raw: &RawValue) -> Option<Option<CqlValue>> {
    if raw.get() == "null" { Some(None) } else { nested(cql, raw).map(Some) }
}

fn map(key: &CqlType<'_>, value: &CqlType<'_>, raw: &RawValue) -> Option<Vec<(CqlValue, CqlValue)>> {
    let entries: BTreeMap<String, &RawValue> = serde_json::from_str(raw.get()).ok()?;
    entries.into_iter().map(|(name, raw)| Some((parse(key, &name).ok()?, nested(value, raw)?))).collect()
}

fn user_defined(definition: &UserDefinedType<'_>, raw: &RawValue) -> Option<CqlValue> {
    let mut given: BTreeMap<String, &RawValue> = serde_json::from_str(raw.get()).ok()?;
    let mut fields = Vec::with_capacity(definition.field_types.len());
    for (name, cql) in &definition.field_types {
        let value = given.remove(name.as_ref()).map_or(Some(None), |raw| optional(cql, raw))?;
        fields.push((name.to_string(), value));
    }
    let (keyspace, name) = (definition.keyspace.to_string(), definition.name.to_string());
    given.is_empty().then_some(CqlValue::UserDefinedType { keyspace, name, fields })
}

fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let is_hex = digits.len().is_multiple_of(2) && digits.iter().all(u8::is_ascii_hexdigit);
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).ok();
    if is_hex { (0..digits.len()).step_by(2).map(byte).collect() } else { None }
}

/// A date, or the number by which CQL stores it.
fn parse_date(text: &str) -> Option<CqlValue> {
    match text.parse::<u32>() {
        Ok(number) => Some(CqlValue::Date(CqlDate(number))),
        Err(_) => Some(date(days_of_date(text.parse::<Date>().ok()?))),
    }
}

fn nanos_of(text: &str) -> Option<i64> {
    let time: Time = text.parse().ok()?;
    let seconds = i64::from(time.hour()) * 3_600 + i64::from(time.minute()) * 60 + i64::from(time.second());
    Some(seconds * 1_000_000_000 + i64::from(time.subsec_nanosecond()))
}

fn millis_of(text: &str) -> Option<i64> {
    text.parse::<i64>().ok().or_else(|| text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond))
}

fn parse_duration(text: &str) -> Option<CqlDuration> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let mut duration = CqlDuration { months: 0, days: 0, nanoseconds: 0 };
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: i64 = rest[..digits].parse().ok()?;
        let unit = &rest[digits..];
        let end = unit.find(|c: char| c.is_ascii_digit()).unwrap_or(unit.len());
        add(&mut duration, count * sign, &unit[..end])?;
        rest = &unit[end..];
    }
    (!text.is_empty()).then_some(duration)
}

fn add(duration: &mut CqlDuration, count: i64, unit: &str) -> Option<()> {
    let nanos = match unit {
        "y" => return add_to(&mut duration.months, count.checked_mul(12)?),
        "mo" => return add_to(&mut duration.months, count),
        "d" => return add_to(&mut duration.days, count),
        "h" => 3_600_000_000_000,
        "m" => 60_000_000_000,
        "s" => 1_000_000_000,
        "ms" => 1_000_000,
        "us" => 1_000,
        "ns" => 1,
        _ => return None,
    };
    duration.nanoseconds = duration.nanoseconds.checked_add(count.checked_mul(nanos)?)?;
    Some(())
}

fn add_to(sum: &mut i32, count: i64) -> Option<()> {
    *sum = sum.checked_add(i32::try_from(count).ok()?)?;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::text;
    use super::*;

    #[test]
    fn text_reads_back_as_the_same_value() {
        for (native, shown) in [
            (NativeType::Date, "2026-08-24"),
            (NativeType::Date, "0"),
            (NativeType::Time, "08:12:54.000000001"),
            (NativeType::Timestamp, "2026-08-24T08:12:54.5Z"),
            (NativeType::Duration, "-1y2mo3d4h5m6s7ms8us9ns"),
            (NativeType::Duration, "0s"),
            (NativeType::Blob, "00ff"),
            (NativeType::Inet, "2001:db8::1"),
        ] {
            let value = scalar(&native, shown).unwrap();
            assert_eq!(text(&value).unwrap(), shown);
        }
        assert_eq!(parse(&CqlType::Native(NativeType::Blob), "0é").unwrap_err().to_string(), "\"0é\" is no blob");
    }

    #[test]
    fn nested_values_come_from_json() {
        let list = |of| CqlType::Collection { frozen: false, typ: CollectionType::List(Box::new(of)) };
        let cql = CqlType::Tuple(vec![CqlType::Native(NativeType::Decimal), list(CqlType::Native(NativeType::Text))]);
        let shown = r#"[1.50,["a","7"]]"#;
        assert_eq!(text(&parse(&cql, shown).unwrap()).unwrap(), shown);
        assert!(parse(&cql, r#"[1.50,[7]]"#).is_err());
        assert!(parse(&cql, r#"[1.50]"#).is_err());
    }
}
