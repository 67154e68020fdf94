//! Uploads of files: whole or in parts, every byte under a SHA-256 that the store checks.
//!
//! SHA-256 in a header is what AWS, MinIO and moto all take; a checksum over the whole of a multipart upload is not.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::{StreamExt, TryStreamExt};
use sha2::{Digest, Sha256};
use url::form_urlencoded;

use super::S3Classes;
use crate::error::{Error, Result};
use crate::model::StorageClass;
use crate::store::TempFile;
use crate::store::errors::{explain_sdk, status};

/// A file up to here is one PUT; a larger one goes in parts of this size. S3 wants at least 5 MiB and takes at most
/// 10,000 parts: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
const PART_BYTES: u64 = 16 << 20;

/// Parts under way at once, each in memory.
const PARTS_IN_FLIGHT: usize = 4;

/// What becomes of an object of the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    Replaced,
    Kept,
}

impl Existing {
    /// The header `If-None-Match`.
    fn condition(self) -> Option<String> {
        (self == Existing::Kept).then(|| "*".to_owned())
    }

    /// `None` where the store kept what is there: 412, or 409 while another is being written,
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html>
    fn outcome<T, E>(self, sent: Result<T, SdkError<E>>) -> Result<Option<T>>
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        match sent {
            Ok(sent) => Ok(Some(sent)),
            Err(error) if self == Existing::Kept && matches!(status(&error), Some(409 | 412)) => Ok(None),
            Err(error) => Err(explain_sdk(error)),
        }
    }
}

impl S3Classes {
    /// Returns the number of bytes sent; `None` where an existing object was kept.
    pub(super) async fn upload(
        &self,
        path: &str,
        file: &TempFile,
        class: StorageClass,
        tags: &[(String, String)],
        existing: Existing,
    ) -> Result<Option<u64>> {
        let size = file.size_bytes();
        let tags =
            (!tags.is_empty()).then(|| form_urlencoded::Serializer::new(String::new()).extend_pairs(tags).finish());
        if size > PART_BYTES {
            let uploaded = self.upload_parts(path, file, class, tags, existing).await?;
            return Ok(uploaded.map(|()| size));
        }
        let (bytes, sha256) = file.part(0, size, sha256).await?;
        let sent = self
            .client()
            .put_object()
            .bucket(&self.bucket)
            .key(self.key(path))
            .set_if_none_match(existing.condition())
            .storage_class(class.as_str().into())
            .set_tagging(tags)
            .checksum_sha256(sha256)
            .body(ByteStream::from(bytes))
            .send()
            .await;
        Ok(existing.outcome(sent)?.map(|_| size))
    }

    async fn upload_parts(
        &self,
        path: &str,
        file: &TempFile,
        class: StorageClass,
        tags: Option<String>,
        existing: Existing,
    ) -> Result<Option<()>> {
        let (client, bucket, key) = (self.client(), &self.bucket, self.key(path));
        let request = client.create_multipart_upload().bucket(bucket).key(&key).set_tagging(tags);
        let created = request
            .storage_class(class.as_str().into())
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .send()
            .await
            .map_err(explain_sdk)?;
        let id = created.upload_id().ok_or_else(|| Error::failed("the store named no upload"))?;
        let uploaded = async {
            let parts = self.send_parts(&key, id, file).await?;
            let request = client.complete_multipart_upload().bucket(bucket).key(&key).upload_id(id);
            let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
            let request = request.set_if_none_match(existing.condition());
            existing.outcome(request.multipart_upload(parts).send().await)
        };
        let uploaded = uploaded.await;
        if !matches!(uploaded, Ok(Some(_))) {
            // What cannot be aborted either is left to the bucket's rules; the first error is the one to tell.
            let _ = client.abort_multipart_upload().bucket(bucket).key(&key).upload_id(id).send().await;
        }
        Ok(uploaded?.map(|_| ()))
    }

    async fn send_parts(&self, key: &str, id: &str, file: &TempFile) -> Result<Vec<CompletedPart>> {
        let size = file.size_bytes();
        let send = |number: u64| {
            let (client, bucket) = (self.client(), &self.bucket);
            async move {
                let offset = (number - 1) * PART_BYTES;
                let (bytes, sha256) = file.part(offset, PART_BYTES.min(size - offset), sha256).await?;
                let request = client.upload_part().bucket(bucket).key(key).upload_id(id).part_number(number as i32);
                let sent =
                    request.checksum_sha256(&sha256).body(ByteStream::from(bytes)).send().await.map_err(explain_sdk)?;
                let completed = CompletedPart::builder().part_number(number as i32).checksum_sha256(sha256);
                Ok(completed.set_e_tag(sent.e_tag).build())
            }
        };
        let numbers = futures::stream::iter(1..=size.div_ceil(PART_BYTES));
        numbers.map(send).buffered(PARTS_IN_FLIGHT).try_collect().await
    }
}

fn sha256(bytes: &[u8]) -> String {
    STANDARD.encode(Sha256::digest(bytes))
}
