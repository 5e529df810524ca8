//! Cloudflare R2: the message of an event notification on a queue.
//!
//! Owns: that message. Invariant: keys are raw (Cloudflare, "Event notifications").

use serde_json::Value;

use super::field::{self, Found};
use super::{Reading, kind};

pub(super) fn message(value: &Value) -> Option<Reading> {
    let (name, object) = (field::text(&value["action"])?, &value["object"]);
    if !object.is_object() {
        return None;
    }
    let found = Found {
        family: "R2",
        name: Some(name),
        kind: match name {
            "PutObject" | "CopyObject" | "CompleteMultipartUpload" => kind::CHANGED,
            "DeleteObject" | "LifecycleDeletion" => kind::REMOVED,
            other => kind::of(Some(other)),
        },
        key: field::raw_key(&object["key"]),
        bucket: field::text(&value["bucket"]).map(str::to_owned),
        size_bytes: field::size(&object["size"]),
        etag: field::etag(&object["eTag"]),
        version_id: None,
        time: field::moment(&value["eventTime"]),
    };
    Some(found.reading())
}
