//! Amazon S3: records of the notification that goes to SQS, SNS and Lambda, and events of `EventBridge`.
//!
//! Owns: the `s3` record, which MinIO, Ceph and many others send too ([`super::minio_ceph`] has what they do otherwise), and the
//! `detail` of `EventBridge`. Invariant: the key of a record is form-encoded, the key of a `detail` is not (AWS, "Event message structure";
//! "Event structure" of `EventBridge`).

use serde_json::Value;

use super::field::{self, Found};
use super::key_text::form_key;
use super::minio_ceph::Dialect;
use super::{Reading, kind};

/// One of `Records`.
pub(super) fn record(record: &Value) -> Option<Reading> {
    let s3 = &record["s3"];
    if !s3.is_object() {
        return None;
    }
    let dialect = Dialect::of(field::text(&record["eventSource"]));
    let name = field::text(&record["eventName"]);
    let object = &s3["object"];
    let found = Found {
        family: dialect.family(),
        name,
        kind: dialect.kind(name, object),
        key: if dialect.encodes_keys() { form_key(&object["key"]) } else { field::raw_key(&object["key"]) },
        bucket: field::text(&s3["bucket"]["name"]).map(str::to_owned),
        size_bytes: field::size(&object["size"]),
        etag: field::etag(&object["eTag"]),
        version_id: object["versionId"].as_str(),
        time: field::moment(&record["eventTime"]),
    };
    Some(found.reading())
}

/// An event of `EventBridge`.
pub(super) fn bridged(value: &Value) -> Option<Reading> {
    let (name, detail) = (value["detail-type"].as_str()?, &value["detail"]);
    let object = &detail["object"];
    if !object.is_object() && value["source"] != "aws.s3" {
        return None;
    }
    let kind = match name {
        "Object Created" | "Object Restore Completed" | "Object Tags Added" | "Object Tags Deleted" => {
            kind::CHANGED
        }
        "Object Deleted" => kind::REMOVED,
        "Object ACL Updated" | "Object Storage Class Changed" | "Object Access Tier Changed" => {
            kind::NOT_CONTENT
        }
        "Object Restore Initiated" | "Object Restore Expired" => kind::NOT_CONTENT,
        _ => kind::UNKNOWN,
    };
    let found = Found {
        family: "S3 by EventBridge",
        name: Some(name),
        kind,
        key: field::raw_key(&object["key"]),
        bucket: field::text(&detail["bucket"]["name"]).map(str::to_owned),
        size_bytes: field::size(&object["size"]),
        etag: field::etag(&object["etag"]),
        version_id: object["version-id"].as_str(),
        time: field::moment(&value["time"]),
    };
    Some(found.reading())
}
