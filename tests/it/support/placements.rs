//! The same rows in other places: cells' files, or bundles, in any class.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use bytes::Bytes;
use jiff::civil::{Date, date};
use jiff::{SignedDuration, ToSpan};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::properties::WriterProperties;
use tier::catalog::{FileAudit, NewFile, Snapshot};
use tier::clock::Clock;
use tier::context::Context;
use tier::data::pack::{CellRows, PackBuilder, Packed};
use tier::model::{DataFile, KeyRange, Partition, Retrieval, Schema, StorageClass};
use tier::store::ClassTime;

use super::dice::Dice;
use super::events::{Row, array, cell, commit, layout, new_file, parquet as cell_parquet, row};
use super::temp_file;

/// Two months, eight tenants, two types.
pub fn two_months() -> Vec<Row> {
    let mut random = Dice(3);
    (0..400)
        .map(|n| {
            let day = date(2026, 8, 1) + [0, 1, 2, 29, 30, 31, 32][random.below(7) as usize].days();
            let tenant = format!("t{:02}", random.below(8));
            let event_type = random.pick(&["click", "a b"]);
            let row = row(&day.to_string(), &tenant, event_type, &format!("e{n:03}"), random.below(86_400) as i64);
            Row {
                user_id: (random.below(3) > 0).then(|| random.below(5) as i64),
                amount: (random.below(4) > 0).then(|| random.below(100) as f64 / 4.0),
                payload: (random.below(2) > 0).then(|| format!(r#"{{"ip":"10.0.0.{}"}}"#, random.below(4))),
                ok: (random.below(3) > 0).then(|| random.below(2) == 0),
                ..row
            }
        })
        .collect()
}

/// How bundles are made.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub tenants_per_bundle: usize,
    /// A row group ends with the tenant that fills it.
    pub row_group_rows: usize,
    pub page_rows: usize,
    pub class: StorageClass,
}

impl Default for Shape {
    fn default() -> Self {
        Shape { tenants_per_bundle: 20, row_group_rows: 1000, page_rows: 200, class: StorageClass::Standard }
    }
}

/// Writes a bundle for each month and group of tenants, and commits.
pub async fn append_bundles(
    ctx: &Context,
    base: Option<&Snapshot>,
    schema: &Schema,
    rows: &[Row],
    shape: Shape,
) -> Snapshot {
    let layout = layout(ctx, base);
    let mut tenants: Vec<&str> = rows.iter().map(|row| row.tenant_id.as_str()).collect();
    tenants.sort_unstable();
    tenants.dedup();
    let bucket = |tenant: &str| tenants.binary_search(&tenant).unwrap() / shape.tenants_per_bundle;
    let mut bundles: BTreeMap<(Date, usize), Vec<Row>> = BTreeMap::new();
    for row in rows {
        bundles.entry((row.date.first_of_month(), bucket(&row.tenant_id))).or_default().push(row.clone());
    }
    let mut pack = PackBuilder::new(layout.pack(0));
    let mut files = Vec::new();
    for (number, ((month, bucket), mut rows)) in bundles.into_iter().enumerate() {
        rows.sort_by(|a, b| order(a).cmp(&order(b)));
        files.push(write(ctx, &mut pack, schema, &rows, shape, layout.bundle(month, bucket, number)).await);
    }
    pack.write(&ctx.store).await.unwrap();
    commit(ctx, base, &layout, schema, files).await
}

/// Writes one file per cell in a class, its footer in a pack: cells that were moved where they lie.
pub async fn append_cells(
    ctx: &Context,
    base: Option<&Snapshot>,
    schema: &Schema,
    rows: &[Row],
    class: StorageClass,
) -> Snapshot {
    let layout = layout(ctx, base);
    let mut cells: BTreeMap<Partition, Vec<Row>> = BTreeMap::new();
    for row in rows {
        cells.entry(cell(row.date, &row.tenant_id, &row.event_type)).or_default().push(row.clone());
    }
    let mut pack = PackBuilder::new(layout.pack(0));
    let mut files = Vec::new();
    for (number, (cell, mut rows)) in cells.into_iter().enumerate() {
        rows.sort_by(|a, b| (a.ts, &a.event_id).cmp(&(b.ts, &b.event_id)));
        let bytes = Bytes::from(cell_parquet(schema, &rows));
        let footer_bytes = footer_bytes(&bytes);
        let ts = KeyRange { min: rows[0].ts, max: rows[rows.len() - 1].ts };
        let path = layout.data_file(&cell, number);
        let mut new = new_file(path, &cell, ts, rows.len() as u64, bytes.len() as u64, footer_bytes as u32);
        let footer = bytes.slice(bytes.len() - footer_bytes..);
        new.file.pack = Some(pack.add(&Packed { cells: Vec::new(), footer, replaces: Vec::new() }).unwrap());
        new.file.storage_class = class;
        new.file.class_since = Some(ctx.now());
        put(ctx, &new.file.path, bytes, class).await;
        files.push(new);
    }
    pack.write(&ctx.store).await.unwrap();
    commit(ctx, base, &layout, schema, files).await
}

/// Makes every archived object readable for a week; the context must be a day later for that.
pub async fn restore_all(ctx: &Context) {
    for folder in ["_bundles", "events"] {
        for state in ctx.store.classes().list(folder).await.unwrap() {
            if state.storage_class.is_archived() {
                ctx.store.classes().restore(&state.path, 7, Retrieval::Standard).await.unwrap();
            }
        }
    }
}

/// The same archive, so many hours later.
pub fn later(ctx: &Context, hours: i64) -> Context {
    let clock = Clock::Fixed(ctx.now() + SignedDuration::from_hours(hours));
    Context { clock, store: ctx.store.at(ClassTime { clock, speed: 1.0 }), ..ctx.clone() }
}

async fn put(ctx: &Context, path: &str, bytes: Bytes, class: StorageClass) {
    if class == StorageClass::Standard {
        return ctx.store.put(path, bytes).await.unwrap();
    }
    ctx.store.classes().put_file(path, &temp_file(bytes), class, &[]).await.unwrap();
}

fn order(row: &Row) -> (&str, &str, Date, i64, &str) {
    (&row.tenant_id, &row.event_type, row.date, row.ts, &row.event_id)
}

async fn write(
    ctx: &Context,
    pack: &mut PackBuilder,
    schema: &Schema,
    rows: &[Row],
    shape: Shape,
    path: String,
) -> NewFile {
    let bytes = parquet(schema, rows, shape);
    let footer_bytes = footer_bytes(&bytes);
    let footer = bytes.slice(bytes.len() - footer_bytes..);
    let cells = cells(rows);
    let pack = pack.add(&Packed { cells: cells.clone(), footer, replaces: Vec::new() }).unwrap();
    let file = DataFile {
        path,
        tenants: range(rows.iter().map(|row| row.tenant_id.as_str())).to_text(),
        event_types: range(rows.iter().map(|row| row.event_type.as_str())).to_text(),
        dates: range(rows.iter().map(|row| row.date)),
        ts: range(rows.iter().map(|row| row.ts)),
        rows: rows.len() as u64,
        size_bytes: bytes.len() as u64,
        footer_bytes: footer_bytes as u32,
        schema_id: 1,
        storage_class: shape.class,
        class_since: (shape.class != StorageClass::Standard).then(|| ctx.now()),
        pack: Some(pack),
    };
    put(ctx, &file.path, bytes, shape.class).await;
    NewFile {
        file,
        audit: FileAudit { sha256: String::new(), min_event_id: String::new(), max_event_id: String::new() },
    }
}

fn range<T: Ord + Clone>(values: impl Iterator<Item = T> + Clone) -> KeyRange<T> {
    KeyRange { min: values.clone().min().unwrap(), max: values.max().unwrap() }
}

fn cells(rows: &[Row]) -> Vec<CellRows> {
    let mut cells: Vec<CellRows> = Vec::new();
    for (position, row) in rows.iter().enumerate() {
        let cell = cell(row.date, &row.tenant_id, &row.event_type);
        match cells.last_mut().filter(|last| last.cell == cell) {
            Some(last) => {
                last.rows += 1;
                last.ts.max = row.ts;
            }
            None => cells.push(CellRows { cell, first_row: position as u64, rows: 1, ts: KeyRange::one(row.ts) }),
        }
    }
    cells
}

fn parquet(schema: &Schema, rows: &[Row], shape: Shape) -> Bytes {
    let keys = [("date", DataType::Date32), ("tenant_id", DataType::Utf8), ("event_type", DataType::Utf8)];
    let mut fields: Vec<Arc<Field>> =
        keys.iter().map(|(name, data_type)| Arc::new(Field::new(*name, data_type.clone(), false))).collect();
    fields.extend(schema.arrow().fields().iter().cloned());
    let fields = Arc::new(ArrowSchema::new(fields));
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(usize::MAX))
        // Whoever reads one page of a column reads its dictionary too.
        .set_dictionary_page_size_limit(64 << 10)
        .set_data_page_row_count_limit(shape.page_rows)
        .set_write_batch_size(shape.page_rows)
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, fields.clone(), Some(properties)).unwrap();
    for tenant in rows.chunk_by(|a, b| a.tenant_id == b.tenant_id) {
        let columns: Vec<ArrayRef> = fields.fields().iter().map(|field| array(field.name(), tenant)).collect();
        writer.write(&RecordBatch::try_new(fields.clone(), columns).unwrap()).unwrap();
        if writer.in_progress_rows() >= shape.row_group_rows {
            writer.flush().unwrap();
        }
    }
    writer.close().unwrap();
    bytes.into()
}

/// From the page index to the end.
fn footer_bytes(bytes: &Bytes) -> usize {
    let mut reader = ParquetMetaDataReader::new();
    reader.try_parse(bytes).unwrap();
    let metadata: ParquetMetaData = reader.finish().unwrap();
    let columns = metadata.row_groups().iter().flat_map(|group| group.columns());
    let index = columns.flat_map(|c| [c.column_index_offset(), c.offset_index_offset()]).flatten().min().unwrap();
    bytes.len() - index as usize
}
