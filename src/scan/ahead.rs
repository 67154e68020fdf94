//! Small files are fetched before their turn, so that how many requests are under way does not depend on how many cores
//! decode what they bring.
//!
//! As many files are under way as were opened before: a query that stops early has asked for about twice what it needed,
//! and one that goes on soon keeps [`FILES_AHEAD`] requests in flight. Files that are opened in another order than the
//! plan's, as for the newest few rows, are most often skipped without a look: nothing is fetched ahead of those.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::common::runtime::SpawnedTask;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::FileGroup;
use object_store::path::Path;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::reader::{Tail, WHOLE_FILE_BYTES};

/// Files that one scan has asked for ahead of their turn, and not used yet.
const FILES_AHEAD: usize = 128;

/// A larger file counts as several, which bounds the bytes that wait: 64 MiB.
const BYTES_OF_A_FILE: u64 = 512 << 10;

/// Partitions that open a file each at once may do so in any order.
const OUT_OF_TURN: usize = 32;

/// What a scan may hold ahead.
pub fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(FILES_AHEAD))
}

/// The files of a scan in the order in which they will be opened.
#[derive(Debug)]
struct Coming {
    files: Vec<(Path, u64)>,
    progress: Mutex<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    opened: usize,
    /// Those before were opened or are fetched.
    next: usize,
    fetched: HashMap<usize, Fetched>,
    is_out_of_order: bool,
}

/// A file that is fetched, or being so; it no longer is when this is dropped.
#[derive(Debug)]
struct Fetched {
    tail: Arc<Tail>,
    task: SpawnedTask<()>,
    _room: OwnedSemaphorePermit,
}

/// Noted in a `PartitionedFile`: which files come after it.
#[derive(Debug, Clone)]
pub struct Turn {
    coming: Arc<Coming>,
    index: usize,
}

/// Notes in each file which come after it.
pub fn in_turn(groups: Vec<FileGroup>) -> Vec<FileGroup> {
    let place = |file: &PartitionedFile| (file.object_meta.location.clone(), file.object_meta.size);
    let files = groups.iter().flat_map(FileGroup::iter).map(place).collect();
    let coming = Arc::new(Coming { files, progress: Mutex::default() });
    let mut index = 0;
    let mut noted = |file: PartitionedFile| {
        let turn = Turn { coming: coming.clone(), index };
        index += 1;
        file.with_extension(turn)
    };
    groups.into_iter().map(|group| group.into_inner().into_iter().map(&mut noted).collect()).collect()
}

impl Turn {
    /// Takes what was fetched of this file, and has `fetch` begin with some that come after it.
    pub fn take(
        &self,
        room: &Arc<Semaphore>,
        fetch: impl Fn(&Path, u64) -> (Arc<Tail>, SpawnedTask<()>),
    ) -> Option<(Arc<Tail>, SpawnedTask<()>)> {
        let mut progress = self.coming.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = progress.fetched.remove(&self.index).map(|fetched| (fetched.tail, fetched.task));
        progress.is_out_of_order |= self.index > progress.opened + OUT_OF_TURN;
        progress.opened += 1;
        // What others have opened by themselves is not fetched once more.
        progress.next = progress.next.max(self.index + 1);
        while !progress.is_out_of_order && progress.fetched.len() < progress.opened {
            let index = progress.next;
            let Some((path, size)) = self.coming.files.get(index) else { break };
            if *size <= WHOLE_FILE_BYTES {
                let Ok(room) = room.clone().try_acquire_many_owned(size.div_ceil(BYTES_OF_A_FILE).max(1) as u32) else {
                    break;
                };
                let (tail, task) = fetch(path, *size);
                progress.fetched.insert(index, Fetched { tail, task, _room: room });
            }
            progress.next += 1;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(sizes: &[u64]) -> Vec<Turn> {
        let file = |(number, &size): (usize, &u64)| PartitionedFile::new(number.to_string(), size);
        let groups = in_turn(vec![sizes.iter().enumerate().map(file).collect()]);
        groups.iter().flat_map(FileGroup::iter).map(|file| file.extension::<Turn>().unwrap().clone()).collect()
    }

    /// Opens files in this order; of each the files that were fetched by then.
    fn fetched(turns: &[Turn], order: impl IntoIterator<Item = usize>) -> Vec<Vec<String>> {
        let room = room();
        let fetched = Mutex::new(Vec::new());
        let fetch = |path: &Path, _: u64| {
            fetched.lock().unwrap().push(path.to_string());
            (Arc::new(Tail::default()), SpawnedTask::spawn(async {}))
        };
        let open = |index: usize| {
            turns[index].take(&room, fetch);
            fetched.lock().unwrap().clone()
        };
        order.into_iter().map(open).collect()
    }

    #[tokio::test]
    async fn as_many_files_are_ahead_as_were_opened_up_to_a_bound_and_each_is_fetched_once() {
        let steps = fetched(&scan(&[8_000; 1_000]), 0..1_000);
        assert_eq!(steps[0], ["1"]);
        assert_eq!(steps[1], ["1", "2", "3"]);
        for (opened, step) in steps.iter().enumerate() {
            assert_eq!(step.len(), (opened + (opened + 1).min(FILES_AHEAD)).min(999), "after {opened}");
        }
        let expected: Vec<String> = (1..1_000).map(|number| number.to_string()).collect();
        assert_eq!(steps[999], expected);
    }

    #[tokio::test]
    async fn large_files_are_not_fetched_and_middling_ones_count_as_several() {
        assert!(fetched(&scan(&[WHOLE_FILE_BYTES + 1; 100]), 0..100)[99].is_empty());
        let steps = fetched(&scan(&[WHOLE_FILE_BYTES; 1_000]), 0..500);
        assert_eq!(steps[499].len(), 499 + FILES_AHEAD / 2);
    }

    #[tokio::test]
    async fn nothing_is_fetched_for_a_scan_that_picks_its_files() {
        assert!(fetched(&scan(&[8_000; 1_000]), [900, 901, 0, 1, 2])[4].is_empty());
    }
}
