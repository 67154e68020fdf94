//! An event counts once, also where the hot tier has it twice: the first that comes stays.

use std::collections::HashSet;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Date32Type;

use crate::error::{Context, Result};
use crate::scan::EventsTable;

/// The identities that have come so far, as 128 bits of their digest: 32 bytes of memory or so for each event.
#[derive(Debug, Default)]
pub struct Unique(HashSet<[u8; 16]>);

impl Unique {
    /// Of `events`, which have the SQL schema, those whose identity has not come before.
    pub fn firsts(&mut self, events: &RecordBatch) -> Result<RecordBatch> {
        let columns = EventsTable::IDENTITY.map(|column| events.column(column));
        let is_first = (0..events.num_rows()).map(|row| self.0.insert(digest(&columns, row)));
        let is_first: BooleanArray = is_first.map(Some).collect();
        match is_first.true_count() == is_first.len() {
            true => Ok(events.clone()),
            false => filter_record_batch(events, &is_first).context("leave out what has come before"),
        }
    }
}

fn digest(identity: &[&arrow::array::ArrayRef; 4], row: usize) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    for column in identity {
        match column.as_string_view_opt() {
            Some(texts) => {
                let text = texts.value(row).as_bytes();
                hasher.update(&(text.len() as u64).to_le_bytes()).update(text);
            }
            None => {
                hasher.update(&column.as_primitive::<Date32Type>().value(row).to_le_bytes());
            }
        }
    }
    let mut digest = [0; 16];
    digest.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    digest
}
