//! What pruning leaves of the catalog for one scan: few files, which are held, or many, which are summed up.

use datafusion::common::{Result, Statistics};
use futures::TryStreamExt;

use super::needed::Needed;
use super::planned::PlannedFiles;
use super::report::ScanReport;
use super::select::{OfLeaf, Picked, Selector, external, plain_cells};
use super::statistics::Summary;
use crate::catalog::LeafRef;

/// Beyond so many a scan does not hold its files: each leaf's are looked for when they are read.
pub const FEW_FILES: usize = 4_096;

/// Until it is known whether files are few their leaves wait as they were fetched, up to so many bytes of them. What a leaf
/// says of a file costs ten times as much to hold as to count.
const WAITING_BYTES: u64 = 4 << 20;

pub enum Selected {
    Few(Vec<Needed>),
    Many(Box<Many>),
}

/// More files than are held, summed up.
#[derive(Default)]
pub struct Many {
    /// Where data is read, bundles apart from cells' files.
    pub parts: [Part; 2],
    pub planned: PlannedFiles,
    /// Before their footers were looked at.
    files: u64,
}

#[derive(Default)]
pub struct Part {
    pub leaves: Vec<LeafRef>,
    pub files: usize,
    /// Of the columns as SQL sees them; `None` where there are no files.
    pub statistics: Option<Statistics>,
}

impl Selected {
    /// What is needed of the leaves that may match, as far as `limit` rows; `columns` are read of it, and where there are
    /// none the catalog's word is enough.
    pub async fn of(
        selector: &Selector,
        columns: Option<&[&str]>,
        limit: Option<usize>,
    ) -> Result<(Selected, ScanReport)> {
        let leaves = &selector.snapshot.root().leaves;
        let kept = selector.pruner.mask(leaves.ranges().map_err(external)?)?;
        let files_total = leaves.files();
        let leaves = leaves.pick(kept.into_iter().enumerate().filter(|(_, kept)| *kept).map(|(row, _)| row));
        let files_after_root = leaves.iter().map(|leaf| leaf.files).sum();
        let (mut waiting, mut few, mut many) = (Vec::new(), Vec::new(), None);
        let (mut files, mut rows) = (0, 0);
        let mut stream = Box::pin(selector.pick(leaves));
        while limit.is_none_or(|limit| rows < limit as u64)
            && let Some(picked) = stream.try_next().await?
        {
            files += picked.files();
            waiting.push(picked);
            if many.is_some() || files > FEW_FILES {
                let many = many.get_or_insert_with(Many::default);
                for of_leaf in few.drain(..) {
                    many.add(selector, of_leaf, columns).await?;
                }
                for picked in waiting.drain(..) {
                    many.add_picked(selector, picked, columns).await?;
                }
            } else if limit.is_some()
                || waiting.iter().map(|picked| picked.file.leaf().leaf_bytes).sum::<u64>() > WAITING_BYTES
            {
                for picked in waiting.drain(..) {
                    let of_leaf = selector.open(picked).await?;
                    rows += of_leaf.needed.iter().flat_map(Needed::runs).map(|run| run.rows).sum::<u64>();
                    few.push(of_leaf);
                }
            }
        }
        let report = |files_after_leaf| ScanReport { files_total, files_after_root, files_after_leaf };
        if let Some(many) = many {
            let report = report(many.files);
            return Ok((Selected::Many(Box::new(many)), report));
        }
        for picked in waiting {
            few.push(selector.open(picked).await?);
        }
        let report = report(few.iter().map(|of_leaf| of_leaf.needed.len() as u64).sum());
        let needed = few.into_iter().flat_map(|of_leaf| of_leaf.needed);
        Ok((Selected::Few(first(needed, limit.map_or(u64::MAX, |limit| limit as u64))), report))
    }
}

/// As many as have `limit` rows.
fn first(needed: impl Iterator<Item = Needed>, limit: u64) -> Vec<Needed> {
    let mut rows = 0;
    let is_wanted = |needed: &Needed| {
        let is_wanted = rows < limit;
        rows += needed.runs().map(|run| run.rows).sum::<u64>();
        is_wanted
    };
    needed.take_while(is_wanted).collect()
}

impl Many {
    async fn add_picked(&mut self, selector: &Selector, picked: Picked, columns: Option<&[&str]>) -> Result<()> {
        if let Some(counted) = selector.counted(&picked)?
            && let Some(files) = plain_cells(&counted, &selector.classes)?
        {
            self.files += files.len() as u64;
            if columns.is_some() {
                files.iter().for_each(|file| self.planned.add_counted(file));
            }
            let bytes = files.iter().map(|file| file.size_bytes).sum();
            let summary = Summary::new(files.iter().map(|file| file.covered.clone()), bytes);
            return self.parts[0].add(picked.file.leaf().clone(), files.len(), &summary, selector);
        }
        let of_leaf = selector.open(picked).await?;
        self.add(selector, of_leaf, columns).await
    }

    async fn add(
        &mut self,
        selector: &Selector,
        OfLeaf { leaf, mut needed }: OfLeaf,
        columns: Option<&[&str]>,
    ) -> Result<()> {
        self.files += needed.len() as u64;
        let [cells, bundles] = &mut self.parts;
        let Some(columns) = columns else {
            return cells.add(leaf, needed.len(), &Summary::of_all(&needed), selector);
        };
        needed = selector.look_inside(needed).await?;
        self.planned.add_needed(&needed, columns);
        let (of_bundles, of_cells): (Vec<_>, Vec<_>) = needed.into_iter().partition(|needed| needed.slices.is_some());
        cells.add(leaf.clone(), of_cells.len(), &Summary::of_all(&of_cells), selector)?;
        bundles.add(leaf, of_bundles.len(), &Summary::of_all(&of_bundles), selector)
    }
}

impl Part {
    fn add(&mut self, leaf: LeafRef, files: usize, summary: &Summary<'_>, selector: &Selector) -> Result<()> {
        if files == 0 {
            return Ok(());
        }
        self.leaves.push(leaf);
        self.files += files;
        let more = summary.statistics(selector.schema.fields());
        self.statistics = Some(match self.statistics.take() {
            Some(known) => Statistics::try_merge_iter([&known, &more], &selector.schema)?,
            None => more,
        });
        Ok(())
    }
}
