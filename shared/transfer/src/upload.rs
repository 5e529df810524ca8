//! Uploads of parts that outlive the process that began them.
//!
//! Owns: the record of an open upload and of the generation it is made of, one for each destination key, and what is known of parts
//! that their store cannot tell. Does not own: which parts there are, which the store itself lists. Invariants: an upload is only ever
//! continued with the very generation, cut and attributes it was begun with; of two who begin one at a time, one learns of the other.
//!
//! The record is one small blob, `uploads/KEY/upload.json`. What was computed of a part is a blob without content beside it: its *name*
//! says it all, so that no writer waits for another and one listing reads every part.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::checksum::{Algorithm, Checksum, DigestSet, Digests, digest};
use crate::etag::{hex, unhex};
use crate::state::{SharedState, StateCondition, StateName, StateTag};
use crate::store::{StoreName, UploadId};
use crate::{Attributes, ETag, Error, ErrorKind, Key, Result};

/// Begins the names of everything here.
const PREFIX: &str = "uploads/";

/// What an upload is made of. Parts of two origins never meet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadOrigin {
    /// Where the object comes from.
    pub source: StoreName,
    /// Its key there.
    pub source_key: Key,
    /// Its generation.
    pub etag: ETag,
    /// Its version, on versioned buckets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Size of every part but the last, in bytes.
    pub part_bytes: u64,
    /// Names the attributes that the upload was begun with: it cannot be given others.
    pub attributes: AttributesName,
}

/// Names a set of attributes without their tags, which are compared and written apart. Two versions of Ferry may name one set
/// differently: then an upload is begun anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttributesName(String);

impl AttributesName {
    /// Names these.
    pub fn of(attributes: &Attributes) -> Self {
        let untagged = Attributes { tags: Vec::new(), ..attributes.clone() };
        Self(name_of(&format!("{untagged:?}")))
    }
}

/// An open upload, as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadRecord {
    /// Where the object goes.
    pub destination: StoreName,
    /// Its key there.
    pub key: Key,
    /// The upload.
    pub upload_id: UploadId,
    /// When it was begun.
    #[serde(with = "time::serde::rfc3339")]
    pub begun: OffsetDateTime,
    /// What it is made of.
    pub origin: UploadOrigin,
}

/// What is remembered for a destination key at one moment.
#[derive(Debug, Clone, Default)]
pub struct UploadSlot {
    /// The upload; `None` where there is none, or none that can be read.
    pub record: Option<UploadRecord>,
    tag: Option<StateTag>,
}

/// Remembers open uploads. See the module.
#[derive(Debug, Clone)]
pub struct UploadRecords(SharedState);

impl UploadRecords {
    /// In this place.
    pub fn new(state: SharedState) -> Self {
        Self(state)
    }

    /// What is remembered for a destination key.
    pub async fn find(&self, destination: &StoreName, key: &Key) -> Result<UploadSlot> {
        let name = record_name(destination, key)?;
        let Some(stored) = self.0.read(&name).await? else { return Ok(UploadSlot::default()) };
        let record =
            read(&stored.bytes).filter(|record| record.destination == *destination && record.key == *key);
        Ok(UploadSlot { record, tag: Some(stored.tag) })
    }

    /// Remembers an upload in the place of what the slot held. `PreconditionFailed` where somebody else did meanwhile.
    pub async fn begin(&self, record: &UploadRecord, slot: UploadSlot) -> Result<()> {
        let name = record_name(&record.destination, &record.key)?;
        let text = serde_json::to_vec(record).map_err(|error| {
            Error::new(ErrorKind::Other, "an upload cannot be written down").caused_by(error)
        })?;
        let condition = slot.tag.map_or(StateCondition::Absent, StateCondition::Matches);
        self.0.write(&name, Bytes::from(text), condition).await.map(drop)
    }

    /// Remembers what was computed of a part that the store has taken.
    pub async fn note_part(&self, record: &UploadRecord, part_number: u32, digests: &Digests) -> Result<()> {
        let name = format!("{}{}", parts_prefix(record), part_words(part_number, digests));
        self.0.write(&plain(name)?, Bytes::new(), StateCondition::None).await.map(drop)
    }

    /// What was computed of the parts, by number.
    pub async fn noted_parts(&self, record: &UploadRecord) -> Result<BTreeMap<u32, NotedDigests>> {
        let prefix = parts_prefix(record);
        let names = self.0.list(&prefix).await?;
        Ok(names.iter().filter_map(|name| read_part_words(name.as_str().strip_prefix(&prefix)?)).collect())
    }

    /// Forgets an upload that is completed or dropped, unless another has taken its place.
    pub async fn forget(&self, record: &UploadRecord) -> Result<()> {
        // The parts first: what is left half done is found again by its record.
        for name in self.0.list(&parts_prefix(record)).await? {
            self.0.remove(&name).await?;
        }
        let held = self.find(&record.destination, &record.key).await?;
        if held.record.is_some_and(|held| held.upload_id == record.upload_id) {
            self.0.remove(&record_name(&record.destination, &record.key)?).await?;
        }
        Ok(())
    }

    /// Every upload that is remembered.
    pub async fn all(&self) -> Result<Vec<UploadRecord>> {
        let mut records = Vec::new();
        for name in self.0.list(PREFIX).await? {
            if name.as_str().ends_with(RECORD)
                && let Some(stored) = self.0.read(&name).await?
            {
                records.extend(read(&stored.bytes));
            }
        }
        Ok(records)
    }
}

/// What was computed of a part while it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotedDigests {
    /// CRC-64/NVME.
    pub crc64_nvme: u64,
    /// MD5, where it was computed.
    pub md5: Option<[u8; 16]>,
    /// The one more that was computed.
    pub other: Option<Checksum>,
}

const RECORD: &str = "/upload.json";

fn read(bytes: &[u8]) -> Option<UploadRecord> {
    serde_json::from_slice(bytes)
        .inspect_err(|error| tracing::warn!(%error, "the record of an upload cannot be read"))
        .ok()
}

fn place(destination: &StoreName, key: &Key) -> String {
    format!("{PREFIX}{}", name_of(&format!("{destination}\0{key}")))
}

fn record_name(destination: &StoreName, key: &Key) -> Result<StateName> {
    plain(format!("{}{RECORD}", place(destination, key)))
}

fn parts_prefix(record: &UploadRecord) -> String {
    format!("{}/{}/", place(&record.destination, &record.key), name_of(&record.upload_id.0))
}

/// Keys and upload ids are of any length and letters; 128 bits of digest name them safely.
fn name_of(text: &str) -> String {
    let set = DigestSet::MD5;
    hex(&digest(text.as_bytes(), set).md5.unwrap_or_default())
}

fn plain(name: String) -> Result<StateName> {
    StateName::new(name).map_err(|error| Error::new(ErrorKind::InvalidInput, error.to_string()))
}

/// `00007_nHEX_mHEX_xHEX`: the part's number and its digests, each behind its letter.
fn part_words(part_number: u32, digests: &Digests) -> String {
    let mut words = format!("{part_number:05}_n{:016x}", digests.crc64_nvme);
    if let Some(md5) = digests.md5 {
        words.push_str(&format!("_m{}", hex(&md5)));
    }
    if let Some(other) = digests.other {
        words.push_str(&format!("_{}{other}", letter(other.algorithm())));
    }
    words
}

fn read_part_words(words: &str) -> Option<(u32, NotedDigests)> {
    let mut words = words.split('_');
    let part_number = words.next()?.parse().ok()?;
    let mut crc64_nvme = None;
    let (mut md5, mut other) = (None, None);
    for word in words {
        match word.split_at_checked(1)? {
            ("n", crc) => crc64_nvme = u64::from_str_radix(crc, 16).ok(),
            ("m", digits) => md5 = unhex(digits),
            (initial, digits) => {
                let algorithm = Algorithm::ALL.into_iter().find(|algorithm| letter(*algorithm) == initial);
                other = other.or(algorithm.and_then(|algorithm| Checksum::from_hex(algorithm, digits)));
            }
        }
    }
    Some((part_number, NotedDigests { crc64_nvme: crc64_nvme?, md5, other }))
}

/// What a checksum's digits stand behind.
fn letter(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Crc64Xz => "x",
        Algorithm::Crc32c => "c",
        Algorithm::Crc32 => "i",
        Algorithm::Sha1 => "s",
        Algorithm::Sha256 => "t",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::state::MemoryState;

    fn record(key: &str, upload: &str) -> UploadRecord {
        let name = |store: &str| StoreName { store: store.into(), bucket: "b".into() };
        UploadRecord {
            destination: name("island"),
            key: Key::new(key).expect("key"),
            upload_id: UploadId(upload.into()),
            begun: OffsetDateTime::UNIX_EPOCH,
            origin: UploadOrigin {
                source: name("harbour"),
                source_key: Key::new("from").expect("key"),
                etag: ETag::parse("abc").expect("tag"),
                version_id: None,
                size_bytes: 7,
                part_bytes: 5,
                attributes: AttributesName::of(&Attributes::default()),
            },
        }
    }

    #[tokio::test]
    async fn an_upload_is_remembered_until_it_is_forgotten() {
        let records = UploadRecords::new(Arc::new(MemoryState::default()));
        let (first, second) = (record("a/\u{1} é", "1"), record("a/\u{1} é", "2"));
        let find = || records.find(&first.destination, &first.key);
        let slot = find().await.expect("slot");
        assert_eq!(slot.record, None);
        records.begin(&first, slot.clone()).await.expect("begun");
        let late = records.begin(&second, slot).await.expect_err("somebody was first");
        assert_eq!(late.kind(), ErrorKind::PreconditionFailed);
        let digests = digest(b"bytes", DigestSet { md5: true, other: Some(Algorithm::Crc64Xz) });
        records.note_part(&first, 7, &digests).await.expect("noted");
        let noted = records.noted_parts(&first).await.expect("parts");
        assert_eq!((noted[&7].md5, noted[&7].other), (digests.md5, digests.other));
        assert!(records.noted_parts(&second).await.expect("parts").is_empty(), "of another upload");

        // The second takes the first one's place; forgetting the first leaves it alone.
        let slot = find().await.expect("slot");
        assert_eq!(slot.record.as_ref(), Some(&first));
        records.begin(&second, slot).await.expect("replaced");
        records.forget(&first).await.expect("forgotten");
        assert_eq!(records.all().await.expect("all"), std::slice::from_ref(&second));
        records.forget(&second).await.expect("forgotten");
        assert!(find().await.expect("slot").record.is_none());
        assert!(records.0.list("").await.expect("names").is_empty());
    }

    #[tokio::test]
    async fn a_record_that_cannot_be_read_is_replaced() {
        let records = UploadRecords::new(Arc::new(MemoryState::default()));
        let fresh = record("k", "1");
        let name = record_name(&fresh.destination, &fresh.key).expect("name");
        records.0.write(&name, Bytes::from("{\"old\": 1}"), StateCondition::None).await.expect("written");
        let slot = records.find(&fresh.destination, &fresh.key).await.expect("slot");
        assert_eq!(slot.record, None);
        records.begin(&fresh, slot).await.expect("replaced");
        assert_eq!(records.find(&fresh.destination, &fresh.key).await.expect("slot").record, Some(fresh));
    }

    #[test]
    fn attributes_are_told_apart_and_tags_are_not() {
        let plain = Attributes::default();
        let typed = Attributes { content_type: Some("text/plain".into()), ..plain.clone() };
        let tagged = Attributes { tags: vec![("a".into(), "b".into())], ..plain.clone() };
        assert_ne!(AttributesName::of(&plain), AttributesName::of(&typed));
        assert_eq!(AttributesName::of(&plain), AttributesName::of(&tagged));
    }

    proptest! {
        #[test]
        fn a_parts_name_says_its_digests(number in 1..=10_000u32, crc64_nvme: u64, md5: Option<[u8; 16]>, algorithm: Option<prop::sample::Index>) {
            let other = algorithm.map(|index| Checksum::of(*index.get(&Algorithm::ALL), b"part"));
            let digests = Digests { crc64_nvme, md5, other, length_bytes: 1 };
            let words = part_words(number, &digests);
            prop_assert!(StateName::new(words.clone()).is_ok());
            prop_assert_eq!(read_part_words(&words), Some((number, NotedDigests { crc64_nvme, md5, other })));
        }
    }
}
