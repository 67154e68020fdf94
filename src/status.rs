//! What the archive holds and how its last runs went.

use std::collections::{BTreeMap, HashMap};

use futures::TryStreamExt;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;

use crate::catalog::{Operation, Snapshot, Totals};
use crate::data::pack::{self, CellRows};
use crate::error::Result;
use crate::model::{DataFile, DateRange, Seal, StorageClass};

/// How many tenants, types and runs are named.
const NAMED: usize = 5;

/// Bundles whose packs are read together: a footer each.
const PACKS_AT_ONCE: usize = 256;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    pub version: u64,
    pub committed_at: Timestamp,
    pub first_date: Option<Date>,
    /// The newest archived date.
    pub last_date: Option<Date>,
    pub rows: u64,
    pub bytes: u64,
    pub files: u64,
    /// By storage class.
    pub tiers: BTreeMap<StorageClass, Totals>,
    pub largest_tenants: Vec<Share>,
    pub largest_event_types: Vec<Share>,
    pub open_dead_letters: u64,
    pub columns: u64,
    /// Dates that the archive answers for without the hot tier.
    pub sealed: Vec<DateRange>,
    /// Of them those whose events may have expired before the hot tier was read.
    pub possibly_incomplete: Vec<DateRange>,
    /// Newest first.
    pub last_runs: Vec<Run>,
}

/// A key's part of the archive.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Share {
    pub name: String,
    pub rows: u64,
    pub bytes: u64,
    /// Of all rows, 0 to 1.
    pub share: f64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Run {
    pub version: u64,
    pub time: Timestamp,
    #[serde(flatten)]
    pub operation: Operation,
}

/// Reads every leaf, and of bundles the list of cells: one GET per four thousand files, and one per pack. In memory are one
/// leaf, the packs of some bundles, and a sum for each tenant and type.
pub async fn status(snapshot: &Snapshot) -> Result<Status> {
    let document = &snapshot.root().document;
    let mut dates: Option<(Date, Date)> = None;
    let (mut tenants, mut event_types): (Sums, Sums) = Default::default();
    let mut tables = snapshot.tables(snapshot.root().leaves.to_vec());
    while let Some(table) = tables.try_next().await? {
        let mut bundles = Vec::new();
        for view in table.views()? {
            let (position, file) = view?;
            let (first, last) = dates.unwrap_or((file.dates.min, file.dates.max));
            dates = Some((first.min(file.dates.min), last.max(file.dates.max)));
            if file.is_bundle() && file.is_packed {
                bundles.push(position);
                continue;
            }
            add(&mut tenants, file.tenants.min, file.rows, file.size_bytes);
            add(&mut event_types, file.event_types.min, file.rows, file.size_bytes);
        }
        for some in bundles.chunks(PACKS_AT_ONCE) {
            let files: Vec<DataFile> = table.live_files(some)?.into_iter().map(|live| live.file).collect();
            let packed = pack::read(snapshot.store(), &files).await?;
            for (file, packed) in files.iter().zip(packed) {
                for CellRows { cell, rows, .. } in packed.into_iter().flat_map(|packed| packed.cells) {
                    // Bytes are not kept by cell: each row counts alike.
                    let bytes = (u128::from(file.size_bytes) * u128::from(rows) / u128::from(file.rows.max(1))) as u64;
                    add(&mut tenants, cell.tenant_id.as_str(), rows, bytes);
                    add(&mut event_types, cell.event_type.as_str(), rows, bytes);
                }
            }
        }
    }
    let total = |get: fn(&Totals) -> u64| document.totals.values().map(get).sum::<u64>();
    let rows = total(|t| t.rows);
    Ok(Status {
        version: document.version,
        committed_at: document.time,
        first_date: dates.map(|(first, _)| first),
        last_date: dates.map(|(_, last)| last),
        rows,
        bytes: total(|t| t.bytes),
        files: total(|t| t.files),
        tiers: document.totals.clone(),
        largest_tenants: largest(tenants, rows),
        largest_event_types: largest(event_types, rows),
        open_dead_letters: document.dead_letters.iter().map(|file| file.records).sum(),
        columns: document.schema.columns().len() as u64,
        sealed: ranges(document.seals.iter()),
        possibly_incomplete: ranges(document.seals.iter().filter(|seal| seal.incomplete)),
        last_runs: last_runs(snapshot).await?,
    })
}

fn ranges<'a>(seals: impl Iterator<Item = &'a Seal>) -> Vec<DateRange> {
    DateRange::joined(seals.map(|seal| DateRange { first: seal.first, last: seal.last }))
}

/// Rows and bytes by name.
type Sums = HashMap<String, (u64, u64)>;

fn add(sums: &mut Sums, name: &str, rows: u64, bytes: u64) {
    match sums.get_mut(name) {
        Some(sum) => *sum = (sum.0 + rows, sum.1 + bytes),
        None => drop(sums.insert(name.to_owned(), (rows, bytes))),
    }
}

fn largest(sums: Sums, all_rows: u64) -> Vec<Share> {
    let share = |rows: u64| rows as f64 / all_rows.max(1) as f64;
    let mut shares: Vec<Share> =
        sums.into_iter().map(|(name, (rows, bytes))| Share { name, rows, bytes, share: share(rows) }).collect();
    shares.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.name.cmp(&b.name)));
    shares.truncate(NAMED);
    shares
}

async fn last_runs(snapshot: &Snapshot) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    for version in
        snapshot.versions().await?.into_iter().rev().filter(|version| *version <= snapshot.version()).take(NAMED)
    {
        if let Some(at) = Snapshot::look(snapshot.store(), version).await? {
            runs.push(Run { version, time: at.time(), operation: at.operation().clone() });
        }
    }
    Ok(runs)
}
