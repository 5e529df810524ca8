//! What generated objects contain.
//!
//! Owns: one pool of pseudo-random bytes that every object is a window on. Objects begin at different places of it, and its
//! length divides no part size, so that bytes of another object, or of another part, are told apart. Serving a body is
//! slicing the pool: nothing is computed and nothing is copied.

use std::ops::Range;

use bytes::Bytes;

/// A prime just below 1 MiB.
const POOL_BYTES: usize = 1_048_573;
/// Largest slice handed out at once.
const SLICE_BYTES: usize = 256 << 10;

/// The pool.
#[derive(Debug, Clone)]
pub(super) struct Pool(Bytes);

/// A stretch of one object's bytes, handed out slice by slice.
#[derive(Debug)]
pub(super) struct Content {
    pool: Bytes,
    position: usize,
    remaining_bytes: u64,
}

impl Pool {
    pub(super) fn new() -> Self {
        let mut state = 0;
        let bytes: Vec<u8> = (0..POOL_BYTES.div_ceil(8))
            .flat_map(|_| split_mix(&mut state).to_le_bytes())
            .take(POOL_BYTES)
            .collect();
        Self(bytes.into())
    }

    /// The bytes of the object `seed` stands for, from one offset to another.
    pub(super) fn content(&self, seed: u64, range: &Range<u64>) -> Content {
        let pool_bytes = POOL_BYTES as u64;
        let position = (seed % pool_bytes + range.start % pool_bytes) % pool_bytes;
        Content {
            pool: self.0.clone(),
            position: usize::try_from(position).unwrap_or(0),
            remaining_bytes: range.end - range.start,
        }
    }
}

impl Content {
    pub(super) fn remaining_bytes(&self) -> u64 {
        self.remaining_bytes
    }
}

impl Iterator for Content {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let remaining = usize::try_from(self.remaining_bytes).unwrap_or(usize::MAX);
        let length = remaining.min(SLICE_BYTES).min(POOL_BYTES - self.position);
        if length == 0 {
            return None;
        }
        let slice = self.pool.slice(self.position..self.position + length);
        self.position = (self.position + length) % POOL_BYTES;
        self.remaining_bytes -= length as u64;
        Some(slice)
    }
}

/// Where a key's bytes begin in the pool: FNV-1a, 64 bits.
pub(super) fn seed(key: &str) -> u64 {
    key.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// `SplitMix64`: a full-period generator in four lines.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_a_piece_of_the_whole_across_the_end_of_the_pool() {
        let pool = Pool::new();
        let all: Vec<u8> = pool.content(seed("k"), &(0..3_000_000)).flatten().collect();
        assert_eq!(all.len(), 3_000_000);
        let middle: Vec<u8> = pool.content(seed("k"), &(900_000..2_500_000)).flatten().collect();
        assert!(middle == all[900_000..2_500_000]);
        let other: Vec<u8> = pool.content(seed("l"), &(0..1000)).flatten().collect();
        assert_ne!(other, all[..1000]);
        // Parts of 8 MiB do not repeat each other.
        let part: Vec<u8> = pool.content(seed("k"), &(8 << 20..(8 << 20) + 1000)).flatten().collect();
        assert_ne!(part, all[..1000]);
    }
}
