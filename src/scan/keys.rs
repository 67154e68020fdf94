//! A scan that reads keys only is answered from the catalog: each cell's keys, as often as it has rows, or once with
//! their number where groups of keys are counted.

use std::fmt;
use std::iter::repeat_n;
use std::ops::Range;
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
use futures::TryStreamExt;

use super::counted::Grouped;
use super::needed::Needed;
use super::select::Selector;
use super::statistics::Summary;
use crate::catalog::{Covered, LeafList};
use crate::model::days_of_date;

/// Files of which only the keys are wanted; archived files are as good as others.
#[derive(Debug)]
pub struct KeysExec {
    files: u64,
    runs: Runs,
    /// Positions among the keys.
    columns: Arc<[usize]>,
    statistics: Arc<Statistics>,
    /// Of the columns.
    keys: SchemaRef,
    /// Where states of groups are wanted of the rows.
    grouped: Option<Grouped>,
    properties: Arc<PlanProperties>,
}

#[derive(Debug, Clone)]
enum Runs {
    Known(Arc<[Run]>),
    /// Too many to hold: each leaf's are made when it is its turn.
    OfLeaves {
        selector: Arc<Selector>,
        leaves: LeafList,
    },
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
    pub fn of(needed: &[Needed], columns: &[usize], schema: SchemaRef) -> Self {
        let statistics = Summary::of_all(needed).statistics(schema.fields());
        Self::new(Runs::Known(runs(needed)), needed.len() as u64, columns, statistics, schema)
    }

    /// Of what the selector picks from these leaves, which is so many files; `statistics` are of the columns.
    pub fn of_leaves(
        selector: Selector,
        leaves: LeafList,
        files: u64,
        columns: &[usize],
        statistics: Statistics,
        schema: SchemaRef,
    ) -> Self {
        Self::new(Runs::OfLeaves { selector: Arc::new(selector), leaves }, files, columns, statistics, schema)
    }

    fn new(runs: Runs, files: u64, columns: &[usize], statistics: Statistics, keys: SchemaRef) -> Self {
        let columns = columns.into();
        let properties = Self::properties_of(&keys);
        KeysExec { files, runs, columns, statistics: Arc::new(statistics), keys, grouped: None, properties }
    }

    /// The same runs as states of groups.
    pub fn grouped(&self, grouped: Grouped) -> Self {
        KeysExec {
            files: self.files,
            runs: self.runs.clone(),
            columns: self.columns.clone(),
            statistics: Arc::new(Statistics::new_unknown(&grouped.schema)),
            keys: self.keys.clone(),
            properties: Self::properties_of(&grouped.schema),
            grouped: Some(grouped),
        }
    }

    pub fn is_grouped(&self) -> bool {
        self.grouped.is_some()
    }

    fn properties_of(schema: &SchemaRef) -> Arc<PlanProperties> {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema.clone()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        // Between any two batches the stream may be dropped.
        .with_scheduling_type(SchedulingType::NonCooperative);
        Arc::new(properties)
    }
}

fn runs(needed: &[Needed]) -> Arc<[Run]> {
    let run = |run: Covered<'_>| Run {
        days: days_of_date(run.dates.min),
        tenant_id: run.tenants.min.into(),
        event_type: run.event_types.min.into(),
        rows: run.rows,
    };
    needed.iter().flat_map(Needed::runs).map(run).collect()
}

impl DisplayAs for KeysExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeysExec: files={}, no data is read", self.files)?;
        self.grouped.as_ref().map_or(Ok(()), |grouped| write!(f, ", counted by [{grouped:?}]"))
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
        let (columns, schema, grouped) = (self.columns.clone(), self.keys.clone(), self.grouped.clone());
        let batch_rows = context.session_config().batch_size() as u64;
        let batches = move |runs: Arc<[Run]>| {
            let (columns, schema, grouped) = (columns.clone(), schema.clone(), grouped.clone());
            futures::stream::iter(Batches { runs, columns, schema, grouped, batch_rows, run: 0, row: 0 })
        };
        let schema = self.schema();
        Ok(match self.runs.clone() {
            Runs::Known(runs) => Box::pin(RecordBatchStreamAdapter::new(schema, batches(runs))),
            Runs::OfLeaves { selector, leaves } => {
                let of_leaves = selector.of_leaves(leaves.to_vec());
                let all = of_leaves.map_ok(move |of_leaf| batches(runs(&of_leaf.needed))).try_flatten();
                Box::pin(RecordBatchStreamAdapter::new(schema, all))
            }
        })
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
    grouped: Option<Grouped>,
    batch_rows: u64,
    /// The next row to emit is this one of this run.
    run: usize,
    row: u64,
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(grouped) = &self.grouped {
            let runs = self.run..self.runs.len().min(self.run + self.batch_rows as usize);
            self.run = runs.end;
            return (!runs.is_empty()).then(|| self.states(grouped, runs));
        }
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
    fn states(&self, grouped: &Grouped, runs: Range<usize>) -> Result<RecordBatch> {
        let rows: Vec<u64> = self.runs[runs.clone()].iter().map(|run| run.rows).collect();
        let one_of_each: Vec<(usize, usize)> = runs.map(|run| (run, 1)).collect();
        grouped.states(&self.batch(&one_of_each, one_of_each.len())?, &rows)
    }

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
