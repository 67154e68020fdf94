//! The way back from a wrong mapping: take back exactly what one version added.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use crate::catalog::{Change, Operation, Outcome, Snapshot, commit};
use crate::context::Context as Ctx;
use crate::error::{Error, Kind, Result};
use crate::model::{DataFile, Partition};
use crate::store::Layout;

/// What a revert did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RevertReport {
    pub reverted: u64,
    pub version: u64,
    pub files: u64,
    pub rows: u64,
    /// Exports that may be archived again.
    pub exports: u64,
}

/// Removes the files that `version` added and frees its exports. Refused where later commits rely on them: because they
/// added to the same cells, or dropped records as duplicates on the same dates; and where the hot tier's rows were deleted
/// because the archive has them.
pub async fn revert(ctx: &Ctx, version: u64) -> Result<RevertReport> {
    let newest = Snapshot::open(&ctx.store).await?;
    if newest.root().document.reverted.contains(&version) {
        return Err(Error::usage(format!("version {version} is reverted already")));
    }
    let added = Snapshot::at_version(&ctx.store, version).await?;
    let operation = &added.root().document.operation;
    if operation.kind != "append" {
        return Err(Error::usage(format!(
            "version {version} is a {}: only what added events can be taken back",
            operation.kind
        )));
    }
    let listed = newest.added(version..=version, |_| true).await?;
    let files: Vec<DataFile> = listed.into_iter().map(|listed| listed.live.file).collect();
    if (files.len() as u64) < operation.files {
        return Err(Error::usage(format!(
            "{} of the {} files that version {version} added were merged, moved or removed since",
            operation.files - files.len() as u64,
            operation.files
        ))
        .code("built-upon")
        .hint("its events can no longer be told from those of other versions"));
    }
    let cells: HashSet<Partition> = files.iter().filter_map(|file| file.partition()).collect();
    check_later(&newest, version, &cells).await?;
    check_trimmed(&newest, &cells)?;
    let exports = newest.find_exports(|entry| entry.version == version).await?.len() as u64;
    let (rows, bytes) = files.iter().fold((0, 0), |(rows, bytes), file| (rows + file.rows, bytes + file.size_bytes));
    let mut operation = Operation::new("revert", newest.version());
    operation.reverts = Some(version);
    operation.files = files.len() as u64;
    operation.bytes = bytes;
    let mut change = Change::new(operation);
    change.remove_versions = vec![version];
    change.close_dead_letters = newest
        .root()
        .document
        .dead_letters
        .iter()
        .filter(|file| file.version == version)
        .map(|file| file.path.clone())
        .collect();
    let layout = Layout::for_run(newest.version(), &ctx.random.id());
    match commit(ctx, Some(&newest), &layout, change).await? {
        Outcome::Committed(snapshot) => Ok(RevertReport {
            reverted: version,
            version: snapshot.version(),
            files: files.len() as u64,
            rows,
            exports,
        }),
        Outcome::Conflict(why) => Err(Error::new(Kind::TryAgain, why).hint("run it again")),
    }
}

fn check_trimmed(newest: &Snapshot, cells: &HashSet<Partition>) -> Result<()> {
    let seals = &newest.root().document.seals;
    let is_trimmed = |cell: &&Partition| seals.get(cell.date).is_some_and(|seal| seal.trimmed);
    match cells.iter().filter(is_trimmed).map(|cell| cell.date).min() {
        None => Ok(()),
        Some(date) => Err(Error::usage(format!(
            "only the archive has the events of {date}: `tier hot trim` deleted them from the hot tier"
        ))
        .code("trimmed")
        .hint("bring them back first: tier rehydrate --to ndjson FOLDER, or --to hot")),
    }
}

async fn check_later(newest: &Snapshot, version: u64, cells: &HashSet<Partition>) -> Result<()> {
    let refuse = |later: u64, why: String| {
        Err(Error::usage(format!("version {later} builds on version {version}: {why}"))
            .code("built-upon")
            .hint(format!("revert version {later} first"))
            .command(format!("tier revert {later}")))
    };
    let reverted = &newest.root().document.reverted;
    let in_cells = |file: &DataFile| file.partition().is_some_and(|cell| cells.contains(&cell));
    let added = newest.added(version + 1..=newest.version(), in_cells).await?;
    let added: HashMap<u64, String> = added.into_iter().map(|l| (l.version, l.live.file.path)).collect();
    for later in (version + 1..=newest.version()).rev() {
        let snapshot = Snapshot::at_version(newest.store(), later).await?;
        let operation = &snapshot.root().document.operation;
        if operation.kind != "append" || reverted.contains(&later) {
            continue;
        }
        if let Some(date) = operation.leaned_on.iter().find(|date| cells.iter().any(|cell| cell.date == **date)) {
            return refuse(later, format!("it dropped duplicates on {date} because the archive had them"));
        }
        if let Some(path) = added.get(&later) {
            return refuse(later, format!("it added {path}"));
        }
    }
    Ok(())
}
