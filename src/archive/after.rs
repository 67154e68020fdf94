//! What happens to an export's file once its events are safe.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::context::Context as Ctx;
use crate::error::{Context, Error, Result};
use crate::exports::{Export, Place};

/// `--after-commit`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum AfterCommit {
    #[default]
    Keep,
    Move(PathBuf),
    Delete,
}

impl FromStr for AfterCommit {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some(("move", folder)) if !folder.is_empty() => Ok(AfterCommit::Move(folder.into())),
            None if text == "keep" => Ok(AfterCommit::Keep),
            None if text == "delete" => Ok(AfterCommit::Delete),
            _ => Err(Error::usage(format!("`{text}` is not something to do after a commit"))
                .hint("write keep, delete or move:FOLDER")),
        }
    }
}

/// Does it, for exports whose commit is done. A failure does not undo the commit; the next run tries again.
pub async fn apply(what: &AfterCommit, exports: &[Export], ctx: &Ctx) -> Result<()> {
    for export in exports {
        let phrase = || {
            format!(
                "after the commit, {} {}",
                if *what == AfterCommit::Delete { "delete" } else { "move" },
                export.stamp.path
            )
        };
        if *what == AfterCommit::Keep {
            continue;
        }
        // What it holds now was not all read: the next run archives it.
        if !export.is_unchanged().await.with_context(phrase)? {
            ctx.progress.warn(&format!("{} stays: it changed while it was archived", export.stamp.path));
            continue;
        }
        match (what, &export.place) {
            (AfterCommit::Keep, _) | (_, Place::Spooled(_)) => {}
            (AfterCommit::Delete, Place::File(path)) => fs::remove_file(path).with_context(phrase)?,
            (AfterCommit::Delete, Place::Object(store, path)) => {
                store.delete(vec![path.clone()]).await.with_context(phrase)?
            }
            (AfterCommit::Move(folder), Place::File(path)) => move_file(path, folder).with_context(phrase)?,
            (AfterCommit::Move(_), Place::Object(..)) => {
                ctx.progress.warn(&format!("{} stays: only local files are moved", export.stamp.path));
            }
        }
    }
    Ok(())
}

fn move_file(path: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).context("make the folder")?;
    let name = path.file_name().ok_or_else(|| Error::failed("it has no file name"))?;
    let target = folder.join(name);
    if target.exists() {
        return Err(Error::failed(format!("{} exists already", target.display()))
            .hint("the export is archived; move it by hand"));
    }
    // A rename cannot cross file systems; a copy can.
    if fs::rename(path, &target).is_err() {
        fs::copy(path, &target).context("copy it")?;
        fs::remove_file(path).context("remove the original")?;
    }
    Ok(())
}
