//! The catalog's data files against what the store lists, one day's or month's folder at a time.
//!
//! # Cost
//! One LIST per thousand objects and at least one per folder; no request per file. In memory are the folders being
//! listed and the catalog's entries of one.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt};

use super::leaves::{Entry, Files, Place};
use super::problem::{ProblemKind, Problems};
use super::versions::Known;
use crate::catalog::read_leaf;
use crate::context::Context as Ctx;
use crate::error::Result;
use crate::model::{ObjectState, short_digest};
use crate::progress::Unit;
use crate::store::{Layout, ObjectSum};

/// Folders listed at once, each with all of its objects in memory.
const LISTS_IN_FLIGHT: usize = 8;

/// What was listed beside what the newest version names.
#[derive(Debug, Default)]
pub struct Listing {
    pub objects: u64,
    /// Named only by older versions: `--as-of` needs them, a vacuum will delete them.
    pub replaced: ObjectSum,
    /// Of a run's making, and named by no version.
    pub orphans: ObjectSum,
    /// Nothing of ours.
    pub foreign: ObjectSum,
    /// Of all these, Parquet files below `events/`, which a direct reader takes for events.
    pub in_tree: ObjectSum,
    /// The first few paths of orphans and foreign objects.
    pub examples: Vec<String>,
    /// Files of the newest version that are missing, of another size, or out of reach against the catalog's word.
    pub broken: BTreeSet<String>,
    /// Archived files of the newest version with a readable copy.
    pub restored: BTreeSet<String>,
    /// Files of the newest version that cannot be read now, by the store's word.
    pub archived: ObjectSum,
    /// Of them those below `events/`.
    pub archived_in_tree: ObjectSum,
}

/// Lists every folder of data, those the catalog does not know too.
pub async fn compare(ctx: &Ctx, known: &Known, files: &mut Files, problems: &mut Problems) -> Result<Listing> {
    let mut listing = Listing::default();
    let (folders, on_top) = files.entries.folders(&ctx.store).await?;
    for object in on_top {
        listing.objects += 1;
        listing.unnamed(&object.path, object.size_bytes);
    }
    let of_newest = files.totals.values().map(|totals| totals.files).sum();
    let task = ctx.progress.task("objects", Unit::Files, Some(of_newest));
    let lists = folders.into_iter().map(|folder| async move {
        let objects = ctx.store.classes().list(&folder).await?;
        Ok::<_, crate::error::Error>((folder, objects))
    });
    let mut lists = futures::stream::iter(lists).buffer_unordered(LISTS_IN_FLIGHT);
    let mut missing = Vec::new();
    while let Some((folder, objects)) = lists.try_next().await? {
        ctx.stop.check()?;
        task.advance(objects.len() as u64);
        let entries: Vec<Entry> = files.entries.take(&folder)?.iter().map(Entry::decode).collect();
        for entry in listing.folder(ctx, &entries, objects, problems) {
            match missing.len() < MISSING_NAMED {
                true => missing.push(entry),
                false => problems.count(ProblemKind::Missing),
            }
        }
    }
    drop(lists);
    name_missing(ctx, known, missing, &mut listing, problems).await?;
    Ok(listing)
}

/// Missing files whose names are looked up.
const MISSING_NAMED: usize = 10_000;

/// Objects without a name in the catalog that are shown.
const EXAMPLES: usize = 5;

impl Listing {
    /// Compares a folder; returns the entries that are missing. Both sides of one path may have several entries: of the
    /// newest version and of older ones.
    fn folder(
        &mut self,
        ctx: &Ctx,
        entries: &[Entry],
        objects: Vec<ObjectState>,
        problems: &mut Problems,
    ) -> Vec<Entry> {
        let mut seen = vec![false; entries.len()];
        for object in objects {
            self.objects += 1;
            let digest = short_digest(&object.path);
            let start = entries.partition_point(|entry| entry.path_digest < digest);
            let end = start + entries[start..].partition_point(|entry| entry.path_digest == digest);
            seen[start..end].fill(true);
            match entries[start..end].last() {
                Some(entry) => self.named(ctx, entry, &object, problems),
                None => self.unnamed(&object.path, object.size_bytes),
            }
        }
        let missing = entries.iter().zip(seen).filter(|(_, seen)| !seen).map(|(entry, _)| *entry);
        // Entries of one path are neighbours, the newest version's last.
        let mut missing: Vec<Entry> = missing.collect();
        missing.reverse();
        missing.dedup_by_key(|entry| entry.path_digest);
        missing
    }

    fn named(&mut self, ctx: &Ctx, entry: &Entry, object: &ObjectState, problems: &mut Problems) {
        let ObjectState { path, size_bytes, storage_class, .. } = object;
        if *size_bytes != entry.size_bytes {
            let what = format!("it has {size_bytes} bytes, the catalog says {}", entry.size_bytes);
            problems.add(ProblemKind::OtherSize, path, what);
            self.broken.insert(path.clone());
        }
        if !entry.is_newest {
            self.replaced.add(*size_bytes);
            self.count_in_tree(path, *size_bytes);
            return;
        }
        if *storage_class != entry.class {
            let what = format!("it is in {storage_class}, the catalog says {}", entry.class);
            problems.add(ProblemKind::OtherClass, path, what);
        }
        if !storage_class.is_archived() {
            return;
        }
        if object.is_readable(ctx.now()) {
            self.restored.insert(path.clone());
            return;
        }
        self.archived.add(*size_bytes);
        if path.starts_with(Layout::EVENTS) {
            self.archived_in_tree.add(*size_bytes);
        }
        if !entry.class.is_archived() {
            self.broken.insert(path.clone());
        }
    }

    fn unnamed(&mut self, path: &str, bytes: u64) {
        match Layout::base_version(path) {
            Some(_) => self.orphans.add(bytes),
            None => self.foreign.add(bytes),
        }
        if self.examples.len() < EXAMPLES {
            self.examples.push(path.to_owned());
        }
        self.count_in_tree(path, bytes);
    }

    fn count_in_tree(&mut self, path: &str, bytes: u64) {
        if path.starts_with(Layout::EVENTS) && path.ends_with(".parquet") {
            self.in_tree.add(bytes);
        }
    }
}

/// Looks the names of missing files up in their leaves. What the newest version by now no longer names is not missing.
async fn name_missing(
    ctx: &Ctx,
    known: &Known,
    missing: Vec<Entry>,
    listing: &mut Listing,
    problems: &mut Problems,
) -> Result<()> {
    let mut by_leaf: BTreeMap<u32, Vec<(Place, bool)>> = BTreeMap::new();
    for entry in missing {
        by_leaf.entry(entry.place.leaf).or_default().push((entry.place, entry.is_newest));
    }
    let leaves: Vec<_> = known.leaves.values().collect();
    for (number, places) in by_leaf {
        let leaf = &leaves[number as usize].leaf;
        let files: BTreeMap<u32, _> = read_leaf(&ctx.store, leaf).await?.into_iter().collect();
        for (place, is_newest) in places {
            let file = &files[&place.position];
            let what = match is_newest {
                true => format!("it is missing, with {} rows", file.rows),
                false => "it is missing; only --as-of an older version needs it".to_owned(),
            };
            problems.add(ProblemKind::Missing, &file.path, what);
            if is_newest {
                listing.broken.insert(file.path.clone());
            }
        }
    }
    Ok(())
}
