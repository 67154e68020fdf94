//! The files of a scan as a DataFusion `DataSource`. They become DataFusion's when they are read: until then a plan, and
//! each copy that an optimizer makes of it, holds no more of them than the catalog says.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::{DataSource, OpenArgs};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::{
    DynamicFilterTracking, EquivalenceProperties, Partitioning, PhysicalExpr, PhysicalSortExpr,
};
use datafusion::physical_plan::execution_plan::SchedulingType;
use datafusion::physical_plan::filter_pushdown::FilterPushdownPropagation;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayFormatType, SortOrderPushdownResult};
use futures::{Stream, TryStreamExt};

use super::needed::Needed;
use super::order::Order;
use super::parts::{MIN_PART_BYTES, Parts};
use super::planned::PlannedFiles;
use super::prune::Pruner;
use super::select::{OfLeaf, Selector};
use crate::catalog::{Covered, LeafRef};

/// Files of a queue that a partition takes at once.
const MOST_AT_ONCE: usize = 64;

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
    order: Option<Order>,
}

#[derive(Clone)]
pub enum Files {
    Few(Arc<[Needed]>),
    /// More than are worth holding: those of each leaf are looked for when it is that leaf's turn.
    Many(Box<Selector>, Arc<[LeafRef]>),
}

/// What the partitions of an execution share.
enum Shared {
    Scan(Box<FileScanConfig>, Option<Arc<dyn Any + Send + Sync>>),
    Queue(Arc<Mutex<Queue>>),
}

/// Files in the order in which they may have the first rows, taken when their turn has come. By then most have been ruled
/// out. As many are taken at once as were taken before by each partition: who needs few takes few, and who needs many soon
/// fetches them ahead.
#[derive(Default)]
struct Queue {
    files: VecDeque<Needed>,
    taken: usize,
    /// Of the files that were taken last.
    parts: VecDeque<PartitionedFile>,
}

impl FilesSource {
    /// `scan` has no files, and the statistics of all that there will be; `planned` says what reading them takes.
    pub fn new(scan: FileScanConfig, files: Files, parts: Parts, partitions: usize, planned: PlannedFiles) -> Self {
        let most = match &files {
            Files::Few(needed) => needed.len().max(planned.bytes.div_ceil(MIN_PART_BYTES) as usize),
            Files::Many(..) => planned.files as usize,
        };
        let partitions = partitions.min(most).max(1);
        FilesSource { scan, files, parts, partitions, planned: Arc::new(planned), order: None }
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
        FilesSource { order: Some(order), ..ordered }
    }

    fn may_match<T>(&self, one: &T) -> bool
    where
        for<'a> Covered<'a>: From<&'a T>,
    {
        self.which_may_match(std::slice::from_ref(one)) == [true]
    }

    /// Which may have what is looked for by now: the filter of a query for the newest few rows narrows while it runs.
    fn which_may_match<T>(&self, items: &[T]) -> Vec<bool>
    where
        for<'a> Covered<'a>: From<&'a T>,
    {
        let files = self.scan.file_source();
        let pruner = Pruner::new(files.filter(), files.table_schema().table_schema().clone());
        pruner.which(items).unwrap_or_else(|_| vec![true; items.len()])
    }

    /// Whether the filter says more by now than it did when files were planned.
    fn narrows(&self) -> bool {
        let filter = self.scan.file_source().filter();
        filter.is_some_and(|filter| DynamicFilterTracking::classify(&filter).contains_dynamic_filter())
    }

    fn looks_for_first_rows(&self) -> bool {
        self.order.is_some() && self.narrows()
    }

    fn scan_of(&self, needed: &[Needed], groups: usize) -> FileScanConfig {
        self.scan_of_groups(self.parts.groups(&self.sorted(needed), groups, self.share()))
    }

    fn scan_of_groups(&self, groups: Vec<FileGroup>) -> FileScanConfig {
        FileScanConfigBuilder::from(self.scan.clone()).with_file_groups(groups).build()
    }

    fn sorted<'a>(&self, needed: &'a [Needed]) -> Vec<&'a Needed> {
        match &self.order {
            Some(order) => order.sorted(needed),
            None => needed.iter().collect(),
        }
    }

    /// The bytes that one partition has to read, beyond which a file is cut; those of one leaf are read by as many as share
    /// the leaf.
    fn share(&self) -> u64 {
        match &self.files {
            Files::Few(_) if self.partitions > 1 => self.planned.bytes / self.partitions as u64,
            _ => u64::MAX,
        }
    }

    fn open_few(&self, needed: &[Needed], args: OpenArgs) -> Result<SendableRecordBatchStream> {
        let OpenArgs { partition, context, sibling_state } = args;
        let args = OpenArgs::new(partition, context.clone());
        match sibling_state.as_ref().and_then(|state| state.downcast_ref::<Shared>()) {
            Some(Shared::Scan(scan, sibling_state)) => {
                scan.open_with_args(args.with_shared_state(sibling_state.clone()))
            }
            Some(Shared::Queue(queue)) => Ok(self.stream(self.one_by_one(queue.clone(), context))),
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
        let narrows = self.narrows();
        let leaves = leaves.filter(move |leaf| !narrows || asked.may_match(leaf));
        let (source, asked) = (self.clone(), selector.clone());
        let batches = selector
            .of_leaves(leaves)
            .and_then(move |OfLeaf { needed, .. }| {
                let (source, asked, context) = (source.clone(), asked.clone(), context.clone());
                async move {
                    let are_bundles = source.parts.are_bundles();
                    let needed = needed.into_iter().filter(|needed| needed.slices.is_some() == are_bundles);
                    let needed = asked.look_inside(needed.skip(place).step_by(sharing).collect()).await?;
                    Ok(match source.looks_for_first_rows() {
                        true => source.stream(source.one_by_one(source.queue(&needed), context)),
                        false => source.scan_of(&needed, 1).open(0, context)?,
                    })
                }
            })
            .try_flatten();
        self.stream(batches)
    }

    fn stream(&self, batches: impl Stream<Item = Result<RecordBatch>> + Send + 'static) -> SendableRecordBatchStream {
        Box::pin(RecordBatchStreamAdapter::new(self.eq_properties().schema().clone(), batches))
    }

    fn queue(&self, needed: &[Needed]) -> Arc<Mutex<Queue>> {
        let files = self.sorted(needed).into_iter().cloned().collect();
        Arc::new(Mutex::new(Queue { files, ..Queue::default() }))
    }

    /// What is read of a queue, so far as nobody else does.
    fn one_by_one(
        &self,
        queue: Arc<Mutex<Queue>>,
        context: Arc<TaskContext>,
    ) -> impl Stream<Item = Result<RecordBatch>> + Send + use<> {
        let source = self.clone();
        let next = move || {
            let parts = source.next(&mut queue.lock().unwrap_or_else(PoisonError::into_inner))?;
            Some(source.scan_of_groups(source.parts.in_turn(vec![FileGroup::new(parts)])).open(0, context.clone()))
        };
        futures::stream::iter(std::iter::from_fn(next)).try_flatten()
    }

    fn next(&self, queue: &mut Queue) -> Option<Vec<PartitionedFile>> {
        let at_once = (queue.taken / self.partitions).clamp(1, MOST_AT_ONCE);
        while queue.parts.is_empty() {
            let files: Vec<Needed> = queue.files.drain(..at_once.min(queue.files.len())).collect();
            queue.taken += files.len();
            let may_match = self.which_may_match(&files);
            if !*may_match.first()? {
                // Where one is ruled out, so is most often what comes after it.
                let mut may_match = self.which_may_match(queue.files.make_contiguous()).into_iter();
                queue.files.retain(|_| may_match.next() == Some(true));
            }
            let left: Vec<&Needed> =
                files.iter().zip(may_match).filter(|(_, may)| *may).map(|(file, _)| file).collect();
            queue.parts.extend(self.parts.of(&left, self.share()));
        }
        Some(queue.parts.drain(..at_once.min(queue.parts.len())).collect())
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
        if self.looks_for_first_rows() {
            return Some(Arc::new(Shared::Queue(self.queue(needed))));
        }
        let scan = self.scan_of(needed, self.partitions);
        let sibling_state = scan.create_sibling_state(config);
        Some(Arc::new(Shared::Scan(Box::new(scan), sibling_state)))
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
