//! Events as rows of a table of the hot tier, under the table's names: the inverse of what archives them.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};

use crate::data::sources::stored_name;
use crate::error::{Context, Error, Result};
use crate::hot::Cassandra;
use crate::model::{ColumnType, IdSource, KeySource, Mapping, Schema, TimeUnit};

/// A table that events go into.
pub struct HotTable {
    hot: Cassandra,
    targets: Vec<Target>,
    ttl_seconds: Option<u32>,
}

/// A column of the table, and the column of `events` that it is filled from.
#[derive(Debug, Clone, PartialEq)]
struct Target {
    name: String,
    source: String,
    /// The table counts times.
    unit: Option<TimeUnit>,
}

impl HotTable {
    /// Finds the table's column for each of the archive's. Those in `omit` need none.
    pub fn new(
        hot: Cassandra,
        mapping: &Mapping,
        schema: &Schema,
        omit: &[String],
        ttl_seconds: Option<u32>,
    ) -> Result<Self> {
        let targets = targets(&hot.name(), hot.columns(), mapping, schema, omit)?;
        Ok(HotTable { hot, targets, ttl_seconds })
    }

    pub fn name(&self) -> String {
        self.hot.name()
    }

    /// The columns of `events` that [`HotTable::insert`] takes, in their order.
    pub fn columns(&self) -> Vec<String> {
        self.targets.iter().map(|target| target.source.clone()).collect()
    }

    pub async fn insert(&self, events: &RecordBatch) -> Result<()> {
        let columns = self.targets.iter().zip(events.columns());
        let named = columns.map(|(target, array)| Ok((target.name.as_str(), target.value(array)?)));
        let rows = RecordBatch::try_from_iter_with_nullable(
            named.collect::<Result<Vec<_>>>()?.into_iter().map(|(name, array)| (name, array, true)),
        );
        self.hot.insert(&rows.context("make rows of events")?, self.ttl_seconds).await
    }
}

impl Target {
    fn value(&self, array: &ArrayRef) -> Result<ArrayRef> {
        let phrase = || format!("make the column `{}`", self.name);
        match (array.data_type(), self.unit) {
            (DataType::Timestamp(..), Some(unit)) => {
                let micros = array.as_primitive::<TimestampMicrosecondType>().reinterpret_cast::<Int64Type>();
                let counted = micros.iter().map(|micros| micros.map(|micros| count(micros, unit)).transpose());
                Ok(Arc::new(counted.collect::<Result<Int64Array>>().with_context(phrase)?))
            }
            (DataType::Utf8View, _) => cast(array, &DataType::Utf8).with_context(phrase),
            _ => Ok(array.clone()),
        }
    }
}

/// Microseconds in a unit, exactly.
fn count(micros: i64, unit: TimeUnit) -> Result<i64> {
    let per_unit = match unit {
        TimeUnit::Seconds => 1_000_000,
        TimeUnit::Millis => 1_000,
        TimeUnit::Micros => 1,
        TimeUnit::Nanos => {
            return micros.checked_mul(1_000).ok_or_else(|| Error::failed("a time does not fit in nanoseconds"));
        }
    };
    match micros % per_unit {
        0 => Ok(micros / per_unit),
        _ => {
            Err(Error::failed(format!("a time has parts of a unit, `{}`, that the table does not keep", unit.as_str())))
        }
    }
}

fn targets(
    table: &str,
    columns: &[(String, ColumnType)],
    mapping: &Mapping,
    schema: &Schema,
    omit: &[String],
) -> Result<Vec<Target>> {
    let is_omitted = |name: &str| omit.iter().any(|omitted| omitted == name);
    let stored = |name: &str| stored_name(name, mapping).and_then(|stored| schema.column(&stored));
    let mut targets = Vec::new();
    for (name, column_type) in columns {
        let is_time = *name == mapping.time;
        let source = match canonical(name, mapping) {
            Some(source) => Some(source.to_owned()),
            None => stored(name).map(|column| column.name.clone()).filter(|column| !is_omitted(column)),
        };
        let unit = mapping.time_unit.filter(|_| is_time && *column_type == ColumnType::BigInt);
        targets.extend(source.map(|source| Target { name: name.clone(), source, unit }));
    }
    // A mapped column also stays under its own name, and says no more there.
    let covered =
        |name: &str| columns.iter().any(|(column, _)| stored(column).is_some_and(|stored| stored.name == name));
    let others = schema.columns().iter().map(|column| column.name.as_str()).skip(2);
    let missing: Vec<&str> = others.filter(|name| !is_omitted(name) && !covered(name)).collect();
    match missing.is_empty() {
        true => Ok(targets),
        false => Err(Error::usage(format!("{table} has no column for {}", quoted(&missing)))
            .code("missing-columns")
            .hint(format!("add them to the table, or leave them out: --omit {}", missing.join(",")))),
    }
}

/// The column of `events` that a mapped column became.
fn canonical(name: &str, mapping: &Mapping) -> Option<&'static str> {
    let is = |source: &KeySource| matches!(source, KeySource::Column(column) if column == name);
    let is_id = matches!(&mapping.id, IdSource::Columns(columns) if columns.len() == 1 && columns[0] == name);
    [(is_id, "event_id"), (is(&mapping.event_type), "event_type"), (is(&mapping.tenant), "tenant_id")]
        .into_iter()
        .chain([(name == mapping.time, "ts")])
        .find_map(|(is_it, canonical)| is_it.then_some(canonical))
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(columns: &[(&str, ColumnType)]) -> Vec<(String, ColumnType)> {
        columns.iter().map(|(name, column_type)| ((*name).to_owned(), *column_type)).collect()
    }

    fn schema(names: &[(&str, ColumnType)]) -> Schema {
        let mut schema = Schema::default();
        names.iter().for_each(|(name, column_type)| {
            schema.add(name, *column_type).unwrap();
        });
        schema
    }

    fn pairs(targets: Vec<Target>) -> Vec<(String, String)> {
        targets.into_iter().map(|target| (target.name, target.source)).collect()
    }

    #[test]
    fn mapped_columns_come_from_what_they_became_and_others_from_their_namesakes() {
        use ColumnType::{BigInt, Double, Timestamp, Varchar};
        let mapping = Mapping {
            id: IdSource::Columns(vec!["id".into()]),
            tenant: KeySource::Column("customer".into()),
            event_type: KeySource::Constant("click".into()),
            time: "at".into(),
            time_unit: Some(TimeUnit::Millis),
        };
        let table =
            columns(&[("customer", Varchar), ("id", Varchar), ("at", BigInt), ("Amount", Double), ("ts", Timestamp)]);
        let archive = schema(&[
            ("id", Varchar),
            ("customer", Varchar),
            ("at", BigInt),
            ("amount", Double),
            ("ts_source", Timestamp),
        ]);
        let found = targets("t", &table, &mapping, &archive, &[]).unwrap();
        assert_eq!(found[2].unit, Some(TimeUnit::Millis));
        let expected =
            [("customer", "tenant_id"), ("id", "event_id"), ("at", "ts"), ("Amount", "amount"), ("ts", "ts_source")];
        assert_eq!(pairs(found), expected.map(|(name, source)| (name.to_owned(), source.to_owned())));
    }

    #[test]
    fn a_column_that_the_table_lacks_is_named_with_the_way_out() {
        let table = columns(&[
            ("event_id", ColumnType::Varchar),
            ("tenant_id", ColumnType::Varchar),
            ("event_type", ColumnType::Varchar),
            ("ts", ColumnType::Timestamp),
        ]);
        let archive = schema(&[("amount", ColumnType::Double), ("note", ColumnType::Varchar)]);
        let error = targets("cassandra k.t", &table, &Mapping::default(), &archive, &[]).unwrap_err();
        assert_eq!(error.to_string(), "cassandra k.t has no column for `amount`, `note`");
        assert_eq!(error.hint_text(), Some("add them to the table, or leave them out: --omit amount,note"));
        let omit = ["amount".to_owned(), "note".to_owned()];
        assert_eq!(targets("t", &table, &Mapping::default(), &archive, &omit).unwrap().len(), 4);
    }

    #[test]
    fn times_are_counted_exactly_or_not_at_all() {
        assert_eq!(count(1_500_000, TimeUnit::Millis).unwrap(), 1_500);
        assert!(count(1_500_001, TimeUnit::Millis).is_err());
        assert_eq!(count(2, TimeUnit::Nanos).unwrap(), 2_000);
    }
}
