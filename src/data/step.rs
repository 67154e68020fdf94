//! Looks for bytes sixteen at a time: what is looked for is mostly near, where a call costs more than the search.

/// Bytes that are looked at together.
pub const STEP: usize = 16;

const ONES: u64 = u64::from_le_bytes([1; 8]);
const HIGH: u64 = u64::from_le_bytes([0x80; 8]);

/// The place of the first byte that `marks` marks; [`STEP`] where there is none. `marks` is of [`equal`] and [`below`].
#[inline(always)]
pub fn first(step: &[u8; STEP], marks: impl Fn(u64) -> u64) -> usize {
    let eight = |from: usize| u64::from_le_bytes(std::array::from_fn(|at| step[from + at]));
    // Both are looked at, whatever the first has: no branch depends on it.
    let [low, high] = [eight(0), eight(8)].map(|eight| (marks(eight) & HIGH).trailing_zeros() as usize / 8);
    if low < 8 { low } else { 8 + high }
}

/// Where `bytes` has the first marked byte at `from` or after it.
#[inline(always)]
pub fn find(bytes: &[u8], from: usize, marks: impl Fn(u64) -> u64) -> Option<usize> {
    let mut at = from;
    while let Some(step) = bytes[at..].first_chunk() {
        let unmarked = first(step, &marks);
        at += unmarked;
        if unmarked < STEP {
            return Some(at);
        }
    }
    let rest = &bytes[at..];
    let mut step = [0; STEP];
    step[..rest.len()].copy_from_slice(rest);
    Some(at + first(&step, &marks)).filter(|at| *at < bytes.len())
}

/// Marks the bytes that equal `byte`, in their high bit. Exact up to and with the first: a borrow can reach only bytes
/// above it. Other bits mean nothing.
#[inline(always)]
pub fn equal(eight: u64, byte: u8) -> u64 {
    let difference = eight ^ (ONES * u64::from(byte));
    difference.wrapping_sub(ONES) & !difference
}

/// Marks the bytes that are below `limit`, which is at most 128, as [`equal`] does.
#[inline(always)]
pub fn below(eight: u64, limit: u8) -> u64 {
    eight.wrapping_sub(ONES * u64::from(limit)) & !eight
}

/// `==`, for texts that are mostly so short that to call a comparison costs more than to compare.
#[inline]
pub fn same(left: &[u8], right: &[u8]) -> bool {
    fn ends<const N: usize>(bytes: &[u8]) -> Option<(&[u8; N], &[u8; N])> {
        bytes.first_chunk().zip(bytes.last_chunk())
    }
    left.len() == right.len()
        && match left.len() {
            4..8 => ends::<4>(left) == ends(right),
            8..=16 => ends::<8>(left) == ends(right),
            _ => left == right,
        }
}

/// `starts_with`, in the same way.
#[inline]
pub fn begins_with(text: &[u8], start: &[u8]) -> bool {
    text.get(..start.len()).is_some_and(|text| same(text, start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_marked_byte_is_found_at_any_place_and_among_any_others() {
        for length in 0..3 * STEP {
            for other in (0..=255).filter(|other| ![b'a', b'"', 9].contains(other)) {
                let mut bytes = vec![other; length];
                assert_eq!(find(&bytes, 0, |eight| equal(eight, b'a') | equal(eight, b'"')), None);
                assert_eq!(find(&bytes, 0, |eight| below(eight, other.min(128))), None, "{other}");
                for marked in [b'a', b'"', 9] {
                    bytes.truncate(length);
                    bytes.extend([marked, other, marked, b'"']);
                    for from in 0..=length {
                        let marks = |eight| equal(eight, b'a') | equal(eight, b'"') | equal(eight, 9);
                        assert_eq!(find(&bytes, from, marks), Some(length), "{marked} among {other}");
                    }
                    if other >= 10 {
                        let expected = if marked == 9 { Some(length) } else { None };
                        assert_eq!(find(&bytes[..length + 3], 0, |eight| below(eight, 10)), expected);
                    }
                }
            }
        }
    }

    #[test]
    fn a_text_is_compared_to_its_last_byte() {
        for length in 0..40 {
            let text: Vec<u8> = (b'A'..).take(length).collect();
            assert!(begins_with(&text, &text) && begins_with(&[&text[..], b"x"].concat(), &text));
            for place in 0..length {
                let mut other = text.clone();
                other[place] = b'-';
                assert!(!begins_with(&other, &text) && !begins_with(&text[..place], &text), "{length} {place}");
            }
        }
    }
}
