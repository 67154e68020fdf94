//! What the hot copy of a footer says of a file that may itself be out of reach.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, ScalarValue};
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::errors::Result as ParquetResult;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};

use super::prune::KEY_COLUMNS;
use crate::error::{Context, Error, Result};
use crate::model::{DataFile, days_of_date};

/// Decodes the last bytes of `file`, page index included.
pub fn decode(file: &DataFile, end: &Bytes) -> Result<Arc<ParquetMetaData>> {
    let phrase = || format!("read the footer of {} in {}", file.path, file.pack.as_ref().map_or("", |pack| &pack.path));
    let mut reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional);
    reader.try_parse_sized(end, file.size_bytes).with_context(phrase)?;
    let metadata = reader.finish().with_context(phrase)?;
    let rows = metadata.file_metadata().num_rows();
    if rows != file.rows as i64 {
        let message = format!("it counts {rows} rows, the catalog {}", file.rows);
        return Err(Error::failed(message).code("corrupt-pack")).with_context(phrase);
    }
    Ok(Arc::new(metadata))
}

/// The place of a column in the file; a column added to the archive later has none.
pub fn leaf_column(metadata: &ParquetMetaData, name: &str) -> Option<usize> {
    metadata.file_metadata().schema_descr().columns().iter().position(|column| column.name() == name)
}

/// The statistics of a file's row groups, for columns as SQL names them.
pub struct RowGroups<'a> {
    pub file: &'a DataFile,
    pub metadata: &'a ParquetMetaData,
    pub schema: &'a SchemaRef,
}

enum Known<'a> {
    /// A column of the file.
    Inside(StatisticsConverter<'a>),
    /// A key that is one value in the whole file.
    Constant(ScalarValue),
    /// A column that was added to the archive later.
    AllNull,
}

impl<'a> RowGroups<'a> {
    fn known(&self, column: &Column) -> Option<Known<'a>> {
        let field = self.schema.field_with_name(&column.name).ok()?;
        if let Some(leaf) = leaf_column(self.metadata, &column.name) {
            let schema = self.metadata.file_metadata().schema_descr();
            return StatisticsConverter::from_column_index(leaf, field, schema).ok().map(Known::Inside);
        }
        let file = self.file;
        let constant = match KEY_COLUMNS.iter().position(|key| *key == column.name) {
            None => return Some(Known::AllNull),
            Some(0) => ScalarValue::Date32(file.dates.single().copied().map(days_of_date)),
            Some(1) => ScalarValue::Utf8View(file.tenants.single().map(|tenant| tenant.to_string())),
            Some(_) => ScalarValue::Utf8View(file.event_types.single().map(|event_type| event_type.to_string())),
        };
        (!constant.is_null()).then_some(Known::Constant(constant))
    }

    fn bound(
        &self,
        column: &Column,
        of_file: impl Fn(&StatisticsConverter<'a>) -> ParquetResult<ArrayRef>,
    ) -> Option<ArrayRef> {
        match self.known(column)? {
            Known::Inside(converter) => of_file(&converter).ok(),
            Known::Constant(value) => value.to_array_of_size(self.num_containers()).ok(),
            Known::AllNull => None,
        }
    }

    fn rows(&self) -> UInt64Array {
        self.metadata.row_groups().iter().map(|group| Some(group.num_rows() as u64)).collect()
    }
}

impl PruningStatistics for RowGroups<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bound(column, |converter| converter.row_group_mins(self.metadata.row_groups()))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bound(column, |converter| converter.row_group_maxes(self.metadata.row_groups()))
    }

    fn num_containers(&self) -> usize {
        self.metadata.num_row_groups()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        match self.known(column)? {
            Known::Inside(converter) => {
                let converter = converter.with_missing_null_counts_as_zero(false);
                Some(Arc::new(converter.row_group_null_counts(self.metadata.row_groups()).ok()?))
            }
            Known::Constant(_) => Some(Arc::new(UInt64Array::from_value(0, self.num_containers()))),
            Known::AllNull => Some(Arc::new(self.rows())),
        }
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.rows()))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
