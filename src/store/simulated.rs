//! Storage classes played on a local folder or in memory.

use std::path::Path;

use async_trait::async_trait;

use super::classes::{BucketFacts, BucketRule, Classes, ObjectLock, RestoreOutcome};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::model::{ObjectState, Retrieval, StorageClass};

/// The time that simulated classes live in.
#[derive(Debug, Clone, Copy)]
pub struct ClassTime {
    pub clock: Clock,
    /// How many times faster than the clock restores become ready and windows pass; 1 is real.
    pub speed: f64,
}

impl Default for ClassTime {
    fn default() -> Self {
        ClassTime { clock: Clock::System, speed: 1.0 }
    }
}

#[derive(Debug)]
pub struct Unbuilt;

fn unbuilt<T>() -> Result<T> {
    Err(Error::failed("storage classes are not built yet"))
}

#[async_trait]
impl Classes for Unbuilt {
    fn is_simulated(&self) -> bool {
        true
    }
    async fn put_file(&self, _: &str, _: &Path, _: StorageClass, _: &[(String, String)]) -> Result<ObjectState> {
        unbuilt()
    }
    async fn change_class(&self, _: &str, _: StorageClass) -> Result<ObjectState> {
        unbuilt()
    }
    async fn look(&self, _: &str) -> Result<Option<ObjectState>> {
        unbuilt()
    }
    async fn list(&self, _: &str) -> Result<Vec<ObjectState>> {
        unbuilt()
    }
    async fn restore(&self, _: &str, _: u32, _: Retrieval) -> Result<RestoreOutcome> {
        unbuilt()
    }
    async fn delete_all_versions(&self, _: &[String]) -> Result<()> {
        unbuilt()
    }
    async fn lock(&self, _: &str) -> Result<ObjectLock> {
        unbuilt()
    }
    async fn bucket(&self) -> Result<BucketFacts> {
        unbuilt()
    }
    async fn rules(&self) -> Result<Vec<BucketRule>> {
        unbuilt()
    }
    async fn put_rules(&self, _: &[BucketRule]) -> Result<()> {
        unbuilt()
    }
}
