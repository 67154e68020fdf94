//! Files that a merge of leaves has listed anew, found again.

use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::civil::Date;

use super::leaf::{LeafRef, LiveFile};
use super::snapshot::Snapshot;
use crate::error::Result;

/// Gives the files of `remove` the place that `newest` has them at. One that is gone, or is not what it was, keeps its
/// old place: the commit then finds out.
pub async fn relocate(newest: &Snapshot, remove: &mut [LiveFile]) -> Result<()> {
    let leaves: HashMap<&str, &LeafRef> = newest.root().leaves.iter().map(|leaf| (leaf.path.as_str(), leaf)).collect();
    let is_there =
        |live: &LiveFile| leaves.get(live.leaf.as_str()).is_some_and(|leaf| !leaf.deleted.contains(live.position));
    let mut moved: Vec<&mut LiveFile> = remove.iter_mut().filter(|live| !is_there(live)).collect();
    if moved.is_empty() {
        return Ok(());
    }
    let dates: BTreeSet<Date> = moved.iter().map(|live| live.file.dates.min).collect();
    let paths: HashSet<String> = moved.iter().map(|live| live.file.path.clone()).collect();
    let may_list = |leaf: &LeafRef| leaf.is_merged() && leaf.may_hold_any(&dates);
    let candidates = newest.pick_files(may_list, |file| paths.contains(file.path().as_ref())).await?;
    let places: HashMap<&str, &LiveFile> = candidates.iter().map(|live| (live.file.path.as_str(), live)).collect();
    for live in &mut moved {
        if let Some(place) = places.get(live.file.path.as_str()).filter(|place| place.file == live.file) {
            **live = (*place).clone();
        }
    }
    Ok(())
}
