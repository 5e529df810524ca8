//! How a volume is divided: groups, tables and the copies of the superblock.
//!
//! Owns: the numbers that follow from the volume's size and the number of inodes. Does not own: what is in the blocks. Invariant:
//! groups are full but for the last, which is at least large enough to be one.

use super::allocation::Gap;
use super::{BLOCK_BYTES, FIRST_INODE, GROUP_BLOCKS, INODE_BYTES};
use crate::error::{Error, ErrorKind, Result};

/// Bytes of a group descriptor with 64-bit block numbers.
pub(super) const DESCRIPTOR_BYTES: u64 = 64;
pub(super) const DESCRIPTOR: usize = 64;
/// Inodes whose table fills whole blocks and whose bitmap whole bytes.
const INODE_STEP: u64 = BLOCK_BYTES / INODE_BYTES;
/// Blocks a last group must have besides its copy of the superblock.
const LAST_GROUP_BLOCKS: u64 = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) blocks: u64,
    pub(super) groups: u64,
    pub(super) inodes_per_group: u32,
    pub(super) table_blocks: u64,
    pub(super) descriptor_blocks: u64,
}

impl Geometry {
    /// Divides a volume of `blocks` that must have `inodes`.
    pub(crate) fn of(blocks: u64, inodes: u64) -> Result<Self> {
        let mut blocks = blocks;
        let mut geometry = Self::divide(blocks, inodes)?;
        let last = blocks - (geometry.groups - 1) * GROUP_BLOCKS;
        if geometry.groups > 1 && last < 1 + geometry.descriptor_blocks + LAST_GROUP_BLOCKS {
            blocks -= last;
            geometry = Self::divide(blocks, inodes)?;
        }
        Ok(geometry)
    }

    /// The smallest volume with `inodes` and `content_blocks` for directories and files.
    pub(super) fn fitting(content_blocks: u64, inodes: u64) -> Result<Self> {
        let mut blocks = content_blocks + LAST_GROUP_BLOCKS;
        // Inodes may ask for groups that the contents do not; a single one is as small as its contents.
        let groups = (inodes + u64::from(FIRST_INODE)).div_ceil(8 * BLOCK_BYTES);
        if groups > 1 {
            blocks = blocks.max(groups * GROUP_BLOCKS);
        }
        loop {
            let geometry = Self::of(blocks, inodes)?;
            let needed = content_blocks + geometry.overhead_blocks();
            if geometry.blocks >= needed {
                return Ok(geometry);
            }
            // Past the small group that was cut off, or it would be cut off again.
            blocks = blocks.max(needed) + LAST_GROUP_BLOCKS;
        }
    }

    fn divide(blocks: u64, inodes: u64) -> Result<Self> {
        let groups = blocks.div_ceil(GROUP_BLOCKS).max(1);
        let per_group = (inodes + u64::from(FIRST_INODE)).div_ceil(groups).next_multiple_of(INODE_STEP);
        let inodes_per_group = u32::try_from(per_group)
            .ok()
            .filter(|n| u64::from(*n) <= 8 * BLOCK_BYTES)
            .filter(|n| u64::from(*n) * groups < u64::from(u32::MAX))
            .ok_or_else(|| {
                Error::new(ErrorKind::NoSpace, format!("{blocks} blocks cannot hold {inodes} files"))
            })?;
        Ok(Self {
            blocks,
            groups,
            inodes_per_group,
            table_blocks: per_group / INODE_STEP,
            descriptor_blocks: (groups * DESCRIPTOR_BYTES).div_ceil(BLOCK_BYTES),
        })
    }

    pub(super) fn inodes(&self) -> u64 {
        self.groups * u64::from(self.inodes_per_group)
    }

    /// Blocks of the group; the last may have fewer.
    pub(super) fn group_blocks(&self, group: u64) -> u64 {
        (self.blocks - group * GROUP_BLOCKS).min(GROUP_BLOCKS)
    }

    /// The copies of the superblock and the descriptors: in groups 0, 1 and the powers of 3, 5 and 7, where every repair tool looks.
    pub(super) fn copies(&self) -> Vec<Gap> {
        (0..self.groups)
            .filter(|group| has_copy(*group))
            .map(|group| {
                let start = group * GROUP_BLOCKS;
                Gap { start, end: start + 1 + self.descriptor_blocks }
            })
            .collect()
    }

    /// How many copies there are.
    pub(crate) fn copy_count(&self) -> u64 {
        (0..self.groups).filter(|group| has_copy(*group)).count() as u64
    }

    /// An upper bound on the blocks that hold neither directories nor files.
    pub(super) fn overhead_blocks(&self) -> u64 {
        self.overhead_with(self.table_blocks, self.copy_count())
    }

    /// The same if there were so many inodes; `copies` is how many copies of the superblock there are.
    pub(crate) fn overhead_blocks_for(&self, inodes: u64, copies: u64) -> u64 {
        let per_group = (inodes + u64::from(FIRST_INODE)).div_ceil(self.groups);
        self.overhead_with(per_group.div_ceil(INODE_STEP), copies)
    }

    fn overhead_with(&self, table_blocks: u64, copies: u64) -> u64 {
        // A table stands in one piece, so a copy in its way may cost up to a table's length.
        copies * (1 + self.descriptor_blocks + table_blocks) + self.groups * (2 + table_blocks)
    }
}

fn has_copy(group: u64) -> bool {
    let power_of = |base: u64| {
        let mut power = base;
        while power < group {
            power *= base;
        }
        power == group
    };
    group <= 1 || power_of(3) || power_of(5) || power_of(7)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn copies_are_where_repair_tools_look() {
        let with: Vec<u64> = (0..100).filter(|group| has_copy(*group)).collect();
        assert_eq!(with, [0, 1, 3, 5, 7, 9, 25, 27, 49, 81]);
    }

    #[test]
    fn a_small_volume_is_as_small_as_its_contents_and_a_full_group_has_a_second() {
        assert!(Geometry::fitting(100, 20).unwrap().blocks < 400);
        for inodes in 32_700..32_800 {
            let geometry = Geometry::fitting(1000, inodes).unwrap();
            assert!(geometry.inodes() >= inodes + u64::from(FIRST_INODE) - 1, "{inodes}");
        }
    }

    proptest! {
        #[test]
        fn a_fitting_volume_has_room_for_what_it_was_made_for(
            content in 1u64..50_000_000, inodes in 1u64..5_000_000,
        ) {
            let geometry = Geometry::fitting(content, inodes).unwrap();
            prop_assert!(geometry.blocks >= content + geometry.overhead_blocks());
            prop_assert!(geometry.inodes() >= inodes + u64::from(FIRST_INODE) - 1);
            prop_assert!(u64::from(geometry.inodes_per_group) <= 8 * BLOCK_BYTES);
            let last = geometry.group_blocks(geometry.groups - 1);
            prop_assert!(geometry.groups == 1 || last > geometry.descriptor_blocks + LAST_GROUP_BLOCKS);
            prop_assert_eq!(Geometry::of(geometry.blocks, inodes).unwrap(), geometry);
        }
    }
}
