//! Fixed-size records in numbered buckets, in memory up to a bound and beyond it in one temporary file.
//!
//! For joins of more than memory holds: both sides put a digest of their key into the bucket that the key chooses, and the
//! buckets are compared one after another.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;

use crate::error::{Context, Result};

/// Records of `N` bytes.
#[derive(Debug)]
pub struct Spill<const N: usize> {
    memory: BTreeMap<u32, Vec<u8>>,
    memory_bytes: usize,
    max_memory_bytes: usize,
    file: Option<File>,
    file_bytes: u64,
    /// Offset and length of a bucket's parts in the file.
    parts: BTreeMap<u32, Vec<(u64, usize)>>,
}

impl<const N: usize> Spill<N> {
    /// Holds at most so many bytes, and one bucket while it is taken.
    pub fn new(max_memory_bytes: usize) -> Self {
        Spill {
            memory: BTreeMap::new(),
            memory_bytes: 0,
            max_memory_bytes,
            file: None,
            file_bytes: 0,
            parts: BTreeMap::new(),
        }
    }

    pub fn add(&mut self, bucket: u32, record: [u8; N]) -> Result<()> {
        self.memory.entry(bucket).or_default().extend_from_slice(&record);
        self.memory_bytes += N;
        if self.memory_bytes > self.max_memory_bytes { self.write_out() } else { Ok(()) }
    }

    fn write_out(&mut self) -> Result<()> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => tempfile::tempfile().context("make a temporary file")?,
        };
        for (bucket, bytes) in std::mem::take(&mut self.memory) {
            file.write_all(&bytes).context("write a temporary file")?;
            self.parts.entry(bucket).or_default().push((self.file_bytes, bytes.len()));
            self.file_bytes += bytes.len() as u64;
        }
        self.memory_bytes = 0;
        self.file = Some(file);
        Ok(())
    }

    /// The buckets that hold something, ascending.
    pub fn buckets(&self) -> Vec<u32> {
        let mut buckets: Vec<u32> = self.memory.keys().chain(self.parts.keys()).copied().collect();
        buckets.sort_unstable();
        buckets.dedup();
        buckets
    }

    /// The records of a bucket, sorted by their bytes; it is empty afterwards.
    pub fn take(&mut self, bucket: u32) -> Result<Vec<[u8; N]>> {
        let in_memory = self.memory.remove(&bucket).unwrap_or_default();
        self.memory_bytes -= in_memory.len();
        let mut records: Vec<[u8; N]> = in_memory.as_chunks().0.to_vec();
        for (offset, length) in self.parts.remove(&bucket).unwrap_or_default() {
            let mut bytes = vec![0; length];
            let file = self.file.as_ref().expect("parts are in the file");
            file.read_exact_at(&mut bytes, offset).context("read a temporary file")?;
            records.extend_from_slice(bytes.as_chunks().0);
        }
        records.sort_unstable();
        Ok(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_comes_out_sorted_whether_it_fits_in_memory_or_not() {
        for max_memory_bytes in [0, 40, 1 << 20] {
            let mut spill = Spill::<4>::new(max_memory_bytes);
            for number in (0..100_u32).rev() {
                spill.add(number % 3, number.to_be_bytes()).unwrap();
            }
            assert_eq!(spill.buckets(), [0, 1, 2]);
            for bucket in 0..3 {
                let numbers: Vec<u32> = spill.take(bucket).unwrap().into_iter().map(u32::from_be_bytes).collect();
                assert_eq!(numbers, (0..100).filter(|number| number % 3 == bucket).collect::<Vec<_>>());
            }
            assert_eq!(spill.buckets(), Vec::<u32>::new());
        }
    }
}
