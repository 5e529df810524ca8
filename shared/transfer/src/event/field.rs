//! Fields of foreign JSON, read with tolerance.
//!
//! Owns: which forms of a size, a time, an ETag and a version are understood. Invariant: what is not understood is absent; it never
//! fails.

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::kind::Kind;
use super::{Event, Reading};
use crate::{ETag, Key};

/// A text that is there and not empty.
pub(super) fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

/// A whole number, also written as a text (Ceph's documentation, Google Cloud Storage).
pub(super) fn size(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

pub(super) fn etag(value: &Value) -> Option<ETag> {
    value.as_str().and_then(ETag::parse)
}

/// A moment, as RFC 3339 or as a number of seconds, milliseconds, microseconds, 100 ns or nanoseconds since 1970, told apart by
/// its magnitude. Old samples of Alibaba's `EventBridge` have the name of a time zone instead of its offset: those are none.
pub(super) fn moment(value: &Value) -> Option<OffsetDateTime> {
    if let Some(moment) = value.as_str().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok()) {
        return Some(moment);
    }
    let number = size(value)?;
    let nanoseconds_each: i128 = match number {
        0 => return None,
        // Seconds until the year 5138.
        1..100_000_000_000 => 1_000_000_000,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..10_000_000_000_000_000 => 1_000,
        10_000_000_000_000_000..1_000_000_000_000_000_000 => 100,
        _ => 1,
    };
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(number) * nanoseconds_each).ok()
}

/// The parts of a record that its family has found.
pub(super) struct Found<'a> {
    pub(super) family: &'static str,
    /// The sender's name for what happened; without one the object may have changed.
    pub(super) name: Option<&'a str>,
    pub(super) kind: Kind,
    /// The key, decoded; or what is wrong with it.
    pub(super) key: Result<String, &'static str>,
    pub(super) bucket: Option<String>,
    pub(super) size_bytes: Option<u64>,
    pub(super) etag: Option<ETag>,
    pub(super) version_id: Option<&'a str>,
    pub(super) time: Option<OffsetDateTime>,
}

impl Found<'_> {
    /// A record of which only an event needs a key.
    pub(super) fn reading(self) -> Reading {
        let change = match self.kind {
            Kind::Event(change) => change,
            Kind::Ignored(why) => return Reading::ignored(why, self.name.unwrap_or_default()),
        };
        let key = match self.key.and_then(|key| Key::new(key).map_err(|_empty| "has an empty key")) {
            Ok(key) => key,
            Err(what) => return Reading::Unreadable(format!("a record of {} {what}", self.family)),
        };
        Reading::Event(Event {
            key,
            bucket: self.bucket,
            change,
            size_bytes: self.size_bytes,
            etag: self.etag,
            version_id: self.version_id.filter(|id| !id.is_empty()).map(str::to_owned),
            time: self.time,
            name: self.name.map(str::to_owned),
        })
    }
}

/// A key that its sender does not encode.
pub(super) fn raw_key(value: &Value) -> Result<String, &'static str> {
    match value {
        Value::String(key) => Ok(key.clone()),
        Value::Null => Err("has no key"),
        _ => Err("has a key that is no text"),
    }
}
