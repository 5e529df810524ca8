//! One MD5 on its way.
//!
//! Owns: the bytes that do not fill a block yet, the length, and the padding at the end. Invariant: what was seen is what counts, not
//! in which pieces it came.

use crate::compress::{BEGIN, Block, Chain};

/// An MD5 of the bytes seen so far. Can be copied and gone on with twice.
#[derive(Clone)]
pub struct Md5 {
    pub(crate) chain: Chain,
    /// Begins with the bytes that do not fill a block yet.
    tail: Block,
    length_bytes: u64,
}

impl Md5 {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self { chain: BEGIN, tail: [0; 64], length_bytes: 0 }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        let filled = self.tail_bytes();
        if filled > 0 {
            let (fitting, rest) = bytes.split_at(bytes.len().min(64 - filled));
            self.append(fitting);
            bytes = rest;
        }
        let (blocks, rest) = bytes.as_chunks();
        md5::block_api::compress(&mut self.chain, blocks);
        self.count(blocks.len());
        self.append(rest);
    }

    /// The digest of everything seen.
    pub fn finish(&self) -> [u8; 16] {
        let mut last = self.clone();
        let filled = self.tail_bytes();
        // One bit, zeros up to the last eight bytes of a block, and there the length in bits.
        let zeros = if filled < 56 { 56 - filled } else { 120 - filled };
        let mut padding = [0; 64];
        padding[0] = 0x80;
        last.update(&padding[..zeros]);
        last.update(&self.length_bytes.wrapping_mul(8).to_le_bytes());
        let mut digest = [0; 16];
        for (bytes, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(last.chain) {
            *bytes = word.to_le_bytes();
        }
        digest
    }

    /// How many bytes wait for their block to be full, 0 to 63.
    pub(crate) fn tail_bytes(&self) -> usize {
        usize::try_from(self.length_bytes % 64).unwrap_or(0)
    }

    /// Blocks have gone into the chain.
    pub(crate) fn count(&mut self, blocks: usize) {
        self.length_bytes += 64 * blocks as u64;
    }

    /// Bytes that fill the block at most.
    fn append(&mut self, bytes: &[u8]) {
        let filled = self.tail_bytes();
        self.tail[filled..][..bytes.len()].copy_from_slice(bytes);
        self.length_bytes += bytes.len() as u64;
        if filled + bytes.len() == 64 {
            md5::block_api::compress(&mut self.chain, &[self.tail]);
        }
    }
}

impl Default for Md5 {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Md5 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Md5").field("length_bytes", &self.length_bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_published_digests_come_out() {
        // RFC 1321, appendix A.5.
        for (text, digest) in [
            ("", 0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e_u128),
            ("abc", 0x9001_5098_3cd2_4fb0_d696_3f7d_28e1_7f72),
            (
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
                0xd174_ab98_d277_d9f5_a561_1c2c_9f41_9d9f,
            ),
        ] {
            let mut md5 = Md5::new();
            md5.update(text.as_bytes());
            assert_eq!(u128::from_be_bytes(md5.finish()), digest, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn the_pieces_do_not_matter(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..8)) {
            use md5::Digest as _;
            let mut ours = Md5::new();
            let mut theirs = md5::Md5::new();
            for piece in &pieces {
                ours.update(piece);
                theirs.update(piece);
                prop_assert_eq!(ours.finish(), <[u8; 16]>::from(theirs.clone().finalize()));
            }
        }
    }
}
