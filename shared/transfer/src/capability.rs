//! What a store can hold and do, as facts the engine plans with.
//!
//! Owns: the meaning of each fact and the limits of S3, which are the default. Does not own: which store has which, kept as
//! data with the provider profiles; nor how requests are addressed or signed, which the engine never sees.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::StorageClass;
use crate::storage_tier::StorageTier;

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
    /// Tells the checksums it keeps where a read asks for them (`x-amz-checksum-mode: ENABLED`). Asked only where known.
    pub declares_checksums: Support,
    /// Checks `Content-MD5` on a PUT.
    pub content_md5: Support,
    /// Objects have tags.
    pub tags: Support,
    /// Most tags of one object.
    pub tags_max: u32,
    /// Buckets can keep earlier versions of an object, and list them.
    pub versions: Support,
    /// Objects have ACLs, canned ones at least.
    pub acl: Support,
    /// Archived objects are restored by `RestoreObject`.
    pub restore: Support,
    /// HEAD and GET answer a `partNumber`.
    pub part_numbers: Support,
    /// A range beyond the end is refused (416). Where it is not, the whole object comes with status 200.
    pub range_strict: Support,
    /// `CopyObject` within the store.
    pub server_copies: Support,
    /// `UploadPartCopy` within the store.
    pub part_copies: Support,
    /// Largest object in one `CopyObject`.
    pub copy_bytes_max: u64,
    /// `CopyObject` honours `If-None-Match: *` and `If-Match` for the key it writes.
    pub conditional_copies: Support,
    /// Objects keep `x-amz-website-redirect-location`, which no copy within the store carries over by itself.
    pub website_redirects: Support,
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
    /// Longest stretch between two slashes of a key, in UTF-8 bytes, where a file system sits behind the store.
    pub key_segment_bytes_max: u32,
    /// What no key may begin with.
    pub key_beginnings_refused: Vec<String>,
    /// Most user metadata, names and values together.
    pub user_metadata_bytes_max: u32,
    /// Names of user metadata may have underscores.
    pub user_metadata_underscores: Support,
    /// Values of user metadata may go beyond ASCII.
    pub user_metadata_unicode: Support,
    /// Storage classes that can be asked for in a PUT, in the store's own words.
    pub storage_classes: Vec<String>,
    /// What its classes are for, those included that a listing tells and no PUT can ask for.
    pub class_tiers: BTreeMap<String, StorageTier>,
}

impl Capabilities {
    /// Whether a PUT can ask for the class, as far as is known.
    pub fn can_ask_for(&self, class: &StorageClass) -> bool {
        let known = &self.storage_classes;
        class.is_standard() || known.is_empty() || known.iter().any(|word| word == class.as_str())
    }
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
            declares_checksums: Support::Unknown,
            content_md5: Support::Unknown,
            tags: Support::Unknown,
            tags_max: 10,
            versions: Support::Unknown,
            acl: Support::Unknown,
            restore: Support::Unknown,
            part_numbers: Support::Unknown,
            range_strict: Support::Unknown,
            server_copies: Support::Unknown,
            part_copies: Support::Unknown,
            copy_bytes_max: 5 * GIB,
            conditional_copies: Support::Unknown,
            website_redirects: Support::Unknown,
            part_bytes_min: 5 * MIB,
            part_bytes_max: 5 * GIB,
            parts_max: 10_000,
            equal_parts: false,
            put_bytes_max: 5 * GIB,
            object_bytes_max: 10_000 * 5 * GIB,
            key_bytes_max: 1024,
            key_segment_bytes_max: 1024,
            key_beginnings_refused: Vec::new(),
            user_metadata_bytes_max: 2048,
            user_metadata_underscores: Support::Unknown,
            user_metadata_unicode: Support::Unknown,
            storage_classes: Vec::new(),
            class_tiers: BTreeMap::new(),
        }
    }
}
