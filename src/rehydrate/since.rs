//! What was added after a version: the files that the appends after it brought, and nothing else.
//!
//! # Consistency
//! Compaction and lifecycle write events into new files; those are no additions. Of an append whose files are still all
//! there these are read. Of one whose files were moved or replaced since, the moved ones are read where the newest version
//! has them, and the replaced ones themselves, as long as a version is retained that names them. What was reverted or has
//! expired since is left out.
//!
//! # Cost
//! One GET for each later version, and for each append that was touched since one for each of its leaves.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use futures::{StreamExt, TryStreamExt};
use jiff::civil::Date;

use crate::catalog::{LeafRef, LiveFile, Operation, Snapshot, Version};
use crate::error::{Error, Result};
use crate::model::{DataFile, Partition};

/// Versions looked at side by side.
const LOOKS_IN_FLIGHT: usize = 16;

/// The version, with only the events that versions after `since` added to it.
pub async fn added_since(snapshot: &Snapshot, since: u64) -> Result<Snapshot> {
    if since > snapshot.version() {
        let message = format!("there is no version {since}: the newest is {}", snapshot.version());
        return Err(Error::usage(message).code("no-such-version"));
    }
    let mut leaves = Vec::new();
    let mut touched = Touched::default();
    // Appends that lost files, until a retained version names all of them.
    let mut open: BTreeMap<u64, u64> = BTreeMap::new();
    let reverted: HashSet<u64> = snapshot.root().document.reverted.iter().copied().collect();
    let versions = futures::stream::iter(since + 1..=snapshot.version());
    let mut looked = versions.map(|version| look(snapshot, version)).buffered(LOOKS_IN_FLIGHT);
    while let Some((version, found)) = looked.try_next().await? {
        if found.operation().kind == "rebuild" {
            return Err(rebuilt(version));
        }
        if let Some(files) = added_files(found.operation()).filter(|_| !reverted.contains(&version)) {
            match whole(snapshot, version, files) {
                Some(whole) => leaves.extend(whole.into_iter().cloned()),
                None => {
                    open.insert(version, files);
                }
            }
        }
        let Version::Retained(then) = &found else { continue };
        let is_there = |(added, files): (&u64, &u64)| whole(then, *added, *files).map(|_| *added);
        for added in open.iter().filter_map(is_there).collect::<Vec<_>>() {
            open.remove(&added);
            touched.add(snapshot, since, added, then).await?;
        }
    }
    if let Some(lost) = open.keys().next_back() {
        return Err(gone(*lost, since));
    }
    leaves.extend(touched.leaves.into_values());
    Ok(snapshot.with_leaves(leaves))
}

async fn look(snapshot: &Snapshot, version: u64) -> Result<(u64, Version)> {
    if version == snapshot.version() {
        return Ok((version, Version::Retained(snapshot.clone())));
    }
    let found = Snapshot::look(snapshot.store(), version).await?;
    let missing = || Error::failed(format!("version {version} is missing")).code("corrupt-root");
    Ok((version, found.ok_or_else(missing)?))
}

/// How many files an append added; `None` of any other operation.
fn added_files(operation: &Operation) -> Option<u64> {
    (operation.kind == "append" && operation.files > 0).then_some(operation.files)
}

/// The leaves that the version `added` brought, if `then` has all of its files.
fn whole(then: &Snapshot, added: u64, files: u64) -> Option<Vec<&LeafRef>> {
    let leaves: Vec<&LeafRef> = then.root().leaves.iter().filter(|leaf| leaf.added_version == added).collect();
    (leaves.iter().map(|leaf| leaf.files).sum::<u64>() == files).then_some(leaves)
}

fn rebuilt(version: u64) -> Error {
    Error::usage(format!(
        "the catalog was rebuilt as version {version}: what was added before can no longer be told apart"
    ))
    .code("since-expired")
    .hint(format!("begin anew without --since; from then on --since {version} and later work again"))
}

fn gone(version: u64, since: u64) -> Error {
    Error::usage(format!(
        "what version {version} added can no longer be told from the rest: its files were replaced and deleted"
    ))
    .code("since-expired")
    .hint(format!("begin anew without --since, or take only what is later with --since {version} instead of {since}"))
}

/// The files of appends that lost some, as parts of leaves.
#[derive(Default)]
struct Touched {
    /// Files of the newest version in leaves after `since`, once they were needed.
    live: Option<Vec<LiveFile>>,
    leaves: HashMap<String, LeafRef>,
}

impl Touched {
    /// Adds what version `added` brought; `then` names all of its files.
    async fn add(&mut self, newest: &Snapshot, since: u64, added: u64, then: &Snapshot) -> Result<()> {
        let live = match self.live.take() {
            Some(live) => live,
            None => newest.live_files(|leaf| leaf.added_version > since).await?,
        };
        let files = then.live_files(|leaf| leaf.added_version == added).await?;
        let now_at: HashMap<&str, &LiveFile> = live.iter().map(|live| (live.file.path.as_str(), live)).collect();
        let is_replaced = |file: &&LiveFile| !now_at.contains_key(file.file.path.as_str());
        let dates: BTreeSet<Date> = files.iter().filter(is_replaced).map(|file| file.file.dates.min).collect();
        let kept = Kept::of(newest.files(|leaf| leaf.may_hold_any(&dates)).await?);
        for file in &files {
            match now_at.get(file.file.path.as_str()) {
                Some(moved) => self.pick(newest, &live, moved),
                None if kept.has(&file.file) => self.pick(then, &files, file),
                // The whole cell has expired.
                None => {}
            }
        }
        self.live = Some(live);
        Ok(())
    }

    /// Picks a file of the version `of`, whose leaf has those of `files` that name it.
    fn pick(&mut self, of: &Snapshot, files: &[LiveFile], picked: &LiveFile) {
        let leaf = self.leaves.entry(picked.leaf.clone()).or_insert_with(|| {
            let leaf = of.root().leaves.iter().find(|leaf| leaf.path == picked.leaf).expect("the version has the leaf");
            let mut leaf = LeafRef { files: 0, rows: 0, size_bytes: 0, ..leaf.clone() };
            leaf.deleted.extend(files.iter().filter(|live| live.leaf == picked.leaf).map(|live| live.position));
            leaf
        });
        if leaf.deleted.remove(picked.position) {
            leaf.files += 1;
            leaf.rows += picked.file.rows;
            leaf.size_bytes += picked.file.size_bytes;
        }
    }
}

/// Which cells the newest version has.
struct Kept {
    cells: HashSet<Partition>,
    bundles: Vec<DataFile>,
}

impl Kept {
    fn of(files: Vec<DataFile>) -> Self {
        let (bundles, cells): (Vec<_>, Vec<_>) = files.into_iter().partition(DataFile::is_bundle);
        Kept { cells: cells.iter().filter_map(DataFile::partition).collect(), bundles }
    }

    fn has(&self, file: &DataFile) -> bool {
        file.partition()
            .is_some_and(|cell| self.cells.contains(&cell) || self.bundles.iter().any(|bundle| bundle.covers(&cell)))
    }
}
