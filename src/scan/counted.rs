//! Groups of keys are counted in the catalog: of each run of rows with the same keys there is one row of a group's state,
//! not one row for each event.
//!
//! A partial aggregation may give several states of the same group, which the final one merges. So the first half of
//! `SELECT date, count(*) … GROUP BY date` over [`KeysExec`] is what each run says by itself.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};

use super::keys::KeysExec;

/// Lets [`KeysExec`] answer the first half of an aggregation that only counts rows and compares keys. It comes after the
/// rules that answer from statistics alone, which read nothing at all.
#[derive(Debug)]
pub struct CountKeys;

impl CountKeys {
    /// The rule after which it belongs.
    pub const AFTER: &'static str = "aggregate_statistics";
}

impl PhysicalOptimizerRule for CountKeys {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let counted = plan.transform_down(|node| {
            Ok(match node.downcast_ref::<AggregateExec>().and_then(counted) {
                Some(keys) => Transformed::yes(Arc::new(keys) as Arc<dyn ExecutionPlan>),
                None => Transformed::no(node),
            })
        })?;
        Ok(counted.data)
    }

    fn name(&self) -> &str {
        "count_keys"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn counted(aggregate: &AggregateExec) -> Option<KeysExec> {
    let keys = aggregate.input().downcast_ref::<KeysExec>().filter(|keys| !keys.is_grouped())?;
    let groups = aggregate.group_expr();
    let is_plain = *aggregate.mode() == AggregateMode::Partial
        && groups.is_single()
        && !groups.is_empty()
        && aggregate.filter_expr().iter().all(Option::is_none);
    if !is_plain {
        return None;
    }
    let mut columns: Vec<Of> = groups.expr().iter().map(|(expr, _)| Of::Keys(expr.clone())).collect();
    for function in aggregate.aggr_expr() {
        columns.push(state(function)?);
    }
    let schema = aggregate.schema();
    (schema.fields().len() == columns.len()).then(|| keys.grouped(Grouped { columns: columns.into(), schema }))
}

/// The state of a function over one run of rows.
fn state(function: &AggregateFunctionExpr) -> Option<Of> {
    let arguments = function.expressions();
    let [argument] = arguments.as_slice() else { return None };
    let is_never_null = || match argument.downcast_ref::<Literal>() {
        Some(literal) => !literal.value().is_null(),
        None => argument.downcast_ref::<Column>().is_some(),
    };
    match function.fun().name() {
        "count" if !function.is_distinct() && is_never_null() => Some(Of::Rows),
        // The least of equal values is the value.
        "min" | "max" => Some(Of::Keys(argument.clone())),
        _ => None,
    }
}

/// What a column is made of.
enum Of {
    /// An expression over the keys.
    Keys(Arc<dyn PhysicalExpr>),
    Rows,
}

/// How runs become states of groups.
#[derive(Clone)]
pub struct Grouped {
    columns: Arc<[Of]>,
    pub schema: SchemaRef,
}

impl Grouped {
    /// `keys` has one row for each run, which has so many rows in the archive.
    pub fn states(&self, keys: &RecordBatch, rows: &[u64]) -> Result<RecordBatch> {
        let column = |(of, field): (&Of, &Arc<arrow::datatypes::Field>)| -> Result<ArrayRef> {
            let array: ArrayRef = match of {
                Of::Rows => Arc::new(Int64Array::from_iter_values(rows.iter().map(|&rows| rows as i64))),
                Of::Keys(expr) => expr.evaluate(keys)?.into_array(keys.num_rows())?,
            };
            Ok(if array.data_type() == field.data_type() {
                array
            } else {
                arrow::compute::cast(&array, field.data_type())?
            })
        };
        let columns = self.columns.iter().zip(self.schema.fields()).map(column).collect::<Result<_>>()?;
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }
}

impl fmt::Debug for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, "{}", names.join(", "))
    }
}
