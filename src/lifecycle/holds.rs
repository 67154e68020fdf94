//! Legal holds: kept in the root, so that they hold for every run from the commit on.

use crate::catalog::{Change, Operation, Outcome, Snapshot, commit};
use crate::context::Context as Ctx;
use crate::error::{Error, Kind, Result};
use crate::model::Hold;
use crate::store::Layout;

/// Puts a hold in force; returns the version from which on it holds.
pub async fn add_hold(ctx: &Ctx, hold: Hold) -> Result<Snapshot> {
    if hold.from.zip(hold.to).is_some_and(|(from, to)| to < from) {
        return Err(Error::usage("the hold ends before it begins").hint("give --from a date that is not after --to"));
    }
    let snapshot = Snapshot::open(&ctx.store).await?;
    if snapshot.root().document.holds.iter().any(|known| known.id == hold.id) {
        return Err(Error::usage(format!("there is a hold `{}` already", hold.id))
            .hint("choose another --id, or lift that one first")
            .command(format!("tier hold remove {}", hold.id)));
    }
    change(ctx, &snapshot, |change| change.add_holds.push(hold)).await
}

/// Lifts a hold.
pub async fn remove_hold(ctx: &Ctx, id: &str) -> Result<Snapshot> {
    let snapshot = Snapshot::open(&ctx.store).await?;
    let holds = &snapshot.root().document.holds;
    if !holds.iter().any(|hold| hold.id == id) {
        let names: Vec<&str> = holds.iter().map(|hold| hold.id.as_str()).collect();
        let known =
            if names.is_empty() { "there are none".to_owned() } else { format!("the holds are {}", names.join(", ")) };
        return Err(Error::usage(format!("there is no hold `{id}`")).hint(known));
    }
    change(ctx, &snapshot, |change| change.remove_holds.push(id.to_owned())).await
}

async fn change(ctx: &Ctx, snapshot: &Snapshot, what: impl FnOnce(&mut Change)) -> Result<Snapshot> {
    let mut change = Change::new(Operation::new("hold", snapshot.version()));
    what(&mut change);
    let layout = Layout::for_run(snapshot.version(), &ctx.random.id());
    match commit(ctx, Some(snapshot), &layout, change).await? {
        Outcome::Committed(snapshot) => Ok(snapshot),
        Outcome::Conflict(why) => Err(Error::new(Kind::TryAgain, why).hint("run it again")),
    }
}
