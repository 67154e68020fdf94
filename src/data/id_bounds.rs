//! What a footer says of the ids in a file that cannot be read: it may exclude an id, never confirm one.

use std::ops::Range;

use parquet::file::metadata::ParquetMetaData;
use parquet::file::page_index::column_index::ColumnIndexMetaData;

/// Bounds of the ids of some rows, one pair for each page where the footer has them. They may be cut short, and are
/// bounds all the same.
#[derive(Debug, PartialEq, Eq)]
pub struct IdBounds(Vec<Bounds>);

/// Both inclusive; `None` is unknown.
type Bounds = (Option<Vec<u8>>, Option<Vec<u8>>);

impl IdBounds {
    /// Of the rows at these positions of the file.
    pub fn of(metadata: &ParquetMetaData, rows: &Range<u64>) -> Self {
        let columns = metadata.file_metadata().schema_descr().columns();
        let Some(column) = columns.iter().position(|column| column.name() == "event_id") else {
            return IdBounds(vec![(None, None)]);
        };
        let mut bounds = Vec::new();
        let mut start = 0;
        for group in 0..metadata.num_row_groups() {
            let end = start + metadata.row_group(group).num_rows() as u64;
            if start < rows.end && rows.start < end {
                let inside = rows.start.max(start) - start..rows.end.min(end) - start;
                match of_pages(metadata, group, column, &inside) {
                    Some(pages) => bounds.extend(pages),
                    None => bounds.push(of_group(metadata, group, column)),
                }
            }
            start = end;
        }
        IdBounds(bounds)
    }

    /// Whether the id may be among the rows.
    pub fn may_hold(&self, id: &str) -> bool {
        let id = id.as_bytes();
        self.0
            .iter()
            .any(|(min, max)| min.as_deref().is_none_or(|min| min <= id) && max.as_deref().is_none_or(|max| id <= max))
    }
}

/// Of the pages of a row group that hold some of its rows `inside`; `None` without a page index.
fn of_pages(metadata: &ParquetMetaData, group: usize, column: usize, inside: &Range<u64>) -> Option<Vec<Bounds>> {
    let ColumnIndexMetaData::BYTE_ARRAY(index) = metadata.column_index()?.get(group)?.get(column)? else {
        return None;
    };
    let pages = metadata.offset_index()?.get(group)?.get(column)?.page_locations();
    let first_row = |page: usize| pages.get(page).map(|page| page.first_row_index as u64);
    let holds_some = |page: &usize| {
        first_row(*page).is_some_and(|first| first < inside.end)
            && first_row(page + 1).is_none_or(|next| inside.start < next)
    };
    let bounds = |page| (index.min_value(page).map(<[u8]>::to_vec), index.max_value(page).map(<[u8]>::to_vec));
    Some((0..pages.len()).filter(holds_some).map(bounds).collect())
}

fn of_group(metadata: &ParquetMetaData, group: usize, column: usize) -> Bounds {
    let statistics = metadata.row_group(group).column(column).statistics();
    let bytes = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    (bytes(statistics.and_then(|s| s.min_bytes_opt())), bytes(statistics.and_then(|s| s.max_bytes_opt())))
}
