//! Encryption, ACLs, locks and who pays, on the wire: which operation carries what.

use std::fmt::Write as _;

use bytes::Bytes;
use ferry_transfer::attribute_rules::{AttributeRules, CannedAcl, ObjectLock, RetentionMode};
use ferry_transfer::store::{
    BodyChecksum, CarriedAttributes, CompleteUploadRequest, CopyObjectRequest, CopyPartRequest, CopySource,
    CreateUploadRequest, DeleteRequest, GetRequest, HeadRequest, ListRequest, PutRequest, UploadId,
    UploadPartRequest, WriteCondition,
};
use ferry_transfer::{Attributes, ByteRange, ObjectStore, Support};
use time::OffsetDateTime;

use super::server::{Answer, Seen, Server};
use super::{bucket, key};
use crate::s3::S3Bucket;

const KEY: &str = "x-amz-server-side-encryption-customer-key";
const SOURCE_KEY: &str = "x-amz-copy-source-server-side-encryption-customer-key";
const PAYER: &str = "x-amz-request-payer";
const ENCRYPTION: &str = "x-amz-server-side-encryption";
const ACL: &str = "x-amz-acl";

/// A file with a key of 32 bytes, and the line of a description that names it.
fn key_file(byte: u8) -> (tempfile::NamedTempFile, String) {
    let file = tempfile::NamedTempFile::new().expect("file");
    let hex = (0..32).fold(String::new(), |mut hex, _| {
        write!(hex, "{byte:02x}").expect("a string takes anything");
        hex
    });
    std::fs::write(file.path(), hex).expect("written");
    let line = format!("customer_key: file:{}", file.path().display());
    (file, line)
}

/// Sends one of each operation; what each sent.
async fn one_of_each(store: &S3Bucket, server: &Server) -> Vec<(&'static str, Seen)> {
    let source = || CopySource { bucket: "from".to_owned(), key: key("s"), if_match: None, version_id: None };
    let upload_id = || UploadId("U".to_owned());
    let range = ByteRange::new(0, 1).expect("range");
    let put = PutRequest {
        key: key("k"),
        attributes: Attributes::default(),
        body: Bytes::from_static(b"x").into(),
        condition: WriteCondition::None,
        checksum: BodyChecksum::default(),
    };
    let part = UploadPartRequest {
        key: key("k"),
        upload_id: upload_id(),
        part_number: 1,
        body: Bytes::from_static(b"x").into(),
        checksum: BodyChecksum::default(),
    };
    let complete = CompleteUploadRequest {
        key: key("k"),
        upload_id: upload_id(),
        parts: Vec::new(),
        condition: WriteCondition::None,
        size_bytes: 1,
        crc64_nvme: None,
    };
    let copy = CopyObjectRequest {
        source: source(),
        key: key("k"),
        attributes: CarriedAttributes::Kept { storage_class: None, lock: ObjectLock::default() },
        condition: WriteCondition::None,
        size_hint_bytes: None,
    };
    let copy_part =
        CopyPartRequest { source: source(), range, key: key("k"), upload_id: upload_id(), part_number: 1 };
    let create = CreateUploadRequest { key: key("k"), attributes: Attributes::default() };
    let get = GetRequest { key: key("k"), if_match: None, version_id: None, range: None };
    let mut sent = Vec::new();
    // What is made of the empty answers does not matter here.
    macro_rules! send {
        ($name:literal, $call:expr) => {
            drop($call.await);
            sent.push(($name, server.only()));
        };
    }
    send!("list", store.list(ListRequest::default()));
    send!("head", store.head(HeadRequest::of(&key("k"))));
    send!("get", store.get(get));
    send!("put", store.put(put));
    send!("create", store.create_upload(create));
    send!("part", store.upload_part(part));
    send!("complete", store.complete_upload(complete));
    send!("copy", store.copy_object(copy));
    send!("copy part", store.copy_part(copy_part));
    send!("delete", store.delete(DeleteRequest::of(&key("k"))));
    sent
}

fn carrying(sent: &[(&'static str, Seen)], header: &str) -> Vec<&'static str> {
    sent.iter().filter(|(_, seen)| seen.header(header).is_some()).map(|(name, _)| *name).collect()
}

#[tokio::test]
async fn nothing_is_sent_unasked() {
    let server = Server::start(|_| Answer::ok()).await;
    let sent = one_of_each(&bucket(&server, "provider: other").await, &server).await;
    for header in [KEY, SOURCE_KEY, PAYER, ENCRYPTION, ACL] {
        assert_eq!(carrying(&sent, header), [""; 0], "{header}");
    }
}

#[tokio::test]
async fn the_customers_key_goes_where_bytes_go_and_the_sources_where_they_are_copied() {
    let server = Server::start(|_| Answer::ok()).await;
    let (_source_file, source_line) = key_file(1);
    let (_file, line) = key_file(2);
    let source = bucket(&server, &source_line).await;
    let store = bucket(&server, &line).await.as_destination(&AttributeRules::default(), source.account());
    assert_eq!(store.capabilities().etag_is_md5, Support::No);
    let sent = one_of_each(&store, &server).await;
    let with_bytes = ["head", "get", "put", "create", "part", "complete", "copy", "copy part"];
    assert_eq!(carrying(&sent, KEY), with_bytes);
    assert_eq!(carrying(&sent, SOURCE_KEY), ["copy", "copy part"]);
    let copy = &sent.iter().find(|(name, _)| *name == "copy").expect("copy").1;
    let base64_of_32 = |byte: char| copy.header(KEY).is_some_and(|key| key.contains(byte));
    assert!(base64_of_32('C'), "{copy:?}");
    assert_eq!(copy.header(&format!("{KEY}-md5")).map(str::len), Some(24));
    assert_eq!(copy.header("x-amz-server-side-encryption-customer-algorithm"), Some("AES256"));
    assert!(!format!("{store:?}").contains(copy.header(KEY).expect("key")), "a key shows in Debug");
}

#[tokio::test]
async fn whoever_asks_pays_for_everything() {
    let server = Server::start(|_| Answer::ok()).await;
    let sent = one_of_each(&bucket(&server, "requester_pays: true").await, &server).await;
    assert_eq!(carrying(&sent, PAYER).len(), sent.len());
}

#[tokio::test]
async fn encryption_and_acl_go_where_objects_begin() {
    let server = Server::start(|_| Answer::ok()).await;
    let plain = bucket(&server, "provider: other").await;
    let rules: AttributeRules = serde_saphyr::from_str(
        "encryption: {kind: kms, key_id: alias/a, context: {team: x}, bucket_key: true}\nacl: public-read\n",
    )
    .expect("rules");
    let source = plain.clone();
    let store = plain.as_destination(&rules, source.account());
    let sent = one_of_each(&store, &server).await;
    let beginning = ["put", "create", "copy"];
    for header in [ENCRYPTION, ACL, "x-amz-server-side-encryption-context"] {
        assert_eq!(carrying(&sent, header), beginning, "{header}");
    }
    for (header, value) in [
        (ENCRYPTION, "aws:kms"),
        ("x-amz-server-side-encryption-aws-kms-key-id", "alias/a"),
        // {"team":"x"}
        ("x-amz-server-side-encryption-context", "eyJ0ZWFtIjoieCJ9"),
        ("x-amz-server-side-encryption-bucket-key-enabled", "true"),
        (ACL, "public-read"),
    ] {
        let put = &sent.iter().find(|(name, _)| *name == "put").expect("put").1;
        assert_eq!(put.header(header), Some(value), "{header}");
    }
    let twice: AttributeRules = serde_saphyr::from_str("encryption: {kind: kms-dsse}").expect("rules");
    let sent = one_of_each(&store.clone().as_destination(&twice, source.account()), &server).await;
    assert_eq!(sent[3].1.header(ENCRYPTION), Some("aws:kms:dsse"));
    let managed: AttributeRules = AttributeRules {
        acl: Some(CannedAcl::Private),
        ..serde_saphyr::from_str("encryption: {kind: s3}").expect("rules")
    };
    let store = store.as_destination(&managed, source.account());
    assert_eq!(store.capabilities().etag_is_md5, source.capabilities().etag_is_md5);
    let sent = one_of_each(&store, &server).await;
    assert_eq!((sent[3].1.header(ENCRYPTION), sent[3].1.header(ACL)), (Some("AES256"), Some("private")));
}

#[tokio::test]
async fn a_lock_is_written_and_read() {
    let server = Server::start(|_| {
        Answer::ok()
            .header("x-amz-object-lock-mode", "COMPLIANCE")
            .header("x-amz-object-lock-retain-until-date", "2030-01-02T03:04:05.000Z")
            .header("x-amz-object-lock-legal-hold", "ON")
    })
    .await;
    let store = bucket(&server, "provider: other").await;
    let lock = store.head(HeadRequest::of(&key("k"))).await.expect("head").attributes.lock;
    server.only();
    let until = OffsetDateTime::from_unix_timestamp(1_893_553_445).expect("time");
    assert_eq!(lock, ObjectLock { retention: Some((RetentionMode::Compliance, until)), legal_hold: true });
    let attributes = Attributes { lock, ..Attributes::default() };
    drop(store.create_upload(CreateUploadRequest { key: key("k"), attributes }).await);
    let seen = server.only();
    assert_eq!(seen.header("x-amz-object-lock-mode"), Some("COMPLIANCE"));
    assert_eq!(seen.header("x-amz-object-lock-retain-until-date"), Some("2030-01-02T03:04:05Z"));
    assert_eq!(seen.header("x-amz-object-lock-legal-hold"), Some("ON"));
}
