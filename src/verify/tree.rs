//! Whether an engine that reads `events/` directly sees now exactly what `tier query` sees of the archive.

use serde::Serialize;

use super::leaves::Files;
use super::listing::Listing;

/// Why a direct read is exact, or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TreeReport {
    pub is_exact: bool,
    /// Each with its way out, where there is one.
    pub reasons: Vec<String>,
}

impl TreeReport {
    pub(super) fn of(files: &Files, listing: &Listing) -> Self {
        let mut reasons = Vec::new();
        if listing.in_tree.objects > 0 {
            reasons.push(format!(
                "{} files below events/ are not part of the archive: tier vacuum deletes those of killed runs and replaced \
                 ones",
                listing.in_tree.objects
            ));
        }
        if files.bundled_rows > 0 {
            reasons.push(format!("{} rows lie in bundles, which no direct reader of events/ sees", files.bundled_rows));
        }
        if listing.archived_in_tree.objects > 0 {
            reasons.push(format!(
                "{} files below events/ are archived and cannot be read before a restore",
                listing.archived_in_tree.objects
            ));
        }
        if !listing.broken.is_empty() {
            reasons.push("files of the archive are missing or damaged".to_owned());
        }
        if files.unreadable > 0 {
            reasons.push("leaves that cannot be read may name more files".to_owned());
        }
        TreeReport { is_exact: reasons.is_empty(), reasons }
    }
}
