//! A record that failed validation, kept with its reason and origin so that nothing is lost.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Why a record was not archived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Not a JSON object, not a CSV record with the header's number of fields, or a key twice in one record.
    Syntax,
    /// Not UTF-8.
    Encoding,
    /// Longer than a record may be.
    TooLong,
    /// No event id.
    Id,
    /// No event type or tenant, or one that cannot be a folder.
    Key,
    /// No time, one that cannot be read, or one outside the accepted range.
    Time,
    /// A value that does not fit the type of its column.
    Type,
    /// One column more than an archive may have.
    Columns,
    /// The same identity as an event already there, with other content.
    Conflict,
    /// Perhaps a duplicate of an archived object that cannot be read now.
    Undecided,
}

impl Reason {
    pub const ALL: [Reason; 10] = [
        Self::Syntax,
        Self::Encoding,
        Self::TooLong,
        Self::Id,
        Self::Key,
        Self::Time,
        Self::Type,
        Self::Columns,
        Self::Conflict,
        Self::Undecided,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::Encoding => "encoding",
            Self::TooLong => "too-long",
            Self::Id => "id",
            Self::Key => "key",
            Self::Time => "time",
            Self::Type => "type",
            Self::Columns => "columns",
            Self::Conflict => "conflict",
            Self::Undecided => "undecided",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Reason {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            Error::usage(format!("`{text}` is not a dead-letter reason")).hint(format!("the reasons are {names}"))
        })
    }
}

/// How `raw` is to be read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordFormat {
    Ndjson,
    Csv,
}

/// One line of a dead-letter file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    pub file: String,
    /// Counted from 1; of a Parquet export the row.
    pub line: u64,
    pub reason: Reason,
    /// What exactly is wrong, for a person.
    pub detail: String,
    pub format: RecordFormat,
    /// The CSV header the record belongs to, as one CSV line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The record as it stood in the export; of a Parquet row its JSON.
    pub raw: String,
    /// `raw` is the hex of bytes that are not UTF-8.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub raw_is_hex: bool,
    /// `raw` holds only the beginning of a record that was too long.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}
