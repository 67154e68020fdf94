//! Data files in DataFusion's words: columns, partition values, statistics, groups.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema as ArrowSchema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::FileGroup;
use datafusion::datasource::table_schema::TableSchema;
use object_store::ObjectMeta;

use super::ahead::in_turn;
use super::needed::Needed;
use super::planned::Share;
use super::reader::KnownFooter;
use super::rows::RowGroupRows;
use super::statistics::Summary;
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
        Field::new(&column.name, data_type, column.is_nullable())
    });
    let file_schema = Arc::new(ArrowSchema::new(columns.collect::<Vec<_>>()));
    TableSchema::builder(file_schema).with_table_partition_cols(key_fields()).build()
}

/// The columns as SQL sees them, and as they lie in a bundle: the keys come first.
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

/// Cells' files in up to `groups` groups that are read side by side, for the columns of these names.
pub fn cell_groups(
    store: &Store,
    needed: &[Needed],
    table: &TableSchema,
    columns: &[&str],
    groups: usize,
) -> Vec<FileGroup> {
    let with_statistics = needed.len() <= FILES_WITH_STATISTICS;
    let files = needed.iter().map(|needed| {
        let mut file = cell_file(store, needed, columns);
        if with_statistics {
            let summary = Summary::new(needed.runs(), needed.file.size_bytes);
            let columns = table.file_schema().fields().iter().chain(table.table_partition_cols());
            file.statistics = Some(Arc::new(summary.statistics(columns)));
        }
        file
    });
    let groups = dealt(files, needed.len(), groups);
    if store.location().is_remote() { in_turn(groups) } else { groups }
}

/// The files in turn to each group.
pub fn dealt(files: impl Iterator<Item = PartitionedFile>, count: usize, groups: usize) -> Vec<FileGroup> {
    let mut grouped = vec![Vec::new(); groups.min(count).max(1)];
    for (number, file) in files.enumerate() {
        let group = number % grouped.len();
        grouped[group].push(file);
    }
    grouped.into_iter().map(FileGroup::new).collect()
}

fn cell_file(store: &Store, needed: &Needed, columns: &[&str]) -> PartitionedFile {
    let file = &needed.file;
    let text = |range: &KeyRange<Arc<str>>| ScalarValue::Utf8View(Some(range.min.to_string()));
    let partitioned = object(store, file).with_partition_values(vec![
        ScalarValue::Date32(Some(days_of_date(file.dates.min))),
        text(&file.tenants),
        text(&file.event_types),
    ]);
    let Some(inside) = &needed.inside else { return partitioned.with_extension(Share::of_unopened(file)) };
    let groups = RowGroupRows::of(needed, inside, columns);
    let share = Share::of_row_groups(needed, &groups);
    partitioned
        .with_extension(share)
        .with_extension(KnownFooter(inside.metadata.clone()))
        .with_extension(RowGroupRows::access_plan(&groups, inside.metadata.num_row_groups()))
}

pub fn object(store: &Store, file: &DataFile) -> PartitionedFile {
    let meta = ObjectMeta {
        location: store.object_path(&file.path),
        // A data file never changes under its name.
        last_modified: Default::default(),
        size: file.size_bytes,
        e_tag: None,
        version: None,
    };
    PartitionedFile::new_from_meta(meta).with_metadata_size_hint(file.footer_bytes as usize)
}
