//! Deletes that must delete, and what a bucket forbids: versions, object lock, legal holds.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{Delete, ObjectIdentifier, ObjectLockEnabled, ObjectLockLegalHoldStatus};

use super::{S3Classes, timestamp};
use crate::error::{Context, Error, Result};
use crate::store::classes::ObjectLock;
use crate::store::errors::explain_sdk;

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html>
const KEYS_PER_DELETE: usize = 1_000;

/// The ways servers say that nothing is locked, or that they know no locks.
const NO_LOCK: [&str; 4] = [
    "NoSuchObjectLockConfiguration",
    "ObjectLockConfigurationNotFoundError",
    "NotImplemented",
    // "Bucket is missing Object Lock Configuration"
    "InvalidRequest",
];

impl S3Classes {
    /// Also where versioning is suspended: the versions from before are there.
    pub(super) async fn is_versioned(&self) -> Result<bool> {
        let got = self.client().get_bucket_versioning().bucket(&self.bucket).send().await;
        let got = got.map_err(explain_sdk).with_context(|| format!("read the versioning of {}", self.bucket))?;
        Ok(got.status().is_some())
    }

    pub(super) async fn has_object_lock(&self) -> Result<bool> {
        let got = self.client().get_object_lock_configuration().bucket(&self.bucket).send().await;
        let got = absent_is_none(got).with_context(|| format!("read the object lock of {}", self.bucket))?;
        let lock = got.as_ref().and_then(|got| got.object_lock_configuration());
        Ok(lock.is_some_and(|lock| lock.object_lock_enabled() == Some(&ObjectLockEnabled::Enabled)))
    }

    pub(super) async fn read_lock(&self, path: &str) -> Result<ObjectLock> {
        let key = self.key(path);
        let hold = self.client().get_object_legal_hold().bucket(&self.bucket).key(&key).send().await;
        let hold = absent_is_none(hold)?;
        let retention = self.client().get_object_retention().bucket(&self.bucket).key(&key).send().await;
        let retention = absent_is_none(retention)?;
        let until = retention.as_ref().and_then(|got| got.retention()?.retain_until_date());
        Ok(ObjectLock {
            legal_hold: hold.as_ref().and_then(|got| got.legal_hold()?.status())
                == Some(&ObjectLockLegalHoldStatus::On),
            retain_until: until.map(timestamp).transpose()?,
        })
    }

    pub(super) async fn delete_plain(&self, paths: &[String]) -> Result<()> {
        let identify = |path: &String| ObjectIdentifier::builder().key(self.key(path)).build();
        let objects = paths.iter().map(identify).collect::<Result<Vec<_>, _>>().context("build the request")?;
        for batch in objects.chunks(KEYS_PER_DELETE) {
            self.delete_batch(batch.to_vec()).await?;
        }
        Ok(())
    }

    /// Every version and delete marker of every path.
    pub(super) async fn delete_versions(&self, paths: &[String]) -> Result<()> {
        let mut objects = Vec::new();
        for path in paths {
            self.find_versions(&self.key(path), &mut objects)
                .await
                .with_context(|| format!("list the versions of {}", self.address(path)))?;
            if objects.len() >= KEYS_PER_DELETE {
                let whole = objects.len() - objects.len() % KEYS_PER_DELETE;
                for batch in objects.drain(..whole).collect::<Vec<_>>().chunks(KEYS_PER_DELETE) {
                    self.delete_batch(batch.to_vec()).await?;
                }
            }
        }
        if objects.is_empty() { Ok(()) } else { self.delete_batch(objects).await }
    }

    async fn find_versions(&self, key: &str, found: &mut Vec<ObjectIdentifier>) -> Result<()> {
        let (mut key_marker, mut version_marker) = (None, None);
        loop {
            let request = self.client().list_object_versions().bucket(&self.bucket).prefix(key);
            let request = request.set_key_marker(key_marker).set_version_id_marker(version_marker);
            let page = request.send().await.map_err(explain_sdk)?;
            let versions = page.versions().iter().map(|version| (version.key(), version.version_id()));
            let markers = page.delete_markers().iter().map(|marker| (marker.key(), marker.version_id()));
            for (_, version) in versions.chain(markers).filter(|(name, _)| *name == Some(key)) {
                let object = ObjectIdentifier::builder().key(key).set_version_id(version.map(str::to_owned)).build();
                found.push(object.context("build the request")?);
            }
            // Longer keys with the same beginning follow and are not meant.
            if page.is_truncated() != Some(true) || page.next_key_marker().is_none_or(|next| next > key) {
                return Ok(());
            }
            key_marker = page.next_key_marker;
            version_marker = page.next_version_id_marker;
        }
    }

    async fn delete_batch(&self, objects: Vec<ObjectIdentifier>) -> Result<()> {
        let delete = Delete::builder().set_objects(Some(objects)).quiet(true).build().context("build the request")?;
        let request = self.client().delete_objects().bucket(&self.bucket).delete(delete);
        let deleted = request.send().await.map_err(explain_sdk).context("delete objects")?;
        let is_gone = |code: Option<&str>| matches!(code, Some("NoSuchKey" | "NoSuchVersion"));
        match deleted.errors().iter().find(|error| !is_gone(error.code())) {
            None => Ok(()),
            Some(error) => {
                let (code, message) = (error.code().unwrap_or_default(), error.message().unwrap_or_default());
                Err(crate::store::errors::explain_words(format!("{code}: {message}"), false, false))
                    .with_context(|| format!("delete {}", error.key().unwrap_or_default()))
            }
        }
    }
}

fn absent_is_none<T, E>(got: Result<T, SdkError<E>>) -> Result<Option<T>>
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    match got {
        Ok(got) => Ok(Some(got)),
        Err(error) if error.code().is_some_and(|code| NO_LOCK.contains(&code)) => Ok(None),
        Err(error) => Err::<_, Error>(explain_sdk(error)),
    }
}
