//! An ext4 file system written in one pass, and read back, without mounting it.
//!
//! Owns: the on-disk format as far as an export needs it. Blocks of 4 KiB, extents, directories with hashed indexes, checksums on
//! all metadata, no journal, since nothing is ever changed. Does not own: what the files are called or where their bytes come from.
//!
//! Everything that describes the files stands before them, in one piece: descriptors, bitmaps, inode tables, directories, then
//! the files' bytes in the order of the plan. Sizes are known when the plan is sealed, so every position follows from sums, and no table of
//! positions is kept: each pass sums again. The metadata is written after the data and the superblock last, so an image that was not
//! finished is not a file system.
//!
//! Invariants: the same plan and identity give the same bytes; memory does not grow with the number of files.
//!
//! Source of the format: "ext4 Data Structures and Algorithms" of the Linux kernel's documentation.

mod allocation;
mod checksum;
mod directory;
mod extent;
mod field;
mod geometry;
mod hash;
mod inode;
mod layout;
mod reader;
mod superblock;
mod tree;
mod writer;

pub(crate) use geometry::Geometry;
pub(crate) use layout::content_blocks_bound;
pub use layout::{Identity, Layout, Size};
pub use reader::{Node, Reader};
pub use writer::{FileFacts, Writer};

/// The size of a block: the largest that every Linux mounts.
pub const BLOCK_BYTES: u64 = 4096;
const BLOCK: usize = 4096;
/// Blocks in a group: what one bitmap block describes.
const GROUP_BLOCKS: u64 = 32_768;
/// Bytes of an inode, with room for nanoseconds and years past 2038.
const INODE_BYTES: u64 = 256;
const INODE: usize = 256;
/// Inodes below this are the file system's own.
const FIRST_INODE: u32 = 11;
const ROOT_INODE: u32 = 2;
/// The largest file: logical blocks are numbered in 32 bits.
pub const FILE_MAX_BYTES: u64 = (u32::MAX as u64) * BLOCK_BYTES;
/// The largest volume: 2³² blocks. Past it the format goes on, but the tests do not.
pub const VOLUME_MAX_BYTES: u64 = (u32::MAX as u64) * BLOCK_BYTES;

/// Blocks that hold `bytes`.
pub(crate) fn blocks_of(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK_BYTES)
}
