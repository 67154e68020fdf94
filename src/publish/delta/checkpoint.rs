//! Checkpoints: all of the table in one Parquet file, so that a reader need not replay its log.
//!
//! The live files are those of the archive's version that the commit shows, so no log is read to write one; leaves go
//! through in row groups.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, ListBuilder, MapBuilder, MapFieldNames, RecordBatch, StringArray,
    StringBuilder, StructArray, new_null_array,
};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use futures::TryStreamExt;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use tempfile::NamedTempFile;

use super::action::{Add, MetaData, Protocol, Txn};
use super::log::{self, LAST_CHECKPOINT};
use super::shown_files;
use crate::catalog::Snapshot;
use crate::context::Context as Ctx;
use crate::error::{Context, Result};
use crate::progress::Unit;

/// What a row group holds in memory until it is written, and what a reader takes at once.
const ROWS_PER_GROUP: usize = 64 << 10;

/// Writes the checkpoint of a commit: of the files that `snapshot` has for it.
pub async fn write(ctx: &Ctx, version: u64, head: (Protocol, MetaData, Txn), snapshot: &Snapshot) -> Result<()> {
    let phrase = || format!("write the checkpoint of version {version} of the Delta table");
    let file = NamedTempFile::new().with_context(phrase)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROWS_PER_GROUP))
        .build();
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(file.as_file(), schema(), options).with_context(phrase)?;
    let (mut rows, mut adds) = (0, 0);
    for batch in head_batches(&head)? {
        rows += batch.num_rows();
        writer.write(&batch).with_context(phrase)?;
    }
    let task = ctx.progress.task("checkpoint", Unit::Files, None);
    let mut leaves = std::pin::pin!(shown_files(snapshot));
    while let Some(files) = leaves.try_next().await? {
        ctx.stop.check()?;
        // A live file of a checkpoint changes nothing.
        let files = files.iter().map(|file| Add::new(file, false)).collect::<Result<Vec<_>>>()?;
        writer.write(&batch("add", files.len(), adds_of(&files))?).with_context(phrase)?;
        adds += files.len();
        task.advance(files.len() as u64);
    }
    writer.close().with_context(phrase)?;
    // One that is there already is of the same commit, and so lists the same files.
    ctx.store.put_file_if_absent(&log::checkpoint_path(version), file.path()).await.with_context(phrase)?;
    let last = serde_json::json!({"version": version, "size": rows + adds, "numOfAddFiles": adds});
    ctx.store.put(LAST_CHECKPOINT, last.to_string()).await.with_context(phrase)
}

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

/// The actions that a checkpoint may hold, one column each.
fn schema() -> SchemaRef {
    use DataType::{Boolean, Int32, Int64, Utf8};
    let of = |fields: &[(&str, DataType)]| {
        DataType::Struct(fields.iter().map(|(name, of)| field(name, of.clone())).collect())
    };
    let format = of(&[("provider", Utf8), ("options", map_type())]);
    Arc::new(Schema::new(vec![
        field("txn", of(&[("appId", Utf8), ("version", Int64), ("lastUpdated", Int64)])),
        field(
            "add",
            of(&[
                ("path", Utf8),
                ("partitionValues", map_type()),
                ("size", Int64),
                ("modificationTime", Int64),
                ("dataChange", Boolean),
                ("stats", Utf8),
            ]),
        ),
        field("remove", of(&[("path", Utf8), ("deletionTimestamp", Int64), ("dataChange", Boolean)])),
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
    ]))
}

/// Rows of one kind of action; all other columns are null.
fn batch(action: &str, rows: usize, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    let schema = schema();
    let mut columns = Some(columns);
    let arrays = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Struct(fields) if field.name() == action => {
            let columns = columns.take().expect("names are unique");
            let array = StructArray::try_new(fields.clone(), columns, None).context("encode a checkpoint")?;
            Ok(Arc::new(array) as ArrayRef)
        }
        of => Ok(new_null_array(of, rows)),
    });
    let arrays = arrays.collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(schema, arrays).context("encode a checkpoint")
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

fn adds_of(files: &[Add]) -> Vec<ArrayRef> {
    vec![
        texts(files.iter().map(|add| add.path.as_str())),
        maps(files.iter().map(|add| &add.partition_values)),
        longs(files.iter().map(|add| add.size as i64)),
        longs(files.iter().map(|add| add.modification_time)),
        Arc::new(BooleanArray::from_iter(files.iter().map(|add| Some(add.data_change)))),
        texts(files.iter().map(|add| add.stats.as_str())),
    ]
}

/// One row each.
fn head_batches((protocol, metadata, txn): &(Protocol, MetaData, Txn)) -> Result<[RecordBatch; 3]> {
    let text = |value: &str| texts([value].into_iter());
    let int = |value: i32| Arc::new(Int32Array::from_iter_values([value])) as ArrayRef;
    let long = |value: i64| longs([value].into_iter());
    let DataType::Struct(format) = field_type("metaData", "format") else { unreachable!("it is a struct") };
    let format_columns = vec![text(&metadata.format.provider), maps([&metadata.format.options].into_iter())];
    let format = StructArray::try_new(format, format_columns, None).context("encode a checkpoint")?;
    Ok([
        batch(
            "protocol",
            1,
            vec![int(protocol.min_reader_version), int(protocol.min_writer_version), list(&protocol.writer_features)],
        )?,
        batch(
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
        batch("txn", 1, vec![text(&txn.app_id), long(txn.version as i64), long(txn.last_updated)])?,
    ])
}

fn field_type(action: &str, name: &str) -> DataType {
    let schema = schema();
    let DataType::Struct(fields) = schema.field_with_name(action).expect("an action").data_type() else {
        unreachable!("actions are structs")
    };
    fields.find(name).expect("a field of it").1.data_type().clone()
}
