//! Small archives made through the catalog, from rows that a test can also look at by itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Schema as ArrowSchema};
use jiff::Timestamp;
use jiff::civil::Date;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use tier::catalog::{self, Change, FileAudit, LiveFile, NewFile, Operation, Outcome, Snapshot};
use tier::clock::{Clock, Random};
use tier::context::Context;
use tier::model::{
    ColumnType, DataFile, ExportEntry, ExportStamp, Key, KeyRange, Mapping, Partition, Schema, StorageClass,
    days_of_date,
};
use tier::progress::{Silent, Stop};
use tier::store::{Layout, Store};

/// When the tests take place.
pub const NOW: &str = "2026-11-22T12:00:00Z";

#[derive(Debug, Clone)]
pub struct Row {
    pub date: Date,
    pub tenant_id: String,
    pub event_type: String,
    pub event_id: String,
    /// Microseconds since the epoch.
    pub ts: i64,
    pub user_id: Option<i64>,
    pub amount: Option<f64>,
    pub payload: Option<String>,
    pub ok: Option<bool>,
}

/// A row at a time of day given in seconds; the other columns are null.
pub fn row(date: &str, tenant: &str, event_type: &str, event_id: &str, second: i64) -> Row {
    let date: Date = date.parse().unwrap();
    Row {
        date,
        tenant_id: tenant.to_owned(),
        event_type: event_type.to_owned(),
        event_id: event_id.to_owned(),
        ts: (i64::from(days_of_date(date)) * 86_400 + second) * 1_000_000,
        user_id: None,
        amount: None,
        payload: None,
        ok: None,
    }
}

/// A tenant's file of logins that is in no archive; its first and last time are `number`.
pub fn live_file(tenant: &str, day: Date, number: i64, size_bytes: u64) -> LiveFile {
    let file = DataFile {
        path: format!("events/date={day}/event_type=login/tenant_id={tenant}/{number}.parquet"),
        tenants: KeyRange::one(tenant).to_text(),
        event_types: KeyRange::one("login").to_text(),
        dates: KeyRange::one(day),
        ts: KeyRange::one(number),
        rows: 1,
        size_bytes,
        footer_bytes: 1_000,
        schema_id: 1,
        storage_class: StorageClass::Standard,
        class_since: None,
        pack: None,
    };
    LiveFile { leaf: "leaf".into(), position: 0, file }
}

/// The file as if it had been moved there at `since`.
pub fn in_class(mut live: LiveFile, class: StorageClass, since: &str) -> LiveFile {
    live.file.storage_class = class;
    live.file.class_since = Some(since.parse().unwrap());
    live
}

/// What the ledger says of one export or another.
pub fn ledger_entry(number: u64) -> ExportEntry {
    ExportEntry {
        digest: format!("{number:064x}"),
        mapping: Mapping::default().digest(),
        stamp: ExportStamp { path: format!("/exports/{number}.ndjson"), size_bytes: number, version: "1".into() },
        archived_at: NOW.parse().unwrap(),
        version: 0,
        read: 1,
        accepted: 1,
        duplicate: 0,
        dead_letter: 0,
    }
}

pub fn context(store: Store) -> Context {
    Context {
        store,
        clock: Clock::Fixed(NOW.parse::<Timestamp>().unwrap()),
        random: Arc::new(Random::seeded(7)),
        progress: Arc::new(Silent),
        stop: Stop::default(),
    }
}

/// `event_id`, `ts` and every other column of [`Row`].
pub fn full_schema() -> Schema {
    let mut schema = Schema::default();
    for (name, column_type) in [
        ("userId", ColumnType::BigInt),
        ("amount", ColumnType::Double),
        ("payload", ColumnType::Varchar),
        ("ok", ColumnType::Boolean),
    ] {
        schema.add(name, column_type).unwrap();
    }
    schema
}

/// Writes one file per cell with the columns of `schema`, and commits.
pub async fn append(ctx: &Context, base: Option<&Snapshot>, schema: &Schema, rows: &[Row]) -> Snapshot {
    let layout = layout(ctx, base);
    let mut cells: BTreeMap<Partition, Vec<Row>> = BTreeMap::new();
    for row in rows {
        cells.entry(cell(row.date, &row.tenant_id, &row.event_type)).or_default().push(row.clone());
    }
    let mut files = Vec::new();
    for (number, (cell, mut rows)) in cells.into_iter().enumerate() {
        rows.sort_by(|a, b| (a.ts, &a.event_id).cmp(&(b.ts, &b.event_id)));
        let bytes = parquet(schema, &rows);
        let path = layout.data_file(&cell, number);
        let footer = u32::from_le_bytes(bytes[bytes.len() - 8..bytes.len() - 4].try_into().unwrap()) + 8;
        let ts = KeyRange { min: rows[0].ts, max: rows[rows.len() - 1].ts };
        files.push(new_file(path, &cell, ts, rows.len() as u64, bytes.len() as u64, footer));
        ctx.store.put(&files[number].file.path, bytes).await.unwrap();
    }
    commit(ctx, base, &layout, schema, files).await
}

pub fn layout(ctx: &Context, base: Option<&Snapshot>) -> Layout {
    Layout::for_run(base.map_or(0, Snapshot::version), &ctx.random.id())
}

pub async fn commit(
    ctx: &Context,
    base: Option<&Snapshot>,
    layout: &Layout,
    schema: &Schema,
    files: Vec<NewFile>,
) -> Snapshot {
    let mut change = Change::new(Operation::new("append", base.map_or(0, Snapshot::version)));
    change.add = files;
    change.schema = Some(schema.clone());
    match catalog::commit(ctx, base, layout, change).await.unwrap() {
        Outcome::Committed(snapshot) => snapshot,
        Outcome::Conflict(why) => panic!("nobody else commits here, but: {why}"),
    }
}

pub fn cell(date: Date, tenant: &str, event_type: &str) -> Partition {
    Partition { tenant_id: Key::parse(tenant).unwrap(), event_type: Key::parse(event_type).unwrap(), date }
}

/// What the catalog knows of a cell's file, whether or not there is one.
pub fn new_file(path: String, cell: &Partition, ts: KeyRange<i64>, rows: u64, size_bytes: u64, footer: u32) -> NewFile {
    let file = DataFile {
        path,
        tenants: KeyRange::one(cell.tenant_id.as_str()).to_text(),
        event_types: KeyRange::one(cell.event_type.as_str()).to_text(),
        dates: KeyRange::one(cell.date),
        ts,
        rows,
        size_bytes,
        footer_bytes: footer,
        schema_id: 1,
        storage_class: StorageClass::Standard,
        class_since: None,
        pack: None,
    };
    NewFile {
        file,
        audit: FileAudit { sha256: String::new(), min_event_id: String::new(), max_event_id: String::new() },
    }
}

pub fn parquet(schema: &Schema, rows: &[Row]) -> Vec<u8> {
    let columns: Vec<ArrayRef> = schema.columns().iter().map(|column| array(&column.name, rows)).collect();
    let batch = RecordBatch::try_new(schema.arrow(), columns).unwrap();
    let properties = WriterProperties::builder()
        .set_column_bloom_filter_enabled(ColumnPath::from("event_id"), true)
        .set_max_row_group_row_count(Some(1000))
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

pub fn array(column: &str, rows: &[Row]) -> ArrayRef {
    match column {
        "date" => Arc::new(Date32Array::from_iter_values(rows.iter().map(|row| days_of_date(row.date)))),
        "tenant_id" => Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.tenant_id))),
        "event_type" => Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.event_type))),
        "event_id" => Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.event_id))),
        "ts" => {
            Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.ts)).with_timezone("UTC"))
        }
        "userId" => Arc::new(rows.iter().map(|row| row.user_id).collect::<Int64Array>()),
        "amount" => Arc::new(rows.iter().map(|row| row.amount).collect::<Float64Array>()),
        "payload" => Arc::new(rows.iter().map(|row| row.payload.as_deref()).collect::<StringArray>()),
        "ok" => Arc::new(rows.iter().map(|row| row.ok).collect::<BooleanArray>()),
        other => panic!("rows have no column {other}"),
    }
}

/// The same rows as one batch, keys included: what a full scan of the archive must equal.
pub fn whole_batch(schema: &Schema, rows: &[Row]) -> RecordBatch {
    let names = ["date", "tenant_id", "event_type"].into_iter();
    let names: Vec<&str> = names.chain(schema.columns().iter().map(|column| column.name.as_str())).collect();
    let columns: Vec<ArrayRef> = names.iter().map(|name| array(name, rows)).collect();
    let fields = names.iter().zip(&columns).map(|(name, column)| Field::new(*name, column.data_type().clone(), true));
    RecordBatch::try_new(Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>())), columns).unwrap()
}
