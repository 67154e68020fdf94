//! The files of a scan as a DataFusion `DataSource`. They become DataFusion's when they are read: until then a plan, and
//! each copy that an optimizer makes of it, holds no more of them than the catalog says.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics};
use datafusion::datasource::physical_plan::{FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::{DataSource, OpenArgs};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::execution_plan::SchedulingType;
use datafusion::physical_plan::filter_pushdown::FilterPushdownPropagation;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayFormatType, EmptyRecordBatchStream, SortOrderPushdownResult};
use futures::TryStreamExt;

use super::needed::Needed;
use super::order::Order;
use super::parts::{MIN_PART_BYTES, Parts};
use super::planned::PlannedFiles;
use super::prune::Pruner;
use super::select::{OfLeaf, Selector};
use crate::catalog::{Covered, LeafRef};

/// Files of one kind, all bundles or all of one cell each. What is pushed into it goes to a scan without files, of which
/// each scan that reads some is a copy.
#[derive(Clone)]
pub struct FilesSource {
    scan: FileScanConfig,
    files: Files,
    parts: Parts,
    partitions: usize,
    planned: Arc<PlannedFiles>,
    /// In which what may have the first rows comes first.
    order: Order,
}

#[derive(Clone)]
pub enum Files {
    Few(Arc<[Needed]>),
    /// More than are worth holding: those of each leaf are looked for when it is that leaf's turn.
    Many(Box<Selector>, Arc<[LeafRef]>),
}

/// What the partitions of an execution share.
struct Opened {
    scan: FileScanConfig,
    sibling_state: Option<Arc<dyn Any + Send + Sync>>,
}

impl FilesSource {
    /// `scan` has no files, and the statistics of all that there will be; `planned` says what reading them takes.
    pub fn new(scan: FileScanConfig, files: Files, parts: Parts, partitions: usize, planned: PlannedFiles) -> Self {
        let most = match &files {
            Files::Few(needed) => needed.len().max(planned.bytes.div_ceil(MIN_PART_BYTES) as usize),
            Files::Many(..) => planned.files as usize,
        };
        let partitions = partitions.min(most).max(1);
        FilesSource { scan, files, parts, partitions, planned: Arc::new(planned), order: Order::default() }
    }

    pub fn planned(&self) -> &PlannedFiles {
        &self.planned
    }

    fn with_scan(&self, scan: &Arc<dyn DataSource>) -> Self {
        let scan = scan.downcast_ref::<FileScanConfig>().expect("a scan of files stays one").clone();
        FilesSource { scan, ..self.clone() }
    }

    fn in_order(&self, order: Order) -> Self {
        let mut ordered = self.clone();
        if let Files::Many(_, leaves) = &mut ordered.files {
            *leaves = order.sorted(leaves).into_iter().cloned().collect();
        }
        FilesSource { order, ..ordered }
    }

    /// Whether a leaf may have what is looked for by now: the filter of a query for the newest few rows narrows while it
    /// runs.
    fn may_match(&self, leaf: &LeafRef) -> bool {
        let files = self.scan.file_source();
        let pruner = Pruner::new(files.filter(), files.table_schema().table_schema().clone());
        pruner.which(&[Covered::from(leaf)]).map_or(true, |which| which.contains(&true))
    }

    fn scan_of(&self, needed: &[Needed], groups: usize) -> FileScanConfig {
        let groups = self.parts.groups(&self.order.sorted(needed), groups);
        FileScanConfigBuilder::from(self.scan.clone()).with_file_groups(groups).build()
    }

    fn open_few(&self, needed: &[Needed], args: OpenArgs) -> Result<SendableRecordBatchStream> {
        let OpenArgs { partition, context, sibling_state } = args;
        let args = OpenArgs::new(partition, context);
        match sibling_state.as_ref().and_then(|state| state.downcast_ref::<Opened>()) {
            Some(Opened { scan, sibling_state }) => scan.open_with_args(args.with_shared_state(sibling_state.clone())),
            None => self.scan_of(needed, self.partitions).open_with_args(args),
        }
    }

    fn open_many(
        &self,
        selector: &Selector,
        leaves: &Arc<[LeafRef]>,
        OpenArgs { partition, context, .. }: OpenArgs,
    ) -> SendableRecordBatchStream {
        // Where there are fewer leaves than partitions, several share one.
        let (leaf, place) = (partition % leaves.len(), partition / leaves.len());
        let sharing = (self.partitions - leaf).div_ceil(leaves.len());
        let (leaves, asked) = (leaves.clone(), self.clone());
        let leaves = (leaf..leaves.len()).step_by(self.partitions).map(move |leaf| leaves[leaf].clone());
        let leaves = leaves.filter(move |leaf| asked.may_match(leaf));
        let (source, asked) = (self.clone(), selector.clone());
        let batches = selector
            .of_leaves(leaves)
            .and_then(move |OfLeaf { leaf, needed }| {
                let (source, asked, context) = (source.clone(), asked.clone(), context.clone());
                async move {
                    if !source.may_match(&leaf) {
                        return Ok(Box::pin(EmptyRecordBatchStream::new(source.eq_properties().schema().clone())) as _);
                    }
                    let are_bundles = source.parts.are_bundles();
                    let needed = needed.into_iter().filter(|needed| needed.slices.is_some() == are_bundles);
                    let needed = asked.look_inside(needed.skip(place).step_by(sharing).collect()).await?;
                    let scan = source.scan_of(&needed, 1);
                    let sibling_state = scan.create_sibling_state(context.session_config().options());
                    scan.open_with_args(OpenArgs::new(0, context).with_shared_state(sibling_state))
                }
            })
            .try_flatten();
        Box::pin(RecordBatchStreamAdapter::new(self.eq_properties().schema().clone(), batches))
    }
}

impl fmt::Debug for FilesSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilesSource").field("files", &self.planned.files).field("scan", &self.scan).finish()
    }
}

impl DataSource for FilesSource {
    fn open(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.open_with_args(OpenArgs::new(partition, context))
    }

    fn open_with_args(&self, args: OpenArgs) -> Result<SendableRecordBatchStream> {
        match &self.files {
            Files::Few(needed) => self.open_few(needed, args),
            Files::Many(selector, leaves) => Ok(self.open_many(selector, leaves, args)),
        }
    }

    fn create_sibling_state(&self, config: &ConfigOptions) -> Option<Arc<dyn Any + Send + Sync>> {
        let Files::Few(needed) = &self.files else { return None };
        let scan = self.scan_of(needed, self.partitions);
        let sibling_state = scan.create_sibling_state(config);
        Some(Arc::new(Opened { scan, sibling_state }))
    }

    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.files {
            Files::Few(needed) => self.scan_of(needed, self.partitions).fmt_as(format, f),
            Files::Many(_, leaves) => {
                let (leaves, files) = (leaves.len(), self.planned.files);
                match format {
                    DisplayFormatType::TreeRender => writeln!(f, "leaves={leaves}\nfiles={files}")?,
                    _ => write!(f, "leaves={leaves}, files={files}, each leaf as ")?,
                }
                self.scan.fmt_as(format, f)
            }
        }
    }

    fn output_partitioning(&self) -> Partitioning {
        Partitioning::UnknownPartitioning(self.partitions)
    }

    fn eq_properties(&self) -> EquivalenceProperties {
        self.scan.eq_properties()
    }

    fn scheduling_type(&self) -> SchedulingType {
        self.scan.scheduling_type()
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        match partition {
            None => self.scan.partition_statistics(None),
            Some(_) => Ok(Arc::new(Statistics::new_unknown(self.eq_properties().schema()))),
        }
    }

    /// Each leaf would have a limit of its own.
    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn DataSource>> {
        match &self.files {
            Files::Few(_) => self.scan.with_fetch(limit).map(|scan| Arc::new(self.with_scan(&scan)) as _),
            Files::Many(..) => None,
        }
    }

    fn fetch(&self) -> Option<usize> {
        match &self.files {
            Files::Few(_) => self.scan.fetch(),
            Files::Many(..) => None,
        }
    }

    fn metrics(&self) -> ExecutionPlanMetricsSet {
        self.scan.metrics()
    }

    fn try_swapping_with_projection(&self, projection: &ProjectionExprs) -> Result<Option<Arc<dyn DataSource>>> {
        let swapped = self.scan.try_swapping_with_projection(projection)?;
        Ok(swapped.map(|scan| Arc::new(self.with_scan(&scan)) as _))
    }

    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn DataSource>>> {
        let FilterPushdownPropagation { filters, updated_node } = self.scan.try_pushdown_filters(filters, config)?;
        let updated_node = updated_node.map(|scan| Arc::new(self.with_scan(&scan)) as _);
        Ok(FilterPushdownPropagation { filters, updated_node })
    }

    fn try_pushdown_sort(&self, order: &[PhysicalSortExpr]) -> Result<SortOrderPushdownResult<Arc<dyn DataSource>>> {
        let source = Order::of(order).map(|order| self.in_order(order));
        let pushed = self.scan.try_pushdown_sort(order)?.map(|scan| {
            let source = source.as_ref().unwrap_or(self);
            Arc::new(source.with_scan(&scan)) as _
        });
        Ok(match (pushed, source) {
            (SortOrderPushdownResult::Unsupported, Some(source)) => {
                SortOrderPushdownResult::Inexact { inner: Arc::new(source) }
            }
            (pushed, _) => pushed,
        })
    }

    fn with_preserve_order(&self, preserve_order: bool) -> Option<Arc<dyn DataSource>> {
        self.scan.with_preserve_order(preserve_order).map(|scan| Arc::new(self.with_scan(&scan)) as _)
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.scan.apply_expressions(visit)
    }
}
