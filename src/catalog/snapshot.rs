//! A version of the archive, opened for reading.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::document::{Operation, RootDocument};
use super::expired::Stub;
use super::leaf::{FileAudit, LeafRef, Listed, LiveFile, read_audits, read_leaf};
use super::leaf_table::{LeafFile, LeafTable};
use super::ledger;
use super::root::Root;
use super::root_cache;
use crate::error::{Context, Error, Kind, Result};
use crate::model::{DataFile, ExportEntry, FileView, Schema, sha256};
use crate::store::{Layout, Store};

/// Leaves read at once.
const LEAF_READS_IN_FLIGHT: usize = 32;

/// An immutable view of one version. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Snapshot {
    store: Store,
    root: Arc<Root>,
    /// The root as the store has it.
    bytes: Bytes,
}

/// A version that was committed.
#[derive(Debug, Clone)]
pub enum Version {
    Retained(Snapshot),
    /// Some of its files are deleted; what it did is still known.
    Expired(Stub),
}

impl Version {
    pub fn time(&self) -> Timestamp {
        match self {
            Version::Retained(snapshot) => snapshot.root.document.time,
            Version::Expired(stub) => stub.time,
        }
    }

    pub fn operation(&self) -> &Operation {
        match self {
            Version::Retained(snapshot) => &snapshot.root.document.operation,
            Version::Expired(stub) => &stub.operation,
        }
    }
}

/// `_tier/hint`: where to begin looking. It may be old or missing, never needed.
#[derive(Debug, Serialize, Deserialize)]
struct Hint {
    version: u64,
}

impl Snapshot {
    /// The newest version, or `None` where nothing has been committed.
    pub async fn latest(store: &Store) -> Result<Option<Self>> {
        let latest = match Self::latest_since_last_time(store).await? {
            Some(snapshot) => Some(snapshot),
            None => Self::latest_by_hint(store).await?,
        };
        if let Some(snapshot) = &latest {
            root_cache::remember(store, snapshot.version());
        }
        Ok(latest)
    }

    /// With one listing, which shows that the version this machine saw last is still there as it was, or what is newer.
    async fn latest_since_last_time(store: &Store) -> Result<Option<Self>> {
        let Some(seen) = root_cache::remembered(store) else { return Ok(None) };
        let listed = store.list(Layout::ROOTS, Some(&Layout::root(seen.saturating_sub(1)))).await?;
        let newest = listed
            .into_iter()
            .filter_map(|object| Some((Layout::root_version(&object.path)?, object)))
            .max_by_key(|(version, _)| *version);
        let Some((version, object)) = newest else { return Ok(None) };
        match root_cache::get(store, &object) {
            Some(bytes) => Self::decode(store, version, bytes).map(Some),
            None => Self::at_version(store, version).await.map(Some),
        }
    }

    async fn latest_by_hint(store: &Store) -> Result<Option<Self>> {
        let hint = read_hint(store).await?;
        if let Some(version) = hint {
            let root = Layout::root(version);
            let (newer, hinted) =
                futures::try_join!(newest_listed(store, Some(&root)), root_cache::fetch(store, version))?;
            match (newer, hinted) {
                (Some(newer), _) => return Self::at_version(store, newer).await.map(Some),
                (None, Some(bytes)) => return Self::decode(store, version, bytes).map(Some),
                // The hint names a root that is not there: look at all of them.
                (None, None) => {}
            }
        }
        match newest_listed(store, None).await? {
            Some(version) => Self::at_version(store, version).await.map(Some),
            None => hint.map_or(Ok(None), |version| Err(lost(version))),
        }
    }

    /// What is before the first version: no event.
    pub fn empty(store: &Store) -> Self {
        Self::committed(store, Root { document: RootDocument::empty(), leaves: Vec::new().into() }, Bytes::new())
    }

    /// The newest version of an archive that must exist.
    pub async fn open(store: &Store) -> Result<Self> {
        Self::latest(store).await?.ok_or_else(|| no_archive(store))
    }

    pub async fn at_version(store: &Store, version: u64) -> Result<Self> {
        match Self::look(store, version).await? {
            Some(Version::Retained(snapshot)) => Ok(snapshot),
            Some(Version::Expired(stub)) => Err(expired(&stub)),
            None => Err(no_such_version(store, format!("there is no version {version}")).await?),
        }
    }

    /// The version that was the newest at `time`.
    pub async fn at_time(store: &Store, time: Timestamp) -> Result<Self> {
        let versions = listed_versions(store, None).await?;
        let (mut low, mut high, mut found) = (0, versions.len(), None);
        while low < high {
            let middle = low + (high - low) / 2;
            let version = Self::look(store, versions[middle]).await?;
            match version.filter(|version| version.time() <= time) {
                Some(version) => {
                    low = middle + 1;
                    found = Some(version);
                }
                None => high = middle,
            }
        }
        match found {
            Some(Version::Retained(snapshot)) => Ok(snapshot),
            Some(Version::Expired(stub)) => Err(expired(&stub)),
            None => Err(no_such_version(store, format!("the archive has no version as old as {time:.0}")).await?),
        }
    }

    /// A version, retained or expired; `None` when it was never made.
    pub async fn look(store: &Store, version: u64) -> Result<Option<Version>> {
        let Some(bytes) = root_cache::fetch(store, version).await? else { return Ok(None) };
        match Stub::decode(bytes.clone()).with_context(|| format!("read version {version}"))? {
            Some(stub) => Ok(Some(Version::Expired(stub))),
            None => Self::decode(store, version, bytes).map(|snapshot| Some(Version::Retained(snapshot))),
        }
    }

    fn decode(store: &Store, version: u64, bytes: Bytes) -> Result<Self> {
        let phrase = || format!("read version {version} at {}", store.address(&Layout::root(version)));
        let root = Root::decode(bytes.clone()).map_err(damaged).with_context(phrase)?;
        super::invariants::check(&root).with_context(phrase)?;
        if root.document.version != version {
            return Err(Error::failed(format!("it says it is version {}", root.document.version)).code("corrupt-root"))
                .with_context(phrase);
        }
        Ok(Self::committed(store, root, bytes))
    }

    pub(super) fn committed(store: &Store, root: Root, bytes: Bytes) -> Self {
        Snapshot { store: store.clone(), root: Arc::new(root), bytes }
    }

    /// The same version as if these were all of its leaves: to be read, not to be built upon.
    pub fn with_leaves(&self, leaves: Vec<LeafRef>) -> Self {
        let root = Root { document: self.root.document.clone(), leaves: leaves.into() };
        Snapshot { root: Arc::new(root), ..self.clone() }
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn root(&self) -> &Root {
        &self.root
    }

    pub fn version(&self) -> u64 {
        self.root.document.version
    }

    pub fn schema(&self) -> &Schema {
        &self.root.document.schema
    }

    /// Of the root's bytes, hex. A question never asks for it, so it is made here.
    pub fn sha256(&self) -> String {
        sha256(&self.bytes)
    }

    /// The live data files of the leaves that `keep` picks, in the leaves' order; the caller filters the files.
    pub async fn files(&self, keep: impl Fn(&LeafRef) -> bool) -> Result<Vec<DataFile>> {
        let leaves = self.leaves(keep).await?;
        Ok(leaves.into_iter().flat_map(|(_, files)| files).map(|(_, file)| file).collect())
    }

    /// As [`Snapshot::files`], with what a commit needs to remove one.
    pub async fn live_files(&self, keep: impl Fn(&LeafRef) -> bool) -> Result<Vec<LiveFile>> {
        let leaves = self.leaves(keep).await?;
        let live = |(leaf, files): (LeafRef, Vec<(u32, DataFile)>)| {
            files.into_iter().map(move |(position, file)| LiveFile { leaf: leaf.path.clone(), position, file })
        };
        Ok(leaves.into_iter().flat_map(live).collect())
    }

    /// The live files of a leaf, each with the version that added it.
    pub async fn listed(&self, leaf: &LeafRef) -> Result<Vec<Listed>> {
        let listed =
            |(position, version, file)| Listed { live: LiveFile { leaf: leaf.path.clone(), position, file }, version };
        LeafTable::read(&self.store, leaf).await?.files()?.map(|file| file.map(listed)).collect()
    }

    /// The live files that these versions added and `wanted` picks. Of files that merges have listed anew it reads all
    /// leaves that may have them.
    pub async fn added(
        &self,
        versions: RangeInclusive<u64>,
        wanted: impl Fn(&DataFile) -> bool,
    ) -> Result<Vec<Listed>> {
        let leaves: Vec<LeafRef> = self.root.leaves.iter().filter(|leaf| leaf.may_list(&versions)).cloned().collect();
        let mut reads = futures::stream::iter(leaves)
            .map(|leaf| async move { self.listed(&leaf).await })
            .buffered(LEAF_READS_IN_FLIGHT);
        let mut added = Vec::new();
        while let Some(listed) = reads.try_next().await? {
            added.extend(listed.into_iter().filter(|l| versions.contains(&l.version) && wanted(&l.live.file)));
        }
        Ok(added)
    }

    /// What audits need of these files, in their order.
    pub async fn audits(&self, files: &[LiveFile]) -> Result<Vec<FileAudit>> {
        let mut by_leaf: HashMap<&str, Vec<FileAudit>> = HashMap::new();
        for live in files {
            if !by_leaf.contains_key(live.leaf.as_str()) {
                by_leaf.insert(&live.leaf, read_audits(&self.store, &live.leaf).await?);
            }
        }
        let audit = |live: &LiveFile| by_leaf[live.leaf.as_str()].get(live.position as usize).cloned();
        let missing = |live: &LiveFile| Error::failed(format!("the audit of {} is missing", live.file.path));
        files.iter().map(|live| audit(live).ok_or_else(|| missing(live))).collect()
    }

    /// The leaves that `keep` picks, each with its live files and their positions.
    pub async fn leaves(&self, keep: impl Fn(&LeafRef) -> bool) -> Result<Vec<(LeafRef, Vec<(u32, DataFile)>)>> {
        futures::stream::iter(self.leaves_where(keep))
            .map(|leaf| async move {
                let files = read_leaf(&self.store, &leaf).await?;
                Ok((leaf, files))
            })
            .buffered(LEAF_READS_IN_FLIGHT)
            .try_collect()
            .await
    }

    /// These leaves one after the other, of which some are fetched ahead.
    pub fn leaf_files<L>(&self, leaves: L) -> impl Stream<Item = Result<LeafFile>> + Send + use<L>
    where
        L: IntoIterator<Item = LeafRef, IntoIter: Send>,
    {
        let store = self.store.clone();
        let read = move |leaf: LeafRef| {
            let store = store.clone();
            async move { LeafFile::read(&store, &leaf).await }
        };
        futures::stream::iter(leaves).map(read).buffered(LEAF_READS_IN_FLIGHT)
    }

    /// As [`Snapshot::leaf_files`], decoded when it is their turn: memory holds one of them so.
    pub fn tables(&self, leaves: Vec<LeafRef>) -> impl Stream<Item = Result<LeafTable>> + Send + use<> {
        self.leaf_files(leaves).map(|file| file?.table())
    }

    /// Looks at each live file of the leaves that `keep` picks, in place and in the leaves' order: memory is that of one
    /// leaf, however many there are.
    pub async fn each_file(
        &self,
        keep: impl Fn(&LeafRef) -> bool,
        mut look: impl FnMut(&FileView<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut tables = self.tables(self.leaves_where(keep));
        while let Some(table) = tables.try_next().await? {
            for view in table.views()? {
                look(&view?.1)?;
            }
        }
        Ok(())
    }

    /// The live files that `wanted` picks, of the leaves that `keep` picks: memory is that of what is picked.
    pub async fn pick_files(
        &self,
        keep: impl Fn(&LeafRef) -> bool,
        mut wanted: impl FnMut(&FileView<'_>) -> bool,
    ) -> Result<Vec<LiveFile>> {
        let mut tables = self.tables(self.leaves_where(keep));
        let mut picked = Vec::new();
        while let Some(table) = tables.try_next().await? {
            let mut positions = Vec::new();
            for view in table.views()? {
                let (position, view) = view?;
                if wanted(&view) {
                    positions.push(position);
                }
            }
            picked.extend(table.live_files(&positions)?);
        }
        Ok(picked)
    }

    /// The live file of this path; leaves of other days than its path says are not read.
    pub async fn file(&self, path: &str) -> Result<Option<LiveFile>> {
        let Some(dates) = Layout::dates_of(path) else { return Ok(None) };
        let found = self.pick_files(|leaf| leaf.dates.overlaps(&dates), |file| file.path() == path).await?;
        Ok(found.into_iter().next())
    }

    fn leaves_where(&self, keep: impl Fn(&LeafRef) -> bool) -> Vec<LeafRef> {
        self.root.leaves.iter().filter(|leaf| keep(leaf)).cloned().collect()
    }

    /// All versions, the expired ones included, ascending.
    pub async fn versions(&self) -> Result<Vec<u64>> {
        listed_versions(&self.store, None).await
    }

    /// Ledger entries that `wanted` picks.
    pub async fn find_exports(&self, wanted: impl Fn(&ExportEntry) -> bool) -> Result<Vec<ExportEntry>> {
        ledger::find(&self.store, &self.root.document, wanted).await
    }
}

/// Versions whose roots exist, ascending.
pub(super) async fn listed_versions(store: &Store, after: Option<&str>) -> Result<Vec<u64>> {
    let listed = store.list(Layout::ROOTS, after).await?;
    let mut versions: Vec<u64> = listed.iter().filter_map(|object| Layout::root_version(&object.path)).collect();
    versions.sort_unstable();
    Ok(versions)
}

pub(super) async fn write_hint(store: &Store, version: u64) -> Result<()> {
    store.put(Layout::HINT, serde_json::to_vec(&Hint { version }).expect("plain data")).await
}

async fn newest_listed(store: &Store, after: Option<&str>) -> Result<Option<u64>> {
    Ok(listed_versions(store, after).await?.last().copied())
}

pub(super) async fn read_hint(store: &Store) -> Result<Option<u64>> {
    let bytes = store.get_opt(Layout::HINT).await.context("open the archive")?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice::<Hint>(&bytes).ok()).map(|hint| hint.version))
}

/// What a person does about a root that cannot be read.
fn damaged(error: Error) -> Error {
    if error.kind() != Kind::Failed {
        return error;
    }
    error
        .hint("bring the object back from a copy or an older object version; if there is none, rebuild the catalog")
        .command("tier rebuild")
}

/// Nobody may begin a second archive over the data of one.
fn lost(version: u64) -> Error {
    Error::failed(format!("version {version} was committed, and there is no root any more: the catalog is lost"))
        .code("lost-catalog")
        .hint("bring _tier/root back from a copy or older object versions; if there is none, rebuild the catalog")
        .command("tier rebuild")
}

fn no_archive(store: &Store) -> Error {
    Error::failed(format!("there is no archive at {}", store.location()))
        .code("no-archive")
        .hint("check the address, or make the archive by archiving the first export")
        .command(format!("tier archive EXPORT --archive {}", store.location()))
}

fn expired(stub: &Stub) -> Error {
    Error::usage(format!(
        "version {} of {:.0} has expired: some of its files were replaced and deleted",
        stub.version, stub.time
    ))
    .code("expired-version")
    .hint("ask a later version; the newest has every event that is still kept")
}

async fn no_such_version(store: &Store, message: String) -> Result<Error> {
    let versions = listed_versions(store, None).await?;
    let Some((&oldest, &newest)) = versions.first().zip(versions.last()) else {
        return Ok(no_archive(store));
    };
    let since = match Snapshot::look(store, oldest).await? {
        Some(version) => version.time(),
        None => return Ok(no_archive(store)),
    };
    Ok(Error::usage(message)
        .code("no-such-version")
        .hint(format!("the oldest there is: version {oldest} of {since:.0}; the newest: version {newest}")))
}
