//! MinIO, Ceph and others who send the record of S3: what they do otherwise.
//!
//! Owns: the dialect that `eventSource` names. Invariant: whoever is not known speaks as Amazon does.

use serde_json::Value;

use super::field;
use super::kind::{self, Kind};

/// Who sent a record of S3's shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Amazon, MinIO (whose keys have `/` encoded as well) and all others.
    Amazon,
    /// Ceph's RADOS Gateway.
    Ceph,
}

impl Dialect {
    pub(super) fn of(event_source: Option<&str>) -> Self {
        match event_source {
            Some("ceph:s3") => Self::Ceph,
            _ => Self::Amazon,
        }
    }

    pub(super) fn family(self) -> &'static str {
        match self {
            Self::Amazon => "S3",
            Self::Ceph => "Ceph",
        }
    }

    /// Ceph does not.
    pub(super) fn encodes_keys(self) -> bool {
        self == Self::Amazon
    }

    /// Ceph sends `ObjectCreated:Post` for an upload from a form, which has a size or an ETag, and also when a multipart upload
    /// begins, which has neither.
    pub(super) fn kind(self, name: Option<&str>, object: &Value) -> Kind {
        let is_post = name.is_some_and(|name| name.ends_with("ObjectCreated:Post"));
        let is_empty =
            field::size(&object["size"]).unwrap_or(0) == 0 && field::etag(&object["eTag"]).is_none();
        match self {
            Self::Ceph if is_post && is_empty => kind::UPLOAD,
            Self::Ceph | Self::Amazon => kind::of(name),
        }
    }
}
