//! CQL values and what the archive has for them.
//!
//! | CQL | archive |
//! |---|---|
//! | text, ascii, uuid, timeuuid, inet | VARCHAR |
//! | tinyint … bigint, counter | BIGINT |
//! | float, double | DOUBLE |
//! | boolean | BOOLEAN |
//! | timestamp | TIMESTAMP |
//! | date `2026-08-24`, time `08:00:00.5`, duration `1mo2d3h`, decimal, varint | VARCHAR, exact |
//! | blob | VARCHAR of lower-case hex digits |
//! | list, set, map, tuple, vector, user-defined type | VARCHAR of JSON |

mod json;
mod number;
mod page;
mod parse;
mod text;

use arrow::array::{ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use scylla::cluster::metadata::{ColumnType as CqlType, NativeType};
use scylla::value::{CqlDate, CqlValue};

use crate::error::{Context, Result};
use crate::model::{ColumnType, TimeUnit};

pub use page::{Decoded, decode};
pub use parse::parse;
pub use text::text;

/// CQL counts days from this one before the epoch, so that a date is unsigned.
const EPOCH_DAY: i64 = 1 << 31;

/// What a column is in the archive.
pub fn column_type(cql: &CqlType<'_>) -> ColumnType {
    let CqlType::Native(native) = cql else { return ColumnType::Varchar };
    match native {
        NativeType::Boolean => ColumnType::Boolean,
        NativeType::TinyInt | NativeType::SmallInt | NativeType::Int | NativeType::BigInt | NativeType::Counter => {
            ColumnType::BigInt
        }
        NativeType::Float | NativeType::Double => ColumnType::Double,
        NativeType::Timestamp => ColumnType::Timestamp,
        _ => ColumnType::Varchar,
    }
}

/// A date of days since the epoch.
pub fn date(days: i32) -> CqlValue {
    CqlValue::Date(CqlDate((i64::from(days) + EPOCH_DAY) as u32))
}

/// Days since the epoch. CQL has more of them than an `i32` can tell.
pub fn days(date: CqlDate) -> Option<i32> {
    i32::try_from(i64::from(date.0) - EPOCH_DAY).ok()
}

/// Times of events in microseconds, as the archive reads them: numbers count in `unit`.
pub fn micros(times: &ArrayRef, unit: Option<TimeUnit>) -> Result<TimestampMicrosecondArray> {
    if let (DataType::Int64, Some(unit)) = (times.data_type(), unit) {
        let numbers = times.as_primitive::<Int64Type>().iter();
        return Ok(numbers.map(|time| time.and_then(|time| unit.to_micros(time))).collect());
    }
    let times = cast(times, &ColumnType::Timestamp.arrow()).context("read them as times")?;
    Ok(times.as_primitive::<TimestampMicrosecondType>().clone())
}
