//! Which rows of a file's row groups are read, and what that takes.

use std::ops::Range;

use datafusion::datasource::physical_plan::parquet::{ParquetAccessPlan, RowGroupAccess};
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};

use super::footer::leaf_column;
use super::needed::{Inside, Needed};
use super::requests;

/// What is read of one row group.
#[derive(Debug, Clone)]
pub struct RowGroupRows {
    pub index: usize,
    /// Positions in the file.
    pub rows: Range<u64>,
    /// How many of its rows are read.
    pub selected: u64,
    access: RowGroupAccess,
    /// Expected for the columns that were asked for.
    pub requests: u64,
    pub bytes: u64,
}

impl RowGroupRows {
    /// Of each row group that is read, ascending, for the columns of these names; `None` where the footer is not known.
    pub fn of<'a>(needed: &'a Needed, columns: &[&str]) -> Option<(&'a Inside, Vec<Self>)> {
        let inside = needed.inside.as_ref()?;
        let metadata = &inside.metadata;
        let leaves: Vec<usize> = columns.iter().filter_map(|column| leaf_column(metadata, column)).collect();
        let mut groups = Vec::new();
        let mut first_row = 0;
        for (index, group) in metadata.row_groups().iter().enumerate() {
            let rows = first_row..first_row + group.num_rows() as u64;
            first_row = rows.end;
            if !inside.row_groups[index] {
                continue;
            }
            let runs = needed_runs(needed, &rows);
            let selected = runs.iter().map(|run| run.end - run.start).sum();
            let requests = requests::joined(&needed_bytes(metadata, index, &leaves, &runs));
            groups.push(RowGroupRows {
                index,
                access: access(&runs, rows.end - rows.start),
                rows,
                selected,
                requests: requests.len() as u64,
                bytes: requests.iter().map(|range| range.end - range.start).sum(),
            });
        }
        Some((inside, groups))
    }

    /// Exactly these rows of a file with `row_groups` row groups.
    pub fn access_plan(groups: &[Self], row_groups: usize) -> ParquetAccessPlan {
        let mut plan = ParquetAccessPlan::new_none(row_groups);
        for group in groups {
            plan.set(group.index, group.access.clone());
        }
        plan
    }
}

/// The needed rows within `rows`, counted from its start; neighbours are one run.
fn needed_runs(needed: &Needed, rows: &Range<u64>) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    let Some(slices) = &needed.slices else {
        runs.push(0..rows.end - rows.start);
        return runs;
    };
    let first = slices.partition_point(|slice| slice.first_row + slice.rows <= rows.start);
    for slice in slices[first..].iter().take_while(|slice| slice.first_row < rows.end) {
        let start = slice.first_row.max(rows.start) - rows.start;
        let end = (slice.first_row + slice.rows).min(rows.end) - rows.start;
        match runs.last_mut().filter(|last| last.end == start) {
            Some(last) => last.end = end,
            None => runs.push(start..end),
        }
    }
    runs
}

fn access(runs: &[Range<u64>], rows: u64) -> RowGroupAccess {
    if let [all] = runs
        && *all == (0..rows)
    {
        return RowGroupAccess::Scan;
    }
    let mut selectors = Vec::new();
    let mut next = 0;
    for run in runs {
        if run.start > next {
            selectors.push(RowSelector::skip((run.start - next) as usize));
        }
        selectors.push(RowSelector::select((run.end - run.start) as usize));
        next = run.end;
    }
    if next < rows {
        selectors.push(RowSelector::skip((rows - next) as usize));
    }
    RowGroupAccess::Selection(RowSelection::from(selectors))
}

/// The byte ranges of the pages that hold these rows.
fn needed_bytes(metadata: &ParquetMetaData, group: usize, leaves: &[usize], runs: &[Range<u64>]) -> Vec<Range<u64>> {
    let row_group = metadata.row_group(group);
    let index = metadata.offset_index().and_then(|index| index.get(group));
    let mut ranges = Vec::new();
    for &leaf in leaves {
        let (start, length) = row_group.column(leaf).byte_range();
        let pages = index.and_then(|columns| columns.get(leaf)).map(|column| column.page_locations());
        let Some(pages) = pages.filter(|pages| !pages.is_empty() && !is_whole(row_group, runs)) else {
            ranges.push(start..start + length);
            continue;
        };
        // The dictionary, where there is one, lies before the first page.
        ranges.push(start..pages[0].offset as u64);
        for (number, page) in pages.iter().enumerate() {
            let first_row = page.first_row_index as u64;
            let end = pages.get(number + 1).map_or(row_group.num_rows() as u64, |next| next.first_row_index as u64);
            let run = runs.partition_point(|run| run.end <= first_row);
            if runs.get(run).is_some_and(|run| run.start < end) {
                ranges.push(page.offset as u64..page.offset as u64 + page.compressed_page_size as u64);
            }
        }
    }
    ranges
}

fn is_whole(group: &RowGroupMetaData, runs: &[Range<u64>]) -> bool {
    matches!(runs, [all] if all.end - all.start == group.num_rows() as u64)
}
