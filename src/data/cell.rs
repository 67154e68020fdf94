//! One cell's rows: drop what is there already, sort, make columns of the settled types, write.
//!
//! The first record of an identity stays; a later one with the same content is a duplicate, with other content a
//! conflict. What the archive already holds came first; where it cannot be asked, the record stays undecided.

use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::AsArray;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::buffer::Parts;
use super::encode::{CellWriter, Target};
use super::existing::{Existing, ExistingFile, Found, RowsById};
use super::footers::Footers;
use super::merge;
use super::row::Row;
use super::turns::Turn;
use super::typed::{Same, Typed};
use crate::catalog::NewFile;
use crate::error::Result;
use crate::model::{DataFile, Partition, Schema};

/// What became of a cell's rows. Orders tell export and line: [`super::rows::export_and_line`].
#[derive(Debug, Default)]
pub struct CellReport {
    pub files: Vec<NewFile>,
    /// Rows that were there already, in this run or in the archive.
    pub duplicates: Vec<u64>,
    pub conflicts: Vec<u64>,
    /// Rows that may be in the archive: in this file, which cannot be read now.
    pub undecided: Vec<(u64, Arc<DataFile>)>,
    /// Some rows were dropped because of files the archive already had.
    pub leaned_on_archive: bool,
}

/// How to write a cell.
pub struct CellPlan<'a> {
    pub cell: &'a Partition,
    pub number: u32,
    /// All columns of the run.
    pub schema: &'a Schema,
    /// The same, for the run's rows.
    pub typed: &'a Typed,
    /// Files of the archive that have rows of this cell.
    pub existing: &'a [ExistingFile],
    /// Of files whose own cannot or need not be read.
    pub footers: &'a Footers,
    /// Rows held in memory at once, in bytes; a cell beyond it is merged from disk.
    pub memory_bytes: usize,
    pub turn: &'a Turn<'a>,
}

/// Writes a cell's new events and says what became of every row.
pub fn write_cell(plan: &CellPlan<'_>, parts: &Parts, target: &Target<'_>) -> Result<CellReport> {
    let mut report = CellReport::default();
    let existing = plan.existing.iter().map(|existing| existing.file.path.as_str());
    let (row_bytes, rows) = parts.size_of_cell(plan.number);
    let mut writer = CellWriter::new(plan.cell, plan.typed, rows, target).pausing(plan.turn).beside(existing);
    if row_bytes <= plan.memory_bytes as u64 {
        let mut spilled = Vec::new();
        let rows = parts.rows_of_cell(plan.number, &mut spilled)?;
        writer.write(&new_rows(plan, &rows, target, &mut report)?)?;
    } else {
        merge::write_large_cell(plan, parts, target, &mut writer, &mut report)?;
    }
    report.files = writer.finish()?;
    Ok(report)
}

/// Of these rows those that are new, sorted by time and id; the others are added to the report.
pub fn new_rows<'a>(
    plan: &CellPlan<'_>,
    all: &[Row<'a>],
    target: &Target<'_>,
    report: &mut CellReport,
) -> Result<Vec<Row<'a>>> {
    let firsts = first_of_each_id(plan.typed, all, report)?;
    // With the times beside them, the rows are looked at only where two have the same.
    let mut firsts: Vec<_> = firsts.into_iter().map(|row| (row.ts(), row)).collect();
    firsts.sort_unstable_by(|(a_ts, a), (b_ts, b)| a_ts.cmp(b_ts).then_with(|| a.id().cmp(b.id())));
    let mut sorted: Vec<_> = firsts.into_iter().map(|(_, row)| row).collect();
    if plan.existing.is_empty() {
        return Ok(sorted);
    }
    let values = plan.typed.gather(sorted.iter().copied())?;
    let by_id: RowsById<'_> = values.column(0).as_string::<i32>().iter().flatten().zip(0..).collect();
    let existing = Existing { files: plan.existing, schema: plan.schema, target, footers: plan.footers };
    let mut is_new = vec![true; sorted.len()];
    for (row, found) in existing.find(&values, &by_id)? {
        let order = sorted[row as usize].order();
        is_new[row as usize] = false;
        report.leaned_on_archive |= !matches!(found, Found::Undecided(_));
        match found {
            Found::Same => report.duplicates.push(order),
            Found::Different => report.conflicts.push(order),
            Found::Undecided(file) => report.undecided.push((order, file)),
        }
    }
    let mut is_new = is_new.into_iter();
    sorted.retain(|_| is_new.next() == Some(true));
    Ok(sorted)
}

/// The row that stays, for each id: the one of the lowest order.
fn first_of_each_id<'a>(typed: &Typed, all: &[Row<'a>], report: &mut CellReport) -> Result<Vec<Row<'a>>> {
    let hasher = RandomState::default();
    let hash = |row: &Row<'_>| hasher.hash_one(row.id());
    // Places in `firsts`: small enough that the table of a usual cell stays in the cache.
    let mut places: HashTable<u32> = HashTable::with_capacity(all.len());
    let mut firsts: Vec<Row<'a>> = Vec::with_capacity(all.len());
    let mut later = Vec::new();
    for &row in all {
        let is_same = |&place: &u32| firsts[place as usize].id() == row.id();
        match places.entry(hash(&row), is_same, |&place| hash(&firsts[place as usize])) {
            Entry::Vacant(vacant) => {
                vacant.insert(firsts.len() as u32);
                firsts.push(row);
            }
            Entry::Occupied(place) => {
                let place = *place.get();
                let first = &mut firsts[place as usize];
                later.push((place, if row.order() < first.order() { std::mem::replace(first, row) } else { row }));
            }
        }
    }
    // What is not the same to the byte may still be in its values: in fields that come in another order.
    later.retain(|(place, row)| {
        let is_same = row.content() == firsts[*place as usize].content();
        if is_same {
            report.duplicates.push(row.order());
        }
        !is_same
    });
    if !later.is_empty() {
        let kept = typed.gather(later.iter().map(|(place, _)| firsts[*place as usize]))?;
        let same = Same::new(&typed.gather(later.iter().map(|(_, row)| *row))?, &kept)?;
        for (position, (_, row)) in later.iter().enumerate() {
            let is_same = same.rows(position, position);
            let list = if is_same { &mut report.duplicates } else { &mut report.conflicts };
            list.push(row.order());
        }
    }
    Ok(firsts)
}
