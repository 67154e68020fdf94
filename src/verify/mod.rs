//! Is the archive whole? Compares what the catalog says with what the store has, and on request with the bytes.
//!
//! # Flow
//! [`versions`] reads every root and checks the chain; [`leaves`] reads every leaf that a retained version names and checks
//! it against its root; [`catalog_objects`] checks packs, ledgers and dead letters; [`listing`] lists the data, a day or
//! month at a time, and compares existence, size and class. Then, on request, [`read`] decodes files and compares them
//! with the catalog and their SHA-256 ([`content`]), and [`duplicates`] looks for ids that a tenant has more than once.
//!
//! # Cost
//! One GET per root, two per leaf, one per ledger file and dead-letter file, one LIST per thousand objects and at least
//! one per day; no request per data file. Memory does not grow with the archive: what is compared goes through a temporary
//! file, 34 bytes a data file.
//!
//! # What it does not tell
//! The catalog keeps no ETags, so bytes that were replaced by as many others are found by reading them only. What the store
//! itself calls archived is not read. A pack has no checksum: its copy of a footer is compared with the file where that can
//! be read, its cells with the rows.

mod catalog_objects;
mod content;
mod duplicates;
mod leaves;
mod listing;
mod problem;
mod read;
mod tree;
mod versions;

use std::collections::BTreeMap;

use serde::Serialize;

pub use duplicates::{DuplicateReport, Repeated};
pub use problem::{Problem, ProblemKind};
pub use read::{Read, ReadReport};
pub use tree::TreeReport;

use crate::catalog::Snapshot;
use crate::context::Context as Ctx;
use crate::error::Result;
use crate::store::ObjectSum;
use duplicates::Collector;
use problem::Problems;

/// What is looked at beyond catalog and listing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VerifyOptions {
    pub read: Option<Read>,
    pub duplicates: bool,
    pub tree: bool,
}

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct VerifyReport {
    /// The one that was verified, with all that may still be asked by `--as-of`.
    pub version: u64,
    pub versions_retained: u64,
    pub versions_expired: u64,
    pub leaves: u64,
    /// Of the newest version.
    pub files: u64,
    pub rows: u64,
    pub bytes: u64,
    /// Data objects that the store lists.
    pub objects: u64,
    /// Files that cannot be read without a restore.
    pub archived: ObjectSum,
    /// Replaced files that older versions still need; a vacuum deletes them.
    pub replaced: ObjectSum,
    /// Objects that no version names: of a run at work, or of one that was killed.
    pub orphans: ObjectSum,
    /// Objects below the data folders that are nothing of ours.
    pub foreign: ObjectSum,
    /// Unfinished local writes of killed processes.
    pub unfinished: ObjectSum,
    /// The first few of these.
    pub examples: Vec<String>,
    /// Roots and leaves that cannot be read: their files are among the orphans here, and must not be deleted.
    pub unreadable: u64,
    /// A commit came while verifying: what it added counts as orphans here.
    pub newer_version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<ReadReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicates: Option<DuplicateReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tree: Option<TreeReport>,
    /// How many there are of each kind.
    pub counts: BTreeMap<ProblemKind, u64>,
    /// The first thousand.
    pub problems: Vec<Problem>,
}

impl VerifyReport {
    /// Something is lost, damaged or not as the catalog says.
    pub fn is_broken(&self) -> bool {
        !self.counts.is_empty()
    }

    /// Nothing is broken, but a person should look.
    pub fn wants_a_look(&self) -> bool {
        let left_behind = self.orphans.objects + self.unfinished.objects > 0 && self.newer_version.is_none();
        left_behind
            || self.foreign.objects > 0
            || self.duplicates.as_ref().is_some_and(|duplicates| duplicates.repeated_ids > 0)
            || self.tree.as_ref().is_some_and(|tree| !tree.is_exact)
    }
}

/// Looks at everything and changes nothing.
pub async fn verify(ctx: &Ctx, options: &VerifyOptions) -> Result<VerifyReport> {
    let newest = Snapshot::open(&ctx.store).await?;
    let document = &newest.root().document;
    let mut problems = Problems::default();
    let known = versions::read(ctx, &newest, &mut problems).await?;
    let mut files = leaves::read(ctx, &known, document, &mut problems).await?;
    let mut orphans = catalog_objects::check(ctx, &known, &files, &mut problems).await?;
    let listing = listing::compare(ctx, &known, &mut files, &mut problems).await?;
    let rows = newest.root().leaves.rows();
    let collector = options.duplicates.then(|| Collector::new(rows));
    let ids = collector.as_ref().map(|collector| collector as &dyn read::Ids);
    let read = match options.read.is_some() || options.duplicates {
        true => Some(read::read(ctx, &known, &listing, newest.schema(), options.read, ids, &mut problems).await?),
        false => None,
    };
    let duplicates = match collector {
        Some(collector) => Some(duplicates::find(ctx, &known, newest.schema(), collector, &mut problems).await?),
        None => None,
    };
    let mut unfinished = ObjectSum::default();
    ctx.store.temporary_files().await?.iter().for_each(|file| unfinished.add(file.size_bytes));
    orphans.objects += listing.orphans.objects;
    orphans.bytes += listing.orphans.bytes;
    let now = Snapshot::open(&ctx.store).await?.version();
    let total = |get: fn(&crate::catalog::Totals) -> u64| document.totals.values().map(get).sum();
    Ok(VerifyReport {
        version: newest.version(),
        versions_retained: known.retained,
        versions_expired: known.expired,
        leaves: known.leaves.len() as u64,
        files: total(|totals| totals.files),
        rows,
        bytes: total(|totals| totals.bytes),
        objects: listing.objects,
        archived: listing.archived,
        replaced: listing.replaced,
        orphans,
        foreign: listing.foreign,
        unfinished,
        unreadable: known.unreadable + files.unreadable,
        newer_version: (now > newest.version()).then_some(now),
        read,
        duplicates,
        tree: options.tree.then(|| TreeReport::of(&files, &listing)),
        counts: problems.counts,
        problems: problems.named,
        examples: listing.examples,
    })
}
