//! The plan of hot ∪ archive: each event once, and where both have it the archive's.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::{JoinType, NullEquality, Result, project_schema};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::union::UnionExec;

use crate::scan::EventsTable;

/// The events of `hot` that satisfy `predicate` and are none of `archived`, which has the columns of an event's
/// identity; of them the columns of `projection`.
pub fn hot_part(
    hot: Arc<dyn ExecutionPlan>,
    predicate: Option<&Arc<dyn PhysicalExpr>>,
    archived: Option<Arc<dyn ExecutionPlan>>,
    projection: Option<&Vec<usize>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let mut plan = hot;
    if let Some(predicate) = predicate {
        plan = Arc::new(FilterExec::try_new(predicate.clone(), plan)?);
    }
    let wanted: Vec<usize> = match projection {
        Some(projection) => projection.clone(),
        None => (0..plan.schema().fields().len()).collect(),
    };
    let Some(archived) = archived else { return project(plan, &wanted) };
    // What the join carries: the identity, then the other columns that are wanted.
    let identity = EventsTable::IDENTITY;
    let others = wanted.iter().copied().filter(|column| !identity.contains(column));
    let mut carried: Vec<usize> = identity.into_iter().chain(others).collect();
    carried.dedup();
    let plan = without(project(plan, &carried)?, archived)?;
    let place = |column: &usize| carried.iter().position(|carried| carried == column).expect("it is carried");
    let places: Vec<usize> = wanted.iter().map(place).collect();
    project(plan, &places)
}

/// Archive and hot part in one; nothing is known of their sum before they are read.
pub fn union(archive: Arc<dyn ExecutionPlan>, hot: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    if archive.downcast_ref::<EmptyExec>().is_some() {
        return Ok(hot);
    }
    UnionExec::try_new(vec![archive, hot])
}

pub fn nothing(schema: &SchemaRef, projection: Option<&Vec<usize>>) -> Result<Arc<dyn ExecutionPlan>> {
    Ok(Arc::new(EmptyExec::new(project_schema(schema, projection)?)))
}

/// Those of `events`, whose first columns are an identity, that `archived` does not have.
fn without(events: Arc<dyn ExecutionPlan>, archived: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let column = |schema: &SchemaRef, index: usize| -> Arc<dyn PhysicalExpr> {
        Arc::new(Column::new(schema.field(index).name(), index))
    };
    let (left, right) = (archived.schema(), events.schema());
    let on = (0..EventsTable::IDENTITY.len()).map(|index| (column(&left, index), column(&right, index))).collect();
    Ok(Arc::new(HashJoinExec::try_new(
        archived,
        events,
        on,
        None,
        &JoinType::RightAnti,
        None,
        PartitionMode::CollectLeft,
        NullEquality::NullEqualsNothing,
        false,
    )?))
}

fn project(plan: Arc<dyn ExecutionPlan>, columns: &[usize]) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = plan.schema();
    if columns.iter().copied().eq(0..schema.fields().len()) {
        return Ok(plan);
    }
    let expr = |&index: &usize| {
        let name = schema.field(index).name();
        (Arc::new(Column::new(name, index)) as Arc<dyn PhysicalExpr>, name.clone())
    };
    Ok(Arc::new(ProjectionExec::try_new(columns.iter().map(expr), plan)?))
}
