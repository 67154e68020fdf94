//! The rebuilt files against those of the catalog, a day's or month's folder at a time.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};

use super::report::RebuildReport;
use crate::catalog::{LeafRef, NewFile, Snapshot, read_leaf};
use crate::context::Context as Ctx;
use crate::data::by_folder::ByFolder;
use crate::error::Result;
use crate::model::{DataFile, short_digest};

/// Leaves read at once.
const LEAVES_IN_FLIGHT: usize = 16;

/// Of all records before they go to disk.
const MEMORY_BYTES: usize = 16 << 20;

/// Files that are looked up to be named.
const NAMED: usize = 1_000;

const RECORD_BYTES: usize = 40;

/// A file of the catalog: digests of its path and of what is said of it, and where that is said.
type Record = [u8; RECORD_BYTES];

/// What the catalog says, for the comparison.
pub struct Check {
    leaves: Vec<LeafRef>,
    entries: ByFolder<RECORD_BYTES>,
    /// Files that differ, or that the data does not have.
    to_name: Vec<(Record, Option<DataFile>)>,
    unnamed: u64,
}

impl Check {
    pub async fn of(ctx: &Ctx, snapshot: &Snapshot) -> Result<Self> {
        let leaves = snapshot.root().leaves.to_vec();
        let mut check =
            Check { leaves: leaves.clone(), entries: ByFolder::new(MEMORY_BYTES), to_name: Vec::new(), unnamed: 0 };
        let reads = leaves.into_iter().map(|leaf| async move { read_leaf(&ctx.store, &leaf).await });
        let mut reads = futures::stream::iter(reads).buffered(LEAVES_IN_FLIGHT);
        let mut number = 0_u32;
        while let Some(files) = reads.try_next().await? {
            for (position, file) in files {
                check.entries.add(&file.path, record(&file, number, position))?;
            }
            number += 1;
        }
        Ok(check)
    }

    /// Compares a folder's files.
    pub fn folder<'a>(
        &mut self,
        folder: &str,
        files: impl Iterator<Item = &'a NewFile>,
        report: &mut RebuildReport,
    ) -> Result<()> {
        let known = self.entries.take(folder)?;
        let mut seen = vec![false; known.len()];
        for NewFile { file, .. } in files {
            let new = record(file, 0, 0);
            match known.binary_search_by(|record| record[..16].cmp(&new[..16])) {
                Ok(at) => {
                    seen[at] = true;
                    if known[at][16..32] != new[16..32] {
                        self.name(known[at], Some(file.clone()));
                    }
                }
                Err(_) => {
                    let what = format!("the data has it, with {} rows; the catalog does not name it", file.rows);
                    report.difference(&file.path, what);
                }
            }
        }
        let missing: Vec<Record> = known.iter().zip(seen).filter(|(_, seen)| !seen).map(|(known, _)| *known).collect();
        missing.into_iter().for_each(|record| self.name(record, None));
        Ok(())
    }

    fn name(&mut self, record: Record, new: Option<DataFile>) {
        match self.to_name.len() < NAMED {
            true => self.to_name.push((record, new)),
            false => self.unnamed += 1,
        }
    }

    /// Names what differs.
    pub async fn finish(mut self, ctx: &Ctx, report: &mut RebuildReport) -> Result<()> {
        let mut rest = std::mem::replace(&mut self.entries, ByFolder::new(0));
        for records in rest.take_rest() {
            records?.into_iter().for_each(|record| self.name(record, None));
        }
        let mut by_leaf: BTreeMap<u32, Vec<(u32, Option<DataFile>)>> = BTreeMap::new();
        for (record, new) in std::mem::take(&mut self.to_name) {
            let number = |at: usize| u32::from_be_bytes(record[at..at + 4].try_into().expect("4 bytes"));
            by_leaf.entry(number(32)).or_default().push((number(36), new));
        }
        for (leaf, places) in by_leaf {
            let files: BTreeMap<u32, DataFile> =
                read_leaf(&ctx.store, &self.leaves[leaf as usize]).await?.into_iter().collect();
            for (position, new) in places {
                let old = &files[&position];
                let what = match &new {
                    Some(new) => differs(old, new),
                    None => format!("the catalog names it, with {} rows; the data does not have it", old.rows),
                };
                report.difference(&old.path, what);
            }
        }
        report.difference_count += self.unnamed;
        Ok(())
    }
}

fn record(file: &DataFile, leaf: u32, position: u32) -> Record {
    let mut record = [0; RECORD_BYTES];
    record[..16].copy_from_slice(&short_digest(&file.path));
    record[16..32].copy_from_slice(&short_digest(&format!("{:?}", said(file))));
    record[32..36].copy_from_slice(&leaf.to_be_bytes());
    record[36..].copy_from_slice(&position.to_be_bytes());
    record
}

/// What is compared of a file, each with its name.
fn said(file: &DataFile) -> [(&'static str, String); 8] {
    let range = |min: &dyn ToString, max: &dyn ToString| format!("{} to {}", min.to_string(), max.to_string());
    [
        ("rows", file.rows.to_string()),
        ("bytes", file.size_bytes.to_string()),
        ("footer bytes", file.footer_bytes.to_string()),
        ("class", file.storage_class.to_string()),
        ("tenants", range(&file.tenants.min, &file.tenants.max)),
        ("event types", range(&file.event_types.min, &file.event_types.max)),
        ("dates", range(&file.dates.min, &file.dates.max)),
        ("ts", range(&file.ts.min, &file.ts.max)),
    ]
}

fn differs(old: &DataFile, new: &DataFile) -> String {
    let pairs = said(old).into_iter().zip(said(new)).filter(|(old, new)| old != new);
    let parts: Vec<String> =
        pairs.map(|((name, old), (_, new))| format!("{name}: the catalog says {old}, the data {new}")).collect();
    parts.join("; ")
}
