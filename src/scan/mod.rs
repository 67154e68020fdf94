//! A predicate and a snapshot become the files to read, and those a DataFusion table.
//!
//! # Flow
//! ```text
//! root ── ranges of leaves ──▶ leaves that may match ── ranges of files ──▶ files that may match
//!      cells' files ── their keys ──▶ files that do match ──────────────────┐
//!      bundles ── packs: their lists of cells ──▶ runs of rows that do match ├─▶ keys and counts: answered
//!                                                                            │
//!      files with a hot footer ◀─────────────────────────────────────────────┘
//!          └─ statistics of row groups ──▶ row groups that may match; a file without one needs no restore
//! files ──▶ DataFusion's Parquet source: row groups, bloom filters, pages, rows
//! ```
//! A bundle holds many cells, sorted, with the keys as columns inside; a scan reads exactly the rows of the cells it
//! needs, as if each were a file. Where both kinds are needed the plan is their union.
//!
//! The ranges of the catalog are the statistics of DataFusion's `PruningPredicate`: "may match", and what it does not
//! understand it keeps. A predicate on keys alone is decided here for good, because a cell has one value of each; a
//! query for nothing but keys and counts reads no data, and neither do `min(ts)` and `max(ts)` without other filters.
//! Groups of keys are counted run by run, not event by event.
//!
//! Up to a few thousand files are held by the plan. Of more it holds sums only, and reads their leaves once more when it
//! runs, each in its turn: memory does not grow with them. A limit ends the search where the catalog knows of enough rows.
//! Where the first rows of an order by keys or time are wanted, files and leaves come in that order, and those that by then
//! cannot have any of them are skipped.
//!
//! # Cost
//! One GET for each leaf that may match, and one for near parts of a pack. A data file of up to a megabyte is one GET, on
//! S3 begun before its turn; of a larger one the footer with its page index is one, unless a pack has it, and each run of
//! needed pages another. Data is never listed.

mod ahead;
mod changed;
mod counted;
mod exact;
mod files;
mod footer;
mod keys;
mod needed;
mod order;
mod packs;
mod parts;
mod planned;
mod prune;
mod reader;
mod report;
mod requests;
mod rows;
mod select;
mod selected;
mod source;
mod statistics;
mod table;

pub use changed::{ChangedFiles, Side};
pub use counted::CountKeys;
pub use planned::{ArchivedShare, PlannedFiles, Taken};
pub use report::ScanReport;
pub use table::EventsTable;
