//! What is written beside the bytes: encryption, ACLs, locks, and what becomes of attributes that do not fit.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ferry_testkit::bucket::{Payload, StoredEncryption, Written};
use ferry_testkit::operation::Operation;
use ferry_tests::{Pair, Side, StoreSetup};
use ferry_transfer::attribute_rules::RetentionMode;
use ferry_transfer::checksum::{DigestSet, digest};
use ferry_transfer::store::WriteCondition;
use ferry_transfer::{Attributes, StorageClass};

use crate::objects::{bytes, ferry, parts, sync, whole};

/// The values of a header in the requests of one operation.
fn sent(pair: &Pair, side: Side, operation: Operation, header: &str) -> Vec<Option<String>> {
    let requests = pair.server(side).recent_requests();
    requests
        .iter()
        .filter(|request| request.target.operation == operation)
        .map(|request| request.headers.get(header).cloned())
        .collect()
}

fn assert_all_sent(pair: &Pair, side: Side, operation: Operation, header: &str, value: &str) {
    let values = sent(pair, side, operation, header);
    assert!(!values.is_empty(), "no {operation}");
    assert!(values.iter().all(|found| found.as_deref() == Some(value)), "{operation} {header}: {values:?}");
}

#[tokio::test]
async fn encryption_acl_lock_and_payer_are_asked_for_by_flags() {
    let pair = Pair::start().await;
    pair.from().put_object("small", bytes(100, 1));
    pair.from().put_object_in_parts("large", parts(&bytes(11 << 20, 2), 5 << 20), Attributes::default());
    let args = [
        "--encryption",
        "s3",
        "--acl",
        "bucket-owner-full-control",
        "--object-lock",
        "governance:30",
        "--source-requester-pays",
        "--dest-requester-pays",
    ];
    sync(&pair, &args).await.expect_code(0);
    for operation in [Operation::PutObject, Operation::CreateMultipartUpload] {
        assert_all_sent(&pair, Side::Destination, operation, "x-amz-server-side-encryption", "AES256");
        assert_all_sent(&pair, Side::Destination, operation, "x-amz-acl", "bucket-owner-full-control");
    }
    for (side, operation) in [
        (Side::Source, Operation::ListObjectsV2),
        (Side::Source, Operation::GetObject),
        (Side::Destination, Operation::ListObjectsV2),
        (Side::Destination, Operation::UploadPart),
        (Side::Destination, Operation::CompleteMultipartUpload),
    ] {
        assert_all_sent(&pair, side, operation, "x-amz-request-payer", "requester");
    }
    for key in ["small", "large"] {
        let copy = pair.to().get(key).expect("copy");
        let (mode, until) = copy.attributes.lock.retention.expect("a retention");
        let days = (until - copy.last_modified).whole_days();
        assert!(mode == RetentionMode::Governance && (29..=30).contains(&days), "{key}: {until}");
    }
}

#[tokio::test]
async fn the_lock_of_the_source_is_copied_where_that_is_asked_for() {
    let pair = Pair::start().await;
    let lock = "compliance:2".parse::<ferry_transfer::attribute_rules::LockRule>().expect("rule");
    let lock = lock.of_copy(
        ferry_transfer::attribute_rules::ObjectLock::default(),
        pair.from().put_object("clock", "").last_modified,
    );
    pair.from().put_object_with("held", bytes(10, 1), Attributes { lock, ..Attributes::default() });
    sync(&pair, &[]).await.expect_code(0);
    assert!(pair.to().get("held").expect("copy").attributes.lock.is_none());
    pair.to().clear();
    sync(&pair, &["--object-lock", "copy"]).await.expect_code(0);
    assert_eq!(pair.to().get("held").expect("copy").attributes.lock, lock);
}

#[tokio::test]
async fn customer_keys_are_references_and_are_sent_with_every_request_that_touches_bytes() {
    let pair = Pair::start().await;
    let key_md5 = digest(b"0123456789abcdef0123456789abcdef", DigestSet::MD5).md5.expect("asked for");
    let encrypted = Written {
        encryption: StoredEncryption::Customer { key_md5: STANDARD.encode(key_md5) },
        ..Written::default()
    };
    let body = Payload::from(bytes(100, 1));
    pair.from().put("small", body, encrypted, &WriteCondition::None).expect("written");
    std::fs::write(pair.directory().join("key"), [7; 32]).expect("key");
    let ended = whole(&pair, "sync")
        .args(["--json", "--source-customer-key", "env:SOURCE_KEY", "--dest-customer-key", "file:key"])
        .env("SOURCE_KEY", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
        .run()
        .await
        .expect_code(0);
    assert!(!ended.shows("MDEyMzQ1Njc4OWFiY2RlZ"), "{ended}");
    let md5 = "x-amz-server-side-encryption-customer-key-md5";
    let (get, put) = (
        sent(&pair, Side::Source, Operation::GetObject, md5),
        sent(&pair, Side::Destination, Operation::PutObject, md5),
    );
    assert!(get[0].is_some() && put[0].is_some() && get != put, "{get:?} {put:?}");
    let pasted = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    let refused =
        ferry(&pair, ["sync", "harbour://docks/", "island://beach/", "--source-customer-key", pasted]);
    let refused = refused.run().await.expect_refusal(&["env:NAME"]);
    assert!(!refused.shows(pasted), "{refused}");
}

/// A destination that holds less than its source.
fn narrow() -> StoreSetup {
    StoreSetup {
        yaml: &[
            "profile: {capabilities: {storage_classes: [STANDARD], user_metadata_bytes_max: 40, tags: 'no'}}",
        ],
        ..StoreSetup::default()
    }
}

fn wide() -> Attributes {
    Attributes {
        storage_class: StorageClass::parse("ColdArchive"),
        user_metadata: [("fits".to_owned(), "yes".to_owned()), ("large".to_owned(), "x".repeat(100))].into(),
        tags: vec![("team".to_owned(), "a".to_owned())],
        ..Attributes::default()
    }
}

#[tokio::test]
async fn what_does_not_fit_fails_the_object_unless_the_task_lets_it_go() {
    let pair = Pair::with(StoreSetup::default(), narrow()).await;
    pair.from().put_object_with("k", "body", wide());
    let ended = sync(&pair, &[]).await.expect_code(1);
    for word in ["ColdArchive", "--storage-class", "large", "tags", "--unsupported drop"] {
        assert!(ended.stdout.contains(word), "{word}: {ended}");
    }
    assert!(pair.to().is_empty());
    sync(&pair, &["--unsupported", "drop"]).await.expect_code(0);
    let copy = pair.to().get("k").expect("copy");
    assert_eq!(copy.attributes.user_metadata.keys().collect::<Vec<_>>(), ["fits"]);
    assert!(copy.attributes.tags.is_empty() && copy.attributes.storage_class.is_none());
}

#[tokio::test]
async fn a_sidecar_keeps_what_does_not_fit_and_is_no_extra() {
    let pair = Pair::with(StoreSetup::default(), narrow()).await;
    pair.from().put_object_with("k", "body", wide());
    pair.from().put_object("plain", "body");
    let args = ["--unsupported", "sidecar", "--delete"];
    sync(&pair, &args).await.expect_code(0);
    assert_eq!(pair.to().keys(), ["k", "k.ferry-attributes.json", "plain"]);
    let document = pair.to().bytes("k.ferry-attributes.json").expect("sidecar");
    let document: serde_json::Value = serde_json::from_slice(&document).expect("json");
    assert_eq!(document["storage_class"], "ColdArchive");
    assert_eq!(document["user_metadata"]["large"], "x".repeat(100));
    assert_eq!(document["tags"][0][0], "team");
    let again = sync(&pair, &args).await.expect_code(0);
    let report = again.report();
    assert_eq!((report["copied"].as_u64(), report["deleted"].as_u64()), (Some(0), Some(0)), "{again}");
    assert_eq!(report["extra"], 0, "{again}");
    assert_eq!(pair.to().len(), 3);
}
