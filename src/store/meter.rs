//! Counts every request and byte: what a store bills, and what the tests assert.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};
use serde::Serialize;

/// S3 lists at most this many keys per request,
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>
const KEYS_PER_LIST: u64 = 1_000;

/// Requests by kind, as a store bills them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Requests {
    pub list: u64,
    pub get: u64,
    pub head: u64,
    pub put: u64,
    pub delete: u64,
    /// Body bytes received.
    pub bytes_read: u64,
    /// Requests to restore, make faster or extend; each is billed by its retrieval tier.
    pub restores: u64,
    /// What was taken out of a simulated archive for them.
    pub restored_bytes: u64,
    /// Bytes that left a class before its minimum duration, times the days that are billed for nothing.
    pub early_deleted_byte_days: u64,
}

impl Requests {
    /// What was added since `earlier`.
    pub fn since(&self, earlier: &Requests) -> Requests {
        Requests {
            list: self.list - earlier.list,
            get: self.get - earlier.get,
            head: self.head - earlier.head,
            put: self.put - earlier.put,
            delete: self.delete - earlier.delete,
            bytes_read: self.bytes_read - earlier.bytes_read,
            restores: self.restores - earlier.restores,
            restored_bytes: self.restored_bytes - earlier.restored_bytes,
            early_deleted_byte_days: self.early_deleted_byte_days - earlier.early_deleted_byte_days,
        }
    }
}

#[derive(Debug, Default)]
pub struct Meter {
    list: AtomicU64,
    get: AtomicU64,
    head: AtomicU64,
    put: AtomicU64,
    delete: AtomicU64,
    bytes_read: AtomicU64,
    restores: AtomicU64,
    restored_bytes: AtomicU64,
    early_deleted_byte_days: AtomicU64,
}

impl Meter {
    pub fn read(&self) -> Requests {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Requests {
            list: load(&self.list),
            get: load(&self.get),
            head: load(&self.head),
            put: load(&self.put),
            delete: load(&self.delete),
            bytes_read: load(&self.bytes_read),
            restores: load(&self.restores),
            restored_bytes: load(&self.restored_bytes),
            early_deleted_byte_days: load(&self.early_deleted_byte_days),
        }
    }

    pub(super) fn count_put(&self) {
        add(&self.put, 1);
    }

    pub(super) fn count_head(&self) {
        add(&self.head, 1);
    }

    /// A listing of so many keys, by its pages.
    pub(super) fn count_listing(&self, keys: u64) {
        add(&self.list, keys.div_ceil(KEYS_PER_LIST).max(1));
    }

    pub(super) fn count_delete(&self) {
        add(&self.delete, 1);
    }

    pub(super) fn count_restore(&self, bytes: u64) {
        add(&self.restores, 1);
        add(&self.restored_bytes, bytes);
    }

    pub(super) fn count_early_delete(&self, byte_days: u64) {
        add(&self.early_deleted_byte_days, byte_days);
    }

    /// Counts a request of S3's protocol by its method and query, as S3 bills it.
    pub(super) fn count_s3(&self, method: &str, query: &str) {
        let asks = |name: &str| query.split('&').any(|part| part.split('=').next() == Some(name));
        let counter = match method {
            "HEAD" => &self.head,
            "GET" if asks("list-type") || asks("versions") => &self.list,
            "GET" => &self.get,
            "DELETE" => &self.delete,
            "POST" if asks("restore") => &self.restores,
            "POST" if asks("delete") => &self.delete,
            _ => &self.put,
        };
        add(counter, 1);
    }
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

#[derive(Debug)]
pub(super) struct Metered {
    inner: Arc<dyn ObjectStore>,
    meter: Arc<Meter>,
}

impl Metered {
    pub fn new(inner: Arc<dyn ObjectStore>, meter: Arc<Meter>) -> Self {
        Metered { inner, meter }
    }

    /// Counts a listing by its pages, as they are billed.
    fn count_pages(&self, stream: BoxStream<'static, Result<ObjectMeta>>) -> BoxStream<'static, Result<ObjectMeta>> {
        add(&self.meter.list, 1);
        let (meter, mut seen) = (self.meter.clone(), 0);
        stream
            .inspect_ok(move |_| {
                seen += 1;
                if seen > 1 && seen % KEYS_PER_LIST == 1 {
                    add(&meter.list, 1);
                }
            })
            .boxed()
    }
}

impl fmt::Display for Metered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Metered {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        add(&self.meter.put, 1);
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        add(&self.meter.put, 1);
        let inner = self.inner.put_multipart_opts(location, options).await?;
        Ok(Box::new(MeteredUpload { inner, meter: self.meter.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        add(if options.head { &self.meter.head } else { &self.meter.get }, 1);
        let head = options.head;
        let result = self.inner.get_opts(location, options).await?;
        if head {
            return Ok(result);
        }
        let meter = self.meter.clone();
        let payload = match result.payload {
            // A file is handed over whole: its bytes are counted by the range that was asked for.
            file @ GetResultPayload::File(..) => {
                add(&meter.bytes_read, result.range.end - result.range.start);
                file
            }
            GetResultPayload::Stream(stream) => GetResultPayload::Stream(
                stream.inspect_ok(move |bytes| add(&meter.bytes_read, bytes.len() as u64)).boxed(),
            ),
        };
        Ok(GetResult { payload, ..result })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        // The default of a remote store coalesces ranges and asks for each through `get_opts`; do the same here, so
        // that each is counted.
        object_store::coalesce_ranges(
            ranges,
            |range| async move {
                let options = GetOptions { range: Some(range.into()), ..GetOptions::default() };
                self.get_opts(location, options).await?.bytes().await
            },
            object_store::OBJECT_STORE_COALESCE_DEFAULT,
        )
        .await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let meter = self.meter.clone();
        self.inner.delete_stream(locations.inspect_ok(move |_| add(&meter.delete, 1)).boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.count_pages(self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.count_pages(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        add(&self.meter.list, 1);
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        add(&self.meter.put, 1);
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        add(&self.meter.put, 1);
        self.inner.rename_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct MeteredUpload {
    inner: Box<dyn MultipartUpload>,
    meter: Arc<Meter>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl MultipartUpload for MeteredUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        add(&self.meter.put, 1);
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        add(&self.meter.put, 1);
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
