//! Checksums computed as bytes pass.
//!
//! Owns: the digests a copy needs and the combination of part checksums into the object's. Does not own: what is compared with
//! what, which is [`crate::copy`]'s. CRC64NVME costs about 0.1 CPU seconds per GiB, MD5 about 1.6, or 0.2 to 0.5
//! where streams share the lanes of the vector unit, so MD5 is only computed where somebody can check it.

mod declared;

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest as CrcDigest};
use ferry_md5::{Lanes, Turn};
use md5::{Digest as _, Md5};

pub use declared::{Algorithm, Checksum, Coverage, DeclaredChecksum, RunningChecksum};

/// Which digests to compute besides CRC64NVME, which is always computed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DigestSet {
    /// MD5, for ETags.
    pub md5: bool,
    /// One more, that the other side declares.
    pub other: Option<Algorithm>,
}

impl DigestSet {
    /// MD5.
    pub const MD5: Self = Self { md5: true, other: None };
}

/// Computes the asked-for digests over a stream of bytes.
pub struct Hasher {
    crc64_nvme: CrcDigest,
    other: Option<RunningChecksum>,
    md5: Option<Md5>,
    length_bytes: u64,
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hasher").field("length_bytes", &self.length_bytes).finish_non_exhaustive()
    }
}

/// What a [`Hasher`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digests {
    /// CRC-64/NVME.
    pub crc64_nvme: u64,
    /// MD5, if asked for.
    pub md5: Option<[u8; 16]>,
    /// The one more, if asked for.
    pub other: Option<Checksum>,
    /// How many bytes passed.
    pub length_bytes: u64,
}

impl Hasher {
    /// Starts with no bytes seen.
    pub fn new(set: DigestSet) -> Self {
        Self {
            crc64_nvme: CrcDigest::new(CrcAlgorithm::Crc64Nvme),
            md5: set.md5.then(Md5::new),
            other: set.other.map(RunningChecksum::new),
            length_bytes: 0,
        }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.crc64_nvme.update(bytes);
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        if let Some(other) = &mut self.other {
            other.update(bytes);
        }
        self.length_bytes += bytes.len() as u64;
    }

    /// The digests of everything seen so far.
    pub fn finish(&self) -> Digests {
        Digests {
            crc64_nvme: self.crc64_nvme.finalize(),
            md5: self.md5.clone().map(|md5| md5.finalize().into()),
            other: self.other.as_ref().map(RunningChecksum::finish),
            length_bytes: self.length_bytes,
        }
    }
}

/// Where the streams of this process are hashed together: they share one CPU, whoever they belong to.
static LANES: LazyLock<Arc<Lanes>> = LazyLock::new(Lanes::new);

/// The MD5 of a stream that goes on from what was seen before.
pub(crate) fn md5_stream(before: ferry_md5::Md5) -> ferry_md5::Stream {
    LANES.stream(before)
}

/// A [`Hasher`] of pieces that may be kept for a moment, so that MD5s of several streams are computed together.
#[derive(Debug)]
pub(crate) struct StreamHasher {
    others: Hasher,
    md5: Option<ferry_md5::Stream>,
}

impl StreamHasher {
    /// Starts with no bytes seen.
    pub(crate) fn new(set: DigestSet) -> Self {
        Self {
            others: Hasher::new(DigestSet { md5: false, ..set }),
            md5: set.md5.then(|| md5_stream(ferry_md5::Md5::new())),
        }
    }

    /// Takes the next bytes.
    pub(crate) fn push(&mut self, piece: &Bytes) -> Turn {
        self.others.update(piece);
        self.md5.as_mut().map_or(Turn::Keep, |md5| md5.push(piece))
    }

    /// The digests of everything seen.
    pub(crate) fn finish(self) -> Digests {
        Digests { md5: self.md5.map(|md5| md5.into_md5().finish()), ..self.others.finish() }
    }
}

/// All digests of a body in memory.
pub fn digest(bytes: &[u8], set: DigestSet) -> Digests {
    let mut hasher = Hasher::new(set);
    hasher.update(bytes);
    hasher.finish()
}

/// The CRC64NVME of two stretches laid end to end, from the checksum of each and the length of the second.
pub fn combine_crc64_nvme(first: u64, second: u64, second_length_bytes: u64) -> u64 {
    crc_fast::checksum_combine(CrcAlgorithm::Crc64Nvme, first, second, second_length_bytes)
}

/// The form `x-amz-checksum-crc64nvme` takes: base64 of the eight big-endian bytes.
pub fn crc64_to_base64(crc: u64) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(crc.to_be_bytes())
}

/// Reads what [`crc64_to_base64`] writes; `None` for anything else, a composite `…-N` value included.
pub fn crc64_from_base64(text: &str) -> Option<u64> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EVERYTHING: DigestSet = DigestSet { md5: true, other: Some(Algorithm::Crc32c) };

    #[test]
    fn the_published_check_values_come_out() {
        let digests = digest(b"123456789", EVERYTHING);
        assert_eq!(digests.crc64_nvme, 0xAE8B_1486_0A79_9888);
        assert_eq!(digests.other, Some(Checksum::of(Algorithm::Crc32c, b"123456789")));
        assert_eq!(crc64_to_base64(digests.crc64_nvme), "rosUhgp5mIg=");
        assert_eq!(crc64_from_base64("rosUhgp5mIg="), Some(digests.crc64_nvme));
        assert_eq!(crc64_from_base64("rosUhgp5mIg=-2"), None);
    }

    proptest! {
        #[test]
        fn parts_combine_to_the_checksum_of_the_whole(bytes in prop::collection::vec(any::<u8>(), 0..5000), cut in 0.0..1.0f64) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss,
                     reason = "a share of a short vector's length")]
            let cut = (bytes.len() as f64 * cut) as usize;
            let (first, second) = bytes.split_at(cut);
            let crc = |bytes| digest(bytes, DigestSet::default()).crc64_nvme;
            prop_assert_eq!(combine_crc64_nvme(crc(first), crc(second), second.len() as u64), crc(&bytes));
        }
    }
}
