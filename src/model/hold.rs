//! A legal hold: what must not be deleted or moved, whatever the policy says.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{DataFile, FileView, KeyRange};

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
        self.may_cover_view(&FileView::from(file))
    }

    /// As [`Hold::may_cover`], of a file that is looked at in place.
    pub fn may_cover_view(&self, file: &FileView<'_>) -> bool {
        self.may_cover_any(&file.tenants, &file.event_types, &file.dates)
    }

    /// Whether some event in these ranges may be under the hold.
    pub fn may_cover_any(
        &self,
        tenants: &KeyRange<&str>,
        event_types: &KeyRange<&str>,
        dates: &KeyRange<Date>,
    ) -> bool {
        let names = |names: &[String], range: &KeyRange<&str>| {
            names.is_empty() || names.iter().any(|name| range.contains(&name.as_str()))
        };
        names(&self.tenants, tenants)
            && names(&self.event_types, event_types)
            && self.from.is_none_or(|from| dates.max >= from)
            && self.to.is_none_or(|to| dates.min <= to)
    }
}
