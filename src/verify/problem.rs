//! What is wrong, of which object, and the way out.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::error::{Error, Kind, Result};

/// Problems that are named; more are only counted.
const NAMED: usize = 1_000;

/// What can be wrong. Each kind has one way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// A version between the first and the newest has no root.
    MissingVersion,
    /// A root that cannot be read or breaks an invariant.
    BadRoot,
    /// A root that is not the child of the one before it.
    BrokenChain,
    /// A leaf or its audit that is missing, damaged, or not what its root says.
    BadLeaf,
    BadLedger,
    BadDeadLetters,
    BadPack,
    /// A data file that the catalog names and the store has not.
    Missing,
    OtherSize,
    OtherClass,
    /// A data file whose bytes are not those that were written.
    Damaged,
    /// The same identity twice.
    DoubledEvent,
}

impl ProblemKind {
    /// What a person does about it.
    pub fn way_out(self) -> &'static str {
        match self {
            Self::MissingVersion | Self::BrokenChain => {
                "the newest version is not touched by it; find out who deletes or writes below _tier/root"
            }
            Self::BadRoot => {
                "bring the object back from a copy or an older object version; only --as-of of this version needs it"
            }
            Self::BadLeaf => {
                "bring the object back from a copy or an older object version, or rebuild the catalog: tier rebuild \
                 --check, then --replace; until then no vacuum, no archive run"
            }
            Self::BadLedger => {
                "bring the object back from a copy; event ids still keep a repeated export from doubling events"
            }
            Self::BadDeadLetters => {
                "bring the object back from a copy, or give the records up: tier dead-letter discard"
            }
            Self::BadPack => "bring the object back from a copy; the data file itself is not touched by it",
            Self::Missing | Self::OtherSize | Self::Damaged => {
                "bring the object back from a copy, an older object version, or the vault (tier vault get); \
                 where there is none, revert the version that added it and archive its exports again"
            }
            Self::OtherClass => "tier lifecycle drift --record",
            Self::DoubledEvent => "tier inspect file shows which versions added the files; revert the later one",
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

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.what)
    }
}

/// Collects problems, bounded.
#[derive(Debug, Default)]
pub struct Problems {
    pub named: Vec<Problem>,
    pub counts: BTreeMap<ProblemKind, u64>,
}

impl Problems {
    pub fn add(&mut self, kind: ProblemKind, object: &str, what: impl Into<String>) {
        *self.counts.entry(kind).or_default() += 1;
        if self.has_room() {
            self.named.push(Problem { kind, object: object.to_owned(), what: what.into(), way_out: kind.way_out() });
        }
    }

    /// Counts one whose name is not worth finding out any more.
    pub fn count(&mut self, kind: ProblemKind) {
        *self.counts.entry(kind).or_default() += 1;
    }

    pub fn has_room(&self) -> bool {
        self.named.len() < NAMED
    }

    /// The value, or a problem where the error is the object's fault. One of the store's or the user's ends the run.
    pub fn catch<T>(&mut self, kind: ProblemKind, object: &str, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == Kind::Failed => {
                self.add(kind, object, words(&error));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// The error in one line, the innermost cause first: the object is named already.
pub fn words(error: &Error) -> String {
    error.causes().pop().unwrap_or_else(|| error.headline()).replace('\n', " ")
}
