//! What rows are like before any is read, in DataFusion's words: exact, because the catalog knows every cell.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::FieldRef;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};

use super::needed::Needed;
use super::prune::KEY_COLUMNS;
use crate::catalog::Covered;
use crate::model::days_of_date;

static UTC: LazyLock<Arc<str>> = LazyLock::new(|| "UTC".into());

/// Columns that are never null, whatever a file says of them.
pub fn is_never_null(column: &str) -> bool {
    matches!(column, "event_id" | "ts") || KEY_COLUMNS.contains(&column)
}

/// Rows, and the ranges they cover.
#[derive(Debug, Clone)]
pub struct Summary<'a> {
    rows: u64,
    bytes: u64,
    covered: Option<Covered<'a>>,
    /// Whether the earliest and the latest time are those of rows that are read.
    is_ts_exact: bool,
}

impl<'a> Summary<'a> {
    /// Of all files together.
    pub fn of_all(needed: &'a [Needed]) -> Self {
        let bytes = needed.iter().map(|needed| needed.file.size_bytes).sum();
        Self::new(needed.iter().flat_map(Needed::runs), bytes)
    }

    pub fn new(runs: impl Iterator<Item = Covered<'a>>, bytes: u64) -> Self {
        let covered = Covered::all(runs);
        let rows = covered.as_ref().map_or(0, |covered| covered.rows);
        Summary { rows, bytes, covered, is_ts_exact: true }
    }

    /// Of `rows` rows from among the summarized runs, which may lack the earliest and the latest.
    pub fn cut_to(self, rows: u64) -> Self {
        Summary { is_ts_exact: self.is_ts_exact && rows == self.rows, rows, ..self }
    }

    pub fn statistics<'f>(&self, columns: impl IntoIterator<Item = &'f FieldRef>) -> Statistics {
        Statistics {
            num_rows: Precision::Exact(self.rows as usize),
            total_byte_size: Precision::Inexact(self.bytes as usize),
            column_statistics: columns.into_iter().map(|field| self.column(field.name())).collect(),
        }
    }

    fn column(&self, name: &str) -> ColumnStatistics {
        let date = |date| ScalarValue::Date32(Some(days_of_date(date)));
        let text = |text: &str| ScalarValue::Utf8View(Some(text.to_owned()));
        let time = |micros| ScalarValue::TimestampMicrosecond(Some(micros), Some(UTC.clone()));
        let mut column = ColumnStatistics::new_unknown();
        if is_never_null(name) {
            column.null_count = Precision::Exact(0);
        }
        let Some(covered) = &self.covered else { return column };
        let range = match name {
            "date" => Some((date(covered.dates.min), date(covered.dates.max))),
            "tenant_id" => Some((text(covered.tenants.min), text(covered.tenants.max))),
            "event_type" => Some((text(covered.event_types.min), text(covered.event_types.max))),
            "ts" => Some((time(covered.ts.min), time(covered.ts.max))),
            _ => None,
        };
        if let Some((min, max)) = range {
            let is_exact = name != "ts" || self.is_ts_exact;
            let precision = |value| if is_exact { Precision::Exact(value) } else { Precision::Inexact(value) };
            (column.min_value, column.max_value) = (precision(min), precision(max));
        }
        column
    }
}
