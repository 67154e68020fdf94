//! Which of several files that hold the same events stay: two pure decisions.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// What a name is compared by.
pub type NameDigest = [u8; 16];

/// Of files that were made of others those that go, because what they were made of is elsewhere too. `outputs`, oldest
/// first, each with the digests of what it was made of; `elsewhere` tells of one that something else was made of;
/// `is_listed` of one that is still there itself; `is_replaced` of an output, by its place, that goes anyway, because another
/// was made of it.
///
/// A merge or bundling that was killed, or lost a race, leaves such files beside those of the run that won.
pub fn superfluous<'a>(
    outputs: impl Iterator<Item = &'a [NameDigest]> + Clone,
    elsewhere: impl Fn(&NameDigest) -> bool,
    is_listed: impl Fn(&NameDigest) -> bool,
    is_replaced: impl Fn(usize) -> bool,
) -> HashSet<usize> {
    let mut made: HashMap<&NameDigest, u32> = HashMap::new();
    for name in outputs.clone().flatten() {
        *made.entry(name).or_default() += 1;
    }
    let mut goes = HashSet::new();
    for (index, names) in outputs.enumerate() {
        let is_shared = |name: &NameDigest| made[name] > 1 || elsewhere(name);
        if !is_replaced(index)
            && names.iter().any(is_shared)
            && names.iter().all(|name| is_shared(name) || is_listed(name))
        {
            goes.insert(index);
            for name in names {
                *made.get_mut(name).expect("counted") -= 1;
            }
        }
    }
    goes
}

/// Events that just these files share, by their numbers.
pub type Shared = BTreeMap<Vec<u32>, u64>;

/// A file that shares events with others.
#[derive(Debug, Clone, Copy)]
pub struct Sharer {
    pub rows: u64,
    /// Whether it goes when all of its events are in others.
    pub may_go: bool,
    /// Whether others may go because of it.
    pub may_cover: bool,
}

/// Of these files those that go: each of their events is in one that stays. `order`: which are asked first.
pub fn repeated(files: &BTreeMap<u32, Sharer>, order: &[u32], shared: &Shared) -> BTreeSet<u32> {
    let mut goes = BTreeSet::new();
    for file in order.iter().filter(|file| files[file].may_go) {
        let covers = |other: &u32| other != file && !goes.contains(other) && files[other].may_cover;
        let with = shared.iter().filter(|(set, _)| set.contains(file) && set.iter().any(covers));
        if with.map(|(_, events)| events).sum::<u64>() == files[file].rows {
            goes.insert(*file);
        }
    }
    goes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: u8) -> NameDigest {
        [number; 16]
    }

    fn goes(outputs: &[&[u8]], elsewhere: &[u8], listed: &[u8]) -> Vec<usize> {
        let outputs: Vec<Vec<NameDigest>> =
            outputs.iter().map(|names| names.iter().map(|n| name(*n)).collect()).collect();
        let is_in = |set: &[u8], found: &NameDigest| set.contains(&found[0]);
        // The outputs themselves are named 100, 101, …
        let is_replaced = |index: usize| outputs.iter().flatten().any(|made_of| *made_of == name(100 + index as u8));
        let all = outputs.iter().map(Vec::as_slice);
        let found = superfluous(all, |n| is_in(elsewhere, n), |n| is_in(listed, n), is_replaced);
        let mut found: Vec<usize> = found.into_iter().collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn of_two_merges_of_the_same_files_one_stays() {
        assert_eq!(goes(&[&[1, 2], &[3, 4]], &[], &[1, 2, 3, 4]), Vec::<usize>::new());
        assert_eq!(goes(&[&[1, 2], &[1, 2]], &[], &[]), [0]);
        assert_eq!(goes(&[&[1, 2], &[1, 2, 3]], &[], &[]), [0]);
        assert_eq!(goes(&[&[1, 2, 3], &[1, 2], &[3]], &[], &[]), [0]);
        // 2 is only in the first: it stays unless 2 itself is still there, and then the second may.
        assert_eq!(goes(&[&[1, 2], &[1, 3]], &[], &[2]), [0]);
        assert_eq!(goes(&[&[1, 2], &[1, 3]], &[], &[3]), [1]);
        assert_eq!(goes(&[&[1, 2], &[1, 3]], &[], &[]), Vec::<usize>::new());
        assert_eq!(goes(&[&[1, 2]], &[1], &[2]), [0]);
        // The first was merged again: of the two the other one is left over.
        assert_eq!(goes(&[&[1, 2], &[1, 2], &[100, 3]], &[], &[]), [1]);
    }

    #[test]
    fn a_file_goes_when_every_event_is_in_one_that_stays() {
        let sharer = |rows| Sharer { rows, may_go: true, may_cover: true };
        let files = BTreeMap::from([(0, sharer(10)), (1, sharer(10)), (2, sharer(4))]);
        let shared = |sets: &[(&[u32], u64)]| sets.iter().map(|(set, n)| (set.to_vec(), *n)).collect::<Shared>();
        let order = [0, 1, 2];
        assert_eq!(repeated(&files, &order, &shared(&[(&[0, 1], 10)])), BTreeSet::from([0]));
        assert_eq!(repeated(&files, &order, &shared(&[(&[0, 1], 6), (&[0, 2], 4)])), BTreeSet::from([0]));
        assert_eq!(repeated(&files, &order, &shared(&[(&[0, 1], 6)])), BTreeSet::new());
        assert_eq!(repeated(&files, &order, &shared(&[(&[0, 1, 2], 4)])), BTreeSet::from([2]));
        let weak = BTreeMap::from([(0, sharer(10)), (1, Sharer { may_cover: false, ..sharer(10) })]);
        assert_eq!(repeated(&weak, &[0, 1], &shared(&[(&[0, 1], 10)])), BTreeSet::from([1]));
    }
}
