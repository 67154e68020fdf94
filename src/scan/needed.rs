//! A data file that a scan needs, and which of its rows.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parquet::file::metadata::ParquetMetaData;

use super::footer::{self, RowGroups};
use super::prune::Pruner;
use crate::catalog::Covered;
use crate::data::pack::CellRows;
use crate::error::Result;
use crate::model::DataFile;

/// What pruning left of a data file.
#[derive(Debug, Clone)]
pub struct Needed {
    pub file: Arc<DataFile>,
    /// Of a bundle: the runs of rows whose keys match, ascending; `None` where all rows are needed.
    pub slices: Option<Vec<CellRows>>,
    /// The hot copy of the file's end, where it was fetched.
    pub end: Option<Bytes>,
    pub inside: Option<Inside>,
}

/// Of the whole file.
impl<'a> From<&'a Needed> for Covered<'a> {
    fn from(needed: &'a Needed) -> Self {
        Covered::from(&needed.file)
    }
}

/// What a file's footer says.
#[derive(Debug, Clone)]
pub struct Inside {
    pub metadata: Arc<ParquetMetaData>,
    /// Whether each row group may hold matching rows.
    pub row_groups: Vec<bool>,
}

impl Needed {
    pub fn whole(file: Arc<DataFile>) -> Self {
        Needed { file, slices: None, end: None, inside: None }
    }

    /// Runs of rows with the same keys.
    pub fn runs(&self) -> impl Iterator<Item = Covered<'_>> {
        let whole = self.slices.is_none().then(|| Covered::from(&self.file));
        whole.into_iter().chain(self.slices.iter().flatten().map(Covered::from))
    }

    /// In those runs.
    pub fn rows(&self) -> u64 {
        self.runs().map(|run| run.rows).sum()
    }

    /// Reads the footer, where it is at hand, and drops the row groups that cannot match; `None` where that leaves none.
    pub fn look_inside(mut self, pruner: &Pruner, schema: &SchemaRef) -> Result<Option<Self>> {
        let Some(end) = self.end.take() else { return Ok(Some(self)) };
        let metadata = footer::decode(&self.file, &end)?;
        let groups = RowGroups { file: &self.file, metadata: &metadata, schema };
        let mut row_groups = pruner.row_groups(&groups).unwrap_or_else(|| vec![true; metadata.num_row_groups()]);
        if let Some(slices) = &mut self.slices {
            keep_common(slices, &mut row_groups, &metadata);
        }
        let is_needed = row_groups.contains(&true);
        self.inside = Some(Inside { metadata, row_groups });
        Ok(is_needed.then_some(self))
    }
}

/// Leaves the row groups that hold rows of a slice, and the slices that have rows in a row group that is left.
fn keep_common(slices: &mut Vec<CellRows>, row_groups: &mut [bool], metadata: &ParquetMetaData) {
    let mut used = vec![false; slices.len()];
    let mut first_row = 0;
    for (group, keep) in metadata.row_groups().iter().zip(row_groups) {
        let end = first_row + group.num_rows() as u64;
        let from = slices.partition_point(|slice| slice.first_row + slice.rows <= first_row);
        let to = slices.partition_point(|slice| slice.first_row < end);
        *keep &= from < to;
        if *keep {
            used[from..to].fill(true);
        }
        first_row = end;
    }
    let mut used = used.into_iter();
    slices.retain(|_| used.next() == Some(true));
}
