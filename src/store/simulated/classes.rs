//! What the simulated store can do with storage classes.

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload, WriteMultipart};
use sha2::{Digest, Sha256};

use super::record::Record;
use super::{RULES, Simulated};
use crate::error::{Context, Error, Kind, Result};
use crate::model::{ObjectState, Retrieval, StorageClass};
use crate::store::classes::{BucketFacts, BucketRule, Classes, OUR_RULES, ObjectLock, RestoreOutcome};
use crate::store::{PutOutcome, TempFile, explain};

/// A file goes over in parts of this size; a smaller one in one piece.
const PART_BYTES: u64 = 8 << 20;

/// Parts under way at once: what a copy costs in memory.
const PARTS_IN_FLIGHT: usize = 2;

impl Simulated {
    /// Makes the object of this class from its archived bytes, which are complete. Every step can be repeated.
    async fn settle(&self, path: &str, class: StorageClass, size_bytes: u64) -> object_store::Result<ObjectState> {
        let (now, object, archived) = (self.time.now(), self.place(path), self.archived_place(path));
        let record = Record::new(class, now, size_bytes);
        if class.is_archived() {
            self.put_record(path, &record).await?;
            self.remove(&object).await?;
        } else {
            self.base.copy(&archived, &object).await?;
            self.put_plain_record(path, &record).await?;
            self.remove(&archived).await?;
        }
        Ok(record.object_state(path.to_owned(), now))
    }

    /// The record of an object whose bytes lie at its path: STANDARD has none.
    async fn put_plain_record(&self, path: &str, record: &Record) -> object_store::Result<()> {
        match record.class {
            StorageClass::Standard => self.remove(&self.record_place(path)).await,
            _ => self.put_record(path, record).await,
        }
    }

    async fn change(&self, path: &str, class: StorageClass) -> Result<ObjectState> {
        let (now, object) = (self.time.now(), self.place(path));
        let record = self.record(path).await.map_err(explain)?;
        if let Some(record) = record.as_ref().filter(|record| record.class.is_archived()) {
            if record.class == class {
                // Where an earlier move was interrupted, the bytes still lie at the path.
                self.remove(&object).await.map_err(explain)?;
                return Ok(record.object_state(path.to_owned(), now));
            }
            if !record.is_readable(now) {
                return Err(not_readable(path, record.class));
            }
            return self.settle(path, class, record.size_bytes).await.map_err(explain);
        }
        let Some(meta) = self.head(&object).await.map_err(explain)? else { return Err(missing(path)) };
        if class == record.as_ref().map_or(StorageClass::Standard, |record| record.class) {
            return Ok(record.map_or_else(|| standard(path, &meta), |record| record.object_state(path.to_owned(), now)));
        }
        if class.is_archived() {
            self.base.copy(&object, &self.archived_place(path)).await.map_err(explain)?;
            return self.settle(path, class, meta.size).await.map_err(explain);
        }
        let changed = Record::new(class, now, meta.size);
        self.put_plain_record(path, &changed).await.map_err(explain)?;
        Ok(changed.object_state(path.to_owned(), now))
    }

    /// Copies a file out of reach of the path and compares what is read back.
    async fn copy_in(&self, file: &TempFile, place: &Path) -> Result<()> {
        let digest = self.upload(file, place).await?;
        if self.digest(place).await.map_err(explain)? != (file.size_bytes(), digest.finalize().into()) {
            self.remove(place).await.map_err(explain)?;
            return Err(Error::failed("what was read back is not what was written").code("damaged-upload"));
        }
        Ok(())
    }

    /// The size and SHA-256 of what lies there. Read in parts: a local store streams 8 KiB at a time, each of them a task.
    async fn digest(&self, place: &Path) -> object_store::Result<(u64, [u8; 32])> {
        let size_bytes = self.base.head(place).await?.size;
        let range = |start: u64| start..(start + PART_BYTES).min(size_bytes);
        let mut parts = futures::stream::iter((0..size_bytes).step_by(PART_BYTES as usize))
            .map(|start| self.base.get_range(place, range(start)))
            .buffered(PARTS_IN_FLIGHT);
        let mut digest = Sha256::new();
        while let Some(part) = parts.try_next().await? {
            digest.update(&part);
        }
        Ok((size_bytes, digest.finalize().into()))
    }

    /// Returns the digest of what was sent.
    async fn upload(&self, file: &TempFile, place: &Path) -> Result<Sha256> {
        let (size_bytes, mut digest) = (file.size_bytes(), Sha256::new());
        if size_bytes < PART_BYTES {
            let (whole, _) = file.part(0, size_bytes, |_| ()).await?;
            digest.update(&whole);
            self.base.put(place, PutPayload::from(whole)).await.map_err(explain)?;
            return Ok(digest);
        }
        let begun = self.base.put_multipart(place).await.map_err(explain)?;
        let mut writer = WriteMultipart::new_with_chunk_size(begun, PART_BYTES as usize);
        for start in (0..size_bytes).step_by(PART_BYTES as usize) {
            let (part, _) = file.part(start, PART_BYTES.min(size_bytes - start), |_| ()).await?;
            digest.update(&part);
            writer.wait_for_capacity(PARTS_IN_FLIGHT).await.map_err(explain)?;
            writer.put(part);
        }
        writer.finish().await.map_err(explain)?;
        Ok(digest)
    }

    async fn listed(&self, folder: &str) -> object_store::Result<Vec<ObjectState>> {
        let now = self.time.now();
        let mut records = self.records(folder).await?;
        let mut found = Vec::new();
        let place = self.place(folder);
        let mut at_paths = self.base.list(Some(&place).filter(|place| !place.as_ref().is_empty()));
        while let Some(meta) = at_paths.try_next().await? {
            let Some(path) = self.relative(&meta.location) else { continue };
            match records.get(path) {
                Some(record) if record.class.is_archived() => {}
                // The bytes lie at the path: what a record says of their number may be old.
                Some(record) => {
                    let state = record.object_state(path.to_owned(), now);
                    found.push(ObjectState { size_bytes: meta.size, ..state });
                }
                None => found.push(standard(path, &meta)),
            }
        }
        records.retain(|_, record| record.class.is_archived());
        found.extend(records.into_iter().map(|(path, record)| record.object_state(path, now)));
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }
}

#[async_trait]
impl Classes for Simulated {
    fn is_simulated(&self) -> bool {
        true
    }

    /// Tags mean nothing to a folder: no rule that looks at them is executed.
    async fn put_file(
        &self,
        path: &str,
        file: &TempFile,
        class: StorageClass,
        _tags: &[(String, String)],
    ) -> Result<ObjectState> {
        let put = async {
            let before = self.record(path).await.map_err(explain)?;
            self.copy_in(file, &self.archived_place(path)).await?;
            let state = self.settle(path, class, file.size_bytes()).await.map_err(explain)?;
            self.left(before.as_ref());
            Ok::<_, Error>(state)
        };
        self.meter.count_put();
        put.await.with_context(|| format!("put {path} into {class}"))
    }

    async fn put_file_if_absent(&self, path: &str, file: &TempFile) -> Result<PutOutcome> {
        let phrase = || format!("create {path}");
        let bytes = file.whole().with_context(phrase)?;
        match self.put_opts(&self.place(path), PutPayload::from(bytes), PutMode::Create.into()).await {
            Ok(_) => Ok(PutOutcome::Created),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(PutOutcome::AlreadyExists),
            Err(error) => Err(explain(error)).with_context(phrase),
        }
    }

    async fn change_class(&self, path: &str, class: StorageClass) -> Result<ObjectState> {
        self.meter.count_put();
        let phrase = || format!("move {path} to {class}");
        let before = self.record(path).await.map_err(explain).with_context(phrase)?;
        let state = self.change(path, class).await.with_context(phrase)?;
        self.left(before.as_ref().filter(|record| record.class != class));
        Ok(state)
    }

    async fn look(&self, path: &str) -> Result<Option<ObjectState>> {
        self.meter.count_head();
        let look = async {
            let record = self.record(path).await?;
            if let Some(record) = record.as_ref().filter(|record| record.class.is_archived()) {
                return Ok(Some(record.object_state(path.to_owned(), self.time.now())));
            }
            let Some(meta) = self.head(&self.place(path)).await? else { return Ok(None) };
            Ok(Some(match record {
                Some(record) => {
                    let state = record.object_state(path.to_owned(), self.time.now());
                    ObjectState { size_bytes: meta.size, ..state }
                }
                None => standard(path, &meta),
            }))
        };
        look.await.map_err(explain).with_context(|| format!("look at {path}"))
    }

    async fn list(&self, folder: &str) -> Result<Vec<ObjectState>> {
        let found = self.listed(folder).await.map_err(explain).with_context(|| format!("list {folder}"))?;
        self.meter.count_listing(found.len() as u64);
        Ok(found)
    }

    async fn restore(&self, path: &str, days: u32, retrieval: Retrieval) -> Result<RestoreOutcome> {
        let restore = async {
            let Some(mut record) = self.record(path).await.map_err(explain)? else {
                let there = self.head(&self.place(path)).await.map_err(explain)?.is_some();
                return if there { Ok(RestoreOutcome::NotArchived) } else { Err(missing(path)) };
            };
            let outcome = record.restore(days, retrieval, self.time)?;
            let billed_bytes = match outcome {
                RestoreOutcome::Started => record.size_bytes,
                // Only the request is billed.
                RestoreOutcome::Extended => 0,
                _ => return Ok(outcome),
            };
            self.put_record(path, &record).await.map_err(explain)?;
            self.meter.count_restore(billed_bytes);
            Ok(outcome)
        };
        restore.await.with_context(|| format!("restore {path}"))
    }

    async fn delete_all_versions(&self, paths: &[String]) -> Result<()> {
        for path in paths {
            self.meter.count_delete();
            match self.delete_one(&self.place(path)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(explain(error)).with_context(|| format!("delete {path}")),
            }
        }
        Ok(())
    }

    async fn lock(&self, _: &str) -> Result<ObjectLock> {
        Ok(ObjectLock::default())
    }

    async fn bucket(&self) -> Result<BucketFacts> {
        Ok(BucketFacts::default())
    }

    async fn rules(&self) -> Result<Vec<BucketRule>> {
        let phrase = || format!("read {RULES}");
        match self.get(&self.place(RULES)).await.map_err(explain).with_context(phrase)? {
            Some(bytes) => serde_json::from_slice(&bytes).with_context(phrase),
            None => Ok(Vec::new()),
        }
    }

    async fn put_rules(&self, ours: &[BucketRule]) -> Result<()> {
        if let Some(foreign) = ours.iter().find(|rule| !rule.id.starts_with(OUR_RULES)) {
            return Err(Error::usage(format!("the rule {} is not ours: ids begin with {OUR_RULES}", foreign.id)));
        }
        let mut rules = self.rules().await?;
        rules.retain(|rule| !rule.id.starts_with(OUR_RULES));
        rules.extend(ours.iter().cloned());
        let json = serde_json::to_vec_pretty(&rules).expect("plain data");
        let put = self.base.put(&self.place(RULES), PutPayload::from(json)).await;
        put.map(drop).map_err(explain).with_context(|| format!("write {RULES}"))
    }
}

impl Simulated {
    /// Meters what leaving a class before its time would cost.
    fn left(&self, record: Option<&Record>) {
        if let Some(record) = record {
            self.meter.count_early_delete(record.early_byte_days(self.time.now()));
        }
    }
}

fn standard(path: &str, meta: &object_store::ObjectMeta) -> ObjectState {
    let modified = jiff::Timestamp::from_microsecond(meta.last_modified.timestamp_micros());
    let record = Record::new(StorageClass::Standard, modified.unwrap_or_default(), meta.size);
    record.object_state(path.to_owned(), record.since)
}

fn missing(path: &str) -> Error {
    Error::failed(format!("{path} does not exist")).code("missing-object")
}

/// S3's ObjectNotInActiveTierError.
fn not_readable(path: &str, class: StorageClass) -> Error {
    Error::new(Kind::RestoreNeeded, format!("{path} is archived in {class} (simulated) and has no readable copy"))
        .code("archived")
        .hint("restore it first: tier restore start")
}
