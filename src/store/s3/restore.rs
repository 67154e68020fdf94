//! Restores: one paced request per object, and what its answer means.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::{BoxError, ProvideErrorMetadata};
use aws_sdk_s3::types::{GlacierJobParameters, RestoreRequest, Tier};
use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio::time::{Interval, MissedTickBehavior};

use super::S3Classes;
use crate::clock::Random;
use crate::error::{Context, Error, Result};
use crate::model::{RestoreState, Retrieval};
use crate::store::classes::RestoreOutcome;
use crate::store::errors::{explain_sdk, status};

/// Half of what an account may ask for in a region, so that others in it are served too:
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/restoring-objects-retrieval-options.html>
const RESTORES_PER_SECOND: u32 = 500;

const MAX_ATTEMPTS: u32 = 8;
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// Lets callers through one at a time, evenly spaced.
#[derive(Debug, Default)]
pub struct Pace(Mutex<Option<Interval>>);

impl Pace {
    async fn turn(&self) {
        let mut interval = self.0.lock().await;
        let interval = interval.get_or_insert_with(|| {
            let mut interval = tokio::time::interval(Duration::from_secs(1) / RESTORES_PER_SECOND);
            // Idle time is not saved up for a burst.
            interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
            interval
        });
        interval.tick().await;
    }
}

impl S3Classes {
    pub(super) async fn start_restore(&self, path: &str, days: u32, retrieval: Retrieval) -> Result<RestoreOutcome> {
        let job = GlacierJobParameters::builder().tier(tier(retrieval)).build().context("build the request")?;
        let request = RestoreRequest::builder().days(days as i32).glacier_job_parameters(job).build();
        // AWS tells a restore begun (202) from a window moved (200); MinIO answers 200 to both.
        let had_copy = match self.access.is_aws() {
            true => None,
            false => Some(matches!(self.look_at_existing(path).await?.restore, RestoreState::Restored { .. })),
        };
        for attempt in 1.. {
            self.restores.turn().await;
            let answered = Arc::new(AtomicU16::new(0));
            // The SDK would wait and retry where Expedited has no capacity: that answer must come back at once.
            let outcome = self
                .client()
                .restore_object()
                .bucket(&self.bucket)
                .key(self.key(path))
                .restore_request(request.clone())
                .customize()
                .config_override(aws_sdk_s3::config::Config::builder().retry_config(RetryConfig::disabled()))
                .interceptor(Status(answered.clone()))
                .send()
                .await;
            let error = match outcome {
                Ok(_) if answered.load(Ordering::Relaxed) == 202 || had_copy == Some(false) => {
                    return Ok(RestoreOutcome::Started);
                }
                Ok(_) => return Ok(RestoreOutcome::Extended),
                Err(error) => error,
            };
            match error.code() {
                Some("RestoreAlreadyInProgress") => return Ok(RestoreOutcome::AlreadyRunning),
                Some("GlacierExpeditedRetrievalNotAvailable") => return Ok(RestoreOutcome::NoCapacity),
                Some("InvalidObjectState") => return Ok(RestoreOutcome::NotArchived),
                Some("NoSuchKey") => return Err(self.missing(path)),
                _ => {}
            }
            let is_passing = status(&error).is_none_or(|status| status >= 500 || status == 429);
            if !is_passing || attempt == MAX_ATTEMPTS {
                return Err(explain_sdk(error));
            }
            tokio::time::sleep(wait(attempt)).await;
        }
        Err(Error::failed("the attempts are bounded"))
    }
}

/// Twice as long after every attempt, and any part of that, so that many do not come back together.
fn wait(attempt: u32) -> Duration {
    (FIRST_WAIT * 2u32.pow(attempt - 1)).min(LONGEST_WAIT).mul_f64(0.5 + Random::System.fraction() / 2.0)
}

fn tier(retrieval: Retrieval) -> Tier {
    match retrieval {
        Retrieval::Expedited => Tier::Expedited,
        Retrieval::Standard => Tier::Standard,
        Retrieval::Bulk => Tier::Bulk,
    }
}

/// Reads `x-amz-restore`: `ongoing-request="true"`, or
/// `ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"`.
pub fn state_of(header: &str) -> Result<RestoreState> {
    let value = |name: &str| {
        let (_, rest) = header.split_once(&format!("{name}=\""))?;
        rest.split_once('"').map(|(value, _)| value)
    };
    match (value("ongoing-request"), value("expiry-date")) {
        (Some("true"), _) => Ok(RestoreState::Running),
        (Some("false"), Some(date)) => Ok(RestoreState::Restored { until: http_date(date)? }),
        _ => Err(Error::failed(format!("the restore header `{header}` cannot be read"))),
    }
}

fn http_date(text: &str) -> Result<Timestamp> {
    let zoned = jiff::fmt::rfc2822::parse(text).with_context(|| format!("read the date `{text}`"))?;
    Ok(zoned.timestamp())
}

/// Keeps the HTTP status of an answer, which the SDK's own outcome does not carry.
#[derive(Debug)]
struct Status(Arc<AtomicU16>);

impl Intercept for Status {
    fn name(&self) -> &'static str {
        "Status"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.store(context.response().status().as_u16(), Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restore_headers_are_read() {
        let until = "2012-12-21T00:00:00Z".parse().unwrap();
        let done = r#"ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT""#;
        assert_eq!(state_of(done).unwrap(), RestoreState::Restored { until });
        assert_eq!(state_of(r#"ongoing-request="true""#).unwrap(), RestoreState::Running);
        for wrong in ["", "ongoing-request=\"false\"", "ongoing-request=\"false\", expiry-date=\"soon\""] {
            state_of(wrong).unwrap_err();
        }
    }

    #[test]
    fn waits_grow_and_end() {
        for attempt in 1..MAX_ATTEMPTS {
            let full = (FIRST_WAIT * 2u32.pow(attempt - 1)).min(LONGEST_WAIT);
            let wait = wait(attempt);
            assert!(wait >= full / 2 && wait <= full, "{attempt}: {wait:?}");
        }
    }
}
