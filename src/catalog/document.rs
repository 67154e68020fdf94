//! The JSON document in a root's key-value metadata.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::{ExportEntry, Hold, Mapping, Reason, Schema, Seals, StorageClass};

/// Everything about a version that is not a list of leaves. Unknown fields are ignored; a change that a reader must not
/// ignore is named in `required_features`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RootDocument {
    pub format_version: u32,
    /// A reader that does not know one of these must refuse.
    #[serde(default)]
    pub required_features: Vec<String>,
    pub table_id: String,
    pub version: u64,
    pub commit_id: String,
    pub parent_commit_id: Option<String>,
    /// SHA-256 of the parent's bytes, hex.
    pub parent_sha256: Option<String>,
    /// Never before the parent's.
    pub time: Timestamp,
    pub operation: Operation,
    pub schema: Schema,
    /// Absent until the first export is archived.
    pub mapping: Option<Mapping>,
    /// The newest ledger entries; older ones are in `ledgers`.
    #[serde(default)]
    pub exports: Vec<ExportEntry>,
    #[serde(default)]
    pub ledgers: Vec<LedgerRef>,
    /// Versions that were reverted: their ledger entries no longer count.
    #[serde(default)]
    pub reverted: Vec<u64>,
    /// Open dead letters; closing one takes it off this list.
    #[serde(default)]
    pub dead_letters: Vec<DeadLetterFile>,
    /// Legal holds in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<Hold>,
    /// The dates that the archive answers for alone.
    #[serde(default, skip_serializing_if = "Seals::is_empty")]
    pub seals: Seals,
    /// A run begun below this version may not commit: its files may be gone.
    #[serde(default)]
    pub gc_floor: u64,
    #[serde(default)]
    pub totals: BTreeMap<StorageClass, Totals>,
}

/// Data files with keys inside, whose cells are listed in a pack.
pub const BUNDLES_FEATURE: &str = "bundles";

/// Leaves that list files of several versions: who reverts must know which are whose.
pub const MERGED_LEAVES_FEATURE: &str = "merged-leaves";

/// Features this code understands beyond the first format.
const KNOWN_FEATURES: [&str; 2] = [BUNDLES_FEATURE, MERGED_LEAVES_FEATURE];

impl RootDocument {
    /// Of what is before the first version.
    pub fn empty() -> Self {
        RootDocument {
            format_version: super::FORMAT_VERSION,
            required_features: Vec::new(),
            table_id: String::new(),
            version: 0,
            commit_id: String::new(),
            parent_commit_id: None,
            parent_sha256: None,
            time: Timestamp::UNIX_EPOCH,
            operation: Operation::new("none", 0),
            schema: Schema::default(),
            mapping: None,
            exports: Vec::new(),
            ledgers: Vec::new(),
            reverted: Vec::new(),
            dead_letters: Vec::new(),
            holds: Vec::new(),
            seals: Seals::default(),
            gc_floor: 0,
            totals: BTreeMap::new(),
        }
    }

    /// Refuses a document this code would misread.
    pub fn check_readable(&self) -> Result<()> {
        let unknown = self.required_features.iter().find(|feature| !KNOWN_FEATURES.contains(&feature.as_str()));
        let why = if self.format_version > super::FORMAT_VERSION {
            format!("has catalog format {}; this tier reads up to {}", self.format_version, super::FORMAT_VERSION)
        } else if let Some(feature) = unknown {
            format!("needs the feature `{feature}`, which this tier does not know")
        } else {
            return Ok(());
        };
        Err(Error::usage(format!("the archive {why}")).code("newer-format").hint("use a newer tier"))
    }
}

/// What a commit did. The kind is text in the document, so that an older reader can still show a newer kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// `append`, `revert`, `discard`, `vacuum`, `replace`, `expire`, `state`, `hold`, `seal`, `trim`,
    /// `compact`, `merge`, `rebuild`, `lost`; later kinds are readable too.
    pub kind: String,
    /// The version the operation's decisions were made on.
    pub base_version: u64,
    #[serde(default)]
    pub read: u64,
    #[serde(default)]
    pub accepted: u64,
    #[serde(default)]
    pub duplicate: u64,
    #[serde(default)]
    pub dead_letter: u64,
    #[serde(default)]
    pub files: u64,
    #[serde(default)]
    pub bytes: u64,
    /// Dates on which records were dropped because the archive already held them: what a revert must not pull away.
    #[serde(default)]
    pub leaned_on: Vec<Date>,
    /// Of a revert: the version taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverts: Option<u64>,
    /// Of a lifecycle move: the digest of the plan it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
}

impl Operation {
    pub fn new(kind: &str, base_version: u64) -> Self {
        Operation {
            kind: kind.to_owned(),
            base_version,
            read: 0,
            accepted: 0,
            duplicate: 0,
            dead_letter: 0,
            files: 0,
            bytes: 0,
            leaned_on: Vec::new(),
            reverts: None,
            plan: None,
        }
    }

    /// Whether the archive has the same files as before, even if they are listed elsewhere.
    pub fn keeps_files(&self) -> bool {
        matches!(self.kind.as_str(), "vacuum" | "merge")
    }

    /// Whether the archive has files of the same paths as before, even if their classes changed.
    pub fn keeps_paths(&self) -> bool {
        self.keeps_files() || self.kind == "state"
    }

    /// Whether every cell has the same events as before, wherever they lie by then.
    pub fn keeps_events(&self) -> bool {
        self.keeps_files() || matches!(self.kind.as_str(), "compact" | "replace" | "state" | "hold")
    }
}

/// A Parquet file of older ledger entries, sorted by digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRef {
    pub path: String,
    pub sha256: String,
    pub entries: u64,
}

/// Dead letters of one run and one reason, as zstd-compressed NDJSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterFile {
    pub path: String,
    pub reason: Reason,
    pub records: u64,
    pub sha256: String,
    /// The version that added it.
    pub version: u64,
    pub time: Timestamp,
}

/// What a storage class holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    pub files: u64,
    pub rows: u64,
    pub bytes: u64,
}

impl Totals {
    pub fn add(&mut self, files: u64, rows: u64, bytes: u64) {
        self.files += files;
        self.rows += rows;
        self.bytes += bytes;
    }

    /// Takes a file away; `None` when more would be taken than there is.
    pub fn remove(&mut self, rows: u64, bytes: u64) -> Option<()> {
        self.files = self.files.checked_sub(1)?;
        self.rows = self.rows.checked_sub(rows)?;
        self.bytes = self.bytes.checked_sub(bytes)?;
        Some(())
    }
}
