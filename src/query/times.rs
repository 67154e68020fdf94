//! Text that is compared with a time is read as a time of the same unit.
//!
//! Left to itself DataFusion compares `ts` with text in nanoseconds, which end in 2262: `ts < '9999-12-31'` would fail.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Between, BinaryExpr, InList};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan};

use arrow::datatypes::{DataType, TimeUnit};

/// The plan with such texts cast to the type of what they are compared with.
pub fn read_as_times(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        node.map_expressions(|expr| expr.transform_up(|expr| rewrite(expr, &schema)))
    });
    Ok(rewritten?.data)
}

fn rewrite(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let rewritten = match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if op.supports_propagation() => {
            let (left, right) = match (unit_of(&left, schema), unit_of(&right, schema)) {
                (Some(time), None) => (left, Box::new(read_as(*right, &time))),
                (None, Some(time)) => (Box::new(read_as(*left, &time)), right),
                _ => (left, right),
            };
            Expr::BinaryExpr(BinaryExpr { left, op, right })
        }
        Expr::Between(Between { expr, negated, low, high }) => match unit_of(&expr, schema) {
            Some(time) => {
                let (low, high) = (Box::new(read_as(*low, &time)), Box::new(read_as(*high, &time)));
                Expr::Between(Between { expr, negated, low, high })
            }
            None => Expr::Between(Between { expr, negated, low, high }),
        },
        Expr::InList(InList { expr, list, negated }) => match unit_of(&expr, schema) {
            Some(time) => {
                let list = list.into_iter().map(|item| read_as(item, &time)).collect();
                Expr::InList(InList { expr, list, negated })
            }
            None => Expr::InList(InList { expr, list, negated }),
        },
        other => return Ok(Transformed::no(other)),
    };
    Ok(Transformed::yes(rewritten))
}

/// The type of an expression that is a time in microseconds.
fn unit_of(expr: &Expr, schema: &DFSchema) -> Option<DataType> {
    let data_type = expr.get_type(schema).ok()?;
    matches!(data_type, DataType::Timestamp(TimeUnit::Microsecond, _)).then_some(data_type)
}

fn read_as(expr: Expr, time: &DataType) -> Expr {
    match &expr {
        Expr::Literal(ScalarValue::Utf8(Some(_)) | ScalarValue::Utf8View(Some(_)), _) => {
            Expr::Cast(Cast::new(Box::new(expr), time.clone()))
        }
        _ => expr,
    }
}
