//! Several files of one cell become one, with all columns of the archive.
//!
//! # Flow
//! The sources are fetched ahead, merged by (ts, event_id) and encoded into a local temporary file. That is read back:
//! its bytes must be those written, and its decoded rows in order and the same as those read. Putting it on the store is
//! the caller's.
//!
//! # Crash
//! Nothing is on the store yet, and the temporary file is gone with the process.

use std::fs::File;
use std::io::{BufWriter, Write};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use super::bundle::digest::{RowDigest, RowDigests};
use super::bundle::sources::{SourceRows, Sources};
use super::bundle::{footer_of_draft, sha256_of};
use super::encode::{self, MAX_ROW_GROUP_BYTES, Origin, Target};
use super::encoder::Encoder;
use super::footer::Hashing;
use super::runs;
use super::typed::Typed;
use crate::catalog::{FileAudit, NewFile};
use crate::error::{Context, Error, Result};
use crate::model::{DataFile, KeyRange, Partition, Schema, StorageClass};
use crate::store::{Layout, TempFile};

const BATCH_ROWS: usize = 8192;

/// What becomes one file.
#[derive(Debug, Clone)]
pub struct RewritePlan<'a> {
    pub cell: &'a Partition,
    /// Files of the cell, all of them readable now.
    pub files: &'a [DataFile],
    pub class: StorageClass,
    /// That of `target.schema_id`.
    pub schema: &'a Schema,
}

/// A file on this machine, verified.
#[derive(Debug)]
pub struct Rewritten {
    pub file: TempFile,
    /// `class_since` and `pack` are the caller's to fill in.
    pub new: NewFile,
    /// Its last bytes, as they would be packed.
    pub footer: Bytes,
}

/// Merges the files into a temporary one in the system's folder. For threads outside the runtime. Memory: a batch of
/// each source and a row group, and up to 64 MiB of small sources; larger ones are kept on the disk.
pub fn rewrite(plan: &RewritePlan<'_>, target: &Target<'_>) -> Result<Rewritten> {
    let phrase = || format!("merge {} files of {}", plan.files.len(), plan.cell);
    let typed = Typed::new(plan.schema);
    let digests = RowDigests::default();
    let draft = write(plan, target, &typed, &digests).with_context(phrase)?;
    finish(plan, target, draft, &digests).with_context(phrase)
}

/// A file that is written but not verified.
#[derive(Debug)]
struct Draft {
    file: TempFile,
    /// Where it belongs on the store.
    path: String,
    sha256: String,
    rows: u64,
    ts: KeyRange<i64>,
    ids: KeyRange<String>,
    /// Of the rows that were read.
    digest: RowDigest,
}

fn write(plan: &RewritePlan<'_>, target: &Target<'_>, typed: &Typed, digests: &RowDigests) -> Result<Draft> {
    let cells = [(plan.cell.clone(), plan.files.to_vec())];
    let mut sources = Sources::new(&cells, target);
    let opened = plan.files.iter().map(|_| sources.next(typed, digests));
    let mut runs = opened.collect::<Result<Vec<SourceRows<'_>>>>()?;
    let number = target.next_file.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = target.layout.data_file(plan.cell, number);
    let mut beside: Vec<Vec<String>> = Vec::new();
    for run in &runs {
        // Of one that does not say, nothing is known, nor of the whole then.
        let said = if run.beside().is_empty() { &[Vec::new()] } else { run.beside() };
        beside.extend(said.iter().cloned());
    }
    beside.sort_unstable();
    beside.dedup();
    let mut writer = Writer::create(plan, path, &beside, &typed.schema)?;
    runs::merge(&mut runs, |rows| writer.write(&rows))?;
    let mut digest = RowDigest::default();
    runs.iter().for_each(|run| digest += run.digest());
    writer.finish(digest)
}

struct Writer {
    path: String,
    writer: Encoder<Hashing<BufWriter<File>>>,
    schema: SchemaRef,
    rows: u64,
    bounds: Option<(KeyRange<i64>, KeyRange<String>)>,
}

impl Writer {
    fn create(plan: &RewritePlan<'_>, path: String, beside: &[Vec<String>], schema: &SchemaRef) -> Result<Self> {
        let file = tempfile::tempfile().context("make a temporary file")?;
        let replaces: Vec<&str> = plan.files.iter().filter_map(|file| Layout::name(&file.path)).collect();
        let origin = Origin { replaces: &replaces, beside };
        // Which values repeat is not known before they are merged.
        let first = RecordBatch::new_empty(schema.clone());
        let rows = plan.files.iter().map(|file| file.rows).sum();
        let properties = encode::properties(plan.cell, &path, origin, &first, rows);
        let sink = Hashing::new(BufWriter::new(file));
        let writer = Encoder::new(sink, schema.clone(), properties, rows).context("encode events")?;
        Ok(Writer { path, writer, schema: schema.clone(), rows: 0, bounds: None })
    }

    /// Writes rows that follow the earlier ones in (ts, event_id) order.
    fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        let Some((ts, ids)) = encode::bounds(rows) else { return Ok(()) };
        match &mut self.bounds {
            Some((all_ts, all_ids)) => {
                all_ts.extend(&ts);
                all_ids.extend(&ids);
            }
            none => *none = Some((ts, ids)),
        }
        let rows = RecordBatch::try_new(self.schema.clone(), rows.columns().to_vec()).context("encode events")?;
        self.writer.write(&rows).context("encode events")?;
        self.rows += rows.num_rows() as u64;
        if self.writer.in_progress_size() >= MAX_ROW_GROUP_BYTES {
            self.writer.flush().context("encode events")?;
        }
        Ok(())
    }

    fn finish(self, digest: RowDigest) -> Result<Draft> {
        let (mut sink, sha256) = self.writer.into_inner().context("encode events")?.finish();
        sink.flush().context("write a temporary file")?;
        let file = sink.into_inner().map_err(|error| error.into_error()).context("write a temporary file")?;
        let (ts, ids) = self.bounds.ok_or_else(|| Error::failed("a file needs at least one row"))?;
        Ok(Draft { file: TempFile::new(file)?, path: self.path, sha256, rows: self.rows, ts, ids, digest })
    }
}

fn finish(plan: &RewritePlan<'_>, target: &Target<'_>, draft: Draft, digests: &RowDigests) -> Result<Rewritten> {
    if sha256_of(&draft.file).context("read it back")? != draft.sha256 {
        return Err(differs("its bytes changed on the disk"));
    }
    if draft.rows != plan.files.iter().map(|file| file.rows).sum::<u64>() {
        return Err(differs("it has another number of rows"));
    }
    let footer = footer_of_draft(&draft.file, draft.rows).context("read its footer back")?;
    verify(&draft, digests).context("verify it")?;
    let file = DataFile {
        path: draft.path,
        tenants: KeyRange::one(plan.cell.tenant_id.as_str()).to_text(),
        event_types: KeyRange::one(plan.cell.event_type.as_str()).to_text(),
        dates: KeyRange::one(plan.cell.date),
        ts: draft.ts,
        rows: draft.rows,
        size_bytes: draft.file.size_bytes(),
        footer_bytes: footer.len() as u32,
        schema_id: target.schema_id,
        storage_class: plan.class,
        class_since: None,
        pack: None,
    };
    let audit = FileAudit { sha256: draft.sha256, min_event_id: draft.ids.min, max_event_id: draft.ids.max };
    Ok(Rewritten { file: draft.file, new: NewFile { file, audit }, footer })
}

/// Decodes the file again: its rows must be those read, in order, between the times that the catalog will say.
fn verify(draft: &Draft, digests: &RowDigests) -> Result<()> {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(draft.file.clone(), options)
        .context("read its footer")?;
    let (mut rows, mut digest) = (0, RowDigest::default());
    let mut last: Option<(i64, String)> = None;
    for batch in builder.with_batch_size(BATCH_ROWS).build().context("read it")? {
        let batch = batch.context("decode it")?;
        let ids = batch.column(0).as_string::<i32>();
        let times = batch.column(1).as_primitive::<TimestampMicrosecondType>().values();
        let mut before = last.as_ref().map(|(ts, id)| (*ts, id.as_str()));
        for row in 0..batch.num_rows() {
            let this = (times[row], ids.value(row));
            if before.is_some_and(|before| before > this) {
                return Err(differs("its rows are out of order"));
            }
            if before.is_none() && this.0 != draft.ts.min {
                return Err(differs("it has other times"));
            }
            before = Some(this);
        }
        last = before.map(|(ts, id)| (ts, id.to_owned()));
        digest += digests.of(batch.columns())?;
        rows += batch.num_rows() as u64;
    }
    if rows != draft.rows || digest != draft.digest {
        return Err(differs("its rows have other content"));
    }
    if last.is_none_or(|(ts, _)| ts != draft.ts.max) {
        return Err(differs("it has other times"));
    }
    Ok(())
}

fn differs(how: &str) -> Error {
    Error::failed(format!("the merged file is not what was read from the archive: {how}"))
        .code("compact-verify")
        .hint("nothing was uploaded; if it happens again, look at this machine's disk and memory")
}
