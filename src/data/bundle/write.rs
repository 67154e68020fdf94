//! Encodes the cells of a plan into one local Parquet file.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use super::super::encode::{BLOOM_FALSE_POSITIVES, MAX_ROW_GROUP_BYTES, Target, bounds, encodings};
use super::super::footer::Hashing;
use super::super::pack::CellRows;
use super::super::parallel_writer::ParallelWriter;
use super::super::runs;
use super::super::typed::Typed;
use super::digest::{RowDigest, RowDigests};
use super::sources::{SourceRows, Sources};
use super::verify::WrittenCell;
use super::{BundlePlan, Draft};
use crate::error::{Context, Error, Result};
use crate::model::{DataFile, Key, KeyRange, Partition, days_of_date};
use crate::store::{Layout, TempFile};

/// What a bundle says of itself, as JSON in its footer.
pub const BUNDLE_KEY: &str = "tier.bundle";

/// A data file is at most this large, so that no S3 copy limit ever matters.
const MAX_BUNDLE_BYTES: usize = 1 << 30;

/// A tenant of this many encoded bytes is worth a row group of its own.
const LARGE_TENANT_BYTES: u64 = 1 << 20;

/// What a file of few rows takes per column beside them: page headers, dictionaries, statistics. Measured.
const COLUMN_OVERHEAD_BYTES: u64 = 100;

/// A reader of a small tenant's rows fetches up to a page too much on either side, in each column. Twice as many rows
/// to a page would save 3% of the file and two fifths of the index.
const PAGE_ROWS: usize = 5_000;

/// A dictionary is read whole with the first page of a slice: a large one would be most of what a small tenant reads.
/// Of 64 KiB to 1 MiB this also makes the smallest file.
const DICTIONARY_BYTES: usize = 128 << 10;

/// A bundle is written once and stored for years. Measured on 1.5M events of 60 tenants, each with a UUID, a user, a
/// session and 90 bytes of JSON, in MB and seconds of one core: level 3: 70.0, 1.9; 6: 65.7, 3.4; 9: 64.3, 4.2;
/// 12: 63.3, 6.9; 15: 62.7, 15.6. Six years in DEEP_ARCHIVE cost ten times as much for what 9 saves as its time does.
const ZSTD_LEVEL: i32 = 9;

/// Of ids, of which only the alphabet is known before: level 9 takes three times as long and 2% more bytes.
const ID_ZSTD_LEVEL: i32 = 1;

/// Writes the file. It is complete, but not yet verified.
pub(super) fn write(plan: &BundlePlan<'_>, target: &Target<'_>, digests: &RowDigests) -> Result<Draft> {
    if plan.cells.is_empty() {
        return Err(Error::failed("a bundle needs at least one cell"));
    }
    let typed = Typed::new(plan.schema);
    let mut sources = Sources::new(plan.cells, target);
    let number = target.next_file.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = target.layout.bundle(plan.month, plan.bucket, number);
    let mut writer = BundleWriter::new(plan, path);
    let mut tenants = plan.cells.chunk_by(|(a, _), (b, _)| a.tenant_id == b.tenant_id).peekable();
    while let Some(cells) = tenants.next() {
        for (cell, files) in cells {
            let opened = files.iter().map(|_| sources.next(&typed, digests));
            let mut runs = opened.collect::<Result<Vec<SourceRows<'_>>>>()?;
            writer.begin(cell);
            runs::merge(&mut runs, |rows| writer.write(&rows)).with_context(|| format!("copy the cell {cell}"))?;
            let mut digest = RowDigest::default();
            runs.iter().for_each(|run| digest += run.digest());
            writer.end(digest);
        }
        let is_large = |cells: &[(Partition, Vec<DataFile>)]| encoded_bytes(cells, plan) >= LARGE_TENANT_BYTES;
        if is_large(cells) || tenants.peek().is_some_and(|next| is_large(next)) {
            writer.close_row_group()?;
        }
    }
    writer.finish()
}

/// About what a tenant's rows take in the bundle, from what its files take.
fn encoded_bytes(cells: &[(Partition, Vec<DataFile>)], plan: &BundlePlan<'_>) -> u64 {
    let overhead = plan.schema.columns().len() as u64 * COLUMN_OVERHEAD_BYTES;
    let rows_of = |file: &DataFile| file.size_bytes.saturating_sub(u64::from(file.footer_bytes) + overhead);
    cells.iter().flat_map(|(_, files)| files).map(rows_of).sum()
}

type Writer = ParallelWriter<Hashing<BufWriter<File>>>;

struct BundleWriter<'a> {
    plan: &'a BundlePlan<'a>,
    path: String,
    /// From the first rows on, which tell how their columns are best encoded.
    writer: Option<Writer>,
    schema: SchemaRef,
    cells: Vec<WrittenCell>,
    rows: u64,
    ids: Option<KeyRange<String>>,
    cell: Option<OpenCell>,
}

struct OpenCell {
    cell: Partition,
    first_row: u64,
    ts: Option<KeyRange<i64>>,
}

impl<'a> BundleWriter<'a> {
    fn new(plan: &'a BundlePlan<'a>, path: String) -> Self {
        let schema = plan.schema.arrow_with_keys();
        BundleWriter { plan, path, writer: None, schema, cells: Vec::new(), rows: 0, ids: None, cell: None }
    }

    fn create(&self, first: &RecordBatch) -> Result<Writer> {
        let file = tempfile::tempfile().context("make a temporary file")?;
        // Every type of ours has its own Parquet type: a copy of the arrow schema says nothing more.
        let properties = properties(self.plan, &self.path, first);
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let sink = Hashing::new(BufWriter::new(file));
        let writer = ArrowWriter::try_new_with_options(sink, self.schema.clone(), options);
        writer.and_then(|writer| ParallelWriter::new(writer, self.schema.clone())).context("encode events")
    }

    /// What is written from here on are rows of this cell.
    fn begin(&mut self, cell: &Partition) {
        self.cell = Some(OpenCell { cell: cell.clone(), first_row: self.rows, ts: None });
    }

    /// Writes rows that follow the earlier ones in (ts, event_id) order.
    fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        let open = self.cell.as_mut().expect("a cell was begun");
        let Some((ts, ids)) = bounds(rows) else { return Ok(()) };
        extend(&mut open.ts, ts);
        extend(&mut self.ids, ids);
        let mut columns = keys(&open.cell, rows.num_rows());
        columns.extend(rows.columns().iter().cloned());
        let rows = RecordBatch::try_new(self.schema.clone(), columns).context("encode events")?;
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => {
                let writer = self.create(&rows)?;
                self.writer.insert(writer)
            }
        };
        writer.write(&rows).context("encode events")?;
        self.rows += rows.num_rows() as u64;
        if writer.in_progress_size() >= MAX_ROW_GROUP_BYTES {
            writer.flush().context("encode events")?;
        }
        if writer.bytes_written() > MAX_BUNDLE_BYTES {
            let message = format!("it becomes larger than {} MiB", MAX_BUNDLE_BYTES >> 20);
            return Err(Error::failed(message).code("bundle-size").hint("plan more bundles for this month"));
        }
        Ok(())
    }

    /// No more rows of this cell; `digest` is that of those read.
    fn end(&mut self, digest: RowDigest) {
        let OpenCell { cell, first_row, ts } = self.cell.take().expect("a cell was begun");
        if let Some(ts) = ts {
            let rows = CellRows { cell, first_row, rows: self.rows - first_row, ts };
            self.cells.push(WrittenCell { rows, digest });
        }
    }

    /// Does nothing where no row was written since the last one.
    fn close_row_group(&mut self) -> Result<()> {
        self.writer.as_mut().map_or(Ok(()), ParallelWriter::flush).context("encode events")
    }

    fn finish(self) -> Result<Draft> {
        let Some((writer, ids)) = self.writer.zip(self.ids) else {
            return Err(Error::failed("a bundle needs at least one row"));
        };
        let (mut sink, sha256) = writer.into_inner().context("encode events")?.finish();
        sink.flush().context("write a temporary file")?;
        let file = sink.into_inner().map_err(|error| error.into_error()).context("write a temporary file")?;
        Ok(Draft { file: TempFile::new(file)?, path: self.path, sha256, cells: self.cells, ids })
    }
}

fn extend<T: Clone + PartialOrd>(range: &mut Option<KeyRange<T>>, more: KeyRange<T>) {
    match range {
        Some(range) => range.extend(&more),
        None => *range = Some(more),
    }
}

/// The key columns of so many rows of a cell.
fn keys(cell: &Partition, rows: usize) -> Vec<ArrayRef> {
    let text =
        |key: &Key| -> ArrayRef { Arc::new(StringArray::from_iter_values(std::iter::repeat_n(key.as_str(), rows))) };
    let dates = Date32Array::from_value(days_of_date(cell.date), rows);
    vec![Arc::new(dates), text(&cell.tenant_id), text(&cell.event_type)]
}

fn properties(plan: &BundlePlan<'_>, path: &str, first_rows: &RecordBatch) -> WriterProperties {
    let tenants = [plan.cells.first(), plan.cells.last()].map(|end| end.map(|(cell, _)| cell.tenant_id.as_str()));
    let event_id = || ColumnPath::from("event_id");
    let zstd = |level| Compression::ZSTD(ZstdLevel::try_new(level).expect("a level of zstd"));
    let ascending = |column_idx| SortingColumn { column_idx, descending: false, nulls_first: false };
    // tenant_id, event_type, date, ts, event_id
    let order = [1, 2, 0, 4, 3].map(ascending).to_vec();
    let facts = serde_json::json!({
        "month": plan.month.strftime("%Y-%m").to_string(),
        "tenants": tenants,
        "cells": plan.cells.len(),
        "file": Layout::name(path),
    });
    let builder = WriterProperties::builder()
        .set_compression(zstd(ZSTD_LEVEL))
        .set_column_compression(event_id(), zstd(ID_ZSTD_LEVEL))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_column_bloom_filter_enabled(event_id(), true)
        .set_column_bloom_filter_fpp(event_id(), BLOOM_FALSE_POSITIVES);
    encodings(builder, first_rows)
        .set_sorting_columns(Some(order))
        .set_key_value_metadata(Some(vec![KeyValue::new(BUNDLE_KEY.to_owned(), facts.to_string())]))
        .build()
}
