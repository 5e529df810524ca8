//! The superblock and the group descriptors.
//!
//! Owns: their fields and the features an export's file system has. Invariant: every feature is one that Linux 3.18 (2014) and
//! e2fsprogs 1.43 know, so that the medium opens years from now and on old machines.

use super::checksum::Seed;
use super::directory::HASH_VERSION;
use super::field::{put16, put16_split, put32, put32_split};
use super::geometry::{DESCRIPTOR, DESCRIPTOR_BYTES, Geometry};
use super::inode::EXTRA_BYTES;
use super::layout::Identity;
use super::{FIRST_INODE, GROUP_BLOCKS, INODE_BYTES};

pub(super) const SUPERBLOCK_BYTES: usize = 1024;
/// Where the first superblock is in block 0; copies begin their block.
pub(super) const SUPERBLOCK_AT: usize = 1024;
pub(super) const MAGIC: u16 = 0xef53;
pub(super) const MAGIC_AT: usize = 56;

/// `dir_index`.
const COMPAT: u32 = 0x20;
/// `filetype`, `extents`, `64bit`, `flex_bg`.
pub(super) const INCOMPAT: u32 = 0x2 | 0x40 | 0x80 | 0x200;
/// `sparse_super`, `large_file`, `huge_file`, `dir_nlink`, `extra_isize`, `metadata_csum`.
const RO_COMPAT: u32 = 0x1 | 0x2 | 0x8 | 0x20 | 0x40 | 0x400;
const CLEAN: u16 = 1;
const ON_ERRORS_CONTINUE: u16 = 1;
const DYNAMIC_REVISION: u32 = 1;
const LOG_BLOCK: u32 = 2;
/// Groups of 16; where the tables really stand is in the descriptors.
const LOG_GROUPS_PER_FLEX: u8 = 4;
const HASH_IS_UNSIGNED: u32 = 2;
const CRC32C: u8 = 1;
pub(super) const CHECKSUM_AT: usize = 1020;

/// What is left free, over the whole volume.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Free {
    pub(super) blocks: u64,
    pub(super) inodes: u32,
}

/// The superblock, as the copy in `group` has it.
pub(super) fn superblock(identity: &Identity, geometry: &Geometry, free: Free, group: u64) -> Vec<u8> {
    let mut raw = vec![0; SUPERBLOCK_BYTES];
    put32(&mut raw, 0, geometry.inodes());
    put32_split(&mut raw, 4, 336, geometry.blocks);
    put32_split(&mut raw, 12, 344, free.blocks);
    put32(&mut raw, 16, free.inodes);
    put32(&mut raw, 24, LOG_BLOCK);
    put32(&mut raw, 28, LOG_BLOCK);
    put32(&mut raw, 32, GROUP_BLOCKS);
    put32(&mut raw, 36, GROUP_BLOCKS);
    put32(&mut raw, 40, geometry.inodes_per_group);
    let created = identity.created_unix_secs.max(0).cast_unsigned();
    for at in [48, 64, 264] {
        put32(&mut raw, at, created);
    }
    put16(&mut raw, 54, u16::MAX); // never checked merely for having been mounted often
    put16(&mut raw, MAGIC_AT, MAGIC);
    put16(&mut raw, 58, CLEAN);
    put16(&mut raw, 60, ON_ERRORS_CONTINUE);
    put32(&mut raw, 76, DYNAMIC_REVISION);
    put32(&mut raw, 84, FIRST_INODE);
    put16(&mut raw, 88, INODE_BYTES);
    put16(&mut raw, 90, group);
    put32(&mut raw, 92, COMPAT);
    put32(&mut raw, 96, INCOMPAT);
    put32(&mut raw, 100, RO_COMPAT);
    raw[104..120].copy_from_slice(&identity.uuid);
    let label = identity.label.as_bytes();
    raw[120..120 + label.len()].copy_from_slice(label);
    for (word, at) in identity.hash_seed.iter().zip((236..).step_by(4)) {
        put32(&mut raw, at, *word);
    }
    raw[252] = HASH_VERSION;
    put16(&mut raw, 254, DESCRIPTOR_BYTES);
    put16(&mut raw, 348, EXTRA_BYTES);
    put16(&mut raw, 350, EXTRA_BYTES);
    put32(&mut raw, 352, HASH_IS_UNSIGNED);
    raw[372] = LOG_GROUPS_PER_FLEX;
    raw[373] = CRC32C;
    let checksum = Seed::START.checksum(&[&raw[..CHECKSUM_AT]]);
    put32(&mut raw, CHECKSUM_AT, checksum);
    raw
}

/// One group, as its descriptor tells it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Group {
    pub(super) block_bitmap: u64,
    pub(super) inode_bitmap: u64,
    pub(super) inode_table: u64,
    pub(super) free_blocks: u32,
    pub(super) free_inodes: u32,
    pub(super) directories: u32,
    /// Inodes at the end of the table that were never used.
    pub(super) unused_inodes: u32,
    /// `None` where the bitmap is not written since nothing but a copy of the superblock is in the group.
    pub(super) block_bitmap_checksum: Option<u32>,
    /// `None` where neither bitmap nor table are written since no inode is used.
    pub(super) inode_bitmap_checksum: Option<u32>,
}

const INODES_UNINITIALISED: u16 = 1;
const BLOCKS_UNINITIALISED: u16 = 2;
const TABLE_ZEROED: u16 = 4;

impl Group {
    pub(super) fn encode(&self, number: u32, seed: Seed) -> [u8; DESCRIPTOR] {
        let mut raw = [0; DESCRIPTOR];
        put32_split(&mut raw, 0, 32, self.block_bitmap);
        put32_split(&mut raw, 4, 36, self.inode_bitmap);
        put32_split(&mut raw, 8, 40, self.inode_table);
        put16_split(&mut raw, 12, 44, self.free_blocks);
        put16_split(&mut raw, 14, 46, self.free_inodes);
        put16_split(&mut raw, 16, 48, self.directories);
        let blocks = if self.block_bitmap_checksum.is_none() { BLOCKS_UNINITIALISED } else { 0 };
        let inodes = if self.inode_bitmap_checksum.is_none() { INODES_UNINITIALISED } else { TABLE_ZEROED };
        put16(&mut raw, 18, blocks | inodes);
        put16_split(&mut raw, 24, 56, self.block_bitmap_checksum.unwrap_or(0));
        put16_split(&mut raw, 26, 58, self.inode_bitmap_checksum.unwrap_or(0));
        put16_split(&mut raw, 28, 50, self.unused_inodes);
        let checksum = seed.checksum(&[&number.to_le_bytes(), &raw]);
        put16(&mut raw, 30, checksum);
        raw
    }
}
