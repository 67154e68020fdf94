//! The part of a predicate that the keys of a cell decide for all of its rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::common::cast::as_boolean_array;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};

use super::prune::{dates, picked, texts};
use crate::catalog::{Covered, RangeColumns};

/// A predicate that reads keys and nothing else.
#[derive(Debug, Clone)]
pub struct Exact {
    predicate: Arc<dyn PhysicalExpr>,
    /// Of the keys that it reads.
    schema: SchemaRef,
}

impl Exact {
    /// `predicate` is over `schema`, and reads at least one key.
    pub fn new(predicate: Arc<dyn PhysicalExpr>, schema: &SchemaRef) -> Result<Self> {
        let mut keys: Vec<usize> = collect_columns(&predicate).iter().map(Column::index).collect();
        keys.sort_unstable();
        let schema = Arc::new(schema.project(&keys)?);
        Ok(Exact { predicate: reassign_expr_columns(predicate, &schema)?, schema })
    }

    /// Those of `items`, each of one cell, that satisfy it.
    pub fn matching<T>(&self, items: Vec<T>) -> Result<Vec<T>>
    where
        for<'a> Covered<'a>: From<&'a T>,
    {
        let known: Vec<Covered> = items.iter().map(Covered::from).collect();
        let keys = self.keys(|name| match name {
            "date" => Some(dates(&known, |one| one.dates.min)),
            "tenant_id" => Some(texts(&known, |one| one.tenants.min)),
            "event_type" => Some(texts(&known, |one| one.event_types.min)),
            _ => None,
        });
        let keep = self.which(keys.expect("it reads nothing but keys"))?;
        Ok(picked(items, keep))
    }

    /// Which rows of these columns satisfy it; `None` where that is not known: a row may be of several cells.
    pub fn mask(&self, columns: &RangeColumns) -> Option<Vec<bool>> {
        let keys = self.keys(|name| columns.single(name).cloned())?;
        // It may fail on the key of a cell that other keys rule out: a text that is no number, where it is cast.
        self.which(keys).inspect_err(|error| tracing::debug!("keys alone do not decide: {error}")).ok()
    }

    fn keys(&self, key: impl Fn(&str) -> Option<ArrayRef>) -> Option<Vec<ArrayRef>> {
        self.schema.fields().iter().map(|field| key(field.name())).collect()
    }

    fn which(&self, keys: Vec<ArrayRef>) -> Result<Vec<bool>> {
        let batch = RecordBatch::try_new(self.schema.clone(), keys)?;
        let matches = self.predicate.evaluate(&batch)?.into_array(batch.num_rows())?;
        let matches = as_boolean_array(&matches)?;
        Ok((0..batch.num_rows()).map(|row| matches.is_valid(row) && matches.value(row)).collect())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Date32Array, StringViewArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::common::ScalarValue;
    use datafusion::logical_expr::Operator;
    use datafusion::physical_expr::expressions::{binary, cast, col, lit};

    use super::*;
    use crate::model::KeyRange;

    #[test]
    fn keys_decide_where_each_file_is_of_one_cell_and_say_nothing_where_one_may_not_be() {
        let key = |name, data_type| Field::new(name, data_type, false);
        let keys = [key("date", DataType::Date32), key("tenant_id", DataType::Utf8View)];
        let schema: SchemaRef = Arc::new(Schema::new(keys.to_vec()));
        let b = lit(ScalarValue::Utf8View(Some("b".to_owned())));
        let of_b = binary(col("tenant_id", &schema).unwrap(), Operator::Eq, b, &schema).unwrap();
        let exact = Exact::new(of_b, &schema).unwrap();
        let tenants: ArrayRef = Arc::new(StringViewArray::from(vec!["a", "b", "b"]));
        let dates = |last| -> ArrayRef { Arc::new(Date32Array::from(vec![1, 2, last])) };
        let ranges = |max_tenants: &ArrayRef| RangeColumns {
            ranges: vec![
                ("date", KeyRange { min: dates(3), max: dates(4) }),
                ("tenant_id", KeyRange { min: tenants.clone(), max: max_tenants.clone() }),
            ],
            items: 3,
        };
        assert_eq!(exact.mask(&ranges(&tenants)), Some(vec![false, true, true]));
        let greatest: ArrayRef = Arc::new(StringViewArray::from(vec!["b", "b", "c"]));
        assert_eq!(exact.mask(&ranges(&greatest)), None);
        let number = cast(col("tenant_id", &schema).unwrap(), &schema, DataType::Int64).unwrap();
        let of_5 = Exact::new(binary(number, Operator::Eq, lit(5i64), &schema).unwrap(), &schema).unwrap();
        assert_eq!(of_5.mask(&ranges(&tenants)), None);
    }
}
