//! Pages of rows, column by column straight into Arrow.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, RecordBatch, RecordBatchOptions, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::datatypes::{Field as ArrowField, Schema};
use scylla::cluster::metadata::{ColumnType as CqlType, NativeType};
use scylla::deserialize::FrameSlice;
use scylla::deserialize::row::ColumnIterator;
use scylla::deserialize::value::DeserializeValue;
use scylla::response::query_result::QueryRowsResult;
use scylla::value::CqlValue;
use uuid::Uuid;

use super::super::table::Field;
use super::{column_type, text};
use crate::error::{Context, Error, Result};
use crate::model::ColumnType;

/// Texts are given this much room each, to begin with.
const TEXT_BYTES: usize = 16;

#[derive(Debug)]
pub struct Decoded {
    pub batch: RecordBatch,
    /// Rows whose time to live is below the warning.
    pub expiring: u64,
}

/// Rows of `fields` and, behind them where it was selected, the time to live in seconds.
pub fn decode(fields: &[Field], rows: &QueryRowsResult, warn_seconds: i64) -> Result<Decoded> {
    let count = rows.rows_num();
    let mut columns: Vec<Column<'_>> = fields.iter().map(|field| Column::new(field, count)).collect();
    let mut expiring = 0;
    for row in rows.rows::<ColumnIterator<'_, '_>>().context("read the rows of a page")? {
        let mut cells = row.context("read a row")?;
        for column in &mut columns {
            let cell = cells.next().ok_or_else(|| Error::failed("a row has too few columns"))?;
            column.append(cell.context("read a row")?.slice)?;
        }
        if let Some(lives) = cells.next() {
            let seconds = lives.context("read the time to live")?.slice.and_then(|slice| integer(slice.as_slice()));
            expiring += u64::from(seconds.is_some_and(|seconds| seconds < warn_seconds));
        }
    }
    Ok(Decoded { batch: batch(fields, columns, count)?, expiring })
}

fn batch(fields: &[Field], columns: Vec<Column<'_>>, count: usize) -> Result<RecordBatch> {
    let schema: Vec<ArrowField> =
        fields.iter().map(|field| ArrowField::new(&field.name, column_type(&field.cql).arrow(), true)).collect();
    let arrays = columns.into_iter().map(|column| column.builder.finish()).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(schema)), arrays, &options).context("make a batch of rows")
}

struct Column<'a> {
    field: &'a Field,
    builder: Builder,
}

enum Builder {
    Boolean(BooleanBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    Time(TimestampMicrosecondBuilder),
    Text(StringBuilder),
}

impl<'a> Column<'a> {
    fn new(field: &'a Field, rows: usize) -> Self {
        let builder = match column_type(&field.cql) {
            ColumnType::Boolean => Builder::Boolean(BooleanBuilder::with_capacity(rows)),
            ColumnType::BigInt => Builder::Int(Int64Builder::with_capacity(rows)),
            ColumnType::Double => Builder::Float(Float64Builder::with_capacity(rows)),
            ColumnType::Varchar => Builder::Text(StringBuilder::with_capacity(rows, rows * TEXT_BYTES)),
            ColumnType::Timestamp => Builder::Time(
                TimestampMicrosecondBuilder::with_capacity(rows).with_data_type(ColumnType::Timestamp.arrow()),
            ),
        };
        Column { field, builder }
    }

    fn append(&mut self, cell: Option<FrameSlice<'_>>) -> Result<()> {
        match cell.map(|cell| self.builder.append(&self.field.cql, cell)) {
            None => self.builder.append_null(),
            Some(Some(())) => {}
            Some(None) => return Err(Error::failed(format!("column `{}` has a value that is none", self.field.name))),
        }
        Ok(())
    }
}

impl Builder {
    /// `None` when the bytes are no value of the type. A value without bytes is null, but of a text or a blob.
    fn append(&mut self, cql: &CqlType<'_>, cell: FrameSlice<'_>) -> Option<()> {
        let bytes = cell.as_slice();
        match self {
            Builder::Text(builder) => append_text(builder, cql, cell)?,
            _ if bytes.is_empty() => self.append_null(),
            Builder::Boolean(builder) => builder.append_value(*bytes.first()? != 0),
            Builder::Int(builder) => builder.append_value(integer(bytes)?),
            Builder::Float(builder) => builder.append_value(float(bytes)?),
            // A time that microseconds cannot tell is beyond what the archive accepts, and stays so.
            Builder::Time(builder) => builder.append_value(integer(bytes)?.saturating_mul(1_000)),
        }
        Some(())
    }

    fn append_null(&mut self) {
        match self {
            Builder::Boolean(builder) => builder.append_null(),
            Builder::Int(builder) => builder.append_null(),
            Builder::Float(builder) => builder.append_null(),
            Builder::Time(builder) => builder.append_null(),
            Builder::Text(builder) => builder.append_null(),
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Builder::Boolean(mut builder) => Arc::new(builder.finish()),
            Builder::Int(mut builder) => Arc::new(builder.finish()),
            Builder::Float(mut builder) => Arc::new(builder.finish()),
            Builder::Time(mut builder) => Arc::new(builder.finish()),
            Builder::Text(mut builder) => Arc::new(builder.finish()),
        }
    }
}

/// Texts and ids without a detour: they are most of what events are made of.
fn append_text(builder: &mut StringBuilder, cql: &CqlType<'_>, cell: FrameSlice<'_>) -> Option<()> {
    match cql {
        CqlType::Native(NativeType::Text | NativeType::Ascii) => {
            builder.append_value(std::str::from_utf8(cell.as_slice()).ok()?);
        }
        CqlType::Native(NativeType::Uuid | NativeType::Timeuuid) if !cell.is_empty() => {
            let mut digits = Uuid::encode_buffer();
            builder.append_value(Uuid::from_slice(cell.as_slice()).ok()?.hyphenated().encode_lower(&mut digits));
        }
        _ => builder.append_option(text(&CqlValue::deserialize(cql, Some(cell)).ok()?)),
    }
    Some(())
}

fn integer(bytes: &[u8]) -> Option<i64> {
    Some(match bytes.len() {
        1 => i8::from_be_bytes(bytes.try_into().ok()?).into(),
        2 => i16::from_be_bytes(bytes.try_into().ok()?).into(),
        4 => i32::from_be_bytes(bytes.try_into().ok()?).into(),
        8 => i64::from_be_bytes(bytes.try_into().ok()?),
        _ => return None,
    })
}

fn float(bytes: &[u8]) -> Option<f64> {
    match bytes.len() {
        4 => Some(f32::from_be_bytes(bytes.try_into().ok()?).into()),
        _ => Some(f64::from_be_bytes(bytes.try_into().ok()?)),
    }
}
