//! Records about files, by the folder that lists them, in bounded memory: one side of a comparison with the store, which is
//! made folder by folder.

use std::collections::{BTreeMap, BTreeSet};

use super::spill::Spill;
use crate::error::Result;
use crate::store::{Layout, Listed, Store};

/// Records of `N` bytes.
#[derive(Debug)]
pub struct ByFolder<const N: usize> {
    records: Spill<N>,
    /// The bucket of each folder.
    numbers: BTreeMap<String, u32>,
}

impl<const N: usize> ByFolder<N> {
    /// Holds at most so many bytes of records, and those of one folder while they are taken.
    pub fn new(max_memory_bytes: usize) -> Self {
        ByFolder { records: Spill::new(max_memory_bytes), numbers: BTreeMap::new() }
    }

    /// Adds what is to be known of the object at `path`.
    pub fn add(&mut self, path: &str, record: [u8; N]) -> Result<()> {
        let (folder, next) = (Layout::listed_folder(path), self.numbers.len() as u32);
        let number = match self.numbers.get(folder) {
            Some(number) => *number,
            None => *self.numbers.entry(folder.to_owned()).or_insert(next),
        };
        self.records.add(number, record)
    }

    /// The records of a folder, sorted by their bytes; it has none afterwards.
    pub fn take(&mut self, folder: &str) -> Result<Vec<[u8; N]>> {
        self.numbers.get(folder).map_or(Ok(Vec::new()), |number| self.records.take(*number))
    }

    /// The records of each folder that were not taken yet, in the order in which the folders were first met.
    pub fn take_rest(&mut self) -> impl Iterator<Item = Result<Vec<[u8; N]>>> + '_ {
        let numbers = self.records.buckets();
        numbers.into_iter().map(|number| self.records.take(number))
    }

    /// The folders with records and those with data in the store, and the objects that lie in no folder of data.
    pub async fn folders(&self, store: &Store) -> Result<(BTreeSet<String>, Vec<Listed>)> {
        let mut folders: BTreeSet<String> = self.numbers.keys().cloned().collect();
        let mut on_top = Vec::new();
        for top in [Layout::EVENTS, Layout::BUNDLES] {
            let (below, objects) = store.children(top).await?;
            folders.extend(below);
            on_top.extend(objects);
        }
        Ok((folders, on_top))
    }
}
