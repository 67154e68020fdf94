//! Dead letters: their files are listed, and say themselves what they hold.

use std::io::{BufRead, BufReader};

use super::report::{RebuildReport, words};
use crate::catalog::{DeadLetterFile, Snapshot};
use crate::context::Context as Ctx;
use crate::error::{Context, Error, Kind, Result};
use crate::model::{DeadLetter, sha256};
use crate::store::{Layout, Listed};

/// The files of open dead letters: those that the readable version names, and those that came after it. Without such a
/// version all that are there: whether one was settled since, nothing tells, and replaying it again changes nothing.
pub async fn find(
    ctx: &Ctx,
    readable: Option<&Snapshot>,
    version: u64,
    report: &mut RebuildReport,
) -> Result<Vec<DeadLetterFile>> {
    let mut found = Vec::new();
    for object in ctx.store.list(Layout::DEAD_LETTERS, None).await? {
        ctx.stop.check()?;
        let Some(base) = Layout::base_version(&object.path) else { continue };
        if let Some(readable) = readable {
            let known = readable.root().document.dead_letters.iter().find(|file| file.path == object.path);
            if known.is_some() || base < readable.version() {
                found.extend(known.cloned());
                continue;
            }
        }
        match read(ctx, &object, version).await {
            Ok(file) => found.push(file),
            Err(error) if error.kind() == Kind::Failed => {
                ctx.progress.warn(&format!("dead letters {} cannot be read: {}", object.path, words(&error)));
            }
            Err(error) => return Err(error),
        }
    }
    report.dead_letter_files = found.len() as u64;
    report.dead_letters = found.iter().map(|file| file.records).sum();
    Ok(found)
}

async fn read(ctx: &Ctx, object: &Listed, version: u64) -> Result<DeadLetterFile> {
    let bytes = ctx.store.get(&object.path).await?;
    let sha256 = sha256(&bytes);
    let reader = BufReader::new(zstd::Decoder::new(bytes::Buf::reader(bytes)).context("decompress it")?);
    let (mut reason, mut records) = (None, 0);
    for line in reader.lines() {
        let letter: DeadLetter = serde_json::from_str(&line.context("decompress it")?).context("read a record")?;
        reason = Some(letter.reason);
        records += 1;
    }
    let reason = reason.ok_or_else(|| Error::failed("it is empty"))?;
    Ok(DeadLetterFile { path: object.path.clone(), reason, records, sha256, version, time: object.modified })
}
