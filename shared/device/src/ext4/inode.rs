//! The record of a file or directory.
//!
//! Owns: its 256 bytes and their checksum. Files are readable by everyone and changed by nobody; owner and group are root.

use super::checksum::Seed;
use super::extent::Root;
use super::field::{put16, put16_split, put32, put32_split};
use super::{BLOCK_BYTES, INODE};

const S_IFREG: u16 = 0x8000;
const S_IFDIR: u16 = 0x4000;
const FLAG_EXTENTS: u32 = 0x0008_0000;
const FLAG_INDEXED: u32 = 0x1000;
/// Bytes of the fields behind the first 128.
pub(super) const EXTRA_BYTES: u16 = 32;
/// A directory with more subdirectories than this has the count 1, for "many".
const LINKS_MAX: u32 = 64_999;
const CHECKSUM_LOW: usize = 124;
const CHECKSUM_HIGH: usize = 130;
/// The last second that 34 bits hold, in the year 2446, and the first, in 1901.
const LAST_SECOND: i64 = 0x3_7fff_ffff;
const FIRST_SECOND: i64 = -0x8000_0000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory { subdirectories: u32, is_indexed: bool },
}

#[derive(Debug, Clone)]
pub(super) struct Inode {
    pub(super) kind: Kind,
    pub(super) size_bytes: u64,
    /// Blocks of the content and of the extent tree.
    pub(super) blocks: u64,
    pub(super) modified_unix_secs: i64,
    pub(super) root: Root,
}

impl Inode {
    pub(super) fn encode(&self, seed: Seed) -> [u8; 256] {
        let mut raw = [0; INODE];
        let (mode, links, flags) = match self.kind {
            Kind::File => (S_IFREG | 0o444, 1, FLAG_EXTENTS),
            Kind::Directory { subdirectories, is_indexed } => {
                let links = 2 + subdirectories;
                let links = if links > LINKS_MAX { 1 } else { links };
                (S_IFDIR | 0o755, links, FLAG_EXTENTS | if is_indexed { FLAG_INDEXED } else { 0 })
            }
        };
        put16(&mut raw, 0, mode);
        put32_split(&mut raw, 4, 108, self.size_bytes);
        put16(&mut raw, 26, links);
        let sectors = self.blocks * (BLOCK_BYTES / 512);
        put32(&mut raw, 28, sectors);
        put16(&mut raw, 116, sectors >> 32);
        put32(&mut raw, 32, flags);
        raw[40..100].copy_from_slice(&self.root);
        put16(&mut raw, 128, EXTRA_BYTES);
        let (seconds, epoch) = time_fields(self.modified_unix_secs);
        for (at, extra) in [(8, 140), (12, 132), (16, 136), (144, 148)] {
            put32(&mut raw, at, seconds);
            put32(&mut raw, extra, epoch);
        }
        let checksum = seed.checksum(&[&raw]);
        put16_split(&mut raw, CHECKSUM_LOW, CHECKSUM_HIGH, checksum);
        raw
    }
}

/// Seconds in 34 bits: the low 32 as a signed number, and how many times 2³² to add.
fn time_fields(unix_secs: i64) -> (u32, u32) {
    let clamped = unix_secs.clamp(FIRST_SECOND, LAST_SECOND);
    let low = (clamped.cast_unsigned() & 0xffff_ffff) as u32;
    let epoch = (clamped - i64::from(low.cast_signed())) >> 32;
    (low, (epoch.cast_unsigned() & 3) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_from_1901_to_2446() {
        for (seconds, fields) in [
            (0, (0, 0)),
            (-1, (u32::MAX, 0)),
            (0x7fff_ffff, (0x7fff_ffff, 0)),
            (0x8000_0000, (0x8000_0000, 1)),
            (0x1_0000_0000, (0, 1)),
            (LAST_SECOND, (0x7fff_ffff, 3)),
            (i64::MAX, (0x7fff_ffff, 3)),
            (i64::MIN, (0x8000_0000, 0)),
        ] {
            assert_eq!(time_fields(seconds), fields, "{seconds}");
        }
    }
}
