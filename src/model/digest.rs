//! Digests.

use sha2::{Digest, Sha256};

/// SHA-256 of the bytes, 64 hex digits: what `sha256sum` prints.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The first half of the text's BLAKE3: what many texts are compared by. Never stored.
pub fn short_digest(text: &str) -> [u8; 16] {
    blake3::hash(text.as_bytes()).as_bytes()[..16].try_into().expect("16 of 32 bytes")
}

/// Lower-case hex, two digits a byte.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).expect("below 16");
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The bytes of a SHA-256 that [`hex`] wrote; `None` of any other text.
pub fn sha256_bytes(hex: &str) -> Option<[u8; 32]> {
    let half = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let bytes = hex.as_bytes().chunks_exact(2).map(|pair| Some(half(pair[0])? << 4 | half(pair[1])?));
    let bytes: [u8; 32] = bytes.collect::<Option<Vec<u8>>>()?.try_into().ok()?;
    (hex.len() == 64).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_its_text_and_nothing_else_is_one() {
        let text = sha256(b"tier");
        assert_eq!(sha256_bytes(&text).map(|bytes| hex(&bytes)), Some(text.clone()));
        for other in ["", "ab", &text[..62], &text.to_uppercase(), &format!("{text}0"), &"zz".repeat(32)] {
            assert_eq!(sha256_bytes(other), None, "{other}");
        }
    }
}
