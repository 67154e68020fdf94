//! What the driver reports, in words that say what to do.

use scylla::errors::{
    ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError, ExecutionError, MetadataError,
    NewSessionError, PrepareError, RequestAttemptError,
};
use scylla::statement::Consistency;

use super::super::CassandraSettings;
use crate::error::{Error, Kind};

/// What messages name.
#[derive(Debug)]
pub struct Place {
    contact_points: String,
    pub table: String,
    user: Option<String>,
    consistency: String,
}

impl Place {
    pub fn new(settings: &CassandraSettings) -> Self {
        Place {
            contact_points: settings.contact_points.join(", "),
            table: format!("{}.{}", settings.keyspace, settings.table),
            user: settings.login.as_ref().map(|login| login.user.clone()),
            consistency: level(super::connect::level(settings.consistency)),
        }
    }

    pub fn does_not_open(&self, error: &NewSessionError) -> Error {
        match error {
            NewSessionError::FailedToResolveAnyHostname(_) => self.down("no contact point has an address".to_owned()),
            NewSessionError::MetadataError(MetadataError::ConnectionPoolError(error)) => self.explain(pool(error)),
            other => self.down(tidy(&other.to_string())),
        }
    }

    pub fn does_not_answer(&self, error: &ExecutionError) -> Error {
        self.explain(cause(error))
    }

    /// No node answered within the time that connecting may take.
    pub fn takes_too_long(&self) -> Error {
        self.down("it takes too long to connect".to_owned())
    }

    fn explain(&self, cause: Cause<'_>) -> Error {
        match cause {
            Cause::Down(text) => self.down(text),
            Cause::Login(text) => self.login(text),
            // A node that has just died is asked too until the others notice: fewer replicas would have answered.
            Cause::Timeout(ms) => {
                self.unavailable(format!("a request at {} takes longer than {ms} ms", self.consistency), "")
            }
            Cause::Db(DbError::Unauthorized, text) => self.login(text.to_owned()),
            Cause::Db(error, text) => self.refused(error, text),
            Cause::Other(text) => Error::failed(text),
        }
    }

    fn down(&self, text: String) -> Error {
        let message = format!("no node of cassandra {} answers at {}", self.table, self.contact_points);
        Error::new(Kind::TryAgain, message)
            .code("hot-down")
            .hint("bring its nodes back, or correct `contact_points` in [hot]")
            .with_source(text)
    }

    fn login(&self, text: String) -> Error {
        let who = self.user.as_ref().map_or("anybody without a login".to_owned(), |user| format!("user `{user}`"));
        Error::usage(format!("cassandra {} at {} refuses {who}", self.table, self.contact_points))
            .code("hot-login")
            .hint("correct the login in [hot]: it needs the right to read the table")
            .with_source(text)
    }

    fn unavailable(&self, message: String, text: &str) -> Error {
        let error = Error::new(Kind::TryAgain, format!("cassandra {}: {message}", self.table))
            .code("hot-unavailable")
            .hint("bring its nodes back, or choose another `consistency` in [hot]");
        if text.is_empty() { error } else { error.with_source(tidy(text)) }
    }

    fn refused(&self, error: &DbError, text: &str) -> Error {
        match error {
            DbError::Unavailable { consistency, required, alive } => {
                self.unavailable(format!("{} needs {required} replicas, alive: {alive}", level(*consistency)), text)
            }
            DbError::ReadTimeout { consistency, received, required, .. }
            | DbError::WriteTimeout { consistency, received, required, .. } => self.unavailable(
                format!("{} needs {required} replicas, answered in time: {received}", level(*consistency)),
                text,
            ),
            DbError::ReadFailure { consistency, received, required, numfailures, .. }
            | DbError::WriteFailure { consistency, received, required, numfailures, .. } => self.unavailable(
                format!(
                    "{} needs {required} replicas, answered: {received}, failed: {numfailures}",
                    level(*consistency)
                ),
                text,
            ),
            other if is_passing(other) => self.unavailable("the node cannot answer now".to_owned(), text),
            _ => Error::failed(format!("cassandra {} refuses the request", self.table)).with_source(tidy(text)),
        }
    }
}

/// Whether the same request may succeed a little later.
pub fn is_transient(error: &ExecutionError) -> bool {
    match cause(error) {
        Cause::Down(_) | Cause::Timeout(_) => true,
        Cause::Db(error, _) => is_passing(error),
        Cause::Login(_) | Cause::Other(_) => false,
    }
}

/// The few things that errors of every layer of the driver come down to.
enum Cause<'a> {
    Down(String),
    Login(String),
    Timeout(u128),
    Db(&'a DbError, &'a str),
    Other(String),
}

fn cause(error: &ExecutionError) -> Cause<'_> {
    match error {
        ExecutionError::ConnectionPoolError(error)
        | ExecutionError::PrepareError(PrepareError::ConnectionPoolError(error)) => pool(error),
        ExecutionError::LastAttemptError(error)
        | ExecutionError::PrepareError(PrepareError::AllAttemptsFailed { first_attempt: error }) => attempt(error),
        ExecutionError::RequestTimeout(after) => Cause::Timeout(after.as_millis()),
        ExecutionError::EmptyPlan => Cause::Down("no node may be asked".to_owned()),
        other => Cause::Other(tidy(&other.to_string())),
    }
}

fn attempt(error: &RequestAttemptError) -> Cause<'_> {
    match error {
        RequestAttemptError::DbError(error, text) => Cause::Db(error, text),
        RequestAttemptError::BrokenConnectionError(_) | RequestAttemptError::UnableToAllocStreamId => {
            Cause::Down(tidy(&error.to_string()))
        }
        other => Cause::Other(tidy(&other.to_string())),
    }
}

fn pool(error: &ConnectionPoolError) -> Cause<'_> {
    let ConnectionPoolError::Broken { last_connection_error: error } = error else {
        return Cause::Down(tidy(&error.to_string()));
    };
    if let ConnectionError::ConnectionSetupRequestError(setup) = error {
        match setup.get_error() {
            ConnectionSetupRequestErrorKind::MissingAuthentication => {
                return Cause::Login("it asks for a user and a password".to_owned());
            }
            ConnectionSetupRequestErrorKind::DbError(DbError::AuthenticationError, text) => {
                return Cause::Login(tidy(text));
            }
            _ => {}
        }
    }
    Cause::Down(tidy(&error.to_string()))
}

fn is_passing(error: &DbError) -> bool {
    matches!(
        error,
        DbError::Unavailable { .. }
            | DbError::Overloaded
            | DbError::IsBootstrapping
            | DbError::TruncateError
            | DbError::ReadTimeout { .. }
            | DbError::WriteTimeout { .. }
            | DbError::ReadFailure { .. }
            | DbError::WriteFailure { .. }
            | DbError::ServerError
            | DbError::RateLimitReached { .. }
    )
}

/// `LOCAL_QUORUM`, as settings spell it.
fn level(consistency: Consistency) -> String {
    let mut name = String::new();
    for letter in consistency.to_string().chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(letter.to_uppercase());
    }
    name
}

/// A message of the driver or the server as one of ours: on one line, lower case, without a full stop.
fn tidy(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut letters = line.trim_end_matches('.').chars();
    // An abbreviation such as TLS stays what it is.
    let is_word = line.chars().nth(1).is_some_and(|second| !second.is_uppercase());
    match letters.next() {
        Some(first) if is_word => first.to_lowercase().chain(letters).collect(),
        first => first.into_iter().chain(letters).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_spelled_as_in_settings() {
        assert_eq!(level(Consistency::LocalQuorum), "LOCAL_QUORUM");
        assert_eq!(level(Consistency::One), "ONE");
    }

    #[test]
    fn messages_become_ours() {
        assert_eq!(tidy("Connect\n  timeout elapsed."), "connect timeout elapsed");
        assert_eq!(tidy("TLS is refused"), "TLS is refused");
    }
}
