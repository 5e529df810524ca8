//! What a store can hold and do, as facts the engine plans with.
//!
//! Owns: the meaning of each fact and the limits of S3, which are the default. Does not own: which store has which, kept as
//! data with the provider profiles; nor how requests are addressed or signed, which the engine never sees.

use serde::{Deserialize, Serialize};

/// Whether a store does something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Support {
    /// Known to.
    Yes,
    /// Known not to.
    No,
    /// Not known: use it where a wrong guess is noticed and undone.
    #[default]
    Unknown,
}

impl Support {
    /// Known to, or worth trying.
    pub fn may(self) -> bool {
        self != Self::No
    }
}

/// What a store can hold and do. Sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Capabilities {
    /// PUT and `CompleteMultipartUpload` honour `If-None-Match: *` and `If-Match`.
    pub conditional_writes: Support,
    /// DELETE honours `If-Match`.
    pub conditional_deletes: Support,
    /// The ETag of an object put in one piece is the MD5 of its bytes (never under SSE-KMS or SSE-C).
    pub etag_is_md5: Support,
    /// A multipart ETag is the MD5 of the parts' MD5s, a dash and their number.
    pub multipart_etag_is_md5_of_md5s: Support,
    /// Stores and checks CRC64NVME.
    pub crc64_nvme: Support,
    /// Checks `Content-MD5` on a PUT.
    pub content_md5: Support,
    /// Objects have tags.
    pub tags: Support,
    /// Smallest part but the last.
    pub part_bytes_min: u64,
    /// Largest part.
    pub part_bytes_max: u64,
    /// Most parts of one upload.
    pub parts_max: u32,
    /// All parts but the last must be of one size.
    pub equal_parts: bool,
    /// Largest object in one PUT.
    pub put_bytes_max: u64,
    /// Largest object.
    pub object_bytes_max: u64,
    /// Longest key in UTF-8 bytes.
    pub key_bytes_max: u32,
    /// Most user metadata, names and values together.
    pub user_metadata_bytes_max: u32,
    /// Storage classes that can be asked for in a PUT, in the store's own words.
    pub storage_classes: Vec<String>,
}

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The limits of Amazon S3 (AWS documentation, "Amazon S3 multipart upload limits" and "Object metadata"), with every feature
/// unknown: the right posture towards a store nobody described.
impl Default for Capabilities {
    fn default() -> Self {
        Self {
            conditional_writes: Support::Unknown,
            conditional_deletes: Support::Unknown,
            etag_is_md5: Support::Unknown,
            multipart_etag_is_md5_of_md5s: Support::Unknown,
            crc64_nvme: Support::Unknown,
            content_md5: Support::Unknown,
            tags: Support::Unknown,
            part_bytes_min: 5 * MIB,
            part_bytes_max: 5 * GIB,
            parts_max: 10_000,
            equal_parts: false,
            put_bytes_max: 5 * GIB,
            object_bytes_max: 10_000 * 5 * GIB,
            key_bytes_max: 1024,
            user_metadata_bytes_max: 2048,
            storage_classes: Vec::new(),
        }
    }
}
