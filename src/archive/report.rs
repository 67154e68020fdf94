//! What an archive run did.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::Serialize;

use super::dead_letters::Example;
use super::hot::HotCounts;
use crate::data::columns::SpoiledColumn;
use crate::model::Reason;

/// What became of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExportStatus {
    Archived,
    /// The ledger has these bytes under this mapping, or the unchanged file.
    AlreadyArchived,
    /// Younger than `--settle`: left for the next run.
    Settling,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExportReport {
    pub path: String,
    /// BLAKE3, 64 hex digits; empty when the export was not read.
    pub digest: String,
    pub status: ExportStatus,
    pub read: u64,
    pub accepted: u64,
    pub duplicate: u64,
    pub dead_letter: u64,
}

/// `read = accepted + duplicate + dead_letter`, in total and for each export.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ArchiveReport {
    /// The newest version; absent when the archive is still empty.
    pub version: Option<u64>,
    /// Versions this run committed.
    pub committed: Vec<u64>,
    pub exports: Vec<ExportReport>,
    pub read: u64,
    pub accepted: u64,
    pub duplicate: u64,
    pub dead_letter: u64,
    /// Dead letters by reason.
    pub reasons: BTreeMap<Reason, u64>,
    pub cells: u64,
    pub files: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Dates that got new events.
    pub dates: Vec<Date>,
    /// Dates of records that may be in archived files already: a restore of those and a replay settle them.
    pub undecided_dates: Vec<Date>,
    /// Columns that became text through few values.
    pub spoiled_columns: Vec<SpoiledColumn>,
    /// Source columns stored under another name, as (source, stored).
    pub renamed_columns: Vec<(String, String)>,
    /// Up to three dead letters of each reason.
    pub examples: Vec<Example>,
    pub elapsed_ms: u64,
    /// Of a day of the hot tier.
    #[serde(skip)]
    pub hot: Option<HotCounts>,
}

impl ArchiveReport {
    /// Adds a later batch of the same run.
    pub fn absorb(&mut self, batch: ArchiveReport) {
        self.version = batch.version.or(self.version);
        self.committed.extend(batch.committed);
        self.exports.extend(batch.exports);
        self.read += batch.read;
        self.accepted += batch.accepted;
        self.duplicate += batch.duplicate;
        self.dead_letter += batch.dead_letter;
        for (reason, records) in batch.reasons {
            *self.reasons.entry(reason).or_default() += records;
        }
        self.cells += batch.cells;
        self.files += batch.files;
        self.bytes_in += batch.bytes_in;
        self.bytes_out += batch.bytes_out;
        self.dates.extend(batch.dates);
        self.dates.sort_unstable();
        self.dates.dedup();
        self.undecided_dates.extend(batch.undecided_dates);
        self.undecided_dates.sort_unstable();
        self.undecided_dates.dedup();
        self.spoiled_columns.extend(batch.spoiled_columns);
        self.renamed_columns.extend(batch.renamed_columns);
        self.renamed_columns.sort();
        self.renamed_columns.dedup();
        self.examples.extend(batch.examples);
    }
}
