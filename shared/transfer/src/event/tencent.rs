//! Tencent Cloud COS: the record of a cloud function's trigger, which is also the data of its `EventBridge`.
//!
//! Owns: the `cos` record. Invariant: the key is `/APPID/BUCKET/` and then the object's own key, raw; the first such prefix goes, once. Where
//! it is not there, the URL's path says the key (Tencent Cloud, "COS trigger").

use serde_json::Value;

use super::field::{self, Found};
use super::{Reading, kind};

pub(super) fn record(record: &Value) -> Option<Reading> {
    let (cos, event) = (&record["cos"], &record["event"]);
    let object = &cos["cosObject"];
    if !object.is_object() {
        return None;
    }
    let name = field::text(&event["eventName"]);
    let bucket = &cos["cosBucket"];
    let found = Found {
        family: "COS",
        name,
        kind: kind::of(name),
        key: key(object, bucket),
        bucket: bucket_name(bucket),
        size_bytes: field::size(&object["size"]),
        etag: field::etag(&object["meta"]["ETag"]),
        version_id: object["vid"].as_str(),
        time: field::moment(&event["eventTime"]),
    };
    Some(found.reading())
}

fn app_id(bucket: &Value) -> Option<String> {
    match &bucket["appid"] {
        Value::String(id) if !id.is_empty() => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

/// Clients know the bucket with the account's number at its end.
fn bucket_name(bucket: &Value) -> Option<String> {
    let name = field::text(&bucket["name"])?;
    Some(match app_id(bucket) {
        Some(id) if !name.ends_with(&format!("-{id}")) => format!("{name}-{id}"),
        _ => name.to_owned(),
    })
}

fn key(object: &Value, bucket: &Value) -> Result<String, &'static str> {
    let path = field::raw_key(&object["key"])?;
    if let (Some(id), Some(name)) = (app_id(bucket), field::text(&bucket["name"]))
        && let Some(key) = path.strip_prefix(&format!("/{id}/{name}/"))
    {
        return Ok(key.to_owned());
    }
    let encoded = object["url"].as_str().and_then(|url| url.split_once("://")?.1.split_once('/'));
    let key = encoded.and_then(|(_host, path)| percent_encoding::percent_decode_str(path).decode_utf8().ok());
    key.map(String::from).ok_or("has a key that does not begin with its account and bucket")
}
