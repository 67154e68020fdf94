//! One complete input, and what the ledger remembers of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What tells an unchanged file from a changed one without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportStamp {
    /// As it was named: a local path made absolute, or an `s3://` address.
    pub path: String,
    pub size_bytes: u64,
    /// Modification time of a local file in microseconds since the epoch, or an object's ETag.
    pub version: String,
}

/// An export in the ledger: consumed once, known by content digest and mapping, never by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportEntry {
    /// BLAKE3 of the bytes as they lie in the file (compressed, if it is), 64 hex digits.
    pub digest: String,
    /// [`super::Mapping::digest`].
    pub mapping: String,
    pub stamp: ExportStamp,
    pub archived_at: Timestamp,
    /// The catalog version that added it.
    pub version: u64,
    pub read: u64,
    pub accepted: u64,
    pub duplicate: u64,
    pub dead_letter: u64,
}
