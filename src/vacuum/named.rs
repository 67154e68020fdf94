//! What versions name, and what the store holds beside that: compared folder by folder, in bounded memory.
//!
//! Names become digests, sorted into the folders that are listed. One folder's digests and one leaf are in memory at a
//! time, and of the listings as much as a page.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};

use crate::catalog::{LeafRef, Snapshot};
use crate::context::Context as Ctx;
use crate::data::spill::Spill;
use crate::error::Result;
use crate::model::short_digest;
use crate::progress::Unit;
use crate::store::{Layout, Listed, Store};

/// Of all digests before they go to disk.
const MEMORY_BYTES: usize = 32 << 20;

/// Folders listed at once, each with its digests in memory.
const LISTS_IN_FLIGHT: usize = 16;

/// Folders with objects of the catalog that runs write.
const OF_CATALOG: [&str; 4] = [Layout::LEAVES, Layout::PACKS, Layout::LEDGERS, Layout::DEAD_LETTERS];

/// The objects of some versions: their leaves, and what is named beside files.
#[derive(Debug, Default)]
pub struct Named {
    /// Without the positions that none of the versions names.
    leaves: BTreeMap<String, LeafRef>,
    others: BTreeSet<String>,
}

impl Named {
    /// Adds what a version names, but for leaves that versions before `since` added.
    pub fn add(&mut self, snapshot: &Snapshot, since: u64) {
        for leaf in snapshot.root().leaves.iter().filter(|leaf| leaf.added_version >= since) {
            match self.leaves.get_mut(&leaf.path) {
                Some(known) => known.deleted.retain(|at| leaf.deleted.binary_search(at).is_ok()),
                None => {
                    self.leaves.insert(leaf.path.clone(), leaf.clone());
                }
            }
        }
        let document = &snapshot.root().document;
        self.others.extend(document.ledgers.iter().map(|ledger| ledger.path.clone()));
        self.others.extend(document.dead_letters.iter().map(|file| file.path.clone()));
    }

    /// Hands out every path, some of them more than once. Reads the leaves, one at a time.
    pub async fn each(self, ctx: &Ctx, newest: &Snapshot, mut take: impl FnMut(&str) -> Result<()>) -> Result<()> {
        let task = ctx.progress.task("leaves", Unit::Files, Some(self.leaves.len() as u64));
        self.others.iter().try_for_each(|path| take(path))?;
        let mut tables = std::pin::pin!(newest.tables(self.leaves.into_values().collect()));
        // Many files share a pack.
        let mut packs = HashSet::new();
        while let Some(table) = tables.try_next().await? {
            ctx.stop.check()?;
            take(&table.leaf().path)?;
            take(&table.leaf().audit_path())?;
            table.paths(|path, pack| {
                if let Some(pack) = pack.filter(|pack| packs.insert(short_digest(pack))) {
                    take(pack)?;
                }
                take(path)
            })?;
            task.advance(1);
        }
        Ok(())
    }
}

/// Digests of names, by the folder that lists the objects.
pub struct Digests {
    spill: Spill<16>,
    folders: BTreeMap<String, u32>,
}

impl Digests {
    pub async fn of(ctx: &Ctx, newest: &Snapshot, named: Named) -> Result<Self> {
        let mut digests = Digests { spill: Spill::new(MEMORY_BYTES), folders: BTreeMap::new() };
        named.each(ctx, newest, |path| digests.add(path)).await?;
        Ok(digests)
    }

    fn add(&mut self, path: &str) -> Result<()> {
        let (folder, next) = (Layout::listed_folder(path), self.folders.len() as u32);
        let number = match self.folders.get(folder) {
            Some(number) => *number,
            None => *self.folders.entry(folder.to_owned()).or_insert(next),
        };
        self.spill.add(number, short_digest(path))
    }

    /// Objects of the store that are none of these.
    pub async fn unnamed(self, store: &Store) -> Result<impl Stream<Item = Result<Listed>> + use<>> {
        let Digests { mut spill, folders } = self;
        let mut all: BTreeMap<String, Option<u32>> = folders.into_iter().map(|(f, number)| (f, Some(number))).collect();
        let mut on_top = Vec::new();
        for top in [Layout::EVENTS, Layout::BUNDLES] {
            let (below, objects) = store.children(top).await?;
            all.extend(
                below
                    .into_iter()
                    .filter(|folder| !all.contains_key(folder))
                    .map(|folder| (folder, None))
                    .collect::<Vec<_>>(),
            );
            on_top.extend(objects.into_iter().map(Ok));
        }
        for folder in OF_CATALOG {
            all.entry(folder.to_owned()).or_insert(None);
        }
        let store = store.clone();
        let unnamed = move |(folder, number): (String, Option<u32>)| -> BoxStream<'static, Result<Listed>> {
            let digests = match number.map_or(Ok(Vec::new()), |number| spill.take(number)) {
                Ok(digests) => digests,
                Err(error) => return futures::stream::iter([Err(error)]).boxed(),
            };
            let is_unnamed = move |object: &Listed| digests.binary_search(&short_digest(&object.path)).is_err();
            let listed = store.listing(&folder, None);
            listed.try_filter(move |object| std::future::ready(is_unnamed(object))).boxed()
        };
        let lists = futures::stream::iter(all).map(unnamed).flatten_unordered(LISTS_IN_FLIGHT);
        Ok(futures::stream::iter(on_top).chain(lists))
    }
}
