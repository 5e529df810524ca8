//! The CRC-32C of ext4's metadata.
//!
//! Owns: seeds and chaining. Unlike the usual CRC-32C, ext4 never inverts the register at the end, so that one checksum is the seed of the
//! next: of the file system, then of an inode, then of a block of that inode.

use crc_fast::{CrcAlgorithm, Digest};

/// A register to go on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seed(u32);

impl Seed {
    /// Where the superblock's own checksum begins.
    pub(super) const START: Self = Self(u32::MAX);

    /// The seed of everything in the file system with this id.
    pub(super) fn of_file_system(uuid: &[u8; 16]) -> Self {
        Self(Self::START.checksum(&[uuid]))
    }

    /// The seed of everything that belongs to one inode; generations are all zero.
    pub(super) fn of_inode(self, inode: u32) -> Self {
        Self(self.checksum(&[&inode.to_le_bytes(), &[0; 4]]))
    }

    /// The checksum of some bytes, one piece after the other.
    pub(super) fn checksum(self, pieces: &[&[u8]]) -> u32 {
        let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, u64::from(self.0));
        for piece in pieces {
            digest.update(piece);
        }
        (digest.get_state() & 0xffff_ffff) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_chain_and_the_register_is_not_inverted() {
        // CRC-32C of "123456789" is e3069283 after the final inversion (RFC 3720, B.4).
        assert_eq!(Seed::START.checksum(&[b"123456789"]), !0xe306_9283);
        let first = Seed(Seed::START.checksum(&[b"1234"]));
        assert_eq!(first.checksum(&[b"567", b"89"]), !0xe306_9283);
    }
}
