//! Reads data files: all of them, a sample, or of each only the ids.
//!
//! # Cost
//! With `--read`, every byte of the files once; for duplicates the id column. A small file is one GET and stays in memory,
//! a large one passes through it into a temporary file.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

use super::content::{BAD_PACK, Expected, IdSink, examine_pack};
use super::leaves::Place;
use super::listing::Listing;
use super::problem::{ProblemKind, Problems};
use super::versions::Known;
use crate::catalog::{FileAudit, LeafRef, read_audits, read_leaf};
use crate::context::Context as Ctx;
use crate::data::pack;
use crate::data::range_reader::RangeReader;
use crate::error::{Context, Error, Kind, Result};
use crate::model::{DataFile, Schema, hex};
use crate::progress::Unit;
use crate::store::{ObjectSum, Store};

/// Below this a file is fetched whole: one request costs more than its bytes.
const FETCH_WHOLE_BYTES: u64 = 4 << 20;

/// Files read at once; each takes up to a part, and a large one space for temporary files.
const FILES_IN_FLIGHT: usize = 16;

/// Leaves read ahead.
const LEAVES_IN_FLIGHT: usize = 4;

/// Which files are read whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// About so many, by chance.
    Sample(u64),
    All,
}

/// What was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ReadReport {
    pub files: u64,
    pub rows: u64,
    /// Of files that were read whole; of others only the ids are.
    pub bytes: u64,
    /// Archived files: not read, because that needs a restore.
    pub archived: ObjectSum,
}

/// What the ids of a file go to.
pub trait Ids: Sync {
    fn sink(&self, place: Place) -> IdSink;
}

/// A file to be read.
struct Item {
    place: Place,
    file: DataFile,
    /// Of a file that is read whole.
    audit: Option<FileAudit>,
}

/// Reads the files of the newest version that `read` picks whole, and of all of them the ids where these are wanted.
pub async fn read(
    ctx: &Ctx,
    known: &Known,
    listing: &Listing,
    schema: &Schema,
    read: Option<Read>,
    ids: Option<&dyn Ids>,
    problems: &mut Problems,
) -> Result<ReadReport> {
    let files = |(_, known): &(u32, &super::versions::KnownLeaf)| known.leaf.files;
    let leaves = || (0..).zip(known.leaves.values()).filter(|(_, known)| known.newest_deleted.is_some());
    let picks = match read {
        Some(Read::Sample(wanted)) => Some(picks(ctx, leaves().map(|leaf| files(&leaf)).sum(), wanted)),
        Some(Read::All) => None,
        None => Some(BTreeSet::new()),
    };
    let bytes = leaves().map(|(_, known)| known.leaf.size_bytes).sum();
    let task = ctx.progress.task("read", Unit::Bytes, (ids.is_some() || picks.is_none()).then_some(bytes));
    let mut rank = 0;
    let wanted: Vec<(u32, LeafRef, Option<BTreeSet<u64>>)> = leaves()
        .filter_map(|(number, known)| {
            let ranks = rank..rank + known.leaf.files;
            rank = ranks.end;
            let deleted = known.newest_deleted.clone().unwrap_or_default();
            let leaf = LeafRef { deleted, ..known.leaf.clone() };
            let here = picks.as_ref().map(|picks| picks.range(ranks.clone()).map(|pick| pick - ranks.start).collect());
            let is_read = ids.is_some() || here.as_ref().is_none_or(|picks: &BTreeSet<u64>| !picks.is_empty());
            is_read.then_some((number, leaf, here))
        })
        .collect();
    let reads = |(number, leaf, picks)| items(&ctx.store, number, leaf, picks, ids.is_some());
    let items = futures::stream::iter(wanted).map(reads).buffered(LEAVES_IN_FLIGHT);
    let items = items.map_ok(|items| futures::stream::iter(items.into_iter().map(Ok::<_, Error>))).try_flatten();
    let outcomes = items.map_ok(|item| async {
        let (size_bytes, ids) = (item.file.size_bytes, ids.map(|ids| ids.sink(item.place)));
        let outcome = one(ctx, listing, schema, item, ids).await?;
        Ok::<_, Error>((size_bytes, outcome))
    });
    let mut outcomes = outcomes.try_buffer_unordered(FILES_IN_FLIGHT);
    let mut report = ReadReport::default();
    while let Some((size_bytes, outcome)) = outcomes.try_next().await? {
        ctx.stop.check()?;
        task.advance(size_bytes);
        match outcome {
            Outcome::Read { rows, bytes } => {
                report.files += 1;
                report.rows += rows;
                report.bytes += bytes;
            }
            Outcome::Archived { bytes } => report.archived.add(bytes),
            Outcome::Known => {}
            Outcome::Wrong { kind, object, what } => problems.add(kind, &object, what),
        }
    }
    Ok(report)
}

/// So many different ranks below `files`, or all.
fn picks(ctx: &Ctx, files: u64, wanted: u64) -> BTreeSet<u64> {
    if files <= wanted {
        return (0..files).collect();
    }
    let mut picks = BTreeSet::new();
    while (picks.len() as u64) < wanted {
        picks.insert((ctx.random.fraction() * files as f64) as u64);
    }
    picks
}

/// The files of a leaf that are read. A leaf that is damaged has been named already.
async fn items(
    store: &Store,
    number: u32,
    leaf: LeafRef,
    picks: Option<BTreeSet<u64>>,
    with_ids: bool,
) -> Result<Vec<Item>> {
    let is_picked = |rank: u64| picks.as_ref().is_none_or(|picks| picks.contains(&rank));
    let of_audits = async {
        match picks.as_ref().is_none_or(|picks| !picks.is_empty()) {
            true => read_audits(store, &leaf.path).await,
            false => Ok(Vec::new()),
        }
    };
    let (files, audits) = futures::join!(read_leaf(store, &leaf), of_audits);
    let (files, audits) = match (files, audits) {
        (Err(error), _) | (_, Err(error)) if error.kind() != Kind::Failed => return Err(error),
        (Ok(files), audits) => (files, audits.unwrap_or_default()),
        (Err(_), _) => return Ok(Vec::new()),
    };
    let item = |(rank, (position, file)): (u64, (u32, DataFile))| {
        let audit = is_picked(rank).then(|| audits.get(position as usize).cloned()).flatten();
        (with_ids || audit.is_some()).then_some(Item { place: Place { leaf: number, position }, file, audit })
    };
    Ok((0..).zip(files).filter_map(item).collect())
}

enum Outcome {
    Read {
        rows: u64,
        bytes: u64,
    },
    Archived {
        bytes: u64,
    },
    /// The listing has named it as broken.
    Known,
    Wrong {
        kind: ProblemKind,
        object: String,
        what: String,
    },
}

async fn one(ctx: &Ctx, listing: &Listing, schema: &Schema, item: Item, ids: Option<IdSink>) -> Result<Outcome> {
    let Item { file, audit, .. } = item;
    let packed = match &file.pack {
        None => None,
        Some(pack_ref) => {
            let packed = pack::read(&ctx.store, std::slice::from_ref(&file)).await;
            let packed = packed.map(|mut packed| packed.pop().flatten().expect("the file has a pack"));
            match packed.and_then(|packed| examine_pack(&file, &packed).map(|()| packed)) {
                Ok(packed) => Some(packed),
                Err(error) => return wrong(ProblemKind::BadPack, &pack_ref.path, error),
            }
        }
    };
    if listing.broken.contains(&file.path) {
        return Ok(Outcome::Known);
    }
    if file.storage_class.is_archived() && !listing.restored.contains(&file.path) {
        return Ok(Outcome::Archived { bytes: file.size_bytes });
    }
    let (path, rows) = (file.path.clone(), file.rows);
    let bytes = if audit.is_some() { file.size_bytes } else { 0 };
    let pack_path = file.pack.as_ref().map(|pack| pack.path.clone()).unwrap_or_default();
    let read = async {
        let expected = Expected::new(file, audit, packed, schema.clone(), ids)?;
        examine(&ctx.store, expected).await
    };
    match read.await {
        Ok(()) => Ok(Outcome::Read { rows, bytes }),
        Err(error) if error.stable_code() == BAD_PACK => wrong(ProblemKind::BadPack, &pack_path, error),
        Err(error) => wrong(ProblemKind::Damaged, &path, error),
    }
}

fn wrong(kind: ProblemKind, object: &str, error: Error) -> Result<Outcome> {
    match error.kind() {
        Kind::Failed => Ok(Outcome::Wrong { kind, object: object.to_owned(), what: super::problem::words(&error) }),
        _ => Err(error),
    }
}

/// Fetches a file and compares it with what is expected of it.
pub async fn examine(store: &Store, expected: Expected) -> Result<()> {
    let (runtime, file) = (Handle::current(), &expected.file);
    if file.size_bytes <= FETCH_WHOLE_BYTES {
        let bytes = store.get(&file.path).await?;
        return blocking(move || {
            same_digest(&expected, || hex(&Sha256::digest(&bytes)))?;
            expected.examine(bytes)
        })
        .await;
    }
    if expected.audit.is_none() {
        let reader = RangeReader::over(store, runtime, file);
        return blocking(move || expected.examine(reader)).await;
    }
    let (on_disk, sha256) = fetch_to_disk(store, file).await?;
    blocking(move || {
        same_digest(&expected, || sha256)?;
        expected.examine(on_disk)
    })
    .await
}

async fn blocking(work: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
    tokio::task::spawn_blocking(work).await.context("decode it")?
}

/// Bytes that are not those that were written are not decoded: nothing more can be learnt from them. A rebuilt catalog
/// does not know the digest of every file.
fn same_digest(expected: &Expected, sha256: impl FnOnce() -> String) -> Result<()> {
    match &expected.audit {
        Some(audit) if !audit.sha256.is_empty() && audit.sha256 != sha256() => {
            Err(Error::failed("its bytes are not those that were written (SHA-256 differs)"))
        }
        _ => Ok(()),
    }
}

async fn fetch_to_disk(store: &Store, file: &DataFile) -> Result<(File, String)> {
    let mut on_disk = tempfile::tempfile().context("make a temporary file")?;
    let mut hasher = Sha256::new();
    let keep = |part: &Bytes| {
        hasher.update(part);
        on_disk.write_all(part).context("write a temporary file")
    };
    store.each_part(&file.path, file.size_bytes, keep).await?;
    Ok((on_disk, hex(&hasher.finalize())))
}

/// A sink shared by the files of a run.
pub fn sink(
    take: impl Fn(&crate::model::Partition, &arrow::array::StringArray) -> Result<()> + Send + Sync + 'static,
) -> IdSink {
    Arc::new(take)
}
