//! Event ids that are made from several columns. Part of the stored format.

use std::borrow::Cow;

/// The JSON array of the parts' texts. Part of the stored format.
pub fn composite(parts: &[Cow<'_, str>]) -> String {
    serde_json::to_string(parts).expect("texts are JSON")
}

/// A 128-bit digest over the columns in name order, as text; nulls are left out. Part of the stored format: BLAKE3 over
/// each lower-case name and value, every one preceded by its length in bytes as 8 little-endian bytes, cut to 16 bytes, as hex.
pub fn hash(mut fields: Vec<(&str, Cow<'_, str>)>) -> String {
    const DIGEST_HEX: usize = 32;
    fields.sort_by(|a, b| a.0.cmp(b.0));
    let mut hasher = blake3::Hasher::new();
    for (name, value) in &fields {
        for text in [name, value.as_ref()] {
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
    }
    hasher.finalize().to_hex()[..DIGEST_HEX].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_ids_are_part_of_the_stored_format() {
        assert_eq!(composite(&["a".into(), "1\"2".into()]), r#"["a","1\"2"]"#);
        let fields = |order: [usize; 2]| {
            order.map(|i| [("b", Cow::Borrowed("2")), ("a", Cow::Borrowed("x"))][i].clone()).to_vec()
        };
        assert_eq!(hash(fields([0, 1])), hash(fields([1, 0])), "the order of fields does not matter");
        assert_eq!(hash(fields([0, 1])), "b2f3c646f9f209d26700333274483ac6");
        assert_ne!(hash(vec![("a", "bc".into())]), hash(vec![("ab", "c".into())]));
    }
}
