//! The hot tier of one engine: connected when a scan first needs it, and what becomes of a question when it is down.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::civil::Date;
use tokio::sync::OnceCell;

use super::OnHotError;
use super::log::HotLog;
use super::source::{self, HotSource};
use crate::error::{Context, Error, Kind, Result};
use crate::hot::HotSettings;

/// Where the archive can answer as well, a hot tier that is slow to connect is not waited for.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub struct HotTier {
    settings: HotSettings,
    on_error: OnHotError,
    connected: OnceCell<Connected>,
    log: Mutex<Arc<HotLog>>,
}

/// A failure stays: a statement that scans twice does not wait twice.
type Connected = Result<Arc<dyn HotSource>, Arc<Error>>;

impl HotTier {
    pub fn new(settings: HotSettings, on_error: OnHotError) -> Self {
        HotTier { settings, on_error, connected: OnceCell::new(), log: Mutex::default() }
    }

    /// Begins a statement: what it reads and lacks is noted in the log that this returns.
    pub fn begin(&self) -> Arc<HotLog> {
        let log = Arc::new(HotLog::default());
        *self.log.lock().unwrap_or_else(PoisonError::into_inner) = log.clone();
        log
    }

    pub fn log(&self) -> Arc<HotLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The source; where it is not connected yet, this waits for it.
    pub async fn source(&self) -> Result<Arc<dyn HotSource>> {
        let connect = || async { source::open(&self.settings).await.map_err(Arc::new) };
        match self.connected.get_or_init(connect).await {
            Ok(source) => Ok(source.clone()),
            Err(error) => Err(copied(error)).with_context(|| format!("connect to {}", self.name())),
        }
    }

    /// The source, if it is there soon.
    pub async fn source_soon(&self) -> Option<Arc<dyn HotSource>> {
        let source = tokio::time::timeout(PATIENCE, self.source()).await;
        source.ok()?.inspect_err(|error| tracing::debug!("the archive answers alone: {error}")).ok()
    }

    /// Whether the next statement may use this connection, or should try to make one.
    pub fn has_failed(&self) -> bool {
        matches!(self.connected.get(), Some(Err(_)))
    }

    pub fn name(&self) -> String {
        source::name_of(&self.settings)
    }

    /// What a failure means: `None` where the question is answered without the events of `days`, which is noted.
    /// `is_alone`: the archive is not asked for them either.
    pub fn forgive<T>(&self, result: Result<T>, days: &BTreeSet<Date>, is_alone: bool) -> Result<Option<T>> {
        let error = match result {
            Ok(value) => return Ok(Some(value)),
            Err(error) => error,
        };
        match (self.on_error, is_down(&error)) {
            (_, false) => Err(error),
            (OnHotError::Fail, true) => Err(down(&self.name(), error)),
            (OnHotError::Skip, true) => {
                self.log().miss(days, is_alone, &error);
                Ok(None)
            }
        }
    }

    pub fn on_error(&self) -> OnHotError {
        self.on_error
    }
}

/// Whether it is the tier that fails, and not the command or its settings.
pub fn is_down(error: &Error) -> bool {
    matches!(error.kind(), Kind::Failed | Kind::TryAgain)
}

/// The hot tier's failure as the question's.
pub fn down(name: &str, error: Error) -> Error {
    Error::new(Kind::TryAgain, format!("the hot tier does not answer: {name}"))
        .code("hot-down")
        .with_source(error)
        .hint("ask again later; or answer without it: --on-hot-error skip says what is missing, --tiers cold,deep asks the archive alone")
}

fn copied(error: &Error) -> Error {
    let mut copy = Error::new(error.kind(), error.to_string()).code(error.stable_code());
    if let Some(hint) = error.hint_text() {
        copy = copy.hint(hint);
    }
    match error.causes() {
        causes if causes.is_empty() => copy,
        causes => copy.with_source(Error::failed(causes.join(": "))),
    }
}
