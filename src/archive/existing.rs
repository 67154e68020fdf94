//! Which files of the archive may hold events of a run's cells, and whether they can be read now.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use jiff::civil::Date;

use crate::catalog::Snapshot;
use crate::context::Context as Ctx;
use crate::data::existing::ExistingFile;
use crate::data::pack;
use crate::error::{Context, Error, Result};
use crate::model::{DataFile, Partition};

/// Bundles whose packed parts are read together: they are a few MiB each.
const PACKS_AT_ONCE: usize = 16;

/// Objects looked at side by side.
const LOOKS_IN_FLIGHT: usize = 32;

/// The files that hold events of these cells. A bundle does, where its list names the cell.
pub async fn existing_files(
    ctx: &Ctx,
    snapshot: Option<&Snapshot>,
    cells: &[Partition],
) -> Result<HashMap<Partition, Vec<ExistingFile>>> {
    let mut existing: HashMap<Partition, Vec<ExistingFile>> =
        cells.iter().map(|cell| (cell.clone(), Vec::new())).collect();
    let Some(snapshot) = snapshot else { return Ok(existing) };
    let dates: BTreeSet<Date> = cells.iter().map(|cell| cell.date).collect();
    let mut bundles = Vec::new();
    for file in snapshot.files(|leaf| leaf.may_hold_any(&dates)).await? {
        match file.partition() {
            Some(cell) => {
                if let Some(files) = existing.get_mut(&cell) {
                    let rows = 0..file.rows;
                    files.push(ExistingFile { file: Arc::new(file), rows, is_readable: true });
                }
            }
            None if cells.iter().any(|cell| file.covers(cell)) => bundles.push(file),
            None => {}
        }
    }
    for bundles in bundles.chunks(PACKS_AT_ONCE) {
        for (file, packed) in bundles.iter().zip(pack::read(&ctx.store, bundles).await?) {
            let packed = packed.ok_or_else(|| no_list(ctx, file))?;
            let file = Arc::new(file.clone());
            for run in packed.cells {
                if let Some(files) = existing.get_mut(&run.cell) {
                    let rows = run.first_row..run.first_row + run.rows;
                    files.push(ExistingFile { file: file.clone(), rows, is_readable: true });
                }
            }
        }
    }
    let unreadable = unreadable(ctx, &existing).await?;
    for existing in existing.values_mut().flatten() {
        existing.is_readable = !unreadable.contains(&existing.file.path);
    }
    Ok(existing)
}

/// The archived files that are not restored now. The catalog knows the class; whether there is a copy only the store
/// does.
async fn unreadable(ctx: &Ctx, existing: &HashMap<Partition, Vec<ExistingFile>>) -> Result<HashSet<String>> {
    let files = existing.values().flatten().filter(|existing| existing.file.storage_class.is_archived());
    let paths: BTreeSet<String> = files.map(|existing| existing.file.path.clone()).collect();
    let looked = futures::stream::iter(paths).map(|path| async move {
        let phrase = || format!("look whether {} is restored", ctx.store.address(&path));
        let state = ctx.store.classes().look(&path).await.with_context(phrase)?;
        let state = state.ok_or_else(|| Error::failed("it does not exist").code("missing-object"));
        Ok::<_, Error>((!state.with_context(phrase)?.is_readable(ctx.now())).then_some(path))
    });
    looked.buffer_unordered(LOOKS_IN_FLIGHT).try_filter_map(|path| async { Ok(path) }).try_collect().await
}

fn no_list(ctx: &Ctx, file: &DataFile) -> Error {
    Error::failed(format!("the catalog has no list of the cells in {}", ctx.store.address(&file.path)))
        .code("corrupt-pack")
}
