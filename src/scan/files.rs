//! The columns of data files in DataFusion's words.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema as ArrowSchema, SchemaRef};
use datafusion::datasource::table_schema::TableSchema;

use crate::model::{ColumnType, Schema};

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
