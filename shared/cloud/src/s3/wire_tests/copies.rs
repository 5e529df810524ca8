//! Copies within a store and restores on the wire.

use ferry_transfer::attribute_rules::ObjectLock;
use ferry_transfer::store::{
    CarriedAttributes, CopyObjectRequest, CopyPartRequest, CopySource, RestoreAnswer, RestoreRequest,
    RestoreTier, UploadId, WriteCondition,
};
use ferry_transfer::{Attributes, ByteRange, ETag, ErrorKind, ObjectStore as _, StorageClass};

use super::server::{Answer, Server};
use super::{aws, compatible, key};

const COPIED: &str = "<CopyObjectResult><ETag>\"E\"</ETag></CopyObjectResult>";

fn copy(attributes: CarriedAttributes) -> CopyObjectRequest {
    CopyObjectRequest {
        source: CopySource {
            bucket: "from".to_owned(),
            key: key("a b/+100%?versionId=x/备份//."),
            if_match: ETag::parse("G"),
            version_id: Some("v 1".to_owned()),
        },
        key: key("k"),
        attributes,
        condition: WriteCondition::Absent,
        size_hint_bytes: Some(1),
    }
}

#[tokio::test]
async fn a_copy_names_its_source_byte_for_byte_and_both_generations() {
    let server = Server::start(|_| Answer::ok().body(COPIED)).await;
    let kept = CarriedAttributes::Kept {
        storage_class: StorageClass::parse("STANDARD_IA"),
        lock: ObjectLock::default(),
    };
    let written = aws(&server).await.copy_object(copy(kept)).await.expect("copied");
    assert_eq!(written.etag, ETag::parse("E"));
    let seen = server.only();
    for (name, value) in [
        ("x-amz-copy-source", "from/a%20b/%2B100%25%3FversionId%3Dx/%E5%A4%87%E4%BB%BD//.?versionId=v%201"),
        ("x-amz-copy-source-if-match", "\"G\""),
        ("if-none-match", "*"),
        ("x-amz-metadata-directive", "COPY"),
        ("x-amz-tagging-directive", "COPY"),
        ("x-amz-storage-class", "STANDARD_IA"),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
    assert_eq!(seen.header("content-type"), None);
}

#[tokio::test]
async fn a_copy_may_carry_other_attributes_but_keeps_its_tags() {
    let server = Server::start(|_| Answer::ok().body(COPIED)).await;
    let attributes = Attributes {
        website_redirect: Some("/there".to_owned()),
        user_metadata: [("a".to_owned(), "b".to_owned())].into(),
        tags: vec![("t".to_owned(), "v".to_owned())],
        ..Attributes::default()
    };
    let replaced = CarriedAttributes::Replaced(Box::new(attributes));
    compatible(&server).await.copy_object(copy(replaced)).await.expect("copied");
    let seen = server.only();
    for (name, value) in [
        ("x-amz-metadata-directive", Some("REPLACE")),
        ("x-amz-tagging-directive", Some("COPY")),
        ("x-amz-website-redirect-location", Some("/there")),
        ("x-amz-meta-a", Some("b")),
        ("x-amz-tagging", None),
    ] {
        assert_eq!(seen.header(name), value, "{name}");
    }
}

#[tokio::test]
async fn a_refusal_behind_status_200_is_a_failure() {
    let server =
        Server::start(|_| Answer::ok().body("<Error><Code>InternalError</Code><Message>m</Message></Error>"))
            .await;
    let kept = CarriedAttributes::Kept { storage_class: None, lock: ObjectLock::default() };
    let error = compatible(&server).await.copy_object(copy(kept)).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Transient);
}

#[tokio::test]
async fn a_part_is_copied_from_a_range() {
    let server =
        Server::start(|_| Answer::ok().body("<CopyPartResult><ETag>\"P\"</ETag></CopyPartResult>")).await;
    let request = CopyPartRequest {
        source: copy(CarriedAttributes::Kept { storage_class: None, lock: ObjectLock::default() }).source,
        range: ByteRange::new(5, 10).expect("range"),
        key: key("k"),
        upload_id: UploadId("U".to_owned()),
        part_number: 7,
    };
    let part = compatible(&server).await.copy_part(request).await.expect("copied");
    assert_eq!((part.part_number, Some(part.etag)), (7, ETag::parse("P")));
    let seen = server.only();
    assert_eq!(seen.header("x-amz-copy-source-range"), Some("bytes=5-14"));
    assert_eq!(seen.header("x-amz-copy-source-if-match"), Some("\"G\""));
    assert!(seen.target().contains("partNumber=7") && seen.target().contains("uploadId=U"), "{seen:?}");
}

#[tokio::test]
async fn a_restore_says_for_how_long_and_how_fast_and_what_came_of_it() {
    let answers = [
        (202, "Accepted", "", RestoreAnswer::Begun),
        (200, "OK", "", RestoreAnswer::Readable),
        (409, "Conflict", "<Error><Code>RestoreAlreadyInProgress</Code></Error>", RestoreAnswer::InProgress),
    ];
    for (status, reason, body, expected) in answers {
        let server = Server::start(move |_| Answer::status(status, reason).body(body)).await;
        let request =
            RestoreRequest { key: key("k"), version_id: None, days: Some(3), tier: RestoreTier::Bulk };
        let answer = compatible(&server).await.restore(request).await.expect("answered");
        assert_eq!(answer, expected);
        let seen = server.only();
        let document = String::from_utf8_lossy(&seen.body);
        assert!(document.contains("<Days>3</Days>") && document.contains("<Tier>Bulk</Tier>"), "{document}");
        assert!(seen.target().contains("restore"), "{seen:?}");
        assert!(seen.header("content-md5").is_some() && seen.header("x-amz-checksum-crc32").is_none());
    }
}
