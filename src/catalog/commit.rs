//! One atomic change of the archive.
//!
//! # Flow
//! Write the leaves; sync; then, until it succeeds: build the next root from the newest, create it if absent. On a lost
//! race the operation's precondition is checked on the winner, and only the root is built again.
//!
//! # Crash
//! Before the root is created: orphans. After: done; the commit id in the root tells a retry so.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use jiff::civil::Date;
use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};

use super::document::{BUNDLES_FEATURE, DeadLetterFile, MERGED_LEAVES_FEATURE, Operation, RootDocument};
use super::expired::Stub;
use super::leaf::{LeafRef, LiveFile, NewFile, Relisted, write_leaves};
use super::relocate::relocate;
use super::root::Root;
use super::snapshot::{self, Snapshot};
use super::{FORMAT_VERSION, invariants, ledger};
use crate::context::Context as Ctx;
use crate::error::{Context, Error, Kind, Result};
use crate::model::{DataFile, ExportEntry, Hold, HotRead, Mapping, Partition, Schema, Seal, Seals};
use crate::store::{Layout, PutOutcome, Store};

/// Lost races before giving up: each means that somebody else made progress.
const MAX_RACES: usize = 64;

/// What a commit changes, and implicitly what it relies on; see [`commit`].
#[derive(Debug, Clone)]
pub struct Change {
    pub operation: Operation,
    pub add: Vec<NewFile>,
    /// Cells whose files were looked at to decide what is new: those of the added files, and those in which every
    /// record was a duplicate.
    pub relies_on: HashSet<Partition>,
    /// Every file of these versions goes.
    pub remove_versions: Vec<u64>,
    /// These files go, each only once and only while it is still there.
    pub remove: Vec<LiveFile>,
    /// Files that are listed anew, in leaves of their own: the archive's content stays what it is.
    pub relist: Relist,
    /// What is added holds exactly the events of what is removed.
    pub keeps_events: bool,
    /// The operation must not touch what a legal hold covers.
    pub heeds_holds: bool,
    pub add_holds: Vec<Hold>,
    /// Ids of holds to lift.
    pub remove_holds: Vec<String>,
    /// Dates that the archive answers for from this commit on.
    pub seals: BTreeMap<Date, NewSeal>,
    /// Sealed dates whose rows are going to be deleted from the hot tier. All of their cells are relied on.
    pub trims: BTreeSet<Date>,
    /// The schema after the change, made from the base's.
    pub schema: Option<Schema>,
    pub mapping: Option<Mapping>,
    pub exports: Vec<ExportEntry>,
    pub dead_letters: Vec<DeadLetterFile>,
    /// Paths of dead-letter files that this change settles.
    pub close_dead_letters: Vec<String>,
    pub gc_floor: Option<u64>,
}

impl Change {
    pub fn new(operation: Operation) -> Self {
        Change {
            operation,
            add: Vec::new(),
            relies_on: HashSet::new(),
            remove_versions: Vec::new(),
            remove: Vec::new(),
            relist: Relist::default(),
            keeps_events: false,
            heeds_holds: false,
            add_holds: Vec::new(),
            remove_holds: Vec::new(),
            seals: BTreeMap::new(),
            trims: BTreeSet::new(),
            schema: None,
            mapping: None,
            exports: Vec::new(),
            dead_letters: Vec::new(),
            close_dead_letters: Vec::new(),
            gc_floor: None,
        }
    }
}

/// A merge of leaves: which files go into new leaves, and what becomes of the old ones.
#[derive(Debug, Clone, Default)]
pub struct Relist {
    /// Each list is sorted into leaves of its own.
    pub lists: Vec<Vec<Relisted>>,
    /// Leaves that keep some of their files, with the ranges of those.
    pub narrowed: Vec<LeafRef>,
}

impl Relist {
    fn files(&self) -> impl Iterator<Item = &LiveFile> {
        self.lists.iter().flatten().map(|relisted| &relisted.live)
    }
}

/// What becomes known of a date with its seal.
#[derive(Debug, Clone, Default)]
pub struct NewSeal {
    pub incomplete: bool,
    pub read: Option<HotRead>,
}

/// How a commit ended.
#[derive(Debug)]
pub enum Outcome {
    Committed(Snapshot),
    /// Somebody else's commit changed what this one relied on: decide again on the newest version.
    Conflict(String),
}

#[derive(Debug, Serialize, Deserialize)]
struct Table {
    format_version: u32,
    table_id: String,
}

/// Commits `change`, which was decided on `base` (`None`: on an empty archive).
///
/// Relied upon, and checked again when another commit came between: that the cells of `relies_on` have the same events as
/// in `base`, and so those of dates sealed as a mirror of the hot tier, or trimmed; that the exports are not in the
/// ledger; that schema and mapping, where the change sets them, are still the base's; that dead letters to close are open; that the removed versions' files are as they were; that the
/// files to remove are there, and under no hold where the change heeds holds; and that the gc floor has not passed the
/// base.
pub async fn commit(ctx: &Ctx, base: Option<&Snapshot>, layout: &Layout, mut change: Change) -> Result<Outcome> {
    let store = &ctx.store;
    let table_id = open_table(ctx).await?;
    let commit_id = ctx.random.id();
    let added = std::mem::take(&mut change.add);
    let cells: Vec<DataFile> = added.iter().map(|new| new.file.clone()).collect();
    let relisted = change.relist.lists.clone();
    let leaves = write_leaves(store, layout, added, relisted).await.context("write the leaves")?;
    if let Some(held) = base.and_then(|base| held(base, &change)) {
        return Ok(Outcome::Conflict(held));
    }
    let mut parent = base.cloned();
    for _ in 0..MAX_RACES {
        let mut root = match next_root(ctx, parent.as_ref(), &change, &cells, &leaves, &table_id, &commit_id).await? {
            Ok(root) => root,
            Err(conflict) => return Ok(Outcome::Conflict(conflict)),
        };
        ledger::spill(store, layout, &mut root.document).await?;
        invariants::check(&root)?;
        let bytes = root.encode()?;
        let version = root.document.version;
        store.make_durable().await?;
        ctx.stop.check()?;
        // An error here is ambiguous: the root may have been created. Looking tells.
        let created = store.put_if_absent(&Layout::root(version), bytes.clone()).await;
        if matches!(created, Ok(PutOutcome::Created)) {
            return Ok(Outcome::Committed(finish(store, root, bytes).await));
        }
        let winner = match store.get_opt(&Layout::root(version)).await {
            Ok(Some(bytes)) if Stub::decode(bytes.clone())?.is_some() => {
                return Err(Error::new(
                    Kind::TryAgain,
                    format!("version {version} was committed and has expired since"),
                )
                .hint("this run stood still for long: run it again"));
            }
            Ok(Some(bytes)) => Root::decode(bytes).with_context(|| format!("read version {version}"))?,
            // Not there: the put failed for good, or the store lost sight of it for a moment.
            Ok(None) => match created {
                Err(error) => return Err(error).context("commit"),
                Ok(_) => continue,
            },
            Err(look) => return Err(created.err().unwrap_or(look)).context("commit, outcome unknown: run it again"),
        };
        if winner.document.commit_id == commit_id {
            return Ok(Outcome::Committed(finish(store, winner, bytes).await));
        }
        let newest = Snapshot::open(store).await?;
        if let Some(conflict) = precondition(base, &newest, &change).await? {
            return Ok(Outcome::Conflict(conflict));
        }
        relocate(&newest, &mut change.remove).await?;
        parent = Some(newest);
    }
    Err(Error::new(Kind::TryAgain, format!("lost {MAX_RACES} commit races in a row"))
        .hint("run it again when fewer writers are at work"))
}

async fn finish(store: &Store, root: Root, bytes: Bytes) -> Snapshot {
    if let Err(error) = snapshot::write_hint(store, root.document.version).await {
        tracing::warn!("the commit is done, but its hint was not written: {error}");
    }
    Snapshot::committed(store, root, bytes)
}

/// The table's id; the first writer makes it.
pub(super) async fn open_table(ctx: &Ctx) -> Result<String> {
    let fresh = Table { format_version: FORMAT_VERSION, table_id: ctx.random.id() };
    let bytes = match ctx.store.get_opt(Layout::TABLE).await? {
        Some(bytes) => bytes,
        None => {
            let json = serde_json::to_vec_pretty(&fresh).expect("plain data");
            match ctx.store.put_if_absent(Layout::TABLE, json).await? {
                PutOutcome::Created => return Ok(fresh.table_id),
                PutOutcome::AlreadyExists => ctx.store.get(Layout::TABLE).await?,
            }
        }
    };
    let table: Table =
        serde_json::from_slice(&bytes).with_context(|| format!("read {}", ctx.store.address(Layout::TABLE)))?;
    Ok(table.table_id)
}

/// The root after `parent` with the change applied; a conflict where it can no longer be applied.
async fn next_root(
    ctx: &Ctx,
    parent: Option<&Snapshot>,
    change: &Change,
    cells: &[DataFile],
    leaves: &[LeafRef],
    table_id: &str,
    commit_id: &str,
) -> Result<Result<Root, String>> {
    let mut document = match parent {
        Some(parent) => next_document(ctx, parent, change, commit_id),
        None => first_document(ctx, change, table_id, commit_id),
    };
    if change.operation.base_version < document.gc_floor && change.operation.kind != "vacuum" {
        let message = format!(
            "this run began at version {}, below the vacuum's floor {}",
            change.operation.base_version, document.gc_floor
        );
        return Err(Error::new(Kind::TryAgain, message).hint("its files may be gone: run it again"));
    }
    let version = document.version;
    for file in cells {
        document.totals.entry(file.storage_class).or_default().add(1, file.rows, file.size_bytes);
    }
    document.exports.extend(change.exports.iter().cloned().map(|entry| ExportEntry { version, ..entry }));
    document.dead_letters.retain(|file| !change.close_dead_letters.contains(&file.path));
    document.dead_letters.extend(change.dead_letters.iter().cloned().map(|file| DeadLetterFile { version, ..file }));
    document.reverted.extend(&change.remove_versions);
    document.holds.retain(|hold| !change.remove_holds.contains(&hold.id));
    document.holds.extend(change.add_holds.iter().cloned());
    let needs_bundles = cells.iter().any(DataFile::is_bundle);
    if needs_bundles && !document.required_features.iter().any(|feature| feature == BUNDLES_FEATURE) {
        document.required_features.push(BUNDLES_FEATURE.to_owned());
    }
    if !change.relist.lists.is_empty() && !document.required_features.iter().any(|f| f == MERGED_LEAVES_FEATURE) {
        document.required_features.push(MERGED_LEAVES_FEATURE.to_owned());
    }
    let (mut kept, mut reverted) = (Vec::new(), Vec::new());
    if let Some(parent) = parent {
        for added in &change.remove_versions {
            reverted.extend(parent.added(*added..=*added, |_| true).await?.into_iter().map(|listed| listed.live));
        }
        kept.extend(parent.root().leaves.iter().cloned());
    }
    let reverted_dates = reverted.iter().map(|live| live.file.dates.min).collect();
    seal(&mut document.seals, change, cells, &reverted_dates);
    let removed = change.remove.iter().chain(&reverted);
    if let Err(conflict) = remove_files(&mut document, &mut kept, removed, &change.relist) {
        return Ok(Err(conflict));
    }
    document.totals.retain(|_, totals| totals.files > 0);
    kept.extend(leaves.iter().cloned().map(|leaf| LeafRef {
        added_version: version,
        oldest_version: leaf.oldest_version.min(version),
        ..leaf
    }));
    Ok(Ok(Root { document, leaves: kept.into() }))
}

/// Unseals dates that lost events to a revert, while the hot tier may still have them; notes which dates are no mirror of
/// it any more; and seals the change's own dates.
fn seal(seals: &mut Seals, change: &Change, cells: &[DataFile], reverted: &BTreeSet<Date>) {
    let is_in_hot = |date: &&Date| seals.get(**date).is_some_and(|seal| seal.read.is_some() && !seal.trimmed);
    let unsealed: Vec<Date> = reverted.iter().filter(is_in_hot).copied().collect();
    unsealed.into_iter().for_each(|date| seals.remove(date));
    let touched: Vec<_> = cells.iter().chain(change.remove.iter().map(|live| &live.file)).map(|f| &f.dates).collect();
    let is_touched = |seal: &Seal| {
        !change.keeps_events && touched.iter().any(|dates| dates.min <= seal.last && seal.first <= dates.max)
    };
    seals.map_reads(is_touched, |read| Some(HotRead { is_mirror: false, ..read }));
    for (date, new) in &change.seals {
        seals.set(*date, new.incomplete, new.read.clone());
    }
    change.trims.iter().for_each(|date| seals.trim(*date));
}

/// Marks the files deleted in their leaves, which leave the root when they are empty. What is listed anew stays in the
/// totals.
fn remove_files<'a>(
    document: &mut RootDocument,
    leaves: &mut Vec<LeafRef>,
    removed: impl Iterator<Item = &'a LiveFile> + Clone,
    relist: &'a Relist,
) -> Result<(), String> {
    let gone = |live: &LiveFile| format!("another run replaced {}", live.file.path);
    for live in removed.clone() {
        let DataFile { rows, size_bytes, storage_class, .. } = &live.file;
        let totals = document.totals.entry(*storage_class).or_default();
        totals.remove(*rows, *size_bytes).ok_or_else(|| gone(live))?;
    }
    let mut by_leaf: HashMap<&str, Vec<&LiveFile>> = HashMap::new();
    for live in removed.chain(relist.files()) {
        by_leaf.entry(&live.leaf).or_default().push(live);
    }
    let narrowed: HashMap<&str, &LeafRef> = relist.narrowed.iter().map(|leaf| (leaf.path.as_str(), leaf)).collect();
    for leaf in leaves.iter_mut() {
        let Some(files) = by_leaf.remove(leaf.path.as_str()) else { continue };
        for live in files {
            if !leaf.deleted.insert(live.position) {
                return Err(gone(live));
            }
            leaf.files -= 1;
            leaf.rows -= live.file.rows;
            leaf.size_bytes -= live.file.size_bytes;
        }
        leaf.deleted.optimize();
        if let Some(LeafRef { tenants, event_types, dates, ts, .. }) = narrowed.get(leaf.path.as_str()) {
            (leaf.tenants, leaf.event_types) = (tenants.clone(), event_types.clone());
            (leaf.dates, leaf.ts) = (dates.clone(), ts.clone());
        }
    }
    leaves.retain(|leaf| leaf.files > 0);
    // Of a leaf that is not there any more.
    by_leaf.into_values().flatten().next().map_or(Ok(()), |live| Err(gone(live)))
}

fn first_document(ctx: &Ctx, change: &Change, table_id: &str, commit_id: &str) -> RootDocument {
    RootDocument {
        format_version: FORMAT_VERSION,
        required_features: Vec::new(),
        table_id: table_id.to_owned(),
        version: 1,
        commit_id: commit_id.to_owned(),
        parent_commit_id: None,
        parent_sha256: None,
        time: ctx.now(),
        operation: change.operation.clone(),
        schema: change.schema.clone().unwrap_or_default(),
        mapping: change.mapping.clone(),
        exports: Vec::new(),
        ledgers: Vec::new(),
        reverted: Vec::new(),
        dead_letters: Vec::new(),
        holds: Vec::new(),
        seals: Default::default(),
        gc_floor: 0,
        totals: Default::default(),
    }
}

fn next_document(ctx: &Ctx, parent: &Snapshot, change: &Change, commit_id: &str) -> RootDocument {
    let before = &parent.root().document;
    RootDocument {
        format_version: FORMAT_VERSION,
        version: before.version + 1,
        commit_id: commit_id.to_owned(),
        parent_commit_id: Some(before.commit_id.clone()),
        parent_sha256: Some(parent.sha256()),
        time: ctx.now().max(before.time),
        operation: change.operation.clone(),
        schema: change.schema.clone().unwrap_or_else(|| before.schema.clone()),
        mapping: change.mapping.clone().or_else(|| before.mapping.clone()),
        gc_floor: change.gc_floor.unwrap_or(0).max(before.gc_floor),
        ..before.clone()
    }
}

/// Why the change, decided on `base`, does not hold on `newest`; `None` when it does.
async fn precondition(base: Option<&Snapshot>, newest: &Snapshot, change: &Change) -> Result<Option<String>> {
    let (then, now) = (base.map(|base| &base.root().document), &newest.root().document);
    if change.schema.is_some() && then.map(|then| &then.schema) != Some(&now.schema) {
        return Ok(Some("another run changed the schema".to_owned()));
    }
    if change.mapping.is_some() && then.and_then(|then| then.mapping.as_ref()) != now.mapping.as_ref() {
        return Ok(Some("another run set the mapping".to_owned()));
    }
    let is_open = |path: &String| now.dead_letters.iter().any(|file| &file.path == path);
    if !change.close_dead_letters.iter().all(is_open) {
        return Ok(Some("another run settled these dead letters".to_owned()));
    }
    let ours: HashSet<_> = change.exports.iter().map(|entry| (&entry.digest, &entry.mapping)).collect();
    if !ours.is_empty()
        && !newest.find_exports(|entry| ours.contains(&(&entry.digest, &entry.mapping))).await?.is_empty()
    {
        return Ok(Some("another run archived one of these exports".to_owned()));
    }
    if let Some(conflict) = held(newest, change) {
        return Ok(Some(conflict));
    }
    let lifted = |id: &String| !now.holds.iter().any(|hold| &hold.id == id);
    if change.remove_holds.iter().any(lifted) {
        return Ok(Some("another run lifted this hold".to_owned()));
    }
    if !change.remove_versions.is_empty() {
        // What a revert may pull away depends on every later commit.
        return Ok(Some("another run committed".to_owned()));
    }
    if only_moved(base, newest).await? {
        return Ok(None);
    }
    let mirrors = change.seals.iter().filter(|(_, new)| new.read.as_ref().is_some_and(|read| read.is_mirror));
    let whole_dates = mirrors.map(|(date, _)| *date).chain(change.trims.iter().copied()).collect();
    cells_changed(base, newest, &change.relies_on, &whole_dates).await
}

/// The hold on a file that the change removes, where it must heed holds.
fn held(newest: &Snapshot, change: &Change) -> Option<String> {
    let holds = newest.root().document.holds.iter().filter(|_| change.heeds_holds);
    let mut pairs = holds.flat_map(|hold| change.remove.iter().map(move |live| (hold, live)));
    let (hold, live) = pairs.find(|(hold, live)| hold.may_cover(&live.file))?;
    Some(format!("{} is under the legal hold {}", live.file.path, hold.id))
}

/// Versions looked at to find out; after more than these the cells are compared.
const LOOKS: u64 = 16;

/// Whether every commit after `base` only moved events: what was decided about their cells holds.
async fn only_moved(base: Option<&Snapshot>, newest: &Snapshot) -> Result<bool> {
    let Some(base) = base.filter(|base| newest.version() - base.version() <= LOOKS) else { return Ok(false) };
    for version in base.version() + 1..=newest.version() {
        let found = Snapshot::look(newest.store(), version).await?;
        if !found.is_some_and(|found| found.operation().keeps_events()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether files came to or left one of `cells`, or any cell of one of `whole_dates`, between the two versions.
async fn cells_changed(
    base: Option<&Snapshot>,
    newest: &Snapshot,
    cells: &HashSet<Partition>,
    whole_dates: &BTreeSet<Date>,
) -> Result<Option<String>> {
    let dates: BTreeSet<Date> = cells.iter().map(|cell| cell.date).chain(whole_dates.iter().copied()).collect();
    fn deleted(leaf: &LeafRef) -> (&str, &RoaringBitmap) {
        (&leaf.path, &leaf.deleted)
    }
    let before: HashMap<_, _> = base.iter().flat_map(|base| &base.root().leaves).map(deleted).collect();
    let after: HashMap<_, _> = newest.root().leaves.iter().map(deleted).collect();
    let is_as_in =
        |side: &HashMap<&str, &RoaringBitmap>, leaf: &LeafRef| side.get(leaf.path.as_str()) == Some(&&leaf.deleted);
    let mut changed = newest.files(|leaf| leaf.may_hold_any(&dates) && !is_as_in(&before, leaf)).await?;
    if let Some(base) = base {
        let then = base.files(|leaf| leaf.may_hold_any(&dates) && !is_as_in(&after, leaf)).await?;
        // A leaf that lost a file still lists its others: they are on both sides.
        let paths = |files: &[DataFile]| files.iter().map(|file| file.path.clone()).collect::<HashSet<_>>();
        let (paths_then, paths_now) = (paths(&then), paths(&changed));
        changed.retain(|file| !paths_then.contains(&file.path));
        changed.extend(then.into_iter().filter(|file| !paths_now.contains(&file.path)));
    }
    let touches = |file: &DataFile| match file.partition() {
        Some(cell) => cells.contains(&cell) || whole_dates.contains(&cell.date),
        None => {
            cells.iter().any(|cell| file.covers(cell))
                || whole_dates.range(file.dates.min..=file.dates.max).next().is_some()
        }
    };
    Ok(changed.iter().find(|file| touches(file)).map(|file| format!("another run changed the cell of {}", file.path)))
}
