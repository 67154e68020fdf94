//! Create-if-absent on a local file system, surviving a power cut.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

use super::{Listed, PutOutcome, TempFile};
use crate::error::{Context, Result};

/// Tells apart the temporary files of one process.
static NEXT_TEMPORARY: AtomicU64 = AtomicU64::new(0);

/// Writes a temporary file beside the target, syncs it, hard-links it to its name and syncs the folder. A hard link,
/// not a rename: a rename replaces what is there.
pub fn create(target: &Path, bytes: &[u8]) -> Result<PutOutcome> {
    create_with(target, |file| file.write_all(bytes))
}

/// As [`create`], with the bytes of another file.
pub fn create_from(target: &Path, source: &TempFile) -> Result<PutOutcome> {
    create_with(target, |file| io::copy(&mut source.reader(), file).map(|_| ()))
}

fn create_with(target: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<PutOutcome> {
    let folder = target.parent().expect("objects lie below the archive's root");
    fs::create_dir_all(folder).context("create the folder")?;
    let name = target.file_name().expect("objects have names").to_string_lossy();
    let number = NEXT_TEMPORARY.fetch_add(1, Ordering::Relaxed);
    let temporary = folder.join(format!(".{name}.{}.{number}", std::process::id()));
    let outcome = write_and_link(&temporary, target, write);
    let _ = fs::remove_file(&temporary);
    let outcome = outcome?;
    sync_folder(folder).context("sync the folder")?;
    Ok(outcome)
}

fn write_and_link(
    temporary: &Path,
    target: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<PutOutcome> {
    // A killed process of the same pid may have left this name: take it over.
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).open(temporary).context("open a temporary file")?;
    write(&mut file).context("write a temporary file")?;
    file.sync_all().context("sync a temporary file")?;
    match fs::hard_link(temporary, target) {
        Ok(()) => Ok(PutOutcome::Created),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(PutOutcome::AlreadyExists),
        Err(error) => Err(error).context("link the file to its name"),
    }
}

/// Syncs the whole file system that `root` lies on: one call for thousands of files.
pub fn sync_all(root: &Path) -> io::Result<()> {
    let folder = match File::open(root) {
        Ok(folder) => folder,
        // Nothing has been written yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(&folder)?;
    #[cfg(not(target_os = "linux"))]
    {
        drop(folder);
        rustix::fs::sync();
    }
    Ok(())
}

/// Files that a write was to rename or link when complete: `.name.pid.n` of this module, `name#n` of object_store; and
/// those that `is_leftover` says are, of the root and a path below it.
pub fn temporary_files(root: &Path, is_leftover: impl Fn(&Path, &Path) -> bool) -> Result<Vec<Listed>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("read the folder {}", folder.display()))? {
            let entry = entry.context("read a folder")?;
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let metadata = entry.metadata().with_context(|| format!("look at {}", path.display()))?;
            if metadata.is_dir() {
                folders.push(path);
                continue;
            }
            let relative = path.strip_prefix(root).unwrap_or(&path);
            if is_temporary(&name) || is_leftover(root, relative) {
                let relative = relative.to_string_lossy().into_owned();
                let modified = metadata.modified().context("read a modification time")?;
                let modified = Timestamp::try_from(modified).context("read a modification time")?;
                found.push(Listed { path: relative, size_bytes: metadata.len(), modified, etag: None });
            }
        }
    }
    Ok(found)
}

fn is_temporary(name: &str) -> bool {
    let staged =
        |name: &str| name.rsplit_once('#').is_some_and(|(stem, n)| is_object(stem) && n.parse::<u64>().is_ok());
    let linked = |name: &str| {
        let mut parts = name.strip_prefix('.').unwrap_or("").rsplitn(3, '.');
        let numbers = parts
            .next()
            .zip(parts.next())
            .is_some_and(|(n, pid)| n.parse::<u64>().is_ok() && pid.parse::<u32>().is_ok());
        numbers && parts.next().is_some_and(is_object)
    };
    staged(name) || linked(name)
}

fn is_object(name: &str) -> bool {
    [".parquet", ".zst", ".json", ".pack"].iter().any(|ending| name.ends_with(ending))
        || ["hint", "_last_checkpoint"].contains(&name)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_writes_are_told_from_objects() {
        for name in ["1-a-0.parquet#3", ".00000000000000000007.parquet.4711.0", "hint#1", "1-a-0.ndjson.zst#12"] {
            assert!(is_temporary(name), "{name}");
        }
        for name in ["1-a-0.parquet", "hint", "table.json", ".keep", "notes#1", ".bashrc.1.2"] {
            assert!(!is_temporary(name), "{name}");
        }
    }

    #[test]
    fn the_second_create_of_a_name_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a/b/1.parquet");
        assert_eq!(create(&target, b"first").unwrap(), PutOutcome::Created);
        assert_eq!(create(&target, b"second").unwrap(), PutOutcome::AlreadyExists);
        assert_eq!(fs::read(&target).unwrap(), b"first");
        assert_eq!(fs::read_dir(target.parent().unwrap()).unwrap().count(), 1, "no temporary file is left");
    }
}
