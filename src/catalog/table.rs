//! Record batches to the bytes of a small Parquet file and back.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchReader};
use arrow::compute::concat_batches;
use arrow::datatypes::{ArrowPrimitiveType, Field, Schema};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use crate::error::{Context, Error, Result};

/// A batch from named columns; which may be null is what the arrays say.
pub fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<_> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), array.is_nullable())).collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("columns of one length")
}

/// One row group: these files are read whole.
pub fn encode(batch: &RecordBatch, key: &str, value: String) -> Result<Bytes> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_key_value_metadata(Some(vec![KeyValue::new(key.to_owned(), value)]))
        .build();
    let mut bytes = Vec::new();
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let mut writer =
        ArrowWriter::try_new_with_options(&mut bytes, batch.schema(), options).context("encode a catalog file")?;
    writer.write(batch).context("encode a catalog file")?;
    writer.close().context("encode a catalog file")?;
    Ok(bytes.into())
}

/// The batch and the text stored under `key`.
pub fn decode(bytes: Bytes, key: &str) -> Result<(RecordBatch, String)> {
    decode_columns(bytes, key, |_| true)
}

/// As [`decode`], of the columns that `wanted` picks by their names; no others are decoded.
pub fn decode_columns(bytes: Bytes, key: &str, wanted: impl Fn(&str) -> bool) -> Result<(RecordBatch, String)> {
    // The arrow schema in the file is redundant, and decoding it costs more than reading a small leaf.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder =
        ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options).context("read a catalog file")?;
    let metadata = builder.metadata().file_metadata().clone();
    let rows = usize::try_from(metadata.num_rows()).unwrap_or(0);
    let value = metadata
        .key_value_metadata()
        .and_then(|pairs| pairs.iter().find(|pair| pair.key == key))
        .and_then(|pair| pair.value.clone())
        .ok_or_else(|| Error::failed(format!("the file has no `{key}` in its metadata: it is no catalog file")))?;
    let columns = builder.schema().fields().iter().enumerate().filter(|(_, field)| wanted(field.name()));
    let mask = ProjectionMask::roots(builder.parquet_schema(), columns.map(|(column, _)| column).collect::<Vec<_>>());
    let reader = builder.with_projection(mask).with_batch_size(rows.max(1)).build().context("read a catalog file")?;
    let schema = reader.schema();
    let batches: Vec<_> = reader.collect::<Result<_, _>>().context("decode a catalog file")?;
    Ok((concat_batches(&schema, &batches).context("decode a catalog file")?, value))
}

/// The text stored under `key`, without decoding any rows; `None` when there is none.
pub fn value(bytes: Bytes, key: &str) -> Result<Option<String>> {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let metadata = ArrowReaderMetadata::load(&bytes, options).context("read a catalog file")?;
    let pairs = metadata.metadata().file_metadata().key_value_metadata();
    Ok(pairs.and_then(|pairs| pairs.iter().find(|pair| pair.key == key)).and_then(|pair| pair.value.clone()))
}

/// The texts of a column.
pub fn texts<'a>(batch: &'a RecordBatch, name: &str) -> Result<impl Fn(usize) -> &'a str + use<'a>> {
    let array = column(batch, name)?.as_string_opt::<i32>().ok_or_else(|| wrong_type(name))?;
    Ok(|row| array.value(row))
}

/// The numbers of a column.
pub fn numbers<'a, T: ArrowPrimitiveType>(
    batch: &'a RecordBatch,
    name: &str,
) -> Result<impl Fn(usize) -> T::Native + use<'a, T>> {
    let array = column(batch, name)?.as_primitive_opt::<T>().ok_or_else(|| wrong_type(name))?;
    Ok(|row| array.value(row))
}

/// The values of a column that may be null, or missing in a file of an older tier.
pub fn optional<'a, T: ArrowPrimitiveType>(
    batch: &'a RecordBatch,
    name: &str,
) -> Result<impl Fn(usize) -> Option<T::Native> + use<'a, T>> {
    let array = batch
        .column_by_name(name)
        .map(|column| column.as_primitive_opt::<T>().ok_or_else(|| wrong_type(name)))
        .transpose()?;
    Ok(move |row| array.filter(|array| array.is_valid(row)).map(|array| array.value(row)))
}

pub fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    batch.column_by_name(name).ok_or_else(|| Error::failed(format!("a catalog file has no column `{name}`")))
}

pub fn wrong_type(name: &str) -> Error {
    Error::failed(format!("column `{name}` of a catalog file has another type than expected"))
}
