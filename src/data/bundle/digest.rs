//! A digest of rows that does not depend on their order: what was read from several files and what came out of one
//! sorted file have the same.

use std::ops::AddAssign;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};

use crate::error::{Context, Result};

/// The sum of the rows' BLAKE3, each cut to 128 bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowDigest(u128);

impl AddAssign for RowDigest {
    fn add_assign(&mut self, other: Self) {
        self.0 = self.0.wrapping_add(other.0);
    }
}

/// Digests rows of one schema.
#[derive(Debug)]
pub struct RowDigests(RowConverter);

impl RowDigests {
    pub fn new(schema: &SchemaRef) -> Result<Self> {
        let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
        Ok(RowDigests(RowConverter::new(fields).context("digest rows")?))
    }

    /// The digest of a batch's rows.
    pub fn of(&self, columns: &[ArrayRef]) -> Result<RowDigest> {
        let mut sum = RowDigest::default();
        for row in &self.0.convert_columns(columns).context("digest rows")? {
            let hash = blake3::hash(row.as_ref());
            sum += RowDigest(u128::from_le_bytes(hash.as_bytes()[..16].try_into().expect("16 of 32 bytes")));
        }
        Ok(sum)
    }
}
