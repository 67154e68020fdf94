//! What was done to the archive: its versions, and what lies between two of them.

mod diff;

use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use serde::Serialize;

pub use diff::{CellChange, Diff, FileSums, diff};

use crate::catalog::{Operation, Snapshot, Version};
use crate::error::{Error, Kind, Result};

/// Roots read at once; one may be a few MiB.
const ROOTS_IN_FLIGHT: usize = 8;

/// Whether a version can still be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kept {
    Retained,
    /// Some of its files are deleted.
    Expired,
    /// Its root is damaged or missing.
    Unreadable,
}

/// A version in the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    pub version: u64,
    pub kept: Kept,
    /// These are absent of an unreadable version.
    pub time: Option<Timestamp>,
    pub operation: Option<Operation>,
}

/// The newest `limit` versions, newest first; one GET each.
pub async fn history(newest: &Snapshot, limit: usize) -> Result<Vec<Line>> {
    let versions = newest.versions().await?.into_iter().rev().take(limit);
    let lines = versions.map(|version| async move {
        Ok::<_, Error>(match Snapshot::look(newest.store(), version).await {
            Ok(Some(at)) => Line {
                version,
                kept: if matches!(at, Version::Retained(_)) { Kept::Retained } else { Kept::Expired },
                time: Some(at.time()),
                operation: Some(at.operation().clone()),
            },
            Ok(None) => Line { version, kept: Kept::Unreadable, time: None, operation: None },
            Err(error) if error.kind() == Kind::Failed => {
                Line { version, kept: Kept::Unreadable, time: None, operation: None }
            }
            Err(error) => return Err(error),
        })
    });
    futures::stream::iter(lines).buffered(ROOTS_IN_FLIGHT).try_collect().await
}
