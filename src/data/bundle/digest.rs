//! A digest of rows that does not depend on their order: what was read from several files and what came out of one
//! sorted file have the same.

use std::hash::BuildHasher;
use std::ops::AddAssign;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use foldhash::quality::RandomState;

use crate::error::{Context, Result};

/// The sum of the rows' hashes, of 128 bits each. It guards against damage, not against an enemy, and a cryptographic hash
/// of every row was a fifth of a bundle's time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowDigest(u128);

impl AddAssign for RowDigest {
    fn add_assign(&mut self, other: Self) {
        self.0 = self.0.wrapping_add(other.0);
    }
}

/// Digests rows of one schema. Only digests by the same one compare.
#[derive(Debug)]
pub struct RowDigests {
    rows: RowConverter,
    halves: [RandomState; 2],
}

impl RowDigests {
    pub fn new(schema: &SchemaRef) -> Result<Self> {
        let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
        let rows = RowConverter::new(fields).context("digest rows")?;
        Ok(RowDigests { rows, halves: Default::default() })
    }

    /// The digest of a batch's rows.
    pub fn of(&self, columns: &[ArrayRef]) -> Result<RowDigest> {
        let mut sum = RowDigest::default();
        for row in &self.rows.convert_columns(columns).context("digest rows")? {
            let [high, low] = self.halves.each_ref().map(|half| u128::from(half.hash_one(row.as_ref())));
            sum += RowDigest(high << 64 | low);
        }
        Ok(sum)
    }
}
