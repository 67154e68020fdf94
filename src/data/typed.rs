//! The rows of a cell in their final types, and whether two of them have the same content.

use std::sync::Arc;

use arrow::array::{ArrayRef, DynComparator, RecordBatch, TimestampMicrosecondArray, make_comparator, new_null_array};
use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;

use super::column_builder::ColumnBuilder;
use super::columns::Columns;
use super::row::Row;
use super::text_builder::TextBuilder;
use crate::error::{Context, Result};
use crate::model::{ColumnType, Schema};

/// `event_id` and `ts`, which every schema begins with and a row has no field for.
const OWN_COLUMNS: usize = 2;

/// Rows lie far apart in memory, in the order they came in: the heads of so many are fetched at once.
const ROWS_AHEAD: usize = 16;

/// Compares the content of rows.
pub struct Same(Vec<DynComparator>);

impl Same {
    /// Both batches must have the columns of a cell in the same order.
    pub fn new(left: &RecordBatch, right: &RecordBatch) -> Result<Self> {
        let comparators = (0..left.num_columns())
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
    /// By a column's number in the run, its index in `columns`.
    of_number: Vec<Option<usize>>,
    /// What a file holds: field ids are in the metadata.
    pub schema: SchemaRef,
}

impl Typed {
    pub fn new(schema: &Schema) -> Self {
        let columns = schema.columns().iter().map(|c| (c.name.clone(), c.column_type)).collect();
        Typed { columns, of_number: Vec::new(), schema: schema.arrow() }
    }

    /// For [`Typed::gather`]: with the numbers that the rows of a run know these columns by.
    pub fn for_run(schema: &Schema, run: &Columns) -> Self {
        let typed = Self::new(schema);
        let index = |name: &String| typed.columns.iter().position(|(known, _)| known == name);
        Typed { of_number: run.names().iter().map(index).collect(), ..typed }
    }

    /// The columns of these rows.
    pub fn gather<'a>(&self, rows: impl ExactSizeIterator<Item = Row<'a>>) -> Result<RecordBatch> {
        let count = rows.len();
        let mut ids = TextBuilder::new(count);
        let mut times = Vec::with_capacity(count);
        let others = &self.columns[OWN_COLUMNS..];
        let mut columns: Vec<_> =
            others.iter().map(|(_, column_type)| ColumnBuilder::new(*column_type, count)).collect();
        let mut rows = rows.enumerate();
        let mut ahead = Vec::with_capacity(ROWS_AHEAD);
        loop {
            let next = rows.by_ref().take(ROWS_AHEAD);
            ahead.extend(next.map(|(position, row)| (position, row.ts(), row.id(), row.fields())));
            if ahead.is_empty() {
                break;
            }
            for (position, ts, id, fields) in ahead.drain(..) {
                ids.append(id);
                times.push(ts);
                for (number, value) in fields {
                    let index = self.of_number.get(number).copied().flatten();
                    if let Some(index) = index.and_then(|index| index.checked_sub(OWN_COLUMNS)) {
                        columns[index].append(position, value);
                    }
                }
            }
        }
        let ids = ids.finish()?;
        let times = TimestampMicrosecondArray::from(times).with_timezone("UTC");
        let mut arrays: Vec<ArrayRef> = vec![Arc::new(ids), Arc::new(times)];
        for column in columns {
            arrays.push(column.finish(count)?);
        }
        RecordBatch::try_new(self.schema.clone(), arrays).context("build the columns of a cell")
    }

    /// Gives rows of a data file, which may be older than some columns, all columns and no others.
    pub fn complete(&self, stored: &RecordBatch) -> Result<RecordBatch> {
        let array = |(name, column_type): &(String, ColumnType)| match stored.column_by_name(name) {
            None => new_null_array(&column_type.arrow(), stored.num_rows()),
            Some(array) => array.clone(),
        };
        let arrays = self.columns.iter().map(array).collect();
        RecordBatch::try_new(self.schema.clone(), arrays).context("complete the columns of a file")
    }
}
