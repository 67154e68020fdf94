//! The actions of a checkpoint as columns.

use std::fs::File;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, ListBuilder, MapBuilder, MapFieldNames, RecordBatch, StringArray,
    StringBuilder, StructArray, new_null_array,
};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::json::LineDelimitedWriter;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::super::action::{Action, Add, MetaData, Protocol, Txn};
use crate::error::{Context, Error, Result};

/// What a row group holds in memory until it is written, and what a reader takes at once.
pub const ROWS_PER_GROUP: usize = 64 << 10;

/// Encodes batches of `schema` into a temporary file.
pub fn writer(schema: SchemaRef) -> Result<ArrowWriter<File>> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROWS_PER_GROUP))
        .build();
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let file = tempfile::tempfile().context("make a temporary file")?;
    ArrowWriter::try_new_with_options(file, schema, options).context(ENCODE)
}

const ENCODE: &str = "encode a checkpoint";

fn field(name: &str, of: DataType) -> Field {
    Field::new(name, of, true)
}

fn map_type() -> DataType {
    let pairs = Fields::from(vec![Field::new("key", DataType::Utf8, false), field("value", DataType::Utf8)]);
    DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(pairs), false)), false)
}

fn list_type() -> DataType {
    DataType::List(Arc::new(field("element", DataType::Utf8)))
}

fn struct_type(fields: &[(&str, DataType)]) -> DataType {
    DataType::Struct(fields.iter().map(|(name, of)| field(name, of.clone())).collect())
}

/// The actions that a sidecar may hold, one column each.
pub fn sidecar_schema() -> SchemaRef {
    use DataType::{Boolean, Int64, Utf8};
    Arc::new(Schema::new(vec![
        field(
            "add",
            struct_type(&[
                ("path", Utf8),
                ("partitionValues", map_type()),
                ("size", Int64),
                ("modificationTime", Int64),
                ("dataChange", Boolean),
                ("stats", Utf8),
            ]),
        ),
        field("remove", struct_type(&[("path", Utf8), ("deletionTimestamp", Int64), ("dataChange", Boolean)])),
    ]))
}

/// The actions that a checkpoint without sidecars may hold, one column each.
pub fn classic_schema() -> SchemaRef {
    use DataType::{Int32, Int64, Utf8};
    let of = struct_type;
    let format = of(&[("provider", Utf8), ("options", map_type())]);
    let mut fields: Vec<Arc<Field>> = sidecar_schema().fields().to_vec();
    let others = [
        field("txn", of(&[("appId", Utf8), ("version", Int64), ("lastUpdated", Int64)])),
        field(
            "metaData",
            of(&[
                ("id", Utf8),
                ("name", Utf8),
                ("format", format),
                ("schemaString", Utf8),
                ("partitionColumns", list_type()),
                ("configuration", map_type()),
                ("createdTime", Int64),
            ]),
        ),
        field(
            "protocol",
            of(&[("minReaderVersion", Int32), ("minWriterVersion", Int32), ("writerFeatures", list_type())]),
        ),
    ];
    fields.extend(others.map(Arc::new));
    Arc::new(Schema::new(fields))
}

/// Rows of one kind of action; all other columns are null.
fn batch(schema: &SchemaRef, action: &str, rows: usize, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    let mut columns = Some(columns);
    let arrays = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Struct(fields) if field.name() == action => {
            let columns = columns.take().expect("names are unique");
            let array = StructArray::try_new(fields.clone(), columns, None).context(ENCODE)?;
            Ok(Arc::new(array) as ArrayRef)
        }
        of => Ok(new_null_array(of, rows)),
    });
    let arrays = arrays.collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(schema.clone(), arrays).context(ENCODE)
}

fn texts<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn longs(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

fn maps<'a>(values: impl Iterator<Item = impl IntoIterator<Item = (&'a String, &'a String)>>) -> ArrayRef {
    let names = MapFieldNames { entry: "key_value".to_owned(), key: "key".to_owned(), value: "value".to_owned() };
    let mut builder = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for map in values {
        for (key, value) in map {
            builder.keys().append_value(key);
            builder.values().append_value(value);
        }
        builder.append(true).expect("as many keys as values");
    }
    Arc::new(builder.finish())
}

fn list(values: &[String]) -> ArrayRef {
    let mut builder = ListBuilder::new(StringBuilder::new()).with_field(field("element", DataType::Utf8));
    builder.append_value(values.iter().map(Some));
    Arc::new(builder.finish())
}

/// One row each.
pub fn adds(schema: &SchemaRef, files: &[Add]) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> = vec![
        texts(files.iter().map(|add| add.path.as_str())),
        maps(files.iter().map(|add| &add.partition_values)),
        longs(files.iter().map(|add| add.size as i64)),
        longs(files.iter().map(|add| add.modification_time)),
        Arc::new(BooleanArray::from_iter(files.iter().map(|add| Some(add.data_change)))),
        texts(files.iter().map(|add| add.stats.as_str())),
    ];
    batch(schema, "add", files.len(), columns)
}

/// The files of a batch of a sidecar.
pub fn adds_in(batch: &RecordBatch) -> Result<Vec<Add>> {
    let mut lines = LineDelimitedWriter::new(Vec::new());
    lines.write(batch).context("read a sidecar")?;
    let lines = lines.into_inner();
    let actions = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let adds = actions.map(|line| match serde_json::from_slice(line).context("read a sidecar")? {
        Action::Add(add) => Ok(add),
        other => Err(Error::failed(format!("a sidecar holds something else than files: {other:?}"))),
    });
    adds.collect()
}

/// What a checkpoint without sidecars holds beside the files, one row each.
pub fn head(schema: &SchemaRef, (protocol, metadata, txn): &(Protocol, MetaData, Txn)) -> Result<[RecordBatch; 3]> {
    let text = |value: &str| texts([value].into_iter());
    let int = |value: i32| Arc::new(Int32Array::from_iter_values([value])) as ArrayRef;
    let long = |value: i64| longs([value].into_iter());
    let DataType::Struct(format) = field_type(schema, "metaData", "format") else { unreachable!("it is a struct") };
    let format_columns = vec![text(&metadata.format.provider), maps([&metadata.format.options].into_iter())];
    let format = StructArray::try_new(format, format_columns, None).context(ENCODE)?;
    Ok([
        batch(
            schema,
            "protocol",
            1,
            vec![int(protocol.min_reader_version), int(protocol.min_writer_version), list(&protocol.writer_features)],
        )?,
        batch(
            schema,
            "metaData",
            1,
            vec![
                text(&metadata.id),
                text(&metadata.name),
                Arc::new(format),
                text(&metadata.schema_string),
                list(&metadata.partition_columns),
                maps([&metadata.configuration].into_iter()),
                long(metadata.created_time),
            ],
        )?,
        batch(schema, "txn", 1, vec![text(&txn.app_id), long(txn.version as i64), long(txn.last_updated)])?,
    ])
}

fn field_type(schema: &SchemaRef, action: &str, name: &str) -> DataType {
    let DataType::Struct(fields) = schema.field_with_name(action).expect("an action").data_type() else {
        unreachable!("actions are structs")
    };
    fields.find(name).expect("a field of it").1.data_type().clone()
}
