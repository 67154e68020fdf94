//! The CQL of units.

use scylla::value::CqlValue;

use super::super::{Partition, Restriction, Unit};
use super::table::{Field, Table, quoted};
use super::values;

/// A statement and what it is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    pub cql: String,
    pub values: Vec<CqlValue>,
}

/// What is selected of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selected {
    /// The archived columns.
    Rows,
    /// And, last, the time to live.
    RowsThatExpire,
    Count,
    /// As little of a row as there is, to count by paging.
    Keys,
}

/// `None` where no row can answer the restriction.
pub fn select(table: &Table, selected: Selected, unit: &Unit, restriction: &Restriction) -> Option<Query> {
    let (condition, values) = match unit {
        Unit::Partition(partition) => of_partition(table, partition, restriction)?,
        Unit::Range { after, to } => of_range(table, *after, *to, restriction),
    };
    let cql = format!("SELECT {} FROM {} WHERE {condition}", columns(table, selected), table.name);
    Some(Query { cql, values })
}

/// The keys of all partitions of a range.
pub fn select_partitions(table: &Table, after: i64, to: i64) -> Query {
    let key = names(&table.partition_key);
    let cql = format!("SELECT DISTINCT {key} FROM {} WHERE token({key}) > ? AND token({key}) <= ?", table.name);
    Query { cql, values: vec![CqlValue::BigInt(after), CqlValue::BigInt(to)] }
}

/// One column of all rows of a range.
pub fn select_column(table: &Table, field: &Field, after: i64, to: i64) -> Query {
    let key = names(&table.partition_key);
    let cql =
        format!("SELECT {} FROM {} WHERE token({key}) > ? AND token({key}) <= ?", quoted(&field.name), table.name);
    Query { cql, values: vec![CqlValue::BigInt(after), CqlValue::BigInt(to)] }
}

/// The condition that names one partition.
pub fn partition_condition(table: &Table) -> String {
    let equal: Vec<String> = table.partition_key.iter().map(|field| format!("{} = ?", quoted(&field.name))).collect();
    equal.join(" AND ")
}

fn columns(table: &Table, selected: Selected) -> String {
    match (selected, &table.lives) {
        (Selected::Count, _) => "count(*)".to_owned(),
        (Selected::Keys, _) => {
            names(table.clustering_key.first().map_or(&table.partition_key[..1], std::slice::from_ref))
        }
        (Selected::RowsThatExpire, Some(lives)) => format!("{}, ttl({})", names(&table.archived), quoted(lives)),
        _ => names(&table.archived),
    }
}

fn of_partition(table: &Table, partition: &Partition, restriction: &Restriction) -> Option<(String, Vec<CqlValue>)> {
    let (mut condition, mut values) = (partition_condition(table), partition.key.clone());
    if let (Some(ids), Some(field)) = (&restriction.event_ids, &table.id) {
        // An id that is none of the column's type is the id of no row.
        let ids: Vec<CqlValue> = ids.iter().filter_map(|id| values::parse(&field.cql, id).ok()).collect();
        if ids.is_empty() {
            return None;
        }
        condition += &format!(" AND {} IN ?", quoted(&field.name));
        values.push(CqlValue::List(ids));
    }
    Some((condition, values))
}

fn of_range(table: &Table, after: i64, to: i64, restriction: &Restriction) -> (String, Vec<CqlValue>) {
    let key = names(&table.partition_key);
    let mut condition = format!("token({key}) > ? AND token({key}) <= ?");
    let mut values = vec![CqlValue::BigInt(after), CqlValue::BigInt(to)];
    let bounds = restriction.times.and_then(|(from, to)| Some([table.time_value(from)?, table.time_value(to)?]));
    if let Some(bounds) = bounds {
        let time = quoted(&table.time.name);
        condition += &format!(" AND {time} >= ? AND {time} < ? ALLOW FILTERING");
        values.extend(bounds);
    }
    (condition, values)
}

fn names(fields: &[Field]) -> String {
    let names: Vec<String> = fields.iter().map(|field| quoted(&field.name)).collect();
    names.join(", ")
}
