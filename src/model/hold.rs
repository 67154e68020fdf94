//! A legal hold: what must not be deleted or moved, whatever the policy says.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{DataFile, KeyRange};

/// Covers every event of the named tenants, types and dates; what is not named covers all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Short and unique in the archive.
    pub id: String,
    /// Exact values; empty: all of them.
    #[serde(default)]
    pub tenants: Vec<String>,
    #[serde(default)]
    pub event_types: Vec<String>,
    /// Inclusive.
    #[serde(default)]
    pub from: Option<Date>,
    #[serde(default)]
    pub to: Option<Date>,
    pub reason: String,
    pub since: Timestamp,
}

impl Hold {
    /// Whether some event of the file may be under the hold.
    pub fn may_cover(&self, file: &DataFile) -> bool {
        let names = |names: &[String], range: &KeyRange<String>| {
            names.is_empty() || names.iter().any(|name| range.contains(name))
        };
        names(&self.tenants, &file.tenants)
            && names(&self.event_types, &file.event_types)
            && self.from.is_none_or(|from| file.dates.max >= from)
            && self.to.is_none_or(|to| file.dates.min <= to)
    }
}
