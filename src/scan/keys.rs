//! A scan that reads keys only is answered from the catalog: each cell's keys, as often as its files have rows.

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

use super::files::total_statistics;
use crate::model::{DataFile, days_of_date};

/// Files of which only the keys are wanted; archived files are as good as others.
#[derive(Debug)]
pub struct KeysExec {
    files: Arc<[DataFile]>,
    /// Positions among the keys.
    columns: Arc<[usize]>,
    statistics: Arc<Statistics>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl KeysExec {
    /// `columns` are positions among the key columns, and `schema` has just these.
    pub fn new(files: Vec<DataFile>, columns: Vec<usize>, schema: SchemaRef) -> Self {
        let keys = total_statistics(&files, &[]);
        let statistics = Statistics {
            column_statistics: columns.iter().map(|&column| keys.column_statistics[column].clone()).collect(),
            ..keys
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema.clone()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        // Between any two batches the stream may be dropped.
        .with_scheduling_type(SchedulingType::NonCooperative);
        KeysExec {
            files: files.into(),
            columns: columns.into(),
            statistics: Arc::new(statistics),
            schema,
            properties: Arc::new(properties),
        }
    }
}

impl DisplayAs for KeysExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeysExec: files={}, no data is read", self.files.len())
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
            files: self.files.clone(),
            columns: self.columns.clone(),
            schema: self.schema.clone(),
            batch_rows: context.session_config().batch_size() as u64,
            file: 0,
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
    files: Arc<[DataFile]>,
    columns: Arc<[usize]>,
    schema: SchemaRef,
    batch_rows: u64,
    /// The next row to emit is this one of this file.
    file: usize,
    row: u64,
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let (mut runs, mut rows) = (Vec::new(), 0);
        while rows < self.batch_rows && self.file < self.files.len() {
            let left = self.files[self.file].rows - self.row;
            let run = left.min(self.batch_rows - rows);
            runs.push((self.file, run as usize));
            rows += run;
            (self.file, self.row) = if run == left { (self.file + 1, 0) } else { (self.file, self.row + run) };
        }
        (rows > 0).then(|| self.batch(&runs, rows as usize))
    }
}

impl Batches {
    fn batch(&self, runs: &[(usize, usize)], rows: usize) -> Result<RecordBatch> {
        let files = || runs.iter().flat_map(|&(file, rows)| repeat_n(&self.files[file], rows));
        let column = |&column: &usize| -> ArrayRef {
            match column {
                0 => Arc::new(Date32Array::from_iter_values(files().map(|file| days_of_date(file.dates.min)))),
                1 => Arc::new(StringViewArray::from_iter_values(files().map(|file| &file.tenants.min))),
                _ => Arc::new(StringViewArray::from_iter_values(files().map(|file| &file.event_types.min))),
            }
        };
        let columns = self.columns.iter().map(column).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }
}
