//! What a store says of one object: its class, and whether its bytes can be read now.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::StorageClass;

/// An object as HEAD or a listing with restore status shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectState {
    /// Relative to the archive root.
    pub path: String,
    pub size_bytes: u64,
    /// S3 keeps saying GLACIER while a restored copy is readable: never ask the class alone, ask
    /// [`ObjectState::is_readable`].
    pub storage_class: StorageClass,
    pub restore: RestoreState,
    pub modified: Timestamp,
}

/// Of an archived object; of others it is [`RestoreState::None`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "restore")]
pub enum RestoreState {
    /// Never restored, or the copy has expired.
    None,
    Running,
    Restored {
        until: Timestamp,
    },
}

impl ObjectState {
    /// Whether the object's bytes can be read at `now`.
    pub fn is_readable(&self, now: Timestamp) -> bool {
        !self.storage_class.is_archived() || matches!(self.restore, RestoreState::Restored { until } if until > now)
    }
}
