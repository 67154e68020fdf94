//! The leaf of a plan that reads the hot tier: pages become batches as they arrive.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::{Stream, StreamExt, future};
use jiff::civil::Date;

use super::OnHotError;
use super::decode::Decoder;
use super::log::{HotLog, span};
use super::source::{HotPage, Parts, Reading};
use super::tier::{down, is_down};
use super::unique::Unique;

/// Reads events of some days from the hot tier; rows have all columns.
#[derive(Debug)]
pub struct HotExec {
    name: String,
    reading: Reading,
    decoder: Arc<Decoder>,
    on_error: OnHotError,
    log: Arc<HotLog>,
    /// The archive is not asked for these days.
    is_alone: bool,
    instead_of_files: Option<u64>,
    properties: Arc<PlanProperties>,
}

impl HotExec {
    pub fn new(name: String, reading: Reading, decoder: Decoder, on_error: OnHotError, log: Arc<HotLog>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(decoder.schema.clone()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let (decoder, properties) = (Arc::new(decoder), Arc::new(properties));
        HotExec { name, reading, decoder, on_error, log, is_alone: false, instead_of_files: None, properties }
    }

    /// Says that the archive is not asked for these days.
    pub fn alone(self) -> Self {
        HotExec { is_alone: true, ..self }
    }

    /// And that so many of its files would have answered as well.
    pub fn instead_of(self, files: u64) -> Self {
        HotExec { instead_of_files: Some(files), ..self.alone() }
    }

    fn days(&self) -> &BTreeSet<Date> {
        &self.decoder.days
    }
}

impl DisplayAs for HotExec {
    /// `HotExec: cassandra prod.events, 1 partition (acme, 2026-11-25), instead of 5 files of the archive`
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HotExec: {}, {}", self.name, self.reading.parts)?;
        if let Some((first, last)) = self.days().first().zip(self.days().last()) {
            let days = span(*first, *last);
            match &self.reading.parts {
                Parts::Partitions { tenant: Some(tenant), .. } => write!(f, " ({tenant}, {days})")?,
                _ => write!(f, " of {days}")?,
            }
        }
        if self.reading.is_by_id {
            write!(f, ", by event_id")?;
        }
        match self.instead_of_files {
            Some(1) => write!(f, ", instead of 1 file of the archive"),
            Some(files) => write!(f, ", instead of {} files of the archive", crate::query::count(files)),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for HotExec {
    fn name(&self) -> &str {
        "HotExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (decoder, log) = (self.decoder.clone(), self.log.clone());
        let mut unique = self.decoder.may_repeat.then(Unique::default);
        let batches = self.reading.stream().map(move |page| {
            let events = page.and_then(|page| decoded(&decoder, &log, &page))?;
            match &mut unique {
                Some(unique) => unique.firsts(&events),
                None => Ok(events),
            }
        });
        let (name, on_error, log) = (self.name.clone(), self.on_error, self.log.clone());
        let (days, is_alone) = (self.days().clone(), self.is_alone);
        let batches = until_failure(batches, move |error| match (on_error, is_down(&error)) {
            (_, false) => Some(external(error)),
            (OnHotError::Fail, true) => Some(external(down(&name, error))),
            (OnHotError::Skip, true) => {
                log.miss(&days, is_alone, &error);
                None
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.decoder.schema.clone(), batches)))
    }
}

fn decoded(decoder: &Decoder, log: &HotLog, page: &HotPage) -> crate::error::Result<RecordBatch> {
    let decoded = decoder.decode(page)?;
    log.add(decoded.read, decoded.refused);
    Ok(decoded.events)
}

/// The batches up to the first failure, and then what `failed` makes of it.
fn until_failure(
    batches: impl Stream<Item = crate::error::Result<RecordBatch>>,
    failed: impl Fn(crate::error::Error) -> Option<DataFusionError>,
) -> impl Stream<Item = Result<RecordBatch>> {
    batches.scan(false, move |has_failed, batch| {
        if *has_failed {
            return future::ready(None);
        }
        future::ready(match batch {
            Ok(batch) => Some(Ok(batch)),
            Err(error) => {
                *has_failed = true;
                failed(error).map(Err)
            }
        })
    })
}

fn external(error: crate::error::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// What a finished plan reads of the hot tier.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PlannedHot {
    pub partitions: u64,
    /// Of the ring of a table that is not partitioned by day.
    pub ranges: u64,
    pub exports: u64,
}

impl PlannedHot {
    pub fn of(plan: &Arc<dyn ExecutionPlan>) -> Self {
        let mut planned = PlannedHot::default();
        let visited = plan.apply(|node| {
            match node.downcast_ref::<HotExec>().map(|hot| &hot.reading.parts) {
                Some(Parts::Partitions { count, .. }) => planned.partitions += count,
                Some(Parts::Ranges { count }) => planned.ranges += count,
                Some(Parts::Exports { count }) => planned.exports += count,
                None => {}
            }
            Ok(TreeNodeRecursion::Continue)
        });
        debug_assert!(visited.is_ok(), "the visitor has no error to return");
        planned
    }

    pub fn is_empty(&self) -> bool {
        *self == PlannedHot::default()
    }
}

impl fmt::Display for PlannedHot {
    /// `3 partitions`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = match *self {
            PlannedHot { exports: count @ 1.., .. } => Parts::Exports { count },
            PlannedHot { ranges: count @ 1.., .. } => Parts::Ranges { count },
            PlannedHot { partitions: count, .. } => Parts::Partitions { count, tenant: None },
        };
        parts.fmt(f)
    }
}
