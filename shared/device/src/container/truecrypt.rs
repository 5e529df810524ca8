//! The header that TrueCrypt 7 and VeraCrypt share.
//!
//! Owns: its 512 bytes, at the start of the volume and again 128 KiB before its end. Invariant: header areas are random all through, so that
//! nothing in the file says that it is a container, nor whether it has a hidden volume.
//!
//! Sources: "VeraCrypt Volume Format Specification", "Header Key Derivation". Both 64 KiB header areas, then both areas of a hidden
//! volume's header, stand before the data and again behind it. Integers are big-endian; sectors are numbered from the start of the file.

use crc_fast::crc32_iso_hdlc;
use pbkdf2::pbkdf2_hmac;
use ripemd::Ripemd160;
use sha2::{Sha256, Sha512};
use zeroize::Zeroizing;

use super::{Entropy, Format, KEY_BYTES, Opened, Password, TrueCryptPrf, VeraCryptPrf, Xts};
use crate::error::{Error, ErrorKind, Result};
use crate::volume::{SECTOR_BYTES, Volume};

const AREA_BYTES: u64 = 65_536;
/// The header's area and the hidden volume's, before the data and behind it.
const DATA_OFFSET: u64 = 2 * AREA_BYTES;
pub(super) const OVERHEAD_BYTES: u64 = 4 * AREA_BYTES;
/// Both areas together.
const AREAS: usize = 131_072;
const HEADER: usize = 512;
const SALT: usize = 64;
/// TrueCrypt's own limit, and VeraCrypt's since 1.24 (`MAX_LEGACY_PASSWORD` and `MAX_PASSWORD` of its `Password.h`).
const TRUECRYPT_PASSWORD_BYTES: usize = 64;
const VERACRYPT_PASSWORD_BYTES: usize = 128;
const KEYS_AT: usize = 256;
const CHECKSUM_AT: usize = 252;
const HEADER_VERSION: u16 = 5;
/// What `cryptsetup` and the programs themselves try, the cheap ones first.
const CANDIDATES: [Format; 4] = [
    Format::TrueCrypt(TrueCryptPrf::Ripemd160),
    Format::TrueCrypt(TrueCryptPrf::Sha512),
    Format::VeraCrypt(VeraCryptPrf::Sha512),
    Format::VeraCrypt(VeraCryptPrf::Sha256),
];

struct Flavour {
    magic: &'static [u8; 4],
    minimum_program: u16,
}

impl Flavour {
    fn of(format: Format) -> Self {
        match format {
            Format::TrueCrypt(_) => Self { magic: b"TRUE", minimum_program: 0x0700 },
            _ => Self { magic: b"VERA", minimum_program: 0x010b },
        }
    }
}

fn header_cipher(format: Format, password: &Password, salt: &[u8]) -> Xts {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    let password = password.as_bytes();
    match format {
        Format::TrueCrypt(TrueCryptPrf::Ripemd160) => {
            pbkdf2_hmac::<Ripemd160>(password, salt, 2000, &mut *key);
        }
        Format::TrueCrypt(TrueCryptPrf::Sha512) => pbkdf2_hmac::<Sha512>(password, salt, 1000, &mut *key),
        Format::VeraCrypt(VeraCryptPrf::Sha256) => {
            pbkdf2_hmac::<Sha256>(password, salt, 500_000, &mut *key);
        }
        _ => pbkdf2_hmac::<Sha512>(password, salt, 500_000, &mut *key),
    }
    Xts::new(&key)
}

pub(super) fn create<V: Volume>(
    volume: &V,
    format: Format,
    password: &Password,
    entropy: &mut dyn Entropy,
) -> Result<Opened> {
    let (program, most) = match format {
        Format::TrueCrypt(_) => ("TrueCrypt", TRUECRYPT_PASSWORD_BYTES),
        _ => ("VeraCrypt", VERACRYPT_PASSWORD_BYTES),
    };
    if password.as_bytes().is_empty() || password.as_bytes().len() > most {
        return Err(Error::invalid(format!("a {program} password has 1 to {most} bytes")));
    }
    let size = volume.size_bytes() / SECTOR_BYTES * SECTOR_BYTES;
    let data_bytes = size - OVERHEAD_BYTES;
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    entropy.fill(&mut *key)?;
    let header = encode(format, &key, data_bytes);
    for offset in [0, size - DATA_OFFSET] {
        // The hidden volume's area too, or its absence would be seen.
        let mut area = vec![0; AREAS];
        entropy.fill(&mut area)?;
        let (salt, rest) = area.split_at_mut(SALT);
        let encrypted = &mut rest[..HEADER - SALT];
        encrypted.copy_from_slice(&header[SALT..]);
        header_cipher(format, password, salt).encrypt(0, encrypted);
        volume.write_at(offset, &mut area)?;
    }
    volume.sync()?;
    Ok(Opened { format, data_offset: DATA_OFFSET, data_bytes, first_sector: DATA_OFFSET / SECTOR_BYTES, key })
}

fn encode(format: Format, key: &[u8; KEY_BYTES], data_bytes: u64) -> Zeroizing<[u8; HEADER]> {
    let flavour = Flavour::of(format);
    let mut header = Zeroizing::new([0; HEADER]);
    header[KEYS_AT..KEYS_AT + KEY_BYTES].copy_from_slice(key);
    let keys_checksum = crc32_iso_hdlc(&header[KEYS_AT..]);
    for (at, field) in [
        (64, &flavour.magic[..]),
        (68, &HEADER_VERSION.to_be_bytes()),
        (70, &flavour.minimum_program.to_be_bytes()),
        (72, &keys_checksum.to_be_bytes()),
        (100, &data_bytes.to_be_bytes()),
        (108, &DATA_OFFSET.to_be_bytes()),
        (116, &data_bytes.to_be_bytes()),
        (128, &[0, 0, 2, 0]), // sectors of 512 bytes
    ] {
        header[at..at + field.len()].copy_from_slice(field);
    }
    let checksum = crc32_iso_hdlc(&header[SALT..CHECKSUM_AT]);
    header[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&checksum.to_be_bytes());
    header
}

pub(super) fn open<V: Volume>(volume: &V, password: &Password) -> Result<Opened> {
    let size = volume.size_bytes() / SECTOR_BYTES * SECTOR_BYTES;
    let wrong = || {
        Error::new(
            ErrorKind::WrongPassword,
            "the password opens no container here; is it a container at all?",
        )
    };
    if size <= OVERHEAD_BYTES {
        return Err(wrong());
    }
    for format in CANDIDATES {
        for offset in [0, size - DATA_OFFSET] {
            let mut header = Zeroizing::new([0; HEADER]);
            volume.read_at(offset, &mut *header)?;
            let (salt, encrypted) = header.split_at_mut(SALT);
            header_cipher(format, password, salt).decrypt(0, encrypted);
            if let Some(opened) = decode(format, &header, size) {
                return Ok(opened);
            }
        }
    }
    Err(wrong())
}

/// What a decrypted header says; `None` if the key or the format was another.
fn decode(format: Format, header: &[u8; HEADER], size: u64) -> Option<Opened> {
    let number = |at: usize| header[at..].first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
    let checksum = |at: usize| header[at..].first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
    let is_ours = header[64..68] == *Flavour::of(format).magic
        && checksum(CHECKSUM_AT)? == crc32_iso_hdlc(&header[SALT..CHECKSUM_AT])
        && checksum(72)? == crc32_iso_hdlc(&header[KEYS_AT..]);
    if !is_ours {
        return None;
    }
    let (data_offset, data_bytes) = (number(108)?, number(116)?);
    if !data_offset.is_multiple_of(SECTOR_BYTES) || data_offset.checked_add(data_bytes)? > size {
        return None;
    }
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    key.copy_from_slice(&header[KEYS_AT..KEYS_AT + KEY_BYTES]);
    Some(Opened { format, data_offset, data_bytes, first_sector: data_offset / SECTOR_BYTES, key })
}
