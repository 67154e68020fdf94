//! A digest of rows that does not depend on their order: what was read from several files and what came out of one
//! sorted file have the same.

use std::hash::{BuildHasher, Hash};
use std::ops::AddAssign;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};
use foldhash::quality::RandomState;

use crate::error::{Error, Result};

/// The sum of the rows' hashes. It guards against damage, which it misses once in 2^64, not against an enemy: a
/// cryptographic hash of every row was a fifth of a bundle's time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowDigest(u64);

impl AddAssign for RowDigest {
    fn add_assign(&mut self, other: Self) {
        self.0 = self.0.wrapping_add(other.0);
    }
}

/// Digests rows. Only digests by the same one compare.
#[derive(Debug, Default)]
pub struct RowDigests(RandomState);

impl RowDigests {
    /// The digest of a batch's rows.
    pub fn of(&self, columns: &[ArrayRef]) -> Result<RowDigest> {
        let mut rows = vec![0; columns.first().map_or(0, |column| column.len())];
        for column in columns {
            match column.data_type() {
                DataType::Utf8 => self.add(&mut rows, column.as_string::<i32>()),
                DataType::Boolean => self.add(&mut rows, column.as_boolean()),
                DataType::Int64 => self.add(&mut rows, column.as_primitive::<Int64Type>()),
                DataType::Timestamp(..) => self.add(&mut rows, column.as_primitive::<TimestampMicrosecondType>()),
                DataType::Float64 => {
                    let bits = column.as_primitive::<Float64Type>().iter().map(|value| value.map(f64::to_bits));
                    self.add(&mut rows, bits);
                }
                other => return Err(Error::failed(format!("no event has a column of type {other}"))),
            }
        }
        Ok(RowDigest(rows.into_iter().fold(0, u64::wrapping_add)))
    }

    /// Hashes the next value of each row together with what the row's hash is so far.
    fn add<T: Hash>(&self, rows: &mut [u64], values: impl IntoIterator<Item = Option<T>>) {
        rows.iter_mut().zip(values).for_each(|(row, value)| *row = self.0.hash_one((*row, value)));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Float64Array, Int64Array, StringArray};

    use super::*;

    #[test]
    fn it_depends_on_every_value_and_its_place_in_the_row_but_not_on_the_order_of_rows() {
        let digests = RowDigests::default();
        let texts = |first: [Option<&str>; 2], second: [Option<&str>; 2]| {
            let columns = [first, second].map(|texts| Arc::new(StringArray::from(texts.to_vec())) as ArrayRef);
            digests.of(&columns).unwrap()
        };
        let (a, b, c, d) = (Some("a"), Some("b"), Some("c"), Some("d"));
        let rows = texts([a, b], [c, d]);
        assert_eq!(rows, texts([b, a], [d, c]));
        for other in [
            texts([a, b], [d, c]),
            texts([c, d], [a, b]),
            texts([a, b], [c, None]),
            texts([a, b], [c, Some("")]),
            texts([a, a], [c, c]),
        ] {
            assert_ne!(rows, other);
        }
        let one = |column: ArrayRef| digests.of(&[column]).unwrap();
        assert_ne!(one(Arc::new(Float64Array::from(vec![0.0]))), one(Arc::new(Float64Array::from(vec![-0.0]))));
        assert_ne!(one(Arc::new(Int64Array::from(vec![1]))), one(Arc::new(Int64Array::from(vec![2]))));
        assert_ne!(one(Arc::new(BooleanArray::from(vec![true]))), one(Arc::new(BooleanArray::from(vec![None]))),);
        assert!(digests.of(&[Arc::new(arrow::array::Int8Array::from(vec![1])) as ArrayRef]).is_err());
    }
}
