//! The encrypted container between a file system and its medium.
//!
//! Owns: the formats ([`Format`]), making and opening them, and the encrypted volume ([`Container`]). Does not own: what is inside. Invariants:
//! a password or key is never in a message, a debug output or a file outside the format's own header; opening needs nothing but the
//! medium and the password; keys are wiped when they are dropped.
//!
//! VeraCrypt's format is the default, since it opens on Windows, macOS and Linux. TrueCrypt's is what the original service wrote; its 1,000 to
//! 2,000 rounds are weak today and current VeraCrypt no longer opens it. XTS hides, it does not authenticate: that the bytes are
//! the right ones is told by the digests inside, never by the container.

mod luks2;
mod truecrypt;
mod xts;

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind, Result};
use crate::volume::{SECTOR_BYTES, Volume};
pub use xts::{KEY_BYTES, Xts};

/// How the medium is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Not at all.
    None,
    /// VeraCrypt, 500,000 rounds.
    VeraCrypt(VeraCryptPrf),
    /// TrueCrypt 7, 1,000 or 2,000 rounds.
    TrueCrypt(TrueCryptPrf),
    /// LUKS2, which Linux opens by itself.
    Luks2(Luks2Kdf),
}

impl Default for Format {
    fn default() -> Self {
        Self::VeraCrypt(VeraCryptPrf::Sha512)
    }
}

/// The hash of VeraCrypt's PBKDF2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VeraCryptPrf {
    /// VeraCrypt's own default.
    Sha512,
    /// Quicker to check with programs that have no kernel to help them.
    Sha256,
}

/// The hash of TrueCrypt's PBKDF2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrueCryptPrf {
    /// TrueCrypt's own default, 2,000 rounds.
    Ripemd160,
    /// 1,000 rounds.
    Sha512,
}

/// How a LUKS2 key slot is derived from the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Luks2Kdf {
    /// 64 MiB, three passes, four lanes: the second recommendation of RFC 9106, since the first takes 2 GiB.
    Argon2id,
    /// PBKDF2 with SHA-256, 600,000 rounds (OWASP, 2023).
    Pbkdf2,
}

impl Format {
    /// Bytes of the medium that are not the file system's.
    pub fn overhead_bytes(self) -> u64 {
        match self {
            Self::None => 0,
            Self::VeraCrypt(_) | Self::TrueCrypt(_) => truecrypt::OVERHEAD_BYTES,
            Self::Luks2(_) => luks2::DATA_OFFSET,
        }
    }
}

/// A password: bytes that are wiped and never shown.
#[derive(Clone)]
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// Takes the bytes as they are.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(********)")
    }
}

/// Where keys and salts come from.
pub trait Entropy {
    /// Fills the buffer with bytes nobody can guess.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<()>;
}

/// The operating system's generator.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<()> {
        getrandom::fill(buffer)
            .map_err(|e| Error::new(ErrorKind::Io, "the system gives no random bytes").caused_by(e))
    }
}

/// Where the data of a container is and how it is encrypted.
#[derive(Debug)]
struct Opened {
    format: Format,
    data_offset: u64,
    data_bytes: u64,
    /// The number that the data's first sector has for the cipher.
    first_sector: u64,
    key: Zeroizing<[u8; KEY_BYTES]>,
}

/// The inside of a container: a volume that encrypts what is written and decrypts what is read.
#[derive(Debug)]
pub struct Container<V> {
    volume: V,
    format: Format,
    data_offset: u64,
    data_bytes: u64,
    first_sector: u64,
    cipher: Option<Xts>,
}

impl<V: Volume> Container<V> {
    /// Makes a container over the whole of `volume` and opens it. What was in the header areas is lost.
    ///
    /// # Errors
    /// `NoSpace` when the volume is too small for the format, `InvalidInput` when the password is too long for it.
    pub fn create(volume: V, format: Format, password: &Password, entropy: &mut dyn Entropy) -> Result<Self> {
        let size = volume.size_bytes() / SECTOR_BYTES * SECTOR_BYTES;
        if size <= format.overhead_bytes() {
            return Err(Error::new(
                ErrorKind::NoSpace,
                format!("a medium of {size} bytes is too small for its container's header"),
            ));
        }
        let opened = match format {
            Format::None => return Ok(Self::plain(volume)),
            Format::VeraCrypt(_) | Format::TrueCrypt(_) => {
                truecrypt::create(&volume, format, password, entropy)?
            }
            Format::Luks2(kdf) => luks2::create(&volume, kdf, password, entropy)?,
        };
        Ok(Self::over(volume, &opened))
    }

    /// Opens a container of whichever format it is.
    ///
    /// # Errors
    /// `WrongPassword` when no header opens with the password, which is also all that can be said of a medium without one.
    pub fn open(volume: V, password: &Password) -> Result<Self> {
        let opened = if luks2::is_present(&volume)? {
            luks2::open(&volume, password)?
        } else {
            truecrypt::open(&volume, password)?
        };
        Ok(Self::over(volume, &opened))
    }

    /// No container: the volume as it is.
    pub fn plain(volume: V) -> Self {
        let data_bytes = volume.size_bytes();
        Self { volume, format: Format::None, data_offset: 0, data_bytes, first_sector: 0, cipher: None }
    }

    fn over(volume: V, opened: &Opened) -> Self {
        Self {
            volume,
            format: opened.format,
            data_offset: opened.data_offset,
            data_bytes: opened.data_bytes,
            first_sector: opened.first_sector,
            cipher: Some(Xts::new(&opened.key)),
        }
    }

    /// The format that was made or found.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The medium below.
    pub fn into_inner(self) -> V {
        self.volume
    }

    fn place(&self, offset: u64, length: usize) -> Result<u64> {
        let length = length as u64;
        if !offset.is_multiple_of(SECTOR_BYTES) || !length.is_multiple_of(SECTOR_BYTES) {
            return Err(Error::invalid(format!("{length} bytes at {offset} are not whole sectors")));
        }
        if offset.checked_add(length).is_none_or(|end| end > self.data_bytes) {
            return Err(Error::new(
                ErrorKind::NoSpace,
                format!("the container ends at byte {}", self.data_bytes),
            ));
        }
        Ok(self.data_offset + offset)
    }
}

impl<V: Volume> Volume for Container<V> {
    fn size_bytes(&self) -> u64 {
        self.data_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let place = self.place(offset, buffer.len())?;
        self.volume.read_at(place, buffer)?;
        if let Some(cipher) = &self.cipher {
            cipher.decrypt(self.first_sector + offset / SECTOR_BYTES, buffer);
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &mut [u8]) -> Result<()> {
        let place = self.place(offset, data.len())?;
        if let Some(cipher) = &self.cipher {
            cipher.encrypt(self.first_sector + offset / SECTOR_BYTES, data);
        }
        self.volume.write_at(place, data)
    }

    fn sync(&self) -> Result<()> {
        self.volume.sync()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A medium in memory.
    #[derive(Debug)]
    pub(super) struct Memory(pub(super) Mutex<Vec<u8>>);

    impl Memory {
        pub(super) fn of(bytes: usize) -> Self {
            Self(Mutex::new(vec![0; bytes]))
        }
    }

    impl Volume for Memory {
        fn size_bytes(&self) -> u64 {
            self.0.lock().unwrap().len() as u64
        }

        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
            let at = usize::try_from(offset).unwrap();
            buffer.copy_from_slice(&self.0.lock().unwrap()[at..at + buffer.len()]);
            Ok(())
        }

        fn write_at(&self, offset: u64, data: &mut [u8]) -> Result<()> {
            let at = usize::try_from(offset).unwrap();
            self.0.lock().unwrap()[at..at + data.len()].copy_from_slice(data);
            Ok(())
        }

        fn sync(&self) -> Result<()> {
            Ok(())
        }
    }

    /// Bytes that are the same in each run.
    struct Counting(u8);

    impl Entropy for Counting {
        fn fill(&mut self, buffer: &mut [u8]) -> Result<()> {
            for byte in buffer {
                self.0 = self.0.wrapping_mul(5).wrapping_add(3);
                *byte = self.0;
            }
            Ok(())
        }
    }

    const FORMATS: [Format; 4] = [
        Format::VeraCrypt(VeraCryptPrf::Sha256),
        Format::TrueCrypt(TrueCryptPrf::Ripemd160),
        Format::TrueCrypt(TrueCryptPrf::Sha512),
        Format::Luks2(Luks2Kdf::Argon2id),
    ];

    #[test]
    fn what_was_written_is_read_back_with_the_password_only() {
        let password = Password::new(*b"correct horse");
        for format in FORMATS {
            let overhead = usize::try_from(format.overhead_bytes()).unwrap();
            let memory = Memory::of(overhead + 65_536);
            let container = Container::create(memory, format, &password, &mut Counting(1)).unwrap();
            assert_eq!(container.size_bytes(), 65_536, "{format:?}");
            let plain: Vec<u8> = (0..8192u32).map(|n| (n % 251) as u8).collect();
            container.write_at(5120, &mut plain.clone()).unwrap();
            let memory = container.into_inner();
            assert!(!memory.0.lock().unwrap().windows(64).any(|w| w == &plain[..64]), "in clear");
            let container = Container::open(memory, &password).unwrap();
            assert_eq!(container.format(), format);
            let mut read = vec![0; 8192];
            container.read_at(5120, &mut read).unwrap();
            assert_eq!(read, plain);
            let mut part = vec![0; 1024];
            container.read_at(5120 + 512, &mut part).unwrap();
            assert_eq!(part, plain[512..1536], "sectors are independent");
        }
    }

    #[test]
    fn another_password_opens_nothing() {
        for format in [Format::TrueCrypt(TrueCryptPrf::Ripemd160), Format::Luks2(Luks2Kdf::Argon2id)] {
            let overhead = usize::try_from(format.overhead_bytes()).unwrap();
            let memory = Memory::of(overhead + 4096);
            let right = Password::new(*b"right");
            let memory = Container::create(memory, format, &right, &mut Counting(1)).unwrap().into_inner();
            let error = Container::open(memory, &Password::new(*b"wrong")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WrongPassword);
        }
    }

    #[test]
    fn a_lost_header_is_replaced_by_its_copy() {
        for (format, damage) in [
            (Format::TrueCrypt(TrueCryptPrf::Sha512), 0..512),
            (Format::Luks2(Luks2Kdf::Argon2id), 0..4096),
            (Format::Luks2(Luks2Kdf::Argon2id), 16_384..20_000),
        ] {
            let overhead = usize::try_from(format.overhead_bytes()).unwrap();
            let password = Password::new(*b"p");
            let container =
                Container::create(Memory::of(overhead + 4096), format, &password, &mut Counting(9)).unwrap();
            container.write_at(0, &mut [7; 512]).unwrap();
            let memory = container.into_inner();
            memory.0.lock().unwrap()[damage].fill(0xa5);
            let mut read = [0; 512];
            Container::open(memory, &password).unwrap().read_at(0, &mut read).unwrap();
            assert_eq!(read, [7; 512]);
        }
    }

    #[test]
    fn a_medium_smaller_than_its_header_and_unaligned_access_are_refused() {
        let password = Password::new(*b"p");
        let error = Container::create(Memory::of(262_144), Format::default(), &password, &mut Counting(0));
        assert_eq!(error.unwrap_err().kind(), ErrorKind::NoSpace);
        let plain = Container::plain(Memory::of(1024));
        assert_eq!(plain.read_at(1, &mut [0; 512]).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(plain.read_at(1024, &mut [0; 512]).unwrap_err().kind(), ErrorKind::NoSpace);
        assert_eq!(format!("{password:?}"), "Password(********)");
    }
}
