//! What should become of every file, with its reason: a pure function of snapshot, policy, holds, prices and time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::gate::{Gate, Judge, Verdict};
use super::layout::bundles;
use super::policy::{Layout, Policy, Rule, Target, Transitions};
use crate::catalog::LiveFile;
use crate::data::pack;
use crate::error;
use crate::model::{DataFile, Hold, Prices, StorageClass, Usd, sha256};
use crate::store::Store;

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
}

#[derive(Debug, Clone, PartialEq)]
pub enum ActionKind {
    Bundle { class: StorageClass, bundles: Vec<BundleAction> },
    InPlace { class: StorageClass, files: Vec<LiveFile> },
    Expire { files: Vec<LiveFile> },
}

/// Cells that become one object, in the order of tenant, type and date.
#[derive(Debug, Clone, PartialEq)]
pub struct BundleAction {
    pub files: Vec<LiveFile>,
    pub gate: Gate,
}

impl Action {
    pub fn files(&self) -> Vec<&LiveFile> {
        match &self.kind {
            ActionKind::Bundle { bundles, .. } => bundles.iter().flat_map(|bundle| &bundle.files).collect(),
            ActionKind::InPlace { files, .. } | ActionKind::Expire { files } => files.iter().collect(),
        }
    }

    pub fn objects_after(&self) -> u64 {
        match &self.kind {
            ActionKind::Bundle { bundles, .. } => bundles.len() as u64,
            ActionKind::InPlace { files, .. } => files.len() as u64,
            ActionKind::Expire { .. } => 0,
        }
    }

    pub fn bytes(&self) -> u64 {
        self.files().iter().map(|live| live.file.size_bytes).sum()
    }

    /// `bundle into DEEP_ARCHIVE`
    pub fn what(&self) -> String {
        match &self.kind {
            ActionKind::Bundle { class, .. } => format!("bundle into {class}"),
            ActionKind::InPlace { class, .. } => format!("move to {class}"),
            ActionKind::Expire { .. } => "expire".to_owned(),
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

/// Everything a lifecycle run would do.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub actions: Vec<Action>,
    /// One for each file, by path.
    pub decisions: Vec<Decision>,
    pub totals: Totals,
    /// Of what it would do: two plans with the same digest do the same.
    pub digest: String,
}

/// What a plan is made from.
pub struct Planning<'a> {
    pub policy: &'a Policy,
    pub holds: &'a [Hold],
    pub prices: &'a Prices,
    pub now: Timestamp,
    /// The (type, tenant) pairs of each bundle, by path; a bundle that is not in it stays.
    pub bundle_keys: HashMap<String, BTreeSet<(String, String)>>,
}

/// The (type, tenant) pairs of the bundles among `files`, from their packs; needed when rules name types or tenants.
pub async fn bundle_keys(
    store: &Store,
    files: &[LiveFile],
) -> error::Result<HashMap<String, BTreeSet<(String, String)>>> {
    let bundles: Vec<DataFile> = files.iter().map(|live| &live.file).filter(|file| file.is_bundle()).cloned().collect();
    let packed = pack::read(store, &bundles).await?;
    let keys = |packed: pack::Packed| {
        let pair = |rows: pack::CellRows| (rows.cell.event_type.to_string(), rows.cell.tenant_id.to_string());
        packed.cells.into_iter().map(pair).collect()
    };
    Ok(bundles.into_iter().zip(packed).filter_map(|(file, packed)| Some((file.path, keys(packed?)))).collect())
}

/// Files that one action may take together: month, class, and the rules that ever decide about them.
type Group = (Date, StorageClass, Vec<usize>);

#[derive(Default)]
struct Sorted {
    to_bundle: BTreeMap<Group, (BTreeSet<String>, Vec<LiveFile>)>,
    in_place: BTreeMap<(Date, StorageClass), Single>,
    expire: BTreeMap<Date, Single>,
    decisions: Vec<Decision>,
}

/// Files that one action takes one by one, with the rules that asked for it and the sum of their costs.
struct Single {
    rules: BTreeSet<String>,
    files: Vec<LiveFile>,
    gate: Gate,
}

impl Default for Single {
    fn default() -> Self {
        // The neutral element of `Gate::and`.
        let gate = Gate { months_left: u32::MAX, ..Gate::default() };
        Single { rules: BTreeSet::new(), files: Vec::new(), gate }
    }
}

impl Single {
    fn add(&mut self, rule: &str, live: LiveFile, gate: &Gate) {
        self.rules.insert(rule.to_owned());
        self.gate = self.gate.and(gate);
        self.files.push(live);
    }
}

/// Decides about every file.
pub fn plan(planning: &Planning<'_>, files: Vec<LiveFile>) -> Plan {
    let judge = Judge { prices: planning.prices, now: planning.now, transitions: planning.policy.transitions };
    let mut sorted = Sorted::default();
    for live in files {
        planning.sort(&judge, live, &mut sorted);
    }
    let mut actions = Vec::new();
    for ((month, class, _), (rules, files)) in std::mem::take(&mut sorted.to_bundle) {
        actions.extend(planning.bundle(&judge, month, class, rules, files, &mut sorted.decisions));
    }
    for ((month, class), Single { rules, files, gate }) in sorted.in_place {
        actions.push(Action { month, rules, kind: ActionKind::InPlace { class, files }, gate });
    }
    for (month, Single { rules, files, gate }) in sorted.expire {
        actions.push(Action { month, rules, kind: ActionKind::Expire { files }, gate });
    }
    actions.sort_by_key(|action| action.month);
    let mut decisions = sorted.decisions;
    decisions.sort_by(|a, b| a.path.cmp(&b.path));
    let totals = totals(&actions, &decisions);
    let digest = digest(&actions);
    Plan { actions, decisions, totals, digest }
}

impl Planning<'_> {
    fn sort(&self, judge: &Judge<'_>, live: LiveFile, sorted: &mut Sorted) {
        let file = &live.file;
        let (month, today) = (file.dates.min.first_of_month(), self.today());
        let last_day = file.dates.max.last_of_month();
        let stays = |reason: Reason| Decision { path: file.path.clone(), size_bytes: file.size_bytes, reason };
        let rule = match self.rule(file, last_day, today) {
            Ok(rule) => rule,
            Err(reason) => return sorted.decisions.push(stays(reason)),
        };
        if let Some(hold) = self.holds.iter().find(|hold| hold.may_cover(file)) {
            return sorted.decisions.push(stays(Reason::Held { hold: hold.id.clone() }));
        }
        let months_left = self.policy.horizon.months_left(last_day, today);
        match rule.target {
            Target::Expire => {
                sorted.decisions.push(stays(Reason::Expires { rule: rule.name.clone() }));
                let gate = judge.expire(file);
                sorted.expire.entry(month).or_default().add(&rule.name, live, &gate);
            }
            Target::Move { class, .. } if class <= file.storage_class => {
                sorted.decisions.push(stays(Reason::AlreadyThere { class: file.storage_class }));
            }
            Target::Move { class, .. } if self.policy.transitions == Transitions::Rules && file.is_bundle() => {
                sorted.decisions.push(stays(Reason::WaitsForBucketRule { class }));
            }
            Target::Move { .. } if file.storage_class.is_archived() => {
                sorted.decisions.push(stays(Reason::Archived { class: file.storage_class }));
            }
            Target::Move { class, layout: Layout::Bundle } if !file.is_bundle() => {
                let group = (month, class, self.fingerprint(file));
                let (rules, files) = sorted.to_bundle.entry(group).or_default();
                rules.insert(rule.name.clone());
                files.push(live);
            }
            Target::Move { class, .. } => {
                let gate = judge.in_place(file, class, months_left);
                let reason = reason(&gate, &rule.name, class, file.storage_class);
                let moves = matches!(reason, Reason::Moves { .. });
                sorted.decisions.push(stays(reason));
                if moves {
                    sorted.in_place.entry((month, class)).or_default().add(&rule.name, live, &gate);
                }
            }
        }
    }

    /// The files of a group in bundles, those that do not pay back left out.
    fn bundle(
        &self,
        judge: &Judge<'_>,
        month: Date,
        class: StorageClass,
        rules: BTreeSet<String>,
        files: Vec<LiveFile>,
        decisions: &mut Vec<Decision>,
    ) -> Option<Action> {
        let months_left = self.policy.horizon.months_left(month.last_of_month(), self.today());
        let mut moving = Vec::new();
        for files in bundles(files, self.policy.own_bundle_bytes, self.policy.bundle_bytes) {
            let members: Vec<&DataFile> = files.iter().map(|live| &live.file).collect();
            let gate = judge.bundle(&members, class, months_left);
            let from = members.iter().map(|file| file.storage_class).max().unwrap_or(StorageClass::Standard);
            let names = rules.iter().cloned().collect::<Vec<_>>().join("+");
            let reason = reason(&gate, &names, class, from);
            decisions.extend(members.iter().map(|file| Decision {
                path: file.path.clone(),
                size_bytes: file.size_bytes,
                reason: reason.clone(),
            }));
            if matches!(reason, Reason::Moves { .. }) {
                moving.push(BundleAction { files, gate });
            }
        }
        let gate = moving.iter().map(|bundle| bundle.gate).reduce(|a, b| a.and(&b))?;
        Some(Action { month, rules, kind: ActionKind::Bundle { class, bundles: moving }, gate })
    }

    /// The rule that decides about all of the file's events.
    fn rule(&self, file: &DataFile, last_day: Date, today: Date) -> Result<&Rule, Reason> {
        let one = |event_type: &str, tenant: &str| {
            self.policy.rule_for(event_type, tenant, last_day, today).ok_or_else(|| {
                match self.policy.next_rule_for(event_type, tenant, last_day) {
                    Some((until, rule)) => Reason::TooYoung { rule: rule.name.clone(), until },
                    None => Reason::NoRule,
                }
            })
        };
        if !file.is_bundle() {
            return one(&file.event_types.min, &file.tenants.min);
        }
        let keys = self.bundle_keys.get(&file.path).ok_or(Reason::Mixed)?;
        let mut decided = keys.iter().map(|(event_type, tenant)| one(event_type, tenant));
        let first = decided.next().ok_or(Reason::Mixed)??;
        for other in decided {
            if other?.name != first.name {
                return Err(Reason::Mixed);
            }
        }
        Ok(first)
    }

    /// The rules that ever decide about the file's events: those of different lives do not share a bundle.
    fn fingerprint(&self, file: &DataFile) -> Vec<usize> {
        let rules = self.policy.rules.iter().enumerate();
        rules.filter(|(_, rule)| rule.is_about(&file.event_types.min, &file.tenants.min)).map(|(at, _)| at).collect()
    }

    fn today(&self) -> Date {
        self.now.to_zoned(TimeZone::UTC).date()
    }
}

fn reason(gate: &Gate, rule: &str, class: StorageClass, from: StorageClass) -> Reason {
    let of_months = gate.months_left;
    match gate.verdict() {
        Verdict::PaysBack { month } => {
            Reason::Moves { rule: rule.to_owned(), class, pays_back_month: month, of_months }
        }
        Verdict::TooLate { month } => Reason::PaysBackTooLate { month, of_months },
        Verdict::Never => Reason::NeverPaysBack,
        Verdict::InsideMinimumDuration => Reason::InsideMinimumDuration { class: from },
    }
}

fn totals(actions: &[Action], decisions: &[Decision]) -> Totals {
    let mut totals = Totals::default();
    for action in actions {
        let files = action.files().len() as u64;
        if let ActionKind::Expire { .. } = action.kind {
            totals.expires += files;
        } else {
            totals.objects_before += files;
        }
        totals.objects_after += action.objects_after();
        totals.bytes += action.bytes();
        totals.one_off_usd += action.gate.one_off;
        totals.monthly_saving_usd += action.gate.monthly_saving();
    }
    totals.stays = decisions.len() as u64 - totals.objects_before - totals.expires;
    totals
}

fn digest(actions: &[Action]) -> String {
    let mut text = String::new();
    for action in actions {
        text.push_str(&format!("{} {}\n", action.month, action.what()));
        match &action.kind {
            ActionKind::Bundle { bundles, .. } => {
                for bundle in bundles {
                    bundle.files.iter().for_each(|live| text.push_str(&format!("{}\n", live.file.path)));
                    text.push('\n');
                }
            }
            _ => action.files().iter().for_each(|live| text.push_str(&format!("{}\n", live.file.path))),
        }
    }
    sha256(text.as_bytes())
}
