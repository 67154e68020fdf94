//! What a finished physical plan is going to read: the last word before the first request.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;

use crate::model::StorageClass;

/// Data files a plan reads. A query answered from the catalog reads none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PlannedFiles {
    pub files: u64,
    pub bytes: u64,
    /// Of those, files in a class that cannot be read before a restore.
    pub archived_files: u64,
    pub archived_bytes: u64,
}

impl PlannedFiles {
    pub fn of(plan: &Arc<dyn ExecutionPlan>) -> Self {
        let mut planned = PlannedFiles::default();
        let visited = plan.apply(|node| {
            if let Some(scan) = node.downcast_ref::<DataSourceExec>() {
                planned.add(scan);
            }
            Ok(TreeNodeRecursion::Continue)
        });
        debug_assert!(visited.is_ok(), "the visitor has no error to return");
        planned
    }

    fn add(&mut self, scan: &DataSourceExec) {
        let Some(config) = scan.data_source().downcast_ref::<FileScanConfig>() else { return };
        for file in config.file_groups.iter().flat_map(|group| group.iter()) {
            // A large file is read in several ranges; it counts with its first.
            if file.range.as_ref().is_some_and(|range| range.start > 0) {
                continue;
            }
            self.files += 1;
            self.bytes += file.object_meta.size;
            if file.extension::<StorageClass>().is_some_and(|class| class.is_archived()) {
                self.archived_files += 1;
                self.archived_bytes += file.object_meta.size;
            }
        }
    }
}
