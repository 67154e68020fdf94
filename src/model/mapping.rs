//! Which source columns an event's identity, keys and time come from.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Where `event_id` comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdSource {
    /// One column's text, or of several the JSON array of their texts.
    Columns(Vec<String>),
    /// A digest over all source columns: identical rows are one event.
    Hash,
}

/// Where `event_type` or `tenant_id` comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeySource {
    Column(String),
    Constant(String),
}

/// What a numeric time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeUnit {
    #[serde(rename = "s")]
    Seconds,
    #[serde(rename = "ms")]
    Millis,
    #[serde(rename = "us")]
    Micros,
    #[serde(rename = "ns")]
    Nanos,
}

impl TimeUnit {
    pub const ALL: [TimeUnit; 4] = [Self::Seconds, Self::Millis, Self::Micros, Self::Nanos];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Millis => "ms",
            Self::Micros => "us",
            Self::Nanos => "ns",
        }
    }

    /// Microseconds since the epoch; `None` when they do not fit.
    pub fn to_micros(self, value: i64) -> Option<i64> {
        match self {
            Self::Seconds => value.checked_mul(1_000_000),
            Self::Millis => value.checked_mul(1_000),
            Self::Micros => Some(value),
            Self::Nanos => Some(value.div_euclid(1_000)),
        }
    }
}

impl FromStr for TimeUnit {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|unit| unit.as_str() == text)
            .ok_or_else(|| Error::usage(format!("`{text}` is not a time unit")).hint("the units are s, ms, us, ns"))
    }
}

/// How source columns become an event. Remembered by the archive at its first commit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mapping {
    pub id: IdSource,
    pub event_type: KeySource,
    pub tenant: KeySource,
    pub time: String,
    /// Needed where times are numbers.
    pub time_unit: Option<TimeUnit>,
}

impl Default for Mapping {
    fn default() -> Self {
        Mapping {
            id: IdSource::Columns(vec!["event_id".to_owned()]),
            event_type: KeySource::Column("event_type".to_owned()),
            tenant: KeySource::Column("tenant_id".to_owned()),
            time: "ts".to_owned(),
            time_unit: None,
        }
    }
}

impl Mapping {
    /// A digest of the mapping: the same bytes under another mapping are another export.
    pub fn digest(&self) -> String {
        let json = serde_json::to_vec(self).expect("a mapping is plain data");
        blake3::hash(&json).to_hex()[..16].to_owned()
    }
}

impl FromStr for IdSource {
    type Err = Error;

    /// `hash`, or one or more column names with commas between.
    fn from_str(text: &str) -> Result<Self> {
        if text == "hash" {
            return Ok(IdSource::Hash);
        }
        let columns: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
        if columns.iter().any(String::is_empty) {
            return Err(
                Error::usage(format!("`{text}` names an empty id column")).hint("write --id COL[,COL…] or --id hash")
            );
        }
        Ok(IdSource::Columns(columns))
    }
}

impl FromStr for KeySource {
    type Err = Error;

    /// A column name, or `=value` for a constant.
    fn from_str(text: &str) -> Result<Self> {
        match text.strip_prefix('=') {
            Some("") => Err(Error::usage("a constant key cannot be empty").hint("write for example --tenant =acme")),
            Some(value) => Ok(KeySource::Constant(value.to_owned())),
            None if text.is_empty() => Err(Error::usage("a key column needs a name")),
            None => Ok(KeySource::Column(text.to_owned())),
        }
    }
}

impl fmt::Display for IdSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IdSource::Columns(columns) => f.write_str(&columns.join(",")),
            IdSource::Hash => f.write_str("hash"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_part_of_the_stored_format() {
        assert_eq!(Mapping::default().digest(), "c6cf2352ec0a3846");
    }
}
