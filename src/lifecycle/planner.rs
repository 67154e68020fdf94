//! Makes a plan of files that pass by, keeping sums only.
//!
//! # Cost
//! Each leaf is read once, and once more where it may hold a tenant's month that fills more than one bundle. In memory are
//! a few leaves and, of months that share leaves, a sum for each tenant.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound::Included;
use std::thread;

use futures::TryStreamExt;
use futures::stream::TryChunksError;
use jiff::civil::Date;

use super::decide::{Decider, Fate, Group, Keys, Planning, weigh};
use super::layout::{self, Cell, Part, TenantMonth};
use super::plan::{Action, ActionKind, BundleAction, Key, Laid, Plan, Reason, Sum};
use crate::catalog::{LeafFile, LeafRef, LeafTable, LiveFile, Snapshot};
use crate::data::{pack, threads};
use crate::error::{Error, Result};
use crate::model::{DataFile, FileView, StorageClass};

/// Bundles whose packs are read together: a footer each.
const PACKS_AT_ONCE: usize = 256;

/// Leaves looked at side by side, at most: each is decoded in memory.
const LEAVES_AT_ONCE: usize = 8;

/// Decides about every file of the snapshot.
pub async fn plan(planning: Planning<'_>, snapshot: &Snapshot) -> Result<Plan> {
    let mut planner = Planner::new(planning);
    for leaves in spans(&snapshot.root().leaves) {
        planner.add_leaves(snapshot, leaves.clone()).await?;
        let split = planner.split();
        if !split.is_empty() {
            let may_hold = |leaf: &LeafRef| {
                split.range::<str, _>((Included(&*leaf.tenants.min), Included(&*leaf.tenants.max))).next().is_some()
            };
            let mut tables = snapshot.tables(leaves.into_iter().filter(may_hold).collect());
            while let Some(table) = tables.try_next().await? {
                for view in table.views()? {
                    planner.add_cell(&view?.1);
                }
            }
        }
        planner.lay();
    }
    Ok(planner.finish())
}

/// The same, of files at hand. Bundles among them stay where rules name types or tenants.
pub fn plan_files(planning: Planning<'_>, files: &[LiveFile]) -> Plan {
    let mut planner = Planner::new(planning);
    files.iter().for_each(|live| planner.sums.add(&mut planner.decider, &FileView::from(&live.file), None));
    if !planner.split().is_empty() {
        files.iter().for_each(|live| planner.add_cell(&FileView::from(&live.file)));
    }
    planner.lay();
    planner.finish()
}

/// The (type, tenant) pairs of a leaf's bundles, by position; of none where no rule asks for them.
pub(super) async fn keys_of(
    decider: &Decider<'_>,
    snapshot: &Snapshot,
    table: &LeafTable,
) -> Result<HashMap<u32, Keys>> {
    if !decider.needs_keys() {
        return Ok(HashMap::new());
    }
    let mut positions = Vec::new();
    for view in table.views()? {
        let (position, file) = view?;
        if file.is_bundle() {
            positions.push(position);
        }
    }
    let mut keys = HashMap::new();
    for some in positions.chunks(PACKS_AT_ONCE) {
        let files: Vec<DataFile> = table.live_files(some)?.into_iter().map(|live| live.file).collect();
        for (position, packed) in some.iter().zip(pack::read(snapshot.store(), &files).await?) {
            let pair = |rows: pack::CellRows| (rows.cell.event_type.to_string(), rows.cell.tenant_id.to_string());
            keys.extend(packed.map(|packed| (*position, packed.cells.into_iter().map(pair).collect())));
        }
    }
    Ok(keys)
}

/// The leaves in parts that share no month: what is decided by the month is decided when its part is read.
fn spans(leaves: &[LeafRef]) -> Vec<Vec<LeafRef>> {
    let mut sorted: Vec<&LeafRef> = leaves.iter().collect();
    sorted.sort_by_key(|leaf| leaf.dates.min);
    let mut spans: Vec<Vec<LeafRef>> = Vec::new();
    let mut last_day = None;
    for leaf in sorted {
        match spans.last_mut() {
            Some(span) if Some(leaf.dates.min) <= last_day => span.push(leaf.clone()),
            _ => spans.push(vec![leaf.clone()]),
        }
        last_day = last_day.max(Some(leaf.dates.max.last_of_month()));
    }
    spans
}

/// Files that one action takes one by one.
#[derive(Default)]
struct Single {
    /// Places among the policy's rules.
    rules: BTreeSet<usize>,
    part: Part,
}

impl Single {
    fn add(&mut self, rule: usize, part: &Part) {
        self.rules.insert(rule);
        self.part.add(part);
    }

    fn absorb(&mut self, other: Single) {
        self.rules.extend(other.rules);
        self.part.add(&other.part);
    }

    fn action(self, decider: &Decider<'_>, month: Date, kind: ActionKind) -> Action {
        let Single { rules, part: Part { files, bytes, digest, gate, .. } } = self;
        let rules = rules.into_iter().map(|rule| decider.rule_name(rule)).collect();
        Action { month, rules, kind, gate, files, bytes, digest }
    }
}

/// A group whose files are still passing by.
#[derive(Default)]
struct Open {
    /// Places among the policy's rules.
    rules: BTreeSet<usize>,
    tenants: HashMap<String, Share>,
}

#[derive(Default)]
struct Share {
    part: Part,
    /// Where the tenant's month is cut between its cells.
    cells: Option<BTreeMap<Cell, Part>>,
}

/// What of the files so far goes the same way.
#[derive(Default)]
struct Sums {
    open: BTreeMap<Group, Open>,
    in_place: BTreeMap<(Date, StorageClass), Single>,
    expire: BTreeMap<Date, Single>,
    stays: BTreeMap<Reason, Sum>,
}

impl Sums {
    fn add(&mut self, decider: &mut Decider<'_>, file: &FileView<'_>, keys: Option<&Keys>) {
        let month = file.dates.min.first_of_month();
        match decider.fate(file, keys) {
            Fate::Stays(reason) => self.stay(reason, Sum { files: 1, size_bytes: file.size_bytes }),
            Fate::Expires { rule, gate, .. } => {
                self.expire.entry(month).or_default().add(rule, &Part::of(file, gate));
            }
            Fate::Moves { rule, class, gate, .. } => {
                self.in_place.entry((month, class)).or_default().add(rule, &Part::of(file, gate));
            }
            Fate::Joins { rule, group } => {
                let part = Part::of(file, decider.judge.join(file));
                let open = self.open.entry(group).or_default();
                open.rules.insert(rule);
                match open.tenants.get_mut(file.tenants.min) {
                    Some(share) => share.part.add(&part),
                    None => {
                        open.tenants.insert(file.tenants.min.to_owned(), Share { part, cells: None });
                    }
                }
            }
        }
    }

    fn stay(&mut self, reason: Reason, more: Sum) {
        let sum = self.stays.entry(reason).or_default();
        sum.files += more.files;
        sum.size_bytes += more.size_bytes;
    }

    /// Those of other files.
    fn absorb(&mut self, other: Sums) {
        for (group, Open { rules, tenants }) in other.open {
            let open = self.open.entry(group).or_default();
            open.rules.extend(rules);
            for (tenant, share) in tenants {
                match open.tenants.entry(tenant) {
                    Entry::Occupied(mut known) => known.get_mut().part.add(&share.part),
                    Entry::Vacant(new) => {
                        new.insert(share);
                    }
                }
            }
        }
        other.in_place.into_iter().for_each(|(key, single)| self.in_place.entry(key).or_default().absorb(single));
        other.expire.into_iter().for_each(|(month, single)| self.expire.entry(month).or_default().absorb(single));
        other.stays.into_iter().for_each(|(reason, sum)| self.stay(reason, sum));
    }
}

struct Planner<'a> {
    decider: Decider<'a>,
    sums: Sums,
    bundling: Vec<(Key, Action)>,
    groups: BTreeMap<Group, Vec<Laid>>,
}

impl<'a> Planner<'a> {
    fn new(planning: Planning<'a>) -> Self {
        let (decider, sums) = (Decider::new(planning), Sums::default());
        Planner { decider, sums, bundling: Vec::new(), groups: BTreeMap::new() }
    }

    /// Every live file of these leaves, of which some are looked at side by side. Money is added up leaf by leaf, so that
    /// its last bits are the same on every machine.
    async fn add_leaves(&mut self, snapshot: &Snapshot, leaves: Vec<LeafRef>) -> Result<()> {
        let planning = self.decider.planning;
        let at_once = thread::available_parallelism().map_or(1, usize::from).min(LEAVES_AT_ONCE);
        let mut files = snapshot.leaf_files(leaves).try_chunks(at_once);
        while let Some(some) = files.try_next().await.map_err(|TryChunksError(_, error)| error)? {
            let mut tables = Vec::with_capacity(some.len());
            for table in threads::on_each(some, LeafFile::table) {
                let table = table?;
                let keys = keys_of(&self.decider, snapshot, &table).await?;
                tables.push((table, keys));
            }
            let sums = threads::on_each(tables, |(table, keys)| {
                let (mut decider, mut sums) = (Decider::new(planning), Sums::default());
                for view in table.views()? {
                    let (position, file) = view?;
                    sums.add(&mut decider, &file, keys.get(&position));
                }
                Ok::<_, Error>(sums)
            });
            for of_leaf in sums {
                self.sums.absorb(of_leaf?);
            }
        }
        Ok(())
    }

    /// The tenants whose files must pass by once more, by [`Planner::add_cell`].
    fn split(&mut self) -> BTreeSet<String> {
        let policy = self.decider.planning.policy;
        let shares = self.sums.open.values_mut().flat_map(|open| open.tenants.iter_mut());
        let large = shares.filter(|(_, share)| share.part.needs_cells(policy.own_bundle_bytes, policy.bundle_bytes));
        large
            .map(|(tenant, share)| {
                share.cells = Some(BTreeMap::new());
                tenant.clone()
            })
            .collect()
    }

    fn add_cell(&mut self, file: &FileView<'_>) {
        let Fate::Joins { group, .. } = self.decider.fate(file, None) else { return };
        let share = self.sums.open.get_mut(&group).and_then(|open| open.tenants.get_mut(file.tenants.min));
        if let Some(cells) = share.and_then(|share| share.cells.as_mut()) {
            let part = Part::of(file, self.decider.judge.join(file));
            cells.entry((file.event_types.min.to_owned(), file.dates.min)).or_default().add(&part);
        }
    }

    /// The groups whose files have all passed by become bundles.
    fn lay(&mut self) {
        for (group, open) in std::mem::take(&mut self.sums.open) {
            self.lay_group(group, open);
        }
    }

    /// The files of a group in bundles, those that do not pay back left out.
    fn lay_group(&mut self, group: Group, open: Open) {
        let (month, class, _) = group;
        let policy = self.decider.planning.policy;
        let months_left = self.decider.months_left(month.last_of_month());
        let names = open.rules.iter().map(|rule| self.decider.rule_name(*rule)).collect::<BTreeSet<_>>();
        let names = names.into_iter().collect::<Vec<_>>().join("+");
        let mut tenants: Vec<TenantMonth> = open
            .tenants
            .into_iter()
            .map(|(name, Share { part, cells })| TenantMonth {
                name,
                part,
                cells: cells.into_iter().flatten().collect(),
            })
            .collect();
        tenants.sort_by(|a, b| a.name.cmp(&b.name));
        let (mut laid, mut moving) = (Vec::new(), Vec::new());
        let mut sum = Part::default();
        for bundle in layout::bundles(tenants, policy.own_bundle_bytes, policy.bundle_bytes) {
            let Part { files, bytes, digest, gate, from } = bundle.part.clone();
            let gate = self.decider.judge.bundle(gate, bytes, class, months_left);
            let reason = weigh(&gate, &names, class, from);
            let moves = matches!(reason, Reason::Moves { .. });
            laid.push(Laid { bundle, reason: reason.clone(), number: moves.then_some(moving.len()) });
            match moves {
                true => {
                    sum.add(&Part { files, bytes, digest, gate, from });
                    moving.push(BundleAction { files, bytes, gate, digest });
                }
                false => self.sums.stay(reason, Sum { files, size_bytes: bytes }),
            }
        }
        self.groups.insert(group.clone(), laid);
        if !moving.is_empty() {
            let kind = ActionKind::Bundle { class, bundles: moving };
            self.bundling.push((
                Key::Bundles(group),
                Single { rules: open.rules, part: sum }.action(&self.decider, month, kind),
            ));
        }
    }

    fn finish(self) -> Plan {
        let mut actions = self.bundling;
        for ((month, class), single) in self.sums.in_place {
            actions
                .push((Key::InPlace(month, class), single.action(&self.decider, month, ActionKind::InPlace { class })));
        }
        for (month, single) in self.sums.expire {
            actions.push((Key::Expire(month), single.action(&self.decider, month, ActionKind::Expire)));
        }
        Plan::new(actions, self.groups, self.sums.stays)
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::live;
    use super::super::policy::{Layout, Policy, Rule, Target};
    use super::*;
    use crate::model::Prices;

    #[test]
    fn files_summed_in_parts_make_the_plan_of_all_of_them() {
        let days = [(2017, 3), (2024, 7), (2025, 1), (2026, 7), (2026, 9)];
        let files: Vec<LiveFile> = days
            .into_iter()
            .flat_map(|(year, month)| (1..=20).map(move |day| jiff::civil::date(year, month, day)))
            .flat_map(|date| ["a", "b", "c"].map(|tenant| live(tenant, date, 3 << 20)))
            .collect();
        let rule = |after: &str, target| Rule {
            name: after.to_owned(),
            event_types: Vec::new(),
            tenants: Vec::new(),
            after: after.parse().unwrap(),
            target,
        };
        let into = |class, layout| Target::Move { class, layout };
        let rules = vec![
            rule("7y", Target::Expire),
            rule("1y", into(StorageClass::DeepArchive, Layout::Bundle)),
            rule("60d", into(StorageClass::GlacierIr, Layout::InPlace)),
        ];
        let policy = Policy { rules, ..Policy::standard() };
        let now = "2026-10-01T00:00:00Z".parse().unwrap();
        let planning = Planning { policy: &policy, holds: &[], prices: &Prices::built_in(), now };
        let together = plan_files(planning, &files);
        assert_eq!(together.actions.len(), 4, "{:#?}", together.actions);
        assert!(!together.stays.is_empty());
        for parts in [2, 3, 7] {
            let mut planner = Planner::new(planning);
            for part in 0..parts {
                let (mut decider, mut sums) = (Decider::new(planning), Sums::default());
                let of_part = files.iter().skip(part).step_by(parts);
                of_part.for_each(|live| sums.add(&mut decider, &FileView::from(&live.file), None));
                planner.sums.absorb(sums);
            }
            planner.lay();
            let plan = planner.finish();
            assert_eq!((&plan.digest, &plan.stays), (&together.digest, &together.stays), "{parts}");
            let told = |plan: &Plan| -> Vec<_> {
                plan.actions
                    .iter()
                    .map(|action| (action.what(), action.rules.clone(), action.files, action.bytes))
                    .collect()
            };
            assert_eq!(told(&plan), told(&together));
        }
    }
}
