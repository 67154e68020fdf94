//! The files that one version has and another has not.
//!
//! # Cost
//! Leaves that both versions list alike are not read; of the others every file goes through a temporary file as 25 bytes,
//! so that memory grows only with the number of files that differ.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures::{Stream, StreamExt, TryStreamExt};

use crate::catalog::{LeafRef, Snapshot, read_leaf};
use crate::data::spill::Spill;
use crate::error::{Error, Result};
use crate::model::{DataFile, short_digest};
use crate::store::Store;

/// Leaves read at once.
const LEAVES_IN_FLIGHT: usize = 16;

/// Of all records before they go to disk.
const MEMORY_BYTES: usize = 64 << 20;

/// Buckets that files are compared in: of 50 million files one has about 1.3 MB.
const BUCKETS: u32 = 1024;

const RECORD_BYTES: usize = 25;

/// Which of the two versions has a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Before,
    After,
}

/// What lies between two versions.
pub struct ChangedFiles {
    store: Store,
    leaves: Vec<(Side, LeafRef)>,
    /// Positions of the files that one side has, by the number of the leaf.
    different: BTreeMap<u32, BTreeSet<u32>>,
}

impl ChangedFiles {
    /// Compares two versions of an archive. Files of one `identity` are the same file; those without one are passed over.
    pub async fn between(
        before: &Snapshot,
        after: &Snapshot,
        identity: impl Fn(&DataFile) -> Option<String>,
    ) -> Result<Self> {
        let (store, leaves) = (before.store().clone(), changed_leaves(before, after));
        let different = different_files(&store, &leaves, identity).await?;
        Ok(ChangedFiles { store, leaves, different })
    }

    pub fn is_empty(&self) -> bool {
        self.different.is_empty()
    }

    /// The files, leaf by leaf.
    pub fn by_leaf(&self) -> impl Stream<Item = Result<(Side, Vec<DataFile>)>> {
        let reads = self.different.keys().copied().map(move |number| async move {
            let ((side, leaf), positions) = (&self.leaves[number as usize], &self.different[&number]);
            let files = read_leaf(&self.store, leaf).await?.into_iter();
            let files = files.filter(|(position, _)| positions.contains(position)).map(|(_, file)| file);
            Ok((*side, files.collect()))
        });
        futures::stream::iter(reads).buffered(LEAVES_IN_FLIGHT)
    }
}

/// The leaves that not both list, or list with other files deleted.
fn changed_leaves(before: &Snapshot, after: &Snapshot) -> Vec<(Side, LeafRef)> {
    fn by_path(snapshot: &Snapshot) -> HashMap<&str, &LeafRef> {
        snapshot.root().leaves.iter().map(|leaf| (leaf.path.as_str(), leaf)).collect()
    }
    let (then, now) = (by_path(before), by_path(after));
    let mut changed = Vec::new();
    for (side, ours, others) in [(Side::Before, before, &now), (Side::After, after, &then)] {
        let is_same =
            |leaf: &&LeafRef| others.get(leaf.path.as_str()).is_some_and(|other| other.deleted == leaf.deleted);
        changed.extend(ours.root().leaves.iter().filter(|leaf| !is_same(leaf)).map(|leaf| (side, leaf.clone())));
    }
    changed
}

async fn different_files(
    store: &Store,
    leaves: &[(Side, LeafRef)],
    identity: impl Fn(&DataFile) -> Option<String>,
) -> Result<BTreeMap<u32, BTreeSet<u32>>> {
    let mut spill = Spill::<RECORD_BYTES>::new(MEMORY_BYTES);
    let reads = (0..leaves.len()).map(|number| async move {
        let (side, leaf) = &leaves[number];
        Ok::<_, Error>((number as u32, *side, read_leaf(store, leaf).await?))
    });
    let mut reads = futures::stream::iter(reads).buffered(LEAVES_IN_FLIGHT);
    while let Some((number, side, files)) = reads.try_next().await? {
        for (position, file) in files {
            let Some(text) = identity(&file) else { continue };
            let mut record = [0; RECORD_BYTES];
            record[..16].copy_from_slice(&short_digest(&text));
            record[16] = u8::from(side == Side::After);
            record[17..21].copy_from_slice(&number.to_be_bytes());
            record[21..].copy_from_slice(&position.to_be_bytes());
            let bucket = u32::from_be_bytes(record[..4].try_into().expect("4 bytes")) % BUCKETS;
            spill.add(bucket, record)?;
        }
    }
    let mut different: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().expect("4 bytes"));
    for bucket in spill.buckets() {
        let records = spill.take(bucket)?;
        for alike in records.chunk_by(|a, b| a[..16] == b[..16]) {
            let is_on = |side: u8| alike.iter().any(|record| record[16] == side);
            if !(is_on(0) && is_on(1)) {
                for record in alike {
                    different.entry(number(&record[17..21])).or_default().insert(number(&record[21..]));
                }
            }
        }
    }
    Ok(different)
}
