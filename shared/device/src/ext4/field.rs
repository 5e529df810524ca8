//! Little-endian fields of a block. A value wider than its field is cut to the field, as the format splits wide numbers.

pub(super) fn put16(block: &mut [u8], at: usize, value: impl Into<u64>) {
    block[at..at + 2].copy_from_slice(&value.into().to_le_bytes()[..2]);
}

pub(super) fn put32(block: &mut [u8], at: usize, value: impl Into<u64>) {
    block[at..at + 4].copy_from_slice(&value.into().to_le_bytes()[..4]);
}

/// The low 16 bits of `value` at `low`, the next 16 at `high`.
pub(super) fn put16_split(block: &mut [u8], low: usize, high: usize, value: impl Into<u64>) {
    let value = value.into();
    put16(block, low, value);
    put16(block, high, value >> 16);
}

/// The low 32 bits of `value` at `low`, the next 32 at `high`.
pub(super) fn put32_split(block: &mut [u8], low: usize, high: usize, value: u64) {
    put32(block, low, value);
    put32(block, high, value >> 32);
}

pub(super) fn get16(block: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([block[at], block[at + 1]])
}

pub(super) fn get32(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

/// A number split as [`put32_split`] does.
pub(super) fn get64_split(block: &[u8], low: usize, high: usize) -> u64 {
    u64::from(get32(block, high)) << 32 | u64::from(get32(block, low))
}
