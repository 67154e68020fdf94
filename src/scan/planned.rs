//! What a finished physical plan is going to read: the last word before the first request.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use jiff::civil::Date;

use super::leaves::LeafSource;
use super::needed::Needed;
use super::reader::WHOLE_FILE_BYTES;
use super::rows::RowGroupRows;
use crate::catalog::{CountedFile, Covered};
use crate::model::{ArchivedFile, DataFile, KeyRange, StorageClass};

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

/// What a scan takes of one file, noted in its `PartitionedFile`.
#[derive(Debug, Clone)]
pub struct Share {
    file: Arc<DataFile>,
    /// Of a bundle, those that are needed of it; of other files what the file says.
    keys: Option<Arc<Keys>>,
    requests: u64,
    bytes: u64,
    rows: u64,
}

#[derive(Debug)]
struct Keys {
    days: BTreeSet<Date>,
    /// Only of archived files.
    tenants: BTreeSet<String>,
}

/// To read a whole file: its end first, then each row group's columns.
fn requests_of_unopened(size_bytes: u64) -> u64 {
    if size_bytes <= WHOLE_FILE_BYTES { 1 } else { 1 + size_bytes.div_ceil(ROW_GROUP_BYTES) }
}

impl Share {
    /// Of the columns of these names.
    pub fn of(needed: &Needed, columns: &[&str]) -> Self {
        match &needed.inside {
            Some(inside) => Self::of_row_groups(needed, &RowGroupRows::of(needed, inside, columns)),
            None => Self::of_unopened(&needed.file),
        }
    }

    /// Of a file whose footer has not been read: at most all of it.
    pub fn of_unopened(file: &Arc<DataFile>) -> Self {
        let bytes = file.size_bytes;
        Share { file: file.clone(), keys: None, requests: requests_of_unopened(bytes), bytes, rows: file.rows }
    }

    pub fn of_row_groups(needed: &Needed, groups: &[RowGroupRows]) -> Self {
        let file = &needed.file;
        let sum = |get: fn(&RowGroupRows) -> u64| groups.iter().map(get).sum::<u64>();
        let is_small = file.size_bytes <= WHOLE_FILE_BYTES;
        let (requests, bytes) =
            if is_small { (1, file.size_bytes) } else { (sum(|group| group.requests), sum(|group| group.bytes)) };
        let keys = needed.slices.as_ref().map(|slices| {
            let runs = || slices.iter().map(Covered::from);
            let tenants = match file.storage_class.is_archived() {
                true => runs().map(|run| run.tenants.min.to_owned()).collect(),
                false => BTreeSet::new(),
            };
            Arc::new(Keys { days: runs().map(|run| run.dates.min).collect(), tenants })
        });
        Share { file: file.clone(), keys, requests, bytes, rows: sum(|group| group.selected) }
    }

    /// `None` where the file can be read as it is.
    fn archived(&self) -> Option<ArchivedShare> {
        let file = &self.file;
        let tenants = || match &self.keys {
            Some(keys) => keys.tenants.clone(),
            None => BTreeSet::from([file.tenants.min.to_string()]),
        };
        file.storage_class.is_archived().then(|| ArchivedShare {
            path: file.path.clone(),
            size_bytes: file.size_bytes,
            storage_class: file.storage_class,
            dates: file.dates.clone(),
            tenants: tenants(),
            rows: self.rows,
            bytes: self.bytes,
        })
    }
}

impl PlannedFiles {
    pub fn of(plan: &Arc<dyn ExecutionPlan>) -> Self {
        let mut planned = PlannedFiles::default();
        let visited = plan.apply(|node| {
            if let Some(scan) = node.downcast_ref::<DataSourceExec>() {
                match scan.data_source().downcast_ref::<LeafSource>() {
                    Some(source) => planned.add_all(source.planned()),
                    None => planned.add_scan(scan),
                }
            }
            Ok(TreeNodeRecursion::Continue)
        });
        debug_assert!(visited.is_ok(), "the visitor has no error to return");
        planned
    }

    fn add_scan(&mut self, scan: &DataSourceExec) {
        let Some(config) = scan.data_source().downcast_ref::<FileScanConfig>() else { return };
        let mut seen = HashSet::new();
        for file in config.file_groups.iter().flat_map(|group| group.iter()) {
            let Some(share) = file.extension::<Share>() else { continue };
            // A large file is read in several ranges; it counts with its first.
            if file.range.as_ref().is_some_and(|range| range.start > 0) {
                continue;
            }
            self.add(share, seen.insert(share.file.path.as_str()));
        }
    }

    /// What reading the columns of these names takes of the files, each of which is read once.
    pub fn add_needed(&mut self, needed: &[Needed], columns: &[&str]) {
        needed.iter().for_each(|needed| self.add(&Share::of(needed, columns), true));
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

    /// A file of one cell, which can be read, is read whole.
    pub fn add_counted(&mut self, file: &CountedFile<'_>) {
        let requests = requests_of_unopened(file.size_bytes);
        self.take(file.storage_class, Taken { files: 1, requests, bytes: file.size_bytes });
        self.rows += file.covered.rows;
        self.add_day(file.covered.dates.min);
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

    fn add(&mut self, share: &Share, is_new: bool) {
        let file = &share.file;
        let taken = Taken { files: u64::from(is_new), requests: share.requests, bytes: share.bytes };
        self.take(file.storage_class, taken);
        self.rows += share.rows;
        match &share.keys {
            Some(keys) => {
                self.months.extend([file.dates.min.first_of_month(), file.dates.max.first_of_month()]);
                keys.days.iter().for_each(|&day| self.add_day(day));
            }
            None => self.add_day(file.dates.min),
        }
        if let Some(archived) = share.archived() {
            self.add_archived(archived);
        }
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
