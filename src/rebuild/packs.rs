//! Which part of which pack belongs to a data file.
//!
//! Every pack is read once. What is found goes through a temporary file, 36 bytes a part, so that memory does not grow
//! with the archive.

use std::collections::HashSet;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use jiff::civil::Date;

use crate::context::Context as Ctx;
use crate::data::footer_facts::FooterFacts;
use crate::data::pack_parts::{self, Part};
use crate::data::spill::Spill;
use crate::error::{Kind, Result};
use crate::model::{PackRef, short_digest};
use crate::progress::Unit;
use crate::store::Layout;

/// Packs read side by side; each takes a window of 8 MiB.
const PACKS_IN_FLIGHT: usize = 8;

/// Of all records before they go to disk.
const MEMORY_BYTES: usize = 32 << 20;

const RECORD_BYTES: usize = 36;
const KEY_BYTES: usize = 16;

type Record = [u8; RECORD_BYTES];

/// All parts of all packs.
pub struct Packs {
    paths: Arc<Vec<String>>,
    /// By month.
    parts: Spill<RECORD_BYTES>,
    /// Runs of files that something was made of: those were committed.
    pub runs: HashSet<String>,
    /// Packs that cannot be read, each with the reason.
    pub broken: Vec<(String, String)>,
}

impl Packs {
    pub async fn read(ctx: &Ctx) -> Result<Self> {
        let listed = ctx.store.list(Layout::PACKS, None).await?;
        let bytes = listed.iter().map(|pack| pack.size_bytes).sum();
        let task = ctx.progress.task("packs", Unit::Bytes, Some(bytes));
        let (mut paths, mut parts) = (Vec::new(), Spill::new(MEMORY_BYTES));
        let (mut runs, mut broken) = (HashSet::new(), Vec::new());
        let reads = listed.into_iter().map(|pack| async move {
            let mut found = Found::default();
            let read = pack_parts::each(&ctx.store, &pack.path, pack.size_bytes, |part| found.add(part)).await;
            (pack, found, read)
        });
        let mut reads = futures::stream::iter(reads).buffer_unordered(PACKS_IN_FLIGHT);
        while let Some((pack, found, read)) = reads.next().await {
            ctx.stop.check()?;
            task.advance(pack.size_bytes);
            match read {
                Ok(()) => {}
                Err(error) if error.kind() == Kind::Failed => {
                    broken.push((pack.path.clone(), super::report::words(&error)));
                }
                Err(error) => return Err(error),
            }
            let number = paths.len() as u32;
            paths.push(pack.path);
            runs.extend(found.runs);
            for (month, key, part) in found.parts {
                parts.add(month, encode(key, number, &part))?;
            }
        }
        Ok(Packs { paths: Arc::new(paths), parts, runs, broken })
    }

    /// The parts of files of a month; they can be asked for once.
    pub fn of_month(&mut self, month: Date) -> Result<MonthParts> {
        let records = self.parts.take(number_of(month))?;
        Ok(MonthParts { records, paths: self.paths.clone() })
    }
}

/// What one pack holds.
#[derive(Default)]
struct Found {
    parts: Vec<(u32, [u8; KEY_BYTES], PackRef)>,
    runs: HashSet<String>,
}

impl Found {
    fn add(&mut self, part: Part) -> Result<()> {
        let Ok(facts) = FooterFacts::of(&part.metadata) else { return Ok(()) };
        for name in part.replaces.iter().flatten().flatten().chain(&facts.replaces) {
            if !self.runs.contains(Layout::run_of(name)) {
                self.runs.insert(Layout::run_of(name).to_owned());
            }
        }
        let (folder, date) = match (&facts.cell, part.cells.first()) {
            (_, Some(first)) => (Layout::bundles_of(first.cell.date), first.cell.date),
            (Some(cell), None) => (cell.folder(), cell.date),
            // It does not say what it is of.
            (None, None) => return Ok(()),
        };
        let key = match &facts.name {
            Some(name) => key_of_name(name),
            None => key_of_shape(&folder, part.size_bytes),
        };
        self.parts.push((number_of(date), key, part.pack));
        Ok(())
    }
}

/// The parts of files of one month, sorted by key.
pub struct MonthParts {
    records: Vec<Record>,
    paths: Arc<Vec<String>>,
}

impl MonthParts {
    /// The parts that may be of this object: all of the same content where the object is named inside, and else those of
    /// its size and folder.
    pub fn of(&self, path: &str, folder: &str, size_bytes: u64) -> Vec<PackRef> {
        let named = Layout::name(path).map(|name| self.with_key(key_of_name(name))).unwrap_or_default();
        if let Some(last) = named.last() {
            return vec![last.clone()];
        }
        self.with_key(key_of_shape(folder, size_bytes))
    }

    fn with_key(&self, key: [u8; KEY_BYTES]) -> Vec<PackRef> {
        let start = self.records.partition_point(|record| record[..KEY_BYTES] < key[..]);
        let same = self.records[start..].iter().take_while(|record| record[..KEY_BYTES] == key[..]);
        same.map(|record| decode(record, &self.paths)).collect()
    }
}

fn number_of(month: Date) -> u32 {
    (i32::from(month.year()) * 12 + i32::from(month.month())).unsigned_abs()
}

fn key_of_name(name: &str) -> [u8; KEY_BYTES] {
    short_digest(&format!("name {name}"))
}

fn key_of_shape(folder: &str, size_bytes: u64) -> [u8; KEY_BYTES] {
    short_digest(&format!("shape {size_bytes} {folder}"))
}

fn encode(key: [u8; KEY_BYTES], number: u32, part: &PackRef) -> Record {
    let mut record = [0; RECORD_BYTES];
    record[..16].copy_from_slice(&key);
    record[16..20].copy_from_slice(&number.to_be_bytes());
    record[20..28].copy_from_slice(&part.offset.to_be_bytes());
    record[28..32].copy_from_slice(&part.cells_bytes.to_be_bytes());
    record[32..].copy_from_slice(&part.footer_bytes.to_be_bytes());
    record
}

fn decode(record: &Record, paths: &[String]) -> PackRef {
    let number = |at: usize| u32::from_be_bytes(record[at..at + 4].try_into().expect("4 bytes"));
    PackRef {
        path: paths[number(16) as usize].clone(),
        offset: u64::from_be_bytes(record[20..28].try_into().expect("8 bytes")),
        cells_bytes: number(28),
        footer_bytes: number(32),
    }
}

/// Reads these parts, in their order.
pub async fn read_parts(ctx: &Ctx, parts: Vec<PackRef>) -> Result<Vec<Part>> {
    let reads = parts.into_iter().map(|part| async move { pack_parts::read(&ctx.store, &part).await });
    futures::stream::iter(reads).buffered(PACKS_IN_FLIGHT).try_collect().await
}
