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
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
