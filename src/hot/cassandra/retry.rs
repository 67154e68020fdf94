//! When the driver asks another node by itself, before [`super::client`] waits and asks again.

use scylla::errors::{DbError, RequestAttemptError};
use scylla::policies::retry::{DefaultRetryPolicy, RequestInfo, RetryDecision, RetryPolicy, RetrySession};

/// The driver's own rules, but where too few replicas are alive: the next node of the plan may be the dead one, and its
/// refused connection would stand for the answer that tells how many are missing.
#[derive(Debug)]
pub struct Rules;

struct Session(Box<dyn RetrySession>);

impl RetryPolicy for Rules {
    fn new_session(&self) -> Box<dyn RetrySession> {
        Box::new(Session(DefaultRetryPolicy::new().new_session()))
    }
}

impl RetrySession for Session {
    fn decide_should_retry(&mut self, request: RequestInfo<'_>) -> RetryDecision {
        match request.error {
            RequestAttemptError::DbError(DbError::Unavailable { .. }, _) => RetryDecision::DontRetry,
            _ => self.0.decide_should_retry(request),
        }
    }

    fn reset(&mut self) {
        self.0.reset();
    }
}
