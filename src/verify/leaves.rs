//! Every leaf that a retained version names: its bytes, its sums, and its files for the comparison with the listing.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};

use super::problem::{ProblemKind, Problems};
use super::versions::{Known, KnownLeaf};
use crate::catalog::{FileAudit, RootDocument, Totals, read_audits, read_leaf};
use crate::context::Context as Ctx;
use crate::data::by_folder::ByFolder;
use crate::error::Result;
use crate::model::{DataFile, StorageClass, short_digest};
use crate::progress::Unit;
use crate::store::Layout;

/// Each with its audit about 1 MiB while it is read.
const LEAVES_IN_FLIGHT: usize = 16;

/// Of all records before they go to disk.
const MEMORY_BYTES: usize = 16 << 20;

/// Where a file stands in the catalog: the leaf's place among the known ones, and the position in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub leaf: u32,
    pub position: u32,
}

/// A data file as far as a listing can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub path_digest: [u8; 16],
    pub is_newest: bool,
    pub class: StorageClass,
    pub size_bytes: u64,
    pub place: Place,
}

pub const ENTRY_BYTES: usize = 34;

impl Entry {
    /// Sorts by path, and of one path the newest version's entry last.
    pub fn encode(&self) -> [u8; ENTRY_BYTES] {
        let class = StorageClass::ALL.iter().position(|class| *class == self.class).expect("one of all") as u8;
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..16].copy_from_slice(&self.path_digest);
        bytes[16] = u8::from(self.is_newest);
        bytes[17] = class;
        bytes[18..26].copy_from_slice(&self.size_bytes.to_be_bytes());
        bytes[26..30].copy_from_slice(&self.place.leaf.to_be_bytes());
        bytes[30..].copy_from_slice(&self.place.position.to_be_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8; ENTRY_BYTES]) -> Self {
        let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        Entry {
            path_digest: bytes[..16].try_into().expect("16 bytes"),
            is_newest: bytes[16] == 1,
            class: StorageClass::ALL[usize::from(bytes[17])],
            size_bytes: u64::from_be_bytes(bytes[18..26].try_into().expect("8 bytes")),
            place: Place { leaf: number(26), position: number(30) },
        }
    }
}

/// What all leaves say together.
pub struct Files {
    pub entries: ByFolder<ENTRY_BYTES>,
    /// Packs and the bytes they must at least have.
    pub packs: BTreeMap<String, u64>,
    /// Of the newest version.
    pub totals: BTreeMap<StorageClass, Totals>,
    /// Rows of the newest version in bundles.
    pub bundled_rows: u64,
    /// Leaves whose files are not known.
    pub unreadable: u64,
}

/// Reads every leaf with its audit.
pub async fn read(ctx: &Ctx, known: &Known, document: &RootDocument, problems: &mut Problems) -> Result<Files> {
    let mut files = Files {
        entries: ByFolder::new(MEMORY_BYTES),
        packs: BTreeMap::new(),
        totals: BTreeMap::new(),
        bundled_rows: 0,
        unreadable: 0,
    };
    let task = ctx.progress.task("leaves", Unit::Files, Some(known.leaves.len() as u64));
    let store = &ctx.store;
    let reads = (0..).zip(known.leaves.values()).map(|(number, leaf)| async move {
        let (read, audits) = futures::join!(read_leaf(store, &leaf.leaf), read_audits(store, &leaf.leaf.path));
        Ok::<_, crate::error::Error>((number, leaf, read, audits))
    });
    let mut reads = futures::stream::iter(reads).buffered(LEAVES_IN_FLIGHT);
    while let Some((number, known, read, audits)) = reads.try_next().await? {
        ctx.stop.check()?;
        task.advance(1);
        let audits = problems.catch(ProblemKind::BadLeaf, &known.leaf.audit_path(), audits)?;
        match problems.catch(ProblemKind::BadLeaf, &known.leaf.path, read)? {
            Some(read) => {
                files.add(number, known, &read)?;
                compare(known, &read, audits.as_deref(), problems);
            }
            None => files.unreadable += 1,
        }
    }
    if files.unreadable == 0 && files.totals != document.totals {
        let root = Layout::root(document.version);
        problems.add(ProblemKind::BadRoot, &root, "its totals are not the sums of its leaves' files");
    }
    Ok(files)
}

impl Files {
    fn add(&mut self, leaf: u32, known: &KnownLeaf, read: &[(u32, DataFile)]) -> Result<()> {
        for (position, file) in read {
            let is_newest = is_newest(known, *position);
            if is_newest {
                self.totals.entry(file.storage_class).or_default().add(1, file.rows, file.size_bytes);
                self.bundled_rows += if file.is_bundle() { file.rows } else { 0 };
            }
            if let Some(pack) = &file.pack {
                let end = pack.offset + u64::from(pack.cells_bytes) + u64::from(pack.footer_bytes);
                let needed = self.packs.entry(pack.path.clone()).or_default();
                *needed = end.max(*needed);
            }
            let entry = Entry {
                path_digest: short_digest(&file.path),
                is_newest,
                class: file.storage_class,
                size_bytes: file.size_bytes,
                place: Place { leaf, position: *position },
            };
            self.entries.add(&file.path, entry.encode())?;
        }
        Ok(())
    }
}

/// Whether the newest version names the file at this position.
pub fn is_newest(known: &KnownLeaf, position: u32) -> bool {
    known.newest_deleted.as_ref().is_some_and(|deleted| !deleted.contains(position))
}

/// Checks what the newest root says of a leaf against its files, and that each file has an audit.
fn compare(known: &KnownLeaf, read: &[(u32, DataFile)], audits: Option<&[FileAudit]>, problems: &mut Problems) {
    let leaf = &known.leaf;
    let mut sums = Totals::default();
    let mut within = true;
    for (_, file) in read.iter().filter(|(position, _)| is_newest(known, *position)) {
        sums.add(1, file.rows, file.size_bytes);
        let covered = leaf.dates.contains(&file.dates.min) && leaf.dates.contains(&file.dates.max);
        let covered = covered && leaf.ts.contains(&file.ts.min) && leaf.ts.contains(&file.ts.max);
        let covered = covered && leaf.tenants.contains(&file.tenants.min) && leaf.tenants.contains(&file.tenants.max);
        let types =
            leaf.event_types.contains(&file.event_types.min) && leaf.event_types.contains(&file.event_types.max);
        within &= covered && types;
    }
    let promised = Totals { files: leaf.files, rows: leaf.rows, bytes: leaf.size_bytes };
    if known.newest_deleted.is_some() && sums != promised {
        problems.add(ProblemKind::BadLeaf, &leaf.path, "its files are not as many, or not as large, as the root says");
    }
    if !within {
        problems.add(ProblemKind::BadLeaf, &leaf.path, "a file lies outside the ranges that the root prunes by");
    }
    let last = read.last().map_or(0, |(position, _)| *position as usize + 1);
    if audits.is_some_and(|audits| audits.len() < last) {
        problems.add(ProblemKind::BadLeaf, &leaf.audit_path(), "it has fewer entries than its leaf");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_as_they_were() {
        let entry = Entry {
            path_digest: short_digest("events/date=2026-08-24/event_type=a/tenant_id=b/1.parquet"),
            is_newest: true,
            class: StorageClass::DeepArchive,
            size_bytes: u64::MAX - 7,
            place: Place { leaf: 70_000, position: 4_095 },
        };
        assert_eq!(Entry::decode(&entry.encode()), entry);
    }
}
