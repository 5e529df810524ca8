//! What the names of events mean.
//!
//! Owns: the names that S3 and all who follow it use, `ObjectCreated:Put` and on. Invariant: a name that is not known is
//! [`IgnoredWhy::Unknown`], never an event; a record without a name is one, since an event is a hint. A change of the storage class or the
//! access tier alone is never one, by whatever name: no comparison goes by it, and an object that becomes readable again is restored.

use super::{Change, IgnoredWhy};

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Event(Change),
    Ignored(IgnoredWhy),
}

pub(super) const CHANGED: Kind = Kind::Event(Change::Changed);
pub(super) const APPENDED: Kind = Kind::Event(Change::Appended);
pub(super) const REMOVED: Kind = Kind::Event(Change::Removed);
pub(super) const UPLOAD: Kind = Kind::Ignored(IgnoredWhy::Upload);
pub(super) const READ: Kind = Kind::Ignored(IgnoredWhy::Read);
pub(super) const OVERWRITTEN: Kind = Kind::Ignored(IgnoredWhy::Overwritten);
pub(super) const NOT_CONTENT: Kind = Kind::Ignored(IgnoredWhy::NotContent);
pub(super) const TEST: Kind = Kind::Ignored(IgnoredWhy::Test);
pub(super) const UNKNOWN: Kind = Kind::Ignored(IgnoredWhy::Unknown);

/// The meaning of `Family:Name`, with or without the sender's own prefix (`s3:`, `oss:`, `cos:`). Sources: AWS, "Supported event types
/// for SQS, SNS, and Lambda"; Alibaba Cloud, "OSS events"; Tencent Cloud, "COS trigger"; MinIO's and Ceph's event lists.
pub(super) fn of(name: Option<&str>) -> Kind {
    let Some(name) = name.filter(|name| !name.is_empty()) else { return CHANGED };
    let bare = ["s3:", "oss:", "cos:", "obs:", "OBS:"].iter().find_map(|prefix| name.strip_prefix(prefix));
    let (family, what) = bare.unwrap_or(name).split_once(':').unwrap_or((bare.unwrap_or(name), ""));
    match (family, what) {
        (_, "TestEvent") | ("TestEvent", _) => TEST,
        (
            _,
            "UploadPart"
            | "UploadPartCopy"
            | "InitiateMultipartUpload"
            | "CreateMultipartUpload"
            | "AbortMultipartUpload"
            | "Expiration:AbortMultipartUpload",
        ) => UPLOAD,
        (
            "ObjectAcl"
            | "ObjectAnnotation"
            | "ReducedRedundancyLostObject"
            | "Replication"
            | "LifecycleTransition"
            | "ObjectTransition"
            | "IntelligentTiering"
            | "Scanner"
            | "BucketCreated"
            | "BucketRemoved",
            _,
        )
        | ("ObjectRemoved", "NoOP")
        | ("ObjectModified", "ChangeStorageClass")
        | ("ObjectRestore", "Post" | "Delete") => NOT_CONTENT,
        ("ObjectAccessed" | "ObjectDownloaded", _) => READ,
        ("ObjectCreated", "AppendObject") => APPENDED,
        ("ObjectCreated" | "ObjectModified" | "ObjectTagging", _)
        | ("ObjectRestore", "Completed" | "FinishRestore")
        | ("ObjectReplication", "ObjectCreated" | "ObjectModified")
        | ("ObjectSynced", "Create" | "*") => CHANGED,
        // `ObjectRemove` is how Tencent writes it.
        ("ObjectRemoved" | "ObjectRemove" | "LifecycleExpiration", _)
        | ("ObjectReplication", "ObjectRemoved")
        | ("ObjectSynced", "Delete" | "DeletionMarkerCreated")
        | ("ObjectLifecycle", "Expiration:Current" | "Expiration:DeleteMarker") => REMOVED,
        ("ObjectLifecycle", _) => NOT_CONTENT,
        _ => UNKNOWN,
    }
}
