//! A root made from what the data files say, for an archive whose own cannot be read.
//!
//! # Consistency
//! The new version is above every one that a root, the hint or an object's name tells of, and the gc floor is its own: no
//! run that began before it can commit any more. Each version below that nobody can read becomes a stub, so that a stalled
//! writer cannot create it again; one that can still be read stays.
//!
//! # Crash
//! The stubs come first. Before the root there are orphans and stubs, and rebuilding goes on from there; after it old
//! versions with broken leaves may still be there, which `tier verify` names.

use std::collections::{BTreeMap, HashSet};

use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;

use super::FORMAT_VERSION;
use super::commit::open_table;
use super::document::{BUNDLES_FEATURE, DeadLetterFile, Operation, RootDocument, Totals};
use super::expired::Stub;
use super::leaf::{LeafRef, NewFile, read_leaf, write_leaves};
use super::root::Root;
use super::snapshot::{self, Snapshot, Version, listed_versions};
use super::{invariants, ledger};
use crate::context::Context as Ctx;
use crate::error::{Context, Error, Kind, Result};
use crate::model::{HotRead, Schema, StorageClass, sha256};
use crate::store::{Layout, PutOutcome, Store};

/// Roots and leaves read or written at once.
const IN_FLIGHT: usize = 16;

/// What is left of the catalog.
#[derive(Debug)]
pub struct Remains {
    /// Versions that a root or the hint tells of, ascending.
    pub versions: Vec<u64>,
    /// The newest one that can be read.
    pub readable: Option<Snapshot>,
}

impl Remains {
    pub async fn find(store: &Store) -> Result<Self> {
        let mut versions = listed_versions(store, None).await?;
        let mut readable = None;
        for version in versions.iter().rev() {
            match Snapshot::look(store, *version).await {
                Ok(Some(Version::Retained(found))) => {
                    readable = Some(found);
                    break;
                }
                Ok(_) => {}
                Err(error) if error.kind() == Kind::Failed => {}
                Err(error) => return Err(error),
            }
        }
        versions.extend(snapshot::read_hint(store).await?);
        versions.sort_unstable();
        versions.dedup();
        Ok(Remains { versions, readable })
    }

    pub fn newest(&self) -> u64 {
        self.versions.last().copied().unwrap_or(0)
    }

    /// Whether the newest version is the one that can be read.
    pub fn is_readable(&self) -> bool {
        self.readable.as_ref().is_some_and(|readable| readable.version() == self.newest())
    }
}

/// The leaves of a new catalog, written as its files come.
#[derive(Debug, Default)]
pub struct Leaves {
    leaves: Vec<LeafRef>,
    pub totals: BTreeMap<StorageClass, Totals>,
    has_bundles: bool,
}

impl Leaves {
    /// Writes leaves for these files. `base_version` is that of the run.
    pub async fn add(&mut self, ctx: &Ctx, base_version: u64, files: Vec<NewFile>) -> Result<()> {
        for NewFile { file, .. } in &files {
            self.totals.entry(file.storage_class).or_default().add(1, file.rows, file.size_bytes);
            self.has_bundles |= file.is_bundle();
        }
        let layout = Layout::for_run(base_version, &ctx.random.id());
        self.leaves.extend(write_leaves(&ctx.store, &layout, files, Vec::new()).await.context("write the leaves")?);
        Ok(())
    }

    pub fn rows(&self) -> u64 {
        self.totals.values().map(|totals| totals.rows).sum()
    }
}

/// What the data says beside its files.
#[derive(Debug)]
pub struct Rebuilt {
    /// Above everything that was ever named.
    pub version: u64,
    pub schema: Schema,
    pub leaves: Leaves,
    pub dead_letters: Vec<DeadLetterFile>,
    /// Whether exports that the readable version knows stay known.
    pub keeps_ledger: bool,
}

/// Commits the new version. What only roots know is taken over from the newest readable one, if there is one.
pub async fn commit_rebuilt(ctx: &Ctx, remains: &Remains, rebuilt: Rebuilt) -> Result<Snapshot> {
    let store = &ctx.store;
    let version = rebuilt.version;
    let table_id = match &remains.readable {
        Some(readable) => readable.root().document.table_id.clone(),
        None => open_table(ctx).await?,
    };
    let old = Old::close(ctx, version).await.context("close the versions that cannot be read")?;
    let document = document(ctx, remains, &rebuilt, table_id, &old);
    let leaves = rebuilt.leaves.leaves.into_iter().map(|leaf| LeafRef {
        added_version: version,
        oldest_version: version,
        ..leaf
    });
    let mut root = Root { document, leaves: leaves.collect::<Vec<_>>().into() };
    let layout = Layout::for_run(version - 1, &ctx.random.id());
    ledger::spill(store, &layout, &mut root.document).await?;
    invariants::check(&root)?;
    let bytes = root.encode()?;
    store.make_durable().await?;
    ctx.stop.check()?;
    match store.put_if_absent(&Layout::root(version), bytes.clone()).await.context("commit")? {
        PutOutcome::Created => {}
        PutOutcome::AlreadyExists => {
            return Err(Error::new(Kind::TryAgain, format!("version {version} was committed meanwhile"))
                .hint("stop the other writers, and run it again if the archive still cannot be read"));
        }
    }
    // Until here the hint may name a version that nobody can read.
    snapshot::write_hint(store, version).await?;
    for stub in old.broken {
        store.put(&Layout::root(stub.version), stub.encode()?).await.context("close a version with broken leaves")?;
    }
    Ok(Snapshot::committed(store, root, bytes))
}

fn document(ctx: &Ctx, remains: &Remains, rebuilt: &Rebuilt, table_id: String, old: &Old) -> RootDocument {
    let mut document = remains.readable.as_ref().map_or_else(RootDocument::empty, |readable| {
        let mut known = readable.root().document.clone();
        // Whether the archive still has all that was read from the hot tier, nobody knows now.
        known.seals.map_reads(|_| true, |read| Some(HotRead { is_mirror: false, ..read }));
        known
    });
    if !rebuilt.keeps_ledger {
        document.exports.clear();
        document.ledgers.clear();
    }
    let mut operation = Operation::new("rebuild", rebuilt.version - 1);
    operation.files = rebuilt.leaves.totals.values().map(|totals| totals.files).sum();
    operation.bytes = rebuilt.leaves.totals.values().map(|totals| totals.bytes).sum();
    RootDocument {
        format_version: FORMAT_VERSION,
        required_features: rebuilt.leaves.has_bundles.then(|| BUNDLES_FEATURE.to_owned()).into_iter().collect(),
        table_id,
        version: rebuilt.version,
        commit_id: ctx.random.id(),
        parent_commit_id: Some(old.parent_commit_id.clone()),
        parent_sha256: Some(old.parent_sha256.clone()),
        time: ctx.now().max(old.time),
        operation,
        schema: rebuilt.schema.clone(),
        dead_letters: rebuilt.dead_letters.clone(),
        gc_floor: rebuilt.version,
        totals: rebuilt.leaves.totals.clone(),
        ..document
    }
}

/// The versions below the new one.
struct Old {
    parent_commit_id: String,
    parent_sha256: String,
    time: Timestamp,
    /// Stubs for those that name a leaf which cannot be read.
    broken: Vec<Stub>,
}

impl Old {
    /// Puts a stub where a version cannot be read.
    async fn close(ctx: &Ctx, new: u64) -> Result<Self> {
        let store = &ctx.store;
        let looks = (1..new).map(|version| async move {
            match Snapshot::look(store, version).await {
                Ok(found) => Ok((version, found)),
                Err(error) if error.kind() == Kind::Failed => Ok((version, None)),
                Err(error) => Err(error),
            }
        });
        let mut looks = futures::stream::iter(looks).buffered(IN_FLIGHT);
        let mut old = Old {
            parent_commit_id: String::new(),
            parent_sha256: String::new(),
            time: Timestamp::UNIX_EPOCH,
            broken: Vec::new(),
        };
        let (mut good, mut bad) = (HashSet::new(), HashSet::new());
        // Versions without a root, until the next one tells whose child it is.
        let mut open: Vec<Stub> = Vec::new();
        while let Some((version, found)) = looks.try_next().await? {
            ctx.stop.check()?;
            let Some(found) = found else {
                let operation = Operation::new("lost", version - 1);
                open.push(Stub { version, commit_id: String::new(), time: old.time, operation });
                continue;
            };
            old.time = found.time();
            if let Version::Retained(snapshot) = &found {
                if let Some(parent) = open.last_mut() {
                    parent.commit_id = snapshot.root().document.parent_commit_id.clone().unwrap_or_default();
                }
                look_at_leaves(snapshot, &mut good, &mut bad).await?;
                if snapshot.root().leaves.iter().any(|leaf| bad.contains(&leaf.path)) {
                    old.broken.push(Stub::of(&snapshot.root().document));
                }
            }
            put_stubs(store, std::mem::take(&mut open)).await?;
            (old.parent_commit_id, old.parent_sha256) = match found {
                Version::Retained(snapshot) => (snapshot.root().document.commit_id.clone(), snapshot.sha256()),
                Version::Expired(stub) => (stub.commit_id.clone(), sha256(&stub.encode()?)),
            };
        }
        if let Some(last) = open.last() {
            (old.parent_commit_id, old.parent_sha256) = (last.commit_id.clone(), sha256(&last.encode()?));
        }
        put_stubs(store, open).await?;
        Ok(old)
    }
}

/// Sorts the version's leaves into those that can be read and those that cannot; each is read once.
async fn look_at_leaves(snapshot: &Snapshot, good: &mut HashSet<String>, bad: &mut HashSet<String>) -> Result<()> {
    let unknown = |leaf: &&LeafRef| !good.contains(&leaf.path) && !bad.contains(&leaf.path);
    let leaves: Vec<LeafRef> = snapshot.root().leaves.iter().filter(unknown).cloned().collect();
    let reads = leaves.into_iter().map(|leaf| async move {
        let read = read_leaf(snapshot.store(), &leaf).await;
        (leaf.path, read.map(drop))
    });
    let mut reads = futures::stream::iter(reads).buffer_unordered(IN_FLIGHT);
    while let Some((path, read)) = reads.next().await {
        match read {
            Ok(()) => good.insert(path),
            Err(error) if error.kind() == Kind::Failed => bad.insert(path),
            Err(error) => return Err(error),
        };
    }
    Ok(())
}

async fn put_stubs(store: &Store, stubs: Vec<Stub>) -> Result<()> {
    let puts =
        stubs.into_iter().map(|stub| async move { store.put(&Layout::root(stub.version), stub.encode()?).await });
    futures::stream::iter(puts).buffer_unordered(IN_FLIGHT).try_collect().await
}
