//! Local files: what the system has in memory of them is read on the thread that asks.
//!
//! `object_store` hands each read to a thread of tokio's that may block, and begins one for every read that is under way
//! at once. To a question that reads twenty small leaves these threads cost more than the reads.

use std::fmt;
use std::fs::{File, Metadata};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path as FilePath;
use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

/// To copy more keeps a thread from other tasks for longer than it takes to hand the read to another.
const MOST_BYTES: u64 = 1 << 20;

/// Files of this machine by their absolute paths.
#[derive(Debug, Default)]
pub struct LocalFiles(LocalFileSystem);

impl LocalFiles {
    /// What can be had without waiting for a disk; `None` where it cannot, or where there is no such thing: whoever
    /// waits for it finds out.
    fn at_hand(&self, location: &Path, options: &GetOptions) -> Option<GetResult> {
        if options.head {
            return None;
        }
        let file = open(&self.0.path_to_filesystem(location).ok()?)?;
        let meta = meta(&file, location)?;
        options.check_preconditions(&meta).ok()?;
        let range = match &options.range {
            Some(range) => range.as_range(meta.size).ok()?,
            None => 0..meta.size,
        };
        let bytes = read(&file, &range)?;
        let payload = GetResultPayload::Stream(stream::once(async { Ok(bytes) }).boxed());
        Some(GetResult { payload, meta, range, attributes: Attributes::default() })
    }
}

/// A file that need not be looked up on a disk.
#[cfg(target_os = "linux")]
fn open(path: &FilePath) -> Option<File> {
    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED).ok().map(File::from)
}

/// A range whose pages are in memory, all of them.
#[cfg(target_os = "linux")]
fn read(file: &File, range: &Range<u64>) -> Option<Bytes> {
    use rustix::io::{ReadWriteFlags, preadv2};
    let length = range.end - range.start;
    if length > MOST_BYTES {
        return None;
    }
    let mut bytes = vec![0; length as usize];
    let buffers = &mut [std::io::IoSliceMut::new(&mut bytes)];
    let read = preadv2(file, buffers, range.start, ReadWriteFlags::NOWAIT).ok()?;
    (read == bytes.len()).then(|| bytes.into())
}

#[cfg(not(target_os = "linux"))]
fn open(_: &FilePath) -> Option<File> {
    None
}

#[cfg(not(target_os = "linux"))]
fn read(_: &File, _: &Range<u64>) -> Option<Bytes> {
    None
}

/// As `object_store` has it.
fn meta(file: &File, location: &Path) -> Option<ObjectMeta> {
    let known = file.metadata().ok().filter(Metadata::is_file)?;
    let (modified, size) = (known.modified().ok()?, known.len());
    let micros = modified.duration_since(UNIX_EPOCH).ok()?.as_micros();
    let e_tag = Some(format!("{:x}-{micros:x}-{size:x}", known.ino()));
    Some(ObjectMeta { location: location.clone(), last_modified: modified.into(), size, e_tag, version: None })
}

impl fmt::Display for LocalFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for LocalFiles {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.0.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        match self.at_hand(location, &options) {
            Some(result) => Ok(result),
            None => self.0.get_opts(location, options).await,
        }
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.0.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.0.rename_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use object_store::GetRange;

    use super::*;

    async fn told(store: &dyn ObjectStore, path: &Path, options: GetOptions) -> Result<String, String> {
        let result = store.get_opts(path, options).await.map_err(|error| error.to_string())?;
        let (meta, range) = (result.meta.clone(), result.range.clone());
        let bytes = result.bytes().await.map_err(|error| error.to_string())?;
        Ok(format!("{meta:?} {range:?} {bytes:?}"))
    }

    #[tokio::test]
    async fn every_answer_is_that_of_object_store() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| Path::from_absolute_path(folder.path().join(name)).unwrap();
        std::fs::write(folder.path().join("file"), "0123456789").unwrap();
        std::fs::write(folder.path().join("large"), vec![7; MOST_BYTES as usize + 1]).unwrap();
        std::fs::write(folder.path().join("none"), "").unwrap();
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        let (ours, theirs) = (LocalFiles::default(), LocalFileSystem::new());
        let ranges = [
            None,
            Some(GetRange::Bounded(2..5)),
            Some(GetRange::Bounded(5..50)),
            Some(GetRange::Bounded(50..60)),
            Some(GetRange::Offset(7)),
            Some(GetRange::Suffix(3)),
        ];
        for name in ["file", "large", "none", "folder", "missing"] {
            for range in &ranges {
                for (head, if_match) in [(false, None), (true, None), (false, Some("another".to_owned()))] {
                    let options = GetOptions { range: range.clone(), head, if_match, ..GetOptions::default() };
                    let expected = told(&theirs, &at(name), options.clone()).await;
                    assert_eq!(told(&ours, &at(name), options).await, expected, "{name} {range:?} {head}");
                }
            }
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_was_just_written_is_at_hand_unless_it_is_large() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let at_hand = |name: &str, bytes: usize| {
            std::fs::write(path(name), vec![7; bytes]).unwrap();
            let location = Path::from_absolute_path(path(name)).unwrap();
            LocalFiles::default().at_hand(&location, &GetOptions::default()).is_some()
        };
        let small = at_hand("small", 100);
        // Not every file system can say that it would have to wait: one in a container may not.
        assert_eq!(small, read(&File::open(path("small")).unwrap(), &(0..1)).is_some());
        assert!(!at_hand("large", MOST_BYTES as usize + 1));
    }
}
