//! A store that fails at a chosen request: the I/O-error loop of the crash tests.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

/// What happens at the chosen call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails and has changed nothing.
    Before,
    /// It is done, but the answer is lost: the ambiguous put.
    After,
    /// From here on nothing answers any more, as after kill -9.
    Death,
}

impl Fault {
    pub const ALL: [Fault; 3] = [Fault::Before, Fault::After, Fault::Death];
}

/// Fails at the `at`th call that changes something, counted from 1.
#[derive(Debug)]
pub struct FaultStore {
    inner: Arc<dyn ObjectStore>,
    plan: Arc<Plan>,
}

#[derive(Debug)]
pub struct Plan {
    fault: Fault,
    at: u64,
    calls: AtomicU64,
    reads: AtomicU64,
    is_dead: AtomicBool,
}

impl Plan {
    pub fn new(fault: Fault, at: u64) -> Arc<Self> {
        Arc::new(Plan {
            fault,
            at,
            calls: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            is_dead: AtomicBool::new(false),
        })
    }

    /// Whether the chosen call was reached.
    pub fn was_reached(&self) -> bool {
        self.calls.load(Ordering::SeqCst) >= self.at
    }

    /// GETs and HEADs so far.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }

    fn check_alive(&self) -> Result<()> {
        if self.is_dead.load(Ordering::SeqCst) { Err(injected("dead")) } else { Ok(()) }
    }

    /// Counts a call that changes something; `Some` for the one that fails.
    fn count(&self) -> Result<Option<Fault>> {
        self.check_alive()?;
        if self.calls.fetch_add(1, Ordering::SeqCst) + 1 != self.at {
            return Ok(None);
        }
        match self.fault {
            Fault::Before => Err(injected("before")),
            Fault::After => Ok(Some(Fault::After)),
            Fault::Death => {
                self.is_dead.store(true, Ordering::SeqCst);
                Err(injected("dead"))
            }
        }
    }

    /// Runs a call that changes something.
    async fn change<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let fault = self.count()?;
        let done = call.await?;
        if fault.is_some() { Err(injected("after")) } else { Ok(done) }
    }
}

fn injected(when: &str) -> Error {
    Error::Generic { store: "fault", source: format!("injected fault ({when})").into() }
}

impl FaultStore {
    pub fn over(inner: Arc<dyn ObjectStore>, plan: Arc<Plan>) -> Arc<dyn ObjectStore> {
        Arc::new(FaultStore { inner, plan })
    }
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "faulty {}", self.inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for FaultStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.plan.change(self.inner.put_opts(location, payload, options)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.plan.change(self.inner.put_multipart_opts(location, options)).await?;
        Ok(Box::new(FaultUpload { inner, plan: self.plan.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.plan.check_alive()?;
        self.plan.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.plan.check_alive()?;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (inner, plan) = (self.inner.clone(), self.plan.clone());
        let delete = move |location: Path| {
            let (inner, plan) = (inner.clone(), plan.clone());
            async move {
                let one = futures::stream::once(async { Ok(location) }).boxed();
                plan.change(async { inner.delete_stream(one).try_collect::<Vec<_>>().await }).await
            }
        };
        let deleted = locations.and_then(delete);
        deleted.map_ok(|paths| futures::stream::iter(paths.into_iter().map(Ok))).try_flatten().boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        alive(&self.plan, self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        alive(&self.plan, self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.plan.check_alive()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.plan.change(self.inner.copy_opts(from, to, options)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.plan.change(self.inner.rename_opts(from, to, options)).await
    }
}

fn alive(plan: &Plan, stream: BoxStream<'static, Result<ObjectMeta>>) -> BoxStream<'static, Result<ObjectMeta>> {
    match plan.check_alive() {
        Ok(()) => stream,
        Err(error) => futures::stream::once(async { Err(error) }).boxed(),
    }
}

#[derive(Debug)]
struct FaultUpload {
    inner: Box<dyn MultipartUpload>,
    plan: Arc<Plan>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl MultipartUpload for FaultUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (part, plan) = (self.inner.put_part(data), self.plan.clone());
        Box::pin(async move { plan.change(part).await })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.plan.change(self.inner.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.plan.change(self.inner.abort()).await
    }
}
