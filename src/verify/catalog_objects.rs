//! What lies below `_tier/` beside roots and leaves: packs, ledgers, dead letters; and what no version names there.

use std::collections::BTreeMap;

use super::leaves::Files;
use super::problem::{ProblemKind, Problems};
use super::versions::Known;
use crate::catalog::read_ledger;
use crate::context::Context as Ctx;
use crate::error::Result;
use crate::progress::Unit;
use crate::store::{Layout, ObjectSum};

/// Checks everything that is named, and counts what is not.
pub async fn check(ctx: &Ctx, known: &Known, files: &Files, problems: &mut Problems) -> Result<ObjectSum> {
    let mut orphans = ObjectSum::default();
    let mut sizes: BTreeMap<String, u64> = BTreeMap::new();
    for folder in [Layout::LEAVES, Layout::PACKS, Layout::LEDGERS, Layout::DEAD_LETTERS] {
        for object in ctx.store.list(folder, None).await? {
            let is_leaf = |path: &str| known.leaves.contains_key(path) || known.leaves.contains_key(&leaf_of(path));
            let is_named = is_leaf(&object.path)
                || files.packs.contains_key(&object.path)
                || known.ledgers.contains_key(&object.path)
                || known.dead_letters.contains_key(&object.path);
            match is_named {
                true => drop(sizes.insert(object.path, object.size_bytes)),
                false if Layout::base_version(&object.path).is_some() => orphans.add(object.size_bytes),
                false => {}
            }
        }
    }
    for (path, needed) in &files.packs {
        match sizes.get(path) {
            None => problems.add(ProblemKind::BadPack, path, "it is missing"),
            Some(size) if size < needed => {
                problems.add(ProblemKind::BadPack, path, format!("it has {size} bytes, the catalog needs {needed}"));
            }
            Some(_) => {}
        }
    }
    for (path, ledger) in &known.ledgers {
        ctx.stop.check()?;
        let entries = problems.catch(ProblemKind::BadLedger, path, read_ledger(&ctx.store, ledger).await)?;
        if entries.is_some_and(|entries| entries.len() as u64 != ledger.entries) {
            problems.add(ProblemKind::BadLedger, path, "it has another number of entries than the root says");
        }
    }
    let task = ctx.progress.task("letters", Unit::Files, Some(known.dead_letters.len() as u64));
    for (path, file) in &known.dead_letters {
        ctx.stop.check()?;
        match sizes.get(path) {
            None => {
                problems.add(ProblemKind::BadDeadLetters, path, format!("it is missing, with {} records", file.records))
            }
            Some(size) => {
                let sha256 = problems.catch(ProblemKind::BadDeadLetters, path, ctx.store.sha256(path, *size).await)?;
                if sha256.is_some_and(|sha256| sha256 != file.sha256) {
                    let what = "its bytes are not those that were written (SHA-256 differs)";
                    problems.add(ProblemKind::BadDeadLetters, path, what);
                }
            }
        }
        task.advance(1);
    }
    Ok(orphans)
}

/// The leaf of an audit's path.
fn leaf_of(audit: &str) -> String {
    audit.replace(".audit.parquet", ".parquet")
}
