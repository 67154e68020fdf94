//! Storage classes played on a local folder or in memory: an archived object really cannot be read, restores take their
//! time on the injected clock, windows expire.
//!
//! # Layout
//! An object in STANDARD lies at its path and has no record. Of every other there is a record, which is the truth about
//! it:
//!
//! ```text
//! <path>                            bytes of STANDARD, STANDARD_IA, GLACIER_IR
//! _simulated/state/<path>.json      the record: class, since when, size, restore
//! _simulated/archived/<path>        bytes of GLACIER and DEEP_ARCHIVE, where no reader of the folder finds them
//! _simulated/rules.json             the bucket's lifecycle rules; nobody executes them
//! ```
//!
//! # Cost
//! A GET of what lies at its path is one request below, as without simulation: a record is looked for only when nothing
//! lies there.
//!
//! # Crash
//! Into an archived class: bytes, then the record, then the bytes at the path go. Before the record the object is what
//! it was, after it it is archived; repeating takes away what is left at the path. Out of it: bytes to the path, then
//! the record goes, then the archived bytes. A delete takes the bytes at the path first, then the record, then the
//! archived bytes: in this order nothing of an earlier, interrupted move comes to light. Bytes without a record are
//! seen by nobody, and the vacuum removes them with other unfinished writes.

mod classes;
mod objects;
mod record;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload, Result};

use super::meter::Meter;
use record::Record;

pub use record::ClassTime;

/// Everything of the simulation lies below this folder of the archive.
const FOLDER: &str = "_simulated";
const STATE: &str = "_simulated/state";
const ARCHIVED: &str = "_simulated/archived";
const RULES: &str = "_simulated/rules.json";

/// Records read at once.
const RECORD_READS_IN_FLIGHT: usize = 64;

/// Objects deleted at once.
const DELETES_IN_FLIGHT: usize = 8;

/// The store as S3 would be; cheap to clone.
#[derive(Debug, Clone)]
pub struct Simulated {
    base: Arc<dyn ObjectStore>,
    /// The archive's root in `base`.
    prefix: Path,
    time: ClassTime,
    meter: Arc<Meter>,
}

impl Simulated {
    pub fn new(base: Arc<dyn ObjectStore>, prefix: Path, time: ClassTime, meter: Arc<Meter>) -> Self {
        Simulated { base, prefix, time, meter }
    }

    /// An object's path relative to the root; `None` outside the archive and among the simulation's own objects.
    fn relative<'a>(&self, location: &'a Path) -> Option<&'a str> {
        let relative = match self.prefix.as_ref() {
            "" => location.as_ref(),
            prefix => location.as_ref().strip_prefix(prefix)?.strip_prefix('/')?,
        };
        let own = relative == FOLDER || relative.strip_prefix(FOLDER).is_some_and(|rest| rest.starts_with('/'));
        (!own).then_some(relative)
    }

    /// Where something relative to the root lies in `base`.
    fn place(&self, relative: &str) -> Path {
        let full = format!("{}/{relative}", self.prefix);
        // Not `from`, which would encode the percent signs of key folders again.
        Path::parse(full.trim_matches('/')).expect("made of valid paths")
    }

    fn record_place(&self, relative: &str) -> Path {
        self.place(&format!("{STATE}/{relative}.json"))
    }

    fn archived_place(&self, relative: &str) -> Path {
        self.place(&format!("{ARCHIVED}/{relative}"))
    }

    async fn get(&self, place: &Path) -> Result<Option<Bytes>> {
        match self.base.get(place).await {
            Ok(got) => got.bytes().await.map(Some),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn head(&self, place: &Path) -> Result<Option<ObjectMeta>> {
        match self.base.head(place).await {
            Ok(meta) => Ok(Some(meta)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes what may not be there.
    async fn remove(&self, place: &Path) -> Result<()> {
        match self.head(place).await? {
            None => Ok(()),
            Some(_) => match self.base.delete(place).await {
                Err(Error::NotFound { .. }) => Ok(()),
                done => done,
            },
        }
    }

    /// `None` of what is in STANDARD or not there.
    async fn record(&self, relative: &str) -> Result<Option<Record>> {
        let place = self.record_place(relative);
        match self.get(&place).await? {
            Some(bytes) => Record::decode(&bytes).map(Some).map_err(|source| damaged(&place, source)),
            None => Ok(None),
        }
    }

    async fn put_record(&self, relative: &str, record: &Record) -> Result<()> {
        self.base.put(&self.record_place(relative), PutPayload::from(record.encode())).await.map(drop)
    }

    /// The records of objects below a folder, by path; "" is the root.
    async fn records(&self, folder: &str) -> Result<BTreeMap<String, Record>> {
        let state = self.place(&format!("{STATE}/{folder}"));
        let root = self.place(STATE);
        let read = |meta: ObjectMeta| {
            let below = meta.location.as_ref().strip_prefix(root.as_ref()).unwrap_or_default();
            let relative = below.trim_start_matches('/').strip_suffix(".json").map(str::to_owned);
            async move {
                let Some(relative) = relative else { return Ok(None) };
                // Gone since it was listed: deleted meanwhile.
                Ok(self.record(&relative).await?.map(|record| (relative, record)))
            }
        };
        let read = self.base.list(Some(&state)).map_ok(read).try_buffer_unordered(RECORD_READS_IN_FLIGHT);
        read.try_filter_map(|found| async { Ok(found) }).try_collect().await
    }

    /// After the bytes at the path were replaced: it is an object in STANDARD now.
    async fn forget(&self, relative: &str, record: &Record) -> Result<()> {
        self.remove(&self.record_place(relative)).await?;
        self.remove(&self.archived_place(relative)).await?;
        self.meter.count_early_delete(record.early_byte_days(self.time.now()));
        Ok(())
    }

    /// See the module's docs for the order.
    async fn delete_one(&self, location: &Path) -> Result<()> {
        let Some(relative) = self.relative(location) else { return self.base.delete(location).await };
        let record = self.record(relative).await?;
        let at_path = self.base.delete(location).await;
        if !matches!(at_path, Ok(()) | Err(Error::NotFound { .. })) {
            return at_path;
        }
        if record.is_some() {
            self.remove(&self.record_place(relative)).await?;
        }
        self.remove(&self.archived_place(relative)).await?;
        let Some(record) = record else { return at_path };
        self.meter.count_early_delete(record.early_byte_days(self.time.now()));
        Ok(())
    }
}

/// Whether a file of a local archive, by its path there, is what an interrupted move left: archived bytes that have
/// neither a record nor an object at their path.
pub fn is_leftover(root: &std::path::Path, relative: &std::path::Path) -> bool {
    let Ok(object) = relative.strip_prefix(ARCHIVED) else { return false };
    let mut record = root.join(STATE).join(object).into_os_string();
    record.push(".json");
    !std::path::Path::new(&record).exists() && !root.join(object).exists()
}

fn damaged(place: &Path, source: crate::error::Error) -> Error {
    Error::Generic { store: "simulated classes", source: format!("{place}: {source}").into() }
}
