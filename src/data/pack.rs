//! Footer packs: what is kept hot of files that may be archived.
//!
//! For each data file a pack holds the list of its cells, where it is a bundle, and then a copy of the file's last
//! `footer_bytes`, which hold the page index and the footer. With both a query is planned, pruned, and often answered
//! without a restore. A pack is written once per commit and never changed.
//!
//! A bundle is sorted by (tenant, type, date, ts, event id), so each of its cells is one run of rows: what the list says
//! of a cell is exact.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Int64Array, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{Date32Type, Int64Type, TimestampMicrosecondType};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use crate::catalog::Covered;
use crate::catalog::table::{self, Encoded};
use crate::error::{Context, Error, Result};
use crate::model::{DataFile, Key, KeyRange, PackRef, Partition, date_of_days, days_of_date};
use crate::store::Store;

pub(super) const KEY: &str = "tier.cells";
/// The names of the files that a cell was made of, which a query has no use for.
const REPLACES: &str = "replaces";

/// Bumped when a reader of older lists would misread a newer one.
const FORMAT: &str = "1";

/// Parts of packs fetched at once.
const READS_IN_FLIGHT: usize = 16;

/// Parts this near to each other are one request.
const COALESCE_BYTES: u64 = 1 << 20;

/// A cell's run of rows in a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellRows {
    pub cell: Partition,
    /// Position of its first row in the file.
    pub first_row: u64,
    pub rows: u64,
    /// Microseconds since the epoch, UTC.
    pub ts: KeyRange<i64>,
}

impl<'a> From<&'a CellRows> for Covered<'a> {
    fn from(run: &'a CellRows) -> Self {
        Covered {
            tenants: KeyRange::one(run.cell.tenant_id.as_str()),
            event_types: KeyRange::one(run.cell.event_type.as_str()),
            dates: KeyRange::one(run.cell.date),
            ts: run.ts.clone(),
            rows: run.rows,
        }
    }
}

impl<'a> From<&'a &CellRows> for Covered<'a> {
    fn from(run: &'a &CellRows) -> Self {
        Covered::from(*run)
    }
}

/// Of each cell of a bundle, in their order, the names of the files that it was made of.
pub type Replaced = Vec<Vec<String>>;

/// What is hot of one data file.
#[derive(Debug, Clone)]
pub struct Packed {
    /// In the order of the rows; empty of a file that is no bundle.
    pub cells: Vec<CellRows>,
    /// The file's last bytes.
    pub footer: Bytes,
    /// For a rebuild of the catalog; empty when it is read for anything else.
    pub replaces: Replaced,
}

/// Collects the parts of one pack.
#[derive(Debug)]
pub struct PackBuilder {
    path: String,
    bytes: Vec<u8>,
}

impl PackBuilder {
    pub fn new(path: String) -> Self {
        PackBuilder { path, bytes: Vec::new() }
    }

    pub fn add(&mut self, packed: &Packed) -> Result<PackRef> {
        let cells = if packed.cells.is_empty() { Bytes::new() } else { encode(packed)? };
        let pack = PackRef {
            path: self.path.clone(),
            offset: self.bytes.len() as u64,
            cells_bytes: cells.len() as u32,
            footer_bytes: packed.footer.len() as u32,
        };
        self.bytes.extend_from_slice(&cells);
        self.bytes.extend_from_slice(&packed.footer);
        Ok(pack)
    }

    /// Puts the pack, before the commit that names it; nothing when no part was added.
    pub async fn write(self, store: &Store) -> Result<()> {
        if self.bytes.is_empty() { Ok(()) } else { store.put(&self.path, self.bytes).await }
    }
}

/// What is hot of these files, in their order; `None` for those without a pack. Near parts of one pack are one GET.
pub async fn read(store: &Store, files: &[impl Borrow<DataFile>]) -> Result<Vec<Option<Packed>>> {
    let mut by_pack: BTreeMap<&str, Vec<(usize, &PackRef)>> = BTreeMap::new();
    for (index, file) in files.iter().enumerate() {
        if let Some(pack) = &file.borrow().pack {
            by_pack.entry(&pack.path).or_default().push((index, pack));
        }
    }
    // What is fetched owns its names, so that the future may move between threads.
    let mut requests: Vec<(String, Vec<(usize, PackRef)>)> = Vec::new();
    for (path, mut parts) in by_pack {
        parts.sort_by_key(|(_, pack)| pack.offset);
        let mut run: Vec<(usize, PackRef)> = Vec::new();
        for (index, pack) in parts {
            if run.last().is_some_and(|(_, last)| pack.offset > end(last) + COALESCE_BYTES) {
                requests.push((path.to_owned(), std::mem::take(&mut run)));
            }
            run.push((index, pack.clone()));
        }
        requests.push((path.to_owned(), run));
    }
    let mut all = vec![None; files.len()];
    let fetched: Vec<Vec<(usize, Packed)>> = futures::stream::iter(requests)
        .map(|(path, parts)| async move { fetch(store, &path, &parts).await })
        .buffer_unordered(READS_IN_FLIGHT)
        .try_collect()
        .await?;
    for (index, packed) in fetched.into_iter().flatten() {
        all[index] = Some(packed);
    }
    Ok(all)
}

fn end(pack: &PackRef) -> u64 {
    pack.offset + u64::from(pack.cells_bytes) + u64::from(pack.footer_bytes)
}

async fn fetch(store: &Store, path: &str, parts: &[(usize, PackRef)]) -> Result<Vec<(usize, Packed)>> {
    let start = parts[0].1.offset;
    let stop = parts.iter().map(|(_, pack)| end(pack)).max().expect("a run is never empty");
    let address = store.address(path);
    let bytes = store.cached(&format!("{address} {start} {stop}"), store.get_range(path, start..stop)).await?;
    let phrase = || format!("read pack {address}");
    if (bytes.len() as u64) < stop - start {
        return Err(Error::failed("it is shorter than the catalog says").code("corrupt-pack")).with_context(phrase);
    }
    let part = |(index, pack): &(usize, PackRef)| {
        let at = (pack.offset - start) as usize;
        let middle = at + pack.cells_bytes as usize;
        let cells = bytes.slice(at..middle);
        let cells = if cells.is_empty() { Vec::new() } else { decode(&open(cells)?)? };
        let footer = bytes.slice(middle..middle + pack.footer_bytes as usize);
        Ok((*index, Packed { cells, footer, replaces: Vec::new() }))
    };
    parts.iter().map(part).collect::<Result<_>>().with_context(phrase)
}

fn encode(Packed { cells, replaces, .. }: &Packed) -> Result<Bytes> {
    let texts =
        |get: fn(&CellRows) -> &str| -> ArrayRef { Arc::new(StringViewArray::from_iter_values(cells.iter().map(get))) };
    let integers = |get: fn(&CellRows) -> u64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(cells.iter().map(|cell| get(cell) as i64)))
    };
    let times = |get: fn(&CellRows) -> i64| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from_iter_values(cells.iter().map(get)).with_timezone("UTC"))
    };
    let mut columns = vec![
        ("tenant_id", texts(|cell| cell.cell.tenant_id.as_str())),
        ("event_type", texts(|cell| cell.cell.event_type.as_str())),
        ("date", Arc::new(Date32Array::from_iter_values(cells.iter().map(|cell| days_of_date(cell.cell.date))))),
        ("first_row", integers(|cell| cell.first_row)),
        ("rows", integers(|cell| cell.rows)),
        ("ts_min", times(|cell| cell.ts.min)),
        ("ts_max", times(|cell| cell.ts.max)),
    ];
    // Names have no spaces.
    if replaces.len() == cells.len() {
        let names = replaces.iter().map(|names| names.join(" "));
        columns.push((REPLACES, Arc::new(StringViewArray::from_iter_values(names))));
    }
    table::encode(&table::batch(columns), KEY, FORMAT.to_owned())
}

/// The cells of an encoded list with the names of the files that each was made of; `None` of a list that does not say.
pub(super) fn decode_with_replaced(bytes: Bytes) -> Result<(Vec<CellRows>, Option<Replaced>)> {
    let encoded = open(bytes)?;
    let cells = decode(&encoded)?;
    let batch = encoded.columns(|column| column == REPLACES)?;
    let replaces = match batch.column_by_name(REPLACES) {
        None => None,
        Some(_) => {
            let names = table::texts(&batch, REPLACES)?;
            let split = |row| names(row).split_whitespace().map(str::to_owned).collect();
            Some((0..batch.num_rows()).map(split).collect())
        }
    };
    Ok((cells, replaces))
}

fn open(bytes: Bytes) -> Result<Encoded> {
    let encoded = Encoded::open(bytes, KEY)?;
    match encoded.value.as_str() {
        FORMAT => Ok(encoded),
        other => Err(Error::usage(format!("its format is {other}; this tier reads {FORMAT}")).hint("use a newer tier")),
    }
}

fn decode(encoded: &Encoded) -> Result<Vec<CellRows>> {
    let batch = encoded.columns(|column| column != REPLACES)?;
    let (tenant, event_type) = (table::texts(&batch, "tenant_id")?, table::texts(&batch, "event_type")?);
    let date = table::numbers::<Date32Type>(&batch, "date")?;
    let (first_row, rows) =
        (table::numbers::<Int64Type>(&batch, "first_row")?, table::numbers::<Int64Type>(&batch, "rows")?);
    let ts_min = table::numbers::<TimestampMicrosecondType>(&batch, "ts_min")?;
    let ts_max = table::numbers::<TimestampMicrosecondType>(&batch, "ts_max")?;
    let key = |text: &str| Key::parse(text).map_err(|bad| Error::failed(format!("a key in the list {bad}")));
    (0..batch.num_rows())
        .map(|row| {
            Ok(CellRows {
                cell: Partition {
                    tenant_id: key(tenant(row))?,
                    event_type: key(event_type(row))?,
                    date: date_of_days(date(row)).ok_or_else(|| Error::failed("a date in the list is out of range"))?,
                },
                first_row: first_row(row) as u64,
                rows: rows(row) as u64,
                ts: KeyRange { min: ts_min(row), max: ts_max(row) },
            })
        })
        .collect()
}
