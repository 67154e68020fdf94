//! Which ranges of an object are asked for together: a request costs as much time as some megabytes, and on some
//! classes as much money as some hundred kilobytes.

use std::ops::Range;

/// Wider gaps are never read along.
const MAX_GAP_BYTES: u64 = 1 << 20;

/// Gaps are read along until they make a quarter of what is wanted, or this much. Requests for the rest are under way at
/// the same time, and cost a fraction of a cent for a thousand.
const MIN_WASTE_BYTES: u64 = 64 << 10;

/// `wanted` as fewer ranges, ascending, that hold all of it: near ones are joined, the nearest first, while what lies
/// between them adds at most a quarter to the bytes, or little.
pub fn joined(wanted: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted: Vec<Range<u64>> = wanted.iter().filter(|range| range.start < range.end).cloned().collect();
    sorted.sort_by_key(|range| (range.start, range.end));
    let mut apart: Vec<Range<u64>> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match apart.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => apart.push(range),
        }
    }
    let bytes: u64 = apart.iter().map(|range| range.end - range.start).sum();
    let mut gaps: Vec<(u64, usize)> =
        apart.windows(2).enumerate().map(|(index, pair)| (pair[1].start - pair[0].end, index)).collect();
    gaps.sort_unstable();
    let mut budget = (bytes / 4).max(MIN_WASTE_BYTES);
    let mut read_along = vec![false; apart.len()];
    for (gap, index) in gaps {
        if gap > budget || gap > MAX_GAP_BYTES {
            break;
        }
        budget -= gap;
        read_along[index] = true;
    }
    let mut requests: Vec<Range<u64>> = Vec::new();
    let mut goes_on = false;
    for (range, joins_next) in apart.into_iter().zip(read_along) {
        match requests.last_mut().filter(|_| goes_on) {
            Some(last) => last.end = range.end,
            None => requests.push(range),
        }
        goes_on = joins_next;
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn near_ranges_are_one_request_and_far_ones_are_not() {
        let far = [0..10, 2 * MIB..2 * MIB + 10];
        assert_eq!(joined(&[]), []);
        assert_eq!(joined(&[10..20, 0..10, 15..30, far[1].clone()]), [0..30, far[1].clone()]);
        assert_eq!(joined(&[0..10, 100..110, far[1].clone()]), [0..110, far[1].clone()]);
        assert_eq!(joined(&far), far);
    }

    #[test]
    fn what_is_read_along_is_a_quarter_of_the_bytes() {
        // Ten pages of 50 KB, each 100 KB from the next: one gap more would be too much.
        let wanted: Vec<_> = (0..10).map(|n| n * 150_000..n * 150_000 + 50_000).collect();
        let requests = joined(&wanted);
        assert_eq!(requests.len(), 9);
        assert!(requests.iter().map(|range| range.end - range.start).sum::<u64>() <= 625_000);
    }
}
