//! What exists: the one place where the archive's state changes.
//!
//! A two-level tree of small Parquet files. The **root** of a version lists the **leaves** with their key ranges and
//! holds one JSON document with everything else; a leaf lists about four thousand data files, sorted by tenant, type
//! and date. Planning a query reads the root and the few leaves whose ranges match, and never lists data.
//!
//! # Consistency
//! `_tier/root/<version>.parquet` is created if absent and never changed: creating it is the commit. A writer that
//! loses the race checks its precondition against the winner and rebuilds only the root ([`commit()`]).
//!
//! # Crash
//! Data files and leaves are durable before the root is created. A crash before that leaves orphans that no root
//! names; a crash after it has lost only the hint, which is advisory.
//!
//! # Cost
//! A commit is one PUT per leaf (two with its audit file), one for the root, one for the hint. Opening is the hint, then
//! one LIST and one GET side by side.

mod commit;
mod document;
mod expired;
mod invariants;
mod leaf;
mod leaf_list;
mod leaf_table;
mod lease;
mod ledger;
mod names;
mod ranges;
mod rebuilt;
mod relocate;
mod root;
mod root_cache;
mod snapshot;
pub mod table;

pub use commit::{Change, NewSeal, Outcome, Relist, commit};
pub use document::{DeadLetterFile, LedgerRef, Operation, RootDocument, Totals};
pub use expired::Stub;
pub use leaf::{
    FILES_PER_LEAF, FileAudit, LeafRef, Listed, LiveFile, NewFile, Relisted, read_audits, read_leaf, write_leaves,
};
pub use leaf_list::LeafList;
pub use leaf_table::{CountedFile, CountedFiles, LeafFile, LeafTable};
pub use lease::{Lease, LiveRun, this_host};
pub use ledger::read as read_ledger;
pub use ranges::{Covered, RangeColumns};
pub use rebuilt::{Leaves, Rebuilt, Remains, commit_rebuilt};
pub use root::Root;
pub use snapshot::{Snapshot, Version};

/// The version of the root and leaf formats this code writes. A reader refuses a higher one. Since 2 digests in roots are
/// bytes, and leaves leave out columns that say nothing; since 3 deleted positions are bitmaps; since 4 runs and numbers
/// stand for paths in leaves.
pub const FORMAT_VERSION: u32 = 4;
