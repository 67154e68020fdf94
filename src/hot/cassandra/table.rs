//! What the table is like: its keys, its columns, and what of them is archived.

use std::collections::BTreeSet;

use jiff::civil::Date;
use scylla::cluster::metadata::{ColumnKind, ColumnType as CqlType, NativeType, Table as Described};
use scylla::value::CqlValue;

use super::super::{CassandraSettings, HotColumns, Partition};
use super::client::Client;
use super::values;
use crate::error::{Context, Error, Result};
use crate::model::{ColumnType, IdSource, KeySource, TimeUnit};
use crate::model::{date_of_days, days_of_date};

/// The day column where none is named, if there is one.
const USUAL_DAY: &str = "day";

const MILLIS_PER_DAY: i64 = 86_400_000;

/// A column of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    pub name: String,
    pub cql: CqlType<'static>,
}

#[derive(Debug)]
pub struct Table {
    /// Quoted, with the keyspace.
    pub name: String,
    pub partition_key: Vec<Field>,
    pub clustering_key: Vec<Field>,
    /// Keys first, then by name, as Cassandra orders them.
    pub all: Vec<Field>,
    /// Those of `all` that are archived.
    pub archived: Vec<Field>,
    /// The same, as the archive sees them.
    pub columns: Vec<(String, ColumnType)>,
    /// Position of the day in the partition key.
    pub day: Option<usize>,
    /// Position of the tenant in the partition key.
    tenant: Option<usize>,
    pub day_name: Option<String>,
    pub time: Field,
    pub time_unit: Option<TimeUnit>,
    /// The event's id, where it is the first column of the clustering key and the day is in the partition key.
    pub id: Option<Field>,
    /// Whether the key has nothing but what makes an event's identity, so that no event is there twice.
    pub has_unique_events: bool,
    /// A column whose time to live stands for the row's.
    pub lives: Option<String>,
    pub ttl_seconds: Option<u32>,
}

pub async fn learn(client: &Client, settings: &CassandraSettings) -> Result<Table> {
    let described = describe(client, settings).await?;
    let ttl = default_ttl(client, settings).await.with_context(|| format!("look at {}", client.place.table))?;
    Table::new(settings, &described, ttl)
}

async fn describe(client: &Client, settings: &CassandraSettings) -> Result<Described> {
    let known = || client.session.get_cluster_state().get_keyspace(&settings.keyspace).cloned();
    let keyspace = match known() {
        Some(keyspace) => keyspace,
        None => {
            check_keyspace(client, settings).await?;
            // It is there: the session began before the node told its schema.
            client.session.refresh_metadata().await.context("read the schema of the cluster")?;
            known().ok_or_else(|| Error::failed(format!("cassandra hides the keyspace `{}`", settings.keyspace)))?
        }
    };
    keyspace.tables.get(&settings.table).cloned().ok_or_else(|| {
        let error = Error::usage(format!("keyspace `{}` has no table `{}`", settings.keyspace, settings.table));
        error.hint(nearest(&settings.table, keyspace.tables.keys().map(String::as_str)))
    })
}

async fn check_keyspace(client: &Client, settings: &CassandraSettings) -> Result<()> {
    let answer = client.ask("SELECT keyspace_name FROM system_schema.keyspaces", ()).await?;
    let rows = answer.rows::<(String,)>().context("read the names of keyspaces")?;
    let names = rows.map(|row| Ok(row?.0)).collect::<Result<Vec<_>, scylla::errors::DeserializationError>>();
    let names = names.context("read the names of keyspaces")?;
    if names.contains(&settings.keyspace) {
        return Ok(());
    }
    let error = Error::usage(format!("the cluster has no keyspace `{}`", settings.keyspace));
    Err(error.hint(nearest(&settings.keyspace, names.iter().map(String::as_str))))
}

async fn default_ttl(client: &Client, settings: &CassandraSettings) -> Result<Option<u32>> {
    const CQL: &str =
        "SELECT default_time_to_live FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?";
    let answer = client.ask(CQL, (&settings.keyspace, &settings.table)).await?;
    let (seconds,) = answer.first_row::<(Option<i32>,)>().context("read its default time to live")?;
    Ok(seconds.and_then(|seconds| u32::try_from(seconds).ok()).filter(|seconds| *seconds > 0))
}

impl Table {
    fn new(settings: &CassandraSettings, described: &Described, ttl_seconds: Option<u32>) -> Result<Self> {
        let columns = &settings.columns;
        let all = ordered(described);
        let find = |name: &str| find(&all, name, &settings.table);
        check_names(columns, find)?;
        let key = |names: &[String]| names.iter().map(|name| find(name).cloned()).collect::<Result<Vec<_>>>();
        let (partition_key, clustering_key) = (key(&described.partition_key)?, key(&described.clustering_key)?);
        let position = |name: &str| partition_key.iter().position(|field| field.name == name);
        let day_name = match &columns.day {
            Some(named) => Some(find(named)?.name.clone()),
            None => find(USUAL_DAY).ok().map(|field| field.name.clone()),
        };
        let archived = archived(&all, &partition_key, day_name.as_deref(), columns);
        let day = day_name.as_deref().and_then(position);
        let is_identity = |field: &Field| {
            let same = |name: &String| *name == field.name;
            let key = |source: &KeySource| matches!(source, KeySource::Column(name) if same(name));
            let is_id = matches!(&columns.mapping.id, IdSource::Columns(names) if names.iter().any(same));
            is_id
                || key(&columns.mapping.tenant)
                || key(&columns.mapping.event_type)
                || day_name.as_ref().is_some_and(same)
        };
        let has_unique_events = partition_key.iter().chain(&clustering_key).all(is_identity);
        let table = Table {
            has_unique_events,
            name: format!("{}.{}", quoted(&settings.keyspace), quoted(&settings.table)),
            columns: archived.iter().map(|f| (f.name.clone(), values::column_type(&f.cql))).collect(),
            day,
            tenant: columns.tenant().and_then(position),
            day_name,
            time: find(&columns.mapping.time)?.clone(),
            time_unit: columns.mapping.time_unit,
            id: clustering_key.first().filter(|first| day.is_some() && is_id(columns, first)).cloned(),
            lives: lives(described, &archived, columns),
            ttl_seconds,
            partition_key,
            clustering_key,
            archived,
            all,
        };
        table.check_day()?;
        table.check_time()?;
        Ok(table)
    }

    fn check_day(&self) -> Result<()> {
        let Some(field) = self.day.map(|at| &self.partition_key[at]) else { return Ok(()) };
        if day_value(&field.cql, Date::constant(1970, 1, 1)).is_some() {
            return Ok(());
        }
        Err(Error::usage(format!("the day column `{}` is neither a date nor a text nor a timestamp", field.name))
            .hint("name another with `day` in [hot]"))
    }

    /// Ranges are filtered by time on the server, which takes a time that it can compare.
    fn check_time(&self) -> Result<()> {
        if self.day.is_some() || self.time_value(0).is_some() {
            return Ok(());
        }
        let name = &self.time.name;
        Err(Error::usage(format!(
            "the table has no day in its partition key, and its time `{name}` cannot be compared"
        ))
        .hint("the time must be a timestamp, or a bigint with `time_unit`"))
    }

    /// The least value of the time column that is not before a time.
    pub fn time_value(&self, micros: i64) -> Option<CqlValue> {
        let per_unit = match (&self.time.cql, self.time_unit) {
            (CqlType::Native(NativeType::Timestamp), _) => {
                return Some(CqlValue::Timestamp(scylla::value::CqlTimestamp(ceiling(micros, 1_000))));
            }
            (CqlType::Native(NativeType::BigInt), Some(unit)) => unit,
            _ => return None,
        };
        Some(CqlValue::BigInt(match per_unit {
            TimeUnit::Seconds => ceiling(micros, 1_000_000),
            TimeUnit::Millis => ceiling(micros, 1_000),
            TimeUnit::Micros => micros,
            TimeUnit::Nanos => micros.saturating_mul(1_000),
        }))
    }

    pub fn partition(&self, tenant: &str, date: Date) -> Option<Partition> {
        let (day_at, tenant_at) = (self.day?, self.tenant?);
        if self.partition_key.len() != 2 || day_at == tenant_at {
            return None;
        }
        let mut key = vec![values::parse(&self.partition_key[tenant_at].cql, tenant).ok()?];
        key.insert(day_at, day_value(&self.partition_key[day_at].cql, date)?);
        Some(Partition { date, tenant: Some(tenant.to_owned()), key })
    }

    /// The partition of a key as the server tells it.
    pub fn partition_of_key(&self, key: Vec<CqlValue>) -> Result<Partition> {
        let day_at = self.day.expect("only a table with days is read by partition");
        let Some(date) = date_of(&key[day_at]) else {
            let day = values::text(&key[day_at]).unwrap_or_default();
            let name = &self.partition_key[day_at].name;
            return Err(Error::failed(format!(
                "a partition of {} has the {name} {day:?}, which is no date",
                self.name
            ))
            .hint("delete the partition, or name another column with `day` in [hot]"));
        };
        let tenant = self.tenant.and_then(|at| values::text(&key[at]));
        Ok(Partition { date, tenant, key })
    }

    /// For messages: `the partition tenant_id=acme, day=2026-08-24`.
    pub fn describe_partition(&self, partition: &Partition) -> String {
        let names = self.partition_key.iter().zip(&partition.key);
        let parts: Vec<String> =
            names.map(|(field, value)| format!("{}={}", field.name, values::text(value).unwrap_or_default())).collect();
        format!("the partition {}", parts.join(", "))
    }
}

/// As `SELECT *` has them: partition key, clustering key, static columns, others, the latter by name.
fn ordered(described: &Described) -> Vec<Field> {
    let keys = described.partition_key.iter().chain(&described.clustering_key);
    let of_kind = |is_static: bool| {
        let columns = described.columns.iter();
        let wanted = if is_static { ColumnKind::Static } else { ColumnKind::Regular };
        columns.filter(|(_, column)| column.kind == wanted).map(|(name, _)| name).collect::<BTreeSet<_>>()
    };
    let names = keys.chain(of_kind(true)).chain(of_kind(false));
    names.map(|name| Field { name: name.clone(), cql: described.columns[name].typ.clone() }).collect()
}

/// Every name in the settings is a column, and nothing that an event needs is ignored.
fn check_names<'a>(columns: &HotColumns, find: impl Fn(&str) -> Result<&'a Field>) -> Result<()> {
    let mapped = mapped(columns);
    for name in mapped.iter().copied().chain(columns.ignore.iter().map(String::as_str)) {
        find(name)?;
    }
    match columns.ignore.iter().find(|name| mapped.contains(name.as_str())) {
        None => Ok(()),
        Some(name) => Err(Error::usage(format!("column `{name}` is what an event consists of and cannot be ignored"))
            .hint("take it out of `ignore` in [hot]")),
    }
}

/// All but the day, other columns of the partition key that only spread the load, and those to ignore.
fn archived(all: &[Field], partition_key: &[Field], day: Option<&str>, columns: &HotColumns) -> Vec<Field> {
    let mapped = mapped(columns);
    let is_archived = |field: &&Field| {
        let name = field.name.as_str();
        let is_spread = partition_key.contains(field) || day == Some(name);
        mapped.contains(name) || !(is_spread || columns.ignore.iter().any(|ignored| ignored == name))
    };
    all.iter().filter(is_archived).cloned().collect()
}

fn is_id(columns: &HotColumns, field: &Field) -> bool {
    matches!(&columns.mapping.id, IdSource::Columns(names) if names.len() == 1 && names[0] == field.name)
}

/// The columns that make an event.
fn mapped(columns: &HotColumns) -> BTreeSet<&str> {
    let mut names = BTreeSet::from([columns.mapping.time.as_str()]);
    if let IdSource::Columns(ids) = &columns.mapping.id {
        names.extend(ids.iter().map(String::as_str));
    }
    for source in [&columns.mapping.event_type, &columns.mapping.tenant] {
        if let KeySource::Column(name) = source {
            names.insert(name);
        }
    }
    names
}

/// Mapped columns go first, as every row has a value of them.
fn lives(described: &Described, archived: &[Field], columns: &HotColumns) -> Option<String> {
    let mapped = mapped(columns);
    let is_plain = |field: &&Field| {
        let counts = !matches!(field.cql, CqlType::Native(NativeType::Counter));
        let is_native = matches!(field.cql, CqlType::Native(_));
        described.columns[&field.name].kind == ColumnKind::Regular && is_native && counts
    };
    let mut plain: Vec<&Field> = archived.iter().filter(is_plain).collect();
    plain.sort_by_key(|field| !mapped.contains(field.name.as_str()));
    plain.first().map(|field| field.name.clone())
}

pub fn find<'a>(fields: &'a [Field], name: &str, table: &str) -> Result<&'a Field> {
    fields.iter().find(|field| field.name == name).ok_or_else(|| {
        let error = Error::usage(format!("table `{table}` has no column `{name}`"));
        error.hint(nearest(name, fields.iter().map(|field| field.name.as_str())))
    })
}

/// What could have been meant instead, the likeliest first.
pub fn nearest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 8;
    let mut names: Vec<&str> = BTreeSet::from_iter(known).into_iter().collect();
    names.sort_by_key(|name| strsim::damerau_levenshtein(&wanted.to_lowercase(), &name.to_lowercase()));
    let more = if names.len() > SHOWN { ", …" } else { "" };
    names.truncate(SHOWN);
    match names.is_empty() {
        true => "there is none at all".to_owned(),
        false => format!("there is {}{more}", names.join(", ")),
    }
}

pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A day as the day column has it; `None` where its type has no days.
pub fn day_value(cql: &CqlType<'_>, date: Date) -> Option<CqlValue> {
    match cql {
        CqlType::Native(NativeType::Date) => Some(values::date(days_of_date(date))),
        CqlType::Native(NativeType::Text | NativeType::Ascii) => Some(CqlValue::Text(date.to_string())),
        CqlType::Native(NativeType::Timestamp) => {
            let millis = i64::from(days_of_date(date)) * MILLIS_PER_DAY;
            Some(CqlValue::Timestamp(scylla::value::CqlTimestamp(millis)))
        }
        _ => None,
    }
}

/// The inverse; `None` for what [`day_value`] does not make.
fn date_of(value: &CqlValue) -> Option<Date> {
    match value {
        CqlValue::Date(date) => date_of_days(values::days(*date)?),
        CqlValue::Text(text) | CqlValue::Ascii(text) => {
            text.parse::<Date>().ok().filter(|date| date.to_string() == *text)
        }
        CqlValue::Timestamp(time) if time.0 % MILLIS_PER_DAY == 0 => {
            date_of_days(i32::try_from(time.0 / MILLIS_PER_DAY).ok()?)
        }
        _ => None,
    }
}

fn ceiling(value: i64, divisor: i64) -> i64 {
    value.div_euclid(divisor) + i64::from(value.rem_euclid(divisor) > 0)
}
