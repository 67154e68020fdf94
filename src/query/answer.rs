//! What a statement answers: a schema, batches as they come, and a report of what it took.

use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use serde::Serialize;

use super::errors;
use super::ladder::Ladder;
use crate::clock::Stopwatch;
use crate::error::{Context, Result};
use crate::store::{Requests, Store};

/// Rows on their way. Dropping it stops the query and what it still has in flight.
pub struct Answer {
    pub(super) schema: SchemaRef,
    pub(super) stream: SendableRecordBatchStream,
    /// Of an EXPLAIN: shown as its last row.
    pub(super) explained: bool,
    pub(super) version: u64,
    pub(super) ladder: Ladder,
    pub(super) rows: u64,
    pub(super) store: Store,
    pub(super) before: Requests,
    pub(super) watch: Stopwatch,
}

/// Requests by kind, as a store bills them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RequestCounts {
    pub list: u64,
    pub get: u64,
    pub head: u64,
}

/// What an answer took, up to now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    pub format_version: &'static str,
    /// Of the archive that answered.
    pub version: u64,
    pub rows: u64,
    /// Whether every event that the question covers was looked at.
    pub complete: bool,
    pub files_total: u64,
    pub files_pruned: u64,
    pub files_scanned: u64,
    /// The catalog's included.
    pub requests: RequestCounts,
    pub bytes_read: u64,
    pub elapsed_ms: u64,
}

impl Answer {
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// The next rows; `None` when the answer is whole.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let batch = match self.stream.next().await {
            Some(batch) => Some(batch.map_err(|error| errors::of_running(&error))?),
            None if self.explained => {
                self.explained = false;
                Some(self.ladder_row()?)
            }
            None => None,
        };
        self.rows += batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
        Ok(batch)
    }

    /// All rows at once: for small answers.
    pub async fn collect(&mut self) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next().await? {
            batches.push(batch);
        }
        Ok(batches)
    }

    pub fn ladder(&self) -> &Ladder {
        &self.ladder
    }

    pub fn report(&self) -> Report {
        let Requests { list, get, head, bytes_read, .. } = self.store.requests().since(&self.before);
        let files_total = self.ladder.pruned.files_total;
        Report {
            format_version: "1.0",
            version: self.version,
            rows: self.rows,
            complete: true,
            files_total,
            files_pruned: files_total.saturating_sub(self.ladder.planned.files),
            files_scanned: self.ladder.planned.files,
            requests: RequestCounts { list, get, head },
            bytes_read,
            elapsed_ms: self.watch.elapsed_ms(),
        }
    }

    fn ladder_row(&self) -> Result<RecordBatch> {
        let (kind, ladder) = (StringArray::from(vec!["archive"]), StringArray::from(vec![self.ladder.to_string()]));
        RecordBatch::try_new(self.schema.clone(), vec![Arc::new(kind), Arc::new(ladder)]).context("explain the scan")
    }
}
