//! AES-256 in XTS mode over sectors of 512 bytes (IEEE 1619).
//!
//! Owns: the cipher. Eight sectors at a time, since the widest AES instructions take 64 blocks at once: all tweaks first, then
//! one call of the block cipher. Invariant: a sector's bytes depend on the key, its number and its content alone.

use std::fmt;

use aes::cipher::array::Array;
use aes::cipher::{Block, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use aes::{Aes256, Aes256Dec, Aes256Enc};
use zeroize::Zeroizing;

use crate::volume::SECTOR;

/// Two AES-256 keys: for the data, then for the tweaks.
pub const KEY_BYTES: usize = 64;
const BLOCKS_PER_SECTOR: usize = SECTOR / 16;
const SECTORS_AT_ONCE: usize = 8;
const BLOCKS_AT_ONCE: usize = SECTORS_AT_ONCE * BLOCKS_PER_SECTOR;
/// x¹²⁸ + x⁷ + x² + x + 1.
const POLYNOMIAL: u128 = 0x87;

/// A key, ready for use.
pub struct Xts {
    encrypt: Aes256Enc,
    decrypt: Aes256Dec,
    tweak: Aes256Enc,
}

impl fmt::Debug for Xts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Xts(********)")
    }
}

impl Xts {
    /// Prepares a key.
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        let (data, tweak) = key.split_at(KEY_BYTES / 2);
        let cipher = |half: &[u8]| {
            let half: Zeroizing<[u8; 32]> = Zeroizing::new(std::array::from_fn(|at| half[at]));
            Aes256Enc::new((&*half).into())
        };
        let data = cipher(data);
        Self { decrypt: Aes256Dec::from(&data), encrypt: data, tweak: cipher(tweak) }
    }

    /// Encrypts whole sectors in place, the first of which has the number `sector`.
    pub fn encrypt(&self, sector: u64, data: &mut [u8]) {
        self.each(sector, data, |blocks| self.encrypt.encrypt_blocks(blocks));
    }

    /// Decrypts whole sectors in place, the first of which has the number `sector`.
    pub fn decrypt(&self, sector: u64, data: &mut [u8]) {
        self.each(sector, data, |blocks| self.decrypt.decrypt_blocks(blocks));
    }

    fn each(&self, sector: u64, data: &mut [u8], cipher: impl Fn(&mut [Block<Aes256>])) {
        debug_assert!(
            data.len().is_multiple_of(SECTOR) || (data.len() < SECTOR && data.len().is_multiple_of(16)),
            "whole sectors, or a header of whole blocks"
        );
        let mut tweaks = [0u128; BLOCKS_AT_ONCE];
        for (chunk, first) in
            data.chunks_mut(SECTORS_AT_ONCE * SECTOR).zip((sector..).step_by(SECTORS_AT_ONCE))
        {
            self.tweaks(first, &mut tweaks);
            let (blocks, _) = Array::slice_as_chunks_mut(chunk);
            apply(blocks, &tweaks);
            cipher(blocks);
            apply(blocks, &tweaks);
        }
    }

    fn tweaks(&self, first: u64, tweaks: &mut [u128; BLOCKS_AT_ONCE]) {
        let mut starts: [Block<Aes256>; SECTORS_AT_ONCE] =
            std::array::from_fn(|n| u128::from(first.wrapping_add(n as u64)).to_le_bytes().into());
        self.tweak.encrypt_blocks(&mut starts);
        for (start, sector) in starts.into_iter().zip(tweaks.chunks_mut(BLOCKS_PER_SECTOR)) {
            let mut tweak = u128::from_le_bytes(start.into());
            for slot in sector {
                *slot = tweak;
                tweak = (tweak << 1) ^ ((tweak >> 127) * POLYNOMIAL);
            }
        }
    }
}

fn apply(blocks: &mut [Block<Aes256>], tweaks: &[u128; BLOCKS_AT_ONCE]) {
    for (block, tweak) in blocks.iter_mut().zip(tweaks) {
        let mixed = u128::from_le_bytes((*block).into()) ^ tweak;
        *block = mixed.to_le_bytes().into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    /// IEEE 1619-2007, annex B, vector 10: the digits of e and pi as keys, data unit 0xff, 512 bytes counting up.
    #[test]
    fn the_standards_vector_holds() {
        let key = hex(concat!(
            "2718281828459045235360287471352662497757247093699959574966967627",
            "3141592653589793238462643383279502884197169399375105820974944592"
        ));
        let xts = Xts::new(&key.try_into().unwrap());
        let plain: Vec<u8> = (0..=255).chain(0..=255).collect();
        let mut data = plain.clone();
        xts.encrypt(0xff, &mut data);
        assert_eq!(data[..32], hex("1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b"));
        assert_eq!(data[496..], hex("c4f36ffda9fcea70b9c6e693e148c151"));
        xts.decrypt(0xff, &mut data);
        assert_eq!(data, plain);
    }

    #[test]
    fn many_sectors_are_as_one_after_the_other() {
        let xts = Xts::new(&[0x5a; KEY_BYTES]);
        let mut together: Vec<u8> = (0u8..=250).cycle().take(SECTOR * 19).collect();
        let plain = together.clone();
        let mut single = plain.clone();
        xts.encrypt(1000, &mut together);
        for (sector, number) in single.chunks_mut(SECTOR).zip(1000..) {
            xts.encrypt(number, sector);
        }
        assert!(together == single);
        xts.decrypt(1000, &mut together);
        assert!(together == plain);
    }
}
