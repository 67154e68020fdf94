//! A data file that a restore must make readable.

use serde::{Deserialize, Serialize};

use super::StorageClass;

/// What a restore needs to know of an archived file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ArchivedFile {
    /// Relative to the archive root.
    pub path: String,
    pub size_bytes: u64,
    pub storage_class: StorageClass,
}
