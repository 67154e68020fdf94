//! `--dry-run`: what a run would do, from the beginning of each export.

use std::collections::BTreeSet;
use std::sync::Mutex;

use serde::Serialize;
use tokio::runtime::Handle;

use super::report::ExportStatus;
use super::run::{ArchiveRequest, leave_out_known, settle_mapping};
use crate::catalog::Snapshot;
use crate::context::Context as Ctx;
use crate::data::blocks::Blocks;
use crate::data::cells::Cells;
use crate::data::columns::Columns;
use crate::data::csv::{self, Header};
use crate::data::ndjson;
use crate::data::parquet_rows;
use crate::data::rows::{RowBuilder, Rules};
use crate::error::{Context, Result};
use crate::exports::source::{self, Digest};
use crate::exports::{self, Export, Format, next_block};

/// What would be done with an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedExport {
    pub path: String,
    pub status: ExportStatus,
    pub bytes: u64,
    /// From the beginning of the export and its size; exact for Parquet.
    pub rows_estimated: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ArchivePlan {
    pub exports: Vec<PlannedExport>,
    pub rows_estimated: u64,
    /// Seen in the beginnings of the exports.
    pub dates: BTreeSet<String>,
    pub cells: BTreeSet<String>,
}

/// Reads only the beginning of each new export and writes nothing.
pub async fn plan(ctx: &Ctx, request: &ArchiveRequest) -> Result<ArchivePlan> {
    let snapshot = Snapshot::latest(&ctx.store).await?;
    let mapping = settle_mapping(snapshot.as_ref(), &request.mapping)?;
    let found = exports::find(&request.exports, request.format).await?;
    let sizes: Vec<(String, u64)> = found.iter().map(|e| (e.stamp.path.clone(), e.stamp.size_bytes)).collect();
    let (fresh, known) = leave_out_known(ctx, request, snapshot.as_ref(), &mapping, found).await?;
    let schema = snapshot.map(|snapshot| snapshot.schema().clone()).unwrap_or_default();
    let rules = Rules {
        mapping,
        columns: Columns::new(&schema),
        cells: Cells::default(),
        max_time: i64::MAX,
        null_tokens: request.null_tokens.clone(),
        renamed: Mutex::default(),
    };
    let runtime = Handle::current();
    let work = move || -> Result<(Vec<PlannedExport>, Rules)> {
        let mut planned = Vec::new();
        for export in &fresh.new {
            let rows = sample(export, &rules, &runtime).with_context(|| format!("read {}", export.stamp.path))?;
            planned.push(PlannedExport {
                path: export.stamp.path.clone(),
                status: ExportStatus::Archived,
                bytes: export.stamp.size_bytes,
                rows_estimated: rows,
            });
        }
        Ok((planned, rules))
    };
    let (mut exports, rules) = tokio::task::spawn_blocking(work).await.context("wait for the plan")??;
    let size_of = |path: &str| sizes.iter().find(|(name, _)| name == path).map_or(0, |(_, size)| *size);
    exports.extend(known.exports.into_iter().map(|e| PlannedExport {
        bytes: size_of(&e.path),
        path: e.path,
        status: e.status,
        rows_estimated: 0,
    }));
    exports.sort_by(|a, b| a.path.cmp(&b.path));
    let cells = rules.cells.all();
    Ok(ArchivePlan {
        rows_estimated: exports.iter().map(|e| e.rows_estimated).sum(),
        exports,
        dates: cells.iter().map(|cell| cell.date.to_string()).collect(),
        cells: cells.iter().map(|cell| cell.folder()).collect(),
    })
}

/// Decodes the first block of an export; returns the rows that the whole is likely to have.
fn sample(export: &Export, rules: &Rules, runtime: &Handle) -> Result<u64> {
    let mut builder = RowBuilder::new(rules);
    if export.format == Format::Parquet {
        let file = source::open_file(export, runtime, Digest::default(), |_| {})?;
        let parquet = parquet_rows::open(file)?;
        let rows = parquet.metadata().file_metadata().num_rows() as u64;
        if let Some(batch) = parquet.build().context("read the Parquet file")?.next() {
            parquet_rows::decode(&batch.context("read the Parquet file")?, 1, &mut builder, |_, _, _| {})?;
        }
        return Ok(rows);
    }
    let read = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counter = read.clone();
    let count = move |bytes| {
        counter.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
    };
    let delimiter = match export.format {
        Format::Csv(delimiter) => Some(delimiter),
        _ => None,
    };
    let mut blocks = Blocks::new(source::open(export, runtime, Digest::default(), count)?, delimiter);
    let Some(mut block) = next_block(&mut blocks)? else { return Ok(0) };
    let rows = match export.format {
        Format::Csv(delimiter) => {
            let header = Header::take(&mut block, delimiter)?;
            csv::decode(&block, &header, &rules.null_tokens, &mut builder, |_, _, _| {})
        }
        _ => ndjson::decode(&block, &mut builder, |_, _, _| {}),
    };
    let packed = read.load(std::sync::atomic::Ordering::Relaxed).max(1);
    Ok((rows as f64 * export.stamp.size_bytes as f64 / packed as f64).round() as u64)
}
