//! More files than are worth holding: the scan of each leaf is made when it is that leaf's turn.

use std::fmt;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::DataSource;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::DisplayFormatType;
use datafusion::physical_plan::filter_pushdown::FilterPushdownPropagation;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::TryStreamExt;

use super::needed::Needed;
use super::planned::PlannedFiles;
use super::select::{OfLeaf, Selector};
use crate::catalog::LeafRef;

/// What becomes of the files that a leaf has for a scan.
type Groups = dyn Fn(&[Needed]) -> Vec<FileGroup> + Send + Sync;

/// The files of many leaves, of one kind: all bundles or all of one cell each. Everything that is pushed into it goes to
/// a scan without files, of which each leaf's is a copy.
#[derive(Clone)]
pub struct LeafSource {
    scan: FileScanConfig,
    selector: Selector,
    leaves: Arc<[LeafRef]>,
    groups: Arc<Groups>,
    are_bundles: bool,
    partitions: usize,
    planned: Arc<PlannedFiles>,
}

impl LeafSource {
    /// `scan` has no files, and the statistics of all that there will be; `planned` says what reading them takes.
    pub fn new(
        scan: FileScanConfig,
        selector: Selector,
        (leaves, are_bundles): (Vec<LeafRef>, bool),
        groups: impl Fn(&[Needed]) -> Vec<FileGroup> + Send + Sync + 'static,
        partitions: usize,
        planned: PlannedFiles,
    ) -> Self {
        LeafSource {
            scan,
            selector,
            partitions: partitions.min(leaves.len()).max(1),
            leaves: leaves.into(),
            groups: Arc::new(groups),
            are_bundles,
            planned: Arc::new(planned),
        }
    }

    pub fn planned(&self) -> &PlannedFiles {
        &self.planned
    }

    fn with_scan(&self, scan: &Arc<dyn DataSource>) -> Arc<dyn DataSource> {
        let scan = scan.downcast_ref::<FileScanConfig>().expect("a scan of files stays one").clone();
        Arc::new(LeafSource { scan, ..self.clone() })
    }

    async fn scan_of(self, OfLeaf { needed, .. }: OfLeaf) -> Result<FileScanConfig> {
        let needed = needed.into_iter().filter(|needed| needed.slices.is_some() == self.are_bundles).collect();
        let needed = self.selector.look_inside(needed).await?;
        Ok(FileScanConfigBuilder::from(self.scan).with_file_groups((self.groups)(&needed)).build())
    }
}

impl fmt::Debug for LeafSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeafSource").field("leaves", &self.leaves.len()).field("scan", &self.scan).finish()
    }
}

impl DataSource for LeafSource {
    fn open(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let leaves = self.leaves.iter().skip(partition).step_by(self.partitions).cloned().collect();
        let source = self.clone();
        let batches = self
            .selector
            .of_leaves(leaves)
            .and_then(move |of_leaf| source.clone().scan_of(of_leaf))
            .map_ok(move |scan| {
                let groups = (0..scan.file_groups.len()).map(|group| scan.open(group, context.clone()));
                futures::stream::iter(groups.collect::<Vec<_>>()).try_flatten()
            })
            .try_flatten();
        let schema = self.eq_properties().schema().clone();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }

    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (leaves, files) = (self.leaves.len(), self.planned.files);
        match format {
            DisplayFormatType::TreeRender => writeln!(f, "leaves={leaves}\nfiles={files}")?,
            _ => write!(f, "leaves={leaves}, files={files}, each leaf as ")?,
        }
        self.scan.fmt_as(format, f)
    }

    fn output_partitioning(&self) -> Partitioning {
        Partitioning::UnknownPartitioning(self.partitions)
    }

    fn eq_properties(&self) -> EquivalenceProperties {
        self.scan.eq_properties()
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        match partition {
            None => self.scan.partition_statistics(None),
            Some(_) => Ok(Arc::new(Statistics::new_unknown(self.eq_properties().schema()))),
        }
    }

    /// Each leaf would have a limit of its own.
    fn with_fetch(&self, _: Option<usize>) -> Option<Arc<dyn DataSource>> {
        None
    }

    fn fetch(&self) -> Option<usize> {
        None
    }

    fn metrics(&self) -> ExecutionPlanMetricsSet {
        self.scan.metrics()
    }

    fn try_swapping_with_projection(&self, projection: &ProjectionExprs) -> Result<Option<Arc<dyn DataSource>>> {
        let swapped = self.scan.try_swapping_with_projection(projection)?;
        Ok(swapped.map(|scan| self.with_scan(&scan)))
    }

    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn DataSource>>> {
        let FilterPushdownPropagation { filters, updated_node } = self.scan.try_pushdown_filters(filters, config)?;
        let updated_node = updated_node.map(|scan| self.with_scan(&scan));
        Ok(FilterPushdownPropagation { filters, updated_node })
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.scan.apply_expressions(visit)
    }
}
