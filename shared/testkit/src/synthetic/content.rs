//! What generated objects contain.
//!
//! Owns: one pool of pseudo-random bytes that every object is a window on. Objects begin at different places of it, and its
//! length divides no part size, so that bytes of another object, or of another part, are told apart. Serving a body is
//! slicing the pool: nothing is computed and nothing is copied.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use ferry_md5::{Lanes, Md5, Stream};
use ferry_transfer::ETag;

/// A prime just below 1 MiB.
const POOL_BYTES: usize = 1_048_573;
/// Largest slice handed out at once.
const SLICE_BYTES: usize = 256 << 10;

/// The pool, and the tags of objects in parts that were computed from it.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    bytes: Bytes,
    part_tags: Arc<Mutex<BTreeMap<Parts, ETag>>>,
}

/// An object in parts of one size, but for the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Parts {
    pub(super) seed: u64,
    pub(super) size_bytes: u64,
    pub(super) part_bytes: u64,
}

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
        Self { bytes: bytes.into(), part_tags: Arc::default() }
    }

    /// The bytes of the object `seed` stands for, from one offset to another.
    pub(super) fn content(&self, seed: u64, range: &Range<u64>) -> Content {
        let pool_bytes = POOL_BYTES as u64;
        let position = (seed % pool_bytes + range.start % pool_bytes) % pool_bytes;
        Content {
            pool: self.bytes.clone(),
            position: usize::try_from(position).unwrap_or(0),
            remaining_bytes: range.end - range.start,
        }
    }

    /// The tag that S3 gives an object written in these parts. Computed once.
    pub(super) fn part_tag(&self, parts: Parts) -> ETag {
        let mut tags = self.part_tags.lock().unwrap_or_else(PoisonError::into_inner);
        tags.entry(parts).or_insert_with(|| ETag::from_part_md5s(&self.part_md5s(parts))).clone()
    }

    /// All parts are hashed together.
    fn part_md5s(&self, parts: Parts) -> Vec<[u8; 16]> {
        let Parts { seed, size_bytes, part_bytes } = parts;
        let lanes = Lanes::new();
        let part = |first: u64| {
            let content = self.content(seed, &(first..(first + part_bytes).min(size_bytes)));
            (content, lanes.stream(Md5::new()))
        };
        let step = usize::try_from(part_bytes.max(1)).unwrap_or(usize::MAX);
        let mut streams: Vec<(Content, Stream)> = (0..size_bytes).step_by(step).map(part).collect();
        let mut is_more = true;
        while is_more {
            is_more = false;
            for (content, stream) in &mut streams {
                if let Some(slice) = content.next() {
                    // Every other stream goes next anyhow.
                    let _turn = stream.push(&slice);
                    is_more = true;
                }
            }
        }
        streams.into_iter().map(|(_, stream)| stream.into_md5().finish()).collect()
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
    fn a_tag_of_parts_is_the_one_of_their_md5s() {
        use md5::{Digest as _, Md5};
        let pool = Pool::new();
        let parts = Parts { seed: seed("k"), size_bytes: 5_000_000, part_bytes: 2_000_000 };
        let all: Vec<u8> = pool.content(parts.seed, &(0..5_000_000)).flatten().collect();
        let md5s: Vec<[u8; 16]> = all.chunks(2_000_000).map(|part| Md5::digest(part).into()).collect();
        assert_eq!(pool.part_tag(parts), ETag::from_part_md5s(&md5s));
        assert_eq!(pool.part_tag(parts), ETag::from_part_md5s(&md5s), "remembered");
    }

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
