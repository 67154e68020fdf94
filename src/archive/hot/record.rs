//! A record of every run of the nightly job, also of one that found nothing to do or was killed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::HotReport;
use crate::catalog::this_host;
use crate::context::Context as Ctx;
use crate::error::{Context, Result};
use crate::store::{Layout, Store};

/// Names of records are dates first: so many of the newest are kept.
const KEPT: usize = 400;

/// `_tier/run/<began>-<id>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    pub began: Timestamp,
    /// Absent while it runs, and of a run that was killed.
    pub ended: Option<Timestamp>,
    pub exit_code: Option<u8>,
    pub host: String,
    pub pid: u32,
    pub days: u64,
    pub read: u64,
    pub accepted: u64,
    pub duplicate: u64,
    pub dead_letter: u64,
    /// Why it failed.
    pub error: Option<String>,
    #[serde(skip)]
    path: String,
}

impl RunRecord {
    /// Writes down that a run has begun.
    pub async fn begin(ctx: &Ctx) -> Result<Self> {
        let began = ctx.now();
        let record = RunRecord {
            began,
            ended: None,
            exit_code: None,
            host: this_host(),
            pid: std::process::id(),
            days: 0,
            read: 0,
            accepted: 0,
            duplicate: 0,
            dead_letter: 0,
            error: None,
            path: Layout::run_record(began, &ctx.random.id()),
        };
        record.write(&ctx.store).await?;
        Ok(record)
    }

    /// Writes down how it ended, and lets the oldest records go.
    pub async fn end(mut self, ctx: &Ctx, exit_code: u8, outcome: &Result<HotReport>) -> Result<()> {
        self.ended = Some(ctx.now());
        self.exit_code = Some(exit_code);
        match outcome {
            Ok(report) => {
                self.days = report.days.len() as u64;
                self.read = report.read;
                self.accepted = report.accepted;
                self.duplicate = report.duplicate;
                self.dead_letter = report.dead_letter;
                self.error =
                    report.failed.first().map(|failed| format!("{}: {}", failed.date, failed.error.headline()));
            }
            Err(error) => self.error = Some(error.headline()),
        }
        self.write(&ctx.store).await?;
        let all = ctx.store.list(Layout::RUNS, None).await?;
        let mut paths: Vec<String> = all.into_iter().map(|object| object.path).collect();
        paths.sort_unstable();
        paths.truncate(paths.len().saturating_sub(KEPT));
        ctx.store.delete(paths).await
    }

    async fn write(&self, store: &Store) -> Result<()> {
        let json = serde_json::to_vec_pretty(self).expect("plain data");
        store.put(&self.path, json).await.context("record the run")
    }
}

/// The newest run of the nightly job, if there was one.
pub async fn last_run(store: &Store) -> Result<Option<RunRecord>> {
    let all = store.list(Layout::RUNS, None).await?;
    let Some(path) = all.into_iter().map(|object| object.path).max() else { return Ok(None) };
    let bytes = store.get(&path).await?;
    let record: RunRecord = serde_json::from_slice(&bytes).with_context(|| format!("read {}", store.address(&path)))?;
    Ok(Some(RunRecord { path, ..record }))
}
