//! Dead letters tried again, or given up.

use super::dead_letters::{list_dead_letters, read_dead_letters};
use super::read::Input;
use super::report::ArchiveReport;
use super::run::{ArchiveRequest, archive_batch, settle_mapping};
use crate::catalog::{Change, Operation, Outcome, Snapshot, commit};
use crate::context::Context as Ctx;
use crate::error::{Error, Kind, Result};
use crate::model::Reason;
use crate::store::Layout;

/// Which dead letters to settle.
#[derive(Debug, Clone, Copy, Default)]
pub struct Replay {
    pub reason: Option<Reason>,
    /// Those that this version added.
    pub version: Option<u64>,
}

/// Tries dead letters again with the request's mapping and columns; they are settled in the same commit, and those that
/// are refused again become new dead letters.
pub async fn replay(ctx: &Ctx, request: &ArchiveRequest, which: Replay) -> Result<ArchiveReport> {
    let snapshot = Snapshot::open(&ctx.store).await?;
    let mapping = settle_mapping(Some(&snapshot), &request.mapping)?;
    let files = list_dead_letters(&snapshot, which.reason, which.version);
    if files.is_empty() {
        return Ok(ArchiveReport { version: Some(snapshot.version()), ..ArchiveReport::default() });
    }
    let mut letters = Vec::new();
    for file in &files {
        for letter in read_dead_letters(&ctx.store, file).await? {
            letters.push(letter?);
        }
    }
    let closes = files.into_iter().map(|file| file.path).collect();
    archive_batch(ctx, request, &mapping, vec![Input::Letters(letters.into())], closes).await
}

/// Gives dead letters up: they leave the list, and their files go with the next vacuum. Returns how many there were.
pub async fn discard(ctx: &Ctx, which: Replay) -> Result<u64> {
    let snapshot = Snapshot::open(&ctx.store).await?;
    let files = list_dead_letters(&snapshot, which.reason, which.version);
    let records = files.iter().map(|file| file.records).sum();
    if files.is_empty() {
        return Ok(0);
    }
    let mut operation = Operation::new("discard", snapshot.version());
    operation.dead_letter = records;
    let mut change = Change::new(operation);
    change.close_dead_letters = files.into_iter().map(|file| file.path).collect();
    let layout = Layout::for_run(snapshot.version(), &ctx.random.id());
    match commit(ctx, Some(&snapshot), &layout, change).await? {
        Outcome::Committed(_) => Ok(records),
        Outcome::Conflict(why) => Err(Error::new(Kind::TryAgain, why).hint("look at the list again")),
    }
}
