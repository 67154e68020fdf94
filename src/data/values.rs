//! One field's value as an export wrote it, and what column types it fits.

use std::borrow::Cow;

use super::time;
use crate::model::{ColumnType, timestamp_of_micros};

/// Integers up to here are exact as DOUBLE.
const MAX_EXACT_DOUBLE: u64 = 1 << 53;

/// A value before typing.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar<'a> {
    Null,
    Bool(bool),
    /// A JSON number, as written.
    Number(&'a str),
    /// A text that says it is one.
    Text(Cow<'a, str>),
    /// A nested JSON value, as written.
    Json(&'a str),
    /// A text that may mean anything: a CSV field.
    Untyped(Cow<'a, str>),
    Int(i64),
    /// A Parquet unsigned integer beyond BIGINT.
    BigUnsigned(u64),
    Float(f64),
    /// Microseconds since the epoch.
    Time(i64),
}

/// A value in a column's type.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'a, str>),
    Time(i64),
}

/// What the values of a new column have been: a set of [`kinds`].
pub type Kinds = u8;

pub mod kinds {
    pub const BOOL: u8 = 1;
    pub const INT: u8 = 2;
    /// An integer that a DOUBLE would round.
    pub const WIDE_INT: u8 = 4;
    pub const DOUBLE: u8 = 8;
    pub const TIME: u8 = 16;
    pub const TEXT: u8 = 32;
}

/// The narrowest type that holds every value without loss; `None` when there was none.
pub fn type_of(kinds: Kinds) -> Option<ColumnType> {
    use kinds::{BOOL, DOUBLE, INT, TIME, WIDE_INT};
    let only = |allowed: Kinds| kinds & !allowed == 0;
    match kinds {
        0 => None,
        _ if only(BOOL) => Some(ColumnType::Boolean),
        _ if only(INT | WIDE_INT) => Some(ColumnType::BigInt),
        _ if only(INT | DOUBLE) => Some(ColumnType::Double),
        _ if only(TIME) => Some(ColumnType::Timestamp),
        _ => Some(ColumnType::Varchar),
    }
}

impl Scalar<'_> {
    pub fn is_null(&self) -> bool {
        matches!(self, Scalar::Null)
    }

    /// The value's text, before typing.
    #[inline]
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Scalar::Null => Cow::Borrowed(""),
            Scalar::Bool(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
            Scalar::Number(text) | Scalar::Json(text) => Cow::Borrowed(text),
            Scalar::Text(text) | Scalar::Untyped(text) => Cow::Borrowed(text),
            Scalar::Int(value) => Cow::Owned(value.to_string()),
            Scalar::BigUnsigned(value) => Cow::Owned(value.to_string()),
            Scalar::Float(value) => Cow::Owned(float_text(*value)),
            Scalar::Time(micros) => {
                Cow::Owned(timestamp_of_micros(*micros).map_or_else(|| micros.to_string(), |time| time.to_string()))
            }
        }
    }

    /// Of which kind it is, and the value in a form that tells its text, for a column whose type is not yet known.
    #[inline]
    pub fn for_new_column(&self) -> (Kinds, Value<'_>) {
        let as_written = |kind: Kinds, text| (kind, Value::Text(Cow::Borrowed(text)));
        let number = |text| match int_of(text) {
            Some(value) => (int_kind(value), Value::Int(value)),
            None => as_written(if double_of(text).is_some() { kinds::DOUBLE } else { kinds::TEXT }, text),
        };
        match self {
            Scalar::Null => as_written(0, ""),
            Scalar::BigUnsigned(_) => (kinds::TEXT, Value::Text(self.text())),
            Scalar::Text(text) => as_written(kinds::TEXT, text),
            Scalar::Json(text) => as_written(kinds::TEXT, text),
            Scalar::Untyped(text) if bool_of(text).is_some() => as_written(kinds::BOOL, text),
            Scalar::Untyped(text) => number(text),
            Scalar::Number(text) => number(text),
            Scalar::Bool(value) => (kinds::BOOL, Value::Bool(*value)),
            Scalar::Int(value) => (int_kind(*value), Value::Int(*value)),
            Scalar::Float(value) => (kinds::DOUBLE, Value::Float(*value)),
            Scalar::Time(micros) => (kinds::TIME, Value::Time(*micros)),
        }
    }

    /// The value in a column's type; `None` when it does not fit without loss.
    pub fn fit(&self, column_type: ColumnType) -> Option<Value<'_>> {
        match column_type {
            ColumnType::Varchar => Some(Value::Text(self.text())),
            ColumnType::Boolean => match self {
                Scalar::Bool(value) => Some(Value::Bool(*value)),
                Scalar::Untyped(text) => bool_of(text).map(Value::Bool),
                _ => None,
            },
            ColumnType::BigInt => match self {
                Scalar::Int(value) => Some(Value::Int(*value)),
                Scalar::Number(text) => int_of(text).map(Value::Int),
                Scalar::Untyped(text) => int_of(text).map(Value::Int),
                _ => None,
            },
            ColumnType::Double => match self {
                Scalar::Float(value) => Some(Value::Float(*value)),
                Scalar::Int(value) if value.unsigned_abs() <= MAX_EXACT_DOUBLE => Some(Value::Float(*value as f64)),
                Scalar::Number(text) => double_of(text).map(Value::Float),
                Scalar::Untyped(text) => double_of(text).map(Value::Float),
                _ => None,
            },
            ColumnType::Timestamp => match self {
                Scalar::Time(micros) => Some(Value::Time(*micros)),
                Scalar::Text(text) | Scalar::Untyped(text) => time::parse(text, None).ok().map(Value::Time),
                _ => None,
            },
        }
    }

    /// For a message: what it is, in a few words.
    pub fn describe(&self) -> String {
        const SHOWN: usize = 40;
        let text = self.text();
        let shown: String = text.chars().take(SHOWN).collect();
        let more = if shown.len() < text.len() { "…" } else { "" };
        match self {
            Scalar::Text(_) | Scalar::Untyped(_) => format!("the text {shown:?}{more}"),
            Scalar::Json(_) => format!("nested JSON {shown}{more}"),
            _ => format!("{shown}{more}"),
        }
    }
}

/// The shortest text that reads back as the same number, always with a point or an exponent.
fn float_text(value: f64) -> String {
    format!("{value:?}")
}

pub fn bool_of(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// An integer as arithmetic writes it. A leading zero or plus sign means text: `007` is a name.
pub fn int_of(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let canonical = match digits.as_bytes() {
        [b'0'] => !text.starts_with('-'),
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if canonical { text.parse().ok() } else { None }
}

/// A finite number by JSON's grammar; an integer only when it is exact.
pub fn double_of(text: &str) -> Option<f64> {
    if !is_json_number(text.as_bytes()) {
        return None;
    }
    let is_integer = text.bytes().all(|b| b.is_ascii_digit() || b == b'-') && text != "-0";
    if is_integer && int_of(text).is_none_or(|value| value.unsigned_abs() > MAX_EXACT_DOUBLE) {
        return None;
    }
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

fn int_kind(value: i64) -> Kinds {
    if value.unsigned_abs() <= MAX_EXACT_DOUBLE { kinds::INT } else { kinds::WIDE_INT }
}

fn is_json_number(bytes: &[u8]) -> bool {
    fn digits(bytes: &[u8]) -> usize {
        bytes.iter().take_while(|b| b.is_ascii_digit()).count()
    }
    let bytes = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let whole = digits(bytes);
    if whole == 0 || (whole > 1 && bytes[0] == b'0') {
        return false;
    }
    let mut rest = &bytes[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let length = digits(fraction);
        if length == 0 {
            return false;
        }
        rest = &fraction[length..];
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = exponent.strip_prefix(b"+").or_else(|| exponent.strip_prefix(b"-")).unwrap_or(exponent);
        let length = digits(exponent);
        return length > 0 && length == exponent.len();
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn untyped(text: &str) -> Scalar<'_> {
        Scalar::Untyped(Cow::Borrowed(text))
    }

    #[test]
    fn leading_zeros_and_plus_signs_mean_text() {
        let all =
            |texts: &[&str]| type_of(texts.iter().fold(0, |kinds, text| kinds | untyped(text).for_new_column().0));
        assert_eq!(all(&["1", "-2", "0"]), Some(ColumnType::BigInt));
        assert_eq!(all(&["1", "007"]), Some(ColumnType::Varchar));
        assert_eq!(all(&["+1"]), Some(ColumnType::Varchar));
        assert_eq!(all(&["1", "2.5", "1e3"]), Some(ColumnType::Double));
        assert_eq!(all(&["true", "FALSE"]), Some(ColumnType::Boolean));
        assert_eq!(all(&["true", "1"]), Some(ColumnType::Varchar));
        assert_eq!(all(&["NaN"]), Some(ColumnType::Varchar));
        assert_eq!(all(&["1e999"]), Some(ColumnType::Varchar));
        assert_eq!(all(&["-0"]), Some(ColumnType::Double));
        assert_eq!(all(&[]), None);
    }

    #[test]
    fn numbers_never_lose_digits() {
        let all = |texts: &[&str]| {
            type_of(texts.iter().fold(0, |kinds, text| kinds | Scalar::Number(text).for_new_column().0))
        };
        assert_eq!(all(&["9007199254740993"]), Some(ColumnType::BigInt));
        assert_eq!(all(&["9007199254740993", "0.5"]), Some(ColumnType::Varchar));
        assert_eq!(all(&["9223372036854775808"]), Some(ColumnType::Varchar));
        assert_eq!(Scalar::Number("9007199254740993").fit(ColumnType::Double), None);
        assert_eq!(Scalar::Number("5.0").fit(ColumnType::BigInt), None);
        assert_eq!(Scalar::Number("5").fit(ColumnType::Double), Some(Value::Float(5.0)));
    }

    #[test]
    fn the_form_for_a_column_without_a_type_tells_the_text() {
        for text in
            ["0", "-5", "9223372036854775807", "-0", "5.0", "1e3", "007", "+1", "True", "", "9223372036854775808"]
        {
            for scalar in [untyped(text), Scalar::Number(text), Scalar::Text(text.into())] {
                let (_, value) = scalar.for_new_column();
                let told = match value {
                    Value::Int(value) => Scalar::Int(value).text().into_owned(),
                    Value::Text(text) => text.into_owned(),
                    other => panic!("{other:?}"),
                };
                assert_eq!(told, text);
            }
        }
    }

    #[test]
    fn a_text_is_never_a_number() {
        assert_eq!(Scalar::Text("5".into()).fit(ColumnType::BigInt), None);
        assert_eq!(untyped("5").fit(ColumnType::BigInt), Some(Value::Int(5)));
        assert_eq!(Scalar::Number("5").fit(ColumnType::Varchar), Some(Value::Text("5".into())));
    }
}
