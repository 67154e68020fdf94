//! What pruning leaves of the catalog for one scan: few files, which are held, or many, which are summed up.

use datafusion::common::{Result, Statistics};
use futures::{Stream, StreamExt, TryStreamExt};

use super::needed::Needed;
use super::planned::PlannedFiles;
use super::report::ScanReport;
use super::select::{OfLeaf, Picked, Selector, Summed, external};
use super::statistics::Summary;
use crate::catalog::{CountedFiles, LeafRef};

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
    /// Before their footers were looked at.
    files: u64,
    rows: u64,
}

#[derive(Default)]
pub struct Part {
    pub leaves: Vec<LeafRef>,
    pub files: usize,
    /// What reading them takes, where data is read.
    pub planned: PlannedFiles,
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
        let report = |files_after_leaf| ScanReport { files_total, files_after_root, files_after_leaf };
        let (mut few, mut waiting, mut files, mut rows) = (Vec::new(), Vec::new(), 0, 0);
        let mut stream = Box::pin(selector.pick(leaves));
        while limit.is_none_or(|limit| rows < limit as u64)
            && let Some(picked) = stream.try_next().await?
        {
            files += picked.files();
            waiting.push(picked);
            if files > FEW_FILES {
                let rest = futures::stream::iter(waiting).map(Ok).chain(stream);
                let many = Many::of(selector, few, rest, columns, limit).await?;
                let report = report(many.files);
                return Ok((Selected::Many(Box::new(many)), report));
            }
            let waiting_bytes: u64 = waiting.iter().map(|picked: &Picked| picked.file.leaf().leaf_bytes).sum();
            if limit.is_some() || waiting_bytes > WAITING_BYTES {
                let opened = selector.open_all(std::mem::take(&mut waiting)).await?;
                rows += opened.iter().map(OfLeaf::rows).sum::<u64>();
                few.extend(opened);
            }
        }
        few.extend(selector.open_all(waiting).await?);
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
        rows += needed.rows();
        is_wanted
    };
    needed.take_while(is_wanted).collect()
}

impl Many {
    /// Of these leaves and the rest, as far as `limit` rows.
    async fn of(
        selector: &Selector,
        few: Vec<OfLeaf>,
        rest: impl Stream<Item = Result<Picked>>,
        columns: Option<&[&str]>,
        limit: Option<usize>,
    ) -> Result<Self> {
        let mut many = Many::default();
        for of_leaf in few {
            many.add(selector, of_leaf, columns).await?;
        }
        let mut rest = Box::pin(selector.summed(rest));
        while limit.is_none_or(|limit| many.rows < limit as u64)
            && let Some(summed) = rest.try_next().await?
        {
            match summed {
                Summed::Counted(leaf, files) => many.add_counted(selector, leaf, &files, columns)?,
                Summed::Opened(of_leaf) => many.add(selector, of_leaf, columns).await?,
            }
        }
        Ok(many)
    }

    fn add_counted(
        &mut self,
        selector: &Selector,
        leaf: LeafRef,
        files: &CountedFiles,
        columns: Option<&[&str]>,
    ) -> Result<()> {
        let mut files = files.files().map_err(external)?;
        files.retain(|file| selector.classes.contains(&file.storage_class));
        self.files += files.len() as u64;
        self.rows += files.iter().map(|file| file.covered.rows).sum::<u64>();
        let [cells, _] = &mut self.parts;
        if columns.is_some() {
            cells.planned.add_counted(&files);
        }
        let bytes = files.iter().map(|file| file.size_bytes).sum();
        let summary = Summary::new(files.iter().map(|file| file.covered.clone()), bytes);
        cells.add(leaf, files.len(), &summary, selector)
    }

    async fn add(
        &mut self,
        selector: &Selector,
        OfLeaf { leaf, mut needed }: OfLeaf,
        columns: Option<&[&str]>,
    ) -> Result<()> {
        self.files += needed.len() as u64;
        self.rows += needed.iter().map(Needed::rows).sum::<u64>();
        let [cells, bundles] = &mut self.parts;
        let Some(columns) = columns else {
            return cells.add(leaf, needed.len(), &Summary::of_all(&needed), selector);
        };
        needed = selector.look_inside(needed).await?;
        let (of_bundles, of_cells): (Vec<_>, Vec<_>) = needed.into_iter().partition(|needed| needed.slices.is_some());
        for (part, needed) in [(cells, of_cells), (bundles, of_bundles)] {
            needed.iter().for_each(|needed| part.planned.add(needed, columns));
            part.add(leaf.clone(), needed.len(), &Summary::of_all(&needed), selector)?;
        }
        Ok(())
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
