//! Record batches to the bytes of a small Parquet file and back. Their texts are views, as they are in SQL: of a column of
//! few texts nothing but the places is decoded.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, RecordBatch, RecordBatchReader};
use arrow::compute::concat_batches;
use arrow::datatypes::{ArrowPrimitiveType, DataType, Field, FieldRef, Fields, Schema};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::error::{Context, Error, Result};

/// A batch from named columns; which may be null is what the arrays say.
pub fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<_> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), array.is_nullable())).collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("columns of one length")
}

/// One row group: these files are fetched whole.
pub fn encode(batch: &RecordBatch, key: &str, value: String) -> Result<Bytes> {
    let mut bytes = Vec::new();
    let properties = properties(batch, KeyValue::new(key.to_owned(), value));
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let mut writer =
        ArrowWriter::try_new_with_options(&mut bytes, batch.schema(), options).context("encode a catalog file")?;
    writer.write(batch).context("encode a catalog file")?;
    writer.close().context("encode a catalog file")?;
    Ok(bytes.into())
}

/// Rows per page: who wants a few rows of a file decodes the pages that hold them and steps over the others.
const PAGE_ROWS: usize = 512;

/// Differences take less room than zstd leaves of the numbers, and a column without a codec is read without setting one
/// up, which of a leaf's small columns is most of the work.
fn properties(batch: &RecordBatch, pair: KeyValue) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_dictionary_enabled(false)
        .set_encoding(Encoding::DELTA_BINARY_PACKED)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(PAGE_ROWS)
        .set_key_value_metadata(Some(vec![pair]));
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let name = ColumnPath::from(field.name().as_str());
        if matches!(field.data_type(), DataType::FixedSizeBinary(_) | DataType::Binary) {
            properties = properties.set_column_encoding(name.clone(), Encoding::PLAIN);
        }
        if matches!(field.data_type(), DataType::Binary) {
            properties = properties.set_column_compression(name.clone(), Compression::ZSTD(ZstdLevel::default()));
        }
        let Some(texts) = column.as_string_view_opt() else { continue };
        let distinct = texts.iter().collect::<HashSet<_>>().len();
        properties = match distinct * 2 > texts.len() {
            true => properties
                .set_column_encoding(name.clone(), Encoding::DELTA_BYTE_ARRAY)
                .set_column_compression(name, Compression::ZSTD(ZstdLevel::default())),
            false => {
                properties.set_column_encoding(name.clone(), Encoding::PLAIN).set_column_dictionary_enabled(name, true)
            }
        };
    }
    properties.build()
}

/// The batch and the text stored under `key`.
pub fn decode(bytes: Bytes, key: &str) -> Result<(RecordBatch, String)> {
    let encoded = Encoded::open(bytes, key)?;
    Ok((encoded.columns(|_| true)?, encoded.value))
}

/// A file of which nothing but the footer is decoded.
#[derive(Debug)]
pub struct Encoded {
    bytes: Bytes,
    metadata: ArrowReaderMetadata,
    /// The text stored under the key.
    pub value: String,
}

impl Encoded {
    pub fn open(bytes: Bytes, key: &str) -> Result<Self> {
        let metadata = with_views(&footer(&bytes)?)?;
        let value = value_of(&metadata, key)
            .ok_or_else(|| Error::failed(format!("the file has no `{key}` in its metadata: it is no catalog file")))?;
        Ok(Encoded { bytes, metadata, value })
    }

    pub fn num_rows(&self) -> usize {
        usize::try_from(self.metadata.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    /// The columns that `wanted` picks by their names.
    pub fn columns(&self, wanted: impl Fn(&str) -> bool) -> Result<RecordBatch> {
        self.read(wanted, None)
    }

    /// The columns that `wanted` picks by their names, of these rows, which ascend, or of all.
    pub fn rows(&self, rows: Option<&[u32]>, wanted: impl Fn(&str) -> bool) -> Result<RecordBatch> {
        let selection = |rows: &[u32]| {
            let runs = rows.chunk_by(|a, b| a + 1 == *b);
            let ranges = runs.map(|run| run[0] as usize..run[run.len() - 1] as usize + 1);
            RowSelection::from_consecutive_ranges(ranges, self.num_rows())
        };
        self.read(wanted, rows.map(selection))
    }

    pub fn has_column(&self, name: &str) -> bool {
        self.metadata.schema().column_with_name(name).is_some()
    }

    fn read(&self, wanted: impl Fn(&str) -> bool, selection: Option<RowSelection>) -> Result<RecordBatch> {
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(self.bytes.clone(), self.metadata.clone());
        let columns = builder.schema().fields().iter().enumerate().filter(|(_, field)| wanted(field.name()));
        let columns = columns.map(|(column, _)| column).collect::<Vec<_>>();
        let mask = ProjectionMask::roots(builder.parquet_schema(), columns);
        let mut builder = builder.with_projection(mask).with_batch_size(self.num_rows().max(1));
        if let Some(selection) = selection {
            builder = builder.with_row_selection(selection);
        }
        let reader = builder.build().context("read a catalog file")?;
        let schema = reader.schema();
        let mut batches: Vec<_> = reader.collect::<Result<_, _>>().context("decode a catalog file")?;
        match batches.len() {
            1 => Ok(batches.remove(0)),
            _ => concat_batches(&schema, &batches).context("decode a catalog file"),
        }
    }
}

/// The text stored under `key`, without decoding any rows; `None` when there is none.
pub fn value(bytes: Bytes, key: &str) -> Result<Option<String>> {
    Ok(value_of(&footer(&bytes)?, key))
}

fn footer(bytes: &Bytes) -> Result<ArrowReaderMetadata> {
    ArrowReaderMetadata::load(bytes, options()).context("read a catalog file")
}

/// The arrow schema in the file is redundant, and decoding it costs more than reading a small leaf.
fn options() -> ArrowReaderOptions {
    ArrowReaderOptions::new().with_skip_arrow_metadata(true)
}

/// Its texts are to be read as views.
fn with_views(plain: &ArrowReaderMetadata) -> Result<ArrowReaderMetadata> {
    let view = |field: &FieldRef| match field.data_type() {
        DataType::Utf8 => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View)),
        _ => field.clone(),
    };
    let schema = Schema::new(plain.schema().fields().iter().map(view).collect::<Fields>());
    let options = options().with_schema(Arc::new(schema));
    ArrowReaderMetadata::try_new(plain.metadata().clone(), options).context("read a catalog file")
}

fn value_of(metadata: &ArrowReaderMetadata, key: &str) -> Option<String> {
    let pairs = metadata.metadata().file_metadata().key_value_metadata()?;
    pairs.iter().find(|pair| pair.key == key)?.value.clone()
}

/// The texts of a column.
pub fn texts<'a>(batch: &'a RecordBatch, name: &str) -> Result<impl Fn(usize) -> &'a str + use<'a>> {
    let array = column(batch, name)?.as_string_view_opt().ok_or_else(|| wrong_type(name))?;
    Ok(|row| array.value(row))
}

/// The numbers of a column.
pub fn numbers<'a, T: ArrowPrimitiveType>(
    batch: &'a RecordBatch,
    name: &str,
) -> Result<impl Fn(usize) -> T::Native + use<'a, T>> {
    let array = array::<T>(batch, name)?;
    Ok(|row| array.value(row))
}

/// The same as they lie in memory.
pub fn array<'a, T: ArrowPrimitiveType>(batch: &'a RecordBatch, name: &str) -> Result<&'a PrimitiveArray<T>> {
    column(batch, name)?.as_primitive_opt::<T>().ok_or_else(|| wrong_type(name))
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
