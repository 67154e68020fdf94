//! The bucket lifecycle document that belongs to a policy, for stores that move objects by themselves.

use serde::Serialize;

use super::apply::CLASS_TAG;
use super::policy::{Layout, Policy, Rule, Target, Transitions};
use crate::model::{BUNDLES, StorageClass};
use crate::store::{BucketRule, Layout as Names, Location, OUR_RULES};

/// An unfinished upload is billed until somebody aborts it.
const ABORT_UPLOADS_AFTER_DAYS: u32 = 7;

/// S3 moves no smaller object by itself,
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-transition-general-considerations.html>
pub const SMALLEST_MOVED_BYTES: u64 = 128 << 10;

/// Rules of ours, and what of the policy no bucket rule can say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RulesDocument {
    pub rules: Vec<BucketRule>,
    pub left_out: Vec<String>,
}

/// The rules for an archive at `location`. With direct puts nothing has to be moved by the bucket; what remains is to
/// clear away unfinished uploads.
pub fn rules_for(policy: &Policy, location: &Location) -> RulesDocument {
    let prefix = match location {
        Location::S3 { prefix, .. } if !prefix.is_empty() => format!("{prefix}/"),
        _ => String::new(),
    };
    let mut document = RulesDocument::default();
    document.rules.push(BucketRule {
        id: format!("{OUR_RULES}abort-uploads"),
        enabled: true,
        prefix: prefix.clone(),
        abort_multipart_after_days: Some(ABORT_UPLOADS_AFTER_DAYS),
        ..BucketRule::default()
    });
    let mut bundled: Vec<StorageClass> = Vec::new();
    for rule in &policy.rules {
        match rule.target {
            Target::Move { class, layout: Layout::Bundle } => {
                if policy.transitions == Transitions::Rules && !bundled.contains(&class) {
                    bundled.push(class);
                    document.rules.push(bundle_rule(&prefix, class));
                }
            }
            Target::Move { class, layout: Layout::InPlace } if rule.is_about_all() => {
                document.rules.push(in_place_rule(&prefix, rule, class));
            }
            Target::Move { .. } => document.left_out.push(format!(
                "rule {}: a bucket rule knows prefixes, and {}/ begins with the date, not with a type or tenant",
                rule.name,
                Names::EVENTS
            )),
            Target::Expire => document.left_out.push(format!(
                "rule {}: a bucket that deletes by itself would leave the catalog behind; `tier lifecycle apply` expires",
                rule.name
            )),
        }
    }
    document
}

/// Moves at once what `apply` has tagged: the age was judged by the plan, by the event's date.
fn bundle_rule(prefix: &str, class: StorageClass) -> BucketRule {
    BucketRule {
        id: format!("{OUR_RULES}bundles-{class}"),
        enabled: true,
        prefix: format!("{prefix}{BUNDLES}/"),
        tags: vec![(CLASS_TAG.to_owned(), class.to_string())],
        transitions: vec![(0, class)],
        ..BucketRule::default()
    }
}

fn in_place_rule(prefix: &str, rule: &Rule, class: StorageClass) -> BucketRule {
    BucketRule {
        id: format!("{OUR_RULES}cells-{}", rule.name),
        enabled: true,
        prefix: format!("{prefix}{}/", Names::EVENTS),
        larger_than_bytes: Some(SMALLEST_MOVED_BYTES),
        transitions: vec![(rule.after.as_days(), class)],
        ..BucketRule::default()
    }
}

/// A rule as `aws s3api put-bucket-lifecycle-configuration` takes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AwsRule<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    status: &'static str,
    filter: serde_json::Value,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    transitions: Vec<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    abort_incomplete_multipart_upload: Option<serde_json::Value>,
}

impl<'a> From<&'a BucketRule> for AwsRule<'a> {
    fn from(rule: &'a BucketRule) -> Self {
        use serde_json::json;
        let tags: Vec<_> = rule.tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
        let filter = match (tags.is_empty(), rule.larger_than_bytes) {
            (true, None) => json!({"Prefix": rule.prefix}),
            (false, None) => json!({"And": {"Prefix": rule.prefix, "Tags": tags}}),
            (true, Some(bytes)) => json!({"And": {"Prefix": rule.prefix, "ObjectSizeGreaterThan": bytes}}),
            (false, Some(bytes)) => {
                json!({"And": {"Prefix": rule.prefix, "Tags": tags, "ObjectSizeGreaterThan": bytes}})
            }
        };
        AwsRule {
            id: &rule.id,
            status: if rule.enabled { "Enabled" } else { "Disabled" },
            filter,
            transitions: rule
                .transitions
                .iter()
                .map(|(days, class)| json!({"Days": days, "StorageClass": class.as_str()}))
                .collect(),
            abort_incomplete_multipart_upload: rule
                .abort_multipart_after_days
                .map(|days| json!({"DaysAfterInitiation": days})),
        }
    }
}
