//! What a rebuild found, left out, could not decide, and cannot bring back.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::catalog::Totals;
use crate::error::Error;
use crate::model::{Column, StorageClass};
use crate::store::ObjectSum;

/// Problems and differences that are named; more are only counted.
const NAMED: usize = 1_000;

/// Why an object has no place in the new catalog. One is enough that nothing is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// It cannot be read now, and no pack has its footer.
    NoFooter,
    /// What its footer says makes no sense, or there is none.
    Damaged,
    /// It says itself that it belongs to another cell, or its columns are not those of the others.
    Misfit,
    /// Its events may be those of a file that cannot be read now.
    Undecided,
    /// Some of its events, and not all of them, are in another file.
    Overlap,
}

impl ProblemKind {
    /// What a person does about it.
    pub fn way_out(self) -> &'static str {
        match self {
            Self::NoFooter => {
                "have the store restore the object (S3: aws s3api restore-object) and rebuild when it can be read, \
                 or go without its events: --leave-out PATH"
            }
            Self::Damaged | Self::Misfit => {
                "bring the object back from a copy or an older object version, or go without its events: --leave-out PATH"
            }
            Self::Undecided => {
                "decide: --leave-out PATH where its events are in the other one, as after a killed run, --keep PATH where \
                 they are not; or find out: --leave-out PATH now, tier restore the other one, tier rebuild --replace when it \
                 can be read, and no vacuum in between"
            }
            Self::Overlap => "decide which of them goes: --leave-out PATH",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub kind: ProblemKind,
    /// A path relative to the archive root.
    pub object: String,
    pub what: String,
    pub way_out: &'static str,
}

/// Something that a check found in the data and not, or otherwise, in the catalog; or the other way round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub object: String,
    pub what: String,
}

/// What cannot come back from data, and what a person does about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lost {
    pub what: &'static str,
    pub way_out: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// Objects that are no part of the new catalog.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Their events are in a file that was made of them.
    pub replaced: ObjectSum,
    /// All of their events are in others: of killed or repeated runs.
    pub repeated: ObjectSum,
    /// Because of `--leave-out`.
    pub asked: ObjectSum,
    /// Not made by tier.
    pub foreign: ObjectSum,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct RebuildReport {
    /// The version that was committed; none where that was not asked for, or problems forbid it.
    pub version: Option<u64>,
    /// The newest version that anything tells of.
    pub newest_known: u64,
    /// Where holds, seals, mapping and the like were taken from.
    pub carried_from: Option<u64>,
    /// Rows of that version.
    pub carried_rows: Option<u64>,
    pub files: u64,
    pub rows: u64,
    pub bytes: u64,
    pub classes: BTreeMap<StorageClass, Totals>,
    pub columns: Vec<Column>,
    /// Files whose SHA-256 the new catalog does not know.
    pub without_digest: u64,
    pub left_out: LeftOut,
    pub dead_letter_files: u64,
    pub dead_letters: u64,
    /// Packs that cannot be read.
    pub broken_packs: Vec<String>,
    pub lost: Vec<Lost>,
    /// How many there are of each kind.
    pub problem_counts: BTreeMap<ProblemKind, u64>,
    /// The first thousand.
    pub problems: Vec<Problem>,
    /// Of a check.
    pub difference_count: u64,
    /// The first thousand.
    pub differences: Vec<Difference>,
}

impl RebuildReport {
    pub fn problem(&mut self, kind: ProblemKind, object: &str, what: impl Into<String>) {
        *self.problem_counts.entry(kind).or_default() += 1;
        if self.problems.len() < NAMED {
            self.problems.push(Problem { kind, object: object.to_owned(), what: what.into(), way_out: kind.way_out() });
        }
    }

    pub fn difference(&mut self, object: &str, what: impl Into<String>) {
        self.difference_count += 1;
        if self.differences.len() < NAMED {
            self.differences.push(Difference { object: object.to_owned(), what: what.into() });
        }
    }

    /// Whether data and catalog say the same.
    pub fn is_equal(&self) -> bool {
        self.problem_counts.is_empty() && self.difference_count == 0
    }
}

/// The error in one line, the innermost cause: the object is named already.
pub fn words(error: &Error) -> String {
    error.causes().pop().unwrap_or_else(|| error.headline()).replace('\n', " ")
}
