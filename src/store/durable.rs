//! Create-if-absent on a local file system, surviving a power cut.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::PutOutcome;
use crate::error::{Context, Result};

/// Tells apart the temporary files of one process.
static NEXT_TEMPORARY: AtomicU64 = AtomicU64::new(0);

/// Writes a temporary file beside the target, syncs it, hard-links it to its name and syncs the folder. A hard link,
/// not a rename: a rename replaces what is there.
pub fn create(target: &Path, bytes: &[u8]) -> Result<PutOutcome> {
    let folder = target.parent().expect("objects lie below the archive's root");
    fs::create_dir_all(folder).context("create the folder")?;
    let name = target.file_name().expect("objects have names").to_string_lossy();
    let number = NEXT_TEMPORARY.fetch_add(1, Ordering::Relaxed);
    let temporary = folder.join(format!(".{name}.{}.{number}", std::process::id()));
    let outcome = write_and_link(&temporary, target, bytes);
    let _ = fs::remove_file(&temporary);
    let outcome = outcome?;
    sync_folder(folder).context("sync the folder")?;
    Ok(outcome)
}

fn write_and_link(temporary: &Path, target: &Path, bytes: &[u8]) -> Result<PutOutcome> {
    // A killed process of the same pid may have left this name: take it over.
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).open(temporary).context("open a temporary file")?;
    file.write_all(bytes).context("write a temporary file")?;
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

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

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
