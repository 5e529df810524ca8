//! The blocks of one directory.
//!
//! Owns: entries in blocks, and over more than one block the index by hash ("htree"). Entries come sorted by hash, so leaves are filled one
//! after the other and the index is built from their first hashes; nothing is ever split. Invariant: one block without index as long as
//! everything fits, which is what a reader without `dir_index` understands as well.

use super::checksum::Seed;
use super::field::{put16, put32};
use super::hash::NameHash;
use super::tree::{Child, Entry};
use super::{BLOCK, BLOCK_BYTES};
use crate::error::{Error, ErrorKind, Result};

/// The checksum's disguise as an unused entry, at the end of each block of entries.
const TAIL_BYTES: usize = 12;
const TAIL_TYPE: u8 = 0xde;
const SPACE: usize = BLOCK - TAIL_BYTES;
/// `.` and `..`.
const OWN_ENTRIES_BYTES: usize = 24;
const TYPE_FILE: u8 = 1;
const TYPE_DIRECTORY: u8 = 2;
/// Where the index begins in the first block and in the others.
const ROOT_INDEX: usize = 32;
const NODE_INDEX: usize = 8;
const IN_ROOT: usize = (BLOCK - ROOT_INDEX - 8) / 8;
const IN_NODE: usize = (BLOCK - NODE_INDEX - 8) / 8;
/// Half MD4, as in the superblock.
pub(super) const HASH_VERSION: u8 = 1;
/// Levels below the root that Linux takes without the `large_dir` feature.
const LEVELS_MAX: usize = 1;

fn entry_bytes(name: &[u8]) -> usize {
    8 + name.len().next_multiple_of(4)
}

/// How many blocks a directory needs, found by adding its entries in order.
#[derive(Debug, Default)]
pub(super) struct Shape {
    bytes: usize,
    leaves: u32,
    in_leaf: usize,
}

impl Shape {
    pub(super) fn add(&mut self, entry: &Entry) {
        let bytes = entry_bytes(&entry.name);
        // Once past a block the sum no longer matters.
        self.bytes = self.bytes.saturating_add(bytes);
        if self.leaves == 0 || self.in_leaf + bytes > SPACE {
            self.leaves += 1;
            self.in_leaf = 0;
        }
        self.in_leaf += bytes;
    }

    /// Blocks, the index counted.
    pub(super) fn blocks(&self) -> Result<u32> {
        if self.bytes + OWN_ENTRIES_BYTES <= SPACE {
            return Ok(1);
        }
        let nodes = index_levels(self.leaves as usize);
        if nodes.len() > LEVELS_MAX {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "one directory would have {} blocks; ext4 indexes at most {}",
                    self.leaves,
                    IN_ROOT * IN_NODE
                ),
            ));
        }
        let nodes: usize = nodes.iter().sum();
        Ok(1 + self.leaves + u32::try_from(nodes).unwrap_or(u32::MAX))
    }
}

/// The blocks of each level of the index between the root and the leaves, top down.
fn index_levels(leaves: usize) -> Vec<usize> {
    let mut levels = Vec::new();
    let mut below = leaves;
    while below > IN_ROOT {
        below = below.div_ceil(IN_NODE);
        levels.insert(0, below);
    }
    levels
}

/// Makes a directory's blocks as its entries arrive.
#[derive(Debug)]
pub(super) struct DirectoryBlocks {
    blocks: u32,
    inode: u32,
    parent: u32,
    seed: Seed,
    leaf: Leaf,
    /// First hash and logical block of each finished leaf.
    leaves: Vec<(u32, u32)>,
    first_hash: u32,
    last_hash: Option<u32>,
}

/// A block of the directory and its place in it.
pub(super) type Placed = (u32, Vec<u8>);

impl DirectoryBlocks {
    /// A directory of `blocks`, as [`Shape::blocks`] found.
    pub(super) fn new(blocks: u32, inode: u32, parent: u32, seed: Seed) -> Self {
        let mut leaf = Leaf::new();
        if blocks == 1 {
            leaf.push(inode, TYPE_DIRECTORY, b".");
            leaf.push(parent, TYPE_DIRECTORY, b"..");
        }
        Self {
            blocks,
            inode,
            parent,
            seed: seed.of_inode(inode),
            leaf,
            leaves: Vec::new(),
            first_hash: 0,
            last_hash: None,
        }
    }

    /// Adds the next entry; gives back the leaf it no longer fitted into.
    pub(super) fn add(&mut self, hash: NameHash, name: &[u8], child: Child, inode: u32) -> Option<Placed> {
        let kind = if matches!(child, Child::File(_)) { TYPE_FILE } else { TYPE_DIRECTORY };
        let full = self.blocks > 1 && !self.leaf.is_empty() && !self.leaf.fits(name);
        let done = full.then(|| self.close_leaf());
        if self.leaf.is_empty() {
            // The lowest bit says that the leaf before ends with the same hash.
            self.first_hash = hash.major | u32::from(self.last_hash == Some(hash.major));
        }
        self.last_hash = Some(hash.major);
        self.leaf.push(inode, kind, name);
        done
    }

    fn close_leaf(&mut self) -> Placed {
        let nodes: usize = index_levels(self.leaf_count()).iter().sum();
        let logical = 1 + u32::try_from(nodes + self.leaves.len()).unwrap_or(u32::MAX);
        self.leaves.push((self.first_hash, logical));
        (logical, std::mem::replace(&mut self.leaf, Leaf::new()).close(self.seed))
    }

    /// Leaves among the blocks: what is left when the root and its nodes are taken off.
    fn leaf_count(&self) -> usize {
        let others = self.blocks as usize - 1;
        if others <= IN_ROOT { others } else { others - others.div_ceil(IN_NODE + 1) }
    }

    /// The blocks that are left: the last leaf and the index, or the only block.
    pub(super) fn finish(mut self) -> Vec<Placed> {
        if self.blocks == 1 {
            return vec![(0, self.leaf.close(self.seed))];
        }
        let mut done = vec![self.close_leaf()];
        let mut level = std::mem::take(&mut self.leaves);
        let levels = index_levels(level.len());
        let mut first = 1 + levels.iter().sum::<usize>();
        for count in levels.iter().rev() {
            first -= count;
            let nodes = level
                .chunks(IN_NODE)
                .zip(u32::try_from(first).unwrap_or(u32::MAX)..)
                .map(|(entries, logical)| {
                    let mut block = vec![0; BLOCK];
                    put16(&mut block, 4, BLOCK_BYTES);
                    index(&mut block, NODE_INDEX, IN_NODE, entries, self.seed);
                    done.push((logical, block));
                    (entries[0].0, logical)
                })
                .collect();
            level = nodes;
        }
        done.push((0, self.root(&level, levels.len())));
        done
    }

    fn root(&self, entries: &[(u32, u32)], levels: usize) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        encode_entry(&mut block, 0, self.inode, 12, TYPE_DIRECTORY, b".");
        encode_entry(&mut block, 12, self.parent, BLOCK - 12, TYPE_DIRECTORY, b"..");
        block[28] = HASH_VERSION;
        block[29] = 8;
        block[30] = u8::try_from(levels).unwrap_or(u8::MAX);
        index(&mut block, ROOT_INDEX, IN_ROOT, entries, self.seed);
        block
    }
}

/// Index entries behind their limit and count, which take the first one's hash, and their checksum.
fn index(block: &mut [u8], at: usize, limit: usize, entries: &[(u32, u32)], seed: Seed) {
    for (number, (hash, logical)) in entries.iter().enumerate() {
        put32(block, at + number * 8, *hash);
        put32(block, at + number * 8 + 4, *logical);
    }
    put16(block, at, limit as u64);
    put16(block, at + 2, entries.len() as u64);
    let tail = at + limit * 8;
    let checksum = seed.checksum(&[&block[..at + entries.len() * 8], &block[tail..tail + 4], &[0; 4]]);
    put32(block, tail + 4, checksum);
}

/// A block of entries, being filled.
#[derive(Debug)]
struct Leaf {
    block: Vec<u8>,
    used: usize,
    last: usize,
}

impl Leaf {
    fn new() -> Self {
        Self { block: vec![0; BLOCK], used: 0, last: 0 }
    }

    fn is_empty(&self) -> bool {
        self.used == 0
    }

    fn fits(&self, name: &[u8]) -> bool {
        self.used + entry_bytes(name) <= SPACE
    }

    fn push(&mut self, inode: u32, kind: u8, name: &[u8]) {
        encode_entry(&mut self.block, self.used, inode, entry_bytes(name), kind, name);
        self.last = self.used;
        self.used += entry_bytes(name);
    }

    /// The last entry takes the rest of the block.
    fn close(mut self, seed: Seed) -> Vec<u8> {
        put16(&mut self.block, self.last + 4, (SPACE - self.last) as u64);
        put16(&mut self.block, SPACE + 4, TAIL_BYTES as u64);
        self.block[SPACE + 7] = TAIL_TYPE;
        let checksum = seed.checksum(&[&self.block[..SPACE]]);
        put32(&mut self.block, SPACE + 8, checksum);
        self.block
    }
}

fn encode_entry(block: &mut [u8], at: usize, inode: u32, bytes: usize, kind: u8, name: &[u8]) {
    put32(block, at, inode);
    put16(block, at + 4, bytes as u64);
    block[at + 6] = u8::try_from(name.len()).unwrap_or(u8::MAX);
    block[at + 7] = kind;
    block[at + 8..at + 8 + name.len()].copy_from_slice(name);
}

/// The size of a directory of so many blocks.
pub(super) fn directory_bytes(blocks: u32) -> u64 {
    u64::from(blocks) * BLOCK_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leaves_are_counted_back_from_all_blocks() {
        for leaves in
            [2, 3, IN_ROOT, IN_ROOT + 1, IN_NODE, IN_NODE + 1, 2 * IN_NODE, 2 * IN_NODE + 1, 100_000]
        {
            let nodes: usize = index_levels(leaves).iter().sum();
            let blocks = u32::try_from(1 + nodes + leaves).unwrap();
            let directory = DirectoryBlocks::new(blocks, 2, 2, Seed::START);
            assert_eq!(directory.leaf_count(), leaves);
        }
    }
}
