//! The library reports, the binary talks: operations tell a [`Progress`] how far they are; what is shown, and whether
//! anything is, is decided in `cli/`. A [`Stop`] carries the user's wish to end in the other direction.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::error::{Error, Kind, Result};

/// What a task's numbers count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Bytes,
    Rows,
    Files,
}

/// Receives the progress of an operation.
pub trait Progress: Send + Sync {
    /// Begins a task such as `read`; `total` is in `unit`, where it is known.
    fn task(&self, name: &'static str, unit: Unit, total: Option<u64>) -> Arc<dyn Task>;

    /// A warning the user should see among the progress, one line.
    fn warn(&self, message: &str);
}

/// One task under way; it ends when it is dropped.
pub trait Task: Send + Sync {
    fn advance(&self, amount: u64);
}

/// Shows nothing: for callers of the library and for tests.
pub struct Silent;

impl Progress for Silent {
    fn task(&self, _: &'static str, _: Unit, _: Option<u64>) -> Arc<dyn Task> {
        Arc::new(Silent)
    }

    fn warn(&self, message: &str) {
        tracing::warn!("{message}");
    }
}

impl Task for Silent {
    fn advance(&self, _: u64) {}
}

/// Set by the first SIGINT or SIGTERM; operations look at it at their safe borders and end there.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicU8>);

impl Stop {
    /// Asks for a stop; the first wish counts.
    pub fn request(&self, kind: Kind) {
        let _ = self.0.compare_exchange(0, kind.exit_code(), Ordering::SeqCst, Ordering::SeqCst);
    }

    pub fn requested(&self) -> Option<Kind> {
        match self.0.load(Ordering::SeqCst) {
            0 => None,
            code if code == Kind::Terminated.exit_code() => Some(Kind::Terminated),
            _ => Some(Kind::Interrupted),
        }
    }

    /// Takes the wish back: for a shell, where it ends a query and not the program.
    pub fn take(&self) -> Option<Kind> {
        let kind = self.requested();
        self.0.store(0, Ordering::SeqCst);
        kind
    }

    /// The safe border: an error here means that nothing of this run becomes visible.
    pub fn check(&self) -> Result<()> {
        match self.requested() {
            None => Ok(()),
            Some(kind) => Err(Error::new(kind, "stopped on request; nothing was committed").hint("run it again")),
        }
    }
}
