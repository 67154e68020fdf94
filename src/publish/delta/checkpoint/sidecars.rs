//! Sidecars on their way: files in the order of their paths go in, and what was written comes out.

use std::collections::VecDeque;
use std::fs::File;
use std::mem;

use jiff::Timestamp;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use uuid::Uuid;

use super::super::action::{Add, Sidecar, Tags};
use super::super::log;
use super::columns;
use crate::context::Context as Ctx;
use crate::error::{Context, Error, Result};
use crate::store::{Store, TempFile};

/// Files that are encoded or decoded at once.
const BATCH_FILES: usize = 4 << 10;

const PHRASE: &str = "write a sidecar to a temporary file";

/// Writes sidecars of sizes that are known before.
pub struct Writer<'a> {
    ctx: &'a Ctx,
    now: Timestamp,
    sizes: VecDeque<u64>,
    open: Option<Open>,
    written: Vec<Sidecar>,
}

/// The sidecar that the next file goes into.
struct Open {
    encoder: ArrowWriter<File>,
    /// Not encoded yet.
    batch: Vec<Add>,
    tags: Tags,
}

impl<'a> Writer<'a> {
    pub fn new(ctx: &'a Ctx, sizes: impl Iterator<Item = u64>) -> Self {
        Writer { ctx, now: ctx.now(), sizes: sizes.collect(), open: None, written: Vec::new() }
    }

    /// The next file in the order of paths.
    pub async fn push(&mut self, mut add: Add) -> Result<()> {
        // A live file of a checkpoint changes nothing.
        add.data_change = false;
        let open = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(Open::new(&add)?),
        };
        open.tags.files += 1;
        open.batch.push(add);
        if open.batch.len() == BATCH_FILES {
            open.encode()?;
        }
        let size = *self.sizes.front().ok_or_else(|| Error::failed("there are more files than were counted"))?;
        if open.tags.files == size {
            self.sizes.pop_front();
            let open = self.open.take().expect("it is open");
            self.written.push(open.put(self.ctx, self.now).await?);
        }
        Ok(())
    }

    /// What was written, in order.
    pub fn finish(self) -> Result<Vec<Sidecar>> {
        match self.sizes.is_empty() {
            true => Ok(self.written),
            false => Err(Error::failed("there are fewer files than were counted")),
        }
    }
}

impl Open {
    fn new(first: &Add) -> Result<Self> {
        let encoder = columns::writer(columns::sidecar_schema())?;
        Ok(Open { encoder, batch: Vec::new(), tags: Tags { first: first.path.clone(), files: 0 } })
    }

    fn encode(&mut self) -> Result<()> {
        let batch = mem::take(&mut self.batch);
        self.encoder.write(&columns::adds(&columns::sidecar_schema(), &batch)?).context(PHRASE)
    }

    /// Under a fresh name: one that a cleaner may be about to delete is never taken.
    async fn put(mut self, ctx: &Ctx, now: Timestamp) -> Result<Sidecar> {
        ctx.stop.check()?;
        self.encode()?;
        let file = TempFile::new(self.encoder.into_inner().context(PHRASE)?)?;
        let name = format!("{}.parquet", fresh_uuid(ctx)?);
        ctx.store.put_file_if_absent(&log::sidecar_path(&name), &file).await?;
        let size_in_bytes = file.size_bytes();
        Ok(Sidecar { path: name, size_in_bytes, modification_time: now.as_millisecond(), tags: self.tags })
    }
}

/// The files of a sidecar in the order of their paths.
pub async fn read(store: &Store, sidecar: &Sidecar) -> Result<impl Iterator<Item = Result<Vec<Add>>> + use<>> {
    let path = log::sidecar_path(&sidecar.path);
    let bytes = store.get(&path).await?;
    let address = store.address(&path);
    let batches = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .and_then(|builder| builder.with_batch_size(BATCH_FILES).build())
        .with_context(|| format!("read {address}"))?;
    Ok(batches.map(move |batch| {
        let adds = batch.context("decode it").and_then(|batch| columns::adds_in(&batch));
        adds.with_context(|| format!("read {address}"))
    }))
}

pub fn fresh_uuid(ctx: &Ctx) -> Result<Uuid> {
    Uuid::try_parse(&ctx.random.id()).context("make a name")
}
