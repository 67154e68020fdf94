//! Packs read for one version, so that a query that scans the table twice reads them once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::data::pack::{self, CellRows, Packed};
use crate::error::{Error, Result};
use crate::model::{DataFile, PackRef};
use crate::store::Store;

/// What is kept takes about this much memory; beyond it the packs are read again.
const KEPT_BYTES: usize = 64 << 20;

/// A cell's two keys on the heap, roughly.
const KEYS_BYTES: usize = 64;

#[derive(Debug, Default)]
pub struct Packs(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    packs: HashMap<(String, u64), Arc<Packed>>,
    bytes: usize,
}

impl Packs {
    /// What is hot of these files, in their order; `None` for those without a pack.
    pub async fn of(&self, store: &Store, files: &[Arc<DataFile>]) -> Result<Vec<Option<Arc<Packed>>>> {
        let mut found: Vec<Option<Arc<Packed>>> = files.iter().map(|file| self.kept(file.pack.as_ref()?)).collect();
        let missing: Vec<usize> =
            (0..files.len()).filter(|&index| found[index].is_none() && files[index].pack.is_some()).collect();
        let wanted: Vec<_> = missing.iter().map(|&index| files[index].clone()).collect();
        for (index, packed) in missing.into_iter().zip(pack::read(store, &wanted).await?) {
            let Some((pack, packed)) = files[index].pack.as_ref().zip(packed) else { continue };
            let packed = Arc::new(packed);
            self.keep(pack, packed.clone());
            found[index] = Some(packed);
        }
        Ok(found)
    }

    /// As [`Packs::of`] for bundles, which always have one.
    pub async fn of_bundles(&self, store: &Store, bundles: &[Arc<DataFile>]) -> Result<Vec<Arc<Packed>>> {
        let packs = self.of(store, bundles).await?;
        let has_cells = |(packed, bundle): (Option<Arc<Packed>>, &Arc<DataFile>)| {
            packed.filter(|packed| !packed.cells.is_empty()).ok_or_else(|| {
                let message = format!("the catalog has no list of the cells in {}", store.address(&bundle.path));
                Error::failed(message).code("corrupt-pack")
            })
        };
        packs.into_iter().zip(bundles).map(has_cells).collect()
    }

    fn kept(&self, pack: &PackRef) -> Option<Arc<Packed>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.packs.get(&(pack.path.clone(), pack.offset)).cloned()
    }

    fn keep(&self, pack: &PackRef, packed: Arc<Packed>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.bytes > KEPT_BYTES {
            *kept = Kept::default();
        }
        kept.bytes += packed.footer.len() + packed.cells.len() * (size_of::<CellRows>() + KEYS_BYTES);
        kept.packs.insert((pack.path.clone(), pack.offset), packed);
    }
}
