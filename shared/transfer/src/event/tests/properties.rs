use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::job::Incoming;

/// As Amazon encodes the keys of its records.
fn encoded(key: &str) -> String {
    key.bytes()
        .map(|byte| match byte {
            b' ' => "+".to_owned(),
            byte if byte.is_ascii_alphanumeric() || b"-_.*/".contains(&byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// As MinIO does.
fn encoded_slashes(key: &str) -> String {
    encoded(key).replace('/', "%2F")
}

fn s3(source: &str, key: &str) -> Value {
    json!({ "Records": [{ "eventSource": source, "eventName": "ObjectCreated:Put",
        "s3": { "bucket": { "name": "b" }, "object": { "key": key, "size": 1, "eTag": "e" } } }] })
}

fn oss_record(key: &str) -> Value {
    json!({ "eventName": "ObjectCreated:PutObject", "eventSource": "acs:oss",
        "oss": { "bucket": { "name": "b" }, "object": { "key": key } } })
}

fn cos_record(key: &str) -> Value {
    json!({ "cos": { "cosObject": { "key": format!("/1/b/{key}") }, "cosBucket": { "name": "b", "appid": "1" } },
        "event": { "eventName": "cos:ObjectCreated:Put" } })
}

/// A notification of each shape about one key.
fn of_every_shape(key: &str) -> Vec<(&'static str, String)> {
    let oss = json!({ "events": [oss_record(key)] });
    let base64 = STANDARD.encode(oss.to_string());
    let aws = s3("aws:s3", &encoded(key));
    let resource = json!({ "kind": "storage#object", "bucket": "b", "name": key });
    vec![
        ("oss", oss.to_string()),
        (
            "oss by eventbridge",
            json!({ "specversion": "1.0", "source": "acs.oss", "data": oss_record(key) }).to_string(),
        ),
        ("smq", base64.clone()),
        ("smq topic", json!({ "TopicName": "t", "Message": base64 }).to_string()),
        ("smq topic, nested", json!({ "TopicName": "t", "Message": oss.to_string() }).to_string()),
        ("smq queue", json!([{ "specversion": "1.0", "data": { "messageBody": base64 } }]).to_string()),
        ("s3", aws.to_string()),
        ("s3 by sns", json!({ "Type": "Notification", "Message": aws.to_string() }).to_string()),
        ("s3 by lambda's sns", json!({ "Records": [{ "Sns": { "Message": aws.to_string() } }] }).to_string()),
        (
            "s3 by eventbridge",
            json!({ "detail-type": "Object Created", "source": "aws.s3",
            "detail": { "bucket": { "name": "b" }, "object": { "key": key } } })
            .to_string(),
        ),
        ("minio", s3("minio:s3", &encoded_slashes(key)).to_string()),
        ("ceph", s3("ceph:s3", key).to_string()),
        ("cos", json!({ "Records": [cos_record(key)] }).to_string()),
        ("cos by eventbridge", json!({ "specversion": "1.0", "data": cos_record(key) }).to_string()),
        (
            "obs",
            json!({ "Records": [{ "eventName": "ObjectCreated:Put",
            "obs": { "bucket": { "name": "b" }, "object": { "key": encoded(key) } } }] })
            .to_string(),
        ),
        (
            "kodo",
            json!({ "Message": json!({ "event": "put", "bucket": "b", "key": key }).to_string() })
                .to_string(),
        ),
        ("kodo callback", format!("bucket=b&key={}", encoded(key))),
        (
            "gcs",
            json!({ "message": { "data": STANDARD.encode(resource.to_string()),
            "attributes": { "eventType": "OBJECT_FINALIZE", "objectId": key, "bucketId": "b" } } })
            .to_string(),
        ),
        ("r2", json!({ "action": "PutObject", "bucket": "b", "object": { "key": key } }).to_string()),
        (
            "b2",
            json!({ "events": [{ "eventType": "b2:ObjectCreated:Upload", "objectName": key }] }).to_string(),
        ),
        ("plain", json!({ "key": key, "size": 1 }).to_string()),
    ]
}

/// Awkward for whoever decodes once too often or too seldom.
fn keys() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-z/]{1,3}",
        "%[0-9A-F]{2}",
        "[ +%&=/?#]{1,3}",
        "\\PC{1,3}",
        "[\\x01-\\x1f]",
        Just("%25".to_owned())
    ];
    vec(piece, 1..6).prop_map(|pieces| pieces.concat())
}

/// JSON out of the words that notifications are made of.
fn garbled() -> impl Strategy<Value = Value> {
    let word = || {
        prop::sample::select(vec![
            "Records",
            "events",
            "s3",
            "oss",
            "cos",
            "obs",
            "object",
            "bucket",
            "key",
            "name",
            "data",
            "Message",
            "message",
            "attributes",
            "eventType",
            "eventName",
            "specversion",
            "detail-type",
            "detail",
            "action",
            "cosObject",
            "cosBucket",
            "appid",
            "url",
            "event",
            "kind",
            "storage#object",
            "body",
            "Type",
            "type",
            "OBJECT_DELETE",
            "copy",
            "scan",
            "part",
            "size",
            "eTag",
            "eventTime",
            "time",
            "/1/b/k",
            "k%FF",
            "aws:s3",
        ])
    };
    let leaf = prop_oneof![
        word().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(Value::Null),
        Just(json!("eyJrZXkiOiJrIn0=")),
        Just(json!(r#"{"Message":"{}"}"#)),
    ];
    leaf.prop_recursive(5, 40, 4, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((word(), inner), 0..4).prop_map(|fields| {
                fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_shape_makes_another_key_of_a_key(key in keys()) {
        for (shape, text) in of_every_shape(&key) {
            let read = parse(&text).unwrap_or_else(|error| panic!("{shape}: {error}"));
            let read: Vec<_> = read.events.iter().map(|event| event.key.as_str()).collect();
            prop_assert_eq!(read, vec![key.as_str()], "{}: {}", shape, text);
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,80}|[A-Za-z0-9+/=<>&%{}\":,\\[\\]]{0,80}") {
        let _read = (parse(&text), Incoming::parse(&text));
    }

    #[test]
    fn no_json_makes_the_parser_panic_and_every_job_has_a_key(value in garbled()) {
        if let Ok(read) = parse(&value.to_string()) {
            prop_assert!(read.jobs().len() <= read.events.len());
            prop_assert!(read.events.iter().all(|event| !event.key.as_str().is_empty()));
        }
        let _incoming = Incoming::parse(&value.to_string());
    }
}
