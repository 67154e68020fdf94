//! Storage classes of a bucket, through the AWS SDK: what object_store has no word for.
//!
//! # Consistency
//! S3 itself is the truth of classes and restores; nothing is remembered here.
//!
//! # Crash
//! An upload appears whole or not at all. Killed in the middle, its parts stay behind, invisible and billed, until a
//! lifecycle rule with `abort_multipart_after_days` takes them.
//!
//! # Cost
//! A custom endpoint is asked a little more than AWS, because servers differ in what they say: one HEAD before a
//! restore, and HEADs of listed archived objects where the listing shows no restore status.

mod restore;
mod rules;
mod upload;
mod versions;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::{BoxError, ProvideErrorMetadata};
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{MetadataDirective, Object, OptionalObjectAttributes};
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use object_store::path::Path;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::aws::Access;
use super::classes::{BucketFacts, BucketRule, Classes, ObjectLock, RestoreOutcome};
use super::errors::{explain_sdk, status};
use super::location::Location;
use super::meter::Meter;
use super::{PutOutcome, TempFile};
use crate::error::{Context, Error, Result};
use crate::model::{ObjectState, RestoreState, Retrieval, StorageClass};
use upload::Existing;

/// HEADs side by side when a listing says too little.
const LOOKS_IN_FLIGHT: usize = 32;

/// What a copy source may hold unencoded: its slashes part the bucket from the key.
const COPY_SOURCE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[derive(Debug)]
pub struct S3Classes {
    access: Access,
    /// Made at the first request: most commands need none.
    client: OnceLock<Client>,
    bucket: String,
    root: Path,
    location: Location,
    meter: Arc<Meter>,
    restores: restore::Pace,
    /// Whether a listing of this server has ever shown a restore status.
    lists_restores: AtomicBool,
}

impl S3Classes {
    pub fn new(access: Access, bucket: &str, root: Path, location: Location, meter: Arc<Meter>) -> Self {
        S3Classes {
            lists_restores: AtomicBool::new(access.is_aws()),
            access,
            client: OnceLock::new(),
            bucket: bucket.to_owned(),
            root,
            location,
            meter,
            restores: restore::Pace::default(),
        }
    }

    fn client(&self) -> &Client {
        self.client
            .get_or_init(|| Client::from_conf(self.access.s3_config().interceptor(Counted(self.meter.clone())).build()))
    }

    /// The full key of a path.
    fn key(&self, path: &str) -> String {
        if self.root.as_ref().is_empty() { path.to_owned() } else { format!("{}/{path}", self.root) }
    }

    fn address(&self, path: &str) -> String {
        self.location.join(path)
    }

    fn missing(&self, path: &str) -> Error {
        Error::failed(format!("{} does not exist", self.address(path))).code("missing-object")
    }

    async fn look_at_existing(&self, path: &str) -> Result<ObjectState> {
        self.look(path).await?.ok_or_else(|| self.missing(path))
    }

    /// An object of a listing, as far as the listing tells.
    fn listed(&self, object: &Object) -> Result<ObjectState> {
        let key = object.key().unwrap_or_default();
        let path = key[self.key("").len()..].to_owned();
        let storage_class = self.class_of(&path, object.storage_class().map(|class| class.as_str()))?;
        let restore = match object.restore_status() {
            _ if !storage_class.is_archived() => RestoreState::None,
            Some(status) if status.is_restore_in_progress() == Some(true) => RestoreState::Running,
            Some(status) => match status.restore_expiry_date() {
                Some(until) => RestoreState::Restored { until: timestamp(until)? },
                None => RestoreState::None,
            },
            None => RestoreState::None,
        };
        Ok(ObjectState {
            size_bytes: object.size().unwrap_or_default() as u64,
            modified: timestamp(object.last_modified().unwrap_or(&DateTime::from_secs(0)))?,
            path,
            storage_class,
            restore,
        })
    }

    /// S3 leaves the class out where it is STANDARD.
    fn class_of(&self, path: &str, name: Option<&str>) -> Result<StorageClass> {
        name.map_or(Ok(StorageClass::Standard), |name| {
            name.parse().map_err(|_| {
                let names = StorageClass::ALL.map(StorageClass::as_str).join(", ");
                Error::failed(format!(
                    "{} is in the storage class {name}, which tier does not know",
                    self.address(path)
                ))
                .code("unknown-class")
                .hint(format!("find what moves objects there, such as a lifecycle rule; tier works with {names}"))
            })
        })
    }
}

#[async_trait]
impl Classes for S3Classes {
    fn is_simulated(&self) -> bool {
        false
    }

    async fn put_file(
        &self,
        path: &str,
        file: &TempFile,
        class: StorageClass,
        tags: &[(String, String)],
    ) -> Result<ObjectState> {
        let phrase = || format!("put {} into {class}", self.address(path));
        let uploaded = self.upload(path, file, class, tags, Existing::Replaced).await.with_context(phrase)?;
        let size_bytes = uploaded.expect("what is replaced is in nobody's way");
        let state = self.look_at_existing(path).await.with_context(phrase)?;
        check(&state, size_bytes, class).with_context(phrase)?;
        Ok(state)
    }

    async fn put_file_if_absent(&self, path: &str, file: &TempFile) -> Result<PutOutcome> {
        match self.upload(path, file, StorageClass::Standard, &[], Existing::Kept).await? {
            Some(_) => Ok(PutOutcome::Created),
            None => Ok(PutOutcome::AlreadyExists),
        }
    }

    async fn change_class(&self, path: &str, class: StorageClass) -> Result<ObjectState> {
        let phrase = || format!("move {} to {class}", self.address(path));
        let before = self.look_at_existing(path).await?;
        // S3 refuses a copy that changes nothing.
        if before.storage_class == class {
            return Ok(before);
        }
        let source = format!("{}/{}", self.bucket, self.key(path));
        let request = self.client().copy_object().bucket(&self.bucket).key(self.key(path));
        request
            .copy_source(utf8_percent_encode(&source, COPY_SOURCE).to_string())
            .storage_class(class.as_str().into())
            .metadata_directive(MetadataDirective::Copy)
            .send()
            .await
            .map_err(|error| match error.code() {
                Some("ObjectNotInActiveTierError" | "InvalidObjectState") => {
                    Error::failed("it is archived and cannot be read now").code("archived").hint("restore it first")
                }
                _ => explain_sdk(error),
            })
            .with_context(phrase)?;
        let after = self.look_at_existing(path).await?;
        check(&after, before.size_bytes, class).with_context(phrase)?;
        Ok(after)
    }

    async fn look(&self, path: &str) -> Result<Option<ObjectState>> {
        let phrase = || format!("look at {}", self.address(path));
        let head = match self.client().head_object().bucket(&self.bucket).key(self.key(path)).send().await {
            Ok(head) => head,
            Err(error) if status(&error) == Some(404) => return Ok(None),
            Err(error) => return Err(explain_sdk(error)).with_context(phrase),
        };
        let storage_class = self.class_of(path, head.storage_class().map(|class| class.as_str()))?;
        let restore = match head.restore() {
            Some(header) if storage_class.is_archived() => restore::state_of(header).with_context(phrase)?,
            _ => RestoreState::None,
        };
        Ok(Some(ObjectState {
            path: path.to_owned(),
            size_bytes: head.content_length().unwrap_or_default() as u64,
            storage_class,
            restore,
            modified: timestamp(head.last_modified().unwrap_or(&DateTime::from_secs(0)))?,
        }))
    }

    async fn list(&self, folder: &str) -> Result<Vec<ObjectState>> {
        let phrase = || format!("list {} with restore status", self.address(folder));
        let mut pages = self
            .client()
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(if folder.is_empty() { self.key("") } else { self.key(&format!("{folder}/")) })
            .optional_object_attributes(OptionalObjectAttributes::RestoreStatus)
            .into_paginator()
            .send();
        let mut objects = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(explain_sdk).with_context(phrase)?;
            if page.contents().iter().any(|object| object.restore_status().is_some()) {
                self.lists_restores.store(true, Ordering::Relaxed);
            }
            for object in page.contents() {
                objects.push(self.listed(object)?);
            }
        }
        if self.lists_restores.load(Ordering::Relaxed) {
            return Ok(objects);
        }
        // MinIO never lists a restore: its silence says nothing.
        let settled = futures::stream::iter(objects).map(|object| async move {
            match object.storage_class.is_archived() {
                true => self.look(&object.path).await,
                false => Ok(Some(object)),
            }
        });
        let settled = settled.buffered(LOOKS_IN_FLIGHT).try_collect::<Vec<_>>().await.with_context(phrase)?;
        Ok(settled.into_iter().flatten().collect())
    }

    async fn restore(&self, path: &str, days: u32, retrieval: Retrieval) -> Result<RestoreOutcome> {
        self.start_restore(path, days, retrieval).await.with_context(|| format!("restore {}", self.address(path)))
    }

    async fn delete_all_versions(&self, paths: &[String]) -> Result<()> {
        if paths.is_empty() {
            return Ok(());
        }
        if self.is_versioned().await? { self.delete_versions(paths).await } else { self.delete_plain(paths).await }
    }

    async fn lock(&self, path: &str) -> Result<ObjectLock> {
        self.read_lock(path).await.with_context(|| format!("read the locks of {}", self.address(path)))
    }

    async fn bucket(&self) -> Result<BucketFacts> {
        Ok(BucketFacts { versioned: self.is_versioned().await?, object_lock: self.has_object_lock().await? })
    }

    async fn rules(&self) -> Result<Vec<BucketRule>> {
        let (rules, _) = self.read_rules().await?;
        Ok(rules.iter().map(rules::from_sdk).collect())
    }

    async fn put_rules(&self, ours: &[BucketRule]) -> Result<()> {
        self.replace_rules(ours).await
    }
}

/// Whether what was sent is there. A rule of MinIO may have moved an object of STANDARD on already.
fn check(stored: &ObjectState, size_bytes: u64, class: StorageClass) -> Result<()> {
    let is_of_class = class == StorageClass::Standard || stored.storage_class == class;
    if stored.size_bytes == size_bytes && is_of_class {
        return Ok(());
    }
    let (size, into) = (stored.size_bytes, stored.storage_class);
    Err(Error::failed(format!("{size_bytes} bytes in {class} were sent, {size} bytes in {into} are there")))
}

fn timestamp(time: &DateTime) -> Result<Timestamp> {
    Timestamp::new(time.secs(), time.subsec_nanos() as i32).context("read a time of the store")
}

/// Puts every attempt of the SDK on the meter.
#[derive(Debug)]
struct Counted(Arc<Meter>);

impl Intercept for Counted {
    fn name(&self) -> &'static str {
        "Counted"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request();
        let query = request.uri().split_once('?').map_or("", |(_, query)| query);
        self.0.count_s3(request.method(), query);
        Ok(())
    }
}
