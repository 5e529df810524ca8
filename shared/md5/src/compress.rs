//! The compression function (RFC 1321, section 3.4) over one block of each of several streams.
//!
//! Owns: blocks turned into vectors of their words, and the 64 steps. Invariant: a lane's outcome does not depend on the others. The
//! vectors are those of `fearless_simd`, which picks the instructions at run time and has no unsafe interface.

#![expect(
    clippy::inline_always,
    reason = "what is called has to be compiled for the instructions of its caller"
)]

use fearless_simd::prelude::*;
use fearless_simd::{Level, Simd, dispatch, u32x4, u32x8, u32x16};

/// A block of the message.
pub(crate) type Block = [u8; 64];
/// What a stream carries from block to block.
pub(crate) type Chain = [u32; 4];

/// The most streams that are hashed together.
pub(crate) const LANES_MAX: usize = 16;

/// The chain before the first block.
pub(crate) const BEGIN: Chain = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// The constant of each step: the integer part of 2³² · |sin(step)|, counted from 1.
#[rustfmt::skip]
const SINES: [u32; 64] = [
    0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
    0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be, 0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
    0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c, 0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
    0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
    0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1, 0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
];

/// Takes every stream on by its run of blocks; all runs are of one length.
pub(crate) fn compress(level: Level, chains: &mut [Chain], runs: &[&[Block]]) {
    match (chains, runs) {
        ([], _) | (_, []) => {}
        ([chain], [run]) => md5::block_api::compress(chain, run),
        (chains, runs) => match runs.len() {
            2..=4 => dispatch!(level, simd => compress_wide::<_, u32x4<_>>(simd, chains, runs)),
            5..=8 => dispatch!(level, simd => compress_wide::<_, u32x8<_>>(simd, chains, runs)),
            _ => dispatch!(level, simd => compress_wide::<_, u32x16<_>>(simd, chains, runs)),
        },
    }
}

/// A vector with one word of each lane.
trait Words<S: Simd>: SimdInt<S, Element = u32> {
    /// The lanes, four by four.
    fn of_quarters(quarters: &[u32x4<S>; 4]) -> Self;
}

impl<S: Simd> Words<S> for u32x4<S> {
    #[inline(always)]
    fn of_quarters(quarters: &[u32x4<S>; 4]) -> Self {
        quarters[0]
    }
}

impl<S: Simd> Words<S> for u32x8<S> {
    #[inline(always)]
    fn of_quarters(quarters: &[u32x4<S>; 4]) -> Self {
        quarters[0].combine(quarters[1])
    }
}

impl<S: Simd> Words<S> for u32x16<S> {
    #[inline(always)]
    fn of_quarters(quarters: &[u32x4<S>; 4]) -> Self {
        quarters[0].combine(quarters[1]).combine(quarters[2].combine(quarters[3]))
    }
}

#[inline(always)]
fn compress_wide<S: Simd, V: Words<S>>(simd: S, chains: &mut [Chain], runs: &[&[Block]]) {
    // Lanes without a stream repeat the first one's blocks.
    let mut rows = [runs[0]; LANES_MAX];
    rows[..runs.len()].copy_from_slice(runs);
    let mut wide = [V::splat(simd, 0); 4];
    for (lane, chain) in chains.iter().enumerate() {
        for (vector, word) in wide.iter_mut().zip(chain) {
            vector.as_mut_slice()[lane] = *word;
        }
    }
    for block in 0..runs[0].len() {
        let message = transpose::<S, V>(simd, &rows, block);
        wide = steps::<S, V>(wide, &message);
    }
    for (lane, chain) in chains.iter_mut().enumerate() {
        for (vector, word) in wide.iter().zip(chain) {
            *word = vector.as_slice()[lane];
        }
    }
}

/// The sixteen words of every lane's block, a vector for each.
#[inline(always)]
fn transpose<S: Simd, V: Words<S>>(simd: S, rows: &[&[Block]; LANES_MAX], block: usize) -> [V; 16] {
    let mut message = [V::splat(simd, 0); 16];
    // Squares of four words of four lanes: what was a row of the square becomes a column.
    for words in 0..4 {
        let mut columns = [[u32x4::splat(simd, 0); 4]; 4];
        for (quarter, rows) in rows.as_chunks::<4>().0.iter().enumerate().take(V::LEN / 4) {
            let row0 = quad(simd, &rows[0][block], words);
            let row1 = quad(simd, &rows[1][block], words);
            let row2 = quad(simd, &rows[2][block], words);
            let row3 = quad(simd, &rows[3][block], words);
            let (even_low, even_high) = (row0.zip_low(row2), row0.zip_high(row2));
            let (odd_low, odd_high) = (row1.zip_low(row3), row1.zip_high(row3));
            columns[0][quarter] = even_low.zip_low(odd_low);
            columns[1][quarter] = even_low.zip_high(odd_low);
            columns[2][quarter] = even_high.zip_low(odd_high);
            columns[3][quarter] = even_high.zip_high(odd_high);
        }
        for (word, quarters) in columns.iter().enumerate() {
            message[4 * words + word] = V::of_quarters(quarters);
        }
    }
    message
}

/// Four words of one block.
#[inline(always)]
fn quad<S: Simd>(simd: S, block: &Block, quad: usize) -> u32x4<S> {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(block[16 * quad..].as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    u32x4::simd_from(simd, words)
}

/// The 64 steps, and the chain of before added to what they make of it.
#[inline(always)]
fn steps<S: Simd, V: Words<S>>(chain: [V; 4], message: &[V; 16]) -> [V; 4] {
    let [mut a, mut b, mut c, mut d] = chain;
    // A round: its function, the word of each step as `factor * step + offset`, its rotations.
    macro_rules! round {
        ($round:literal, $mix:ident, $factor:literal, $offset:literal, $rotations:expr) => {
            for four in 0..4 {
                let step = 4 * four;
                let word = |step: usize| message[($factor * step + $offset) % 16] + SINES[16 * $round + step];
                a = b + rotate::<S, V>(a + word(step) + $mix(b, c, d), $rotations[0]);
                d = a + rotate::<S, V>(d + word(step + 1) + $mix(a, b, c), $rotations[1]);
                c = d + rotate::<S, V>(c + word(step + 2) + $mix(d, a, b), $rotations[2]);
                b = c + rotate::<S, V>(b + word(step + 3) + $mix(c, d, a), $rotations[3]);
            }
        };
    }
    round!(0, choose, 1, 0, [7, 12, 17, 22]);
    round!(1, choose_by_last, 5, 1, [5, 9, 14, 20]);
    round!(2, parity, 3, 5, [4, 11, 16, 23]);
    round!(3, fold, 7, 0, [6, 10, 15, 21]);
    [a + chain[0], b + chain[1], c + chain[2], d + chain[3]]
}

/// F of RFC 1321.
#[inline(always)]
fn choose<S: Simd, V: Words<S>>(x: V, y: V, z: V) -> V {
    z ^ (x & (y ^ z))
}

/// G of RFC 1321.
#[inline(always)]
fn choose_by_last<S: Simd, V: Words<S>>(x: V, y: V, z: V) -> V {
    y ^ (z & (x ^ y))
}

/// H of RFC 1321.
#[inline(always)]
fn parity<S: Simd, V: Words<S>>(x: V, y: V, z: V) -> V {
    x ^ y ^ z
}

/// I of RFC 1321.
#[inline(always)]
fn fold<S: Simd, V: Words<S>>(x: V, y: V, z: V) -> V {
    y ^ (x | !z)
}

#[inline(always)]
fn rotate<S: Simd, V: Words<S>>(vector: V, bits: u32) -> V {
    (vector << bits) | (vector >> (32 - bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every set of instructions that this machine has.
    fn levels() -> Vec<Level> {
        let best = Level::new();
        #[cfg(target_arch = "x86_64")]
        return [
            Some(best),
            best.as_avx2().map(Level::Avx2),
            best.as_sse4_2().map(Level::Sse4_2),
            best.as_sse2().map(Level::Sse2),
        ]
        .into_iter()
        .flatten()
        .collect();
        #[cfg(not(target_arch = "x86_64"))]
        vec![best]
    }

    #[test]
    fn every_number_of_lanes_does_what_one_does_with_every_set_of_instructions() {
        for level in levels() {
            for lanes in 1..=LANES_MAX {
                let message = |lane: usize| {
                    let mut blocks = [[0; 64]; 5];
                    for (index, byte) in blocks.as_flattened_mut().iter_mut().enumerate() {
                        *byte = u8::try_from((index * 7 + lane * 31 + index * index) % 251).expect("a byte");
                    }
                    blocks
                };
                let messages: Vec<[Block; 5]> = (0..lanes).map(message).collect();
                let runs: Vec<&[Block]> = messages.iter().map(<[Block; 5]>::as_slice).collect();
                let mut together = vec![BEGIN; lanes];
                compress(level, &mut together, &runs);
                for (chain, run) in together.iter().zip(&runs) {
                    let mut alone = BEGIN;
                    md5::block_api::compress(&mut alone, run);
                    assert_eq!(*chain, alone, "{lanes} lanes, {level:?}");
                }
            }
        }
    }
}
