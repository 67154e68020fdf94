//! What a bucket's storage classes are until its own implementation is in place.

use std::path::Path;

use async_trait::async_trait;

use super::classes::{BucketFacts, BucketRule, Classes, ObjectLock, RestoreOutcome};
use crate::error::{Error, Result};
use crate::model::{ObjectState, Retrieval, StorageClass};

#[derive(Debug)]
pub struct Unbuilt;

fn unbuilt<T>() -> Result<T> {
    Err(Error::failed("storage classes of a bucket are not built yet"))
}

#[async_trait]
impl Classes for Unbuilt {
    fn is_simulated(&self) -> bool {
        false
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
