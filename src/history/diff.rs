//! What one version has and another has not.
//!
//! # Cost
//! Leaves that both versions list alike are not read; of the others every file goes through a temporary file as 25 bytes,
//! so that memory does not grow with what has changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use serde::Serialize;

use crate::catalog::{DeadLetterFile, LeafRef, RootDocument, Snapshot, read_leaf};
use crate::data::spill::Spill;
use crate::error::Result;
use crate::model::{Column, DataFile, DateRange, Hold, Seal, date_of_days, days_of_date};

/// Leaves read at once.
const LEAVES_IN_FLIGHT: usize = 16;

/// Of all records before they go to disk.
const MEMORY_BYTES: usize = 64 << 20;

/// Buckets that files are compared in: of 50 million files one has about 1.3 MB.
const BUCKETS: u32 = 1024;

/// Cells that are listed; the rest is in the dates' sums.
const CELLS: usize = 1_000;

const RECORD_BYTES: usize = 25;

/// Files of one sort.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct FileSums {
    pub files_added: u64,
    pub rows_added: u64,
    pub bytes_added: u64,
    pub files_removed: u64,
    pub rows_removed: u64,
    pub bytes_removed: u64,
}

impl FileSums {
    fn add(&mut self, side: Side, file: &DataFile) {
        let (files, rows, bytes) = match side {
            Side::After => (&mut self.files_added, &mut self.rows_added, &mut self.bytes_added),
            Side::Before => (&mut self.files_removed, &mut self.rows_removed, &mut self.bytes_removed),
        };
        *files += 1;
        *rows += file.rows;
        *bytes += file.size_bytes;
    }
}

/// A cell with files that came or went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CellChange {
    /// Its folder.
    pub cell: String,
    #[serde(flatten)]
    pub sums: FileSums,
}

/// What it takes to get from one version to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diff {
    pub from: u64,
    pub from_time: Timestamp,
    pub to: u64,
    pub to_time: Timestamp,
    pub total: FileSums,
    /// By day, and bundles by their month, as in `2026-08`.
    pub dates: BTreeMap<String, FileSums>,
    /// The first thousand cells by path.
    pub cells: Vec<CellChange>,
    pub columns_added: Vec<Column>,
    pub columns_removed: Vec<Column>,
    pub sealed: Vec<DateRange>,
    pub unsealed: Vec<DateRange>,
    pub holds_added: Vec<Hold>,
    pub holds_lifted: Vec<Hold>,
    pub dead_letters_added: Vec<DeadLetterFile>,
    pub dead_letters_settled: Vec<DeadLetterFile>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    After,
}

/// Compares two versions; a file that only changed its class is removed and added.
pub async fn diff(before: &Snapshot, after: &Snapshot) -> Result<Diff> {
    let (then, now) = (&before.root().document, &after.root().document);
    let mut diff = of_documents(then, now);
    let leaves = changed_leaves(before, after);
    let different = different_files(before, &leaves).await?;
    let mut cells: BTreeMap<String, FileSums> = BTreeMap::new();
    let reads = different.into_iter().map(|(number, positions)| {
        let (side, leaf) = &leaves[number as usize];
        async move { Ok::<_, crate::error::Error>((*side, read_leaf(before.store(), leaf).await?, positions)) }
    });
    let mut reads = futures::stream::iter(reads).buffered(LEAVES_IN_FLIGHT);
    while let Some((side, files, positions)) = reads.try_next().await? {
        for (_, file) in files.iter().filter(|(position, _)| positions.contains(position)) {
            diff.total.add(side, file);
            let (date, cell) = match file.partition() {
                Some(cell) => (cell.date.to_string(), cell.folder()),
                None => (file.dates.min.strftime("%Y-%m").to_string(), folder(&file.path).to_owned()),
            };
            diff.dates.entry(date).or_default().add(side, file);
            if cells.len() < CELLS || cells.contains_key(&cell) {
                cells.entry(cell).or_default().add(side, file);
            }
        }
    }
    diff.cells = cells.into_iter().map(|(cell, sums)| CellChange { cell, sums }).collect();
    Ok(diff)
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(folder, _)| folder)
}

/// The leaves that not both list, or list with other files deleted.
fn changed_leaves(before: &Snapshot, after: &Snapshot) -> Vec<(Side, LeafRef)> {
    fn by_path(snapshot: &Snapshot) -> HashMap<&str, &LeafRef> {
        snapshot.root().leaves.iter().map(|leaf| (leaf.path.as_str(), leaf)).collect()
    }
    let (then, now) = (by_path(before), by_path(after));
    let mut changed = Vec::new();
    for (side, ours, others) in [(Side::Before, before, &now), (Side::After, after, &then)] {
        let is_same =
            |leaf: &&LeafRef| others.get(leaf.path.as_str()).is_some_and(|other| other.deleted == leaf.deleted);
        changed.extend(ours.root().leaves.iter().filter(|leaf| !is_same(leaf)).map(|leaf| (side, leaf.clone())));
    }
    changed
}

/// Positions of the files that one side has, by the number of the leaf.
async fn different_files(any: &Snapshot, leaves: &[(Side, LeafRef)]) -> Result<BTreeMap<u32, BTreeSet<u32>>> {
    let mut spill = Spill::<RECORD_BYTES>::new(MEMORY_BYTES);
    let reads = (0_u32..).zip(leaves).map(|(number, (side, leaf))| async move {
        Ok::<_, crate::error::Error>((number, *side, read_leaf(any.store(), leaf).await?))
    });
    let mut reads = futures::stream::iter(reads).buffered(LEAVES_IN_FLIGHT);
    while let Some((number, side, files)) = reads.try_next().await? {
        for (position, file) in files {
            let text = format!("{}\n{}", file.storage_class, file.path);
            let digest = blake3::hash(text.as_bytes());
            let mut record = [0; RECORD_BYTES];
            record[..16].copy_from_slice(&digest.as_bytes()[..16]);
            record[16] = u8::from(side == Side::After);
            record[17..21].copy_from_slice(&number.to_be_bytes());
            record[21..].copy_from_slice(&position.to_be_bytes());
            let bucket = u32::from_be_bytes(record[..4].try_into().expect("4 bytes")) % BUCKETS;
            spill.add(bucket, record)?;
        }
    }
    let mut different: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().expect("4 bytes"));
    for bucket in spill.buckets() {
        let records = spill.take(bucket)?;
        for alike in records.chunk_by(|a, b| a[..16] == b[..16]) {
            let is_on = |side: u8| alike.iter().any(|record| record[16] == side);
            if !(is_on(0) && is_on(1)) {
                for record in alike {
                    different.entry(number(&record[17..21])).or_default().insert(number(&record[21..]));
                }
            }
        }
    }
    Ok(different)
}

/// Everything but the files.
fn of_documents(then: &RootDocument, now: &RootDocument) -> Diff {
    fn only_in<T: Clone>(ours: &[T], others: &[T], is_same: impl Fn(&T, &T) -> bool) -> Vec<T> {
        ours.iter().filter(|our| !others.iter().any(|other| is_same(our, other))).cloned().collect()
    }
    let (columns_then, columns_now) = (then.schema.columns(), now.schema.columns());
    let dates = |document: &RootDocument| -> BTreeSet<i32> {
        let days = |seal: &Seal| days_of_date(seal.first)..=days_of_date(seal.last);
        document.seals.iter().flat_map(days).collect()
    };
    let (sealed_then, sealed_now) = (dates(then), dates(now));
    let ranges = |days: Vec<i32>| {
        let dates = days.into_iter().filter_map(date_of_days);
        DateRange::joined(dates.map(|date| DateRange { first: date, last: date }))
    };
    let same_column = |a: &Column, b: &Column| a.id == b.id;
    let same_hold = |a: &Hold, b: &Hold| a.id == b.id;
    let same_file = |a: &DeadLetterFile, b: &DeadLetterFile| a.path == b.path;
    Diff {
        from: then.version,
        from_time: then.time,
        to: now.version,
        to_time: now.time,
        total: FileSums::default(),
        dates: BTreeMap::new(),
        cells: Vec::new(),
        columns_added: only_in(columns_now, columns_then, same_column),
        columns_removed: only_in(columns_then, columns_now, same_column),
        sealed: ranges(sealed_now.difference(&sealed_then).copied().collect()),
        unsealed: ranges(sealed_then.difference(&sealed_now).copied().collect()),
        holds_added: only_in(&now.holds, &then.holds, same_hold),
        holds_lifted: only_in(&then.holds, &now.holds, same_hold),
        dead_letters_added: only_in(&now.dead_letters, &then.dead_letters, same_file),
        dead_letters_settled: only_in(&then.dead_letters, &now.dead_letters, same_file),
    }
}
