//! What a scan needs of each leaf.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, Result};
use futures::{Stream, StreamExt, TryStreamExt};

use super::exact::Exact;
use super::needed::Needed;
use super::packs::Packs;
use super::prune::Pruner;
use super::reader::WHOLE_FILE_BYTES;
use crate::catalog::{CountedFiles, LeafFile, LeafRef, Snapshot};
use crate::data::pack::CellRows;
use crate::error::Error;
use crate::model::{DataFile, StorageClass};

/// Leaves whose packs are read at once.
const LEAVES_AT_ONCE: usize = 16;

/// A question to the catalog: it picks the same files of a leaf each time it is asked.
#[derive(Debug, Clone)]
pub struct Selector {
    pub snapshot: Snapshot,
    pub pruner: Arc<Pruner>,
    /// The columns that the predicate reads.
    pub filtered: Arc<HashSet<String>>,
    /// The part of the predicate that keys alone decide.
    pub exact: Option<Exact>,
    /// Whether the catalog's ranges say nothing beyond that.
    pub keys_decide: bool,
    /// As SQL sees the table.
    pub schema: SchemaRef,
    pub classes: Arc<[StorageClass]>,
    /// Paths of files that are not to be read.
    pub left_out: Arc<HashSet<String>>,
    pub packs: Arc<Packs>,
}

/// What is needed of a leaf's files.
pub struct OfLeaf {
    pub leaf: LeafRef,
    pub needed: Vec<Needed>,
}

/// The files of a leaf that may match, before anything else that it says of them is decoded.
pub struct Picked {
    pub file: LeafFile,
    /// They ascend; `None` where all may.
    positions: Option<Vec<u32>>,
    /// Whether their keys match, as far as these decide.
    are_exact: bool,
}

/// What a sum over a leaf's files is made from.
pub enum Summed {
    /// Each is of one cell, can be read as it is, and is needed whole.
    Counted(LeafRef, CountedFiles),
    Opened(OfLeaf),
}

impl OfLeaf {
    pub fn rows(&self) -> u64 {
        self.needed.iter().map(Needed::rows).sum()
    }
}

impl Picked {
    /// As many files at most.
    pub fn files(&self) -> usize {
        self.positions.as_ref().map_or_else(|| self.file.num_files(), Vec::len)
    }
}

impl Selector {
    /// What is needed of each of these leaves, in their order; of which one is taken some leaves ahead.
    pub fn of_leaves<L>(&self, leaves: L) -> impl Stream<Item = Result<OfLeaf>> + Send + use<L>
    where
        L: IntoIterator<Item = LeafRef, IntoIter: Send>,
    {
        let selector = self.clone();
        let open = move |picked: Result<Picked>| {
            let selector = selector.clone();
            async move { selector.open(picked?).await }
        };
        self.pick(leaves).map(open).buffered(LEAVES_AT_ONCE)
    }

    /// Which files of each of these leaves may match, in their order.
    pub fn pick<L>(&self, leaves: L) -> impl Stream<Item = Result<Picked>> + Send + use<L>
    where
        L: IntoIterator<Item = LeafRef, IntoIter: Send>,
    {
        let selector = self.clone();
        self.snapshot.leaf_files(leaves).map(move |file| selector.may_match(file.map_err(external)?))
    }

    /// What is needed of the files that were picked.
    pub async fn open_all(&self, picked: Vec<Picked>) -> Result<Vec<OfLeaf>> {
        let opened = futures::stream::iter(picked).map(|picked| self.open(picked));
        opened.buffered(LEAVES_AT_ONCE).try_collect().await
    }

    /// As [`Selector::open_all`] of files that nobody asks the names of.
    pub fn summed(&self, picked: impl Stream<Item = Result<Picked>>) -> impl Stream<Item = Result<Summed>> {
        let sum = |picked: Result<Picked>| async {
            let picked = picked?;
            match self.counted(&picked)? {
                Some(files) => Ok(Summed::Counted(picked.file.leaf().clone(), files)),
                None => self.open(picked).await.map(Summed::Opened),
            }
        };
        picked.map(sum).buffered(LEAVES_AT_ONCE)
    }

    /// What is needed of the files that were picked.
    async fn open(&self, Picked { file, positions, are_exact }: Picked) -> Result<OfLeaf> {
        let table = match positions {
            Some(positions) => file.table_of(positions),
            None => file.table(),
        };
        let table = table.map_err(external)?;
        let (mut bundles, mut cells) = (Vec::new(), Vec::new());
        for listed in table.files().map_err(external)? {
            let (_, _, file) = listed.map_err(external)?;
            if self.classes.contains(&file.storage_class) && !self.left_out.contains(&file.path) {
                let files = if file.is_bundle() { &mut bundles } else { &mut cells };
                files.push(Arc::new(file));
            }
        }
        check_cells(&cells)?;
        if let Some(exact) = self.exact.as_ref().filter(|_| !are_exact) {
            cells = exact.matching(cells)?;
        }
        let leaf = table.into_leaf();
        let mut needed: Vec<Needed> = cells.into_iter().map(Needed::whole).collect();
        needed.extend(self.slice(bundles).await?);
        Ok(OfLeaf { leaf, needed })
    }

    /// The files that were picked, where the numbers in the leaf are all that a sum asks of them.
    fn counted(&self, picked: &Picked) -> Result<Option<CountedFiles>> {
        match picked.are_exact && self.left_out.is_empty() {
            true => picked.file.counted(picked.positions.as_deref()).map_err(external),
            false => Ok(None),
        }
    }

    /// The files of a leaf that may match. No column is decoded beyond those that decide.
    fn may_match(&self, file: LeafFile) -> Result<Picked> {
        if !self.pruner.prunes() && self.exact.is_none() {
            return Ok(Picked { file, positions: None, are_exact: true });
        }
        let ranges = file.ranges(|column| self.filtered.contains(column)).map_err(external)?;
        let by_keys = self.exact.as_ref().filter(|_| self.keys_decide).and_then(|exact| exact.mask(&ranges));
        let are_exact = by_keys.is_some() || self.exact.is_none();
        let mask = by_keys.map_or_else(|| self.pruner.mask(ranges), Ok)?;
        let positions: Vec<u32> = (0..).zip(mask).filter(|(_, may_match)| *may_match).map(|(row, _)| row).collect();
        let are_all = positions.len() == file.num_files();
        Ok(Picked { file, positions: (!are_all).then_some(positions), are_exact })
    }

    /// Of each bundle the cells that match, as the scan of a cell's file would decide; bundles without one drop out.
    async fn slice(&self, bundles: Vec<Arc<DataFile>>) -> Result<Vec<Needed>> {
        let packs = self.packs.of_bundles(self.snapshot.store(), &bundles).await.map_err(external)?;
        let mut needed = Vec::new();
        for (file, packed) in bundles.into_iter().zip(packs) {
            let mut slices: Vec<&CellRows> = self.pruner.may_match(packed.cells.iter().collect())?;
            if let Some(exact) = &self.exact {
                slices = exact.matching(slices)?;
            }
            if !slices.is_empty() {
                let slices = slices.into_iter().cloned().collect();
                needed.push(Needed { slices: Some(slices), end: Some(packed.footer.clone()), ..Needed::whole(file) });
            }
        }
        Ok(needed)
    }

    /// What is left of the files once their footers, where they are hot, have been looked at.
    pub async fn look_inside(&self, mut needed: Vec<Needed>) -> Result<Vec<Needed>> {
        // The footer of a small file comes with the file.
        let is_worth_it = |file: &DataFile| self.pruner.prunes() || file.size_bytes > WHOLE_FILE_BYTES;
        let closed: Vec<usize> = (0..needed.len())
            .filter(|&index| needed[index].slices.is_none() && is_worth_it(&needed[index].file))
            .filter(|&index| needed[index].file.pack.is_some())
            .collect();
        let files: Vec<_> = closed.iter().map(|&index| needed[index].file.clone()).collect();
        let packs = self.packs.of(self.snapshot.store(), &files).await.map_err(external)?;
        for (index, packed) in closed.into_iter().zip(packs) {
            needed[index].end = packed.map(|packed| packed.footer.clone());
        }
        let looked = needed.into_iter().map(|needed| needed.look_inside(&self.pruner, &self.schema));
        looked.filter_map(|needed| needed.transpose()).collect::<Result<_, Error>>().map_err(external)
    }
}

/// A file that is no bundle has one value of each key.
fn check_cells(files: &[Arc<DataFile>]) -> Result<()> {
    let is_cell = |file: &DataFile| {
        file.tenants.single().is_some() && file.event_types.single().is_some() && file.dates.single().is_some()
    };
    match files.iter().find(|file| !is_cell(file)) {
        None => Ok(()),
        Some(file) => {
            let message = format!("{} holds several cells and is no bundle, which this tier cannot read", file.path);
            Err(external(Error::usage(message).code("newer-format").hint("use a newer tier")))
        }
    }
}

pub fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
