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
