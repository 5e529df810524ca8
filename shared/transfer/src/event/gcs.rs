//! Google Cloud Storage: Pub/Sub messages, Eventarc's `CloudEvents`, and the bare resource of an object.
//!
//! Owns: these three. Invariants: keys are raw; an object that another generation took the place of is not deleted, and there is an event of
//! that generation (Google Cloud, "Pub/Sub notifications").

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::field::{self, Found};
use super::kind::{self, Kind};
use super::{Change, Reading};
use crate::ETag;

/// A Pub/Sub message, as a push wraps it or by itself.
pub(super) fn push(value: &Value) -> Option<Reading> {
    let message = if value["message"].is_object() { &value["message"] } else { value };
    let attributes = &message["attributes"];
    let name = field::text(&attributes["eventType"])?;
    // With the payload format NONE there is no data, and the attributes say enough.
    let object = data(&message["data"]).unwrap_or_default();
    let key = if attributes["objectId"].is_null() { &object["name"] } else { &attributes["objectId"] };
    let bucket = field::text(&attributes["bucketId"]).or_else(|| field::text(&object["bucket"]));
    let is_overwritten = !attributes["overwrittenByGeneration"].is_null();
    let found = Found {
        kind: match kind(name) {
            Kind::Event(Change::Removed) if is_overwritten => kind::OVERWRITTEN,
            kind => kind,
        },
        key: field::raw_key(key),
        bucket: bucket.map(str::to_owned),
        version_id: attributes["objectGeneration"].as_str(),
        time: field::moment(&attributes["eventTime"]),
        ..described(&object, Some(name))
    };
    Some(found.reading())
}

/// A `CloudEvent` of Eventarc.
pub(super) fn cloud_event(value: &Value) -> Option<Reading> {
    let name = value["type"].as_str()?.strip_prefix("google.cloud.storage.object.v1.")?;
    let inner = data(&value["data"]);
    let object = inner.as_ref().unwrap_or(&value["data"]);
    let from_subject = value["subject"].as_str().and_then(|subject| subject.strip_prefix("objects/"));
    let found =
        Found { kind: kind(name), time: field::moment(&value["time"]), ..described(object, Some(name)) };
    let key = found.key.or_else(|what| from_subject.map(str::to_owned).ok_or(what));
    Some(Found { key, ..found }.reading())
}

/// The resource of an object, which does not say what happened to it.
pub(super) fn object(value: &Value) -> Option<Reading> {
    (value["kind"] == "storage#object").then(|| described(value, None).reading())
}

fn described<'a>(object: &'a Value, name: Option<&'a str>) -> Found<'a> {
    Found {
        family: "Google Cloud Storage",
        name,
        kind: kind::CHANGED,
        key: field::raw_key(&object["name"]),
        bucket: field::text(&object["bucket"]).map(str::to_owned),
        size_bytes: field::size(&object["size"]),
        etag: md5(&object["md5Hash"]),
        version_id: object["generation"].as_str(),
        time: field::moment(&object["updated"]),
    }
}

fn data(text: &Value) -> Option<Value> {
    serde_json::from_slice(&STANDARD.decode(text.as_str()?).ok()?).ok()
}

/// The API for S3 clients has the MD5 as the ETag; the resource's own `etag` is another thing.
fn md5(text: &Value) -> Option<ETag> {
    let digest = STANDARD.decode(text.as_str()?).ok()?;
    digest.try_into().ok().map(ETag::from_md5)
}

fn kind(name: &str) -> Kind {
    match name {
        "OBJECT_FINALIZE" | "OBJECT_METADATA_UPDATE" | "finalized" | "metadataUpdated" => kind::CHANGED,
        // A live version that becomes an old one is gone for those who ask for the object by its key.
        "OBJECT_DELETE" | "OBJECT_ARCHIVE" | "deleted" | "archived" => kind::REMOVED,
        _ => kind::UNKNOWN,
    }
}
