//! One cell's rows: settle the types, drop what is there already, sort, write.
//!
//! The first record of an identity stays; a later one with the same content is a duplicate, with other content a
//! conflict. What the archive already holds came first; where it cannot be asked, the record stays undecided.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{TimestampMicrosecondType, UInt64Type};

use super::buffer::Parts;
use super::encode::{CellWriter, Target};
use super::existing::{Existing, ExistingFile, Found};
use super::footers::Footers;
use super::merge;
use super::typed::{Same, Typed};
use crate::catalog::NewFile;
use crate::error::{Context, Result};
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
    /// With all columns of the run.
    pub schema: &'a Schema,
    /// Files of the archive that have rows of this cell.
    pub existing: &'a [ExistingFile],
    /// Of files whose own cannot or need not be read.
    pub footers: &'a Footers,
    /// Rows held in memory at once, in bytes; a cell beyond it is merged from disk.
    pub memory_bytes: usize,
}

/// Writes a cell's new events and says what became of every row.
pub fn write_cell(plan: &CellPlan<'_>, parts: &Parts, target: &Target<'_>) -> Result<CellReport> {
    let typed = Typed::new(plan.schema);
    let mut report = CellReport::default();
    let existing = plan.existing.iter().map(|existing| existing.file.path.as_str());
    let mut writer = CellWriter::new(plan.cell, typed.file_schema.clone(), target).beside(existing);
    let (bytes, _) = parts.size_of_cell(plan.number);
    if bytes <= plan.memory_bytes {
        let mut chunks = Vec::new();
        parts.read_cell(plan.number, |chunk| {
            chunks.push(typed.settle(&chunk)?);
            Ok(())
        })?;
        let rows = concat_batches(&typed.schema, &chunks).context("join a cell's rows")?;
        drop(chunks);
        writer.write(&new_rows(plan, &rows, target, &mut report)?)?;
    } else {
        merge::write_large_cell(plan, parts, &typed, target, &mut writer, &mut report)?;
    }
    report.files = writer.finish()?;
    Ok(report)
}

/// Of these rows those that are new, sorted by time and id; the others are added to the report.
pub fn new_rows(
    plan: &CellPlan<'_>,
    rows: &RecordBatch,
    target: &Target<'_>,
    report: &mut CellReport,
) -> Result<RecordBatch> {
    let orders = rows.column(0).as_primitive::<UInt64Type>();
    let mut firsts = first_of_each_id(rows, report)?;
    let existing = Existing { files: plan.existing, schema: plan.schema, target, footers: plan.footers };
    for (row, found) in existing.find(rows, &firsts)? {
        let order = orders.value(row as usize);
        report.leaned_on_archive |= !matches!(found, Found::Undecided(_));
        match found {
            Found::Same => report.duplicates.push(order),
            Found::Different => report.conflicts.push(order),
            Found::Undecided(file) => report.undecided.push((order, file)),
        }
        firsts.remove(rows.column(1).as_string::<i32>().value(row as usize));
    }
    let ids = rows.column(1).as_string::<i32>();
    let times = rows.column(2).as_primitive::<TimestampMicrosecondType>();
    let mut sorted: Vec<u32> = firsts.into_values().collect();
    sorted.sort_unstable_by(|&a, &b| {
        let key = |row: u32| (times.value(row as usize), ids.value(row as usize));
        key(a).cmp(&key(b))
    });
    take_record_batch(rows, &UInt32Array::from(sorted)).context("sort a cell's rows")
}

/// The row that stays, for each id: the one of the lowest order.
fn first_of_each_id<'a>(rows: &'a RecordBatch, report: &mut CellReport) -> Result<HashMap<&'a str, u32>> {
    let orders = rows.column(0).as_primitive::<UInt64Type>();
    let ids = rows.column(1).as_string::<i32>();
    let mut firsts: HashMap<&str, u32> = HashMap::with_capacity(rows.num_rows());
    let mut later = Vec::new();
    for row in 0..rows.num_rows() as u32 {
        firsts
            .entry(ids.value(row as usize))
            .and_modify(|first| {
                let is_earlier = orders.value(row as usize) < orders.value(*first as usize);
                later.push(if is_earlier { std::mem::replace(first, row) } else { row });
            })
            .or_insert(row);
    }
    if later.is_empty() {
        return Ok(firsts);
    }
    let same = Same::new(rows, rows)?;
    for row in later {
        let first = firsts[ids.value(row as usize)];
        let list = if same.rows(row as usize, first as usize) { &mut report.duplicates } else { &mut report.conflicts };
        list.push(orders.value(row as usize));
    }
    Ok(firsts)
}
