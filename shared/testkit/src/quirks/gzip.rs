//! The gzip format (RFC 1952), stored blocks only (RFC 1951, section 3.2.4): enough to stand for a proxy that compresses.

use bytes::{BufMut as _, Bytes, BytesMut};
use crc_fast::CrcAlgorithm;

/// Most bytes of a stored block.
const BLOCK_BYTES_MAX: usize = 65_535;

/// One gzip member.
pub(super) fn member(bytes: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(bytes.len() + 64);
    // Deflate, no flags, no time, no extra flags, unknown system.
    out.put_slice(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
    let mut blocks = bytes.chunks(BLOCK_BYTES_MAX).peekable();
    if blocks.peek().is_none() {
        out.put_slice(&[1, 0, 0, 255, 255]);
    }
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.put_u8(u8::from(blocks.peek().is_none()));
        out.put_u16_le(length);
        out.put_u16_le(!length);
        out.put_slice(block);
    }
    let crc = crc_fast::checksum(CrcAlgorithm::Crc32IsoHdlc, bytes);
    out.put_u32_le(u32::try_from(crc).unwrap_or_default());
    // The length modulo 2^32, as the format has it.
    out.put_u32_le(u32::try_from(bytes.len() % (1 << 32)).unwrap_or_default());
    out.freeze()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_member_is_what_gzip_writes_with_stored_blocks() {
        let expected = [
            0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1, 5, 0, 0xfa, 0xff, b'h', b'e', b'l', b'l', b'o', 0x86,
            0xa6, 0x10, 0x36, 5, 0, 0, 0,
        ];
        assert_eq!(super::member(b"hello")[..], expected);
    }
}
