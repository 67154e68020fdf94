//! Parquet exports, row by row.

use std::borrow::Cow;
use std::fs::File;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, Schema, TimeUnit, TimestampMicrosecondType, UInt64Type};
use arrow::json::LineDelimitedWriter;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::ColumnChunkMetaData;

use super::rows::{Refused, Rejection, RowBuilder};
use super::sources::Fields;
use super::values::Scalar;
use crate::error::{Context, Error, Result};

/// Rows decoded at once.
pub const BATCH_ROWS: usize = 8192;

/// Opens a Parquet file. A broken one is an error here: its reader takes the footer at its word and would panic.
pub fn open(file: File) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let size = file.metadata().context("look at its size")?.len();
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).context("open the Parquet file: is it whole?")?;
    let lies_within = |column: &ColumnChunkMetaData| {
        let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
        let end = start.checked_add(column.compressed_size());
        start >= 0 && column.compressed_size() >= 0 && end.is_some_and(|end| end as u64 <= size)
    };
    let mut columns = builder.metadata().row_groups().iter().flat_map(|group| group.columns());
    if !columns.all(lies_within) {
        return Err(Error::failed("the Parquet footer names bytes that are not there").code("bad-export"));
    }
    Ok(builder)
}

/// Decodes a batch; `refused` receives each row that is no event, with its number. `first_row` counts from 1.
pub fn decode(
    batch: &RecordBatch,
    first_row: u64,
    builder: &mut RowBuilder<'_>,
    mut refused: impl FnMut(u64, Vec<u8>, Refused),
) -> Result<u64> {
    let schema = batch.schema();
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(array, field)| Column::new(array).with_context(|| format!("read column `{}`", field.name())))
        .collect::<Result<Vec<_>>>()?;
    let mut fields = Fields::default();
    for row in 0..batch.num_rows() {
        let outcome = columns
            .iter()
            .zip(schema.fields())
            .try_for_each(|(column, field)| builder.field(&mut fields, field.name(), column.scalar(row)))
            .map_err(|rejection: Rejection| Refused::from(rejection));
        let number = first_row + row as u64;
        if let Err(why) = outcome.and_then(|()| builder.finish(&mut fields, number)) {
            builder.abandon(&mut fields);
            refused(number, to_json(&batch.slice(row, 1)), why);
        }
    }
    Ok(batch.num_rows() as u64)
}

/// A row as a JSON object, for a dead letter.
pub fn to_json(row: &RecordBatch) -> Vec<u8> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    let written = writer.write(row).and_then(|()| writer.finish());
    match written {
        Ok(()) => writer.into_inner().trim_ascii_end().to_vec(),
        Err(error) => format!("{{\"unprintable\":{:?}}}", error.to_string()).into_bytes(),
    }
}

/// A source column, brought to one of the few types that events have.
enum Column {
    Bool(ArrayRef),
    Int(ArrayRef),
    Unsigned(ArrayRef),
    Float(ArrayRef),
    Text(ArrayRef),
    Json(ArrayRef),
    Time(ArrayRef),
}

impl Column {
    fn new(array: &ArrayRef) -> Result<Self> {
        let to = |target: DataType| cast(array, &target).context("convert its values");
        Ok(match array.data_type() {
            DataType::Boolean => Column::Bool(array.clone()),
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => Column::Int(to(DataType::Int64)?),
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => Column::Int(to(DataType::Int64)?),
            DataType::UInt64 => Column::Unsigned(array.clone()),
            DataType::Float16 | DataType::Float32 | DataType::Float64 => Column::Float(to(DataType::Float64)?),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Column::Text(to(DataType::Utf8)?),
            DataType::Dictionary(_, values) => return Column::new(&to(values.as_ref().clone())?),
            DataType::Timestamp(_, _) => Column::Time(to(DataType::Timestamp(TimeUnit::Microsecond, None))?),
            DataType::Struct(_)
            | DataType::List(_)
            | DataType::LargeList(_)
            | DataType::FixedSizeList(_, _)
            | DataType::Map(_, _) => Column::Json(nested_json(array)?),
            DataType::Null => Column::Text(to(DataType::Utf8)?),
            // Dates, decimals, intervals, binary: their exact text.
            _ => Column::Text(display(array)?),
        })
    }

    fn scalar(&self, row: usize) -> Scalar<'_> {
        let array = match self {
            Column::Bool(a) | Column::Int(a) | Column::Unsigned(a) | Column::Float(a) => a,
            Column::Text(a) | Column::Json(a) | Column::Time(a) => a,
        };
        if array.is_null(row) {
            return Scalar::Null;
        }
        match self {
            Column::Bool(array) => Scalar::Bool(array.as_boolean().value(row)),
            Column::Int(array) => Scalar::Int(array.as_primitive::<Int64Type>().value(row)),
            Column::Unsigned(array) => {
                let value = array.as_primitive::<UInt64Type>().value(row);
                i64::try_from(value).map_or(Scalar::BigUnsigned(value), Scalar::Int)
            }
            Column::Float(array) => Scalar::Float(array.as_primitive::<Float64Type>().value(row)),
            Column::Text(array) => Scalar::Text(Cow::Borrowed(array.as_string::<i32>().value(row))),
            Column::Json(array) => Scalar::Json(array.as_string::<i32>().value(row)),
            Column::Time(array) => Scalar::Time(array.as_primitive::<TimestampMicrosecondType>().value(row)),
        }
    }
}

/// Each value as JSON text.
fn nested_json(array: &ArrayRef) -> Result<ArrayRef> {
    const NAME: &str = "v";
    let field = arrow::datatypes::Field::new(NAME, array.data_type().clone(), true);
    let schema = std::sync::Arc::new(Schema::new(vec![field]));
    let batch = RecordBatch::from(
        StructArray::try_new(schema.fields().clone(), vec![array.clone()], None).context("read nested values")?,
    );
    let mut texts = arrow::array::StringBuilder::new();
    for row in 0..array.len() {
        if array.is_null(row) {
            texts.append_null();
            continue;
        }
        let json = to_json(&batch.slice(row, 1));
        let text = String::from_utf8_lossy(&json);
        texts.append_value(text.strip_prefix("{\"v\":").and_then(|t| t.strip_suffix('}')).unwrap_or(&text));
    }
    Ok(std::sync::Arc::new(texts.finish()))
}

fn display(array: &ArrayRef) -> Result<ArrayRef> {
    let options = FormatOptions::new().with_null("");
    let formatter = ArrayFormatter::try_new(array, &options).context("read its values")?;
    let mut texts = arrow::array::StringBuilder::new();
    for row in 0..array.len() {
        if array.is_null(row) {
            texts.append_null();
        } else {
            texts.append_value(formatter.value(row).try_to_string().context("read its values")?);
        }
    }
    Ok(std::sync::Arc::new(texts.finish()))
}
