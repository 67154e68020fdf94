//! The rows of a cell in their final types, and whether two of them have the same content.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, DynComparator, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, make_comparator, new_null_array,
};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef};

use super::rows::ORDER;
use super::time;
use super::values::{bool_of, int_of};
use crate::error::{Context, Result};
use crate::model::{ColumnType, Schema};

/// Compares the content of rows: every column but the hidden one.
pub struct Same(Vec<DynComparator>);

impl Same {
    /// Both batches must have the columns of a cell in the same order, beginning with [`ORDER`].
    pub fn new(left: &RecordBatch, right: &RecordBatch) -> Result<Self> {
        let comparators = (1..left.num_columns())
            .map(|column| make_comparator(left.column(column), right.column(column), SortOptions::default()))
            .collect::<Result<_, _>>();
        Ok(Same(comparators.context("compare events")?))
    }

    pub fn rows(&self, left: usize, right: usize) -> bool {
        self.0.iter().all(|compare| compare(left, right).is_eq())
    }
}

/// The columns of a run with their final types.
pub struct Typed {
    columns: Vec<(String, ColumnType)>,
    /// With [`ORDER`] in front.
    pub schema: SchemaRef,
    /// Without it, with field ids: what a file holds.
    pub file_schema: SchemaRef,
}

impl Typed {
    pub fn new(schema: &Schema) -> Self {
        let columns = schema.columns().iter().map(|c| (c.name.clone(), c.column_type)).collect();
        let file_schema = schema.arrow();
        let mut fields = vec![Arc::new(Field::new(ORDER, DataType::UInt64, false))];
        fields.extend(file_schema.fields().iter().cloned());
        Typed { columns, schema: Arc::new(ArrowSchema::new(fields)), file_schema }
    }

    /// Gives a decoded chunk all columns in their final types.
    pub fn settle(&self, chunk: &RecordBatch) -> Result<RecordBatch> {
        let mut arrays = vec![chunk.column(0).clone()];
        arrays.extend(self.arrays(chunk));
        RecordBatch::try_new(self.schema.clone(), arrays).context("settle the types of a cell")
    }

    /// Gives rows of a data file, which may be older than some columns, all columns and no others.
    pub fn complete(&self, stored: &RecordBatch) -> Result<RecordBatch> {
        RecordBatch::try_new(self.file_schema.clone(), self.arrays(stored)).context("complete the columns of a file")
    }

    fn arrays(&self, chunk: &RecordBatch) -> Vec<ArrayRef> {
        let array = |(name, column_type): &(String, ColumnType)| match chunk.column_by_name(name) {
            None => new_null_array(&column_type.arrow(), chunk.num_rows()),
            Some(array) if array.data_type() == &column_type.arrow() => array.clone(),
            Some(text) => from_text(text.as_string::<i32>(), *column_type),
        };
        self.columns.iter().map(array).collect()
    }
}

/// The values of a new column; each fits, because the type was chosen from them.
fn from_text(text: &StringArray, column_type: ColumnType) -> ArrayRef {
    match column_type {
        ColumnType::Boolean => Arc::new(text.iter().map(|value| value.and_then(bool_of)).collect::<BooleanArray>()),
        ColumnType::BigInt => Arc::new(text.iter().map(|value| value.and_then(int_of)).collect::<Int64Array>()),
        ColumnType::Double => {
            Arc::new(text.iter().map(|value| value.and_then(|text| text.parse().ok())).collect::<Float64Array>())
        }
        ColumnType::Varchar => Arc::new(text.clone()),
        ColumnType::Timestamp => {
            let micros = |value: Option<&str>| value.and_then(|text| time::parse(text, None).ok());
            Arc::new(text.iter().map(micros).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        }
    }
}
