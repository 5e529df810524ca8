//! Copies that a store makes by itself, without the bytes passing by.
//!
//! Owns: what is asked of a store to copy an object, or a range of one into a part, within its own walls. Does not own: whether two
//! ends are one store ([`crate::Route`]), nor what is done about a store that refuses ([`crate::copy`]).

use super::{UploadId, WriteCondition};
use crate::attribute_rules::ObjectLock;
use crate::{Attributes, ByteRange, ETag, Key, StorageClass};

/// The object that is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopySource {
    /// Its bucket, of the same store.
    pub bucket: String,
    /// Its key.
    pub key: Key,
    /// Only this generation (`x-amz-copy-source-if-match`); otherwise `PreconditionFailed`.
    pub if_match: Option<ETag>,
    /// Only this version.
    pub version_id: Option<String>,
}

/// What travels with the bytes. Tags do in any case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CarriedAttributes {
    /// What the source has. A storage class is never carried over by itself: it is asked for, `None` being the standard one.
    Kept {
        /// The class to write.
        storage_class: Option<StorageClass>,
        /// The lock to set, which is never carried over either.
        lock: ObjectLock,
    },
    /// These instead of what the source has; tags excepted, which stay the source's.
    Replaced(Box<Attributes>),
}

/// An object to copy in one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyObjectRequest {
    /// Where from.
    pub source: CopySource,
    /// The key to write.
    pub key: Key,
    /// What travels with the bytes.
    pub attributes: CarriedAttributes,
    /// What must hold of the key for the write to happen.
    pub condition: WriteCondition,
    /// How large the object is, as far as known: how long the answer may take.
    pub size_hint_bytes: Option<u64>,
}

/// A range of an object to copy into a part of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyPartRequest {
    /// Where from.
    pub source: CopySource,
    /// These bytes of it.
    pub range: ByteRange,
    /// The key that the upload will write.
    pub key: Key,
    /// The upload.
    pub upload_id: UploadId,
    /// From 1 to 10,000.
    pub part_number: u32,
}
