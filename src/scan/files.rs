//! Data files in DataFusion's words: partition values, exact statistics, groups.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema as ArrowSchema, SchemaRef};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::FileGroup;
use datafusion::datasource::table_schema::TableSchema;
use object_store::ObjectMeta;

use crate::model::{ColumnType, DataFile, KeyRange, Schema, days_of_date};
use crate::store::Store;

/// Statistics per file help `ORDER BY ts LIMIT n` skip files; beyond this many files their memory is not worth it.
const FILES_WITH_STATISTICS: usize = 10_000;

/// The columns inside a cell's file, then the keys it stands for. Strings are views: what DataFusion reads fastest.
pub fn table_schema(schema: &Schema) -> TableSchema {
    let columns = schema.columns().iter().map(|column| {
        let data_type = match column.column_type {
            ColumnType::Varchar => DataType::Utf8View,
            other => other.arrow(),
        };
        Field::new(&column.name, data_type, !is_never_null(&column.name))
    });
    let file_schema = Arc::new(ArrowSchema::new(columns.collect::<Vec<_>>()));
    TableSchema::builder(file_schema).with_table_partition_cols(key_fields()).build()
}

/// The columns as SQL sees them: the keys come first.
pub fn sql_schema(table: &TableSchema) -> SchemaRef {
    let fields = table.table_partition_cols().iter().chain(table.file_schema().fields());
    Arc::new(ArrowSchema::new(fields.cloned().collect::<Vec<FieldRef>>()))
}

fn key_fields() -> Vec<FieldRef> {
    let field = |name, data_type| Arc::new(Field::new(name, data_type, false));
    vec![
        field("date", DataType::Date32),
        field("tenant_id", DataType::Utf8View),
        field("event_type", DataType::Utf8View),
    ]
}

fn is_never_null(column: &str) -> bool {
    matches!(column, "event_id" | "ts")
}

/// The files in up to `groups` groups that are read side by side.
pub fn file_groups(store: &Store, files: &[DataFile], table: &TableSchema, groups: usize) -> Vec<FileGroup> {
    let with_statistics = files.len() <= FILES_WITH_STATISTICS;
    let mut grouped = vec![Vec::new(); groups.min(files.len())];
    for (number, file) in files.iter().enumerate() {
        let mut partitioned = partitioned_file(store, file);
        if with_statistics {
            partitioned = partitioned.with_statistics(Arc::new(file_statistics(file, table)));
        }
        let group = number % grouped.len();
        grouped[group].push(partitioned);
    }
    grouped.into_iter().map(FileGroup::new).collect()
}

fn partitioned_file(store: &Store, file: &DataFile) -> PartitionedFile {
    let meta = ObjectMeta {
        location: store.object_path(&file.path),
        // A data file never changes under its name.
        last_modified: Default::default(),
        size: file.size_bytes,
        e_tag: None,
        version: None,
    };
    let text = |range: &KeyRange<String>| ScalarValue::Utf8View(Some(range.min.clone()));
    PartitionedFile::new_from_meta(meta)
        .with_partition_values(vec![
            ScalarValue::Date32(Some(days_of_date(file.dates.min))),
            text(&file.tenants),
            text(&file.event_types),
        ])
        .with_metadata_size_hint(file.footer_bytes as usize)
        .with_extension(file.storage_class)
}

/// Of the columns inside the file; DataFusion adds those of the keys.
fn file_statistics(file: &DataFile, table: &TableSchema) -> Statistics {
    statistics(file.rows, file.size_bytes, Some(&file.ts), table.file_schema().fields())
}

/// Of all the files together, over `columns` inside the files and then the keys.
pub fn total_statistics(files: &[DataFile], columns: &[FieldRef]) -> Statistics {
    let rows = files.iter().map(|file| file.rows).sum();
    let bytes = files.iter().map(|file| file.size_bytes).sum();
    let range = files.iter().map(|file| file.ts.clone()).reduce(|mut all, one| {
        all.extend(&one);
        all
    });
    let mut total = statistics(rows, bytes, range.as_ref(), columns);
    total.column_statistics.extend(key_statistics(files));
    total
}

fn statistics(rows: u64, bytes: u64, ts: Option<&KeyRange<i64>>, columns: &[FieldRef]) -> Statistics {
    let columns = columns.iter().map(|field| {
        let mut column = ColumnStatistics::new_unknown();
        if is_never_null(field.name()) {
            column.null_count = Precision::Exact(0);
        }
        if let Some(ts) = ts.filter(|_| field.name() == "ts") {
            let time = |micros| ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into()));
            column.min_value = Precision::Exact(time(ts.min));
            column.max_value = Precision::Exact(time(ts.max));
        }
        column
    });
    Statistics {
        num_rows: Precision::Exact(rows as usize),
        total_byte_size: Precision::Inexact(bytes as usize),
        column_statistics: columns.collect(),
    }
}

fn key_statistics(files: &[DataFile]) -> [ColumnStatistics; 3] {
    let date = |days| ScalarValue::Date32(Some(days));
    let text = |key: &String| ScalarValue::Utf8View(Some(key.clone()));
    let dates = || files.iter().map(|file| days_of_date(file.dates.min));
    let tenants = || files.iter().map(|file| &file.tenants.min);
    let types = || files.iter().map(|file| &file.event_types.min);
    let column = |min: Option<ScalarValue>, max: Option<ScalarValue>| {
        let exact = |value: Option<ScalarValue>| value.map_or(Precision::Absent, Precision::Exact);
        let mut column = ColumnStatistics::new_unknown();
        column.null_count = Precision::Exact(0);
        column.min_value = exact(min);
        column.max_value = exact(max);
        column
    };
    [
        column(dates().min().map(date), dates().max().map(date)),
        column(tenants().min().map(text), tenants().max().map(text)),
        column(types().min().map(text), types().max().map(text)),
    ]
}
