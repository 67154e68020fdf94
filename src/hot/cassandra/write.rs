//! Rows into the table, and partitions out of it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use jiff::civil::Date;
use scylla::cluster::metadata::{ColumnType as CqlType, NativeType};
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{CqlTimestamp, CqlValue, MaybeUnset};

use super::super::Partition;
use super::Inner;
use super::query::partition_condition;
use super::table::{Field, Table, day_value, find, quoted};
use super::values;
use crate::error::{Context, Error, Result};
use crate::model::date_of_micros;

pub async fn delete(inner: &Inner, partition: &Partition) -> Result<()> {
    let cql = format!("DELETE FROM {} WHERE {}", inner.table.name, partition_condition(&inner.table));
    let phrase = || format!("delete {}", inner.table.describe_partition(partition));
    let statement = inner.client.prepare(&cql).await.with_context(phrase)?;
    inner.client.execute(&statement, &partition.key).await.with_context(phrase)?;
    Ok(())
}

/// What was written later stays.
pub async fn delete_written_until(inner: &Inner, partition: &Partition, until: Timestamp) -> Result<()> {
    let condition = partition_condition(&inner.table);
    let cql = format!("DELETE FROM {} USING TIMESTAMP ? WHERE {condition}", inner.table.name);
    let phrase = || format!("delete {}", inner.table.describe_partition(partition));
    let statement = inner.client.prepare(&cql).await.with_context(phrase)?;
    let mut values = vec![CqlValue::BigInt(until.as_microsecond())];
    values.extend(partition.key.iter().cloned());
    inner.client.execute(&statement, values).await.with_context(phrase)?;
    Ok(())
}

pub async fn insert(inner: &Inner, rows: &RecordBatch, ttl_seconds: Option<u32>) -> Result<()> {
    let columns = columns(&inner.table, rows)?;
    let statement = inner.client.prepare(&cql(&inner.table, &columns, ttl_seconds)).await?;
    let ttl = ttl_seconds.map(|seconds| CqlValue::Int(i32::try_from(seconds).unwrap_or(i32::MAX)));
    stream::iter(0..rows.num_rows())
        .map(|row| insert_row(inner, &statement, &columns, row, ttl.clone()))
        .buffer_unordered(inner.settings.requests_in_flight.max(1))
        .try_collect::<()>()
        .await
        .with_context(|| format!("insert into {}", inner.client.place.table))
}

fn cql(table: &Table, columns: &[Column<'_>], ttl_seconds: Option<u32>) -> String {
    let names: Vec<String> = columns.iter().map(|column| quoted(&column.field.name)).collect();
    let marks = vec!["?"; columns.len()].join(", ");
    let ttl = if ttl_seconds.is_some() { " USING TTL ?" } else { "" };
    format!("INSERT INTO {} ({}) VALUES ({marks}){ttl}", table.name, names.join(", "))
}

async fn insert_row(
    inner: &Inner,
    statement: &PreparedStatement,
    columns: &[Column<'_>],
    row: usize,
    ttl: Option<CqlValue>,
) -> Result<()> {
    let mut values = Vec::with_capacity(columns.len() + 1);
    for column in columns {
        let value = column.value(row).with_context(|| format!("write column `{}`", column.field.name))?;
        // A null would be a tombstone.
        values.push(MaybeUnset::from_option(value));
    }
    values.extend(ttl.map(MaybeUnset::Set));
    inner.client.execute(statement, values).await?;
    Ok(())
}

/// A column of the table and where its values come from.
struct Column<'a> {
    field: &'a Field,
    source: Source,
    is_key: bool,
}

enum Source {
    Array(ArrayRef),
    /// The date of times in microseconds.
    DayOf(ArrayRef),
}

fn columns<'a>(table: &'a Table, rows: &RecordBatch) -> Result<Vec<Column<'a>>> {
    let schema = rows.schema();
    let key: Vec<&Field> = table.partition_key.iter().chain(&table.clustering_key).collect();
    let mut columns = Vec::new();
    for (array, given) in rows.columns().iter().zip(schema.fields()) {
        let field = find(&table.all, given.name(), &table.name)?;
        columns.push(Column { field, source: Source::Array(array.clone()), is_key: key.contains(&field) });
    }
    let is_given = |name: &str| schema.column_with_name(name).is_some();
    if let Some(day) = table.day_name.as_deref().filter(|day| !is_given(day)) {
        let field = find(&table.all, day, &table.name)?;
        columns.push(Column { field, source: Source::DayOf(times(table, rows)?), is_key: key.contains(&field) });
    }
    match key.iter().find(|field| !columns.iter().any(|column| column.field == **field)) {
        None => Ok(columns),
        Some(field) => Err(Error::usage(format!("rows to insert have no `{}`, a column of the key", field.name))
            .hint("what it should be only the writer of the table knows: it cannot be made from an event")),
    }
}

/// The time of each row in microseconds.
fn times(table: &Table, rows: &RecordBatch) -> Result<ArrayRef> {
    let name = &table.time.name;
    let array = rows
        .column_by_name(name)
        .ok_or_else(|| Error::usage(format!("rows to insert have no `{name}` that their day could be made from")))?;
    let times = values::micros(array, table.time_unit).with_context(|| format!("read the times of `{name}`"))?;
    Ok(Arc::new(times))
}

impl Column<'_> {
    fn value(&self, row: usize) -> Result<Option<CqlValue>> {
        let value = match &self.source {
            Source::Array(array) => value(array, row, &self.field.cql)?,
            Source::DayOf(times) => date(times, row).and_then(|date| day_value(&self.field.cql, date)),
        };
        if value.is_none() && self.is_key {
            return Err(Error::failed("a column of the key has no value"));
        }
        Ok(value)
    }
}

fn date(times: &ArrayRef, row: usize) -> Option<Date> {
    let times = times.as_primitive::<TimestampMicrosecondType>();
    if times.is_null(row) { None } else { date_of_micros(times.value(row)) }
}

/// What is not the same in both worlds goes by its text.
fn value(array: &ArrayRef, row: usize, cql: &CqlType<'_>) -> Result<Option<CqlValue>> {
    if array.is_null(row) {
        return Ok(None);
    }
    let value = match (array.data_type(), cql) {
        (DataType::Utf8, _) => values::parse(cql, array.as_string::<i32>().value(row))?,
        (DataType::Timestamp(TimeUnit::Microsecond, _), CqlType::Native(NativeType::Timestamp)) => {
            CqlValue::Timestamp(millis(array.as_primitive::<TimestampMicrosecondType>().value(row))?)
        }
        (DataType::Int64, CqlType::Native(NativeType::BigInt)) => {
            CqlValue::BigInt(array.as_primitive::<Int64Type>().value(row))
        }
        (DataType::Float64, CqlType::Native(NativeType::Float)) => {
            CqlValue::Float(array.as_primitive::<Float64Type>().value(row) as f32)
        }
        (DataType::Float64, CqlType::Native(NativeType::Double)) => {
            CqlValue::Double(array.as_primitive::<Float64Type>().value(row))
        }
        _ => {
            let formatter = ArrayFormatter::try_new(array, &FormatOptions::new()).context("read a value")?;
            values::parse(cql, &formatter.value(row).to_string())?
        }
    };
    Ok(Some(value))
}

fn millis(micros: i64) -> Result<CqlTimestamp> {
    match micros % 1_000 {
        0 => Ok(CqlTimestamp(micros / 1_000)),
        _ => Err(Error::failed("a time has microseconds, which a CQL timestamp does not keep")),
    }
}
