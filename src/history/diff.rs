//! What one version has and another has not.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt;
use jiff::Timestamp;
use serde::Serialize;

use crate::catalog::{DeadLetterFile, RootDocument, Snapshot};
use crate::error::Result;
use crate::model::{Column, DataFile, DateRange, Hold, Seal, date_of_days, days_of_date};
use crate::scan::{ChangedFiles, Side};

/// Cells that are listed; the rest is in the dates' sums.
const CELLS: usize = 1_000;

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

/// Compares two versions; a file that only changed its class is removed and added.
pub async fn diff(before: &Snapshot, after: &Snapshot) -> Result<Diff> {
    let (then, now) = (&before.root().document, &after.root().document);
    let mut diff = of_documents(then, now);
    let changed = ChangedFiles::between(before, after, |file| Some(format!("{}\n{}", file.storage_class, file.path)));
    let changed = changed.await?;
    let mut cells: BTreeMap<String, FileSums> = BTreeMap::new();
    let mut leaves = std::pin::pin!(changed.by_leaf());
    while let Some((side, files)) = leaves.try_next().await? {
        for file in &files {
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
