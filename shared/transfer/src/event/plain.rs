//! The plainest shapes: `{"key", "size"}`, and the callbacks of uploads.
//!
//! Owns: an object's key at the top of a JSON object, or in a form. Does not own: the fields of a job ([`crate::job`]). Invariant: the key of
//! JSON is raw, and a form is decoded as forms are.

use serde_json::Value;

use super::field::{self, Found};
use super::kind::{self, Kind};
use super::{Reading, qiniu};

/// Names of the key: Ferry's and Qiniu's, Alibaba's.
const KEYS: [&str; 2] = ["key", "object"];
/// Without one of these beside its key a form is not taken for a callback.
const COMPANIONS: [&str; 5] = ["bucket", "size", "fsize", "hash", "etag"];

/// Whether the JSON is a message of Ferry's own.
pub(super) fn is_job(value: &Value) -> bool {
    let has_own_action = ["copy", "delete", "part", "scan"].iter().any(|own| value["action"] == *own);
    (value["key"].is_string() && qiniu::records(value).is_none()) || has_own_action
}

/// An object with its key at the top.
pub(super) fn object(value: &Value) -> Option<Reading> {
    let key = KEYS.iter().map(|name| &value[*name]).find(|key| key.is_string())?;
    let is_own = matches!(value["action"].as_str(), None | Some("copy" | "delete"));
    let size = ["size", "fsize"].iter().find_map(|name| field::size(&value[*name]));
    let found = Found {
        family: "the plain shape",
        name: value["action"].as_str(),
        kind: if is_own { kind(value) } else { kind::UNKNOWN },
        key: field::raw_key(key),
        bucket: field::text(&value["bucket"]).map(str::to_owned),
        size_bytes: size,
        etag: field::etag(&value["etag"]),
        version_id: value["version_id"].as_str(),
        time: None,
    };
    Some(found.reading())
}

fn kind(value: &Value) -> Kind {
    if value["action"] == "delete" { kind::REMOVED } else { kind::CHANGED }
}

/// The callback of an upload as a form, as Qiniu Kodo and Alibaba OSS send it unless they are told otherwise.
pub(super) fn form(text: &str) -> Option<Reading> {
    let mut fields = serde_json::Map::new();
    for pair in text.trim().split('&') {
        let (name, value) = pair.split_once('=')?;
        let value = value.replace('+', " ");
        let value = percent_encoding::percent_decode_str(&value).decode_utf8().ok()?;
        fields.insert(name.to_owned(), Value::String(value.into_owned()));
    }
    let has_companion = COMPANIONS.iter().any(|name| fields.contains_key(*name));
    if has_companion { object(&Value::Object(fields)) } else { None }
}
