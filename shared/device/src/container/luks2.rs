//! LUKS2: a header in JSON, one key slot, one segment.
//!
//! Owns: both copies of the header, the key slot's derivation and its anti-forensic stripes. Invariant: what is written is what `cryptsetup`
//! 2.x writes for `aes-xts-plain64` with sectors of 512 bytes; of what it reads, only that is understood.
//!
//! Source: "LUKS2 On-Disk Format Specification", version 1.1.0. Binary headers are big-endian; each copy is covered by a SHA-256 over
//! itself with the checksum's field zero.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use pbkdf2::pbkdf2_hmac;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Entropy, Format, KEY_BYTES, Luks2Kdf, Opened, Password, Xts};
use crate::error::{Error, ErrorKind, Result};
use crate::volume::{SECTOR, SECTOR_BYTES, Volume};

/// Where the data begins: what `cryptsetup` leaves for headers and key slots by default.
pub(super) const DATA_OFFSET: u64 = 16 * 1024 * 1024;
const HEADER: usize = 16_384;
const BINARY: usize = 4096;
const SLOT_OFFSET: u64 = 32_768;
const STRIPES: usize = 4000;
const SLOT: usize = STRIPES * KEY_BYTES;
/// The slot in whole blocks of 4 KiB.
const SLOT_AREA_BYTES: u64 = 258_048;
const MAGIC: [u8; 6] = *b"LUKS\xba\xbe";
const MAGIC_OF_COPY: [u8; 6] = *b"SKUL\xba\xbe";
const CHECKSUM_AT: usize = 448;
const CIPHER: &str = "aes-xts-plain64";
const SALT: usize = 32;
/// The digest tells a right key from a wrong one; the key has 512 random bits, so its rounds protect nothing.
const DIGEST_ROUNDS: u32 = 1000;

#[derive(Debug, Serialize, Deserialize)]
struct Metadata {
    keyslots: Numbered<KeySlot>,
    tokens: serde_json::Map<String, serde_json::Value>,
    segments: Numbered<Segment>,
    digests: Numbered<KeyDigest>,
    config: serde_json::Value,
}

type Numbered<T> = std::collections::BTreeMap<String, T>;

#[derive(Debug, Serialize, Deserialize)]
struct KeySlot {
    r#type: String,
    key_size: usize,
    af: AntiForensic,
    area: Area,
    kdf: Kdf,
}

#[derive(Debug, Serialize, Deserialize)]
struct AntiForensic {
    r#type: String,
    stripes: usize,
    hash: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Area {
    r#type: String,
    offset: String,
    size: String,
    encryption: String,
    key_size: usize,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Kdf {
    Argon2id { time: u32, memory: u32, cpus: u32, salt: String },
    Pbkdf2 { hash: String, iterations: u32, salt: String },
}

#[derive(Debug, Serialize, Deserialize)]
struct Segment {
    r#type: String,
    offset: String,
    size: String,
    iv_tweak: String,
    encryption: String,
    sector_size: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeyDigest {
    r#type: String,
    keyslots: Vec<String>,
    segments: Vec<String>,
    hash: String,
    iterations: u32,
    salt: String,
    digest: String,
}

pub(super) fn create<V: Volume>(
    volume: &V,
    kdf: Luks2Kdf,
    password: &Password,
    entropy: &mut dyn Entropy,
) -> Result<Opened> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    entropy.fill(&mut *key)?;
    let mut salt = [0; SALT];
    entropy.fill(&mut salt)?;
    let salt_text = BASE64.encode(salt);
    let slot_kdf = match kdf {
        Luks2Kdf::Argon2id => Kdf::Argon2id { time: 3, memory: 65_536, cpus: 4, salt: salt_text },
        Luks2Kdf::Pbkdf2 => Kdf::Pbkdf2 { hash: "sha256".into(), iterations: 600_000, salt: salt_text },
    };
    let slot_key = derive(&slot_kdf, password)?;
    let mut slot = split(&key, entropy)?;
    Xts::new(&slot_key).encrypt(0, &mut slot);
    entropy.fill(&mut salt)?;
    let metadata = Metadata {
        keyslots: numbered(KeySlot {
            r#type: "luks2".into(),
            key_size: KEY_BYTES,
            af: AntiForensic { r#type: "luks1".into(), stripes: STRIPES, hash: "sha256".into() },
            area: Area {
                r#type: "raw".into(),
                offset: SLOT_OFFSET.to_string(),
                size: SLOT_AREA_BYTES.to_string(),
                encryption: CIPHER.into(),
                key_size: KEY_BYTES,
            },
            kdf: slot_kdf,
        }),
        tokens: serde_json::Map::new(),
        segments: numbered(Segment {
            r#type: "crypt".into(),
            offset: DATA_OFFSET.to_string(),
            size: "dynamic".into(),
            iv_tweak: "0".into(),
            encryption: CIPHER.into(),
            sector_size: SECTOR_BYTES,
        }),
        digests: numbered(KeyDigest {
            r#type: "pbkdf2".into(),
            keyslots: vec!["0".into()],
            segments: vec!["0".into()],
            hash: "sha256".into(),
            iterations: DIGEST_ROUNDS,
            salt: BASE64.encode(salt),
            digest: BASE64.encode(digest(&key, &salt, DIGEST_ROUNDS)),
        }),
        config: serde_json::json!({
            "json_size": (HEADER - BINARY).to_string(),
            "keyslots_size": (DATA_OFFSET - SLOT_OFFSET).to_string(),
        }),
    };
    let json = serde_json::to_vec(&metadata)
        .map_err(|e| Error::invalid("a LUKS2 header cannot be written").caused_by(e))?;
    let mut uuid = [0; 16];
    entropy.fill(&mut uuid)?;
    for (offset, magic) in [(0, MAGIC), (HEADER as u64, MAGIC_OF_COPY)] {
        let mut salt = [0; 64];
        entropy.fill(&mut salt)?;
        volume.write_at(offset, &mut header(offset, magic, &salt, uuid, &json))?;
    }
    volume.write_at(SLOT_OFFSET, &mut slot)?;
    volume.sync()?;
    let data_bytes = volume.size_bytes() / SECTOR_BYTES * SECTOR_BYTES - DATA_OFFSET;
    Ok(Opened { format: Format::Luks2(kdf), data_offset: DATA_OFFSET, data_bytes, first_sector: 0, key })
}

fn numbered<T>(one: T) -> Numbered<T> {
    Numbered::from([("0".to_owned(), one)])
}

fn header(offset: u64, magic: [u8; 6], salt: &[u8; 64], uuid: [u8; 16], json: &[u8]) -> Vec<u8> {
    let mut raw = vec![0; HEADER];
    let uuid = uuid_text(uuid);
    for (at, field) in [
        (0, &magic[..]),
        (6, &2u16.to_be_bytes()),
        (8, &(HEADER as u64).to_be_bytes()),
        (16, &1u64.to_be_bytes()), // the first sequence number
        (72, b"sha256"),
        (104, salt),
        (168, uuid.as_bytes()),
        (256, &offset.to_be_bytes()),
        (BINARY, json),
    ] {
        raw[at..at + field.len()].copy_from_slice(field);
    }
    let checksum = Sha256::digest(&raw);
    raw[CHECKSUM_AT..CHECKSUM_AT + checksum.len()].copy_from_slice(&checksum);
    raw
}

/// A random UUID's text (RFC 9562, version 4).
fn uuid_text(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// Whether either copy of a header is here.
pub(super) fn is_present<V: Volume>(volume: &V) -> Result<bool> {
    if volume.size_bytes() <= DATA_OFFSET {
        return Ok(false);
    }
    for (offset, magic) in [(0, MAGIC), (HEADER as u64, MAGIC_OF_COPY)] {
        let mut sector = [0; SECTOR];
        volume.read_at(offset, &mut sector)?;
        if sector.starts_with(&magic) {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) fn open<V: Volume>(volume: &V, password: &Password) -> Result<Opened> {
    let metadata = read_metadata(volume)?;
    let unsupported =
        |what: &str| Error::invalid(format!("this LUKS2 container has {what}; open it with cryptsetup"));
    let segment = metadata.segments.get("0").ok_or_else(|| unsupported("no segment 0"))?;
    if segment.encryption != CIPHER || segment.sector_size != SECTOR_BYTES || segment.iv_tweak != "0" {
        return Err(unsupported("another cipher"));
    }
    let data_offset: u64 = segment.offset.parse().map_err(|_| unsupported("an odd offset"))?;
    let data_bytes = (volume.size_bytes() / SECTOR_BYTES * SECTOR_BYTES)
        .checked_sub(data_offset)
        .ok_or_else(|| Error::corrupt("the LUKS2 container is cut off"))?;
    let expected = metadata.digests.get("0").ok_or_else(|| unsupported("no digest 0"))?;
    let digest_salt = BASE64.decode(&expected.salt).map_err(|_| unsupported("an odd salt"))?;
    if expected.iterations > ITERATIONS_MAX {
        return Err(unsupported("an odd digest"));
    }
    for slot in metadata.keyslots.values().take(SLOTS_TRIED) {
        let area_offset: u64 = slot.area.offset.parse().map_err(|_| unsupported("an odd key slot"))?;
        if slot.key_size != KEY_BYTES || slot.area.encryption != CIPHER || slot.af.stripes != STRIPES {
            continue;
        }
        let mut stripes = Zeroizing::new(vec![0; SLOT]);
        volume.read_at(area_offset, &mut stripes)?;
        Xts::new(&*derive(&slot.kdf, password)?).decrypt(0, &mut stripes);
        let key = merge(&stripes);
        let found = BASE64.encode(digest(&key, &digest_salt, expected.iterations));
        if found == expected.digest {
            let kdf = match slot.kdf {
                Kdf::Argon2id { .. } => Luks2Kdf::Argon2id,
                Kdf::Pbkdf2 { .. } => Luks2Kdf::Pbkdf2,
            };
            let format = Format::Luks2(kdf);
            return Ok(Opened { format, data_offset, data_bytes, first_sector: 0, key });
        }
    }
    Err(Error::new(ErrorKind::WrongPassword, "the password opens no key slot of the LUKS2 container"))
}

/// The first header whose checksum holds.
fn read_metadata<V: Volume>(volume: &V) -> Result<Metadata> {
    for (offset, magic) in [(0, MAGIC), (HEADER as u64, MAGIC_OF_COPY)] {
        let mut raw = vec![0; HEADER];
        volume.read_at(offset, &mut raw)?;
        let checksum = raw[CHECKSUM_AT..CHECKSUM_AT + 32].to_vec();
        raw[CHECKSUM_AT..CHECKSUM_AT + 64].fill(0);
        if !raw.starts_with(&magic) || Sha256::digest(&raw)[..] != checksum[..] {
            continue;
        }
        let json = raw[BINARY..].split(|byte| *byte == 0).next().unwrap_or_default();
        return serde_json::from_slice(json)
            .map_err(|e| Error::invalid("this LUKS2 header is not one Ferry wrote").caused_by(e));
    }
    Err(Error::corrupt("neither copy of the LUKS2 header is whole"))
}

/// What trying one key slot takes at most, whoever made the header: cryptsetup's own limits of memory (4 GiB) and lanes, and some minutes of one core: 64 passes over a gibibyte,
/// or what PBKDF2 does in that time.
const MEMORY_KIBIBYTES_MAX: u32 = 4 << 20;
const WORK_MAX: u64 = 64 << 20;
const CPUS_MAX: u32 = 4;
const ITERATIONS_MAX: u32 = 100_000_000;
/// Key slots that are tried: a container of ours has one.
const SLOTS_TRIED: usize = 8;

fn derive(kdf: &Kdf, password: &Password) -> Result<Zeroizing<[u8; KEY_BYTES]>> {
    let odd = || Error::invalid("the LUKS2 key slot has an odd derivation");
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    match kdf {
        Kdf::Argon2id { time, memory, cpus, salt } => {
            let work = u64::from(*memory) * u64::from(*time);
            if *memory > MEMORY_KIBIBYTES_MAX || work > WORK_MAX || *cpus > CPUS_MAX {
                return Err(odd());
            }
            let salt = BASE64.decode(salt).map_err(|_| odd())?;
            let params = argon2::Params::new(*memory, *time, *cpus, Some(KEY_BYTES)).map_err(|_| odd())?;
            argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
                .hash_password_into(password.as_bytes(), &salt, &mut *key)
                .map_err(|_| odd())?;
        }
        Kdf::Pbkdf2 { hash, iterations, salt } if hash == "sha256" && *iterations <= ITERATIONS_MAX => {
            let salt = BASE64.decode(salt).map_err(|_| odd())?;
            pbkdf2_hmac::<Sha256>(password.as_bytes(), &salt, *iterations, &mut *key);
        }
        Kdf::Pbkdf2 { .. } => return Err(odd()),
    }
    Ok(key)
}

fn digest(key: &[u8; KEY_BYTES], salt: &[u8], rounds: u32) -> [u8; 32] {
    let mut digest = [0; 32];
    pbkdf2_hmac::<Sha256>(key, salt, rounds, &mut digest);
    digest
}

/// Spreads the key over so many stripes that losing one loses it all.
fn split(key: &[u8; KEY_BYTES], entropy: &mut dyn Entropy) -> Result<Vec<u8>> {
    let mut stripes = vec![0; SLOT];
    entropy.fill(&mut stripes[..SLOT - KEY_BYTES])?;
    let mixed = mix(&stripes[..SLOT - KEY_BYTES]);
    for ((stripe, mixed), key) in stripes[SLOT - KEY_BYTES..].iter_mut().zip(mixed.iter()).zip(key) {
        *stripe = mixed ^ key;
    }
    Ok(stripes)
}

fn merge(stripes: &[u8]) -> Zeroizing<[u8; KEY_BYTES]> {
    let mut key = mix(&stripes[..SLOT - KEY_BYTES]);
    for (key, stripe) in key.iter_mut().zip(&stripes[SLOT - KEY_BYTES..]) {
        *key ^= stripe;
    }
    key
}

/// All stripes but the last, each added to what the ones before were diffused to.
fn mix(stripes: &[u8]) -> Zeroizing<[u8; KEY_BYTES]> {
    let mut mixed = Zeroizing::new([0; KEY_BYTES]);
    for stripe in stripes.chunks(KEY_BYTES) {
        for (mixed, byte) in mixed.iter_mut().zip(stripe) {
            *mixed ^= byte;
        }
        for (block, number) in mixed.chunks_mut(32).zip(0u32..) {
            let digest = Sha256::new().chain_update(number.to_be_bytes()).chain_update(&block).finalize();
            block.copy_from_slice(&digest);
        }
    }
    mixed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_asks_for_the_machine_is_refused_before_anything_is_derived() {
        let password = Password::new("x");
        let salt = BASE64.encode([0; 32]);
        let argon2id = |time, memory, cpus| Kdf::Argon2id { time, memory, cpus, salt: salt.clone() };
        let pbkdf2 = |iterations| Kdf::Pbkdf2 { hash: "sha256".into(), iterations, salt: salt.clone() };
        for kdf in [
            argon2id(1, u32::MAX, 1),
            argon2id(u32::MAX, 65_536, 4),
            argon2id(100, 4 << 20, 4),
            argon2id(1, 65_536, 1000),
            pbkdf2(u32::MAX),
        ] {
            assert!(derive(&kdf, &password).is_err(), "{kdf:?}");
        }
        assert!(derive(&argon2id(1, 64, 1), &password).is_ok());
        assert!(derive(&pbkdf2(1), &password).is_ok());
    }
}
