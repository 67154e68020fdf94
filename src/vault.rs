//! Second copies of data files in a Glacier vault, for those who have one: put, listed, retrieved, deleted.
//!
//! A vault knows its archives by ids that it makes up, and lists them once a day, so each copy has a record of its own:
//! `_tier/vault/<hash of the path>.json`, written when the vault has confirmed the upload. The catalog does not know of
//! the copies: what expires there stays in the vault until its copy is deleted.
//!
//! # Crash
//! Killed between the upload and the record, an archive stays in the vault that only the vault's own inventory shows, with
//! the file's path as its description; putting the file again makes another. Killed between asking for a retrieval and
//! noting it, the next [`retrieve`] asks, and pays, again. Killed between the vault's delete and the record's, the next
//! [`delete`] does the rest.

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;

use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::catalog::{LeafRef, Snapshot};
use crate::context::Context as Ctx;
use crate::error::{Context, Error, Kind, Result};
use crate::model::{DataFile, KeyRange, Retrieval};
use crate::progress::Unit;
use crate::store::{Layout, PutOutcome, Store, TempFile, VaultJob, Vaults};

const FORMAT_VERSION: u32 = 1;

/// Records read at once.
const READS_IN_FLIGHT: usize = 16;

/// Of the archive's own file, read for the upload.
const READ_BYTES: u64 = 16 << 20;

/// The record of a copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultCopy {
    format_version: u32,
    /// Of the data file, relative to the archive root.
    pub path: String,
    pub vault: String,
    pub region: String,
    pub archive_id: String,
    /// SHA-256 tree hash, 64 hex digits.
    pub tree_hash: String,
    pub size_bytes: u64,
    /// When it was put there.
    pub time: Timestamp,
    /// The last retrieval that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<RetrievalJob>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetrievalJob {
    pub id: String,
    pub retrieval: Retrieval,
    pub asked: Timestamp,
}

/// What became of a [`put`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    Done(VaultCopy),
    /// There is a copy already, perhaps in another vault.
    Known(VaultCopy),
}

impl VaultCopy {
    fn encode(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("plain data")
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let copy: VaultCopy = serde_json::from_slice(bytes).context("read the record's JSON")?;
        if copy.format_version != FORMAT_VERSION {
            return Err(Error::failed(format!("the record has format {}", copy.format_version))
                .hint("a newer tier wrote it: update this one"));
        }
        Ok(copy)
    }
}

/// A data file that the newest version must name.
pub async fn data_file(store: &Store, path: &str) -> Result<DataFile> {
    let found = Snapshot::open(store).await?.file(path).await?;
    found.map(|live| live.file).ok_or_else(|| {
        Error::usage(format!("the newest version has no data file `{path}`"))
            .code("no-such-file")
            .hint("paths are relative to the archive, as in its folders `events` and `_bundles`")
    })
}

/// Copies a data file into a vault, unless it has a copy.
pub async fn put(ctx: &Ctx, vaults: &Vaults, file: &DataFile, vault: &str) -> Result<Put> {
    if let Some(known) = find_copy(&ctx.store, &file.path).await? {
        return Ok(Put::Known(known));
    }
    let spooled = spool(ctx, file).await?;
    let task = ctx.progress.task("upload", Unit::Bytes, Some(file.size_bytes));
    let border = |bytes| {
        task.advance(bytes);
        ctx.stop.check()
    };
    let stored = vaults.upload(vault, &spooled, &file.path, &border).await?;
    let copy = VaultCopy {
        format_version: FORMAT_VERSION,
        path: file.path.clone(),
        vault: vault.to_owned(),
        region: vaults.region().to_owned(),
        archive_id: stored.archive_id,
        tree_hash: stored.tree_hash,
        size_bytes: stored.size_bytes,
        time: ctx.now(),
        job: None,
    };
    let record = Layout::vault_copy(&copy.path);
    let phrase = || format!("record the archive {} of the vault {vault}", copy.archive_id);
    let outcome = ctx.store.put_if_absent(&record, copy.encode()).await.with_context(phrase)?;
    if outcome == PutOutcome::AlreadyExists {
        let known = read_copy(&ctx.store, &copy.path).await?;
        if known.archive_id != copy.archive_id {
            // Another run was quicker: its copy is the one, and ours would be found by nobody.
            vaults.delete(vault, &copy.archive_id).await?;
            return Ok(Put::Known(known));
        }
    }
    Ok(Put::Done(copy))
}

/// The file's bytes in a local temporary file; it must be readable now.
async fn spool(ctx: &Ctx, file: &DataFile) -> Result<TempFile> {
    let address = ctx.store.address(&file.path);
    let state = ctx.store.classes().look(&file.path).await?;
    let state = state.ok_or_else(|| Error::failed(format!("{address} does not exist")).code("missing-object"))?;
    if !state.is_readable(ctx.now()) {
        let message = format!("{address} is archived in {} and cannot be read now", state.storage_class);
        return Err(Error::new(Kind::RestoreNeeded, message).code("archived").hint("restore it first: tier restore"));
    }
    let task = ctx.progress.task("read", Unit::Bytes, Some(file.size_bytes));
    let mut spooled = tempfile::tempfile().context("make a temporary file")?;
    let mut offset = 0;
    while offset < file.size_bytes {
        ctx.stop.check()?;
        let end = file.size_bytes.min(offset + READ_BYTES);
        let bytes = ctx.store.get_range(&file.path, offset..end).await?;
        spooled.write_all(&bytes).context("write a temporary file")?;
        task.advance(end - offset);
        offset = end;
    }
    TempFile::new(spooled)
}

/// All copies, by path.
pub async fn copies(store: &Store) -> Result<Vec<VaultCopy>> {
    let listed = store.list(Layout::VAULT_COPIES, None).await?;
    let reads = listed.into_iter().filter(|object| object.path.ends_with(".json"));
    let reads: Vec<_> = reads.map(|object| async move { read_record(store, &object.path).await }).collect();
    let read: Vec<Option<VaultCopy>> =
        futures::stream::iter(reads).buffer_unordered(READS_IN_FLIGHT).try_collect().await?;
    let mut copies: Vec<VaultCopy> = read.into_iter().flatten().collect();
    copies.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(copies)
}

/// The paths of copied files that the newest version still names. Leaves of other days than theirs are not read.
pub async fn in_archive(store: &Store, copies: &[VaultCopy]) -> Result<HashSet<String>> {
    let copied: HashSet<&str> = copies.iter().map(|copy| copy.path.as_str()).collect();
    let dates: HashSet<KeyRange<Date>> = copied.iter().filter_map(|path| Layout::dates_of(path)).collect();
    let keep = |leaf: &LeafRef| dates.iter().any(|dates| leaf.dates.overlaps(dates));
    let snapshot = Snapshot::open(store).await?;
    let mut found = HashSet::new();
    snapshot
        .each_file(keep, |file| {
            let path = file.path();
            if copied.contains(path.as_ref()) {
                found.insert(path.into_owned());
            }
            Ok(())
        })
        .await?;
    Ok(found)
}

pub async fn find_copy(store: &Store, path: &str) -> Result<Option<VaultCopy>> {
    Ok(read_record(store, &Layout::vault_copy(path)).await?.filter(|copy| copy.path == path))
}

/// A copy that must exist.
pub async fn read_copy(store: &Store, path: &str) -> Result<VaultCopy> {
    find_copy(store, path).await?.ok_or_else(|| {
        Error::usage(format!("no vault has a copy of `{path}`"))
            .code("no-such-copy")
            .hint("tier vault list shows the copies there are")
    })
}

async fn read_record(store: &Store, record: &str) -> Result<Option<VaultCopy>> {
    match store.get_opt(record).await? {
        Some(bytes) => VaultCopy::decode(&bytes).map(Some).with_context(|| format!("read {}", store.address(record))),
        None => Ok(None),
    }
}

/// How far the last retrieval is; `None` where none was asked for.
pub async fn job(vaults: &Vaults, copy: &VaultCopy) -> Result<Option<VaultJob>> {
    let Some(job) = &copy.job else { return Ok(None) };
    let state = vaults.job(&copy.vault, &job.id).await?;
    match &state {
        VaultJob::Ready { tree_hash: Some(theirs) } if *theirs != copy.tree_hash => Err(damaged(copy, theirs)),
        _ => Ok(Some(state)),
    }
}

/// Asks for a copy to be made readable, and notes the job.
pub async fn retrieve(ctx: &Ctx, vaults: &Vaults, copy: &VaultCopy, retrieval: Retrieval) -> Result<VaultCopy> {
    let id = vaults.start_retrieval(&copy.vault, &copy.archive_id, retrieval).await?;
    let asked = VaultCopy { job: Some(RetrievalJob { id, retrieval, asked: ctx.now() }), ..copy.clone() };
    ctx.store.put(&Layout::vault_copy(&copy.path), asked.encode()).await.context("note the retrieval")?;
    ctx.store.make_durable().await?;
    Ok(asked)
}

/// Writes what a retrieval that is ready brought to `output`, which appears whole, checked, and only where nothing is.
pub async fn download(ctx: &Ctx, vaults: &Vaults, copy: &VaultCopy, output: &Path) -> Result<()> {
    let job = copy.job.as_ref().ok_or_else(|| Error::failed("no retrieval was asked for"))?;
    let phrase = || format!("write {}", output.display());
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = NamedTempFile::with_prefix_in(".tier-", folder).with_context(phrase)?;
    let task = ctx.progress.task("download", Unit::Bytes, Some(copy.size_bytes));
    let border = |bytes| {
        task.advance(bytes);
        ctx.stop.check()
    };
    let tree_hash = vaults.download(&copy.vault, &job.id, copy.size_bytes, &mut file, &border).await?;
    if tree_hash != copy.tree_hash {
        return Err(damaged(copy, &tree_hash));
    }
    file.as_file().sync_all().with_context(phrase)?;
    file.persist_noclobber(output).with_context(phrase)?;
    Ok(())
}

fn damaged(copy: &VaultCopy, tree_hash: &str) -> Error {
    let VaultCopy { archive_id, vault, tree_hash: ours, .. } = copy;
    Error::failed(format!("the archive {archive_id} of the vault {vault} has the tree hash {tree_hash}, not {ours}"))
        .code("vault-damaged")
        .hint("nothing was written; these are not the bytes that were put there")
}

/// Deletes a copy, then its record. Safe to repeat.
pub async fn delete(ctx: &Ctx, vaults: &Vaults, copy: &VaultCopy) -> Result<()> {
    vaults.delete(&copy.vault, &copy.archive_id).await?;
    ctx.store.delete(vec![Layout::vault_copy(&copy.path)]).await.context("delete the record of the copy")
}
