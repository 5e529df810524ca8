//! Backblaze B2: the entries of a webhook.
//!
//! Owns: these. Invariant: keys are raw. The S3 version of an object is B2's own (Backblaze, "Event notifications").

use serde_json::Value;

use super::Reading;
use super::field::{self, Found};
use super::kind::{self, Kind};

pub(super) fn record(record: &Value) -> Option<Reading> {
    let name = field::text(&record["eventType"])?;
    if !name.starts_with("b2:") && record["objectName"].is_null() {
        return None;
    }
    let found = Found {
        family: "B2",
        name: Some(name),
        kind: kind(name),
        key: field::raw_key(&record["objectName"]),
        bucket: field::text(&record["bucketName"]).map(str::to_owned),
        size_bytes: field::size(&record["objectSize"]),
        etag: None,
        version_id: record["objectVersionId"].as_str(),
        time: field::moment(&record["eventTimestamp"]),
    };
    Some(found.reading())
}

/// A hidden object is one with a delete marker.
fn kind(name: &str) -> Kind {
    let bare = name.strip_prefix("b2:").unwrap_or(name);
    match bare.split(':').next().unwrap_or_default() {
        "HideMarkerCreated" | "ObjectDeleted" => kind::REMOVED,
        "ObjectCreated" | "TestEvent" => kind::of(Some(bare)),
        "MultipartUploadCreated" => kind::UPLOAD,
        _ => kind::UNKNOWN,
    }
}
