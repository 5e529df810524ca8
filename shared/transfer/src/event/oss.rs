//! Alibaba Cloud OSS: a record of the trigger of Function Compute, of SMQ (MNS) and of `EventBridge`.
//!
//! Owns: the `oss` record. Invariant: keys are raw in all three ways. There is neither a version nor a sequencer in it (Alibaba Cloud, "OSS
//! trigger", "Event notification").

use serde_json::Value;

use super::field::{self, Found};
use super::{Reading, kind};

pub(super) fn record(record: &Value) -> Option<Reading> {
    let oss = &record["oss"];
    if !oss.is_object() {
        return None;
    }
    // The way by SMQ puts what stands beside `oss` inside it.
    let beside = |name: &str| if record[name].is_null() { &oss[name] } else { &record[name] };
    let name = field::text(beside("eventName"));
    let object = &oss["object"];
    let found = Found {
        family: "OSS",
        name,
        kind: kind::of(name),
        key: field::raw_key(&object["key"]),
        bucket: field::text(&oss["bucket"]["name"]).map(str::to_owned),
        size_bytes: field::size(&object["size"]),
        etag: field::etag(&object["eTag"]),
        version_id: None,
        time: field::moment(beside("eventTime")),
    };
    Some(found.reading())
}
