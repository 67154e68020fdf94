//! The `[lifecycle]` and `[budget]` sections of `tier.toml`, as typed and as meant.

use serde::Deserialize;

use super::parse::parse_bytes;
use crate::error::{Context, Error, Result};
use crate::lifecycle::{Layout, Policy, Rule, Target, Transitions, glob};
use crate::model::StorageClass;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LifecycleSection {
    /// How long data is kept, for the question whether a move pays back. Deletes nothing.
    pub horizon: Option<String>,
    pub transitions: Option<Transitions>,
    pub bundle_size: Option<String>,
    /// A tenant's month from this size on has bundles of its own.
    pub own_bundle_size: Option<String>,
    pub rules: Option<Vec<RuleSection>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSection {
    pub name: Option<String>,
    pub event_type: Option<OneOrMany>,
    pub tenant: Option<OneOrMany>,
    pub after: Option<String>,
    pub class: Option<String>,
    pub layout: Option<Layout>,
    pub expire: Option<bool>,
}

/// `tenant = "acme"` or `tenant = ["acme", "globex-*"]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetSection {
    /// What one command may spend, in dollars; `--max-cost` overrides it.
    pub per_run: Option<f64>,
}

impl OneOrMany {
    fn globs(&self) -> Result<Vec<glob::Pattern>> {
        let texts = match self {
            OneOrMany::One(text) => std::slice::from_ref(text),
            OneOrMany::Many(texts) => texts,
        };
        texts.iter().map(|text| glob(text)).collect()
    }
}

impl LifecycleSection {
    pub fn policy(&self) -> Result<Policy> {
        let standard = Policy::standard();
        let bytes = |text: &Option<String>, default| text.as_deref().map_or(Ok(default), parse_bytes);
        let rules = match &self.rules {
            None => standard.rules,
            Some(rules) => (1..).zip(rules).map(|(number, rule)| rule.rule(number)).collect::<Result<_>>()?,
        };
        let policy = Policy {
            rules,
            horizon: self.horizon.as_deref().map_or(Ok(standard.horizon), str::parse)?,
            transitions: self.transitions.unwrap_or_default(),
            bundle_bytes: bytes(&self.bundle_size, standard.bundle_bytes)?,
            own_bundle_bytes: bytes(&self.own_bundle_size, standard.own_bundle_bytes)?,
        };
        if policy.bundle_bytes == 0 || policy.bundle_bytes > Policy::MAX_BUNDLE_BYTES {
            return Err(Error::usage("`bundle_size` must be between 1 byte and 512MB")
                .hint("a data file stays below 1 GiB, so that no copy limit of S3 ever matters"));
        }
        Ok(policy)
    }
}

impl RuleSection {
    fn rule(&self, number: usize) -> Result<Rule> {
        let name = self.name.clone().unwrap_or_else(|| format!("rule-{number}"));
        self.parse(name.clone()).with_context(|| format!("read [[lifecycle.rules]] {number} ({name})"))
    }

    fn parse(&self, name: String) -> Result<Rule> {
        let after = self.after.as_deref().ok_or_else(|| {
            Error::usage("it has no `after`").hint("after = \"1y\" counts from the last day of the event's month")
        })?;
        let target = match (&self.class, self.expire) {
            (None, Some(true)) if self.layout.is_none() => Target::Expire,
            (Some(class), None | Some(false)) => {
                let class: StorageClass = class.parse()?;
                Target::Move { class, layout: self.layout.unwrap_or(Layout::Bundle) }
            }
            _ => {
                return Err(Error::usage("it must say either `class` or `expire = true`")
                    .hint("class = \"DEEP_ARCHIVE\" with layout = \"bundle\" or \"in-place\"; or expire = true"));
            }
        };
        let globs = |texts: &Option<OneOrMany>| texts.as_ref().map_or(Ok(Vec::new()), OneOrMany::globs);
        Ok(Rule {
            name,
            event_types: globs(&self.event_type)?,
            tenants: globs(&self.tenant)?,
            after: after.parse()?,
            target,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Result<Policy> {
        toml::from_str::<LifecycleSection>(text).unwrap().policy()
    }

    #[test]
    fn rules_are_read_in_order_with_globs() {
        let policy = policy(
            r#"
            transitions = "rules"
            bundle_size = "64MB"
            [[rules]]
            name = "gdpr"
            tenant = ["eu-*", "acme"]
            after = "2y"
            expire = true
            [[rules]]
            event_type = "login"
            after = "90d"
            class = "GLACIER_IR"
            layout = "in-place"
            "#,
        )
        .unwrap();
        assert_eq!(policy.rules.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>(), ["gdpr", "rule-2"]);
        assert!(policy.rules[0].is_about("any", "eu-1") && !policy.rules[0].is_about("any", "us-1"));
        assert_eq!(policy.rules[0].target, Target::Expire);
        assert_eq!(policy.rules[1].target, Target::Move { class: StorageClass::GlacierIr, layout: Layout::InPlace });
        assert_eq!((policy.transitions, policy.bundle_bytes), (Transitions::Rules, 64 << 20));
    }

    #[test]
    fn a_rule_that_says_nothing_or_too_much_is_refused() {
        for text in [
            "[[rules]]\nclass = \"GLACIER\"",
            "[[rules]]\nafter = \"1y\"",
            "[[rules]]\nafter = \"1y\"\nexpire = true\nclass = \"GLACIER\"",
            "[[rules]]\nafter = \"1y\"\nclass = \"COLD\"",
            "[[rules]]\nafter = \"5h\"\nclass = \"GLACIER\"",
            "[[rules]]\nafter = \"1y\"\nclass = \"GLACIER\"\ntenant = \"a[\"",
            "bundle_size = \"2GB\"",
        ] {
            assert_eq!(policy(text).unwrap_err().kind(), crate::error::Kind::Usage, "{text}");
        }
    }
}
