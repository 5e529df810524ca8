//! What a store says about an object.
//!
//! Owns: listing entries, the attributes that travel with the bytes, and byte ranges. Does not own: what a destination can
//! hold of them ([`crate::Capabilities`]). Invariant: nothing of Ferry's own is ever added to an object's attributes.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::attribute_rules::ObjectLock;
use crate::checksum::{Checksum, DeclaredChecksum};
use crate::store::RestoreState;
use crate::{ETag, Key};

/// One line of a listing: a hint of what was there when the page was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The full key.
    pub key: Key,
    /// Size of the object in bytes.
    pub size_bytes: u64,
    /// Generation, where the store lists it.
    pub etag: Option<ETag>,
    /// When the store took the object in; whole seconds on many stores.
    pub last_modified: Option<OffsetDateTime>,
    /// Storage class in the store's own word; `None` is the store's standard class.
    pub storage_class: Option<StorageClass>,
}

/// A storage class in the store's own word. Text, since stores invent classes faster than enums follow.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StorageClass(String);

impl StorageClass {
    /// Takes the store's word; `None` for an empty one.
    pub fn parse(word: &str) -> Option<Self> {
        (!word.is_empty()).then(|| Self(word.to_owned()))
    }

    /// The store's word.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the class that every store writes by default, and which therefore is never asked for.
    pub fn is_standard(&self) -> bool {
        self.0.eq_ignore_ascii_case("STANDARD")
    }

    /// Whether an object of this class cannot be read before it is restored. By the word alone, where no profile says more: S3's archive classes, and those of
    /// Alibaba OSS, Tencent COS and Huawei OBS in the words their S3 listings use.
    pub fn is_archive(&self) -> bool {
        ["GLACIER", "DEEP_ARCHIVE", "ARCHIVE", "ColdArchive", "DeepColdArchive", "COLD"]
            .iter()
            .any(|class| self.0.eq_ignore_ascii_case(class))
    }
}

impl fmt::Display for StorageClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Everything that travels with an object's bytes: system headers, user metadata, storage class and tags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Content-Encoding`, without the `aws-chunked` that some writers leave behind.
    pub content_encoding: Option<String>,
    /// `Content-Language`.
    pub content_language: Option<String>,
    /// `Content-Disposition`.
    pub content_disposition: Option<String>,
    /// `Cache-Control`.
    pub cache_control: Option<String>,
    /// `Expires`, as written: not every stored value is a date.
    pub expires: Option<String>,
    /// `x-amz-website-redirect-location`.
    pub website_redirect: Option<String>,
    /// `x-amz-meta-*`, names without that prefix, in lower case.
    pub user_metadata: BTreeMap<String, String>,
    /// Storage class to write, in the destination's word; `None` is its standard class.
    pub storage_class: Option<StorageClass>,
    /// Lock of the object; empty where there is none, or no right to see it.
    pub lock: ObjectLock,
    /// Tags in the store's order. Empty until asked for: a GET only says how many there are.
    pub tags: Vec<(String, String)>,
}

/// How an object is encrypted at rest; decides whether its ETag can be an MD5.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Encryption {
    /// Not at all, or with keys the store manages (SSE-S3): the ETag keeps its usual form.
    #[default]
    StoreManaged,
    /// SSE-KMS or DSSE-KMS: the ETag is no MD5.
    Kms,
    /// SSE-C: the ETag is no MD5.
    CustomerKey,
}

/// Checksums that a store declared of an object, where it did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeclaredChecksums {
    /// `x-amz-checksum-crc64nvme`, over the whole object.
    pub crc64_nvme: Option<u64>,
    /// Of all others that it declared, the cheapest; one over the whole object before one over its parts.
    pub other: Option<DeclaredChecksum>,
}

impl DeclaredChecksums {
    /// The other one, where it is over the whole object.
    pub fn other_of_whole(&self) -> Option<Checksum> {
        self.other.and_then(|declared| declared.of_whole())
    }
}

/// What a HEAD, or the head of a GET, says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectHead {
    /// Size of the *whole* object in bytes, also for a ranged read.
    pub size_bytes: u64,
    /// Generation.
    pub etag: Option<ETag>,
    /// Version id, on versioned buckets.
    pub version_id: Option<String>,
    /// When the store took the object in.
    pub last_modified: Option<OffsetDateTime>,
    /// What travels with the bytes. `tags` is empty here; see `tag_count`.
    pub attributes: Attributes,
    /// How many tags there are to ask for; 0 where the store does not say.
    pub tag_count: u32,
    /// Encryption at rest.
    pub encryption: Encryption,
    /// Where an archived object stands on its way to being readable.
    pub restore: RestoreState,
    /// Checksums that the store declared of the object.
    pub checksums: DeclaredChecksums,
    /// The part that was asked about, where the store can tell.
    pub part: Option<PartOfObject>,
}

/// One of the parts that an object was written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartOfObject {
    /// Its size in bytes.
    pub size_bytes: u64,
    /// How many parts the object has (`x-amz-mp-parts-count`).
    pub parts: u32,
}

impl Entry {
    /// Of a delete marker: no bytes, no generation.
    pub fn marker(key: Key, last_modified: Option<OffsetDateTime>) -> Self {
        Self { key, size_bytes: 0, etag: None, last_modified, storage_class: None }
    }
}

impl ObjectHead {
    /// As a listing would say it.
    pub fn to_entry(&self, key: &Key) -> Entry {
        Entry {
            key: key.clone(),
            size_bytes: self.size_bytes,
            etag: self.etag.clone(),
            last_modified: self.last_modified,
            storage_class: self.attributes.storage_class.clone(),
        }
    }
}

/// A stretch of an object's bytes, never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ByteRange {
    first: u64,
    length: u64,
}

impl ByteRange {
    /// `length_bytes` bytes from `first_byte`; `None` when the range would be empty or past `u64`.
    pub fn new(first_byte: u64, length_bytes: u64) -> Option<Self> {
        (length_bytes > 0 && first_byte.checked_add(length_bytes).is_some())
            .then_some(Self { first: first_byte, length: length_bytes })
    }

    /// Offset of the first byte.
    pub fn first(self) -> u64 {
        self.first
    }

    /// Offset of the last byte, inclusive as in HTTP.
    pub fn last(self) -> u64 {
        self.first + self.length - 1
    }

    /// Number of bytes.
    pub fn length_bytes(self) -> u64 {
        self.length
    }

    /// Reads `bytes first-last/total` ([RFC 9110, section 14.4](https://www.rfc-editor.org/rfc/rfc9110#section-14.4)) into the
    /// range and the total; `None` for anything else.
    pub fn parse_content_range(header: &str) -> Option<(Self, u64)> {
        let (range, total) = header.trim().strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        let length = last.checked_sub(first)?.checked_add(1)?;
        Some((Self::new(first, length)?, total.trim().parse().ok()?))
    }
}

/// As the `Range` header wants it.
impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes={}-{}", self.first(), self.last())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_range_prints_inclusive_ends() {
        assert_eq!(ByteRange::new(5, 10).expect("range").to_string(), "bytes=5-14");
        assert_eq!(ByteRange::new(0, 0), None);
        assert_eq!(ByteRange::new(u64::MAX, 2), None);
    }

    #[test]
    fn a_content_range_is_read_or_refused() {
        assert_eq!(
            ByteRange::parse_content_range("bytes 5-14/100"),
            Some((ByteRange::new(5, 10).expect("range"), 100))
        );
        for bad in
            ["bytes */100", "bytes 5-4/100", "5-14/100", "bytes 5-14/*", "bytes 0-18446744073709551615/1"]
        {
            assert_eq!(ByteRange::parse_content_range(bad), None, "{bad}");
        }
    }

    #[test]
    fn archive_classes_are_known_by_any_stores_word() {
        let class = |word| StorageClass::parse(word).expect("class");
        assert!(class("GLACIER").is_archive() && class("ColdArchive").is_archive());
        assert!(!class("GLACIER_IR").is_archive() && !class("STANDARD_IA").is_archive());
    }
}
