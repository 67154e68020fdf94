//! What lies directly in a folder, so that many folders can be listed side by side.

use super::{Listed, Store, explain};
use crate::error::{Context, Result};

impl Store {
    /// The folders directly in `folder`, as paths, and the objects directly in it.
    pub async fn children(&self, folder: &str) -> Result<(Vec<String>, Vec<Listed>)> {
        let listed = self.inner.list_with_delimiter(Some(&self.object_path(folder))).await;
        let listed = listed.map_err(explain).with_context(|| format!("list {}", self.address(folder)))?;
        let strip = if self.prefix.as_ref().is_empty() { 0 } else { self.prefix.as_ref().len() + 1 };
        let folders = listed.common_prefixes.iter().map(|path| path.as_ref()[strip..].to_owned()).collect();
        Ok((folders, listed.objects.into_iter().map(|meta| self.listed(meta)).collect::<Result<_>>()?))
    }
}
