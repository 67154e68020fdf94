//! Objects that never change, kept on this machine's disk: roots, leaves and packs.
//!
//! An entry's name stands for its bytes alone, for example their SHA-256 or an address with an ETag, so that an entry is
//! never wrong, only absent. Each begins with a checksum; one that was damaged is as good as absent. Entries lie in 64
//! folders, each of which keeps its share of the whole bound by itself: whoever writes looks at one folder, and no
//! process waits for another.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

use super::{ObjectSum, Store};
use crate::error::{Context, Result};

/// Where nothing is said.
pub const DEFAULT_CACHE_BYTES: u64 = 1 << 30;

const FOLDERS: u64 = 64;

const CHECKSUM_BYTES: usize = blake3::OUT_LEN;

const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
const OMITTED: Timespec = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };

/// A folder of entries. What goes wrong with it is logged and costs a request, never an answer.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
    max_bytes: u64,
}

impl Cache {
    /// Nothing is touched yet; the folder is made when something is first kept.
    pub fn new(folder: PathBuf, max_bytes: u64) -> Self {
        Cache { folder, max_bytes }
    }

    /// What was kept under `name`, where it is still as it was written.
    pub fn get(&self, name: &str) -> Option<Bytes> {
        let path = &self.path_of(name);
        let entry = Bytes::from(fs::read(path).ok()?);
        let (checksum, bytes) = entry.split_at_checked(CHECKSUM_BYTES)?;
        if checksum != blake3::hash(bytes).as_bytes() {
            tracing::warn!("the cache entry {} is damaged and is read anew", path.display());
            fs::remove_file(path).ok();
            return None;
        }
        // The oldest use goes first when its folder is full.
        let touched = Timestamps { last_access: OMITTED, last_modification: NOW };
        rustix::fs::utimensat(CWD, path, &touched, AtFlags::empty()).ok();
        Some(entry.slice(CHECKSUM_BYTES..))
    }

    /// Keeps `bytes` under `name`, in the place of what was there, and lets go of what was not used for longest.
    pub fn keep(&self, name: &str, bytes: &[u8]) {
        if let Err(error) = self.write(&self.path_of(name), bytes) {
            tracing::debug!("the cache in {} keeps nothing: {error}", self.folder.display());
        }
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
        let share = self.max_bytes / FOLDERS;
        if (bytes.len() + CHECKSUM_BYTES) as u64 > share {
            return Ok(());
        }
        let folder = path.parent().expect("entries lie in folders");
        fs::create_dir_all(folder)?;
        // Whole or not at all, whoever else writes the same.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(blake3::hash(bytes).as_bytes())?;
        file.write_all(bytes)?;
        file.persist(path)?;
        let mut entries = entries(folder)?;
        let mut kept: u64 = entries.iter().map(|entry| entry.bytes).sum();
        entries.sort_by_key(|entry| entry.used);
        for entry in entries.iter().filter(|entry| entry.path != path) {
            if kept <= share {
                break;
            }
            fs::remove_file(&entry.path)?;
            kept -= entry.bytes;
        }
        Ok(())
    }

    fn path_of(&self, name: &str) -> PathBuf {
        let hash = blake3::hash(name.as_bytes());
        let folder = u64::from(hash.as_bytes()[0]) % FOLDERS;
        self.folder.join(format!("{folder:02x}")).join(hash.to_hex().as_str())
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// What it holds now.
    pub fn sum(&self) -> Result<ObjectSum> {
        let mut sum = ObjectSum::default();
        self.each(|entry| {
            sum.add(entry.bytes);
            Ok(())
        })?;
        Ok(sum)
    }

    /// Deletes every entry; returns what there was.
    pub fn clear(&self) -> Result<ObjectSum> {
        let mut sum = ObjectSum::default();
        self.each(|entry| {
            fs::remove_file(&entry.path)?;
            sum.add(entry.bytes);
            Ok(())
        })?;
        Ok(sum)
    }

    fn each(&self, mut take: impl FnMut(&Entry) -> std::io::Result<()>) -> Result<()> {
        let mut look = || -> std::io::Result<()> {
            for folder in 0..FOLDERS {
                let folder = self.folder.join(format!("{folder:02x}"));
                if folder.is_dir() {
                    entries(&folder)?.iter().try_for_each(&mut take)?;
                }
            }
            Ok(())
        };
        look().with_context(|| format!("look through the cache in {}", self.folder.display()))
    }
}

struct Entry {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

/// The files of a folder; another process may take some away meanwhile.
fn entries(folder: &Path) -> std::io::Result<Vec<Entry>> {
    let entry = |found: std::io::Result<fs::DirEntry>| {
        let found = found.ok()?;
        let metadata = found.metadata().ok()?;
        let used = metadata.modified().ok()?;
        metadata.is_file().then(|| Entry { path: found.path(), bytes: metadata.len(), used })
    };
    Ok(fs::read_dir(folder)?.filter_map(entry).collect())
}

impl Store {
    /// The same archive, keeping in `cache` what never changes.
    pub fn with_cache(self, cache: Cache) -> Self {
        Store { cache: Some(cache.into()), ..self }
    }

    /// The same archive, read as it is: for whoever looks for damage.
    pub fn without_cache(&self) -> Self {
        Store { cache: None, ..self.clone() }
    }

    pub fn cache(&self) -> Option<&Cache> {
        self.cache.as_deref()
    }

    /// What `fetch` reads, unless the cache has it. `name` must stand for these bytes alone.
    pub async fn cached(&self, name: &str, fetch: impl Future<Output = Result<Bytes>>) -> Result<Bytes> {
        let Some(cache) = self.cache() else { return fetch.await };
        match cache.get(name) {
            Some(bytes) => Ok(bytes),
            None => fetch.await.inspect(|bytes| cache.keep(name, bytes)),
        }
    }
}
