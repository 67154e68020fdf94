//! A predicate and a snapshot become the files to read, and those a DataFusion table.
//!
//! # Flow
//! ```text
//! root ── ranges of leaves ──▶ leaves that may match ── ranges of files ──▶ files that may match
//!                                                        └ keys of cells ─▶ files that do match
//! files ──▶ DataFusion's Parquet source: row groups, bloom filters, pages, rows
//! ```
//! The ranges of the catalog are the statistics of DataFusion's `PruningPredicate`: "may match", and what it does not
//! understand it keeps. A predicate on keys alone is decided here for good, because a cell has one value of each; a
//! query for nothing but keys and counts reads no data, and neither do `min(ts)` and `max(ts)` without other filters.
//!
//! # Cost
//! One GET for each leaf that may match. A data file of up to a megabyte is one GET; of a larger one the footer with
//! its page index is one, and each run of needed pages another. Data is never listed.

mod files;
mod keys;
mod planned;
mod prune;
mod reader;
mod report;
mod table;

pub use planned::PlannedFiles;
pub use report::ScanReport;
pub use table::EventsTable;
