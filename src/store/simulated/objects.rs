//! The simulated store as readers and writers of objects meet it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, RenameTargetMode,
    Result, UploadPart,
};

use super::record::Record;
use super::{DELETES_IN_FLIGHT, Simulated};

impl Simulated {
    /// For a request that found nothing at the path: the record of an archived object, if there is one.
    async fn archived(&self, location: &Path) -> Result<Option<(String, Record)>> {
        let Some(relative) = self.relative(location) else { return Ok(None) };
        let record = self.record(relative).await?.filter(|record| record.class.is_archived());
        Ok(record.map(|record| (relative.to_owned(), record)))
    }

    /// Where the bytes of an object can be read that nothing lies at the path of; `missing` where there is no such
    /// object, an error as S3's where it is archived.
    async fn readable_place(&self, location: &Path, missing: Error) -> Result<(Path, Record)> {
        match self.archived(location).await? {
            None => Err(missing),
            Some((relative, record)) if record.is_readable(self.time.now()) => {
                Ok((self.archived_place(&relative), record))
            }
            Some((relative, record)) => Err(invalid_object_state(&relative, &record)),
        }
    }

    /// Archived objects below a prefix as a listing shows them.
    async fn archived_below(&self, prefix: Option<&Path>) -> Result<BTreeMap<Path, ObjectMeta>> {
        let folder = match prefix {
            None => "",
            Some(prefix) if *prefix == self.prefix => "",
            Some(prefix) => match self.relative(prefix) {
                Some(folder) => folder,
                None => return Ok(BTreeMap::new()),
            },
        };
        let records = self.records(folder).await?;
        let archived = records.into_iter().filter(|(_, record)| record.class.is_archived());
        Ok(archived.map(|(relative, record)| (self.place(&relative), meta(self.place(&relative), &record))).collect())
    }

    fn is_own(&self, location: &Path) -> bool {
        location.prefix_matches(&self.place(super::FOLDER))
    }

    fn list_from(&self, prefix: Option<&Path>, offset: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (this, prefix, offset) = (self.clone(), prefix.cloned(), offset.cloned());
        let listing = async move {
            let archived = this.archived_below(prefix.as_ref()).await?;
            let at_paths = match &offset {
                Some(offset) => this.base.list_with_offset(prefix.as_ref(), offset),
                None => this.base.list(prefix.as_ref()),
            };
            let shown: Vec<Result<ObjectMeta>> = archived
                .values()
                .filter(|meta| offset.as_ref().is_none_or(|offset| meta.location > *offset))
                .cloned()
                .map(Ok)
                .collect();
            // What is being archived lies at its path too for a moment.
            let at_paths = at_paths.try_filter(move |meta| {
                futures::future::ready(!this.is_own(&meta.location) && !archived.contains_key(&meta.location))
            });
            Ok::<_, Error>(at_paths.chain(futures::stream::iter(shown)))
        };
        futures::stream::once(listing).try_flatten().boxed()
    }

    /// After a write to a path that had a record.
    async fn written(&self, location: &Path, record: Option<Record>) -> Result<()> {
        match (self.relative(location), record) {
            (Some(relative), Some(record)) => self.forget(relative, &record).await,
            _ => Ok(()),
        }
    }

    async fn record_at(&self, location: &Path) -> Result<Option<Record>> {
        match self.relative(location) {
            Some(relative) => self.record(relative).await,
            None => Ok(None),
        }
    }
}

/// S3's answer to a GET of what is archived, in object_store's words.
fn invalid_object_state(relative: &str, record: &Record) -> Error {
    let text = format!(
        "InvalidObjectState: the operation is not valid for the object's storage class {} (simulated)",
        record.class
    );
    Error::PermissionDenied { path: relative.to_owned(), source: text.into() }
}

fn meta(location: Path, record: &Record) -> ObjectMeta {
    ObjectMeta {
        location,
        last_modified: SystemTime::from(record.since).into(),
        size: record.size_bytes,
        e_tag: None,
        version: None,
    }
}

impl fmt::Display for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.base)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Simulated {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let record = self.record_at(location).await?;
        if options.mode == PutMode::Create && record.as_ref().is_some_and(|record| record.class.is_archived()) {
            let source = "an archived object has this name".into();
            return Err(Error::AlreadyExists { path: location.to_string(), source });
        }
        let put = self.base.put_opts(location, payload, options).await?;
        self.written(location, record).await?;
        Ok(put)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.base.put_multipart_opts(location, options).await?;
        Ok(Box::new(SimulatedUpload { inner, store: self.clone(), location: location.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let missing = match self.base.get_opts(location, options.clone()).await {
            Err(error @ Error::NotFound { .. }) => error,
            done => return done,
        };
        if !options.head {
            let (place, record) = self.readable_place(location, missing).await?;
            let got = self.base.get_opts(&place, options).await?;
            return Ok(GetResult { meta: meta(location.clone(), &record), ..got });
        }
        let Some((relative, record)) = self.archived(location).await? else { return Err(missing) };
        let got = self.base.get_opts(&self.archived_place(&relative), options).await?;
        Ok(GetResult { meta: meta(location.clone(), &record), ..got })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        match self.base.get_ranges(location, ranges).await {
            Err(missing @ Error::NotFound { .. }) => {
                let (place, _) = self.readable_place(location, missing).await?;
                self.base.get_ranges(&place, ranges).await
            }
            done => done,
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        let delete = move |location: Result<Path>| {
            let this = this.clone();
            async move {
                let location = location?;
                this.delete_one(&location).await?;
                Ok(location)
            }
        };
        locations.map(delete).buffered(DELETES_IN_FLIGHT).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.list_from(prefix, None)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.list_from(prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let archived = self.archived_below(prefix).await?;
        let listed = self.base.list_with_delimiter(prefix).await?;
        let mut folders: BTreeSet<Path> =
            listed.common_prefixes.into_iter().filter(|folder| !self.is_own(folder)).collect();
        let mut objects: BTreeMap<Path, ObjectMeta> =
            listed.objects.into_iter().map(|meta| (meta.location.clone(), meta)).collect();
        let above = prefix.cloned().unwrap_or_default();
        for (location, meta) in archived {
            let mut parts = location.prefix_match(&above).into_iter().flatten();
            match (parts.next(), parts.next()) {
                (Some(folder), Some(_)) => drop(folders.insert(above.clone().join(folder))),
                _ => drop(objects.insert(location.clone(), meta)),
            }
        }
        Ok(ListResult { common_prefixes: folders.into_iter().collect(), objects: objects.into_values().collect() })
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let record = self.record_at(to).await?;
        if options.mode == CopyMode::Create && record.as_ref().is_some_and(|record| record.class.is_archived()) {
            let source = "an archived object has this name".into();
            return Err(Error::AlreadyExists { path: to.to_string(), source });
        }
        match self.base.copy_opts(from, to, options.clone()).await {
            Err(missing @ Error::NotFound { .. }) => {
                let (place, _) = self.readable_place(from, missing).await?;
                self.base.copy_opts(&place, to, options).await?;
            }
            done => done?,
        }
        self.written(to, record).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let mode = match options.target_mode {
            RenameTargetMode::Overwrite => CopyMode::Overwrite,
            RenameTargetMode::Create => CopyMode::Create,
        };
        self.copy_opts(from, to, CopyOptions::new().with_mode(mode)).await?;
        self.delete(from).await
    }
}

/// An upload to a path; when it is complete, the object there is one in STANDARD.
#[derive(Debug)]
struct SimulatedUpload {
    inner: Box<dyn MultipartUpload>,
    store: Simulated,
    location: Path,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl MultipartUpload for SimulatedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let record = self.store.record_at(&self.location).await?;
        let put = self.inner.complete().await?;
        self.store.written(&self.location, record).await?;
        Ok(put)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
