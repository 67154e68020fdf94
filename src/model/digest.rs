//! Digests as text.

use sha2::{Digest, Sha256};

/// SHA-256 of the bytes, 64 hex digits: what `sha256sum` prints.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hex, two digits a byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
