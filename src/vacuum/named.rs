//! What versions name, and what the store holds beside that: compared folder by folder, in bounded memory.
//!
//! Names become digests, sorted into the folders that are listed. One folder's digests and one leaf are in memory at a
//! time, and of the listings as much as a page.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};

use crate::catalog::{LeafRef, Snapshot};
use crate::context::Context as Ctx;
use crate::data::by_folder::ByFolder;
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
                Some(known) => known.deleted &= &leaf.deleted,
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
pub struct Digests(ByFolder<16>);

impl Digests {
    pub async fn of(ctx: &Ctx, newest: &Snapshot, named: Named) -> Result<Self> {
        let mut digests = ByFolder::new(MEMORY_BYTES);
        named.each(ctx, newest, |path| digests.add(path, short_digest(path))).await?;
        Ok(Digests(digests))
    }

    /// Objects of the store that are none of these.
    pub async fn unnamed(self, store: &Store) -> Result<impl Stream<Item = Result<Listed>> + use<>> {
        let Digests(mut digests) = self;
        let (mut folders, on_top) = digests.folders(store).await?;
        folders.extend(OF_CATALOG.map(str::to_owned));
        let store = store.clone();
        let unnamed = move |folder: String| -> BoxStream<'static, Result<Listed>> {
            let digests = match digests.take(&folder) {
                Ok(digests) => digests,
                Err(error) => return futures::stream::iter([Err(error)]).boxed(),
            };
            let is_unnamed = move |object: &Listed| digests.binary_search(&short_digest(&object.path)).is_err();
            let listed = store.listing(&folder, None);
            listed.try_filter(move |object| std::future::ready(is_unnamed(object))).boxed()
        };
        let lists = futures::stream::iter(folders).map(unnamed).flatten_unordered(LISTS_IN_FLIGHT);
        Ok(futures::stream::iter(on_top.into_iter().map(Ok)).chain(lists))
    }
}
