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
}

/// Steps of a search before it gives up: those who share events are few.
const MAX_STEPS: u32 = 20_000;

/// Of these files those that go, so that each event stays in just one. `order`: which go rather than others. Where no
/// choice leaves each event once, those go whose events all stay.
pub fn repeated(files: &BTreeMap<u32, Sharer>, order: &[u32], shared: &Shared) -> BTreeSet<u32> {
    let mut goes = BTreeSet::new();
    for group in groups(shared) {
        let sum =
            |file: u32| group.iter().filter(|(set, _)| set.contains(&file)).map(|(_, events)| events).sum::<u64>();
        let members: BTreeSet<u32> = group.iter().flat_map(|(set, _)| set.iter().copied()).collect();
        let can_go: BTreeSet<u32> =
            members.iter().copied().filter(|file| files[file].may_go && sum(*file) == files[file].rows).collect();
        let mut search = Search { sets: group.iter().map(|(set, _)| *set).collect(), files, order, can_go, steps: 0 };
        let mut stays: BTreeMap<u32, bool> =
            members.iter().filter(|file| !search.can_go.contains(file)).map(|file| (*file, true)).collect();
        match search.settle(&mut stays) {
            true => goes.extend(stays.into_iter().filter(|(_, stays)| !stays).map(|(file, _)| file)),
            false => goes.extend(search.covered()),
        }
    }
    goes
}

/// Sets that are connected by files, each with its number of events.
type Group<'a> = Vec<(&'a Vec<u32>, u64)>;

fn groups(shared: &Shared) -> Vec<Group<'_>> {
    let mut groups: Vec<(BTreeSet<u32>, Group<'_>)> = Vec::new();
    for (set, events) in shared {
        let mut joined = (set.iter().copied().collect::<BTreeSet<u32>>(), vec![(set, *events)]);
        let (with, without): (Vec<_>, Vec<_>) =
            groups.into_iter().partition(|(files, _)| set.iter().any(|file| files.contains(file)));
        for (files, sets) in with {
            joined.0.extend(files);
            joined.1.extend(sets);
        }
        groups = without;
        groups.push(joined);
    }
    groups.into_iter().map(|(_, sets)| sets).collect()
}

/// Looks for a choice that leaves each event in one file.
struct Search<'a> {
    sets: Vec<&'a Vec<u32>>,
    files: &'a BTreeMap<u32, Sharer>,
    order: &'a [u32],
    /// All of their events are in others.
    can_go: BTreeSet<u32>,
    steps: u32,
}

impl Search<'_> {
    /// Decides about every file that is not decided about in `stays`; undone where there is no such choice.
    fn settle(&mut self, stays: &mut BTreeMap<u32, bool>) -> bool {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return false;
        }
        let stay = |set: &[u32], stays: &BTreeMap<u32, bool>| -> Vec<u32> {
            set.iter().copied().filter(|file| stays.get(file) == Some(&true)).collect()
        };
        let is_once = |staying: &[u32]| {
            // Those that may never go are somebody else's to decide about.
            let asked = staying.iter().filter(|file| self.files[file].may_go).count();
            asked == 0 || staying.len() == 1
        };
        let mut open: Option<(&Vec<u32>, bool)> = None;
        for set in &self.sets {
            let staying = stay(set, stays);
            if !is_once(&staying) {
                return false;
            }
            let is_open = set.iter().any(|file| !stays.contains_key(file));
            match (is_open, staying.is_empty()) {
                (false, true) => return false,
                (false, false) => {}
                // What is left of it must go: no choice, so that comes first.
                (true, false) => open = Some((set, true)),
                (true, true) => open = open.or(Some((set, false))),
            }
        }
        let Some((set, is_settled)) = open else { return true };
        let undecided: Vec<u32> = set.iter().copied().filter(|file| !stays.contains_key(file)).collect();
        let rank = |file: &u32| self.order.iter().position(|asked| asked == file).unwrap_or(usize::MAX);
        let mut choices: Vec<Option<u32>> = match is_settled {
            true => vec![None],
            false => undecided.iter().copied().map(Some).collect(),
        };
        choices.sort_by_key(|choice| std::cmp::Reverse(choice.as_ref().map(rank)));
        for choice in choices {
            stays.extend(undecided.iter().map(|file| (*file, Some(*file) == choice)));
            let mut next = stays.clone();
            if self.settle(&mut next) {
                *stays = next;
                return true;
            }
        }
        stays.retain(|file, _| !undecided.contains(file));
        false
    }

    /// Without such a choice: those of which each event stays.
    fn covered(&self) -> BTreeSet<u32> {
        let mut goes = BTreeSet::new();
        for file in self.order.iter().filter(|file| self.can_go.contains(file)) {
            let mut with = self.sets.iter().filter(|set| set.contains(file));
            if with.all(|set| set.iter().any(|other| other != file && !goes.contains(other))) {
                goes.insert(*file);
            }
        }
        goes
    }
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
        let sharer = |rows| Sharer { rows, may_go: true };
        let files = BTreeMap::from([(0, sharer(10)), (1, sharer(10)), (2, sharer(4))]);
        let shared = |sets: &[(&[u32], u64)]| sets.iter().map(|(set, n)| (set.to_vec(), *n)).collect::<Shared>();
        let order = [0, 1, 2];
        assert_eq!(repeated(&files, &order, &shared(&[(&[0, 1], 10)])), BTreeSet::from([0]));
        assert_eq!(repeated(&files, &order, &shared(&[(&[0, 1], 6), (&[0, 2], 4)])), BTreeSet::from([0]));
        assert_eq!(repeated(&files, &order, &shared(&[(&[0, 1], 6)])), BTreeSet::new());
        // 0 and 1 have events of their own and some in common: only 2 can go, and that a person must see.
        assert_eq!(repeated(&files, &order, &shared(&[(&[0, 1, 2], 4)])), BTreeSet::from([2]));
        let fixed = BTreeMap::from([(0, sharer(10)), (1, Sharer { may_go: false, ..sharer(10) })]);
        assert_eq!(repeated(&fixed, &[0], &shared(&[(&[0, 1], 10)])), BTreeSet::from([0]));
    }

    /// Of a killed run (2), of what another one brought before (0, with an event of its own, and 1), and of the run again.
    #[test]
    fn no_file_goes_that_the_others_need() {
        let sharer = |rows| Sharer { rows, may_go: true };
        let files = BTreeMap::from([(0, sharer(4)), (1, sharer(2)), (2, sharer(5))]);
        let shared: Shared = [(vec![0, 2], 3), (vec![1, 2], 2)].into();
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            assert_eq!(repeated(&files, &order, &shared), BTreeSet::from([2]), "{order:?}");
        }
    }

    /// Files of committed runs have no event in common; what others left behind has only events of those.
    #[test]
    fn whatever_killed_runs_left_behind_each_event_stays_once() {
        for seed in 0..200_u64 {
            let mut state = seed * 2 + 1;
            let mut below = |limit: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % limit
            };
            // 40 events in 5 files, and 6 more files of some of them.
            let mut held: Vec<BTreeSet<u64>> = vec![BTreeSet::new(); 11];
            for event in 0..40 {
                held[below(5) as usize].insert(event);
                (5..11).filter(|_| below(4) == 0).collect::<Vec<_>>().into_iter().for_each(|file| {
                    held[file].insert(event);
                });
            }
            let mut shared = Shared::new();
            for event in 0..40 {
                let set: Vec<u32> = (0..11).filter(|file| held[*file as usize].contains(&event)).collect();
                if set.len() > 1 {
                    *shared.entry(set).or_default() += 1;
                }
            }
            let rows = |file: u32| held[file as usize].len() as u64;
            let files = (0..11).map(|file| (file, Sharer { rows: rows(file), may_go: true })).collect();
            let mut order: Vec<u32> = (0..11).collect();
            order.sort_by_key(|_| below(1_000));
            let goes = repeated(&files, &order, &shared);
            let left = (0..11_u32).filter(|file| !goes.contains(file)).flat_map(|file| held[file as usize].iter());
            let mut left: Vec<u64> = left.copied().collect();
            left.sort_unstable();
            assert_eq!(left, (0..40).collect::<Vec<_>>(), "seed {seed}");
        }
    }
}
