//! The files that an action takes, and what becomes of each: asked of the catalog again, month by month.

use futures::TryStreamExt;
use jiff::ToSpan;
use jiff::civil::Date;

use super::decide::{Decider, Planning};
use super::gate::Gate;
use super::layout::Part;
use super::plan::{ActionKind, Decision, Place, Plan};
use super::planner::{each, keys_of};
use crate::catalog::{LeafRef, LiveFile, Snapshot};
use crate::error::{Error, Result};
use crate::model::FileView;

/// The files of an action, each bundle's in the order of its rows; all in one list where it makes none. `snapshot` is the
/// one that the plan was made of. Memory is that of the action's files.
pub(super) async fn files(
    planning: Planning<'_>,
    snapshot: &Snapshot,
    plan: &Plan,
    action: usize,
) -> Result<Vec<Vec<LiveFile>>> {
    let planned = &plan.actions[action];
    let digests = match &planned.kind {
        ActionKind::Bundle { bundles, .. } => bundles.iter().map(|bundle| bundle.digest).collect(),
        ActionKind::InPlace { .. } | ActionKind::Expire => vec![planned.digest],
    };
    let mut lists: Vec<Vec<LiveFile>> = vec![Vec::new(); digests.len()];
    let mut decider = Decider::new(planning);
    let mut tables = snapshot.tables(leaves_of(snapshot, planned.month));
    while let Some(table) = tables.try_next().await? {
        let keys = keys_of(&decider, snapshot, &table).await?;
        let (mut positions, mut bundles) = (Vec::new(), Vec::new());
        for view in table.views()? {
            let (position, file) = view?;
            if file.dates.min.first_of_month() != planned.month {
                continue;
            }
            if let (_, Some(Place { action: of, bundle })) = plan.place(&mut decider, &file, keys.get(&position))
                && of == action
            {
                positions.push(position);
                bundles.push(bundle);
            }
        }
        for (bundle, live) in bundles.into_iter().zip(table.live_files(&positions)?) {
            lists[bundle].push(live);
        }
    }
    for (list, digest) in lists.iter_mut().zip(digests) {
        list.sort_by(|a, b| order(a).cmp(&order(b)));
        let mut found = Part::default();
        list.iter().for_each(|live| found.add(&Part::of(&FileView::from(&live.file), Gate::default())));
        if found.digest != digest {
            let message =
                format!("{} files of {} are not those of the plan", found.files, planned.month.strftime("%Y-%m"));
            return Err(Error::failed(message).code("wrong-files").hint("nothing was done with them; report this"));
        }
    }
    Ok(lists)
}

/// Shows `look` what becomes of every file that `wanted` picks, month by month and in each by path, with its place in
/// the plan. Memory is that of a month's files that are wanted.
pub async fn decisions(
    planning: Planning<'_>,
    snapshot: &Snapshot,
    plan: &Plan,
    wanted: impl Fn(&FileView<'_>) -> bool,
    mut look: impl FnMut(Decision, Option<Place>) -> Result<()>,
) -> Result<()> {
    let leaves = &snapshot.root().leaves;
    let first = leaves.iter().map(|leaf| leaf.dates.min).min();
    let last = leaves.iter().map(|leaf| leaf.dates.max).max();
    let Some((first, last)) = first.zip(last) else { return Ok(()) };
    let mut decider = Decider::new(planning);
    for month in first.first_of_month().series(1.month()).take_while(|month| *month <= last) {
        let mut found = Vec::new();
        each(&Decider::new(planning), snapshot, leaves_of(snapshot, month), |file, keys| {
            if file.dates.min.first_of_month() == month && wanted(file) {
                let (reason, place) = plan.place(&mut decider, file, keys);
                found.push((Decision { path: file.path.to_owned(), size_bytes: file.size_bytes, reason }, place));
            }
        })
        .await?;
        found.sort_by(|(a, _), (b, _)| a.path.cmp(&b.path));
        for (decision, place) in found {
            look(decision, place)?;
        }
    }
    Ok(())
}

/// The leaves that may list files of a month.
fn leaves_of(snapshot: &Snapshot, month: Date) -> Vec<LeafRef> {
    let last = month.last_of_month();
    let of_month = |leaf: &&LeafRef| leaf.dates.min <= last && leaf.dates.max >= month;
    snapshot.root().leaves.iter().filter(of_month).cloned().collect()
}

fn order(live: &LiveFile) -> (&str, &str, Date, i64, &str) {
    let file = &live.file;
    (&file.tenants.min, &file.event_types.min, file.dates.min, file.ts.min, &file.path)
}
