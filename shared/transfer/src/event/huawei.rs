//! Huawei Cloud OBS: the record of SMN and `FunctionGraph`, which is also the data of `EventGrid`.
//!
//! Owns: the `obs` record. Older triggers send the record of S3 without a source, which [`super::s3`] reads. Invariant: the key is encoded as
//! S3 encodes it.

use serde_json::Value;

use super::field::{self, Found};
use super::key_text::form_key;
use super::{Reading, kind};

pub(super) fn record(record: &Value) -> Option<Reading> {
    let obs = &record["obs"];
    if !obs.is_object() {
        return None;
    }
    let name = field::text(&record["eventName"]);
    let object = &obs["object"];
    let found = Found {
        family: "OBS",
        name,
        kind: kind::of(name),
        key: form_key(&object["key"]),
        bucket: field::text(&obs["bucket"]["name"])
            .or_else(|| field::text(&obs["bucket"]["bucket"]))
            .map(str::to_owned),
        size_bytes: field::size(&object["size"]),
        etag: field::etag(&object["eTag"]),
        // On a bucket without versions it is an internal number with `null` at its end.
        version_id: object["versionId"].as_str().filter(|id| !id.ends_with("null")),
        time: field::moment(&record["eventTime"]),
    };
    Some(found.reading())
}
