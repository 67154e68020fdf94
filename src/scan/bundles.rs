//! Bundles in DataFusion's words: parts that are read side by side, each with exactly the rows it needs.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::FileGroup;

use super::files::{dealt, object};
use super::needed::{Inside, Needed};
use super::planned::Share;
use super::reader::KnownFooter;
use super::rows::RowGroupRows;
use super::statistics::Summary;
use crate::catalog::Covered;
use crate::store::Store;

/// Parts with fewer bytes are not worth a partition of their own.
const MIN_PART_BYTES: u64 = 4 << 20;

/// Row groups of one bundle that one partition reads.
struct Part<'a> {
    needed: &'a Needed,
    inside: &'a Inside,
    groups: Vec<RowGroupRows>,
}

/// The parts of bundles in up to `groups` groups, for the columns of these names; `schema` is that of SQL.
pub fn bundle_groups(
    store: &Store,
    needed: &[Needed],
    schema: &SchemaRef,
    columns: &[&str],
    groups: usize,
) -> Vec<FileGroup> {
    let bundles = needed.iter().map(|needed| {
        let inside = needed.inside.as_ref().expect("the footer of a bundle comes with its list of cells");
        (needed, inside, RowGroupRows::of(needed, inside, columns))
    });
    let bundles: Vec<(&Needed, &Inside, Vec<RowGroupRows>)> = bundles.collect();
    let bytes: u64 = bundles.iter().flat_map(|(_, _, groups)| groups).map(|group| group.bytes).sum();
    let part_bytes = (bytes / groups.max(1) as u64).max(MIN_PART_BYTES);
    let parts: Vec<Part> =
        bundles.into_iter().flat_map(|(needed, inside, groups)| cut(needed, inside, groups, part_bytes)).collect();
    let count = parts.len();
    dealt(parts.into_iter().map(|part| part.file(store, schema)), count, groups)
}

/// Neighbouring row groups stay together until they have `part_bytes`.
fn cut<'a>(needed: &'a Needed, inside: &'a Inside, groups: Vec<RowGroupRows>, part_bytes: u64) -> Vec<Part<'a>> {
    let mut parts: Vec<Part> = Vec::new();
    let mut filled = part_bytes;
    for group in groups {
        if filled >= part_bytes {
            parts.push(Part { needed, inside, groups: Vec::new() });
            filled = 0;
        }
        filled += group.bytes;
        parts.last_mut().expect("the first group opens a part").groups.push(group);
    }
    parts
}

impl Part<'_> {
    fn file(self, store: &Store, schema: &SchemaRef) -> PartitionedFile {
        let Part { needed, inside, groups } = &self;
        let statistics = self.summary().statistics(schema.fields());
        object(store, &needed.file)
            // A range keeps DataFusion from cutting it by bytes once more.
            .with_range(0, needed.file.size_bytes as i64)
            .with_extension(Share::of_row_groups(needed, groups))
            .with_extension(KnownFooter(inside.metadata.clone()))
            .with_extension(RowGroupRows::access_plan(groups, inside.metadata.num_row_groups()))
            .with_statistics(Arc::new(statistics))
    }

    fn summary(&self) -> Summary<'_> {
        let rows = self.groups.iter().map(|group| group.selected).sum();
        let bytes = self.groups.iter().map(|group| group.bytes).sum();
        let (Some(first), Some(last)) = (self.groups.first(), self.groups.last()) else {
            return Summary::new(std::iter::empty(), 0);
        };
        let slices = self.needed.slices.as_deref().unwrap_or_default();
        let from = slices.partition_point(|slice| slice.first_row + slice.rows <= first.rows.start);
        let to = slices.partition_point(|slice| slice.first_row < last.rows.end);
        // Between the row groups of a part others may have been dropped, with whole slices in them.
        let is_read = |first_row: u64, end: u64| {
            let group = self.groups.partition_point(|group| group.rows.end <= first_row);
            self.groups.get(group).is_some_and(|group| group.rows.start < end)
        };
        let read = slices[from..to].iter().filter(|slice| is_read(slice.first_row, slice.first_row + slice.rows));
        Summary::new(read.map(Covered::from), bytes).cut_to(rows)
    }
}
