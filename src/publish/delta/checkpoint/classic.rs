//! Classic checkpoints: one Parquet file.
//!
//! The live files are those of the archive's version that the commit shows, so no log is read to write one; leaves go
//! through in row groups.

use futures::TryStreamExt;

use super::super::action::Add;
use super::super::{log, shown_files};
use super::{LastCheckpoint, Subject, columns};
use crate::context::Context as Ctx;
use crate::error::{Context, Result};
use crate::progress::Unit;
use crate::store::TempFile;

pub async fn write(ctx: &Ctx, subject: &Subject<'_>) -> Result<LastCheckpoint> {
    const PHRASE: &str = "write a temporary file";
    let schema = columns::classic_schema();
    let mut writer = columns::writer(schema.clone())?;
    let (mut rows, mut adds) = (0, 0);
    for batch in columns::head(&schema, &subject.head())? {
        rows += batch.num_rows() as u64;
        writer.write(&batch).context(PHRASE)?;
    }
    let task = ctx.progress.task("checkpoint", Unit::Files, None);
    let mut leaves = std::pin::pin!(shown_files(subject.snapshot));
    while let Some(files) = leaves.try_next().await? {
        ctx.stop.check()?;
        // A live file of a checkpoint changes nothing.
        let files = files.iter().map(|file| Add::new(file, false)).collect::<Result<Vec<_>>>()?;
        writer.write(&columns::adds(&schema, &files)?).context(PHRASE)?;
        adds += files.len() as u64;
        task.advance(files.len() as u64);
    }
    let file = TempFile::new(writer.into_inner().context(PHRASE)?)?;
    // One that is there already is of the same commit, and so lists the same files.
    ctx.store.put_file_if_absent(&log::checkpoint_path(subject.version), &file).await?;
    Ok(LastCheckpoint { version: subject.version, size: rows + adds, num_of_add_files: adds, v2_checkpoint: None })
}
