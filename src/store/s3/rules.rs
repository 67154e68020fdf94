//! The bucket's lifecycle document. A PUT replaces all of it, so it is read first and foreign rules go back untouched.

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration, LifecycleRule,
    LifecycleRuleAndOperator, LifecycleRuleFilter, NoncurrentVersionExpiration, Tag, Transition,
    TransitionDefaultMinimumObjectSize,
};

use super::S3Classes;
use crate::error::{Context, Error, Result};
use crate::store::classes::{BucketRule, OUR_RULES};
use crate::store::errors::explain_sdk;

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html>
const MAX_RULES: usize = 1_000;

impl S3Classes {
    /// The rules, and from which size on objects are moved at all.
    pub(super) async fn read_rules(&self) -> Result<(Vec<LifecycleRule>, Option<TransitionDefaultMinimumObjectSize>)> {
        match self.client().get_bucket_lifecycle_configuration().bucket(&self.bucket).send().await {
            Ok(got) => Ok((got.rules.unwrap_or_default(), got.transition_default_minimum_object_size)),
            Err(error) if error.code() == Some("NoSuchLifecycleConfiguration") => Ok((Vec::new(), None)),
            Err(error) => {
                Err(explain_sdk(error)).with_context(|| format!("read the lifecycle rules of {}", self.bucket))
            }
        }
    }

    pub(super) async fn replace_rules(&self, ours: &[BucketRule]) -> Result<()> {
        let phrase = || format!("put the lifecycle rules of {}", self.bucket);
        let (mut rules, minimum) = self.read_rules().await?;
        rules.retain(|rule| !rule.id().is_some_and(|id| id.starts_with(OUR_RULES)));
        for rule in ours {
            if !rule.id.starts_with(OUR_RULES) {
                return Err(Error::failed(format!("rule `{}` is not named {OUR_RULES}…", rule.id)))
                    .with_context(phrase);
            }
            rules.push(to_sdk(rule).with_context(phrase)?);
        }
        if rules.len() > MAX_RULES {
            return Err(Error::usage(format!("{} rules are more than the {MAX_RULES} of a bucket", rules.len()))
                .code("too-many-rules")
                .hint("let rules select by tag instead of by prefix"))
            .with_context(phrase);
        }
        if rules.is_empty() {
            let deleted = self.client().delete_bucket_lifecycle().bucket(&self.bucket).send().await;
            return deleted.map(drop).map_err(explain_sdk).with_context(phrase);
        }
        let document = BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build().with_context(phrase)?;
        self.client()
            .put_bucket_lifecycle_configuration()
            .bucket(&self.bucket)
            .lifecycle_configuration(document)
            .set_transition_default_minimum_object_size(minimum)
            .send()
            .await
            .map_err(explain_sdk)
            .with_context(phrase)?;
        Ok(())
    }
}

pub fn from_sdk(rule: &LifecycleRule) -> BucketRule {
    let filter = rule.filter();
    let and = filter.and_then(LifecycleRuleFilter::and);
    let one_tag = filter.and_then(LifecycleRuleFilter::tag);
    let tags = and.map(|and| and.tags()).unwrap_or_default().iter().chain(one_tag);
    #[expect(deprecated, reason = "old rules still carry their prefix outside the filter")]
    let prefix = filter.and_then(|f| f.prefix()).or_else(|| and.and_then(|a| a.prefix())).or(rule.prefix());
    let larger =
        filter.and_then(|f| f.object_size_greater_than()).or_else(|| and.and_then(|a| a.object_size_greater_than()));
    let days = |days: i32| days as u32;
    let mut known = BucketRule {
        id: rule.id().unwrap_or_default().to_owned(),
        enabled: *rule.status() == ExpirationStatus::Enabled,
        prefix: prefix.unwrap_or_default().to_owned(),
        tags: tags.map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect(),
        larger_than_bytes: larger.map(|bytes| bytes as u64),
        transitions: Vec::new(),
        expire_after_days: rule.expiration().and_then(|e| e.days()).filter(|days| *days > 0).map(days),
        expire_noncurrent_after_days: rule
            .noncurrent_version_expiration()
            .and_then(|e| e.noncurrent_days())
            .filter(|days| *days > 0)
            .map(days),
        abort_multipart_after_days: rule
            .abort_incomplete_multipart_upload()
            .and_then(|abort| abort.days_after_initiation())
            .map(days),
        other_actions: Vec::new(),
    };
    for transition in rule.transitions() {
        let name = transition.storage_class().map(|class| class.as_str()).unwrap_or_default();
        match (name.parse(), transition.date()) {
            (Ok(class), None) => known.transitions.push((days(transition.days().unwrap_or_default()), class)),
            (_, None) => known.other_actions.push(format!("move to {name}")),
            (_, Some(date)) => known.other_actions.push(format!("move to {name} on {date}")),
        }
    }
    if let Some(date) = rule.expiration().and_then(|expiration| expiration.date()) {
        known.other_actions.push(format!("expire on {date}"));
    }
    for transition in rule.noncurrent_version_transitions() {
        let name = transition.storage_class().map(|class| class.as_str()).unwrap_or_default();
        known.other_actions.push(format!("move noncurrent versions to {name}"));
    }
    known
}

fn to_sdk(rule: &BucketRule) -> Result<LifecycleRule> {
    let tags = rule.tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build());
    let tags = tags.collect::<Result<Vec<_>, _>>().context("build a tag")?;
    let larger = rule.larger_than_bytes.map(|bytes| bytes as i64);
    let filter = if tags.is_empty() && larger.is_none() {
        LifecycleRuleFilter::builder().prefix(&rule.prefix).build()
    } else {
        let and = LifecycleRuleAndOperator::builder().prefix(&rule.prefix).set_object_size_greater_than(larger);
        let and = and.set_tags((!tags.is_empty()).then_some(tags)).build();
        LifecycleRuleFilter::builder().and(and).build()
    };
    let transition = |(days, class): &(u32, crate::model::StorageClass)| {
        Transition::builder().days(*days as i32).storage_class(class.as_str().into()).build()
    };
    let days = |days: Option<u32>| days.map(|days| days as i32);
    let expiration = days(rule.expire_after_days).map(|days| LifecycleExpiration::builder().days(days).build());
    let noncurrent = days(rule.expire_noncurrent_after_days)
        .map(|days| NoncurrentVersionExpiration::builder().noncurrent_days(days).build());
    let abort = days(rule.abort_multipart_after_days)
        .map(|days| AbortIncompleteMultipartUpload::builder().days_after_initiation(days).build());
    let transitions: Vec<Transition> = rule.transitions.iter().map(transition).collect();
    LifecycleRule::builder()
        .id(&rule.id)
        .status(if rule.enabled { ExpirationStatus::Enabled } else { ExpirationStatus::Disabled })
        .filter(filter)
        .set_transitions((!transitions.is_empty()).then_some(transitions))
        .set_expiration(expiration)
        .set_noncurrent_version_expiration(noncurrent)
        .set_abort_incomplete_multipart_upload(abort)
        .build()
        .with_context(|| format!("build rule {}", rule.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::StorageClass;

    #[test]
    fn our_rules_come_back_as_they_were_put() {
        let bare = BucketRule { id: "tier-a".into(), enabled: true, prefix: "a/".into(), ..BucketRule::default() };
        let full = BucketRule {
            tags: vec![("class".into(), "deep".into()), ("x".into(), String::new())],
            larger_than_bytes: Some(131_072),
            transitions: vec![(0, StorageClass::GlacierIr), (365, StorageClass::DeepArchive)],
            expire_after_days: Some(2_557),
            expire_noncurrent_after_days: Some(1),
            abort_multipart_after_days: Some(7),
            ..bare.clone()
        };
        for rule in [bare, full] {
            assert_eq!(from_sdk(&to_sdk(&rule).unwrap()), rule);
        }
    }
}
