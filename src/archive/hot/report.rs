//! What a run over the hot tier did, and what it leaves in danger.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Serialize, Serializer};

use super::due::{Due, Why};
use crate::archive::report::ArchiveReport;
use crate::error::Error;
use crate::hot::HotSettings;

/// A whole run. `read = accepted + duplicate + dead_letter`, in total and for each day.
#[derive(Debug, Default, Serialize)]
pub struct HotReport {
    pub source: String,
    /// In the order they were read.
    pub days: Vec<DayReport>,
    /// Of a hot tier of exports: what became of them.
    pub exports: Option<ArchiveReport>,
    /// Dates sealed after exports.
    pub sealed: Vec<Date>,
    pub read: u64,
    pub accepted: u64,
    pub duplicate: u64,
    pub dead_letter: u64,
    /// Days that could not be archived; the others were.
    pub failed: Vec<FailedDay>,
    /// Days whose events only the hot tier has.
    pub unarchived: Vec<Unarchived>,
    pub elapsed_ms: u64,
}

#[derive(Debug, Serialize)]
pub struct DayReport {
    pub date: Date,
    pub why: Why,
    /// That sealed it, or noted that it was read again.
    pub version: u64,
    pub read: u64,
    pub accepted: u64,
    pub duplicate: u64,
    pub dead_letter: u64,
    /// Rows as the hot tier counted them, after they were read.
    pub counted: u64,
    /// Rows that will expire before the warning's days are over.
    pub expiring: u64,
    /// Events may have expired before the day was first read.
    pub incomplete: bool,
    pub cells: u64,
    pub files: u64,
    pub bytes_out: u64,
    pub elapsed_ms: u64,
    #[serde(skip)]
    pub archive: ArchiveReport,
}

#[derive(Debug, Serialize)]
pub struct FailedDay {
    pub date: Date,
    #[serde(serialize_with = "as_text")]
    pub error: Error,
}

fn as_text<S: Serializer>(error: &Error, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(error)
}

/// A day that the archive does not answer for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unarchived {
    pub date: Date,
    /// Whether the nightly job may take it.
    pub is_closed: bool,
    /// When its first events expire.
    pub expires_at: Timestamp,
    /// Whole days until then; negative once they have begun to.
    pub days_left: i64,
    /// Fewer than the warning asks for.
    pub is_in_danger: bool,
}

impl HotReport {
    pub fn add(&mut self, day: DayReport) {
        self.read += day.read;
        self.accepted += day.accepted;
        self.duplicate += day.duplicate;
        self.dead_letter += day.dead_letter;
        self.days.push(day);
    }
}

impl DayReport {
    pub fn new(due: Due, archive: ArchiveReport, elapsed_ms: u64) -> Self {
        let hot = archive.hot.unwrap_or_default();
        DayReport {
            date: due.date,
            why: due.why,
            version: archive.version.unwrap_or(0),
            read: archive.read,
            accepted: archive.accepted,
            duplicate: archive.duplicate,
            dead_letter: archive.dead_letter,
            counted: hot.counted,
            expiring: hot.expiring,
            incomplete: due.incomplete,
            cells: archive.cells,
            files: archive.files,
            bytes_out: archive.bytes_out,
            elapsed_ms,
            archive,
        }
    }
}

impl Unarchived {
    pub fn new(hot: &HotSettings, date: Date, now: Timestamp) -> Self {
        const SECONDS_PER_DAY: i64 = 86_400;
        let expires_at = hot.expires_from(date);
        let days_left = expires_at.duration_since(now).as_secs().div_euclid(SECONDS_PER_DAY);
        Unarchived {
            date,
            is_closed: hot.closes_at(date) <= now,
            expires_at,
            days_left,
            is_in_danger: days_left < i64::from(hot.warn_days),
        }
    }
}
