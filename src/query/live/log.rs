//! What one statement has read of the hot tier so far, and what it lacks.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use jiff::civil::Date;
use serde::Serialize;

use crate::error::Error;

/// Shared by the scans of a statement.
#[derive(Debug, Default)]
pub struct HotLog {
    rows: AtomicU64,
    refused: AtomicU64,
    missing: Mutex<Option<HotMissing>>,
}

/// What the hot tier did not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HotMissing {
    pub first: Date,
    pub last: Date,
    /// Whether events of these days that are archived are missing too: only the hot tier was asked for them.
    pub archived_too: bool,
    /// Why it did not answer.
    pub reason: String,
}

impl HotLog {
    pub fn add(&self, rows: u64, refused: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.refused.fetch_add(refused, Ordering::Relaxed);
    }

    /// Rows that came, and how many of them are no events.
    pub fn read(&self) -> (u64, u64) {
        (self.rows.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }

    /// Notes that events of these days are missing; the first reason stays.
    pub fn miss(&self, days: &BTreeSet<Date>, archived_too: bool, error: &Error) {
        let Some((&first, &last)) = days.first().zip(days.last()) else { return };
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *missing {
            Some(known) => {
                (known.first, known.last) = (known.first.min(first), known.last.max(last));
                known.archived_too |= archived_too;
            }
            None => *missing = Some(HotMissing { first, last, archived_too, reason: reason(error) }),
        }
    }

    pub fn missing(&self) -> Option<HotMissing> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One line: the innermost cause is what happened.
fn reason(error: &Error) -> String {
    let text = error.causes().pop().unwrap_or_else(|| error.to_string());
    text.lines().next().unwrap_or_default().to_owned()
}

impl fmt::Display for HotMissing {
    /// `the hot tier did not answer (timed out): events of 2026-11-24 to 2026-11-25 that are not archived yet are missing`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HotMissing { first, last, archived_too, reason } = self;
        let which = if *archived_too { "" } else { " that are not archived yet" };
        write!(f, "the hot tier did not answer ({reason}): events of {}{which} are missing", span(*first, *last))
    }
}

/// `2026-11-24 to 2026-11-25`
pub fn span(first: Date, last: Date) -> String {
    if first == last { first.to_string() } else { format!("{first} to {last}") }
}
