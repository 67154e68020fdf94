//! The SHA-256 tree hash by which vaults know bytes: one digest per MiB, then neighbours combined until one is left.
//! <https://docs.aws.amazon.com/amazonglacier/latest/dev/checksum-calculations.html>

use sha2::{Digest, Sha256};

use crate::model::hex;

/// What one leaf of the tree covers.
const LEAF_BYTES: usize = 1 << 20;

/// A node of the tree.
pub type Node = [u8; 32];

/// The tree hash of bytes that come piece by piece.
#[derive(Default)]
pub struct TreeHash {
    leaves: Vec<Node>,
    /// Of the leaf that is not full yet.
    leaf: Sha256,
    leaf_bytes: usize,
}

impl TreeHash {
    pub fn of(bytes: &[u8]) -> Node {
        let mut hash = TreeHash::default();
        hash.update(bytes);
        hash.finish()
    }

    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(LEAF_BYTES - self.leaf_bytes));
            self.leaf.update(now);
            self.leaf_bytes += now.len();
            if self.leaf_bytes == LEAF_BYTES {
                self.leaves.push(self.leaf.finalize_reset().into());
                self.leaf_bytes = 0;
            }
            bytes = later;
        }
    }

    /// No bytes at all have the digest of nothing.
    pub fn finish(mut self) -> Node {
        if self.leaf_bytes > 0 || self.leaves.is_empty() {
            self.leaves.push(self.leaf.finalize().into());
        }
        combine(self.leaves)
    }
}

/// The root over neighbouring nodes of one level: leaves, or parts of one power of two of leaves each, of which the last
/// may be shorter. There must be one at least.
pub fn combine(mut level: Vec<Node>) -> Node {
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => Sha256::new().chain_update(left).chain_update(right).finalize().into(),
                odd => odd[0],
            })
            .collect();
    }
    level[0]
}

/// As vaults write it.
pub fn text(node: &Node) -> String {
    hex(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha(parts: &[&[u8]]) -> Node {
        Sha256::digest(parts.concat()).into()
    }

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at % 251) as u8).collect()
    }

    #[test]
    fn up_to_one_mebibyte_it_is_the_plain_digest() {
        let known = |length| text(&TreeHash::of(&vec![0; length]));
        // What `sha256sum` prints of so many zero bytes.
        assert_eq!(known(0), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(known(LEAF_BYTES - 1), "ca7ed0c4a8e67cbdc461c4cb0d286d2fabbd9f0c41a7f42b665f72ebaa8aec56");
        assert_eq!(known(LEAF_BYTES), "30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58");
        // Of the MiB's digest and one zero byte's, one after the other.
        assert_eq!(known(LEAF_BYTES + 1), "28638dab8d5e1754a4ecb38b0ebe6df66c844f94aed142d4d0283d208bb786cd");
    }

    #[test]
    fn neighbours_are_combined_and_an_odd_one_moves_up() {
        let all = bytes(3 * LEAF_BYTES - 5);
        let leaves: Vec<Node> = all.chunks(LEAF_BYTES).map(|chunk| sha(&[chunk])).collect();
        let two = sha(&[&leaves[0], &leaves[1]]);
        assert_eq!(TreeHash::of(&all[..2 * LEAF_BYTES]), two);
        assert_eq!(TreeHash::of(&all), sha(&[&two, &leaves[2]]));
    }

    #[test]
    fn pieces_and_parts_have_the_hash_of_the_whole() {
        let all = bytes(7 * LEAF_BYTES + 17);
        let whole = TreeHash::of(&all);
        let mut pieces = TreeHash::default();
        all.chunks(333_333).for_each(|piece| pieces.update(piece));
        assert_eq!(pieces.finish(), whole);
        for part_leaves in [1, 2, 4, 8] {
            let parts = all.chunks(part_leaves * LEAF_BYTES).map(TreeHash::of).collect();
            assert_eq!(combine(parts), whole, "parts of {part_leaves} MiB");
        }
    }
}
