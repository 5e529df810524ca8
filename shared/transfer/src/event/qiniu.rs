//! Qiniu Kodo: the message of an event rule.
//!
//! Owns: the message, which comes as a text in the field `Message` of its envelope. The callback of an upload is a [`super::plain`]
//! shape. Invariant: keys are raw; the hash is Qiniu's own and no ETag; a copy or a move within a bucket is of both of its keys.

use serde_json::Value;

use super::Reading;
use super::field::{self, Found};
use super::kind::{self, Kind};

/// What a message says of its objects; `None` where it is no such message.
pub(super) fn records(message: &Value) -> Option<Vec<Reading>> {
    let name = field::text(&message["event"])?;
    if message["key"].is_null() {
        return None;
    }
    let bucket = field::text(&message["bucket"]);
    let found = |key: &Value, kind: Kind| Found {
        family: "Kodo",
        name: Some(name),
        kind,
        key: field::raw_key(key),
        bucket: bucket.map(str::to_owned),
        size_bytes: field::size(&message["fsize"]),
        etag: None,
        version_id: None,
        time: field::moment(&message["time"]),
    };
    let mut readings = vec![found(&message["key"], kind(name)).reading()];
    let arrives_here = field::text(&message["dest_bucket"]).is_none_or(|to| Some(to) == bucket);
    if arrives_here && field::text(&message["dest_key"]).is_some() {
        readings.push(found(&message["dest_key"], kind::CHANGED).reading());
    }
    Some(readings)
}

fn kind(name: &str) -> Kind {
    match name.strip_prefix("kodo:").unwrap_or(name) {
        "append" => kind::APPENDED,
        "put" | "copy" | "mkfile" | "enable" | "restore:completed" => kind::CHANGED,
        "move" | "delete" | "disable" => kind::REMOVED,
        other => kind::of(Some(other)),
    }
}
