//! Which sidecars of the last checkpoint the next one names again, and how many new ones take the place of the others.

use std::ops;

use super::super::action::Sidecar;

/// The table's paths from one on, up to the next range's.
#[derive(Debug, Clone, PartialEq)]
pub struct Range {
    pub first: String,
    /// What lists its files as of the last checkpoint.
    pub sidecar: Option<Sidecar>,
    /// How many there are now.
    pub files: u64,
    pub is_changed: bool,
}

impl Range {
    /// Of all paths, and no file yet.
    pub fn whole() -> Self {
        Range { first: String::new(), sidecar: None, files: 0, is_changed: false }
    }
}

impl From<Sidecar> for Range {
    fn from(sidecar: Sidecar) -> Self {
        Range {
            first: sidecar.tags.first.clone(),
            files: sidecar.tags.files,
            sidecar: Some(sidecar),
            is_changed: false,
        }
    }
}

/// The number of the range that holds `path`; what is before the first range is part of it.
pub fn range_of(ranges: &[Range], path: &str) -> usize {
    ranges.partition_point(|range| range.first.as_str() <= path).saturating_sub(1)
}

/// What becomes of ranges, by their numbers.
#[derive(Debug, PartialEq)]
pub enum Step {
    Keep(usize),
    /// They become one, and it so many files in new sidecars.
    Rewrite(ops::Range<usize>, u64),
}

/// All ranges in order: neighbours that changed are written as one, and with what is left a neighbour that did not
/// where less than a quarter of a sidecar would be.
pub fn plan(ranges: &[Range], files_per_sidecar: u64) -> Vec<Step> {
    let is_small = |files: u64| files > 0 && files < files_per_sidecar / 4;
    let mut steps = Vec::new();
    let mut next = 0;
    while let Some(range) = ranges.get(next) {
        if !range.is_changed {
            steps.push(Step::Keep(next));
            next += 1;
            continue;
        }
        let (mut begin, mut files) = (next, 0);
        while let Some(range) = ranges.get(next).filter(|range| range.is_changed || is_small(files)) {
            files += range.files;
            next += 1;
        }
        if let (true, Some(&Step::Keep(before))) = (is_small(files), steps.last()) {
            steps.pop();
            begin = before;
            files += ranges[before].files;
        }
        steps.push(Step::Rewrite(begin..next, files));
    }
    steps
}

/// The sizes of the fewest sidecars for so many files, all alike.
pub fn sizes(files: u64, files_per_sidecar: u64) -> impl Iterator<Item = u64> {
    let sidecars = files.div_ceil(files_per_sidecar);
    (0..sidecars).map(move |number| files * (number + 1) / sidecars - files * number / sidecars)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Random;

    fn ranges(of: &[(u64, bool)]) -> Vec<Range> {
        let range = |(number, &(files, is_changed)): (usize, &(u64, bool))| Range {
            first: format!("{number:04}"),
            files,
            is_changed,
            sidecar: None,
        };
        of.iter().enumerate().map(range).collect()
    }

    #[test]
    fn what_changed_is_written_anew_and_takes_a_neighbour_in_where_little_is_left() {
        for (of, expected) in [
            (vec![], vec![]),
            (vec![(0, true)], vec![Step::Rewrite(0..1, 0)]),
            (vec![(9, false), (9, true), (9, true), (9, false)], {
                vec![Step::Keep(0), Step::Rewrite(1..3, 18), Step::Keep(3)]
            }),
            // Nothing is left: nothing is written.
            (vec![(9, false), (0, true), (9, false)], vec![Step::Keep(0), Step::Rewrite(1..2, 0), Step::Keep(2)]),
            (vec![(9, false), (1, true), (9, false)], vec![Step::Keep(0), Step::Rewrite(1..3, 10)]),
            (vec![(9, false), (9, false), (1, true)], vec![Step::Keep(0), Step::Rewrite(1..3, 10)]),
            (vec![(1, true)], vec![Step::Rewrite(0..1, 1)]),
        ] {
            assert_eq!(plan(&ranges(&of), 12), expected, "{of:?}");
        }
    }

    #[test]
    fn a_path_is_of_the_last_range_that_begins_before_it() {
        let ranges = ranges(&[(1, false), (1, false), (1, false)]);
        for (path, expected) in [("", 0), ("0000", 0), ("0000x", 0), ("0001", 1), ("0002", 2), ("z", 2)] {
            assert_eq!(range_of(&ranges, path), expected, "{path}");
        }
        assert_eq!(range_of(&[Range::whole()], "x"), 0);
    }

    #[test]
    fn sidecars_stay_within_their_bounds() {
        let random = Random::seeded(7);
        let below = |bound: u64| (random.fraction() * bound as f64) as u64;
        for _ in 0..2_000 {
            let max = 1 + below(50);
            let mut sidecars = vec![0];
            // Each round some ranges get another number of files, and the sidecars of the last one are the next ranges.
            for _ in 0..10 {
                let change = |&before: &u64| match below(3) {
                    0 => (below(4 * max), true),
                    1 => (below(3), true),
                    _ => (before, false),
                };
                let now: Vec<(u64, bool)> = sidecars.iter().map(change).collect();
                let mut seen = 0;
                sidecars.clear();
                for step in plan(&ranges(&now), max) {
                    match step {
                        Step::Keep(number) => {
                            assert_eq!((number, now[number].1), (seen, false));
                            seen += 1;
                            sidecars.push(now[number].0);
                        }
                        Step::Rewrite(numbers, files) => {
                            assert_eq!(numbers.start, seen);
                            assert_eq!(now[numbers.clone()].iter().map(|(files, _)| files).sum::<u64>(), files);
                            seen = numbers.end;
                            sidecars.extend(sizes(files, max));
                        }
                    }
                }
                assert_eq!(seen, now.len());
                assert_eq!(sidecars.iter().sum::<u64>(), now.iter().map(|(files, _)| files).sum::<u64>());
                assert!(sidecars.iter().all(|files| *files <= max), "{max}: {now:?} became {sidecars:?}");
                let is_alone = sidecars.len() <= 1;
                assert!(
                    is_alone || sidecars.iter().all(|files| *files >= max / 4),
                    "{max}: {now:?} became {sidecars:?}"
                );
                if sidecars.is_empty() {
                    sidecars.push(0);
                }
            }
        }
    }
}
