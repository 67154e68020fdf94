//! Dates of which the archive itself says that it may not have every event.

use std::collections::BTreeSet;

use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::expr_rewriter::unnormalize_cols;
use jiff::ToSpan;
use jiff::civil::Date;

use super::live::Asked;
use crate::model::{DateRange, Seals};

/// The dates that a statement's scans may touch and that were read from the hot tier only after their events had begun
/// to expire.
pub fn possibly_incomplete(
    state: &SessionState,
    logical: &LogicalPlan,
    seals: &Seals,
    schema: &SchemaRef,
) -> Result<Vec<DateRange>> {
    let doubtful: Vec<Date> = seals
        .iter()
        .filter(|seal| seal.incomplete)
        .flat_map(|seal| seal.first.series(1.day()).take_while(|date| *date <= seal.last))
        .collect();
    if doubtful.is_empty() {
        return Ok(Vec::new());
    }
    let mut touched: BTreeSet<Date> = BTreeSet::new();
    state.optimize(logical)?.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let filters = unnormalize_cols(scan.filters.iter().cloned());
            touched.extend(Asked::new(state, &filters, schema)?.days(doubtful.iter().copied())?);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(DateRange::of(touched))
}
