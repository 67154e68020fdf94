//! The main job: exports in, one commit per batch of them out.
//!
//! # Flow
//! [`exports`](crate::exports) finds the exports and leaves out those the ledger knows; [`read`] decodes them on all cores into the
//! buffer; [`mod@write`] takes the cells one by one, drops what is there already and writes the files; [`run`] commits.
//!
//! # Consistency
//! `read = accepted + duplicate + dead letter`, for every export, is checked before the commit. When another commit
//! changed what this one relied on, the batch is decided again on the newest version.
//!
//! # Crash
//! Nothing is visible before the commit; files of a killed run are orphans for `tier vacuum`. Running again does the rest.

mod after;
mod dead_letters;
mod existing;
mod hot;
mod plan;
mod read;
mod replay;
mod report;
mod reread;
mod revert;
mod run;
mod write;

pub use dead_letters::{DeadLetterLimit, Example, list_dead_letters, read_dead_letters};
pub use hot::{
    DayReport, Days, FailedDay, HotReport, KeptDay, RunRecord, SealReport, Stays, TrimDay, TrimPlan, TrimReport,
    TrimRequest, Unarchived, Why, from_hot, last_run, look_for_unarchived, plan_trim, seal_dates, trim,
};
pub use plan::{ArchivePlan, PlannedExport, plan};
pub use replay::{Replay, discard, replay};
pub use report::{ArchiveReport, ExportReport, ExportStatus};
pub use revert::{RevertReport, revert};
pub use run::{AfterCommit, ArchiveRequest, MappingChoice, archive};
