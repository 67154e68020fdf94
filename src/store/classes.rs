//! Storage classes behind one trait: what a store can do with an object beside reading and writing it.
//!
//! The catalog says which class a file was put into; whether an archived one can be read *now* only the store knows,
//! and it is asked here, by HEAD for a few objects and by LIST with restore status for many.

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{PutOutcome, TempFile};
use crate::error::Result;
use crate::model::{ObjectState, Retrieval, StorageClass};

/// What became of a request to restore. All of them are normal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestoreOutcome {
    /// 202: it begins; also when a running restore was made faster.
    Started,
    /// 200: a readable copy is there, and its window now ends later or earlier, counted from now.
    Extended,
    /// 409: one is running already.
    AlreadyRunning,
    /// 503: Expedited has no capacity now; ask for a slower tier.
    NoCapacity,
    /// The object is in a class that needs no restore.
    NotArchived,
}

/// What an object may not be deleted for, as the store itself enforces it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectLock {
    pub legal_hold: bool,
    pub retain_until: Option<Timestamp>,
}

/// What a bucket is like; of a folder or memory nothing of it applies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BucketFacts {
    /// Deletes leave noncurrent versions, which are billed.
    pub versioned: bool,
    pub object_lock: bool,
}

/// One rule of a bucket's lifecycle document, as far as it matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketRule {
    /// At most 255 characters.
    pub id: String,
    pub enabled: bool,
    /// The full key prefix in the bucket.
    pub prefix: String,
    /// Objects that carry all of these tags.
    pub tags: Vec<(String, String)>,
    pub larger_than_bytes: Option<u64>,
    /// Days since the object was created, and the class it then moves to.
    pub transitions: Vec<(u32, StorageClass)>,
    pub expire_after_days: Option<u32>,
    pub expire_noncurrent_after_days: Option<u32>,
    pub abort_multipart_after_days: Option<u32>,
    /// What else a foreign rule does, in words: a class or a date that has no field here.
    pub other_actions: Vec<String>,
}

/// Whose rules [`Classes::put_rules`] may replace: those whose id begins so.
pub const OUR_RULES: &str = "tier-";

/// What a store can do with classes. Paths are relative to the archive root.
#[async_trait]
pub trait Classes: Send + Sync + fmt::Debug {
    /// Whether classes are only played, on a clock that may be moved. Output must say so.
    fn is_simulated(&self) -> bool;

    /// Creates an object of this class from a file and returns what a HEAD then says of it. The bytes are checked end to
    /// end: a damaged upload is an error. Safe to repeat.
    async fn put_file(
        &self,
        path: &str,
        file: &TempFile,
        class: StorageClass,
        tags: &[(String, String)],
    ) -> Result<ObjectState>;

    /// Creates an object in STANDARD from a file, unless one of that name exists.
    async fn put_file_if_absent(&self, path: &str, file: &TempFile) -> Result<PutOutcome>;

    /// Moves an object to another class where it lies (COPY onto itself). The object must be readable now.
    async fn change_class(&self, path: &str, class: StorageClass) -> Result<ObjectState>;

    /// One HEAD; `None` where there is no such object.
    async fn look(&self, path: &str) -> Result<Option<ObjectState>>;

    /// Every object below a folder, with its class and restore state: one LIST per thousand.
    async fn list(&self, folder: &str) -> Result<Vec<ObjectState>>;

    /// Asks for a readable copy for `days`, or moves the end of the one there is. Requests are paced.
    async fn restore(&self, path: &str, days: u32, retrieval: Retrieval) -> Result<RestoreOutcome>;

    /// Deletes objects with all their versions, archived or not. Those already gone count as deleted.
    async fn delete_all_versions(&self, paths: &[String]) -> Result<()>;

    async fn lock(&self, path: &str) -> Result<ObjectLock>;

    async fn bucket(&self) -> Result<BucketFacts>;

    /// The bucket's lifecycle rules; empty where there are none.
    async fn rules(&self) -> Result<Vec<BucketRule>>;

    /// Replaces the rules whose id begins with [`OUR_RULES`] and leaves all others as they are.
    async fn put_rules(&self, ours: &[BucketRule]) -> Result<()>;
}
