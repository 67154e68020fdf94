//! Builds one column of a block, value by value.

use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
};

use super::columns::Seen;
use super::values::{Scalar, Value, kinds};
use crate::model::ColumnType;

/// The values of one column in one block.
pub struct ColumnBuilder {
    pub name: String,
    /// The type, when the archive knows the column; a new one is carried as text.
    pub known: Option<ColumnType>,
    pub seen: Option<Seen>,
    /// The last record that had a value: two source columns may be stored as one.
    pub record: u64,
    values: ValueBuilder,
}

enum ValueBuilder {
    Bool(BooleanBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    Text(StringBuilder),
    Time(TimestampMicrosecondBuilder),
}

impl ColumnBuilder {
    pub fn new(name: String, known: Option<ColumnType>) -> Self {
        let values = match known {
            Some(ColumnType::Boolean) => ValueBuilder::Bool(BooleanBuilder::new()),
            Some(ColumnType::BigInt) => ValueBuilder::Int(Int64Builder::new()),
            Some(ColumnType::Double) => ValueBuilder::Float(Float64Builder::new()),
            Some(ColumnType::Timestamp) => ValueBuilder::Time(TimestampMicrosecondBuilder::new()),
            Some(ColumnType::Varchar) | None => ValueBuilder::Text(StringBuilder::new()),
        };
        ColumnBuilder { name, known, seen: known.is_none().then(Seen::default), record: 0, values }
    }

    /// The value in the column's type, if it fits.
    pub fn check<'a>(&self, scalar: &Scalar<'a>) -> Option<Value<'a>> {
        scalar.fit(self.known.unwrap_or(ColumnType::Varchar))
    }

    /// Appends the value of `row`, and nulls for the rows that had none.
    pub fn append(&mut self, row: usize, value: Value<'_>, scalar: &Scalar<'_>, (export, line): (u64, u64)) {
        if let Some(seen) = &mut self.seen {
            let kind = scalar.kind();
            seen.kinds |= kind;
            if kind != kinds::TEXT {
                seen.typed += 1;
            } else if let Scalar::Untyped(text) = scalar {
                seen.texts += 1;
                seen.first_text.get_or_insert_with(|| (export, line, text.clone().into_owned()));
            }
        }
        self.pad(row);
        match (&mut self.values, value) {
            (ValueBuilder::Bool(builder), Value::Bool(value)) => builder.append_value(value),
            (ValueBuilder::Int(builder), Value::Int(value)) => builder.append_value(value),
            (ValueBuilder::Float(builder), Value::Float(value)) => builder.append_value(value),
            (ValueBuilder::Text(builder), Value::Text(value)) => builder.append_value(value),
            (ValueBuilder::Time(builder), Value::Time(value)) => builder.append_value(value),
            _ => unreachable!("`check` made the value for this builder"),
        }
    }

    fn pad(&mut self, rows: usize) {
        match &mut self.values {
            ValueBuilder::Bool(builder) => builder.append_nulls(rows - builder.len()),
            ValueBuilder::Int(builder) => builder.append_nulls(rows - builder.len()),
            ValueBuilder::Float(builder) => builder.append_nulls(rows - builder.len()),
            ValueBuilder::Text(builder) => (builder.len()..rows).for_each(|_| builder.append_null()),
            ValueBuilder::Time(builder) => builder.append_nulls(rows - builder.len()),
        }
    }

    pub fn finish(mut self, rows: usize) -> (String, ArrayRef) {
        self.pad(rows);
        let array: ArrayRef = match self.values {
            ValueBuilder::Bool(mut builder) => Arc::new(builder.finish()),
            ValueBuilder::Int(mut builder) => Arc::new(builder.finish()),
            ValueBuilder::Float(mut builder) => Arc::new(builder.finish()),
            ValueBuilder::Text(mut builder) => Arc::new(builder.finish()),
            ValueBuilder::Time(mut builder) => Arc::new(builder.finish().with_timezone("UTC")),
        };
        (self.name, array)
    }
}
