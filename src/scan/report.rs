//! What pruning left over at each level.

use std::sync::{Arc, Mutex, PoisonError};

/// Files over all scans of one query: a query that reads the table twice has twice the total.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScanReport {
    pub files_total: u64,
    /// In leaves that may match.
    pub files_after_root: u64,
    /// That may match themselves.
    pub files_after_leaf: u64,
}

/// Where the scans of a query note what they did.
#[derive(Debug, Clone, Default)]
pub(super) struct ScanLog(Arc<Mutex<ScanReport>>);

impl ScanLog {
    pub fn add(&self, scan: ScanReport) {
        let mut sum = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sum.files_total += scan.files_total;
        sum.files_after_root += scan.files_after_root;
        sum.files_after_leaf += scan.files_after_leaf;
    }

    pub fn take(&self) -> ScanReport {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
