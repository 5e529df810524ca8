//! The seam to object stores.
//!
//! Owns: the operations the engine needs of one bucket, their arguments and their promises. Does not own: retries, metering
//! or limits, each of which is a wrapper over this trait. Invariants every implementation keeps, held to by one conformance
//! suite: keys are byte-exact; a ranged read either returns exactly the asked-for bytes or fails; a failed page of a
//! listing is an error, never an early end; 403 is never `NotFound`.

mod copying;
pub mod metered;
pub mod paced;
pub mod renewing;
mod restoring;
pub mod retrying;
mod versions;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{Attributes, Body, ByteRange, Capabilities, ETag, Encryption, Entry, Key, ObjectHead, Result};

pub use copying::{CarriedAttributes, CopyObjectRequest, CopyPartRequest, CopySource};
pub use restoring::{RestoreAnswer, RestoreRequest, RestoreState, RestoreTier};

pub use versions::{ListVersionsRequest, Version, VersionKind, VersionPage, Versioning};

/// Which bucket of which store this is, in the user's own words, for messages and receipts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreName {
    /// The store's name in `ferry.yaml`, or `source`/`destination` for one-off stores.
    pub store: String,
    /// The bucket.
    pub bucket: String,
}

impl fmt::Display for StoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.store, self.bucket)
    }
}

/// Where a page of a listing left off, in the store's own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub String);

/// One page of keys to ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListRequest {
    /// Only keys that begin so.
    pub prefix: String,
    /// Only keys greater than this full key.
    pub start_after: Option<String>,
    /// Roll keys up to the next occurrence of this after the prefix.
    pub delimiter: Option<String>,
    /// Goes on where a page left off; the other fields stay as they were.
    pub cursor: Option<Cursor>,
    /// Most keys to return; `None` is the store's own limit (1,000 almost everywhere).
    pub page_size: Option<u32>,
}

/// One page of keys, ascending in UTF-8 bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListPage {
    /// Objects.
    pub entries: Vec<Entry>,
    /// Rolled-up prefixes, where a delimiter was given.
    pub common_prefixes: Vec<String>,
    /// More to come. `None` only when the store said that the listing is complete.
    pub next: Option<Cursor>,
}

/// An object to ask about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadRequest {
    /// The key.
    pub key: Key,
    /// This version, not the latest.
    pub version_id: Option<String>,
    /// Asks where this part lies too, from 1. A store that cannot tell fails or leaves [`ObjectHead::part`] out.
    pub part_number: Option<u32>,
}

impl HeadRequest {
    /// Asks about the key's latest version.
    pub fn of(key: &Key) -> Self {
        Self { key: key.clone(), version_id: None, part_number: None }
    }
}

/// An object, or one range of it, to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetRequest {
    /// The key.
    pub key: Key,
    /// Only this generation; otherwise `PreconditionFailed`.
    pub if_match: Option<ETag>,
    /// Only this version.
    pub version_id: Option<String>,
    /// Only these bytes; `None` is the whole object.
    pub range: Option<ByteRange>,
}

/// An object, or one range of it, being read.
#[derive(Debug)]
pub struct GetResponse {
    /// What the store says about the object; its size is that of the whole object.
    pub head: ObjectHead,
    /// Exactly the bytes asked for.
    pub body: Body,
}

/// What must hold of the destination key for a write to happen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum WriteCondition {
    /// Nothing.
    #[default]
    None,
    /// There is no object (`If-None-Match: *`).
    Absent,
    /// The object is of this generation (`If-Match`).
    Matches(ETag),
}

/// An object to write in one request.
#[derive(Debug)]
pub struct PutRequest {
    /// The key.
    pub key: Key,
    /// What travels with the bytes, tags included.
    pub attributes: Attributes,
    /// The bytes.
    pub body: Body,
    /// What must hold for the write to happen.
    pub condition: WriteCondition,
    /// Checksums of the body, where known before it is sent.
    pub checksum: BodyChecksum,
}

/// Checksums that travel with a body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BodyChecksum {
    /// CRC64NVME, where known in advance. A store that checks it otherwise gets it as a trailer.
    pub crc64_nvme: Option<u64>,
    /// MD5, where known in advance.
    pub md5: Option<[u8; 16]>,
}

/// An object that was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PutResponse {
    /// The new generation, where the store says.
    pub etag: Option<ETag>,
    /// The new version, on versioned buckets.
    pub version_id: Option<String>,
    /// Encryption at rest, which decides whether the ETag can be checked.
    pub encryption: Encryption,
    /// The checksum the store computed, where it says.
    pub crc64_nvme: Option<u64>,
}

/// Names an upload of parts that has begun.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UploadId(pub String);

/// An upload of parts to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateUploadRequest {
    /// The key.
    pub key: Key,
    /// What travels with the bytes, tags included.
    pub attributes: Attributes,
}

/// One part to write.
#[derive(Debug)]
pub struct UploadPartRequest {
    /// The key.
    pub key: Key,
    /// The upload it belongs to.
    pub upload_id: UploadId,
    /// From 1 to 10,000.
    pub part_number: u32,
    /// The part's bytes.
    pub body: Body,
    /// Checksums of the part, where known before it is sent.
    pub checksum: BodyChecksum,
}

/// A part that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadedPart {
    /// From 1 to 10,000.
    pub part_number: u32,
    /// The part's ETag, wanted back at completion.
    pub etag: ETag,
    /// The part's CRC64NVME as sent, wanted back at completion by stores that check it.
    pub crc64_nvme: Option<u64>,
}

/// An upload to complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompleteUploadRequest {
    /// The key.
    pub key: Key,
    /// The upload.
    pub upload_id: UploadId,
    /// Every part, ascending.
    pub parts: Vec<UploadedPart>,
    /// What must hold for the object to appear.
    pub condition: WriteCondition,
    /// The whole object's size.
    pub size_bytes: u64,
    /// The whole object's CRC64NVME, combined from the parts.
    pub crc64_nvme: Option<u64>,
}

/// A page of an upload's parts to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPartsRequest {
    /// The key.
    pub key: Key,
    /// The upload.
    pub upload_id: UploadId,
    /// Only parts of a greater number.
    pub after: u32,
    /// Most parts to return; `None` is the store's own limit (1,000 almost everywhere).
    pub page_size: Option<u32>,
}

/// A page of an upload's parts, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartsPage {
    /// Parts.
    pub parts: Vec<ListedPart>,
    /// More behind this number. `None` only when the store said that the listing is complete.
    pub next: Option<u32>,
}

/// A part that a store says it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedPart {
    /// From 1 to 10,000.
    pub part_number: u32,
    /// Size in bytes.
    pub size_bytes: u64,
    /// The part's ETag, wanted back at completion.
    pub etag: ETag,
    /// The CRC64NVME that the store computed, where it says.
    pub crc64_nvme: Option<u64>,
}

/// A page of open uploads to ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListUploadsRequest {
    /// Only uploads to keys that begin so.
    pub prefix: String,
    /// Only uploads behind this one.
    pub after: Option<UploadPlace>,
    /// Most uploads to return; `None` is the store's own limit (1,000 almost everywhere).
    pub page_size: Option<u32>,
}

/// Where an upload stands in a listing of uploads: by key, then in an order of the store's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadPlace {
    /// The key.
    pub key: String,
    /// The upload, where the store named one.
    pub upload_id: Option<UploadId>,
}

/// A page of open uploads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UploadsPage {
    /// Uploads.
    pub uploads: Vec<OpenUpload>,
    /// More behind this one. `None` only when the store said that the listing is complete.
    pub next: Option<UploadPlace>,
}

/// An upload that is neither completed nor dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenUpload {
    /// The key it will make.
    pub key: Key,
    /// The upload.
    pub upload_id: UploadId,
    /// When it was begun, where the store says.
    pub initiated: Option<OffsetDateTime>,
}

/// An object to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteRequest {
    /// The key.
    pub key: Key,
    /// Only if the object is of this generation; otherwise `PreconditionFailed`.
    pub if_match: Option<ETag>,
    /// Removes this version for good; without it a versioned bucket hides the latest behind a delete marker.
    pub version_id: Option<String>,
}

impl DeleteRequest {
    /// Deletes the key's latest version, whatever its generation.
    pub fn of(key: &Key) -> Self {
        Self { key: key.clone(), if_match: None, version_id: None }
    }
}

/// What a delete left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteResponse {
    /// The version that was removed, or that of the delete marker, on versioned buckets.
    pub version_id: Option<String>,
    /// What became of the object.
    pub effect: DeleteEffect,
}

/// What became of a deleted object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeleteEffect {
    /// It is gone, or was already.
    #[default]
    Removed,
    /// It is hidden behind a delete marker and can be had back.
    Marked,
}

/// One bucket of an S3-compatible store.
#[async_trait]
pub trait ObjectStore: Send + Sync + fmt::Debug {
    /// Which bucket this is.
    fn name(&self) -> &StoreName;

    /// What it can hold and do.
    fn capabilities(&self) -> &Capabilities;

    /// One page of keys.
    async fn list(&self, request: ListRequest) -> Result<ListPage>;

    /// What the store says about an object.
    async fn head(&self, request: HeadRequest) -> Result<ObjectHead>;

    /// Reads an object or one range of it.
    async fn get(&self, request: GetRequest) -> Result<GetResponse>;

    /// An object's tags, in the store's order.
    async fn get_tags(&self, key: &Key, version_id: Option<&str>) -> Result<Vec<(String, String)>>;

    /// Replaces an object's tags. Its bytes, its ETag and its other attributes stay.
    async fn put_tags(&self, key: &Key, version_id: Option<&str>, tags: &[(String, String)]) -> Result<()>;

    /// Writes an object in one request.
    async fn put(&self, request: PutRequest) -> Result<PutResponse>;

    /// Begins an upload of parts.
    async fn create_upload(&self, request: CreateUploadRequest) -> Result<UploadId>;

    /// Writes one part.
    async fn upload_part(&self, request: UploadPartRequest) -> Result<UploadedPart>;

    /// Makes the object out of its parts.
    async fn complete_upload(&self, request: CompleteUploadRequest) -> Result<PutResponse>;

    /// One page of the parts that an upload has. `NotFound` where the upload is completed or dropped.
    async fn list_parts(&self, request: ListPartsRequest) -> Result<PartsPage>;

    /// Whether the bucket keeps versions.
    async fn versioning(&self) -> Result<Versioning>;

    /// One page of versions, delete markers included. A store without versions is `Unsupported`, or lists each object as the version
    /// `null`.
    async fn list_versions(&self, request: ListVersionsRequest) -> Result<VersionPage>;

    /// One page of open uploads.
    async fn list_uploads(&self, request: ListUploadsRequest) -> Result<UploadsPage>;

    /// Copies an object of this store to a key of this bucket, without its bytes passing by. A store that does not is
    /// `Unsupported`.
    async fn copy_object(&self, request: CopyObjectRequest) -> Result<PutResponse>;

    /// Copies a range of an object of this store into a part of an upload.
    async fn copy_part(&self, request: CopyPartRequest) -> Result<UploadedPart>;

    /// Asks for an archived object to be made readable.
    async fn restore(&self, request: RestoreRequest) -> Result<RestoreAnswer>;

    /// Drops an upload and its parts. An upload that is already gone is success.
    async fn abort_upload(&self, key: &Key, upload_id: &UploadId) -> Result<()>;

    /// Deletes an object, if it is of the given generation where one is given. An object that is already gone is success.
    async fn delete(&self, request: DeleteRequest) -> Result<DeleteResponse>;
}

/// A store shared between tasks.
pub type SharedStore = Arc<dyn ObjectStore>;
