//! Where policy, bucket rules, catalog and store have come apart. Looks at everything, changes nothing but, on request,
//! the catalog's record of classes.
//!
//! # Cost
//! One LIST per thousand objects of the archive's data.

use std::collections::HashMap;
use std::fmt;

use serde::Serialize;

use super::bucket_rules::{SMALLEST_MOVED_BYTES, rules_for};
use super::policy::Policy;
use crate::catalog::{Change, LiveFile, NewFile, Operation, Outcome, Snapshot, commit};
use crate::context::Context as Ctx;
use crate::error::{Error, Kind, Result};
use crate::model::{ObjectState, StorageClass};
use crate::store::{BucketRule, Layout, Location, OUR_RULES};

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
    let mut found = Drift { version: snapshot.version(), ..Drift::default() };
    let mut states: HashMap<String, ObjectState> = HashMap::new();
    for folder in [Layout::EVENTS, Layout::BUNDLES] {
        let listed = store.classes().list(folder).await?;
        states.extend(listed.into_iter().map(|state| (state.path.clone(), state)));
    }
    found.objects = states.len() as u64;
    let small = states.values().filter(|s| s.path.starts_with(Layout::EVENTS) && s.size_bytes < SMALLEST_MOVED_BYTES);
    let (small_objects, small_bytes) = small.fold((0, 0), |(n, bytes), state| (n + 1, bytes + state.size_bytes));
    for live in snapshot.live_files(|_| true).await? {
        let path = live.file.path.clone();
        match states.remove(&path) {
            None => found.findings.push(Finding::Missing { path }),
            Some(state) if state.size_bytes != live.file.size_bytes => {
                found.findings.push(Finding::OtherSize { path, catalog: live.file.size_bytes, store: state.size_bytes })
            }
            Some(state) if state.storage_class != live.file.storage_class => {
                let (catalog, store) = (live.file.storage_class, state.storage_class);
                found.findings.push(Finding::OtherClass { path, catalog, store });
                found.moved.push((live, store));
            }
            Some(_) => {}
        }
    }
    // Files that older versions name and orphans of killed runs are a vacuum's affair.
    let foreign = states.into_values().filter(|state| Layout::base_version(&state.path).is_none());
    let mut foreign: Vec<_> =
        foreign.map(|state| Finding::Unmanaged { path: state.path, size_bytes: state.size_bytes }).collect();
    foreign.sort_by_key(Finding::to_string);
    found.findings.extend(foreign);
    let rules = store.classes().rules().await?;
    found.findings.extend(of_rules(policy, store.location(), &rules, small_objects, small_bytes));
    if store.classes().bucket().await?.versioned {
        found.findings.push(Finding::Versioned);
    }
    Ok(found)
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
