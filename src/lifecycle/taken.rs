//! The files that an action takes, and what becomes of each: asked of the catalog again, month by month.

use std::ops::Range;

use futures::TryStreamExt;
use jiff::ToSpan;
use jiff::civil::Date;

use super::decide::{Decider, Planning};
use super::gate::Gate;
use super::layout::Part;
use super::plan::{Action, ActionKind, Decision, Place, Plan};
use super::planner::keys_of;
use crate::catalog::{LeafRef, LeafTable, LiveFile, Snapshot};
use crate::error::{Error, Result};
use crate::model::FileView;

/// Files in memory at a time, but for those of a larger bundle.
const FILES_AT_ONCE: u64 = 16_384;

/// Files of an action that are taken together.
pub(super) struct Portion {
    /// The place of the first list among the action's bundles.
    pub first: usize,
    /// Each bundle's in the order of its rows; all in one list where the action makes none.
    pub lists: Vec<Vec<LiveFile>>,
}

impl Portion {
    pub fn files(&self) -> usize {
        self.lists.iter().map(Vec::len).sum()
    }
}

/// Hands out the files of an action, portion by portion. `snapshot` is the one that the plan was made of.
pub(super) async fn portions(
    planning: Planning<'_>,
    snapshot: &Snapshot,
    plan: &Plan,
    action: usize,
    mut take: impl AsyncFnMut(Portion) -> Result<()>,
) -> Result<()> {
    let mut search = Search { decider: Decider::new(planning), snapshot, plan, action };
    let Action { month, kind, .. } = search.planned();
    let leaves = leaves_of(snapshot, *month);
    if let ActionKind::Bundle { bundles, .. } = kind {
        for run in plan.runs_of_bundles(action, FILES_AT_ONCE) {
            let leaves = leaves.iter().filter(|leaf| run.may_take_of(&leaf.tenants)).cloned().collect();
            let lists = search.bundles(leaves, run.numbers.clone()).await?;
            for (list, bundle) in lists.iter().zip(&bundles[run.numbers.clone()]) {
                let mut found = Part::default();
                list.iter().for_each(|live| found.add(&Part::of(&FileView::from(&live.file), Gate::default())));
                search.check(&found, bundle.digest)?;
            }
            take(Portion { first: run.numbers.start, lists }).await?;
        }
        return Ok(());
    }
    search.check_all(leaves.clone()).await?;
    let mut files = Vec::new();
    let mut tables = snapshot.tables(leaves);
    while let Some(table) = tables.try_next().await? {
        files.extend(search.files(&table, &(0..1)).await?.into_iter().map(|(_, live)| live));
        if files.len() as u64 >= FILES_AT_ONCE {
            take(Portion { first: 0, lists: vec![std::mem::take(&mut files)] }).await?;
        }
    }
    match files.is_empty() {
        true => Ok(()),
        false => take(Portion { first: 0, lists: vec![files] }).await,
    }
}

/// For the files of one action.
struct Search<'a> {
    decider: Decider<'a>,
    snapshot: &'a Snapshot,
    plan: &'a Plan,
    action: usize,
}

impl<'a> Search<'a> {
    fn planned(&self) -> &'a Action {
        &self.plan.actions[self.action]
    }

    /// Shows `look` each file of the leaf that the action takes, with its position and its bundle.
    async fn each(&mut self, table: &LeafTable, mut look: impl FnMut(u32, usize, &FileView<'_>)) -> Result<()> {
        let keys = keys_of(&self.decider, self.snapshot, table).await?;
        for view in table.views()? {
            let (position, file) = view?;
            if file.dates.min.first_of_month() != self.planned().month {
                continue;
            }
            if let (_, Some(Place { action, bundle })) = self.plan.place(&mut self.decider, &file, keys.get(&position))
                && action == self.action
            {
                look(position, bundle, &file);
            }
        }
        Ok(())
    }

    /// The files of the leaf that the action takes for these bundles, each with its bundle.
    async fn files(&mut self, table: &LeafTable, numbers: &Range<usize>) -> Result<Vec<(usize, LiveFile)>> {
        let (mut positions, mut bundles) = (Vec::new(), Vec::new());
        self.each(table, |position, bundle, _| {
            if numbers.contains(&bundle) {
                positions.push(position);
                bundles.push(bundle);
            }
        })
        .await?;
        Ok(bundles.into_iter().zip(table.live_files(&positions)?).collect())
    }

    /// Those of these bundles, a list for each.
    async fn bundles(&mut self, leaves: Vec<LeafRef>, numbers: Range<usize>) -> Result<Vec<Vec<LiveFile>>> {
        let mut lists: Vec<Vec<LiveFile>> = vec![Vec::new(); numbers.len()];
        let mut tables = self.snapshot.tables(leaves);
        while let Some(table) = tables.try_next().await? {
            for (bundle, live) in self.files(&table, &numbers).await? {
                lists[bundle - numbers.start].push(live);
            }
        }
        lists.iter_mut().for_each(|list| list.sort_by(|a, b| order(a).cmp(&order(b))));
        Ok(lists)
    }

    /// That the files are those of the plan, before anything is done with the first.
    async fn check_all(&mut self, leaves: Vec<LeafRef>) -> Result<()> {
        let mut found = Part::default();
        let mut tables = self.snapshot.tables(leaves);
        while let Some(table) = tables.try_next().await? {
            self.each(&table, |_, _, file| found.add(&Part::of(file, Gate::default()))).await?;
        }
        self.check(&found, self.planned().digest)
    }

    fn check(&self, found: &Part, digest: u128) -> Result<()> {
        if found.digest == digest {
            return Ok(());
        }
        let month = self.planned().month.strftime("%Y-%m");
        let message = format!("{} files of {month} are not those of the plan", found.files);
        Err(Error::failed(message).code("wrong-files").hint("nothing was done with them; report this"))
    }
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
        let mut tables = snapshot.tables(leaves_of(snapshot, month));
        while let Some(table) = tables.try_next().await? {
            let keys = keys_of(&decider, snapshot, &table).await?;
            for view in table.views()? {
                let (position, file) = view?;
                if file.dates.min.first_of_month() == month && wanted(&file) {
                    let (reason, place) = plan.place(&mut decider, &file, keys.get(&position));
                    let path = file.path().into_owned();
                    found.push((Decision { path, size_bytes: file.size_bytes, reason }, place));
                }
            }
        }
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
