//! One error type for the whole crate: what went wrong, what to do about it, and the exit code that says so.
//!
//! A [`Kind`] exists only where a caller does something different because of it. Outcomes a caller must look at
//! (a lost commit race, an archived object, a partial answer) are values of the function that has them, not errors.

use std::error::Error as StdError;
use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller can do about an error. Each kind is one exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It failed; the message says why.
    Failed,
    /// The command, its configuration or its input has to change first.
    Usage,
    /// The answer needs archived objects: a restore must be started or is running.
    RestoreNeeded,
    /// A limit the user set would be passed.
    OverBudget,
    /// Nothing is wrong with the command: run it again later (a lost race, a store that does not answer).
    TryAgain,
    /// Stopped by SIGINT at a safe border.
    Interrupted,
    /// Stopped by SIGTERM at a safe border.
    Terminated,
}

impl Kind {
    /// The process exit code; README lists them all.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::RestoreNeeded => 4,
            Kind::OverBudget => 5,
            Kind::TryAgain => 6,
            Kind::Interrupted => 130,
            Kind::Terminated => 143,
        }
    }

    fn code(self) -> &'static str {
        match self {
            Kind::Failed => "failed",
            Kind::Usage => "usage",
            Kind::RestoreNeeded => "restore-needed",
            Kind::OverBudget => "over-budget",
            Kind::TryAgain => "try-again",
            Kind::Interrupted => "interrupted",
            Kind::Terminated => "terminated",
        }
    }
}

/// An error with its chain of causes, an optional hint, and the commands that lead out.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    code: &'static str,
    message: String,
    /// The message is what was being done, as a verb phrase; the source is what went wrong.
    is_phrase: bool,
    hint: Option<String>,
    commands: Vec<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error(Box::new(Inner {
            kind,
            code: kind.code(),
            message: message.into(),
            is_phrase: false,
            hint: None,
            commands: Vec::new(),
            source: None,
        }))
    }

    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, message)
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// What to do next, in words.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// A command that leads out, ready to paste.
    pub fn command(mut self, command: impl Into<String>) -> Self {
        self.0.commands.push(command.into());
        self
    }

    /// A stable name a script can match on, where the kind alone does not tell enough.
    pub fn code(mut self, code: &'static str) -> Self {
        self.0.code = code;
        self
    }

    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    pub fn stable_code(&self) -> &'static str {
        self.0.code
    }

    /// The message as a sentence of its own.
    pub fn headline(&self) -> String {
        if self.0.is_phrase { format!("failed to {}", self.0.message) } else { self.0.message.clone() }
    }

    /// The first hint on the chain: context added further out does not hide it.
    pub fn hint_text(&self) -> Option<&str> {
        self.find(|inner| inner.hint.as_deref())
    }

    /// The first non-empty list of commands on the chain.
    pub fn commands(&self) -> &[String] {
        self.find(|inner| (!inner.commands.is_empty()).then_some(inner.commands.as_slice())).unwrap_or(&[])
    }

    /// The messages below the first, outermost first.
    pub fn causes(&self) -> Vec<String> {
        let mut causes: Vec<String> = Vec::new();
        let mut next = self.source();
        while let Some(error) = next {
            let text = error.to_string();
            // Wrapped library errors often repeat their source's text in their own.
            if !causes.last().is_some_and(|last| last.ends_with(&text)) {
                causes.push(text);
            }
            next = error.source();
        }
        causes
    }

    fn find<'a, T>(&'a self, get: impl Fn(&'a Inner) -> Option<T>) -> Option<T> {
        let mut inner = &self.0;
        loop {
            if let Some(found) = get(inner) {
                return Some(found);
            }
            inner = &inner.source.as_ref()?.downcast_ref::<Error>()?.0;
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// Adds a verb phrase in the present tense ("read commit 42") to an error on its way up.
pub trait Context<T> {
    fn context(self, phrase: impl Into<String>) -> Result<T>;
    fn with_context(self, phrase: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> Context<T> for Result<T, E> {
    fn context(self, phrase: impl Into<String>) -> Result<T> {
        self.with_context(|| phrase.into())
    }

    fn with_context(self, phrase: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| {
            let source = source.into();
            let (kind, code) = match source.downcast_ref::<Error>() {
                Some(error) => (error.kind(), error.stable_code()),
                None => (Kind::Failed, Kind::Failed.code()),
            };
            let mut error = Error::new(kind, phrase()).code(code).with_source(source);
            error.0.is_phrase = true;
            error
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_keeps_kind_hint_and_commands_of_the_cause() {
        let error =
            Err::<(), _>(Error::usage("no archive named").hint("name one").command("tier status --archive ./a"))
                .context("open the archive")
                .context("run the query")
                .unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert_eq!(error.to_string(), "run the query");
        assert_eq!(error.causes(), ["open the archive", "no archive named"]);
        assert_eq!(error.hint_text(), Some("name one"));
        assert_eq!(error.commands(), ["tier status --archive ./a"]);
    }

    #[test]
    fn a_cause_that_repeats_its_source_is_said_once() {
        let io = std::io::Error::new(std::io::ErrorKind::NotFound, "no such file");
        let error = Err::<(), _>(io).context("open a.ndjson").unwrap_err();
        assert_eq!(error.causes(), ["no such file"]);
    }
}
