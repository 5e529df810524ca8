//! Where a file's blocks are: the tree of extents.
//!
//! Owns: cutting runs into extents and the tree over them, four entries in the inode and 340 in a block. Invariant: a tree is
//! as low as it can be, which is what `e2fsck` expects.

use super::allocation::Run;
use super::checksum::Seed;
use super::field::{put16, put32};
use super::{BLOCK, GROUP_BLOCKS};

const MAGIC: u16 = 0xf30a;
const IN_INODE: usize = 4;
const HEADER_BYTES: usize = 12;
const ENTRY_BYTES: usize = 12;
/// What fits between the header and the checksum at the end.
const IN_BLOCK: usize = (BLOCK - HEADER_BYTES - 4) / ENTRY_BYTES;
/// The most blocks of one extent; a longer one would read as preallocated.
const EXTENT_BLOCKS: u64 = GROUP_BLOCKS;

/// The `i_block` field of an inode.
pub(super) type Root = [u8; 60];

/// An entry of the tree: an extent, or at higher levels a block of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    logical: u32,
    physical: u64,
    /// Blocks of an extent; unused in an index.
    blocks: u16,
}

/// The extents of a file, not yet in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Extents(Vec<Entry>);

impl Extents {
    /// Cuts runs; adjacent ones are joined first.
    pub(super) fn of(runs: &[Run]) -> Self {
        let mut joined: Vec<Run> = Vec::with_capacity(runs.len());
        for run in runs {
            match joined.last_mut() {
                Some(last) if last.start + last.blocks == run.start => last.blocks += run.blocks,
                _ => joined.push(*run),
            }
        }
        let mut entries = Vec::with_capacity(joined.len());
        let mut logical: u32 = 0;
        for mut run in joined {
            while run.blocks > 0 {
                let blocks = run.blocks.min(EXTENT_BLOCKS) & 0xffff;
                entries.push(Entry { logical, physical: run.start, blocks: blocks as u16 });
                logical += blocks as u32;
                run = Run { start: run.start + blocks, blocks: run.blocks - blocks };
            }
        }
        Self(entries)
    }

    /// Blocks the tree needs besides the inode.
    pub(super) fn tree_blocks(&self) -> u64 {
        tree_blocks(self.0.len() as u64)
    }

    /// The tree: its root, and its blocks at the given positions.
    pub(super) fn tree(&self, positions: &[Run], seed: Seed) -> (Root, Vec<(u64, Vec<u8>)>) {
        let mut positions = positions.iter().flat_map(|run| run.start..run.start + run.blocks);
        let mut blocks = Vec::new();
        let mut level = self.0.clone();
        let mut depth = 0;
        while level.len() > IN_INODE {
            let mut above = Vec::with_capacity(level.len().div_ceil(IN_BLOCK));
            for (chunk, position) in level.chunks(IN_BLOCK).zip(&mut positions) {
                let mut block = vec![0; BLOCK];
                encode(&mut block[..BLOCK - 4], chunk, depth);
                let checksum = seed.checksum(&[&block[..BLOCK - 4]]);
                put32(&mut block, BLOCK - 4, checksum);
                above.push(Entry { logical: chunk[0].logical, physical: position, blocks: 0 });
                blocks.push((position, block));
            }
            level = above;
            depth += 1;
        }
        let mut root = [0; 60];
        encode(&mut root, &level, depth);
        (root, blocks)
    }
}

/// Blocks of the tree over so many extents.
pub(super) fn tree_blocks(extents: u64) -> u64 {
    let mut level = extents;
    let mut total = 0;
    while level > IN_INODE as u64 {
        level = level.div_ceil(IN_BLOCK as u64);
        total += level;
    }
    total
}

/// An upper bound on the blocks of a file's tree wherever the file is, `gaps` being in its way at most.
pub(super) fn tree_blocks_bound(blocks: u64, gaps: u64) -> u64 {
    tree_blocks(blocks.div_ceil(EXTENT_BLOCKS) + gaps)
}

fn encode(space: &mut [u8], entries: &[Entry], depth: u16) {
    put16(space, 0, MAGIC);
    put16(space, 2, entries.len() as u64);
    let limit = (space.len() - HEADER_BYTES) / ENTRY_BYTES;
    put16(space, 4, limit as u64);
    put16(space, 6, depth);
    for (entry, at) in entries.iter().zip((HEADER_BYTES..).step_by(ENTRY_BYTES)) {
        put32(space, at, entry.logical);
        if depth == 0 {
            put16(space, at + 4, entry.blocks);
            put16(space, at + 6, entry.physical >> 32);
            put32(space, at + 8, entry.physical);
        } else {
            put32(space, at + 4, entry.physical);
            put16(space, at + 8, entry.physical >> 32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_cut_at_what_one_extent_holds() {
        let runs = [
            Run { start: 100, blocks: 10 },
            Run { start: 110, blocks: 40_000 },
            Run { start: 90_000, blocks: 1 },
        ];
        let cut: Vec<(u32, u64, u16)> =
            Extents::of(&runs).0.iter().map(|e| (e.logical, e.physical, e.blocks)).collect();
        assert_eq!(cut, [(0, 100, 32_768), (32_768, 32_868, 7242), (40_010, 90_000, 1)]);
    }

    #[test]
    fn a_tree_is_as_low_as_it_can_be() {
        for (extents, blocks) in [(0, 0), (4, 0), (5, 1), (340, 1), (341, 2), (1360, 4), (1361, 5 + 1)] {
            assert_eq!(tree_blocks(extents), blocks, "{extents}");
        }
        let runs: Vec<Run> = (0..1361).map(|n| Run { start: n * 2, blocks: 1 }).collect();
        let (root, blocks) =
            Extents::of(&runs).tree(&[Run { start: 9000, blocks: 6 }], Seed::of_file_system(&[0; 16]));
        assert_eq!(
            blocks.iter().map(|(at, _)| *at).collect::<Vec<_>>(),
            [9000, 9001, 9002, 9003, 9004, 9005]
        );
        assert_eq!(root[6], 2, "depth");
    }
}
