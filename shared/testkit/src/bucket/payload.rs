//! The bytes of an object or a part, kept as they were received.
//!
//! Owns: the chunks, their total length and the two digests every store of ours knows of its objects. Invariant: chunks are
//! never joined nor copied, and none is empty.

use std::fmt;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use ferry_transfer::checksum::{DigestSet, Hasher, combine_crc64_nvme};

/// Received bytes and their digests.
#[derive(Clone)]
pub struct Payload {
    chunks: Vec<Bytes>,
    size_bytes: u64,
    md5: [u8; 16],
    crc64_nvme: u64,
}

/// Takes bytes as they arrive.
#[derive(Debug)]
pub struct PayloadBuilder {
    chunks: Vec<Bytes>,
    hasher: Hasher,
}

impl Default for PayloadBuilder {
    fn default() -> Self {
        Self { chunks: Vec::new(), hasher: Hasher::new(DigestSet::MD5) }
    }
}

impl PayloadBuilder {
    /// Takes the next chunk.
    pub fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.hasher.update(&chunk);
            self.chunks.push(chunk);
        }
    }

    /// Everything that was taken.
    pub fn finish(self) -> Payload {
        let digests = self.hasher.finish();
        Payload {
            chunks: self.chunks,
            size_bytes: digests.length_bytes,
            // Asked for in `default`.
            md5: digests.md5.unwrap_or_default(),
            crc64_nvme: digests.crc64_nvme,
        }
    }
}

impl Payload {
    /// Total length in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// MD5 of the bytes.
    pub fn md5(&self) -> [u8; 16] {
        self.md5
    }

    /// CRC64NVME of the bytes.
    pub fn crc64_nvme(&self) -> u64 {
        self.crc64_nvme
    }

    /// The bytes of one range, as slices of the chunks. What lies past the end is left out.
    pub fn slice(&self, range: Range<u64>) -> Vec<Bytes> {
        let mut slices = Vec::new();
        let mut offset = 0u64;
        for chunk in &self.chunks {
            let end = offset + chunk.len() as u64;
            let from = range.start.clamp(offset, end) - offset;
            let to = range.end.clamp(offset, end) - offset;
            if let (Ok(from), Ok(to)) = (usize::try_from(from), usize::try_from(to))
                && from < to
            {
                slices.push(chunk.slice(from..to));
            }
            offset = end;
            if offset >= range.end {
                break;
            }
        }
        slices
    }

    /// All bytes in one piece. For tests; copies unless there is one chunk.
    pub fn to_bytes(&self) -> Bytes {
        match self.chunks.as_slice() {
            [] => Bytes::new(),
            [only] => only.clone(),
            chunks => {
                let mut whole = BytesMut::new();
                for chunk in chunks {
                    whole.extend_from_slice(chunk);
                }
                whole.freeze()
            }
        }
    }

    /// Parts laid end to end. The MD5 is that of the parts' own MD5s and means nothing by itself: objects made of parts
    /// are named by the multipart rule.
    pub(super) fn concat(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut whole = PayloadBuilder::default().finish();
        for part in parts {
            whole.crc64_nvme = combine_crc64_nvme(whole.crc64_nvme, part.crc64_nvme, part.size_bytes);
            whole.size_bytes += part.size_bytes;
            whole.chunks.extend(part.chunks);
        }
        whole
    }
}

impl FromIterator<Bytes> for Payload {
    fn from_iter<I: IntoIterator<Item = Bytes>>(chunks: I) -> Self {
        let mut builder = PayloadBuilder::default();
        for chunk in chunks {
            builder.push(chunk);
        }
        builder.finish()
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        std::iter::once(bytes).collect()
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes in {} chunks)", self.size_bytes, self.chunks.len())
    }
}

#[cfg(test)]
mod tests {
    use ferry_transfer::checksum::digest;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_slice_of_chunks_is_the_slice_of_the_whole(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..8),
            from in 0..100u64,
            length in 0..100u64,
        ) {
            let whole: Vec<u8> = chunks.concat();
            let payload: Payload = chunks.into_iter().map(Bytes::from).collect();
            let clamp = |offset: u64| usize::try_from(offset).expect("small").min(whole.len());
            prop_assert_eq!(
                payload.slice(from..from + length).concat(),
                &whole[clamp(from)..clamp(from + length)]
            );
            prop_assert_eq!(payload.crc64_nvme(), digest(&whole, DigestSet::default()).crc64_nvme);
            prop_assert_eq!(payload.size_bytes(), whole.len() as u64);
        }
    }
}
