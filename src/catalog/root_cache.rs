//! Roots in the local cache, and which was the newest when this machine looked last.
//!
//! A root is immutable while it is retained, but its name is not: a stub takes its place, or another archive is begun at
//! the same address. So an entry is named by the object's ETag too, and only a listing that shows the same ETag brings
//! it back.

use bytes::Bytes;

use crate::error::Result;
use crate::store::{Layout, Listed, Store};

/// The bytes under a version's name, from the store; `None` when there are none. They are kept for [`get`].
pub async fn fetch(store: &Store, version: u64) -> Result<Option<Bytes>> {
    let path = Layout::root(version);
    let Some((bytes, etag)) = store.get_tagged(&path).await? else { return Ok(None) };
    if let Some((cache, etag)) = store.cache().zip(etag) {
        cache.keep(&name(store, &path, &etag), &bytes);
    }
    Ok(Some(bytes))
}

/// The bytes of a root as it was just listed, where this machine has read it before.
pub fn get(store: &Store, listed: &Listed) -> Option<Bytes> {
    store.cache()?.get(&name(store, &listed.path, listed.etag.as_ref()?))
}

/// The version that was the newest when this machine looked last.
pub fn remembered(store: &Store) -> Option<u64> {
    std::str::from_utf8(&store.cache()?.get(&store.address(Layout::HINT))?).ok()?.parse().ok()
}

pub fn remember(store: &Store, newest: u64) {
    if let Some(cache) = store.cache().filter(|_| remembered(store) != Some(newest)) {
        cache.keep(&store.address(Layout::HINT), newest.to_string().as_bytes());
    }
}

fn name(store: &Store, path: &str, etag: &str) -> String {
    format!("{} {etag}", store.address(path))
}
