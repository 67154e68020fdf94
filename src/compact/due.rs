//! Which cells have small files to be merged, without holding the files: their sizes go to disk by date, and cells are
//! counted one date after the other.

use std::collections::{BTreeSet, HashSet};

use futures::TryStreamExt;
use jiff::civil::Date;

use super::plan::{Planner, Reason};
use crate::catalog::{LeafRef, LiveFile, Snapshot};
use crate::data::spill::Spill;
use crate::error::Result;
use crate::model::{FileView, date_of_days, days_of_date, short_digest};

/// Files of one plan: about half a kilobyte each. What is beyond waits for the next run.
pub const MAX_FILES: u64 = 1 << 18;

/// Of the records before they go to disk.
const MEMORY_BYTES: usize = 16 << 20;

/// The digest of a cell and class, then a file's size.
const RECORD_BYTES: usize = 24;

/// Cells and classes whose files are merged, each by its digest.
pub struct Due {
    cells: HashSet<[u8; 16]>,
    dates: BTreeSet<Date>,
}

impl Due {
    /// Looks at every file of these leaves; what stays is counted by the planner. Of cells that may be merged it takes the
    /// oldest, until they have `max_files`.
    pub async fn find(
        snapshot: &Snapshot,
        leaves: &[LeafRef],
        planner: &mut Planner<'_>,
        max_files: u64,
    ) -> Result<Self> {
        let mut records: Spill<RECORD_BYTES> = Spill::new(MEMORY_BYTES);
        let mut tables = snapshot.tables(leaves.to_vec());
        while let Some(table) = tables.try_next().await? {
            for view in table.views()? {
                let (_, file) = view?;
                if planner.may_merge(&file) {
                    let mut record = [0; RECORD_BYTES];
                    record[..16].copy_from_slice(&cell_of(&file));
                    record[16..].copy_from_slice(&file.size_bytes.to_be_bytes());
                    records.add(bucket(file.dates.min), record)?;
                }
            }
        }
        let mut due = Due { cells: HashSet::new(), dates: BTreeSet::new() };
        let mut left = max_files;
        for bucket in records.buckets() {
            due.of_date(bucket, &records.take(bucket)?, planner, &mut left);
        }
        Ok(due)
    }

    fn of_date(&mut self, bucket: u32, records: &[[u8; RECORD_BYTES]], planner: &mut Planner<'_>, left: &mut u64) {
        // They are sorted, so those of a cell are neighbours, and the order is the same each time it is asked.
        for of_cell in records.chunk_by(|a, b| a[..16] == b[..16]) {
            let cell: [u8; 16] = of_cell[0][..16].try_into().expect("16 bytes");
            let size = |record: &[u8; RECORD_BYTES]| u64::from_be_bytes(record[16..].try_into().expect("8 bytes"));
            let (files, bytes) = (of_cell.len() as u64, of_cell.iter().map(size).sum());
            if files < planner.policy.least_files() as u64 {
                planner.stay(Some(&Reason::Alone), files, bytes);
            } else if let Some(rest) = left.checked_sub(files) {
                *left = rest;
                self.cells.insert(cell);
                self.dates.extend(date_of_bucket(bucket));
            } else {
                // Nothing of a later date goes before these.
                *left = 0;
                planner.stay(Some(&Reason::NextRun), files, bytes);
            }
        }
    }

    /// The files that are due.
    pub async fn files(&self, snapshot: &Snapshot, leaves: &[LeafRef], planner: &Planner<'_>) -> Result<Vec<LiveFile>> {
        let leaves: HashSet<&str> =
            leaves.iter().filter(|leaf| leaf.may_hold_any(&self.dates)).map(|leaf| leaf.path.as_str()).collect();
        let is_due = |file: &FileView<'_>| {
            self.dates.contains(&file.dates.min) && planner.merges(file) && self.cells.contains(&cell_of(file))
        };
        snapshot.pick_files(|leaf| leaves.contains(leaf.path.as_str()), is_due).await
    }
}

fn cell_of(file: &FileView<'_>) -> [u8; 16] {
    let FileView { tenants, event_types, dates, storage_class, .. } = file;
    short_digest(&format!("{}\0{}\0{}\0{storage_class}", tenants.min, event_types.min, dates.min))
}

/// Ascending with the dates, those before the epoch too.
fn bucket(date: Date) -> u32 {
    (days_of_date(date) as u32) ^ (1 << 31)
}

fn date_of_bucket(bucket: u32) -> Option<Date> {
    date_of_days((bucket ^ (1 << 31)) as i32)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::compact::Policy;
    use crate::model::Prices;

    #[test]
    fn the_oldest_cells_go_first_and_the_rest_waits_for_the_next_run() {
        let (policy, prices) = (Policy::default(), Prices::built_in());
        let mut planner = Planner::new(&policy, &[], &prices, "2026-11-25T00:00:00Z".parse().unwrap());
        let records = |cells: &[(u8, u8)]| -> Vec<[u8; RECORD_BYTES]> {
            let record = |(cell, size): &(u8, u8)| {
                let mut record = [0; RECORD_BYTES];
                (record[0], record[RECORD_BYTES - 1]) = (*cell, *size);
                record
            };
            cells.iter().map(record).collect()
        };
        let (first, second) = (date(1969, 12, 31), date(1970, 1, 1));
        assert!(bucket(first) < bucket(second), "buckets are taken in the order of the dates");
        let (mut due, mut left) = (Due { cells: HashSet::new(), dates: BTreeSet::new() }, 5);
        due.of_date(bucket(first), &records(&[(1, 10), (1, 20), (2, 30), (3, 1), (3, 1)]), &mut planner, &mut left);
        assert_eq!((left, due.cells.len()), (1, 2), "two cells of two files; one is alone");
        due.of_date(bucket(second), &records(&[(4, 7), (4, 8), (5, 9)]), &mut planner, &mut left);
        assert_eq!((left, due.cells.len(), due.dates), (0, 2, BTreeSet::from([first])));
        let stays: Vec<(Reason, u64, u64)> =
            planner.finish().stays.into_iter().map(|(reason, sum)| (reason, sum.files, sum.bytes)).collect();
        assert_eq!(stays, [(Reason::Alone, 2, 39), (Reason::NextRun, 2, 15)]);
    }
}
