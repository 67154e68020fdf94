//! Footers of files that are archived or bundles, from their packs; the last few are kept.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};

use super::encode::Target;
use super::pack;
use crate::error::{Context, Error, Result};
use crate::model::DataFile;

/// A footer is decoded into a few MiB; threads that go through cells in order need the same ones again.
const KEPT: usize = 8;

/// Shared by the threads of a run.
#[derive(Debug, Default)]
pub struct Footers {
    /// By path, newest last.
    kept: Mutex<VecDeque<(String, Arc<ParquetMetaData>)>>,
}

impl Footers {
    /// The footer of a file with its page index; `None` where it has no pack.
    pub fn get(&self, target: &Target<'_>, file: &DataFile) -> Result<Option<Arc<ParquetMetaData>>> {
        if file.pack.is_none() {
            return Ok(None);
        }
        if let Some((_, footer)) = self.lock().iter().find(|(path, _)| *path == file.path) {
            return Ok(Some(footer.clone()));
        }
        let phrase = || format!("read the packed footer of {}", file.path);
        let packed = target.runtime.block_on(pack::read(target.store, std::slice::from_ref(file)));
        let packed = packed.with_context(phrase)?.pop().flatten();
        let packed = packed.ok_or_else(|| Error::failed("the pack holds no footer")).with_context(phrase)?;
        let mut reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional);
        reader.try_parse_sized(&packed.footer, file.size_bytes).with_context(phrase)?;
        let footer = Arc::new(reader.finish().with_context(phrase)?);
        let mut kept = self.lock();
        kept.push_back((file.path.clone(), footer.clone()));
        if kept.len() > KEPT {
            kept.pop_front();
        }
        Ok(Some(footer))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<(String, Arc<ParquetMetaData>)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
