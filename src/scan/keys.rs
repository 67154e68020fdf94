//! A scan that reads keys only is answered from the catalog: each cell's keys, as often as it has rows.

use std::fmt;
use std::iter::repeat_n;
use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, RecordBatch, RecordBatchOptions, StringViewArray};
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};

use super::needed::Needed;
use super::statistics::Summary;
use crate::model::days_of_date;

/// Files of which only the keys are wanted; archived files are as good as others.
#[derive(Debug)]
pub struct KeysExec {
    files: usize,
    runs: Arc<[Run]>,
    /// Positions among the keys.
    columns: Arc<[usize]>,
    statistics: Arc<Statistics>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

/// Rows with the same keys.
#[derive(Debug)]
struct Run {
    days: i32,
    tenant_id: Box<str>,
    event_type: Box<str>,
    rows: u64,
}

impl KeysExec {
    /// `columns` are positions among the key columns, and `schema` has just these.
    pub fn new(needed: &[Needed], columns: Vec<usize>, schema: SchemaRef) -> Self {
        let statistics = Summary::of_all(needed).statistics(schema.fields());
        let runs = needed.iter().flat_map(Needed::runs).map(|run| Run {
            days: days_of_date(run.dates.min),
            tenant_id: run.tenants.min.into(),
            event_type: run.event_types.min.into(),
            rows: run.rows,
        });
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema.clone()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        // Between any two batches the stream may be dropped.
        .with_scheduling_type(SchedulingType::NonCooperative);
        KeysExec {
            files: needed.len(),
            runs: runs.collect(),
            columns: columns.into(),
            statistics: Arc::new(statistics),
            schema,
            properties: Arc::new(properties),
        }
    }
}

impl DisplayAs for KeysExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeysExec: files={}, no data is read", self.files)
    }
}

impl ExecutionPlan for KeysExec {
    fn name(&self) -> &str {
        "KeysExec"
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

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let batches = Batches {
            runs: self.runs.clone(),
            columns: self.columns.clone(),
            schema: self.schema.clone(),
            batch_rows: context.session_config().batch_size() as u64,
            run: 0,
            row: 0,
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), futures::stream::iter(batches))))
    }

    fn statistics_from_inputs(&self, _: &[Arc<Statistics>], _: &StatisticsArgs) -> Result<Arc<Statistics>> {
        Ok(self.statistics.clone())
    }
}

/// Makes the batches one by one.
struct Batches {
    runs: Arc<[Run]>,
    columns: Arc<[usize]>,
    schema: SchemaRef,
    batch_rows: u64,
    /// The next row to emit is this one of this run.
    run: usize,
    row: u64,
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let (mut parts, mut rows) = (Vec::new(), 0);
        while rows < self.batch_rows && self.run < self.runs.len() {
            let left = self.runs[self.run].rows - self.row;
            let part = left.min(self.batch_rows - rows);
            parts.push((self.run, part as usize));
            rows += part;
            (self.run, self.row) = if part == left { (self.run + 1, 0) } else { (self.run, self.row + part) };
        }
        (rows > 0).then(|| self.batch(&parts, rows as usize))
    }
}

impl Batches {
    fn batch(&self, parts: &[(usize, usize)], rows: usize) -> Result<RecordBatch> {
        let runs = || parts.iter().flat_map(|&(run, rows)| repeat_n(&self.runs[run], rows));
        let column = |&column: &usize| -> ArrayRef {
            match column {
                0 => Arc::new(Date32Array::from_iter_values(runs().map(|run| run.days))),
                1 => Arc::new(StringViewArray::from_iter_values(runs().map(|run| &run.tenant_id))),
                _ => Arc::new(StringViewArray::from_iter_values(runs().map(|run| &run.event_type))),
            }
        };
        let columns = self.columns.iter().map(column).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }
}
