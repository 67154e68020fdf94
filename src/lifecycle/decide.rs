//! What the policy says of one file, whatever becomes of the others.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::gate::{Gate, Judge, Verdict};
use super::plan::Reason;
use super::policy::{Layout, Policy, Rule, Target, Transitions};
use crate::model::{FileView, Hold, Prices, StorageClass};

/// What a plan is made from, beside the files.
#[derive(Debug, Clone, Copy)]
pub struct Planning<'a> {
    pub policy: &'a Policy,
    pub holds: &'a [Hold],
    pub prices: &'a Prices,
    pub now: Timestamp,
}

/// The (type, tenant) pairs of a bundle.
pub type Keys = BTreeSet<(String, String)>;

/// Files that one action may take together: month, class, and the rules that ever decide about them.
pub(super) type Group = (Date, StorageClass, Arc<[usize]>);

/// What becomes of a file.
pub(super) enum Fate {
    Stays(Reason),
    Expires {
        /// A place among the policy's rules, as in the others.
        rule: usize,
        gate: Gate,
    },
    Moves {
        rule: usize,
        reason: Reason,
        class: StorageClass,
        gate: Gate,
    },
    /// It goes with others, if together they pay back.
    Joins {
        rule: usize,
        group: Group,
    },
}

/// Decides about files one after the other; quick where neighbours are of one cell, as in a leaf.
pub struct Decider<'a> {
    pub(super) planning: Planning<'a>,
    pub(super) judge: Judge<'a>,
    today: Date,
    known: Option<Known>,
}

/// What holds for every cell's file of a tenant, a type and a month.
struct Known {
    tenant: String,
    event_type: String,
    month: Date,
    /// The place among the policy's rules.
    rule: Result<usize, Reason>,
    /// The rules that ever decide about the events: those of different lives do not share a bundle.
    about: Arc<[usize]>,
}

impl Known {
    fn is_about(&self, file: &FileView<'_>, month: Date) -> bool {
        self.month == month && self.event_type == file.event_types.min && self.tenant == file.tenants.min
    }
}

impl<'a> Decider<'a> {
    pub fn new(planning: Planning<'a>) -> Self {
        let judge = Judge { prices: planning.prices, now: planning.now, transitions: planning.policy.transitions };
        Decider { planning, judge, today: planning.now.to_zoned(TimeZone::UTC).date(), known: None }
    }

    /// Whether a bundle's keys are needed to decide about it.
    pub(super) fn needs_keys(&self) -> bool {
        !self.planning.policy.rules.iter().all(Rule::is_about_all)
    }

    /// `keys` are those of a bundle, where they are needed; without them it stays.
    pub(super) fn fate(&mut self, file: &FileView<'_>, keys: Option<&Keys>) -> Fate {
        let policy = self.planning.policy;
        let (at, about) = match self.rule(file, keys) {
            Ok(decided) => decided,
            Err(reason) => return Fate::Stays(reason),
        };
        let rule = &policy.rules[at];
        if let Some(hold) = self.planning.holds.iter().find(|hold| hold.may_cover_view(file)) {
            return Fate::Stays(Reason::Held { hold: hold.id.clone() });
        }
        match rule.target {
            Target::Expire => Fate::Expires { rule: at, gate: self.judge.expire(file) },
            Target::Move { class, .. } if class <= file.storage_class => {
                Fate::Stays(Reason::AlreadyThere { class: file.storage_class })
            }
            Target::Move { class, .. } if policy.transitions == Transitions::Rules && file.is_bundle() => {
                Fate::Stays(Reason::WaitsForBucketRule { class })
            }
            Target::Move { .. } if file.storage_class.is_archived() => {
                Fate::Stays(Reason::Archived { class: file.storage_class })
            }
            Target::Move { class, layout: Layout::Bundle } if !file.is_bundle() => {
                Fate::Joins { rule: at, group: (file.dates.min.first_of_month(), class, about) }
            }
            Target::Move { class, .. } => {
                let gate = self.judge.in_place(file, class, self.months_left(file.dates.max.last_of_month()));
                match weigh(&gate, &rule.name, class, file.storage_class) {
                    reason @ Reason::Moves { .. } => Fate::Moves { rule: at, reason, class, gate },
                    reason => Fate::Stays(reason),
                }
            }
        }
    }

    pub(super) fn rule_name(&self, rule: usize) -> String {
        self.planning.policy.rules[rule].name.clone()
    }

    pub(super) fn months_left(&self, last_day: Date) -> u32 {
        self.planning.policy.horizon.months_left(last_day, self.today)
    }

    /// The rule that decides about all of the file's events, and all that ever do.
    fn rule(&mut self, file: &FileView<'_>, keys: Option<&Keys>) -> Result<(usize, Arc<[usize]>), Reason> {
        if file.is_bundle() {
            let rule = self.rule_of_bundle(file, file.dates.max.last_of_month(), keys)?;
            return Ok((rule, Arc::default()));
        }
        let month = file.dates.max.first_of_month();
        if !self.known.as_ref().is_some_and(|known| known.is_about(file, month)) {
            let (tenant, event_type) = (file.tenants.min, file.event_types.min);
            let rules = self.planning.policy.rules.iter().enumerate();
            let about = rules.filter(|(_, rule)| rule.is_about(event_type, tenant)).map(|(at, _)| at);
            self.known = Some(Known {
                tenant: tenant.to_owned(),
                event_type: event_type.to_owned(),
                month,
                rule: self.rule_of(event_type, tenant, month.last_of_month()),
                about: about.collect(),
            });
        }
        let known = self.known.as_ref().expect("it is known now");
        known.rule.clone().map(|rule| (rule, known.about.clone()))
    }

    fn rule_of(&self, event_type: &str, tenant: &str, last_day: Date) -> Result<usize, Reason> {
        let policy = self.planning.policy;
        policy.rule_for(event_type, tenant, last_day, self.today).ok_or_else(|| {
            match policy.next_rule_for(event_type, tenant, last_day) {
                Some((until, rule)) => Reason::TooYoung { rule: rule.name.clone(), until },
                None => Reason::NoRule,
            }
        })
    }

    fn rule_of_bundle(&self, file: &FileView<'_>, last_day: Date, keys: Option<&Keys>) -> Result<usize, Reason> {
        if !self.needs_keys() {
            return self.rule_of(file.event_types.min, file.tenants.min, last_day);
        }
        let mut decided =
            keys.ok_or(Reason::Mixed)?.iter().map(|(event_type, tenant)| self.rule_of(event_type, tenant, last_day));
        let first = decided.next().ok_or(Reason::Mixed)??;
        for other in decided {
            if other? != first {
                return Err(Reason::Mixed);
            }
        }
        Ok(first)
    }
}

/// What the gate says, as a reason.
pub(super) fn weigh(gate: &Gate, rule: &str, class: StorageClass, from: StorageClass) -> Reason {
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
