//! Builds one column of a cell, value by value.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, TimestampMicrosecondBuilder};

use super::row::Stored;
use super::text_builder::TextBuilder;
use super::values::{Scalar, bool_of};
use crate::error::Result;
use crate::model::ColumnType;

/// The values of one column. Those of a new column are of several types, or texts; each fits the column's type, which was
/// chosen from them.
pub struct ColumnBuilder {
    values: Values,
    /// So many are in `values`, nulls among them.
    rows: usize,
}

enum Values {
    Bool(BooleanBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    Text(TextBuilder),
    Time(TimestampMicrosecondBuilder),
}

impl ColumnBuilder {
    pub fn new(column_type: ColumnType, rows: usize) -> Self {
        let values = match column_type {
            ColumnType::Boolean => Values::Bool(BooleanBuilder::with_capacity(rows)),
            ColumnType::BigInt => Values::Int(Int64Builder::with_capacity(rows)),
            ColumnType::Double => Values::Float(Float64Builder::with_capacity(rows)),
            ColumnType::Timestamp => Values::Time(TimestampMicrosecondBuilder::with_capacity(rows)),
            ColumnType::Varchar => Values::Text(TextBuilder::new(rows)),
        };
        ColumnBuilder { values, rows: 0 }
    }

    /// Appends the value of `row`, and nulls for the rows that had none.
    pub fn append(&mut self, row: usize, value: Stored<'_>) {
        if row > self.rows {
            self.pad(row);
        }
        self.rows += 1;
        match (&mut self.values, value) {
            (Values::Text(builder), Stored::Text(value)) => builder.append(value),
            (Values::Bool(builder), Stored::Bool(value)) => builder.append_value(value),
            (Values::Int(builder), Stored::Int(value)) => builder.append_value(value),
            (Values::Float(builder), Stored::Float(value)) => builder.append_value(value),
            (Values::Time(builder), Stored::Time(value)) => builder.append_value(value),
            (Values::Float(builder), Stored::Int(value)) => builder.append_value(value as f64),
            (Values::Text(builder), Stored::Int(value)) => builder.append(Scalar::Int(value).text().as_bytes()),
            (Values::Text(builder), Stored::Float(value)) => builder.append(Scalar::Float(value).text().as_bytes()),
            (Values::Text(builder), Stored::Bool(value)) => builder.append(Scalar::Bool(value).text().as_bytes()),
            (Values::Text(builder), Stored::Time(value)) => builder.append(Scalar::Time(value).text().as_bytes()),
            // As it was written.
            (Values::Bool(builder), Stored::Text(text)) => builder.append_option(utf8(text).and_then(bool_of)),
            (Values::Float(builder), Stored::Text(text)) => {
                builder.append_option(utf8(text).and_then(|text| text.parse().ok()));
            }
            _ => unreachable!("a column's type is chosen from its values"),
        }
    }

    /// Appends nulls up to so many rows.
    fn pad(&mut self, rows: usize) {
        let missing = rows - self.rows;
        self.rows = rows;
        match &mut self.values {
            Values::Bool(builder) => builder.append_nulls(missing),
            Values::Int(builder) => builder.append_nulls(missing),
            Values::Float(builder) => builder.append_nulls(missing),
            Values::Text(builder) => builder.append_nulls(missing),
            Values::Time(builder) => builder.append_nulls(missing),
        }
    }

    pub fn finish(mut self, rows: usize) -> Result<ArrayRef> {
        // To a builder none is a reason to remember which rows are null.
        if rows > self.rows {
            self.pad(rows);
        }
        Ok(match self.values {
            Values::Bool(mut builder) => Arc::new(builder.finish()),
            Values::Int(mut builder) => Arc::new(builder.finish()),
            Values::Float(mut builder) => Arc::new(builder.finish()),
            Values::Text(builder) => Arc::new(builder.finish()?),
            Values::Time(mut builder) => Arc::new(builder.finish().with_timezone("UTC")),
        })
    }
}

fn utf8(text: &[u8]) -> Option<&str> {
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::Float64Type;

    use super::*;

    fn built(column_type: ColumnType, values: &[(usize, Stored<'_>)]) -> ArrayRef {
        let mut builder = ColumnBuilder::new(column_type, 6);
        values.iter().for_each(|(row, value)| builder.append(*row, *value));
        builder.finish(6).unwrap()
    }

    #[test]
    fn values_of_several_types_become_what_the_column_was_settled_to() {
        let values = [
            (0, Stored::Int(-5)),
            (1, Stored::Float(1e20)),
            (2, Stored::Bool(true)),
            (3, Stored::Time(1_500_000)),
            (5, Stored::Text(b"1.50")),
        ];
        let texts = built(ColumnType::Varchar, &values);
        let expected = [Some("-5"), Some("1e20"), Some("true"), Some("1970-01-01T00:00:01.5Z"), None, Some("1.50")];
        assert_eq!(texts.as_string::<i32>().iter().collect::<Vec<_>>(), expected);
        let floats = built(ColumnType::Double, &[(0, Stored::Int(-5)), (2, Stored::Text(b"1.50"))]);
        let floats: Vec<_> = floats.as_primitive::<Float64Type>().iter().collect();
        assert_eq!(floats, [Some(-5.0), None, Some(1.5), None, None, None]);
        let bools = built(ColumnType::Boolean, &[(0, Stored::Text(b"TRUE")), (1, Stored::Bool(false))]);
        assert_eq!((bools.len(), bools.null_count(), bools.as_boolean().value(0)), (6, 4, true));
    }
}
