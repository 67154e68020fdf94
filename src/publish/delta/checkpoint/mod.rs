//! Checkpoints: all of the table in one place, so that a reader need not replay its log.
//!
//! A small table's are classic: one Parquet file, written whole. A large one's are V2, see [`v2`]; it says so in its
//! protocol from the commit on that made it large, and stays so.

mod changes;
mod classic;
mod columns;
mod ranges;
mod sidecars;
mod v2;

use serde::Serialize;

use super::action::{MetaData, Protocol, Shown, Txn};
use super::log::{LAST_CHECKPOINT, Log};
use super::txn;
use crate::catalog::Snapshot;
use crate::context::Context as Ctx;
use crate::error::{Context, Result};

pub use v2::clean;

/// When checkpoints are written, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoints {
    /// Commits from one to the next.
    pub every: u64,
    /// A table that has had more files has V2 checkpoints.
    pub sidecars_above: u64,
    /// A sidecar lists at most so many, and at least a quarter of it where there are several.
    pub files_per_sidecar: u64,
}

impl Default for Checkpoints {
    fn default() -> Self {
        Checkpoints {
            // Delta's own default of `delta.checkpointInterval`.
            every: 10,
            // A classic checkpoint of so many files is about 200 MB.
            sidecars_above: 5_000_000,
            // One row group.
            files_per_sidecar: columns::ROWS_PER_GROUP as u64,
        }
    }
}

/// A commit to write the checkpoint of.
pub struct Subject<'a> {
    pub version: u64,
    pub shown: &'a Shown,
    /// A version of the archive whose files the commit shows.
    pub snapshot: &'a Snapshot,
}

impl Subject<'_> {
    fn head(&self) -> (Protocol, MetaData, Txn) {
        let metadata = MetaData::new(self.shown, self.snapshot.schema());
        (Protocol::of(self.shown), metadata, txn(self.snapshot, self.shown))
    }
}

/// Where readers begin, as `_last_checkpoint` says it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LastCheckpoint {
    version: u64,
    /// Its actions.
    size: u64,
    num_of_add_files: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    v2_checkpoint: Option<TopFile>,
}

/// Without it Trino looks for a classic one.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TopFile {
    /// Its name.
    path: String,
    size_in_bytes: u64,
    modification_time: i64,
}

/// Writes the checkpoint of the newest commit of `log`.
pub async fn write(ctx: &Ctx, log: &Log, checkpoints: &Checkpoints, subject: Subject<'_>) -> Result<()> {
    let last = match subject.shown.has_sidecars {
        true => v2::write(ctx, log, &subject, checkpoints.files_per_sidecar).await,
        false => classic::write(ctx, &subject).await,
    };
    let phrase = || format!("write the checkpoint of version {} of the Delta table", subject.version);
    let last = serde_json::to_vec(&last.with_context(phrase)?).with_context(phrase)?;
    ctx.store.put(LAST_CHECKPOINT, last).await.with_context(phrase)
}
