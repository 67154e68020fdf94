//! Data files in DataFusion's words: parts that are read side by side, each with exactly the rows it needs.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::FileGroup;
use datafusion::datasource::table_schema::TableSchema;
use object_store::ObjectMeta;

use super::ahead::in_turn;
use super::needed::{Inside, Needed};
use super::reader::KnownFooter;
use super::rows::RowGroupRows;
use super::statistics::Summary;
use crate::catalog::Covered;
use crate::model::{DataFile, KeyRange, days_of_date};
use crate::store::Store;

/// Parts with fewer bytes are not worth a partition of their own.
pub const MIN_PART_BYTES: u64 = 4 << 20;

/// A file whose footer has not been read is cut into ranges of no fewer bytes: most row groups have more.
const MIN_RANGE_BYTES: u64 = 8 << 20;

/// How the files of a scan are read, all of which are bundles or all of one cell each.
#[derive(Clone)]
pub struct Parts {
    store: Store,
    schema: TableSchema,
    /// Names of those that are read.
    columns: Arc<[String]>,
}

impl Parts {
    /// `schema` has partition columns where files are of one cell each: the keys.
    pub fn new(store: &Store, schema: &TableSchema, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|&name| name.to_owned()).collect();
        Parts { store: store.clone(), schema: schema.clone(), columns }
    }

    pub fn are_bundles(&self) -> bool {
        self.schema.table_partition_cols().is_empty()
    }

    /// The files in so many groups, neighbours together, as [`Parts::of`] has them.
    pub fn groups(&self, needed: &[&Needed], groups: usize, share: u64) -> Vec<FileGroup> {
        let parts = self.of(needed, share);
        let ends = (1..=groups).map(|group| group * parts.len() / groups);
        let sizes = ends.scan(0, |start, end| Some(end - std::mem::replace(start, end))).collect::<Vec<_>>();
        let mut parts = parts.into_iter();
        self.in_turn(sizes.into_iter().map(|size| parts.by_ref().take(size).collect()).collect())
    }

    /// Small files from a store that answers slowly are fetched before their turn.
    pub fn in_turn(&self, groups: Vec<FileGroup>) -> Vec<FileGroup> {
        if self.store.location().is_remote() { in_turn(groups) } else { groups }
    }

    /// In the files' order. Those of which more bytes are read than one partition's `share` are cut.
    pub fn of(&self, needed: &[&Needed], share: u64) -> Vec<PartitionedFile> {
        let columns: Vec<&str> = self.columns.iter().map(String::as_str).collect();
        let mut parts = Vec::with_capacity(needed.len());
        for needed in needed {
            match RowGroupRows::of(needed, &columns) {
                Some((inside, row_groups)) => {
                    let cut = neighbours(row_groups, share.max(MIN_PART_BYTES));
                    parts.extend(cut.iter().map(|groups| self.row_groups(needed, inside, groups)));
                }
                None => parts.extend(self.ranges(needed, share)),
            }
        }
        parts
    }

    /// Halves of a share at most: the last of them are not waited for long.
    fn ranges(&self, needed: &Needed, share: u64) -> impl Iterator<Item = PartitionedFile> {
        let bytes = needed.file.size_bytes;
        let count = (bytes / (share / 2).max(MIN_RANGE_BYTES)).max(1);
        let whole = std::iter::repeat_n(self.whole(needed), count as usize);
        let start = move |number: u64| (bytes * number / count) as i64;
        (0..).zip(whole).map(move |(number, part)| match count {
            1 => part,
            _ => part.with_range(start(number), start(number + 1)),
        })
    }

    fn whole(&self, needed: &Needed) -> PartitionedFile {
        self.file(needed, &Summary::new(needed.runs(), needed.file.size_bytes))
    }

    fn row_groups(&self, needed: &Needed, inside: &Inside, groups: &[RowGroupRows]) -> PartitionedFile {
        self.file(needed, &summary(needed, groups))
            .with_extension(KnownFooter(inside.metadata.clone()))
            .with_extension(RowGroupRows::access_plan(groups, inside.metadata.num_row_groups()))
    }

    fn file(&self, needed: &Needed, summary: &Summary<'_>) -> PartitionedFile {
        let file = &needed.file;
        let meta = ObjectMeta {
            location: self.store.object_path(&file.path),
            // A data file never changes under its name.
            last_modified: Default::default(),
            size: file.size_bytes,
            e_tag: None,
            version: None,
        };
        let columns = self.schema.file_schema().fields().iter().chain(self.schema.table_partition_cols());
        let mut part = PartitionedFile::new_from_meta(meta).with_metadata_size_hint(file.footer_bytes as usize);
        part.statistics = Some(Arc::new(summary.statistics(columns)));
        if !self.are_bundles() {
            part.partition_values = keys(file);
        }
        part
    }
}

/// Of a file of one cell.
fn keys(file: &DataFile) -> Vec<ScalarValue> {
    let text = |range: &KeyRange<Arc<str>>| ScalarValue::Utf8View(Some(range.min.to_string()));
    vec![ScalarValue::Date32(Some(days_of_date(file.dates.min))), text(&file.tenants), text(&file.event_types)]
}

/// Neighbouring row groups stay together until they have `part_bytes`.
fn neighbours(groups: Vec<RowGroupRows>, part_bytes: u64) -> Vec<Vec<RowGroupRows>> {
    let mut parts: Vec<Vec<RowGroupRows>> = Vec::new();
    let mut filled = part_bytes;
    for group in groups {
        if filled >= part_bytes {
            parts.push(Vec::new());
            filled = 0;
        }
        filled += group.bytes;
        parts.last_mut().expect("the first group opens a part").push(group);
    }
    parts
}

/// Of a file's row groups.
fn summary<'a>(needed: &'a Needed, groups: &[RowGroupRows]) -> Summary<'a> {
    let rows = groups.iter().map(|group| group.selected).sum();
    let bytes = groups.iter().map(|group| group.bytes).sum();
    let (Some(first), Some(last)) = (groups.first(), groups.last()) else {
        return Summary::new(std::iter::empty(), 0);
    };
    let Some(slices) = needed.slices.as_deref() else {
        return Summary::new(needed.runs(), bytes).cut_to(rows);
    };
    let from = slices.partition_point(|slice| slice.first_row + slice.rows <= first.rows.start);
    let to = slices.partition_point(|slice| slice.first_row < last.rows.end);
    // Between the row groups of a part others may have been dropped, with whole slices in them.
    let is_read = |first_row: u64, end: u64| {
        let group = groups.partition_point(|group| group.rows.end <= first_row);
        groups.get(group).is_some_and(|group| group.rows.start < end)
    };
    let read = slices[from..to].iter().filter(|slice| is_read(slice.first_row, slice.first_row + slice.rows));
    Summary::new(read.map(Covered::from), bytes).cut_to(rows)
}
