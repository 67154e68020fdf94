//! The only code that talks to a store: a local folder, memory, or a bucket.
//!
//! # Consistency
//! Everything the archive relies on is one promise: [`Store::put_if_absent`] makes an object appear whole or not at all,
//! and for one caller only. Nothing else is atomic and nothing else needs to be.
//!
//! # Crash
//! A local write that is not the commit is durable only after [`Store::make_durable`]; the commit is linked after it.
//! A killed run leaves temporary files beside their targets (`…#n`), which no reader lists and `tier vacuum` removes.
//!
//! # Layers
//! Every request goes through [`meter`], then, where the store has no storage classes of its own, through [`simulated`],
//! then through what a test decorates the store with, to the store itself.

mod aws;
mod cache;
mod classes;
mod durable;
mod errors;
mod folders;
mod layout;
mod local;
mod location;
mod meter;
mod reader;
mod s3;
mod simulated;
mod states;
mod temp_file;
mod tree_hash;
mod vault;
mod writer;

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::{Context, Result};
use crate::model::hex;
use local::LocalFiles;
use meter::Metered;
use simulated::Simulated;

use aws::Access;
use s3::S3Classes;

pub use cache::{Cache, DEFAULT_CACHE_BYTES};
pub use classes::{BucketFacts, BucketRule, Classes, OUR_RULES, ObjectLock, RestoreOutcome};
pub use errors::{explain, explain_ref};
pub use layout::Layout;
pub use location::Location;
pub use meter::{Meter, Requests};
pub use reader::ObjectReader;
pub use simulated::ClassTime;
pub use temp_file::TempFile;
pub use vault::{Border, Stored, VaultJob, Vaults, upload_requests};
pub use writer::ObjectWriter;

/// A file up to here is read into memory and created with one PUT.
const ONE_PUT_BYTES: u64 = 16 << 20;

/// What [`Store::each_part`] asks for at once.
const PART_BYTES: u64 = 8 << 20;

/// What became of a [`Store::put_if_absent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    Created,
    /// Somebody's object is there; it may be our own from a retried request, so compare before calling it a conflict.
    AlreadyExists,
}

/// An object as a listing shows it; `path` is relative to the store's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub path: String,
    pub size_bytes: u64,
    pub modified: Timestamp,
    pub etag: Option<String>,
}

/// Objects and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ObjectSum {
    pub objects: u64,
    pub bytes: u64,
}

impl ObjectSum {
    pub fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
    }
}

/// An archive's objects, addressed by paths relative to its root. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    /// All layers together; see the module's docs.
    inner: Arc<dyn ObjectStore>,
    /// The lowest layer.
    base: Arc<dyn ObjectStore>,
    classes: Arc<dyn Classes>,
    prefix: Path,
    location: Location,
    /// Of simulated classes.
    time: ClassTime,
    meter: Arc<Meter>,
    cache: Option<Arc<Cache>>,
    /// Whether every request is answered on the thread that makes it.
    answers_inline: bool,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.location)
    }
}

impl Store {
    /// Opens a location. A local folder is created when it is first written to; nothing is requested yet. `time` is
    /// that of simulated classes.
    pub async fn open(location: &Location, time: ClassTime) -> Result<Self> {
        let (location, meter) = (location.clone(), Arc::new(Meter::default()));
        match &location {
            Location::Local(root) => {
                let prefix = Path::from_absolute_path(root).context("open the archive folder")?;
                let store = Self::simulated(Arc::new(LocalFiles::default()), prefix, location, time, meter);
                Ok(Store { answers_inline: true, ..store })
            }
            Location::Memory => Ok(Self::simulated(Arc::new(InMemory::new()), Path::default(), location, time, meter)),
            Location::S3 { bucket, prefix } => {
                let access = Access::from_environment().await?;
                Self::over_bucket(access, bucket, prefix, time, meter)
            }
        }
    }

    /// A bucket at a server of the caller's, whatever the environment says.
    pub async fn open_s3_at(endpoint: &str, bucket: &str, prefix: &str, key_id: &str, secret: &str) -> Result<Self> {
        let access = Access::explicit(endpoint, key_id, secret).await?;
        Self::over_bucket(access, bucket, prefix, ClassTime::default(), Arc::new(Meter::default()))
    }

    fn over_bucket(access: Access, bucket: &str, prefix: &str, time: ClassTime, meter: Arc<Meter>) -> Result<Self> {
        let root = Path::parse(prefix).context("read the archive address")?;
        let location = Location::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() };
        let base = access.open_bucket(bucket)?;
        let classes = Arc::new(S3Classes::new(access, bucket, root.clone(), location.clone(), meter.clone()));
        Ok(Self::layered(base.clone(), base, classes, root, location, time, meter))
    }

    /// A store in memory, for tests and simulations.
    pub fn memory() -> Self {
        let (base, meter) = (Arc::new(InMemory::new()), Arc::new(Meter::default()));
        Self::simulated(base, Path::default(), Location::Memory, ClassTime::default(), meter)
    }

    /// The same archive with its requests going through `decorate`: latency, faults, limits. Where classes are
    /// simulated, so do the requests of the simulation.
    pub fn decorated(&self, decorate: impl FnOnce(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>) -> Self {
        self.relayered(decorate(self.base.clone()), self.time)
    }

    /// The same archive behind `decorate`, which a simulation's own requests do not meet, as over a network to a store
    /// that has classes.
    pub fn behind(&self, decorate: impl FnOnce(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>) -> Self {
        Store { inner: decorate(self.inner.clone()), answers_inline: false, ..self.clone() }
    }

    /// The same archive, where simulated classes take `time` for theirs.
    pub fn at(&self, time: ClassTime) -> Self {
        Store { answers_inline: self.answers_inline, ..self.relayered(self.base.clone(), time) }
    }

    fn relayered(&self, base: Arc<dyn ObjectStore>, time: ClassTime) -> Self {
        let (prefix, location, meter) = (self.prefix.clone(), self.location.clone(), self.meter.clone());
        let store = match location {
            Location::S3 { .. } => {
                Self::layered(base.clone(), base, self.classes.clone(), prefix, location, time, meter)
            }
            Location::Local(_) | Location::Memory => Self::simulated(base, prefix, location, time, meter),
        };
        Store { cache: self.cache.clone(), ..store }
    }

    /// A store that has no classes of its own.
    fn simulated(
        base: Arc<dyn ObjectStore>,
        prefix: Path,
        location: Location,
        time: ClassTime,
        meter: Arc<Meter>,
    ) -> Self {
        let simulated = Arc::new(Simulated::new(base.clone(), prefix.clone(), time, meter.clone()));
        Self::layered(base, simulated.clone(), simulated, prefix, location, time, meter)
    }

    fn layered(
        base: Arc<dyn ObjectStore>,
        objects: Arc<dyn ObjectStore>,
        classes: Arc<dyn Classes>,
        prefix: Path,
        location: Location,
        time: ClassTime,
        meter: Arc<Meter>,
    ) -> Self {
        let inner = Arc::new(Metered::new(objects, meter.clone()));
        Store { inner, base, classes, prefix, location, time, meter, cache: None, answers_inline: false }
    }

    /// What the store can do with storage classes.
    pub fn classes(&self) -> &dyn Classes {
        &*self.classes
    }

    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Requests and bytes since the store was opened.
    pub fn requests(&self) -> Requests {
        self.meter.read()
    }

    /// The store under DataFusion's readers; give it paths made by [`Store::object_path`].
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        self.inner.clone()
    }

    /// The full key of a path relative to the root.
    pub fn object_path(&self, path: &str) -> Path {
        // `parse`, not `from`: key folders are percent-encoded already and must not be encoded again.
        let parsed = match self.prefix.as_ref() {
            "" => Path::parse(path),
            prefix => Path::parse([prefix, path].join("/")),
        };
        parsed.expect("paths come from the layout, which makes only valid ones")
    }

    pub async fn get(&self, path: &str) -> Result<Bytes> {
        self.get_opt(path).await?.ok_or_else(|| {
            crate::error::Error::failed(format!("{} does not exist", self.address(path))).code("missing-object")
        })
    }

    /// The object's bytes, or `None` when there is no such object.
    pub async fn get_opt(&self, path: &str) -> Result<Option<Bytes>> {
        Ok(self.get_tagged(path).await?.map(|(bytes, _)| bytes))
    }

    /// As [`Store::get_opt`], with the object's ETag where the store has such.
    pub async fn get_tagged(&self, path: &str) -> Result<Option<(Bytes, Option<String>)>> {
        let phrase = || format!("get {}", self.address(path));
        match self.inner.get(&self.object_path(path)).await {
            Ok(result) => {
                let etag = result.meta.e_tag.clone();
                Ok(Some((result.bytes().await.map_err(explain).with_context(phrase)?, etag)))
            }
            Err(object_store::Error::NotFound { source, .. }) if !errors::is_missing_bucket(&source.to_string()) => {
                Ok(None)
            }
            Err(error) => Err(explain(error)).with_context(phrase),
        }
    }

    /// A range of an object's bytes.
    pub async fn get_range(&self, path: &str, range: std::ops::Range<u64>) -> Result<Bytes> {
        let got = self.inner.get_range(&self.object_path(path), range).await.map_err(explain);
        got.with_context(|| format!("get a part of {}", self.address(path)))
    }

    /// The last `length` bytes of an object of `size_bytes`.
    pub async fn get_suffix(&self, path: &str, size_bytes: u64, length: u64) -> Result<Bytes> {
        self.get_range(path, size_bytes.saturating_sub(length)..size_bytes).await
    }

    /// Hands out an object of `size_bytes` part by part, in its order: memory holds one of them.
    pub async fn each_part(
        &self,
        path: &str,
        size_bytes: u64,
        mut take: impl FnMut(&Bytes) -> Result<()>,
    ) -> Result<()> {
        let mut start = 0;
        while start < size_bytes {
            let end = (start + PART_BYTES).min(size_bytes);
            take(&self.get_range(path, start..end).await?)?;
            start = end;
        }
        Ok(())
    }

    /// The SHA-256 of an object of `size_bytes`, hex, read a part at a time.
    pub async fn sha256(&self, path: &str, size_bytes: u64) -> Result<String> {
        let mut hasher = Sha256::new();
        let hash = |part: &Bytes| {
            hasher.update(part);
            Ok(())
        };
        self.each_part(path, size_bytes, hash).await?;
        Ok(hex(&hasher.finalize()))
    }

    /// Puts or replaces an object. Local bytes are durable only after [`Store::make_durable`].
    pub async fn put(&self, path: &str, bytes: impl Into<Bytes>) -> Result<()> {
        let payload = PutPayload::from_bytes(bytes.into());
        self.inner
            .put(&self.object_path(path), payload)
            .await
            .map_err(explain)
            .with_context(|| format!("put {}", self.address(path)))?;
        Ok(())
    }

    /// Creates an object, durably, unless one of that name exists.
    pub async fn put_if_absent(&self, path: &str, bytes: impl Into<Bytes>) -> Result<PutOutcome> {
        let bytes = bytes.into();
        let phrase = || format!("create {}", self.address(path));
        if let Location::Local(root) = &self.location {
            let (target, meter) = (root.join(path), self.meter.clone());
            let created = tokio::task::spawn_blocking(move || durable::create(&target, &bytes)).await;
            meter.count_put();
            return created.context("wait for the write")?.with_context(phrase);
        }
        let options = PutMode::Create.into();
        match self.inner.put_opts(&self.object_path(path), PutPayload::from_bytes(bytes), options).await {
            Ok(_) => Ok(PutOutcome::Created),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(PutOutcome::AlreadyExists)
            }
            Err(error) => Err(explain(error)).with_context(phrase),
        }
    }

    /// As [`Store::put_if_absent`], of a file of any size. An object of more than one part is not retried whole by who finds
    /// it there: compare before calling it a conflict.
    pub async fn put_file_if_absent(&self, path: &str, file: &TempFile) -> Result<PutOutcome> {
        let phrase = || format!("create {}", self.address(path));
        match &self.location {
            Location::Local(root) => {
                let (source, target, meter) = (file.clone(), root.join(path), self.meter.clone());
                let created = tokio::task::spawn_blocking(move || durable::create_from(&target, &source)).await;
                meter.count_put();
                created.context("wait for the write")?.with_context(phrase)
            }
            Location::S3 { .. } if file.size_bytes() > ONE_PUT_BYTES => {
                self.classes.put_file_if_absent(path, file).await.with_context(phrase)
            }
            Location::S3 { .. } | Location::Memory => {
                let bytes = file.whole().with_context(phrase)?;
                self.put_if_absent(path, bytes).await
            }
        }
    }

    /// Makes every earlier write of this process durable; a bucket's writes already are.
    pub async fn make_durable(&self) -> Result<()> {
        let Location::Local(root) = self.location.clone() else { return Ok(()) };
        tokio::task::spawn_blocking(move || durable::sync_all(&root))
            .await
            .context("wait for the sync")?
            .context("sync the archive folder")
    }

    /// Objects whose path begins with the folder `prefix`, after `after` where it is given, in no particular order.
    pub async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<Listed>> {
        self.listing(prefix, after).try_collect().await
    }

    /// As [`Store::list`], one object at a time.
    pub fn listing(&self, prefix: &str, after: Option<&str>) -> BoxStream<'static, Result<Listed>> {
        let full = self.object_path(prefix);
        let stream = match after {
            Some(after) => self.inner.list_with_offset(Some(&full), &self.object_path(after)),
            None => self.inner.list(Some(&full)),
        };
        let (store, address) = (self.clone(), self.address(prefix));
        let listed = move |meta: object_store::Result<ObjectMeta>| {
            let listed = meta.map_err(explain).and_then(|meta| store.listed(meta));
            listed.with_context(|| format!("list {address}"))
        };
        stream.map(listed).boxed()
    }

    /// An object as a listing would show it, or `None` when there is none.
    pub async fn stat(&self, path: &str) -> Result<Option<Listed>> {
        match self.inner.head(&self.object_path(path)).await {
            Ok(meta) => self.listed(meta).map(Some),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(explain(error)).with_context(|| format!("look at {}", self.address(path))),
        }
    }

    fn listed(&self, meta: ObjectMeta) -> Result<Listed> {
        let strip = if self.prefix.as_ref().is_empty() { 0 } else { self.prefix.as_ref().len() + 1 };
        Ok(Listed {
            path: meta.location.as_ref()[strip..].to_owned(),
            size_bytes: meta.size,
            modified: Timestamp::from_microsecond(meta.last_modified.timestamp_micros())
                .context("read a modification time")?,
            etag: meta.e_tag,
        })
    }

    /// A reader of an object's bytes. For threads outside the runtime.
    pub async fn reader(&self, path: &str, runtime: tokio::runtime::Handle) -> Result<ObjectReader> {
        let got = self.inner.get(&self.object_path(path)).await.map_err(explain);
        let got = got.with_context(|| format!("get {}", self.address(path)))?;
        Ok(ObjectReader::new(got.into_stream(), runtime))
    }

    /// Deletes objects; those already gone count as deleted.
    pub async fn delete(&self, paths: Vec<String>) -> Result<()> {
        let objects: Vec<_> = paths.iter().map(|path| Ok(self.object_path(path))).collect();
        let mut deleted = self.inner.delete_stream(futures::stream::iter(objects).boxed());
        while let Some(outcome) = deleted.next().await {
            match outcome {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(explain(error)).context("delete objects"),
            }
        }
        Ok(())
    }

    /// Unfinished writes of killed processes, which only a local folder can hold; paths are relative to it.
    pub async fn temporary_files(&self) -> Result<Vec<Listed>> {
        let Location::Local(root) = self.location.clone() else { return Ok(Vec::new()) };
        let found = tokio::task::spawn_blocking(move || durable::temporary_files(&root, simulated::is_leftover))
            .await
            .context("wait for the listing")?;
        found.context("look for unfinished writes")
    }

    /// Deletes what [`Store::temporary_files`] found.
    pub async fn delete_temporary(&self, paths: Vec<String>) -> Result<()> {
        let Location::Local(root) = &self.location else { return Ok(()) };
        for path in paths {
            match std::fs::remove_file(root.join(&path)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).context(format!("delete {path}"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether [`Store::block_on`] waits for nobody: other threads have nothing to gain meanwhile.
    pub fn answers_inline(&self) -> bool {
        self.answers_inline
    }

    /// Makes a request from a thread outside the runtime. A local file system is asked on that thread: to hand a request to
    /// another and to be woken again takes longer than most answers.
    pub fn block_on<F: Future>(&self, runtime: &tokio::runtime::Handle, request: F) -> F::Output {
        if self.answers_inline { futures::executor::block_on(request) } else { runtime.block_on(request) }
    }

    /// A writer that makes an object appear whole when it is finished. For threads outside the runtime.
    pub fn writer(&self, path: &str, runtime: tokio::runtime::Handle) -> ObjectWriter {
        ObjectWriter::new(self.clone(), path.to_owned(), runtime)
    }

    /// How a person would name this object.
    pub fn address(&self, path: &str) -> String {
        self.location.join(path)
    }

    /// The folder on this machine, when the archive is one.
    pub fn local_root(&self) -> Option<&PathBuf> {
        match &self.location {
            Location::Local(root) => Some(root),
            _ => None,
        }
    }
}
