//! Which leaves and files may match: DataFusion's evaluator over the ranges of the catalog.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Date32Array, StringViewArray, TimestampMicrosecondArray, UInt64Array};
use arrow::buffer::NullBuffer;
use arrow::compute::kernels::cmp;
use arrow::compute::{and, or};
use arrow::datatypes::SchemaRef;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use jiff::civil::Date;

use super::footer::RowGroups;
use crate::catalog::{Covered, RangeColumns};
use crate::model::{KeyRange, days_of_date};

/// The key columns, in the order they have in SQL.
pub const KEY_COLUMNS: [&str; 3] = ["date", "tenant_id", "event_type"];

/// A predicate that may be tested against ranges.
#[derive(Debug)]
pub struct Pruner(Option<PruningPredicate>);

impl Pruner {
    /// Over the SQL schema; without a predicate, or with one that ranges say nothing about, everything may match.
    pub fn new(predicate: Option<Arc<dyn PhysicalExpr>>, schema: SchemaRef) -> Self {
        let pruning = predicate.and_then(|predicate| {
            let built = PruningPredicateBuilder::new().with_file_schema(schema).try_build(predicate);
            built.inspect_err(|error| tracing::debug!("nothing is pruned: {error}")).ok()
        });
        let pruning = pruning.filter(|pruning| !pruning.always_true());
        Pruner(pruning)
    }

    /// Whether it says anything.
    pub fn prunes(&self) -> bool {
        self.0.is_some()
    }

    /// Which of these may hold matching rows.
    pub fn which<T>(&self, items: &[T]) -> Result<Vec<bool>>
    where
        for<'a> Covered<'a>: From<&'a T>,
    {
        match self.0.as_ref().filter(|_| !items.is_empty()) {
            Some(pruning) => pruning.prune(&columns_of(&items.iter().map(Covered::from).collect::<Vec<_>>())),
            None => Ok(vec![true; items.len()]),
        }
    }

    /// Those of `items` that may hold matching rows.
    pub fn may_match<T>(&self, items: Vec<T>) -> Result<Vec<T>>
    where
        for<'a> Covered<'a>: From<&'a T>,
    {
        let keep = self.which(&items)?;
        Ok(picked(items, keep))
    }

    /// Which rows of these columns may stand for matching rows.
    pub fn mask(&self, columns: RangeColumns) -> Result<Vec<bool>> {
        match &self.0 {
            Some(pruning) => pruning.prune(&columns),
            None => Ok(vec![true; columns.items]),
        }
    }

    /// Whether each of a file's row groups may hold matching rows; `None` where the predicate says nothing about them.
    pub fn row_groups(&self, groups: &RowGroups) -> Option<Vec<bool>> {
        let kept = self.0.as_ref()?.prune(groups);
        kept.inspect_err(|error| tracing::debug!("no row group is pruned: {error}")).ok()
    }
}

/// The items that are to be kept.
pub fn picked<T>(items: Vec<T>, keep: Vec<bool>) -> Vec<T> {
    items.into_iter().zip(keep).filter(|(_, keep)| *keep).map(|(item, _)| item).collect()
}

/// Dates as SQL has them.
pub fn dates(known: &[Covered], get: fn(&Covered) -> Date) -> ArrayRef {
    Arc::new(Date32Array::from_iter_values(known.iter().map(|one| days_of_date(get(one)))))
}

/// Texts as SQL has them.
pub fn texts<'a>(known: &[Covered<'a>], get: fn(&Covered<'a>) -> &'a str) -> ArrayRef {
    Arc::new(StringViewArray::from_iter_values(known.iter().map(get)))
}

fn columns_of(known: &[Covered]) -> RangeColumns {
    let ts = |get: fn(&Covered) -> i64| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from_iter_values(known.iter().map(get)).with_timezone("UTC"))
    };
    let tenants = KeyRange { min: texts(known, |k| k.tenants.min), max: texts(known, |k| k.tenants.max) };
    let event_types = KeyRange { min: texts(known, |k| k.event_types.min), max: texts(known, |k| k.event_types.max) };
    RangeColumns {
        ranges: vec![
            ("date", KeyRange { min: dates(known, |k| k.dates.min), max: dates(known, |k| k.dates.max) }),
            ("tenant_id", tenants),
            ("event_type", event_types),
            ("ts", KeyRange { min: ts(|k| k.ts.min), max: ts(|k| k.ts.max) }),
        ],
        items: known.len(),
    }
}

impl PruningStatistics for RangeColumns {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.of_column(&column.name).map(|range| range.min.clone())
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.of_column(&column.name).map(|range| range.max.clone())
    }

    fn num_containers(&self) -> usize {
        self.items
    }

    /// Keys and times are never null, which the filter of `ORDER BY ts DESC LIMIT n` asks: there nulls would come first.
    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        self.of_column(&column.name)?;
        Some(Arc::new(UInt64Array::from_value(0, self.items)))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        None
    }

    /// `false` where no value lies within the range, `true` where the range is one value and it is there. Of one value
    /// the least and greatest tell as much, and are asked anyway.
    fn contained(&self, column: &Column, values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        if values.len() == 1 {
            return None;
        }
        let range = self.of_column(&column.name)?;
        let mut within = None;
        for value in values.iter().filter(|value| !value.is_null()) {
            let value = value.cast_to(range.min.data_type()).ok()?.to_scalar().ok()?;
            let inside = and(&cmp::lt_eq(&range.min, &value).ok()?, &cmp::lt_eq(&value, &range.max).ok()?).ok()?;
            within = Some(match within {
                Some(within) => or(&within, &inside).ok()?,
                None => inside,
            });
        }
        let within = within?.values().clone();
        let one = cmp::eq(&range.min, &range.max).ok()?;
        // Null where some of the range's values may be those, and others are not.
        let decided = &!&within | one.values();
        Some(BooleanArray::new(within, Some(NullBuffer::new(decided))))
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
    use datafusion::logical_expr::Operator;
    use datafusion::physical_expr::expressions::{binary, col, is_null, lit};

    use super::*;

    #[test]
    fn the_filter_of_the_newest_rows_rules_out_what_is_older_although_nulls_would_come_first() {
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("ts", time, false)]));
        let ts = || col("ts", &schema).unwrap();
        let since = lit(ScalarValue::TimestampMicrosecond(Some(15), Some("UTC".into())));
        let newer = binary(ts(), Operator::Gt, since, &schema).unwrap();
        let filter = binary(is_null(ts()).unwrap(), Operator::Or, newer, &schema).unwrap();
        let times =
            |of: [i64; 2]| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from(of.to_vec()).with_timezone("UTC")) };
        let ranges =
            RangeColumns { ranges: vec![("ts", KeyRange { min: times([1, 11]), max: times([10, 20]) })], items: 2 };
        assert_eq!(Pruner::new(Some(filter), schema.clone()).mask(ranges).unwrap(), [false, true]);
    }
}
