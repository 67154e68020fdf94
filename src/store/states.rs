//! Asks for the class and restore state of many objects, the cheap way.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt};

use super::Store;
use crate::error::Result;
use crate::model::ObjectState;

/// A listing costs as much as this many HEADs, and shows up to a thousand objects:
/// <https://aws.amazon.com/s3/pricing/>
const HEADS_PER_LIST: usize = 12;

/// Requests under way at once.
const LOOKS_IN_FLIGHT: usize = 32;

impl Store {
    /// What the store says of these objects now; those that do not exist are left out. Many in one folder are found by
    /// listing it, few one by one.
    pub async fn states(&self, paths: impl IntoIterator<Item = &str>) -> Result<BTreeMap<String, ObjectState>> {
        let mut folders: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for path in paths {
            folders.entry(folder(path)).or_default().insert(path);
        }
        let (many, few): (Vec<_>, Vec<_>) = folders.into_iter().partition(|(_, paths)| paths.len() > HEADS_PER_LIST);
        let looks = few.into_iter().flat_map(|(_, paths)| paths).map(|path| self.classes().look(path));
        let looked = futures::stream::iter(looks).buffer_unordered(LOOKS_IN_FLIGHT);
        let mut states: BTreeMap<String, ObjectState> = looked
            .try_filter_map(|state| async move { Ok(state.map(|state| (state.path.clone(), state))) })
            .try_collect()
            .await?;
        let lists = many.into_iter().map(|(folder, wanted)| async move {
            let listed = self.classes().list(folder).await?;
            Ok::<_, crate::error::Error>(listed.into_iter().filter(move |state| wanted.contains(state.path.as_str())))
        });
        let mut listed = futures::stream::iter(lists).buffer_unordered(LOOKS_IN_FLIGHT);
        while let Some(found) = listed.try_next().await? {
            states.extend(found.map(|state| (state.path.clone(), state)));
        }
        Ok(states)
    }
}

/// Of a data file the folder of its month or day: what is asked for together lies together there.
fn folder(path: &str) -> &str {
    path.match_indices('/').nth(1).map_or("", |(end, _)| &path[..end])
}
