//! Builds one column of a cell, value by value.

use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, BinaryBuilder, BooleanBuilder, Float64Builder, Int64Builder, StringArray,
    TimestampMicrosecondBuilder,
};

use super::row::Stored;
use super::time;
use super::values::{bool_of, int_of};
use crate::error::{Context, Result};
use crate::model::ColumnType;

/// The values of one column. Of a new column rows hold texts; each fits its type, which was chosen from them.
pub enum ColumnBuilder {
    Bool(BooleanBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    /// As bytes: that they are UTF-8 is checked once for all of them.
    Text(BinaryBuilder),
    Time(TimestampMicrosecondBuilder),
}

impl ColumnBuilder {
    pub fn new(column_type: ColumnType, rows: usize) -> Self {
        match column_type {
            ColumnType::Boolean => Self::Bool(BooleanBuilder::with_capacity(rows)),
            ColumnType::BigInt => Self::Int(Int64Builder::with_capacity(rows)),
            ColumnType::Double => Self::Float(Float64Builder::with_capacity(rows)),
            ColumnType::Timestamp => Self::Time(TimestampMicrosecondBuilder::with_capacity(rows)),
            ColumnType::Varchar => Self::Text(BinaryBuilder::with_capacity(rows, 0)),
        }
    }

    /// Appends the value of `row`, and nulls for the rows that had none.
    pub fn append(&mut self, row: usize, value: Stored<'_>) {
        self.pad(row);
        match (self, value) {
            (Self::Text(builder), Stored::Text(value)) => builder.append_value(value),
            (Self::Bool(builder), Stored::Bool(value)) => builder.append_value(value),
            (Self::Int(builder), Stored::Int(value)) => builder.append_value(value),
            (Self::Float(builder), Stored::Float(value)) => builder.append_value(value),
            (Self::Time(builder), Stored::Time(value)) => builder.append_value(value),
            (Self::Bool(builder), value) => builder.append_option(as_text(value).and_then(bool_of)),
            (Self::Int(builder), value) => builder.append_option(as_text(value).and_then(int_of)),
            (Self::Float(builder), value) => builder.append_option(as_text(value).and_then(|text| text.parse().ok())),
            (Self::Time(builder), value) => {
                builder.append_option(as_text(value).and_then(|text| time::parse(text, None).ok()));
            }
            (Self::Text(_), _) => unreachable!("a column of texts has nothing else"),
        }
    }

    fn pad(&mut self, rows: usize) {
        match self {
            Self::Bool(builder) => builder.append_nulls(rows - builder.len()),
            Self::Int(builder) => builder.append_nulls(rows - builder.len()),
            Self::Float(builder) => builder.append_nulls(rows - builder.len()),
            Self::Text(builder) => (builder.len()..rows).for_each(|_| builder.append_null()),
            Self::Time(builder) => builder.append_nulls(rows - builder.len()),
        }
    }

    pub fn finish(mut self, rows: usize) -> Result<ArrayRef> {
        self.pad(rows);
        Ok(match self {
            Self::Bool(mut builder) => Arc::new(builder.finish()),
            Self::Int(mut builder) => Arc::new(builder.finish()),
            Self::Float(mut builder) => Arc::new(builder.finish()),
            Self::Text(mut builder) => {
                Arc::new(StringArray::try_from_binary(builder.finish()).context("build a column of texts")?)
            }
            Self::Time(mut builder) => Arc::new(builder.finish().with_timezone("UTC")),
        })
    }
}

fn as_text(value: Stored<'_>) -> Option<&str> {
    match value {
        Stored::Text(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}
