//! Where policy, bucket rules, catalog and store have come apart. Looks at everything, changes nothing but, on request,
//! the catalog's record of classes.
//!
//! # Cost
//! One LIST per thousand objects of the archive's data and at least one per folder. In memory are the folders being
//! listed, the catalog's entries of one, and what was found; the other entries lie in a temporary file.

use std::fmt;

use futures::{StreamExt, TryStreamExt};
use serde::Serialize;

use super::bucket_rules::{SMALLEST_MOVED_BYTES, rules_for};
use super::policy::Policy;
use crate::catalog::{Change, LeafTable, LiveFile, NewFile, Operation, Outcome, Snapshot, commit};
use crate::context::Context as Ctx;
use crate::data::by_folder::ByFolder;
use crate::error::{Error, Kind, Result};
use crate::model::{ObjectState, StorageClass, short_digest};
use crate::store::{BucketRule, Layout, Location, OUR_RULES, ObjectSum};

/// Folders listed at once.
const LISTS_IN_FLIGHT: usize = 32;

/// Of the catalog's entries before they go to disk.
const MEMORY_BYTES: usize = 64 << 20;

/// Missing files that are named.
const MISSING_NAMED: usize = 10_000;

/// What is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "finding")]
pub enum Finding {
    /// The store moved it, by a rule or by hand.
    OtherClass {
        path: String,
        catalog: StorageClass,
        store: StorageClass,
    },
    /// The catalog names it and the store has none.
    Missing {
        path: String,
    },
    /// Beside those that are named.
    MoreMissing {
        files: u64,
    },
    OtherSize {
        path: String,
        catalog: u64,
        store: u64,
    },
    /// No version names it, and no run of ours made it.
    Unmanaged {
        path: String,
        size_bytes: u64,
    },
    /// Of a rule that would move cells: objects that are too small for S3 to move.
    NeverMoved {
        rule: String,
        objects: u64,
        size_bytes: u64,
    },
    /// A rule that could move or delete the catalog.
    TouchesCatalog {
        rule: String,
    },
    /// A rule that deletes data behind the catalog's back.
    Deletes {
        rule: String,
    },
    MissingRule {
        rule: String,
    },
    OtherRule {
        rule: String,
    },
    Versioned,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherClass { path, catalog, store } => {
                write!(f, "{path} is in {store}, the catalog says {catalog}: tier lifecycle drift --record")
            }
            Self::Missing { path } => write!(f, "{path} is missing: restore it from a copy"),
            Self::MoreMissing { files } => write!(f, "{files} more files are missing: tier verify"),
            Self::OtherSize { path, catalog, store } => {
                write!(f, "{path} has {store} bytes, the catalog says {catalog}: it was replaced")
            }
            Self::Unmanaged { path, size_bytes } => {
                write!(f, "{path} ({size_bytes} bytes) is not part of the archive: nobody will move or expire it")
            }
            Self::NeverMoved { rule, objects, size_bytes } => write!(
                f,
                "{objects} objects ({size_bytes} bytes) are under 128 KiB: the bucket rule {rule} never moves them"
            ),
            Self::TouchesCatalog { rule } => {
                write!(f, "the bucket rule {rule} could move or delete {}: narrow its prefix", Layout::CATALOG)
            }
            Self::Deletes { rule } => {
                write!(f, "the bucket rule {rule} deletes data that the catalog goes on naming: remove it")
            }
            Self::MissingRule { rule } => write!(f, "the bucket has no rule {rule}: tier lifecycle rules --put"),
            Self::OtherRule { rule } => write!(f, "the bucket's rule {rule} is another one: tier lifecycle rules --put"),
            Self::Versioned => f.write_str(
                "the bucket is versioned: what is deleted stays as noncurrent versions and is billed; vacuum deletes them",
            ),
        }
    }
}

/// What was found, and what the catalog may record of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Drift {
    pub version: u64,
    pub objects: u64,
    pub findings: Vec<Finding>,
    #[serde(skip)]
    moved: Vec<(LiveFile, StorageClass)>,
}

/// Compares policy, bucket rules, catalog and store.
pub async fn drift(ctx: &Ctx, policy: &Policy) -> Result<Drift> {
    let (store, snapshot) = (&ctx.store, Snapshot::open(&ctx.store).await?);
    let listed = compare(ctx, &snapshot).await?;
    let mut found = Drift { version: snapshot.version(), objects: listed.objects, ..Drift::default() };
    found.name(&snapshot, listed.apart).await?;
    if listed.more_missing > 0 {
        found.findings.push(Finding::MoreMissing { files: listed.more_missing });
    }
    let mut foreign = listed.foreign;
    foreign.sort_by_key(Finding::to_string);
    found.findings.extend(foreign);
    let rules = store.classes().rules().await?;
    found.findings.extend(of_rules(policy, store.location(), &rules, listed.small.objects, listed.small.bytes));
    if store.classes().bucket().await?.versioned {
        found.findings.push(Finding::Versioned);
    }
    Ok(found)
}

/// A file of the catalog, as far as a listing can tell; its place in the catalog leads to its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    path_digest: [u8; 16],
    size_bytes: u64,
    class: StorageClass,
    /// Among the root's leaves.
    leaf: u32,
    position: u32,
}

const ENTRY_BYTES: usize = 33;

impl Entry {
    fn encode(&self) -> [u8; ENTRY_BYTES] {
        let class = StorageClass::ALL.iter().position(|class| *class == self.class).expect("one of all") as u8;
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..16].copy_from_slice(&self.path_digest);
        bytes[16..24].copy_from_slice(&self.size_bytes.to_be_bytes());
        bytes[24] = class;
        bytes[25..29].copy_from_slice(&self.leaf.to_be_bytes());
        bytes[29..].copy_from_slice(&self.position.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8; ENTRY_BYTES]) -> Self {
        let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        Entry {
            path_digest: bytes[..16].try_into().expect("16 bytes"),
            size_bytes: u64::from_be_bytes(bytes[16..24].try_into().expect("8 bytes")),
            class: StorageClass::ALL[usize::from(bytes[24])],
            leaf: number(25),
            position: number(29),
        }
    }
}

/// What the store says of a file of the catalog, where it says something else.
#[derive(Debug, Clone, Copy)]
enum Apart {
    Missing,
    Size(u64),
    Class(StorageClass),
}

#[derive(Debug, Default)]
struct Compared {
    objects: u64,
    /// Objects below `events/` that S3 never moves.
    small: ObjectSum,
    apart: Vec<(Entry, Apart)>,
    missing: usize,
    more_missing: u64,
    foreign: Vec<Finding>,
}

/// The catalog against the listing, folder by folder.
async fn compare(ctx: &Ctx, snapshot: &Snapshot) -> Result<Compared> {
    let mut entries = entries(snapshot).await?;
    let (folders, on_top) = entries.folders(&ctx.store).await?;
    let mut compared = Compared::default();
    for object in on_top {
        compared.object(&object.path, object.size_bytes);
        compared.unnamed(object.path, object.size_bytes);
    }
    let lists = folders.into_iter().map(|folder| async move {
        let objects = ctx.store.classes().list(&folder).await?;
        Ok::<_, Error>((folder, objects))
    });
    let mut lists = futures::stream::iter(lists).buffered(LISTS_IN_FLIGHT);
    while let Some((folder, objects)) = lists.try_next().await? {
        ctx.stop.check()?;
        compared.folder(entries.take(&folder)?.iter().map(Entry::decode).collect(), objects);
    }
    Ok(compared)
}

/// Every live file's entry.
async fn entries(snapshot: &Snapshot) -> Result<ByFolder<ENTRY_BYTES>> {
    let mut entries = ByFolder::new(MEMORY_BYTES);
    let mut tables = snapshot.tables(snapshot.root().leaves.to_vec());
    let mut leaf = 0;
    while let Some(table) = tables.try_next().await? {
        for view in table.views()? {
            let (position, file) = view?;
            let path = file.path();
            let entry = Entry {
                path_digest: short_digest(&path),
                size_bytes: file.size_bytes,
                class: file.storage_class,
                leaf,
                position,
            };
            entries.add(&path, entry.encode())?;
        }
        leaf += 1;
    }
    Ok(entries)
}

impl Compared {
    fn folder(&mut self, mut entries: Vec<Entry>, objects: Vec<ObjectState>) {
        entries.sort_unstable();
        let mut seen = vec![false; entries.len()];
        for object in objects {
            self.object(&object.path, object.size_bytes);
            let digest = short_digest(&object.path);
            match entries.binary_search_by_key(&digest, |entry| entry.path_digest) {
                Ok(at) => {
                    seen[at] = true;
                    let entry = entries[at];
                    if object.size_bytes != entry.size_bytes {
                        self.apart.push((entry, Apart::Size(object.size_bytes)));
                    } else if object.storage_class != entry.class {
                        self.apart.push((entry, Apart::Class(object.storage_class)));
                    }
                }
                Err(_) => self.unnamed(object.path, object.size_bytes),
            }
        }
        for (entry, _) in entries.into_iter().zip(seen).filter(|(_, seen)| !seen) {
            if self.missing < MISSING_NAMED {
                self.missing += 1;
                self.apart.push((entry, Apart::Missing));
            } else {
                self.more_missing += 1;
            }
        }
    }

    fn object(&mut self, path: &str, size_bytes: u64) {
        self.objects += 1;
        if path.starts_with(Layout::EVENTS) && size_bytes < SMALLEST_MOVED_BYTES {
            self.small.add(size_bytes);
        }
    }

    /// Files that older versions name and orphans of killed runs are a vacuum's affair.
    fn unnamed(&mut self, path: String, size_bytes: u64) {
        if Layout::base_version(&path).is_none() {
            self.foreign.push(Finding::Unmanaged { path, size_bytes });
        }
    }
}

impl Drift {
    /// Looks up what has come apart, and says it by path.
    async fn name(&mut self, snapshot: &Snapshot, mut apart: Vec<(Entry, Apart)>) -> Result<()> {
        apart.sort_by_key(|(entry, _)| (entry.leaf, entry.position));
        let leaves = &snapshot.root().leaves;
        let mut findings = Vec::new();
        for of_leaf in apart.chunk_by(|(a, _), (b, _)| a.leaf == b.leaf) {
            let leaf = &leaves[of_leaf[0].0.leaf as usize];
            let positions: Vec<u32> = of_leaf.iter().map(|(entry, _)| entry.position).collect();
            let live = LeafTable::read(snapshot.store(), leaf).await?.live_files(&positions)?;
            for (live, (_, apart)) in live.into_iter().zip(of_leaf) {
                let (path, file) = (live.file.path.clone(), &live.file);
                findings.push(match *apart {
                    Apart::Missing => Finding::Missing { path },
                    Apart::Size(store) => Finding::OtherSize { path, catalog: file.size_bytes, store },
                    Apart::Class(store) => {
                        let catalog = file.storage_class;
                        self.moved.push((live, store));
                        Finding::OtherClass { path, catalog, store }
                    }
                });
            }
        }
        findings.sort_by_cached_key(Finding::to_string);
        self.findings.extend(findings);
        Ok(())
    }
}

/// Writes the classes that the store has confirmed into the catalog; `None` where all agree.
pub async fn record(ctx: &Ctx, drift: &Drift) -> Result<Option<Snapshot>> {
    if drift.moved.is_empty() {
        return Ok(None);
    }
    let snapshot = Snapshot::open(&ctx.store).await?;
    let mut change = Change::new(Operation::new("state", snapshot.version()));
    let live: Vec<LiveFile> = drift.moved.iter().map(|(live, _)| live.clone()).collect();
    let audits = snapshot.audits(&live).await?;
    for ((live, class), audit) in drift.moved.iter().zip(audits) {
        let mut file = live.file.clone();
        file.storage_class = *class;
        file.class_since = (*class != StorageClass::Standard).then(|| ctx.now());
        change.add.push(NewFile { file, audit });
        change.remove.push(live.clone());
    }
    change.operation.files = change.add.len() as u64;
    let layout = Layout::for_run(snapshot.version(), &ctx.random.id());
    match commit(ctx, Some(&snapshot), &layout, change).await? {
        Outcome::Committed(snapshot) => Ok(Some(snapshot)),
        Outcome::Conflict(why) => Err(Error::new(Kind::TryAgain, why).hint("run it again")),
    }
}

fn of_rules(
    policy: &Policy,
    location: &Location,
    rules: &[BucketRule],
    small_objects: u64,
    small_bytes: u64,
) -> Vec<Finding> {
    let prefix = match location {
        Location::S3 { prefix, .. } if !prefix.is_empty() => format!("{prefix}/"),
        _ => String::new(),
    };
    let mut findings = Vec::new();
    let overlaps = |rule: &BucketRule, folder: &str| {
        let folder = format!("{prefix}{folder}/");
        rule.enabled && (folder.starts_with(&rule.prefix) || rule.prefix.starts_with(&folder))
    };
    for rule in rules {
        let name = || rule.id.clone();
        let acts = !rule.transitions.is_empty() || rule.expire_after_days.is_some();
        // Tags are put on bundles only.
        if acts && rule.tags.is_empty() && overlaps(rule, Layout::CATALOG) {
            findings.push(Finding::TouchesCatalog { rule: name() });
        }
        let data = [Layout::EVENTS, Layout::BUNDLES].iter().any(|folder| overlaps(rule, folder));
        if rule.expire_after_days.is_some() && data {
            findings.push(Finding::Deletes { rule: name() });
        }
        if !rule.transitions.is_empty() && overlaps(rule, Layout::EVENTS) && small_objects > 0 {
            findings.push(Finding::NeverMoved { rule: name(), objects: small_objects, size_bytes: small_bytes });
        }
    }
    if matches!(location, Location::S3 { .. }) {
        for expected in rules_for(policy, location).rules {
            match rules.iter().find(|rule| rule.id == expected.id) {
                None if expected.transitions.is_empty() => {}
                None => findings.push(Finding::MissingRule { rule: expected.id }),
                Some(actual) if *actual != expected => findings.push(Finding::OtherRule { rule: expected.id }),
                Some(_) => {}
            }
        }
        debug_assert!(rules_for(policy, location).rules.iter().all(|rule| rule.id.starts_with(OUR_RULES)));
    }
    findings
}
