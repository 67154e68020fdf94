//! An archived data file that something needs: what a restore is asked for.

use serde::{Deserialize, Serialize};

use super::StorageClass;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ArchivedFile {
    /// Relative to the archive root.
    pub path: String,
    pub size_bytes: u64,
    pub storage_class: StorageClass,
}
