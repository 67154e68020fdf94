//! Which files become one, and why the others stay: a pure function of files, policy, holds, prices and time.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::Serialize;

use crate::catalog::{LeafRef, LiveFile};
use crate::model::{DateRange, FileView, Hold, Partition, Prices, StorageClass, Usd};

/// A group's files are open together when they are merged.
const MAX_FILES_PER_GROUP: usize = 100;

/// A file of this part of the target is large enough: merging it would rewrite much to save little.
const LARGE_ENOUGH: u64 = 2;

/// What is to be merged.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Only these dates.
    pub dates: Option<DateRange>,
    /// Only these tenants; empty: all of them.
    pub tenants: Vec<String>,
    /// A cell with fewer small files stays.
    pub min_files: usize,
    /// A date younger than this stays: more of it may come.
    pub min_age_days: u32,
    /// A merged file is about this large at most.
    pub target_bytes: u64,
    /// Of the files that one run reads.
    pub max_bytes: Option<u64>,
}

impl Policy {
    /// How many small files a cell has at least that is merged.
    pub(super) fn least_files(&self) -> usize {
        self.min_files.max(2)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            dates: None,
            tenants: Vec::new(),
            min_files: 2,
            min_age_days: 1,
            target_bytes: 128 << 20,
            max_bytes: None,
        }
    }
}

/// Why a file stays.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum Reason {
    Alone,
    LargeEnough,
    OverBudget,
    NextRun,
    TooYoung,
    Held { hold: String },
    InsideMinimumDuration { class: StorageClass },
    Archived { class: StorageClass },
    Bundle,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alone => f.write_str("stays: nothing to merge it with"),
            Self::LargeEnough => f.write_str("stays: large enough"),
            Self::OverBudget => f.write_str("waits: beyond --max-bytes of this run"),
            Self::NextRun => f.write_str("waits: one run merges no more files, and these are of later dates"),
            Self::TooYoung => f.write_str("stays: its date is younger than --min-age"),
            Self::Held { hold } => write!(f, "stays: legal hold {hold}"),
            Self::InsideMinimumDuration { class } => write!(f, "stays: inside minimum duration of {class}"),
            Self::Archived { class } => write!(f, "stays: archived in {class}"),
            Self::Bundle => f.write_str("stays: is a bundle"),
        }
    }
}

/// Files and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sum {
    pub files: u64,
    pub bytes: u64,
}

impl Sum {
    pub(super) fn add(&mut self, files: u64, bytes: u64) {
        self.files += files;
        self.bytes += bytes;
    }
}

/// Files of one cell and class that become one.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub cell: Partition,
    pub class: StorageClass,
    /// In the order of their times; two at least.
    pub files: Vec<LiveFile>,
}

impl Group {
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|live| live.file.size_bytes).sum()
    }
}

/// Sums over a plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Totals {
    pub files_before: u64,
    pub files_after: u64,
    pub bytes: u64,
    pub one_off_usd: Usd,
}

/// Everything a run would do.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// By cell.
    pub groups: Vec<Group>,
    pub stays: BTreeMap<Reason, Sum>,
    pub totals: Totals,
}

/// Decides about files, one by one. Memory: the files that may be merged.
pub struct Planner<'a> {
    pub(super) policy: &'a Policy,
    holds: &'a [Hold],
    prices: &'a Prices,
    now: Timestamp,
    today: Date,
    small: HashMap<(Partition, StorageClass), Vec<LiveFile>>,
    stays: BTreeMap<Reason, Sum>,
}

impl<'a> Planner<'a> {
    pub fn new(policy: &'a Policy, holds: &'a [Hold], prices: &'a Prices, now: Timestamp) -> Self {
        let today = now.to_zoned(TimeZone::UTC).date();
        Planner { policy, holds, prices, now, today, small: HashMap::new(), stays: BTreeMap::new() }
    }

    /// Whether the leaf may list files that the policy asks for.
    pub fn may_ask_for(&self, leaf: &LeafRef) -> bool {
        let dates = self.policy.dates.as_ref();
        dates.is_none_or(|dates| leaf.dates.min <= dates.last && dates.first <= leaf.dates.max)
            && (self.policy.tenants.is_empty()
                || self.policy.tenants.iter().any(|t| leaf.tenants.as_text().contains(&t.as_str())))
    }

    /// Adds a file that the policy asks for: it is merged with others of its cell, or stays.
    pub fn add(&mut self, live: LiveFile) {
        if self.may_merge(&FileView::from(&live.file)) {
            self.take(live);
        }
    }

    /// Whether the file is merged if its cell has others like it; where not, it is counted among what stays, if it is asked
    /// for at all.
    pub(super) fn may_merge(&mut self, file: &FileView<'_>) -> bool {
        if !self.asks_for(file) {
            return false;
        }
        let reason = self.stays(file);
        self.stay(reason.as_ref(), 1, file.size_bytes);
        reason.is_none()
    }

    /// As [`Planner::may_merge`], and nothing is counted.
    pub(super) fn merges(&self, file: &FileView<'_>) -> bool {
        self.asks_for(file) && self.stays(file).is_none()
    }

    /// Takes a file that [`Planner::may_merge`].
    pub(super) fn take(&mut self, live: LiveFile) {
        match live.file.partition() {
            Some(cell) => self.small.entry((cell, live.file.storage_class)).or_default().push(live),
            None => self.stay(Some(&Reason::Bundle), 1, live.file.size_bytes),
        }
    }

    /// Counts files that stay; those without a reason do not.
    pub(super) fn stay(&mut self, reason: Option<&Reason>, files: u64, bytes: u64) {
        let Some(reason) = reason else { return };
        match self.stays.get_mut(reason) {
            Some(sum) => sum.add(files, bytes),
            None => drop(self.stays.insert(reason.clone(), Sum { files, bytes })),
        }
    }

    fn asks_for(&self, file: &FileView<'_>) -> bool {
        let dates = self.policy.dates.as_ref();
        dates.is_none_or(|dates| file.dates.min <= dates.last && dates.first <= file.dates.max)
            && (self.policy.tenants.is_empty()
                || self.policy.tenants.iter().any(|t| file.tenants.contains(&t.as_str())))
    }

    /// Why a file stays whatever else there is in its cell.
    fn stays(&self, file: &FileView<'_>) -> Option<Reason> {
        let class = file.storage_class;
        let is_young = || {
            let until = file.dates.max.checked_add(i64::from(self.policy.min_age_days).days());
            until.map_or(true, |until| until > self.today)
        };
        if file.is_bundle() {
            return Some(Reason::Bundle);
        }
        if class.is_archived() {
            return Some(Reason::Archived { class });
        }
        if let Some(hold) = self.holds.iter().find(|hold| hold.may_cover_view(file)) {
            return Some(Reason::Held { hold: hold.id.clone() });
        }
        if file.size_bytes >= self.policy.target_bytes / LARGE_ENOUGH {
            return Some(Reason::LargeEnough);
        }
        if is_young() {
            return Some(Reason::TooYoung);
        }
        (self.days_left(file) > 0).then_some(Reason::InsideMinimumDuration { class })
    }

    /// Days until the class no longer bills a deletion; all of them where it is not known since when it is there.
    fn days_left(&self, file: &FileView<'_>) -> u32 {
        let minimum_days = self.prices.class(file.storage_class).minimum_days;
        let stored = file.class_since.map_or(0, |since| self.now.duration_since(since).as_hours() / 24);
        minimum_days.saturating_sub(u32::try_from(stored.max(0)).unwrap_or(u32::MAX))
    }

    pub fn finish(mut self) -> Plan {
        let mut groups = Vec::new();
        for ((cell, class), mut files) in std::mem::take(&mut self.small) {
            let enough = files.len() >= self.policy.least_files();
            files.sort_by(|a, b| (a.file.ts.min, &a.file.path).cmp(&(b.file.ts.min, &b.file.path)));
            for files in cut(files, self.policy.target_bytes) {
                match enough && files.len() >= 2 {
                    true => groups.push(Group { cell: cell.clone(), class, files }),
                    false => self.stay_all(&Reason::Alone, &files),
                }
            }
        }
        let mut groups = self.within_budget(groups);
        groups.sort_by(|a, b| (&a.cell, &a.files[0].file.path).cmp(&(&b.cell, &b.files[0].file.path)));
        let mut totals = Totals::default();
        for group in &groups {
            totals.files_before += group.files.len() as u64;
            totals.files_after += 1;
            totals.bytes += group.bytes();
            totals.one_off_usd += self.prices.get(group.class, group.files.len() as u64);
            totals.one_off_usd += self.prices.instant_retrieval(group.class, group.bytes());
            totals.one_off_usd += self.prices.put(group.class, 1);
        }
        Plan { groups, stays: self.stays, totals }
    }

    fn stay_all(&mut self, reason: &Reason, files: &[LiveFile]) {
        self.stay(Some(reason), files.len() as u64, files.iter().map(|live| live.file.size_bytes).sum());
    }

    /// The groups that save the most objects for the bytes they move, as many as the budget allows.
    fn within_budget(&mut self, mut groups: Vec<Group>) -> Vec<Group> {
        let Some(mut left) = self.policy.max_bytes else { return groups };
        let per_object = |group: &Group| group.bytes() / (group.files.len() as u64 - 1);
        groups.sort_by(|a, b| (per_object(a), &a.cell).cmp(&(per_object(b), &b.cell)));
        let mut chosen = Vec::new();
        for group in groups {
            match left.checked_sub(group.bytes()) {
                Some(rest) => {
                    left = rest;
                    chosen.push(group);
                }
                None => self.stay_all(&Reason::OverBudget, &group.files),
            }
        }
        chosen
    }
}

/// Neighbours in time together, each part within the target.
fn cut(files: Vec<LiveFile>, target_bytes: u64) -> Vec<Vec<LiveFile>> {
    let mut parts: Vec<Vec<LiveFile>> = Vec::new();
    let mut open_bytes = 0;
    for live in files {
        let bytes = live.file.size_bytes;
        match parts.last_mut() {
            Some(part) if part.len() < MAX_FILES_PER_GROUP && open_bytes + bytes <= target_bytes => {
                open_bytes += bytes;
                part.push(live);
            }
            _ => {
                open_bytes = bytes;
                parts.push(vec![live]);
            }
        }
    }
    parts
}
