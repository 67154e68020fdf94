//! What a finished physical plan is going to read: the last word before the first request.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use jiff::civil::Date;

use super::needed::Needed;
use super::reader::WHOLE_FILE_BYTES;
use super::rows::RowGroupRows;
use super::source::FilesSource;
use crate::catalog::CountedFile;
use crate::model::{ArchivedFile, KeyRange, StorageClass};

/// A file of about this size is read with a request for each of its row groups.
const ROW_GROUP_BYTES: u64 = 32 << 20;

/// An archived file that a plan reads: it must be restored first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedShare {
    pub path: String,
    pub size_bytes: u64,
    pub storage_class: StorageClass,
    pub dates: KeyRange<Date>,
    /// Of the rows that are needed.
    pub tenants: BTreeSet<String>,
    pub rows: u64,
    /// Expected to be read of it once it is restored.
    pub bytes: u64,
}

/// What is taken from files of a class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    pub files: u64,
    pub requests: u64,
    pub bytes: u64,
}

/// Data files a plan reads. A query answered from the catalog reads none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlannedFiles {
    /// Over all scans: a file that two of them read counts twice.
    pub files: u64,
    /// Expected at most, without what is found only while reading: pages that cannot match, limits.
    pub requests: u64,
    pub bytes: u64,
    /// In what is read of the files.
    pub rows: u64,
    pub by_class: BTreeMap<StorageClass, Taken>,
    /// Those in a class that cannot be read before a restore, by path, each once.
    pub archived: BTreeMap<String, ArchivedShare>,
    /// First days of the months that files lie in.
    pub months: BTreeSet<Date>,
    /// Of the events that may be read.
    pub dates: BTreeSet<Date>,
}

/// To read a whole file: its end first, then each row group's columns.
fn requests_of_unopened(size_bytes: u64) -> u64 {
    if size_bytes <= WHOLE_FILE_BYTES { 1 } else { 1 + size_bytes.div_ceil(ROW_GROUP_BYTES) }
}

impl PlannedFiles {
    pub fn of(plan: &Arc<dyn ExecutionPlan>) -> Self {
        let mut planned = PlannedFiles::default();
        let visited = plan.apply(|node| {
            let scan = node.downcast_ref::<DataSourceExec>();
            if let Some(source) = scan.and_then(|scan| scan.data_source().downcast_ref::<FilesSource>()) {
                planned.add_all(source.planned());
            }
            Ok(TreeNodeRecursion::Continue)
        });
        debug_assert!(visited.is_ok(), "the visitor has no error to return");
        planned
    }

    /// A file that is read once, for the columns of these names.
    pub fn add(&mut self, needed: &Needed, columns: &[&str]) {
        let file = &needed.file;
        let (requests, bytes, rows) = match RowGroupRows::of(needed, columns) {
            // At most all of it.
            None => (requests_of_unopened(file.size_bytes), file.size_bytes, file.rows),
            Some((_, groups)) => {
                let sum = |get: fn(&RowGroupRows) -> u64| groups.iter().map(get).sum();
                let is_small = file.size_bytes <= WHOLE_FILE_BYTES;
                let (requests, bytes) = if is_small {
                    (1, file.size_bytes)
                } else {
                    (sum(|group| group.requests), sum(|group| group.bytes))
                };
                (requests, bytes, sum(|group| group.selected))
            }
        };
        self.take(file.storage_class, Taken { files: 1, requests, bytes });
        self.rows += rows;
        if needed.slices.is_some() {
            self.months.extend([file.dates.min.first_of_month(), file.dates.max.first_of_month()]);
        }
        needed.runs().for_each(|run| self.add_day(run.dates.min));
        if file.storage_class.is_archived() {
            self.add_archived(ArchivedShare {
                path: file.path.clone(),
                size_bytes: file.size_bytes,
                storage_class: file.storage_class,
                dates: file.dates.clone(),
                tenants: needed.runs().map(|run| run.tenants.min.to_owned()).collect(),
                rows,
                bytes,
            });
        }
    }

    /// Files of one cell each, which can be read, are read whole.
    pub fn add_counted(&mut self, files: &[CountedFile<'_>]) {
        for alike in files.chunk_by(|a, b| a.storage_class == b.storage_class) {
            let sum = |get: fn(&CountedFile<'_>) -> u64| alike.iter().map(get).sum();
            let requests = sum(|file| requests_of_unopened(file.size_bytes));
            let taken = Taken { files: alike.len() as u64, requests, bytes: sum(|file| file.size_bytes) };
            self.take(alike[0].storage_class, taken);
            self.rows += sum(|file| file.covered.rows);
        }
        let mut days: Vec<Date> = files.iter().map(|file| file.covered.dates.min).collect();
        days.sort_unstable();
        days.dedup();
        days.into_iter().for_each(|day| self.add_day(day));
    }

    fn add_all(&mut self, other: &PlannedFiles) {
        other.by_class.iter().for_each(|(class, taken)| self.take(*class, *taken));
        self.rows += other.rows;
        self.months.extend(&other.months);
        self.dates.extend(&other.dates);
        other.archived.values().for_each(|share| self.add_archived(share.clone()));
    }

    fn add_archived(&mut self, archived: ArchivedShare) {
        match self.archived.get_mut(&archived.path) {
            Some(known) => {
                known.tenants.extend(archived.tenants);
                known.rows = known.rows.max(archived.rows);
                known.bytes += archived.bytes;
            }
            None => {
                self.archived.insert(archived.path.clone(), archived);
            }
        }
    }

    fn take(&mut self, class: StorageClass, taken: Taken) {
        let class = self.by_class.entry(class).or_default();
        class.files += taken.files;
        class.requests += taken.requests;
        class.bytes += taken.bytes;
        self.files += taken.files;
        self.requests += taken.requests;
        self.bytes += taken.bytes;
    }

    fn add_day(&mut self, day: Date) {
        if self.dates.insert(day) {
            self.months.insert(day.first_of_month());
        }
    }

    pub fn archived_files(&self) -> impl Iterator<Item = ArchivedFile> {
        self.archived.values().map(|share| ArchivedFile {
            path: share.path.clone(),
            size_bytes: share.size_bytes,
            storage_class: share.storage_class,
        })
    }

    pub fn archived_bytes(&self) -> u64 {
        self.archived.values().map(|file| file.size_bytes).sum()
    }
}
