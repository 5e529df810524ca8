//! The checksums that stores declare of their objects, beside CRC64NVME and the MD5 of an ETag.
//!
//! Owns: the algorithms, their values, and what of the object a value covers (AWS, "Checking object integrity"; Alibaba OSS,
//! `x-oss-hash-crc64ecma`). Does not own: which of them proves a reading, which is [`crate::copy`]'s. Invariant: a value has as many
//! bytes as its algorithm makes.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::{CrcAlgorithm, Digest as CrcDigest};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::etag::{hex, unhex};

/// How a checksum is computed. In the order of what it costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// CRC-64/XZ: `x-oss-hash-crc64ecma`.
    Crc64Xz,
    /// `x-amz-checksum-crc32c`.
    Crc32c,
    /// `x-amz-checksum-crc32`.
    Crc32,
    /// `x-amz-checksum-sha1`.
    Sha1,
    /// `x-amz-checksum-sha256`.
    Sha256,
}

impl Algorithm {
    /// Every algorithm, the cheapest first.
    pub const ALL: [Self; 5] = [Self::Crc64Xz, Self::Crc32c, Self::Crc32, Self::Sha1, Self::Sha256];

    /// Its name, as a message says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc64Xz => "CRC-64/XZ",
            Self::Crc32c => "CRC32C",
            Self::Crc32 => "CRC32",
            Self::Sha1 => "SHA-1",
            Self::Sha256 => "SHA-256",
        }
    }

    /// Length of a value in bytes.
    pub fn length_bytes(self) -> usize {
        match self {
            Self::Crc64Xz => 8,
            Self::Crc32c | Self::Crc32 => 4,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// Whether the checksum of a whole follows from those of its parts.
    pub fn combines(self) -> bool {
        self.crc().is_some()
    }

    fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Self::Crc64Xz => Some(CrcAlgorithm::Crc64Xz),
            Self::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Self::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Self::Sha1 | Self::Sha256 => None,
        }
    }
}

/// A value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Checksum {
    algorithm: Algorithm,
    /// Big-endian; nothing but zeros behind the algorithm's length.
    bytes: [u8; 32],
}

impl Checksum {
    /// From its bytes, big-endian; `None` where they are too many or too few.
    pub fn new(algorithm: Algorithm, value: &[u8]) -> Option<Self> {
        let mut bytes = [0; 32];
        (value.len() == algorithm.length_bytes()).then(|| bytes[..value.len()].copy_from_slice(value))?;
        Some(Self { algorithm, bytes })
    }

    /// Reads the base64 of an `x-amz-checksum-*` header.
    pub fn from_base64(algorithm: Algorithm, text: &str) -> Option<Self> {
        Self::new(algorithm, &STANDARD.decode(text).ok()?)
    }

    /// Reads what [`Checksum`] prints.
    pub fn from_hex(algorithm: Algorithm, digits: &str) -> Option<Self> {
        match algorithm {
            Algorithm::Crc64Xz => Self::new(algorithm, &unhex::<8>(digits)?),
            Algorithm::Crc32c | Algorithm::Crc32 => Self::new(algorithm, &unhex::<4>(digits)?),
            Algorithm::Sha1 => Self::new(algorithm, &unhex::<20>(digits)?),
            Algorithm::Sha256 => Self::new(algorithm, &unhex::<32>(digits)?),
        }
    }

    /// Of these bytes.
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut running = RunningChecksum::new(algorithm);
        running.update(bytes);
        running.finish()
    }

    /// How it was computed.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The value, big-endian.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.length_bytes()]
    }

    /// As an `x-amz-checksum-*` header has it.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.bytes())
    }

    /// Of the bytes of this one with those of another behind them, of which there are so many. `None` where that does not follow.
    pub fn followed_by(&self, second: &Self, second_length_bytes: u64) -> Option<Self> {
        let crc = self.algorithm.crc().filter(|_| self.algorithm == second.algorithm)?;
        let whole = crc_fast::checksum_combine(crc, self.number(), second.number(), second_length_bytes);
        Some(Self::of_number(self.algorithm, whole))
    }

    /// Of an object in parts, over the checksums of its parts (AWS, "Composite and full object checksum types").
    pub fn composite<'a>(algorithm: Algorithm, parts: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut running = RunningChecksum::new(algorithm);
        for part in parts {
            running.update(part.bytes());
        }
        running.finish()
    }

    fn number(&self) -> u64 {
        self.bytes().iter().fold(0, |number, byte| (number << 8) | u64::from(*byte))
    }

    fn of_number(algorithm: Algorithm, number: u64) -> Self {
        let mut bytes = [0; 32];
        let length = algorithm.length_bytes();
        bytes[..length].copy_from_slice(&number.to_be_bytes()[8 - length..]);
        Self { algorithm, bytes }
    }
}

/// Hexadecimal.
impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(self.bytes()))
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({self})", self.algorithm)
    }
}

/// A checksum of bytes that come one after another.
#[derive(Clone)]
pub struct RunningChecksum {
    algorithm: Algorithm,
    state: State,
}

#[derive(Clone)]
enum State {
    Crc(CrcDigest),
    Sha1(Sha1),
    Sha256(Sha256),
}

impl RunningChecksum {
    /// Of no bytes yet.
    pub fn new(algorithm: Algorithm) -> Self {
        let state = match (algorithm.crc(), algorithm) {
            (Some(crc), _) => State::Crc(CrcDigest::new(crc)),
            (None, Algorithm::Sha1) => State::Sha1(Sha1::new()),
            (None, _) => State::Sha256(Sha256::new()),
        };
        Self { algorithm, state }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Crc(crc) => crc.update(bytes),
            State::Sha1(sha) => sha.update(bytes),
            State::Sha256(sha) => sha.update(bytes),
        }
    }

    /// Of everything seen so far.
    pub fn finish(&self) -> Checksum {
        let mut bytes = [0; 32];
        match &self.state {
            State::Crc(crc) => return Checksum::of_number(self.algorithm, crc.finalize()),
            State::Sha1(sha) => bytes[..20].copy_from_slice(&sha.clone().finalize()),
            State::Sha256(sha) => bytes.copy_from_slice(&sha.clone().finalize()),
        }
        Checksum { algorithm: self.algorithm, bytes }
    }
}

impl fmt::Debug for RunningChecksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RunningChecksum").field(&self.algorithm).finish()
    }
}

/// What of an object a declared checksum is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coverage {
    /// All its bytes (`FULL_OBJECT`).
    Whole,
    /// The checksums of so many parts (`COMPOSITE`).
    Parts(u32),
}

/// A checksum that a store declared of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeclaredChecksum {
    /// The value.
    pub checksum: Checksum,
    /// What it is over.
    pub coverage: Coverage,
}

impl DeclaredChecksum {
    /// Reads an `x-amz-checksum-*` header: base64, with a dash and the number of parts where it is over those. `checksum_type` is
    /// `x-amz-checksum-type`, which older objects do not have.
    pub fn from_header(algorithm: Algorithm, value: &str, checksum_type: Option<&str>) -> Option<Self> {
        let says_composite = checksum_type.is_some_and(|word| word.eq_ignore_ascii_case("COMPOSITE"));
        let (value, coverage) = match value.split_once('-') {
            Some((value, parts)) => (value, Coverage::Parts(parts.parse().ok()?)),
            None if says_composite => return None,
            None => (value, Coverage::Whole),
        };
        Some(Self { checksum: Checksum::from_base64(algorithm, value)?, coverage })
    }

    /// As [`DeclaredChecksum::from_header`] reads it.
    pub fn to_header(&self) -> String {
        match self.coverage {
            Coverage::Whole => self.checksum.to_base64(),
            Coverage::Parts(parts) => format!("{}-{parts}", self.checksum.to_base64()),
        }
    }

    /// The value, where it is over all bytes.
    pub fn of_whole(&self) -> Option<Checksum> {
        (self.coverage == Coverage::Whole).then_some(self.checksum)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_published_check_values_come_out() {
        for (algorithm, expected) in [
            (Algorithm::Crc64Xz, "995dc9bbdf1939fa"),
            (Algorithm::Crc32c, "e3069283"),
            (Algorithm::Crc32, "cbf43926"),
            (Algorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
            (Algorithm::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
        ] {
            let computed = Checksum::of(algorithm, b"123456789");
            assert_eq!(computed.to_string(), expected, "{algorithm:?}");
            assert_eq!(Checksum::from_hex(algorithm, expected), Some(computed));
            assert_eq!(Checksum::from_hex(algorithm, &expected[2..]), None, "too short");
            assert_eq!(Checksum::from_base64(algorithm, &computed.to_base64()), Some(computed));
        }
    }

    #[test]
    fn a_header_says_what_its_checksum_is_over() {
        let read = |value, kind| DeclaredChecksum::from_header(Algorithm::Crc32c, value, kind);
        let whole = read("4waSgw==", Some("FULL_OBJECT")).expect("whole");
        assert_eq!(whole, read("4waSgw==", None).expect("older"));
        assert_eq!((whole.coverage, whole.checksum.to_string().as_str()), (Coverage::Whole, "e3069283"));
        let composite = read("4waSgw==-3", Some("COMPOSITE")).expect("composite");
        assert_eq!((composite.coverage, composite.of_whole()), (Coverage::Parts(3), None));
        assert_eq!(composite.to_header(), "4waSgw==-3");
        for wrong in ["4waSgw==-x", "4waSg", "", "AAAA"] {
            assert_eq!(read(wrong, None), None, "{wrong}");
        }
        assert_eq!(read("4waSgw==", Some("COMPOSITE")), None, "over nobody knows how many parts");
    }

    #[test]
    fn a_composite_is_over_the_values_of_the_parts() {
        let parts = [b"hello ".as_slice(), b"world"].map(|part| Checksum::of(Algorithm::Sha256, part));
        let laid_out: Vec<u8> = parts.iter().flat_map(|part| part.bytes().to_vec()).collect();
        let expected = Checksum::of(Algorithm::Sha256, &laid_out);
        assert_eq!(Checksum::composite(Algorithm::Sha256, &parts), expected);
    }

    proptest! {
        #[test]
        fn parts_combine_to_the_checksum_of_the_whole(bytes in prop::collection::vec(any::<u8>(), 0..3000), cut: prop::sample::Index) {
            let (first, second) = bytes.split_at(cut.index(bytes.len() + 1));
            for algorithm in Algorithm::ALL {
                let of = |bytes| Checksum::of(algorithm, bytes);
                let whole = of(first).followed_by(&of(second), second.len() as u64);
                prop_assert_eq!(whole, algorithm.combines().then(|| of(&bytes)));
            }
        }
    }
}
