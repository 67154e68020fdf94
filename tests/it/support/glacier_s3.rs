//! The operations of [`super::glacier::GlacierServer`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use http::{HeaderValue, StatusCode};
use s3s::dto::*;
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use sha2::{Digest, Sha256};

use super::glacier::{BUCKET, Bucket, Restore as RestoreJob, STATUS_HEADER, Upload, Version};

const KEYS_PER_PAGE: usize = 1_000;

pub struct Glacier(pub Arc<Mutex<Bucket>>);

impl Glacier {
    fn bucket(&self, name: &str) -> S3Result<MutexGuard<'_, Bucket>> {
        if name == BUCKET { Ok(self.0.lock().unwrap()) } else { Err(s3_error!(NoSuchBucket)) }
    }
}

fn custom(code: &'static str, status: StatusCode) -> S3Error {
    let mut error = S3Error::new(S3ErrorCode::Custom(code.into()));
    error.set_status_code(status);
    error
}

fn done<T>(output: T) -> S3Result<S3Response<T>> {
    Ok(S3Response::new(output))
}

fn etag(bytes: &[u8]) -> ETag {
    ETag::Strong(Sha256::digest(bytes).iter().take(16).map(|byte| format!("{byte:02x}")).collect())
}

fn time(at: jiff::Timestamp) -> Timestamp {
    SystemTime::from(at).into()
}

/// The body, once its checksum has been found right.
async fn read(body: Option<StreamingBlob>, sha256: Option<&str>) -> S3Result<Bytes> {
    let mut bytes = BytesMut::new();
    if let Some(mut body) = body {
        while let Some(piece) = body.try_next().await.map_err(|_| s3_error!(IncompleteBody))? {
            bytes.extend_from_slice(&piece);
        }
    }
    match sha256 {
        Some(expected) if BASE64.encode(Sha256::digest(&bytes)) != expected => Err(s3_error!(BadDigest)),
        _ => Ok(bytes.freeze()),
    }
}

fn insert(bucket: &mut Bucket, key: &str, bytes: Option<Bytes>, class: &str, tags: String) {
    let (id, modified) = (bucket.fresh_id(), bucket.now);
    let version = Version { id, bytes, class: class.to_owned(), tags, modified, restore: None, legal_hold: false };
    let is_versioned = bucket.versioned;
    let versions = bucket.objects.entry(key.to_owned()).or_default();
    if !is_versioned {
        versions.clear();
    }
    versions.push(version);
}

fn delete(bucket: &mut Bucket, key: &str, version: Option<&str>) -> S3Result<()> {
    match version {
        Some(id) => {
            let versions = bucket.objects.entry(key.to_owned()).or_default();
            if versions.iter().any(|version| version.id == id && version.legal_hold) {
                return Err(s3_error!(AccessDenied, "Access Denied because object protected by object lock."));
            }
            versions.retain(|version| version.id != id);
            if versions.is_empty() {
                bucket.objects.remove(key);
            }
        }
        None if bucket.versioned => insert(bucket, key, None, "STANDARD", String::new()),
        None => {
            bucket.objects.remove(key);
        }
    }
    Ok(())
}

/// `None` for STANDARD, which S3 leaves out.
fn class_header(version: &Version) -> Option<StorageClass> {
    (version.class != "STANDARD").then(|| StorageClass::from(version.class.clone()))
}

fn class_name(class: Option<StorageClass>) -> String {
    class.map_or("STANDARD".to_owned(), |class| class.as_str().to_owned())
}

#[async_trait::async_trait]
impl S3 for Glacier {
    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = request.input;
        let bytes = read(input.body, input.checksum_sha256.as_deref()).await?;
        let mut bucket = self.bucket(&input.bucket)?;
        let must_be_absent = input.if_none_match.is_some_and(|condition| condition.is_any());
        if must_be_absent && bucket.current(&input.key).is_some() {
            return Err(s3_error!(PreconditionFailed));
        }
        let (e_tag, class) = (Some(etag(&bytes)), class_name(input.storage_class));
        insert(&mut bucket, &input.key, Some(bytes), &class, input.tagging.unwrap_or_default());
        done(PutObjectOutput { e_tag, ..Default::default() })
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        let bucket = self.bucket(&input.bucket)?;
        let version = bucket.current(&input.key).ok_or_else(|| s3_error!(NoSuchKey))?;
        if !version.is_readable(bucket.now) {
            return Err(s3_error!(InvalidObjectState, "The operation is not valid for the object's storage class"));
        }
        let bytes = version.bytes.clone().unwrap();
        let size = bytes.len() as u64;
        let range = input.range.map(|range| range.check(size)).transpose()?;
        let content_range = range.as_ref().map(|range| format!("bytes {}-{}/{size}", range.start, range.end - 1));
        let part = range.map_or(bytes.clone(), |range| bytes.slice(range.start as usize..range.end as usize));
        done(GetObjectOutput {
            content_length: Some(part.len() as i64),
            content_range,
            body: Some(s3s::Body::from(part).into()),
            e_tag: Some(etag(&bytes)),
            last_modified: Some(time(version.modified)),
            storage_class: class_header(version),
            ..Default::default()
        })
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = request.input;
        let bucket = self.bucket(&input.bucket)?;
        let version = bucket.current(&input.key).ok_or_else(|| s3_error!(NoSuchKey))?;
        let bytes = version.bytes.as_ref().unwrap();
        let restore = version.live_restore(bucket.now).map(|restore| match restore.ready > bucket.now {
            true => "ongoing-request=\"true\"".to_owned(),
            false => {
                let date = restore.until.strftime("%a, %d %b %Y %H:%M:%S GMT");
                format!("ongoing-request=\"false\", expiry-date=\"{date}\"")
            }
        });
        done(HeadObjectOutput {
            content_length: Some(bytes.len() as i64),
            e_tag: Some(etag(bytes)),
            last_modified: Some(time(version.modified)),
            storage_class: class_header(version),
            restore,
            ..Default::default()
        })
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let bucket = self.bucket(&input.bucket)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let after = input.continuation_token.clone().or(input.start_after.clone()).unwrap_or_default();
        let shows_restores = input.optional_object_attributes.is_some_and(|wanted| !wanted.is_empty());
        let page_size = input.max_keys.map_or(KEYS_PER_PAGE, |keys| (keys as usize).min(KEYS_PER_PAGE));
        let (mut contents, mut folders, mut last) = (Vec::new(), BTreeSet::new(), None);
        let mut is_truncated = false;
        for key in bucket.objects.keys().filter(|key| key.starts_with(&prefix) && **key > after) {
            let Some(version) = bucket.current(key) else { continue };
            if contents.len() + folders.len() == page_size {
                is_truncated = true;
                break;
            }
            last = Some(key.clone());
            let below = input.delimiter.as_ref().and_then(|delimiter| key[prefix.len()..].split_once(delimiter));
            if let (Some((folder, _)), Some(delimiter)) = (below, &input.delimiter) {
                folders.insert(format!("{prefix}{folder}{delimiter}"));
                continue;
            }
            let restore = version.live_restore(bucket.now).filter(|_| shows_restores);
            contents.push(Object {
                key: Some(key.clone()),
                size: Some(version.bytes.as_ref().unwrap().len() as i64),
                e_tag: Some(etag(version.bytes.as_ref().unwrap())),
                last_modified: Some(time(version.modified)),
                storage_class: Some(ObjectStorageClass::from(version.class.clone())),
                restore_status: restore.map(|restore| RestoreStatus {
                    is_restore_in_progress: Some(restore.ready > bucket.now),
                    restore_expiry_date: (restore.ready <= bucket.now).then(|| time(restore.until)),
                }),
                ..Default::default()
            });
        }
        let folder = |prefix: String| CommonPrefix { prefix: Some(prefix) };
        done(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: input.prefix,
            max_keys: Some(page_size as i32),
            key_count: Some((contents.len() + folders.len()) as i32),
            contents: Some(contents),
            common_prefixes: Some(folders.into_iter().map(folder).collect()),
            is_truncated: Some(is_truncated),
            next_continuation_token: last.filter(|_| is_truncated),
            ..Default::default()
        })
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = request.input;
        delete(&mut *self.bucket(&input.bucket)?, &input.key, input.version_id.as_deref())?;
        done(DeleteObjectOutput::default())
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let input = request.input;
        let mut bucket = self.bucket(&input.bucket)?;
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for object in input.delete.objects {
            match delete(&mut bucket, &object.key, object.version_id.as_deref()) {
                Ok(()) => deleted.push(DeletedObject { key: Some(object.key), ..Default::default() }),
                Err(error) => errors.push(Error {
                    code: Some(error.code().as_str().to_owned()),
                    key: Some(object.key),
                    message: error.message().map(str::to_owned),
                    version_id: object.version_id,
                }),
            }
        }
        done(DeleteObjectsOutput { deleted: Some(deleted), errors: Some(errors), ..Default::default() })
    }

    async fn list_object_versions(
        &self,
        request: S3Request<ListObjectVersionsInput>,
    ) -> S3Result<S3Response<ListObjectVersionsOutput>> {
        let input = request.input;
        let bucket = self.bucket(&input.bucket)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let (mut versions, mut markers) = (Vec::new(), Vec::new());
        for (key, all) in bucket.objects.iter().filter(|(key, _)| key.starts_with(&prefix)) {
            for version in all {
                let (key, version_id) = (Some(key.clone()), Some(version.id.clone()));
                match &version.bytes {
                    Some(_) => versions.push(ObjectVersion { key, version_id, ..Default::default() }),
                    None => markers.push(DeleteMarkerEntry { key, version_id, ..Default::default() }),
                }
            }
        }
        done(ListObjectVersionsOutput {
            versions: Some(versions),
            delete_markers: Some(markers),
            is_truncated: Some(false),
            ..Default::default()
        })
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let input = request.input;
        let CopySource::Bucket { key: source, .. } = &input.copy_source else {
            return Err(s3_error!(NotImplemented));
        };
        let mut bucket = self.bucket(&input.bucket)?;
        let version = bucket.current(source).cloned().ok_or_else(|| s3_error!(NoSuchKey))?;
        if !version.is_readable(bucket.now) {
            return Err(custom("ObjectNotInActiveTierError", StatusCode::FORBIDDEN));
        }
        if **source == *input.key && input.storage_class.is_none() {
            return Err(s3_error!(InvalidRequest, "This copy request is illegal: it changes nothing"));
        }
        let (now, e_tag) = (bucket.now, etag(version.bytes.as_ref().unwrap()));
        insert(&mut bucket, &input.key, version.bytes, &class_name(input.storage_class), version.tags);
        let result = CopyObjectResult { e_tag: Some(e_tag), last_modified: Some(time(now)), ..Default::default() };
        done(CopyObjectOutput { copy_object_result: Some(result), ..Default::default() })
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = request.input;
        let mut bucket = self.bucket(&input.bucket)?;
        let (id, class, tags) = (bucket.fresh_id(), class_name(input.storage_class), input.tagging.unwrap_or_default());
        bucket.uploads.insert(id.clone(), Upload { class, tags, parts: BTreeMap::new() });
        done(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            ..Default::default()
        })
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let input = request.input;
        let bytes = read(input.body, input.checksum_sha256.as_deref()).await?;
        let e_tag = Some(etag(&bytes));
        let mut bucket = self.bucket(&input.bucket)?;
        let upload = bucket.uploads.get_mut(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        upload.parts.insert(input.part_number, bytes);
        done(UploadPartOutput { e_tag, ..Default::default() })
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        let mut bucket = self.bucket(&input.bucket)?;
        let upload = bucket.uploads.remove(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        let named = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let mut bytes = BytesMut::new();
        for part in named {
            let stored = part.part_number.and_then(|number| upload.parts.get(&number));
            bytes.extend_from_slice(stored.ok_or_else(|| s3_error!(InvalidPart))?);
        }
        let e_tag = Some(etag(&bytes));
        insert(&mut bucket, &input.key, Some(bytes.freeze()), &upload.class, upload.tags);
        done(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag,
            ..Default::default()
        })
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.bucket(&request.input.bucket)?.uploads.remove(&request.input.upload_id);
        done(AbortMultipartUploadOutput::default())
    }

    async fn restore_object(
        &self,
        request: S3Request<RestoreObjectInput>,
    ) -> S3Result<S3Response<RestoreObjectOutput>> {
        let input = request.input;
        let mut bucket = self.bucket(&input.bucket)?;
        let asked = input.restore_request.ok_or_else(|| s3_error!(MalformedXML))?;
        let days = asked.days.ok_or_else(|| s3_error!(MalformedXML))?;
        let name = asked.glacier_job_parameters.map_or("Standard".to_owned(), |job| job.tier.as_str().to_owned());
        let tier = ["Expedited", "Standard", "Bulk"].iter().position(|tier| *tier == name);
        let tier = tier.ok_or_else(|| s3_error!(MalformedXML))?;
        let (now, has_capacity) = (bucket.now, bucket.has_expedited_capacity);
        let versions = bucket.objects.get_mut(&input.key).ok_or_else(|| s3_error!(NoSuchKey))?;
        let version = versions.last_mut().filter(|v| v.bytes.is_some()).ok_or_else(|| s3_error!(NoSuchKey))?;
        if !version.is_archived() {
            return Err(s3_error!(InvalidObjectState, "Restore is not allowed for the object's current storage class"));
        }
        let delay = version.delay(tier).ok_or_else(|| s3_error!(InvalidArgument, "no such tier for this class"))?;
        match version.live_restore(now) {
            Some(copy) if copy.ready <= now => {
                let ready = copy.ready;
                version.restore = Some(RestoreJob { ready, until: Bucket::end_of_copy(now, days), tier });
                return done(RestoreObjectOutput::default());
            }
            // Only a faster tier may overtake a running restore.
            Some(running) if running.tier <= tier => return Err(s3_error!(RestoreAlreadyInProgress)),
            _ => {}
        }
        if tier == 0 && !has_capacity {
            return Err(custom("GlacierExpeditedRetrievalNotAvailable", StatusCode::SERVICE_UNAVAILABLE));
        }
        let ready = now + delay;
        version.restore = Some(RestoreJob { ready, until: Bucket::end_of_copy(ready, days), tier });
        let mut accepted = S3Response::new(RestoreObjectOutput::default());
        accepted.headers.insert(STATUS_HEADER, HeaderValue::from_static("202"));
        Ok(accepted)
    }

    async fn get_bucket_lifecycle_configuration(
        &self,
        request: S3Request<GetBucketLifecycleConfigurationInput>,
    ) -> S3Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
        let bucket = self.bucket(&request.input.bucket)?;
        let rules = bucket.rules.clone().ok_or_else(|| s3_error!(NoSuchLifecycleConfiguration))?;
        done(GetBucketLifecycleConfigurationOutput {
            rules: Some(rules.rules),
            transition_default_minimum_object_size: bucket.smallest_moved.clone(),
        })
    }

    async fn put_bucket_lifecycle_configuration(
        &self,
        request: S3Request<PutBucketLifecycleConfigurationInput>,
    ) -> S3Result<S3Response<PutBucketLifecycleConfigurationOutput>> {
        let mut bucket = self.bucket(&request.input.bucket)?;
        bucket.rules = request.input.lifecycle_configuration;
        bucket.smallest_moved = request.input.transition_default_minimum_object_size;
        done(PutBucketLifecycleConfigurationOutput::default())
    }

    async fn delete_bucket_lifecycle(
        &self,
        request: S3Request<DeleteBucketLifecycleInput>,
    ) -> S3Result<S3Response<DeleteBucketLifecycleOutput>> {
        self.bucket(&request.input.bucket)?.rules = None;
        done(DeleteBucketLifecycleOutput::default())
    }

    async fn get_bucket_versioning(
        &self,
        request: S3Request<GetBucketVersioningInput>,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        let versioned = self.bucket(&request.input.bucket)?.versioned;
        let status = versioned.then(|| BucketVersioningStatus::from_static(BucketVersioningStatus::ENABLED));
        done(GetBucketVersioningOutput { status, ..Default::default() })
    }

    async fn get_object_lock_configuration(
        &self,
        request: S3Request<GetObjectLockConfigurationInput>,
    ) -> S3Result<S3Response<GetObjectLockConfigurationOutput>> {
        drop(self.bucket(&request.input.bucket)?);
        Err(custom("ObjectLockConfigurationNotFoundError", StatusCode::NOT_FOUND))
    }

    async fn get_object_legal_hold(
        &self,
        request: S3Request<GetObjectLegalHoldInput>,
    ) -> S3Result<S3Response<GetObjectLegalHoldOutput>> {
        let bucket = self.bucket(&request.input.bucket)?;
        let version = bucket.current(&request.input.key).ok_or_else(|| s3_error!(NoSuchKey))?;
        if !version.legal_hold {
            return Err(custom("NoSuchObjectLockConfiguration", StatusCode::NOT_FOUND));
        }
        let status = Some(ObjectLockLegalHoldStatus::from_static(ObjectLockLegalHoldStatus::ON));
        done(GetObjectLegalHoldOutput { legal_hold: Some(ObjectLockLegalHold { status }) })
    }

    async fn get_object_retention(
        &self,
        request: S3Request<GetObjectRetentionInput>,
    ) -> S3Result<S3Response<GetObjectRetentionOutput>> {
        drop(self.bucket(&request.input.bucket)?);
        Err(custom("NoSuchObjectLockConfiguration", StatusCode::NOT_FOUND))
    }
}
