//! What a listed object is, by its path, its footer and its pack.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, TimestampMicrosecondType};
use jiff::Timestamp;
use jiff::civil::Date;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::ParquetMetaData;
use tokio::runtime::Handle;

use super::choose::NameDigest;
use super::packs::{MonthParts, read_parts};
use super::report::{ProblemKind, words};
use crate::catalog::{Covered, FileAudit};
use crate::context::Context as Ctx;
use crate::data::footer;
use crate::data::footer_facts::{FooterFacts, IdRange};
use crate::data::pack::CellRows;
use crate::data::pack_parts::Part;
use crate::data::range_reader::RangeReader;
use crate::error::{Context, Error, Kind, Result};
use crate::model::{
    Column, DataFile, Key, KeyRange, ObjectState, PackRef, Partition, StorageClass, date_of_days, short_digest,
};
use crate::store::Layout;

/// What is read of a file's end at first; most footers are smaller.
const FIRST_GUESS_BYTES: u64 = 64 << 10;

/// A data file that may have a place in the new catalog.
#[derive(Debug, Clone)]
pub struct Item {
    pub file: DataFile,
    pub ids: IdRange,
    pub columns: Arc<Vec<Column>>,
    pub modified: Timestamp,
    pub is_readable: bool,
    /// Of the files that it was made of.
    pub replaces: Vec<NameDigest>,
    /// Of the files that its events were compared with, and that have none of them: a list for each of its parts.
    pub beside: Vec<Vec<NameDigest>>,
    /// Of a bundle.
    pub cells: Vec<CellRows>,
    /// Of each of them the files that it was made of; empty where nothing says it.
    pub made_of: Vec<Vec<NameDigest>>,
    /// Whether what it was made of is known; of a bundle its pack says it.
    pub has_record: bool,
}

impl Item {
    /// As the catalog will know it; nothing is known of its bytes yet.
    pub fn audit(&self) -> FileAudit {
        let (min_event_id, max_event_id) = self.ids.ids().unwrap_or_default();
        FileAudit { sha256: String::new(), min_event_id, max_event_id }
    }

    pub fn name(&self) -> &str {
        Layout::name(&self.file.path).unwrap_or_default()
    }
}

/// What became of looking at an object.
pub enum Looked {
    Item(Box<Item>),
    Problem(ProblemKind, String),
}

/// Looks at a file of this cell.
pub async fn look_at_cell_file(
    ctx: &Ctx,
    parts: &MonthParts,
    object: &ObjectState,
    cell: &Partition,
) -> Result<Looked> {
    let seen = match see(ctx, parts, object, &cell.folder()).await {
        Ok(Some(seen)) => seen,
        Ok(None) => return Ok(no_footer()),
        Err(error) => return damaged(error),
    };
    let Seen { facts, footer_bytes, part } = seen;
    if facts.cell.as_ref().is_some_and(|said| said != cell) {
        return Ok(Looked::Problem(ProblemKind::Misfit, "it says itself that it belongs to another cell".to_owned()));
    }
    let file = DataFile {
        tenants: KeyRange::one(cell.tenant_id.as_str()).to_text(),
        event_types: KeyRange::one(cell.event_type.as_str()).to_text(),
        dates: KeyRange::one(cell.date),
        ..data_file(object, &facts, footer_bytes, part.map(|part| part.pack))
    };
    Ok(Looked::Item(Box::new(item(ctx, object, file, facts))))
}

/// Looks at a bundle of this month. One that is in no pack, as when a run was killed, is read for its cells.
pub async fn look_at_bundle(ctx: &Ctx, parts: &MonthParts, object: &ObjectState, month: Date) -> Result<Looked> {
    let seen = match see(ctx, parts, object, &Layout::bundles_of(month)).await {
        Ok(Some(seen)) => seen,
        Ok(None) => return Ok(no_footer()),
        Err(error) => return damaged(error),
    };
    let Seen { facts, footer_bytes, part } = seen;
    let mut file = data_file(object, &facts, footer_bytes, part.as_ref().map(|part| part.pack.clone()));
    let (cells, replaces) = match part {
        Some(part) => (part.cells, part.replaces),
        None => match read_cells(ctx, &file).await {
            Ok(cells) => (cells, None),
            Err(error) => return damaged(error),
        },
    };
    let Some(covered) = Covered::all(cells.iter().map(Covered::from)) else {
        return Ok(Looked::Problem(ProblemKind::Damaged, "it has no cells".to_owned()));
    };
    (file.tenants, file.event_types) = (covered.tenants.to_text(), covered.event_types.to_text());
    file.dates = covered.dates;
    if covered.rows != file.rows {
        return Ok(Looked::Problem(ProblemKind::Damaged, "its cells are not its rows".to_owned()));
    }
    let mut item = item(ctx, object, file, facts);
    item.has_record = replaces.is_some();
    let digests = |names: &Vec<String>| names.iter().map(|name| short_digest(name)).collect();
    item.made_of = replaces.iter().flatten().map(digests).collect();
    item.replaces = item.made_of.iter().flatten().copied().collect();
    item.cells = cells;
    Ok(Looked::Item(Box::new(item)))
}

fn no_footer() -> Looked {
    Looked::Problem(ProblemKind::NoFooter, "it is archived, and no pack has its footer".to_owned())
}

/// An object's own fault; one of the store's ends the run.
fn damaged(error: Error) -> Result<Looked> {
    match error.kind() {
        Kind::Failed => Ok(Looked::Problem(ProblemKind::Damaged, words(&error))),
        _ => Err(error),
    }
}

fn item(ctx: &Ctx, object: &ObjectState, file: DataFile, facts: FooterFacts) -> Item {
    Item {
        file,
        ids: facts.ids,
        columns: Arc::new(facts.columns),
        modified: object.modified,
        is_readable: object.is_readable(ctx.now()),
        has_record: true,
        replaces: facts.replaces.iter().map(|name| short_digest(name)).collect(),
        beside: facts.beside.iter().map(|names| names.iter().map(|name| short_digest(name)).collect()).collect(),
        cells: Vec::new(),
        made_of: Vec::new(),
    }
}

/// Its ranges of keys are the caller's to fill in.
fn data_file(object: &ObjectState, facts: &FooterFacts, footer_bytes: u32, pack: Option<PackRef>) -> DataFile {
    let nowhere = || KeyRange::one("").to_text();
    DataFile {
        path: object.path.clone(),
        tenants: nowhere(),
        event_types: nowhere(),
        dates: KeyRange::one(Date::ZERO),
        ts: facts.ts.clone(),
        rows: facts.rows,
        size_bytes: object.size_bytes,
        footer_bytes,
        schema_id: Layout::base_version(&object.path).map_or(1, |base| base as u32 + 1),
        storage_class: object.storage_class,
        class_since: (object.storage_class != StorageClass::Standard).then_some(object.modified),
        pack,
    }
}

struct Seen {
    facts: FooterFacts,
    footer_bytes: u32,
    part: Option<Part>,
}

/// The object's footer, from a pack where one has it; `None` where it is out of reach.
async fn see(ctx: &Ctx, parts: &MonthParts, object: &ObjectState, folder: &str) -> Result<Option<Seen>> {
    let mut found = read_parts(ctx, parts.of(&object.path, folder, object.size_bytes)).await?;
    found.retain(|part| part.size_bytes == object.size_bytes);
    let is_readable = object.is_readable(ctx.now());
    let is_sure = found.len() == 1 || found.windows(2).all(|two| two[0].metadata == two[1].metadata);
    if let Some(part) = found.pop().filter(|_| is_sure) {
        let facts = FooterFacts::of(&part.metadata)?;
        return Ok(Some(Seen { facts, footer_bytes: part.pack.footer_bytes, part: Some(part) }));
    }
    if !is_readable {
        return Ok(None);
    }
    let (metadata, footer_bytes) = read_footer(ctx, object).await?;
    let part = found.into_iter().find(|part| part.metadata == metadata);
    Ok(Some(Seen { facts: FooterFacts::of(&metadata)?, footer_bytes, part }))
}

async fn read_footer(ctx: &Ctx, object: &ObjectState) -> Result<(ParquetMetaData, u32)> {
    let ObjectState { path, size_bytes, .. } = object;
    let mut end = ctx.store.get_suffix(path, *size_bytes, FIRST_GUESS_BYTES.min(*size_bytes)).await?;
    let tail = footer::tail_bytes(&end)?;
    if tail > end.len() {
        end = ctx.store.get_suffix(path, *size_bytes, tail as u64).await?;
    }
    let metadata = footer::metadata(&end)?;
    if footer::file_bytes(&metadata, tail) != *size_bytes {
        return Err(Error::failed("its footer is not that of a file of its size").code("corrupt-file"));
    }
    let footer_bytes = footer::footer_bytes(&metadata, *size_bytes, tail);
    Ok((metadata, u32::try_from(footer_bytes).context("read its footer")?))
}

/// The cells of a bundle from its key columns.
async fn read_cells(ctx: &Ctx, file: &DataFile) -> Result<Vec<CellRows>> {
    let reader = RangeReader::over(&ctx.store, Handle::current(), file);
    let work = tokio::task::spawn_blocking(move || {
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let builder =
            ParquetRecordBatchReaderBuilder::try_new_with_options(reader, options).context("read its footer")?;
        let names = ["date", "tenant_id", "event_type", "ts"];
        let columns = names.map(|name| builder.schema().index_of(name));
        let columns = columns.into_iter().collect::<Result<Vec<_>, _>>().context("find its key columns")?;
        let mask = ProjectionMask::roots(builder.parquet_schema(), columns);
        let (mut cells, mut first_row) = (Vec::<CellRows>::new(), 0);
        for rows in builder.with_projection(mask).build().context("read its cells")? {
            let rows = rows.context("read its cells")?;
            add_rows(&mut cells, &rows, first_row)?;
            first_row += rows.num_rows() as u64;
        }
        Ok(cells)
    });
    work.await.context("wait for a bundle's cells")?
}

fn add_rows(cells: &mut Vec<CellRows>, rows: &RecordBatch, first_row: u64) -> Result<()> {
    let column = |name: &str| rows.column_by_name(name).expect("projected");
    let wrong = || Error::failed("its key columns have other types");
    let dates = column("date").as_primitive_opt::<Date32Type>().ok_or_else(wrong)?;
    let tenants = column("tenant_id").as_string_opt::<i32>().ok_or_else(wrong)?;
    let types = column("event_type").as_string_opt::<i32>().ok_or_else(wrong)?;
    let times = column("ts").as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(wrong)?;
    for row in 0..rows.num_rows() {
        let (tenant, event_type) = (tenants.value(row), types.value(row));
        let date = date_of_days(dates.value(row)).ok_or_else(wrong)?;
        let ts = KeyRange::one(times.value(row));
        match cells.last_mut().filter(|open| {
            open.cell.tenant_id.as_str() == tenant
                && open.cell.event_type.as_str() == event_type
                && open.cell.date == date
        }) {
            Some(open) => {
                open.rows += 1;
                open.ts.extend(&ts);
            }
            None => {
                let key = |text| Key::parse(text).map_err(|bad| Error::failed(format!("a key in it {bad}")));
                let cell = Partition { tenant_id: key(tenant)?, event_type: key(event_type)?, date };
                cells.push(CellRows { cell, first_row: first_row + row as u64, rows: 1, ts });
            }
        }
    }
    Ok(())
}
