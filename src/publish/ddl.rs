//! Statements with which another engine reads the tree below `events/` as a table with typed partition columns.
//!
//! A tree is not a table: it may hold files of a killed run, and it lacks what was moved into bundles. `tier verify
//! --tree` says whether a direct read is exact.

use std::collections::BTreeSet;
use std::fmt::Write;

use jiff::civil::Date;

use crate::catalog::Snapshot;
use crate::error::{Error, Result};
use crate::model::{ColumnType, FileView, Schema, folder_value};
use crate::store::{Layout, Location};
/// Athena's limit of a table property, <https://docs.aws.amazon.com/athena/latest/ug/partition-projection-supported-types.html>:
/// metadata of all of them together is 1 MB; more values than this are not worth enumerating either.
const ENUM_VALUES: usize = 1_000;

/// Who will run the statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Athena,
    Trino,
    Hive,
    Spark,
    DuckDb,
    ClickHouse,
    Polars,
}

/// What the statements are made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// The table's name.
    pub table: String,
    pub location: Location,
    pub schema: Schema,
    pub first_date: Option<Date>,
    /// Of files below `events/`, as they stand in folder names.
    pub event_types: BTreeSet<String>,
    pub tenants: BTreeSet<String>,
    /// Rows that are not below `events/`.
    pub bundled_rows: u64,
}

/// How Athena knows the values of `tenant_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tenants {
    /// Every query must name the tenant.
    Injected,
    /// All there are now.
    Enumerated,
}

/// Reads every leaf for the names of types and tenants.
pub async fn tree(snapshot: &Snapshot, table: String) -> Result<Tree> {
    let mut tree = Tree {
        table,
        location: snapshot.store().location().clone(),
        schema: snapshot.schema().clone(),
        first_date: None,
        event_types: BTreeSet::new(),
        tenants: BTreeSet::new(),
        bundled_rows: 0,
    };
    let (mut event_types, mut tenants) = (BTreeSet::new(), BTreeSet::new());
    let look = |file: &FileView<'_>| {
        if file.is_bundle() {
            tree.bundled_rows += file.rows;
            return Ok(());
        }
        tree.first_date = Some(tree.first_date.map_or(file.dates.min, |first| first.min(file.dates.min)));
        let keys = file.event_types.single().zip(file.tenants.single());
        let (event_type, tenant) =
            keys.ok_or_else(|| Error::failed(format!("{} is no bundle and holds several cells", file.path())))?;
        for (seen, key) in [(&mut event_types, *event_type), (&mut tenants, *tenant)] {
            if !seen.contains(key) {
                seen.insert(key.to_owned());
            }
        }
        Ok(())
    };
    snapshot.each_file(|_| true, look).await?;
    let in_folders = |keys: BTreeSet<String>| keys.iter().map(|key| folder_value(key)).collect();
    (tree.event_types, tree.tenants) = (in_folders(event_types), in_folders(tenants));
    Ok(tree)
}

/// The statements, ready to run.
pub fn statements(engine: Engine, tree: &Tree, tenants: Tenants) -> Result<String> {
    let needs_s3 = matches!(engine, Engine::Athena).then_some("Athena");
    if let (Some(name), Location::Local(_) | Location::Memory) = (needs_s3, &tree.location) {
        return Err(Error::usage(format!("{name} reads S3 only, and this archive is {}", tree.location)));
    }
    let mut text = preamble(engine, tree);
    match engine {
        Engine::Athena => athena(tree, tenants, &mut text),
        Engine::Trino => trino(tree, &mut text),
        Engine::Hive => hive(tree, &mut text),
        Engine::Spark => spark(tree, &mut text),
        Engine::DuckDb => duckdb(tree, &mut text),
        Engine::ClickHouse => clickhouse(tree, &mut text),
        Engine::Polars => polars(tree, &mut text),
    }
    Ok(text)
}

fn preamble(engine: Engine, tree: &Tree) -> String {
    let mark = if engine == Engine::Polars { "#" } else { "--" };
    let mut text = format!("{mark} Exact while `tier verify --tree` says so; `tier query` always is.\n");
    if tree.bundled_rows > 0 {
        put(&mut text, format!("{mark} {} rows lie in bundles and are not in it.\n", tree.bundled_rows));
    }
    text
}

fn put(text: &mut String, more: impl AsRef<str>) {
    text.push_str(more.as_ref());
}

/// `events/` in the scheme that an engine wants for S3.
fn folder(tree: &Tree, s3_scheme: &str) -> String {
    match &tree.location {
        Location::S3 { bucket, prefix } if prefix.is_empty() => format!("{s3_scheme}://{bucket}/{}", Layout::EVENTS),
        Location::S3 { bucket, prefix } => format!("{s3_scheme}://{bucket}/{prefix}/{}", Layout::EVENTS),
        Location::Local(root) => format!("{}/{}", root.display(), Layout::EVENTS),
        Location::Memory => Layout::EVENTS.to_owned(),
    }
}

/// As [`folder`], of a local one as a URL.
fn folder_url(tree: &Tree, s3_scheme: &str) -> String {
    let folder = folder(tree, s3_scheme);
    if folder.starts_with('/') { format!("file://{folder}") } else { folder }
}

/// A literal in SQL.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A name in backticks.
fn ticked(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A name in double quotes.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `name type` lines, the last without a comma.
fn columns<'a>(columns: impl IntoIterator<Item = (String, &'a str)>) -> String {
    let lines: Vec<String> = columns.into_iter().map(|(name, of)| format!("  {name} {of}")).collect();
    lines.join(",\n")
}

fn hive_type(of: ColumnType) -> &'static str {
    match of {
        ColumnType::Boolean => "boolean",
        ColumnType::BigInt => "bigint",
        ColumnType::Double => "double",
        ColumnType::Varchar => "string",
        ColumnType::Timestamp => "timestamp",
    }
}

/// The part that Athena and Hive share.
fn external_table(tree: &Tree, text: &mut String, s3_scheme: &str) {
    let all = tree.schema.columns().iter().map(|column| (ticked(&column.name), hive_type(column.column_type)));
    let _ = write!(
        text,
        "CREATE EXTERNAL TABLE {} (\n{}\n)\nPARTITIONED BY (`date` date, `event_type` string, `tenant_id` string)\n\
         STORED AS PARQUET\nLOCATION {}\n",
        ticked(&tree.table),
        columns(all),
        literal(&format!("{}/", folder_url(tree, s3_scheme))),
    );
}

/// Partition projection: the table is complete without a crawler, and new dates need no statement.
fn athena(tree: &Tree, tenants: Tenants, text: &mut String) {
    let can_enumerate = |values: &BTreeSet<String>| {
        !values.is_empty() && values.len() <= ENUM_VALUES && !values.iter().any(|v| v.contains(','))
    };
    let of_types = can_enumerate(&tree.event_types);
    let of_tenants = tenants == Tenants::Enumerated && can_enumerate(&tree.tenants);
    if !of_types {
        put(text, "-- Every query must say event_type = '…'.\n");
    }
    if !of_tenants {
        put(text, "-- Every query must say tenant_id = '…'.\n");
    }
    if tree.event_types.iter().chain(&tree.tenants).any(|value| value.contains('%')) {
        put(text, "-- Values are those of the folder names: what is percent-encoded there is so in a query too.\n");
    }
    external_table(tree, text, "s3");
    let first = tree.first_date.map_or_else(|| "1970-01-01".to_owned(), |date| date.to_string());
    let mut properties = vec![
        ("projection.enabled".to_owned(), "true".to_owned()),
        ("projection.date.type".to_owned(), "date".to_owned()),
        ("projection.date.format".to_owned(), "yyyy-MM-dd".to_owned()),
        ("projection.date.range".to_owned(), format!("{first},NOW+1DAYS")),
        ("projection.date.interval".to_owned(), "1".to_owned()),
        ("projection.date.interval.unit".to_owned(), "DAYS".to_owned()),
    ];
    for (key, is_enumerated, values) in
        [("event_type", of_types, &tree.event_types), ("tenant_id", of_tenants, &tree.tenants)]
    {
        let kind = if is_enumerated { "enum" } else { "injected" };
        properties.push((format!("projection.{key}.type"), kind.to_owned()));
        if is_enumerated {
            let values = values.iter().map(String::as_str).collect::<Vec<_>>().join(",");
            properties.push((format!("projection.{key}.values"), values));
        }
    }
    let template =
        format!("{}/date=${{date}}/event_type=${{event_type}}/tenant_id=${{tenant_id}}/", folder_url(tree, "s3"));
    properties.push(("storage.location.template".to_owned(), template));
    let lines: Vec<String> =
        properties.iter().map(|(name, value)| format!("  {} = {}", literal(name), literal(value))).collect();
    let _ = write!(text, "TBLPROPERTIES (\n{}\n);\n", lines.join(",\n"));
}

fn hive(tree: &Tree, text: &mut String) {
    external_table(tree, text, "s3a");
    let _ = write!(text, ";\n-- Again after new dates:\nMSCK REPAIR TABLE {};\n", ticked(&tree.table));
    *text = text.replace("/'\n;\n", "/';\n");
}

fn trino(tree: &Tree, text: &mut String) {
    let of = |of| match of {
        ColumnType::Boolean => "boolean",
        ColumnType::BigInt => "bigint",
        ColumnType::Double => "double",
        ColumnType::Varchar => "varchar",
        ColumnType::Timestamp => "timestamp(6)",
    };
    let all = tree.schema.columns().iter().map(|column| (quoted(&column.name), of(column.column_type)));
    let keys = [("date", "date"), ("event_type", "varchar"), ("tenant_id", "varchar")];
    let keys = keys.map(|(name, of)| (quoted(name), of));
    let _ = write!(
        text,
        "-- In a catalog `hive` of the Hive connector and its schema `default`.\n\
         SET SESSION hive.timestamp_precision = 'MICROSECONDS';\n\
         CREATE TABLE hive.\"default\".{0} (\n{1}\n)\nWITH (\n  format = 'PARQUET',\n  external_location = {2},\n  \
         partitioned_by = ARRAY['date', 'event_type', 'tenant_id']\n);\n-- Again after new dates:\n\
         CALL hive.system.sync_partition_metadata('default', {3}, 'FULL');\n",
        quoted(&tree.table),
        columns(all.chain(keys)),
        literal(&folder_url(tree, "s3")),
        literal(&tree.table),
    );
}

fn spark(tree: &Tree, text: &mut String) {
    let all = tree.schema.columns().iter().map(|column| (ticked(&column.name), hive_type(column.column_type)));
    let keys = [("date", "date"), ("event_type", "string"), ("tenant_id", "string")];
    let keys = keys.map(|(name, of)| (ticked(name), of));
    let _ = write!(
        text,
        "CREATE TABLE {0} (\n{1}\n)\nUSING PARQUET\nPARTITIONED BY (`date`, `event_type`, `tenant_id`)\nLOCATION {2};\n\
         -- Again after new dates:\nMSCK REPAIR TABLE {0};\n",
        ticked(&tree.table),
        columns(all.chain(keys)),
        literal(&folder_url(tree, "s3a")),
    );
}

/// The empty first part gives the columns their types and order, and those that no file has.
fn duckdb(tree: &Tree, text: &mut String) {
    if matches!(tree.location, Location::S3 { .. }) {
        put(text, "INSTALL httpfs;\nLOAD httpfs;\nCREATE SECRET IF NOT EXISTS (TYPE s3, PROVIDER credential_chain);\n");
    }
    let of = |of| match of {
        ColumnType::Timestamp => "TIMESTAMPTZ",
        other => other.as_str(),
    };
    let all = tree.schema.columns().iter().map(|column| (column.name.as_str(), of(column.column_type)));
    let keys = [("date", "DATE"), ("event_type", "VARCHAR"), ("tenant_id", "VARCHAR")];
    let nulls: Vec<String> = all.chain(keys).map(|(name, of)| format!("  NULL::{of} AS {}", quoted(name))).collect();
    let _ = write!(
        text,
        "CREATE OR REPLACE VIEW {} AS\nSELECT\n{}\nWHERE false\nUNION ALL BY NAME\nFROM read_parquet(\n  {},\n  \
         hive_partitioning = true,\n  hive_types = {{'date': DATE, 'event_type': VARCHAR, 'tenant_id': VARCHAR}},\n  \
         union_by_name = true\n);\n",
        quoted(&tree.table),
        nulls.join(",\n"),
        literal(&format!("{}/**/*.parquet", folder(tree, "s3"))),
    );
}

/// The keys come from the path: a condition on them opens only the files of matching folders, in every release.
fn clickhouse(tree: &Tree, text: &mut String) {
    let of = |name: &str, of| match (name, of) {
        ("event_id", _) => "String",
        ("ts", _) => "DateTime64(6, 'UTC')",
        (_, ColumnType::Boolean) => "Nullable(Bool)",
        (_, ColumnType::BigInt) => "Nullable(Int64)",
        (_, ColumnType::Double) => "Nullable(Float64)",
        (_, ColumnType::Varchar) => "Nullable(String)",
        (_, ColumnType::Timestamp) => "Nullable(DateTime64(6, 'UTC'))",
    };
    let all: Vec<String> = tree
        .schema
        .columns()
        .iter()
        .map(|column| format!("{} {}", ticked(&column.name), of(&column.name, column.column_type)))
        .collect();
    let function = if matches!(tree.location, Location::S3 { .. }) { "s3" } else { "file" };
    let _ = write!(
        text,
        "CREATE OR REPLACE VIEW {} AS\nSELECT\n  *,\n  toDate(extract(_path, '/date=([^/]+)/')) AS `date`,\n  \
         decodeURLComponent(extract(_path, '/event_type=([^/]+)/')) AS `event_type`,\n  \
         decodeURLComponent(extract(_path, '/tenant_id=([^/]+)/')) AS `tenant_id`\nFROM {function}(\n  {},\n  'Parquet',\n  \
         {}\n)\nSETTINGS input_format_parquet_allow_missing_columns = 1;\n",
        ticked(&tree.table),
        literal(&format!("{}/**/*.parquet", folder(tree, "s3"))),
        literal(&all.join(", ")),
    );
}

fn polars(tree: &Tree, text: &mut String) {
    let of = |of| match of {
        ColumnType::Boolean => "pl.Boolean",
        ColumnType::BigInt => "pl.Int64",
        ColumnType::Double => "pl.Float64",
        ColumnType::Varchar => "pl.String",
        ColumnType::Timestamp => "pl.Datetime(\"us\", \"UTC\")",
    };
    // JSON's escapes are Python's too.
    let python = |value: &str| serde_json::Value::from(value).to_string();
    let all: Vec<String> = tree
        .schema
        .columns()
        .iter()
        .map(|column| format!("    {}: {},\n", python(&column.name), of(column.column_type)))
        .collect();
    let _ = write!(
        text,
        "import polars as pl\n\n{} = pl.scan_parquet(\n    {},\n    schema={{\n    {}    }},\n    hive_partitioning=True,\n    \
         hive_schema={{\"date\": pl.Date, \"event_type\": pl.String, \"tenant_id\": pl.String}},\n    \
         missing_columns=\"insert\",\n    extra_columns=\"ignore\",\n)\n",
        tree.table,
        python(&format!("{}/**/*.parquet", folder(tree, "s3"))),
        all.join("    "),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(location: &str) -> Tree {
        let mut schema = Schema::default();
        schema.add("userId", ColumnType::BigInt).unwrap();
        schema.add("it's \"odd\"", ColumnType::Varchar).unwrap();
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Tree {
            table: "events".to_owned(),
            location: location.parse().unwrap(),
            schema,
            first_date: Some(Date::constant(2026, 8, 24)),
            event_types: names(&["click", "login"]),
            tenants: names(&["acme", "a%3Ab"]),
            bundled_rows: 12,
        }
    }

    fn written(engine: Engine, location: &str, tenants: Tenants) -> String {
        statements(engine, &tree(location), tenants).unwrap()
    }

    #[test]
    fn athena_knows_its_partitions_without_a_crawler() {
        let expected = r#"-- Exact while `tier verify --tree` says so; `tier query` always is.
-- 12 rows lie in bundles and are not in it.
-- Every query must say tenant_id = '…'.
-- Values are those of the folder names: what is percent-encoded there is so in a query too.
CREATE EXTERNAL TABLE `events` (
  `event_id` string,
  `ts` timestamp,
  `userId` bigint,
  `it's "odd"` string
)
PARTITIONED BY (`date` date, `event_type` string, `tenant_id` string)
STORED AS PARQUET
LOCATION 's3://bucket/prod/events/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.date.type' = 'date',
  'projection.date.format' = 'yyyy-MM-dd',
  'projection.date.range' = '2026-08-24,NOW+1DAYS',
  'projection.date.interval' = '1',
  'projection.date.interval.unit' = 'DAYS',
  'projection.event_type.type' = 'enum',
  'projection.event_type.values' = 'click,login',
  'projection.tenant_id.type' = 'injected',
  'storage.location.template' = 's3://bucket/prod/events/date=${date}/event_type=${event_type}/tenant_id=${tenant_id}/'
);
"#;
        assert_eq!(written(Engine::Athena, "s3://bucket/prod", Tenants::Injected), expected);
        let enumerated = written(Engine::Athena, "s3://bucket/prod", Tenants::Enumerated);
        assert!(enumerated.contains("'projection.tenant_id.values' = 'a%3Ab,acme'"), "{enumerated}");
        assert!(statements(Engine::Athena, &tree("/data"), Tenants::Injected).is_err());
        let mut odd = tree("s3://bucket");
        odd.event_types.insert("a,b".to_owned());
        let odd = statements(Engine::Athena, &odd, Tenants::Injected).unwrap();
        assert!(odd.contains("'projection.event_type.type' = 'injected'"), "a comma would be two values: {odd}");
    }

    #[test]
    fn trino_gets_a_table_of_its_hive_connector() {
        let expected = r#"-- Exact while `tier verify --tree` says so; `tier query` always is.
-- 12 rows lie in bundles and are not in it.
-- In a catalog `hive` of the Hive connector and its schema `default`.
SET SESSION hive.timestamp_precision = 'MICROSECONDS';
CREATE TABLE hive."default"."events" (
  "event_id" varchar,
  "ts" timestamp(6),
  "userId" bigint,
  "it's ""odd""" varchar,
  "date" date,
  "event_type" varchar,
  "tenant_id" varchar
)
WITH (
  format = 'PARQUET',
  external_location = 's3://bucket/prod/events',
  partitioned_by = ARRAY['date', 'event_type', 'tenant_id']
);
-- Again after new dates:
CALL hive.system.sync_partition_metadata('default', 'events', 'FULL');
"#;
        assert_eq!(written(Engine::Trino, "s3://bucket/prod", Tenants::Injected), expected);
    }

    #[test]
    fn spark_and_hive_repair_their_partitions() {
        let spark = written(Engine::Spark, "s3://bucket/prod", Tenants::Injected);
        let end = "  `tenant_id` string\n)\nUSING PARQUET\nPARTITIONED BY (`date`, `event_type`, `tenant_id`)\n\
                   LOCATION 's3a://bucket/prod/events';\n-- Again after new dates:\nMSCK REPAIR TABLE `events`;\n";
        assert!(spark.ends_with(end), "{spark}");
        let hive = written(Engine::Hive, "/data", Tenants::Injected);
        let end = "STORED AS PARQUET\nLOCATION 'file:///data/events/';\n-- Again after new dates:\n\
                   MSCK REPAIR TABLE `events`;\n";
        assert!(hive.ends_with(end), "{hive}");
    }

    #[test]
    fn duckdb_gets_a_view_with_every_column_of_the_archive() {
        let expected = r#"-- Exact while `tier verify --tree` says so; `tier query` always is.
-- 12 rows lie in bundles and are not in it.
INSTALL httpfs;
LOAD httpfs;
CREATE SECRET IF NOT EXISTS (TYPE s3, PROVIDER credential_chain);
CREATE OR REPLACE VIEW "events" AS
SELECT
  NULL::VARCHAR AS "event_id",
  NULL::TIMESTAMPTZ AS "ts",
  NULL::BIGINT AS "userId",
  NULL::VARCHAR AS "it's ""odd""",
  NULL::DATE AS "date",
  NULL::VARCHAR AS "event_type",
  NULL::VARCHAR AS "tenant_id"
WHERE false
UNION ALL BY NAME
FROM read_parquet(
  's3://bucket/events/**/*.parquet',
  hive_partitioning = true,
  hive_types = {'date': DATE, 'event_type': VARCHAR, 'tenant_id': VARCHAR},
  union_by_name = true
);
"#;
        assert_eq!(written(Engine::DuckDb, "s3://bucket", Tenants::Injected), expected);
    }

    #[test]
    fn clickhouse_takes_the_keys_from_the_path() {
        let expected = r#"-- Exact while `tier verify --tree` says so; `tier query` always is.
-- 12 rows lie in bundles and are not in it.
CREATE OR REPLACE VIEW `events` AS
SELECT
  *,
  toDate(extract(_path, '/date=([^/]+)/')) AS `date`,
  decodeURLComponent(extract(_path, '/event_type=([^/]+)/')) AS `event_type`,
  decodeURLComponent(extract(_path, '/tenant_id=([^/]+)/')) AS `tenant_id`
FROM s3(
  's3://bucket/prod/events/**/*.parquet',
  'Parquet',
  '`event_id` String, `ts` DateTime64(6, ''UTC''), `userId` Nullable(Int64), `it''s "odd"` Nullable(String)'
)
SETTINGS input_format_parquet_allow_missing_columns = 1;
"#;
        assert_eq!(written(Engine::ClickHouse, "s3://bucket/prod", Tenants::Injected), expected);
    }

    #[test]
    fn polars_gets_its_schema_in_python() {
        let expected = r#"# Exact while `tier verify --tree` says so; `tier query` always is.
# 12 rows lie in bundles and are not in it.
import polars as pl

events = pl.scan_parquet(
    "/data/events/**/*.parquet",
    schema={
        "event_id": pl.String,
        "ts": pl.Datetime("us", "UTC"),
        "userId": pl.Int64,
        "it's \"odd\"": pl.String,
    },
    hive_partitioning=True,
    hive_schema={"date": pl.Date, "event_type": pl.String, "tenant_id": pl.String},
    missing_columns="insert",
    extra_columns="ignore",
)
"#;
        assert_eq!(written(Engine::Polars, "/data", Tenants::Injected), expected);
    }
}
