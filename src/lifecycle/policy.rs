//! What should become of data as it ages: ordered rules, the first that matches decides.

use std::fmt;
use std::str::FromStr;

use glob::Pattern;
use jiff::civil::Date;
use jiff::{Span, ToSpan};
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::model::{StorageClass, sha256};

/// A calendar age: `90d`, `18mo`, `1y`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Age {
    text: String,
    days: i32,
    months: i32,
}

impl Age {
    /// The day on which something of `day` reaches this age.
    pub fn after(&self, day: Date) -> Date {
        let span = self.months.months().days(self.days);
        day.checked_add(span).unwrap_or(Date::MAX)
    }

    /// Whole months from `from` until something of `day` reaches this age; 0 when it has.
    pub fn months_left(&self, day: Date, from: Date) -> u32 {
        let until = self.after(day);
        if until <= from {
            return 0;
        }
        let span = from.until((jiff::Unit::Month, until)).unwrap_or_default();
        span.get_months().unsigned_abs()
    }

    /// About how many days; for rules of a bucket, which know no months.
    pub fn as_days(&self) -> u32 {
        const DAYS_PER_YEAR: f64 = 365.0;
        (f64::from(self.days) + f64::from(self.months) * DAYS_PER_YEAR / 12.0).round() as u32
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Age {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || Error::usage(format!("`{text}` is not an age")).hint("write 90d, 18mo or 1y");
        let span: Span = text.parse().map_err(|_| bad())?;
        let has_time = span.get_hours() != 0 || span.get_minutes() != 0 || span.get_seconds() != 0;
        let days = 7 * span.get_weeks() + span.get_days();
        let months = 12 * i32::from(span.get_years()) + span.get_months();
        if has_time || days < 0 || months < 0 {
            return Err(bad());
        }
        Ok(Age { text: text.to_owned(), days, months })
    }
}

/// How files of a class lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// A month's cells become few large files.
    Bundle,
    /// Every file stays what it is.
    InPlace,
}

/// What a rule asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Move { class: StorageClass, layout: Layout },
    Expire,
}

/// One rule. Its age counts from the last day of the event's month.
#[derive(Debug, Clone)]
pub struct Rule {
    pub name: String,
    /// Globs; empty matches all.
    pub event_types: Vec<Pattern>,
    pub tenants: Vec<Pattern>,
    pub after: Age,
    pub target: Target,
}

impl Rule {
    /// Whether the rule is about events of this type and tenant, whatever their age.
    pub fn is_about(&self, event_type: &str, tenant: &str) -> bool {
        let matches = |globs: &[Pattern], text: &str| globs.is_empty() || globs.iter().any(|glob| glob.matches(text));
        matches(&self.event_types, event_type) && matches(&self.tenants, tenant)
    }

    pub fn is_about_all(&self) -> bool {
        self.event_types.is_empty() && self.tenants.is_empty()
    }
}

/// Who moves objects between classes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transitions {
    /// An object is put directly into its class.
    #[default]
    Put,
    /// A tagged object is put, and a rule of the bucket moves it: for MinIO, which takes no other way.
    Rules,
}

/// The rules and what they are judged by.
#[derive(Debug, Clone)]
pub struct Policy {
    pub rules: Vec<Rule>,
    /// How long data is kept, for the question whether a move pays back. It deletes nothing.
    pub horizon: Age,
    pub transitions: Transitions,
    /// A tenant's month from this size on has bundles of its own.
    pub own_bundle_bytes: u64,
    /// Bundles grow to about this size.
    pub bundle_bytes: u64,
}

impl Policy {
    /// 128 and 512 MB: the sizes at which requests no longer matter and a restore is still narrow.
    pub const OWN_BUNDLE_BYTES: u64 = 128 << 20;
    pub const BUNDLE_BYTES: u64 = 512 << 20;
    /// With the tenant that may come on top, a file stays below 1 GiB.
    pub const MAX_BUNDLE_BYTES: u64 = 512 << 20;

    /// After one year into DEEP_ARCHIVE bundles, judged over seven.
    pub fn standard() -> Self {
        Policy {
            rules: vec![Rule {
                name: "default".to_owned(),
                event_types: Vec::new(),
                tenants: Vec::new(),
                after: "1y".parse().expect("an age"),
                target: Target::Move { class: StorageClass::DeepArchive, layout: Layout::Bundle },
            }],
            horizon: "7y".parse().expect("an age"),
            transitions: Transitions::Put,
            own_bundle_bytes: Self::OWN_BUNDLE_BYTES,
            bundle_bytes: Self::BUNDLE_BYTES,
        }
    }

    /// The place of the first rule about events of this type and tenant whose age their month has reached.
    pub fn rule_for(&self, event_type: &str, tenant: &str, last_day: Date, today: Date) -> Option<usize> {
        self.rules.iter().position(|rule| rule.is_about(event_type, tenant) && rule.after.after(last_day) <= today)
    }

    /// The day on which the next rule begins to apply, and its name.
    pub fn next_rule_for(&self, event_type: &str, tenant: &str, last_day: Date) -> Option<(Date, &Rule)> {
        let about = self.rules.iter().filter(|rule| rule.is_about(event_type, tenant));
        about.map(|rule| (rule.after.after(last_day), rule)).min_by_key(|(day, _)| *day)
    }

    /// What tells this policy from any other.
    pub fn digest(&self) -> String {
        sha256(format!("{self:?}").as_bytes())
    }
}

/// A pattern of `tier.toml`.
pub fn glob(text: &str) -> Result<Pattern> {
    Pattern::new(text).map_err(|error| Error::usage(error.msg)).with_context(|| format!("read the glob `{text}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn ages_are_calendar_ages() {
        let age = |text: &str| text.parse::<Age>().unwrap();
        assert_eq!(age("1y").after(date(2024, 2, 29)), date(2025, 2, 28));
        assert_eq!(age("18mo").after(date(2024, 1, 31)), date(2025, 7, 31));
        assert_eq!(age("90d").after(date(2026, 8, 31)), date(2026, 11, 29));
        assert_eq!(age("7y").months_left(date(2026, 8, 31), date(2027, 9, 1)), 71);
        assert_eq!(age("7y").months_left(date(2010, 1, 31), date(2027, 9, 1)), 0);
        assert_eq!((age("1y").as_days(), age("90d").as_days()), (365, 90));
        for wrong in ["", "old", "5h", "-1y"] {
            assert!(wrong.parse::<Age>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_first_matching_rule_decides() {
        let rule = |name: &str, tenant: &str, after: &str, target| Rule {
            name: name.into(),
            event_types: Vec::new(),
            tenants: vec![glob(tenant).unwrap()],
            after: after.parse().unwrap(),
            target,
        };
        let deep = Target::Move { class: StorageClass::DeepArchive, layout: Layout::Bundle };
        let warm = Target::Move { class: StorageClass::GlacierIr, layout: Layout::Bundle };
        // A rule to stay where everything begins keeps later rules away.
        let stay = Target::Move { class: StorageClass::Standard, layout: Layout::InPlace };
        let rules =
            vec![rule("keep-vip", "vip-*", "0d", stay), rule("deep", "*", "1y", deep), rule("warm", "*", "90d", warm)];
        let policy = Policy { rules, ..Policy::standard() };
        let name = |tenant, last_day, today| {
            policy.rule_for("login", tenant, last_day, today).map(|at| policy.rules[at].name.as_str())
        };
        let (month, young, old) = (date(2026, 1, 31), date(2026, 3, 1), date(2026, 5, 1));
        assert_eq!(name("acme", month, young), None);
        assert_eq!(name("acme", month, old), Some("warm"));
        assert_eq!(name("acme", month, date(2027, 1, 31)), Some("deep"));
        assert_eq!(name("vip-1", month, date(2027, 1, 31)), Some("keep-vip"));
        assert_eq!(policy.next_rule_for("login", "acme", month).unwrap().0, date(2026, 5, 1));
    }
}
