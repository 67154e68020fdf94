//! Makes a plan of files that pass by, keeping sums only.
//!
//! # Cost
//! Each leaf is read once, and once more where it may hold a tenant's month that fills more than one bundle. In memory are
//! one leaf and, of months that share leaves, a sum for each tenant.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound::Included;

use futures::TryStreamExt;
use jiff::civil::Date;

use super::decide::{Decider, Fate, Group, Keys, Planning, weigh};
use super::layout::{self, Cell, Part, TenantMonth};
use super::plan::{Action, ActionKind, BundleAction, Key, Laid, Plan, Reason, Sum};
use crate::catalog::{LeafRef, LeafTable, LiveFile, Snapshot};
use crate::data::pack;
use crate::error::Result;
use crate::model::{DataFile, FileView, StorageClass};

/// Bundles whose packs are read together: a footer each.
const PACKS_AT_ONCE: usize = 256;

/// Decides about every file of the snapshot.
pub async fn plan(planning: Planning<'_>, snapshot: &Snapshot) -> Result<Plan> {
    let mut planner = Planner::new(planning);
    for leaves in spans(&snapshot.root().leaves) {
        each(&Decider::new(planning), snapshot, leaves.clone(), |file, keys| planner.add(file, keys)).await?;
        let split = planner.split();
        if !split.is_empty() {
            let may_hold = |leaf: &LeafRef| {
                split.range::<str, _>((Included(&*leaf.tenants.min), Included(&*leaf.tenants.max))).next().is_some()
            };
            let leaves = leaves.into_iter().filter(may_hold).collect();
            each(&Decider::new(planning), snapshot, leaves, |file, _| planner.add_cell(file)).await?;
        }
        planner.lay();
    }
    Ok(planner.finish())
}

/// The same, of files at hand. Bundles among them stay where rules name types or tenants.
pub fn plan_files(planning: Planning<'_>, files: &[LiveFile]) -> Plan {
    let mut planner = Planner::new(planning);
    files.iter().for_each(|live| planner.add(&FileView::from(&live.file), None));
    if !planner.split().is_empty() {
        files.iter().for_each(|live| planner.add_cell(&FileView::from(&live.file)));
    }
    planner.lay();
    planner.finish()
}

/// Shows every live file of these leaves to `look`, in place, with the keys of bundles where they are needed.
pub(super) async fn each(
    decider: &Decider<'_>,
    snapshot: &Snapshot,
    leaves: Vec<LeafRef>,
    mut look: impl FnMut(&FileView<'_>, Option<&Keys>),
) -> Result<()> {
    let mut tables = snapshot.tables(leaves);
    while let Some(table) = tables.try_next().await? {
        let keys = keys_of(decider, snapshot, &table).await?;
        for view in table.views()? {
            let (position, file) = view?;
            look(&file, keys.get(&position));
        }
    }
    Ok(())
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

struct Planner<'a> {
    decider: Decider<'a>,
    open: BTreeMap<Group, Open>,
    in_place: BTreeMap<(Date, StorageClass), Single>,
    expire: BTreeMap<Date, Single>,
    stays: BTreeMap<Reason, Sum>,
    bundling: Vec<(Key, Action)>,
    groups: BTreeMap<Group, Vec<Laid>>,
}

impl<'a> Planner<'a> {
    fn new(planning: Planning<'a>) -> Self {
        Planner {
            decider: Decider::new(planning),
            open: BTreeMap::new(),
            in_place: BTreeMap::new(),
            expire: BTreeMap::new(),
            stays: BTreeMap::new(),
            bundling: Vec::new(),
            groups: BTreeMap::new(),
        }
    }

    fn add(&mut self, file: &FileView<'_>, keys: Option<&Keys>) {
        let month = file.dates.min.first_of_month();
        match self.decider.fate(file, keys) {
            Fate::Stays(reason) => self.stay(reason, 1, file.size_bytes),
            Fate::Expires { rule, gate, .. } => {
                self.expire.entry(month).or_default().add(rule, &Part::of(file, gate));
            }
            Fate::Moves { rule, class, gate, .. } => {
                self.in_place.entry((month, class)).or_default().add(rule, &Part::of(file, gate));
            }
            Fate::Joins { rule, group } => {
                let part = Part::of(file, self.decider.judge.join(file));
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

    fn stay(&mut self, reason: Reason, files: u64, size_bytes: u64) {
        let sum = self.stays.entry(reason).or_default();
        sum.files += files;
        sum.size_bytes += size_bytes;
    }

    /// The tenants whose files must pass by once more, by [`Planner::add_cell`].
    fn split(&mut self) -> BTreeSet<String> {
        let policy = self.decider.planning.policy;
        let shares = self.open.values_mut().flat_map(|open| open.tenants.iter_mut());
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
        let share = self.open.get_mut(&group).and_then(|open| open.tenants.get_mut(file.tenants.min));
        if let Some(cells) = share.and_then(|share| share.cells.as_mut()) {
            let part = Part::of(file, self.decider.judge.join(file));
            cells.entry((file.event_types.min.to_owned(), file.dates.min)).or_default().add(&part);
        }
    }

    /// The groups whose files have all passed by become bundles.
    fn lay(&mut self) {
        for (group, open) in std::mem::take(&mut self.open) {
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
                false => self.stay(reason, files, bytes),
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
        for ((month, class), single) in self.in_place {
            actions
                .push((Key::InPlace(month, class), single.action(&self.decider, month, ActionKind::InPlace { class })));
        }
        for (month, single) in self.expire {
            actions.push((Key::Expire(month), single.action(&self.decider, month, ActionKind::Expire)));
        }
        Plan::new(actions, self.groups, self.stays)
    }
}
