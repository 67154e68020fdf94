//! What would be done, and what becomes of every file: sums and borders of bundles, never a list of files.
//!
//! A plan has an entry for each bundle and each month, so it stays small however many files there are. Which files an
//! action takes is asked file by file: [`Plan::place`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::decide::{Decider, Fate, Group, Keys};
use super::gate::Gate;
use super::layout::Bundle;
use crate::model::{FileView, KeyRange, StorageClass, Usd, sha256};

/// Why a file moves or stays.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum Reason {
    Moves {
        rule: String,
        class: StorageClass,
        pays_back_month: u32,
        of_months: u32,
    },
    Expires {
        rule: String,
    },
    Held {
        hold: String,
    },
    AlreadyThere {
        class: StorageClass,
    },
    WaitsForBucketRule {
        class: StorageClass,
    },
    PaysBackTooLate {
        month: u32,
        of_months: u32,
    },
    NeverPaysBack,
    InsideMinimumDuration {
        class: StorageClass,
    },
    /// Moving it would need a restore first.
    Archived {
        class: StorageClass,
    },
    /// A bundle whose cells different rules decide about.
    Mixed,
    TooYoung {
        rule: String,
        until: Date,
    },
    NoRule,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Moves { rule, class, pays_back_month: month, of_months } => {
                write!(f, "moves: to {class} by rule {rule}, pays back after month {month} of {of_months}")
            }
            Self::Expires { rule } => write!(f, "expires: by rule {rule}"),
            Self::Held { hold } => write!(f, "stays: legal hold {hold}"),
            Self::AlreadyThere { class } => write!(f, "stays: is in {class}"),
            Self::WaitsForBucketRule { class } => write!(f, "stays: waits for the bucket's rule to move it to {class}"),
            Self::PaysBackTooLate { month, of_months: 0 } => {
                write!(f, "stays: older than `[lifecycle] horizon`, a move would pay back after month {month}")
            }
            Self::PaysBackTooLate { month, of_months } => {
                write!(f, "stays: pays back after month {month} of {of_months}")
            }
            Self::NeverPaysBack => f.write_str("stays: a move never pays back"),
            Self::InsideMinimumDuration { class } => write!(f, "stays: inside minimum duration of {class}"),
            Self::Archived { class } => write!(f, "stays: archived in {class}, moving it needs a restore"),
            Self::Mixed => f.write_str("stays: different rules decide about its cells"),
            Self::TooYoung { rule, until } => write!(f, "stays: too young for rule {rule} until {until}"),
            Self::NoRule => f.write_str("stays: no rule is about it"),
        }
    }
}

/// A file and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    pub path: String,
    pub size_bytes: u64,
    #[serde(flatten)]
    pub reason: Reason,
}

/// What one commit does.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// The first day of the month.
    pub month: Date,
    pub rules: BTreeSet<String>,
    pub kind: ActionKind,
    pub gate: Gate,
    pub files: u64,
    pub bytes: u64,
    /// Of the files, whatever their order.
    pub(super) digest: u128,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ActionKind {
    Bundle { class: StorageClass, bundles: Vec<BundleAction> },
    InPlace { class: StorageClass },
    Expire,
}

/// Cells that become one object.
#[derive(Debug, Clone, PartialEq)]
pub struct BundleAction {
    pub files: u64,
    pub bytes: u64,
    pub gate: Gate,
    pub(super) digest: u128,
}

impl Action {
    pub fn objects_after(&self) -> u64 {
        match &self.kind {
            ActionKind::Bundle { bundles, .. } => bundles.len() as u64,
            ActionKind::InPlace { .. } => self.files,
            ActionKind::Expire => 0,
        }
    }

    /// `bundle into DEEP_ARCHIVE`
    pub fn what(&self) -> String {
        match &self.kind {
            ActionKind::Bundle { class, .. } => format!("bundle into {class}"),
            ActionKind::InPlace { class } => format!("move to {class}"),
            ActionKind::Expire => "expire".to_owned(),
        }
    }
}

/// Sums over a plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    pub objects_before: u64,
    pub objects_after: u64,
    pub bytes: u64,
    pub expires: u64,
    pub stays: u64,
    pub one_off_usd: Usd,
    pub monthly_saving_usd: Usd,
}

/// Files and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sum {
    pub files: u64,
    pub size_bytes: u64,
}

/// Everything a lifecycle run would do.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub actions: Vec<Action>,
    /// How much stays, by the reason.
    pub stays: BTreeMap<Reason, Sum>,
    pub totals: Totals,
    /// Of what it would do: two plans with the same digest do the same.
    pub digest: String,
    groups: BTreeMap<Group, Vec<Laid>>,
    /// Places in `actions`.
    bundling: BTreeMap<Group, usize>,
    in_place: BTreeMap<(Date, StorageClass), usize>,
    expiring: BTreeMap<Date, usize>,
}

/// A bundle that was weighed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Laid {
    pub bundle: Bundle,
    pub reason: Reason,
    /// Its place among those of its action that are made.
    pub number: Option<usize>,
}

/// An action's part of the plan before the actions are put in order.
pub(super) enum Key {
    Bundles(Group),
    InPlace(Date, StorageClass),
    Expire(Date),
}

/// Bundles of an action that are made one after the other.
pub(super) struct RunOfBundles<'a> {
    /// Their places in the action.
    pub numbers: Range<usize>,
    files: u64,
    /// The tenants whose files they may take, both ends included; `None`: up to the last.
    first_tenant: &'a str,
    last_tenant: Option<&'a str>,
}

impl RunOfBundles<'_> {
    pub fn may_take_of(&self, tenants: &KeyRange<Arc<str>>) -> bool {
        &*tenants.max >= self.first_tenant && self.last_tenant.is_none_or(|last| &*tenants.min <= last)
    }
}

/// What takes a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// In the plan's actions.
    pub action: usize,
    /// In the action's bundles; 0 of an action that makes none.
    pub bundle: usize,
}

impl Plan {
    pub(super) fn new(
        mut actions: Vec<(Key, Action)>,
        groups: BTreeMap<Group, Vec<Laid>>,
        stays: BTreeMap<Reason, Sum>,
    ) -> Self {
        actions.sort_by_key(|(_, action)| action.month);
        let (mut bundling, mut in_place, mut expiring) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (index, (key, _)) in actions.iter().enumerate() {
            match key {
                Key::Bundles(group) => bundling.insert(group.clone(), index),
                Key::InPlace(month, class) => in_place.insert((*month, *class), index),
                Key::Expire(month) => expiring.insert(*month, index),
            };
        }
        let actions: Vec<Action> = actions.into_iter().map(|(_, action)| action).collect();
        let totals = totals(&actions, &stays);
        let digest = digest(&actions);
        Plan { actions, stays, totals, digest, groups, bundling, in_place, expiring }
    }

    /// What becomes of a file, and what takes it; `None` where it stays. The file is one of those that the plan was made
    /// of, and `decider` decides by what it was made with.
    pub fn place(
        &self,
        decider: &mut Decider<'_>,
        file: &FileView<'_>,
        keys: Option<&Keys>,
    ) -> (Reason, Option<Place>) {
        let month = file.dates.min.first_of_month();
        let alone = |index: Option<&usize>| index.map(|&action| Place { action, bundle: 0 });
        match decider.fate(file, keys) {
            Fate::Stays(reason) => (reason, None),
            Fate::Expires { rule, .. } => {
                (Reason::Expires { rule: decider.rule_name(rule) }, alone(self.expiring.get(&month)))
            }
            Fate::Moves { reason, class, .. } => (reason, alone(self.in_place.get(&(month, class)))),
            Fate::Joins { group, .. } => {
                let laid = self.groups.get(&group).and_then(|laid| of_bundle(laid, file));
                let action = self.bundling.get(&group);
                let place = |laid: &Laid| Some(Place { action: *action?, bundle: laid.number? });
                laid.map_or((Reason::Mixed, None), |laid| (laid.reason.clone(), place(laid)))
            }
        }
    }

    /// The bundles of an action, in runs of at most so many files or of one bundle.
    pub(super) fn runs_of_bundles(&self, action: usize, files_at_once: u64) -> Vec<RunOfBundles<'_>> {
        let group = self.bundling.iter().find(|(_, index)| **index == action).map(|(group, _)| group);
        let laid = group.and_then(|group| self.groups.get(group)).map_or(&[][..], Vec::as_slice);
        let mut runs: Vec<RunOfBundles<'_>> = Vec::new();
        for (index, Laid { bundle, number, .. }) in laid.iter().enumerate() {
            let Some(number) = *number else { continue };
            // Of a shared one they go on until the next shared one.
            let last_tenant = match bundle.is_own {
                true => Some(bundle.tenant.as_str()),
                false => {
                    laid[index + 1..].iter().find(|laid| !laid.bundle.is_own).map(|laid| laid.bundle.tenant.as_str())
                }
            };
            match runs.last_mut().filter(|run| run.files + bundle.part.files <= files_at_once) {
                Some(run) => {
                    run.numbers.end = number + 1;
                    run.files += bundle.part.files;
                    run.last_tenant = run.last_tenant.zip(last_tenant).map(|(a, b)| a.max(b));
                }
                None => runs.push(RunOfBundles {
                    numbers: number..number + 1,
                    files: bundle.part.files,
                    first_tenant: &bundle.tenant,
                    last_tenant,
                }),
            }
        }
        runs
    }
}

/// The bundle that a cell's file was laid into. Bundles are in the order of their first cells; those of one tenant alone
/// may lie between the tenants of a shared one.
fn of_bundle<'a>(laid: &'a [Laid], file: &FileView<'_>) -> Option<&'a Laid> {
    let cell = (file.tenants.min, file.event_types.min, file.dates.min);
    let before = &laid[..laid.partition_point(|laid| laid.bundle.first_cell() <= cell)];
    let own = before.last().filter(|laid| laid.bundle.is_own && laid.bundle.tenant == file.tenants.min);
    own.or_else(|| before.iter().rfind(|laid| !laid.bundle.is_own))
}

fn totals(actions: &[Action], stays: &BTreeMap<Reason, Sum>) -> Totals {
    let mut totals = Totals { stays: stays.values().map(|sum| sum.files).sum(), ..Totals::default() };
    for action in actions {
        match action.kind {
            ActionKind::Expire => totals.expires += action.files,
            _ => totals.objects_before += action.files,
        }
        totals.objects_after += action.objects_after();
        totals.bytes += action.bytes;
        totals.one_off_usd += action.gate.one_off;
        totals.monthly_saving_usd += action.gate.monthly_saving();
    }
    totals
}

fn digest(actions: &[Action]) -> String {
    let mut text = String::new();
    for action in actions {
        text.push_str(&format!("{} {} {:032x}\n", action.month, action.what(), action.digest));
        if let ActionKind::Bundle { bundles, .. } = &action.kind {
            bundles.iter().for_each(|bundle| text.push_str(&format!("{:032x}\n", bundle.digest)));
        }
    }
    sha256(text.as_bytes())
}

#[cfg(test)]
pub(super) mod tests {
    use jiff::civil::date;

    use super::super::{Planning, Policy, plan_files};
    use super::*;
    use crate::catalog::LiveFile;
    use crate::model::{DataFile, Prices};

    /// A cell's file in STANDARD.
    pub fn live(tenant: &str, date: Date, size_bytes: u64) -> LiveFile {
        let file = DataFile {
            path: format!("events/date={date}/event_type=e/tenant_id={tenant}/1.parquet"),
            tenants: KeyRange::one(tenant).to_text(),
            event_types: KeyRange::one("e").to_text(),
            dates: KeyRange::one(date),
            ts: KeyRange { min: 0, max: 1 },
            rows: 1,
            size_bytes,
            footer_bytes: 1,
            schema_id: 1,
            storage_class: StorageClass::Standard,
            class_since: None,
            pack: None,
        };
        LiveFile { leaf: "leaf".to_owned(), position: 0, file }
    }

    #[test]
    fn every_bundle_is_in_one_run_whose_tenants_are_those_of_its_files() {
        // Of tenants some fill one bundle, some several, and the others share a few.
        let mib = |tenant: u64| [1, 1, 2, 40, 1, 90, 3][(tenant % 7) as usize] << 20;
        let files: Vec<LiveFile> = (0..60)
            .flat_map(|tenant| (1..=5).map(move |day| live(&format!("t{tenant:02}"), date(2025, 8, day), mib(tenant))))
            .collect();
        let policy = Policy { own_bundle_bytes: 50 << 20, bundle_bytes: 200 << 20, ..Policy::standard() };
        let now = "2026-10-01T00:00:00Z".parse().unwrap();
        let planning = Planning { policy: &policy, holds: &[], prices: &Prices::built_in(), now };
        let plan = plan_files(planning, &files);
        let [Action { kind: ActionKind::Bundle { bundles, .. }, .. }] = &plan.actions[..] else { panic!("{plan:#?}") };
        assert!(bundles.len() > 20, "{}", bundles.len());
        for files_at_once in [1, 25, 100, 10_000] {
            let runs = plan.runs_of_bundles(0, files_at_once);
            assert_eq!(
                runs.iter().flat_map(|run| run.numbers.clone()).collect::<Vec<_>>(),
                Vec::from_iter(0..bundles.len())
            );
            for run in &runs {
                let files: u64 = bundles[run.numbers.clone()].iter().map(|bundle| bundle.files).sum();
                assert!(files <= files_at_once || run.numbers.len() == 1, "{files} files in {:?}", run.numbers);
            }
            let mut decider = Decider::new(planning);
            for LiveFile { file, .. } in &files {
                let (_, place) = plan.place(&mut decider, &FileView::from(file), None);
                let bundle = place.expect("all are old enough").bundle;
                let run = runs.iter().find(|run| run.numbers.contains(&bundle)).unwrap();
                assert!(run.may_take_of(&file.tenants), "{} of {bundle} at {files_at_once}", file.path);
            }
            let narrow = runs.iter().filter(|run| !run.may_take_of(&KeyRange::one("t59").to_text())).count();
            assert!(files_at_once > 100 || narrow > 0, "no run leaves a tenant out");
        }
    }
}
