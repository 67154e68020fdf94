//! Event ids that a tenant has more than once.
//!
//! An event's identity is per cell, so the same id on another date or of another type is another event; most often it is
//! one that was sent twice with different times. Within a cell it must not be.
//!
//! # Cost
//! 32 bytes of temporary disk an event; in memory one bucket of them at a time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::content::{Expected, IdSink};
use super::leaves::Place;
use super::problem::{ProblemKind, Problems};
use super::read::{Ids, examine, sink};
use super::versions::Known;
use crate::catalog::read_leaf;
use crate::context::Context as Ctx;
use crate::data::pack;
use crate::data::spill::Spill;
use crate::error::{Error, Result};
use crate::model::{DataFile, Partition, Schema};

/// Of all records before they go to disk.
const MEMORY_BYTES: usize = 64 << 20;

/// A bucket is sorted in memory.
const BUCKET_BYTES: u64 = 32 << 20;

/// Repeated ids that are looked up and named.
const NAMED: usize = 20;

const RECORD_BYTES: usize = 32;

/// An id that a tenant has more than once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Repeated {
    pub tenant_id: String,
    pub event_id: String,
    /// The cells that have it, as folders.
    pub cells: Vec<String>,
    pub files: Vec<String>,
}

/// What the ids of all readable files show.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DuplicateReport {
    pub events: u64,
    /// Ids in more than one cell of a tenant.
    pub repeated_ids: u64,
    /// Events whose whole identity is there already: this must not be.
    pub doubled_events: u64,
    /// The first few of both.
    pub examples: Vec<Repeated>,
}

/// Collects a digest of each event's tenant and id.
pub struct Collector {
    spill: Arc<Mutex<Spill<RECORD_BYTES>>>,
    buckets: u32,
}

impl Collector {
    pub fn new(events: u64) -> Self {
        let buckets = (events * RECORD_BYTES as u64 / BUCKET_BYTES + 1).min(u64::from(u16::MAX)) as u32;
        Collector { spill: Arc::new(Mutex::new(Spill::new(MEMORY_BYTES))), buckets }
    }
}

impl Ids for Collector {
    fn sink(&self, place: Place) -> IdSink {
        let (spill, buckets) = (self.spill.clone(), self.buckets);
        sink(move |cell, ids| {
            let mut record = [0; RECORD_BYTES];
            record[16..24].copy_from_slice(&blake3::hash(cell.folder().as_bytes()).as_bytes()[..8]);
            record[24..28].copy_from_slice(&place.leaf.to_be_bytes());
            record[28..].copy_from_slice(&place.position.to_be_bytes());
            let mut spill = spill.lock().unwrap_or_else(PoisonError::into_inner);
            for id in ids.iter().flatten() {
                let digest = digest(cell, id);
                record[..16].copy_from_slice(&digest);
                spill.add(u32::from_be_bytes(digest[..4].try_into().expect("4 bytes")) % buckets, record)?;
            }
            Ok(())
        })
    }
}

fn digest(cell: &Partition, id: &str) -> [u8; 16] {
    let tenant = cell.tenant_id.as_str();
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(tenant.len() as u64).to_le_bytes()).update(tenant.as_bytes()).update(id.as_bytes());
    hasher.finalize().as_bytes()[..16].try_into().expect("16 of 32 bytes")
}

/// Compares what was collected, a bucket at a time, and names the first few.
pub async fn find(
    ctx: &Ctx,
    known: &Known,
    schema: &Schema,
    collector: Collector,
    problems: &mut Problems,
) -> Result<DuplicateReport> {
    let mut report = DuplicateReport::default();
    let mut to_name = Vec::new();
    let mut spill =
        std::mem::replace(&mut *collector.spill.lock().unwrap_or_else(PoisonError::into_inner), Spill::new(0));
    for bucket in spill.buckets() {
        ctx.stop.check()?;
        let records = spill.take(bucket)?;
        report.events += records.len() as u64;
        for group in records.chunk_by(|a, b| a[..16] == b[..16]).filter(|group| group.len() > 1) {
            // Records of one cell are neighbours.
            let cells = group.chunk_by(|a, b| a[16..24] == b[16..24]).count();
            let doubled = (group.len() - cells) as u64;
            report.repeated_ids += u64::from(cells > 1);
            report.doubled_events += doubled;
            if to_name.len() < NAMED {
                to_name.push((group.iter().take(NAMED).copied().collect::<Vec<_>>(), doubled));
            } else {
                (0..doubled).for_each(|_| problems.count(ProblemKind::DoubledEvent));
            }
        }
    }
    for (group, doubled) in to_name {
        let Some(repeated) = name(ctx, known, schema, &group).await? else { continue };
        for _ in 0..doubled {
            let what = format!("the event {:?} of {} is there twice", repeated.event_id, repeated.cells.join(" and "));
            problems.add(ProblemKind::DoubledEvent, &repeated.files.join(" and "), what);
        }
        report.examples.push(repeated);
    }
    Ok(report)
}

/// Reads the ids of the files again to find what the records are digests of.
async fn name(ctx: &Ctx, known: &Known, schema: &Schema, group: &[[u8; RECORD_BYTES]]) -> Result<Option<Repeated>> {
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().expect("4 bytes"));
    let places: BTreeSet<Place> =
        group.iter().map(|r| Place { leaf: number(&r[24..28]), position: number(&r[28..]) }).collect();
    let wanted: [u8; 16] = group[0][..16].try_into().expect("16 bytes");
    let found: Arc<Mutex<Option<Repeated>>> = Arc::default();
    for place in places {
        let Some(file) = file_at(ctx, known, place).await? else { continue };
        let path = file.path.clone();
        let packed = pack::read(&ctx.store, std::slice::from_ref(&file)).await?.pop().flatten();
        let into = found.clone();
        let ids = sink(move |cell, ids| {
            for id in ids.iter().flatten().filter(|id| digest(cell, id) == wanted) {
                let mut found = into.lock().unwrap_or_else(PoisonError::into_inner);
                let repeated = found.get_or_insert_with(|| Repeated {
                    tenant_id: cell.tenant_id.to_string(),
                    event_id: id.to_owned(),
                    cells: Vec::new(),
                    files: Vec::new(),
                });
                let folder = cell.folder();
                if !repeated.cells.contains(&folder) {
                    repeated.cells.push(folder);
                }
                if !repeated.files.contains(&path) {
                    repeated.files.push(path.clone());
                }
            }
            Ok(())
        });
        examine(&ctx.store, Expected::new(file, None, packed, schema.clone(), Some(ids))?).await?;
    }
    let found = found.lock().unwrap_or_else(PoisonError::into_inner).take();
    Ok(found)
}

async fn file_at(ctx: &Ctx, known: &Known, place: Place) -> Result<Option<DataFile>> {
    let leaf = known.leaves.values().nth(place.leaf as usize).ok_or_else(|| Error::failed("no such leaf"))?;
    let files = read_leaf(&ctx.store, &leaf.leaf).await?;
    Ok(files.into_iter().find(|(position, _)| *position == place.position).map(|(_, file)| file))
}
