//! Reads on the wire: the right generation, the right range, or an error.

use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use ferry_transfer::store::{GetRequest, HeadRequest};
use ferry_transfer::{ByteRange, ETag, ErrorKind, ObjectStore as _, Result};

use super::super::{answered, upload_limit};
use super::server::{Answer, Server};
use super::{aws, compatible, key};
use crate::credentials::CredentialRef;
use crate::store_config::{StoreConfig, connect};

fn get(of: &str) -> GetRequest {
    GetRequest { key: key(of), if_match: None, version_id: None, range: None }
}

#[tokio::test]
async fn a_read_quotes_its_generation_and_asks_for_no_compression() {
    let server = Server::start(|_| {
        Answer::status(206, "Partial Content")
            .header("content-range", "bytes 2-4/10")
            .header("etag", "\"E\"")
            .header("x-oss-hash-crc64ecma", "5981764153023615706")
            .header("expires", "0")
            .body("llo")
    })
    .await;
    let request = GetRequest {
        if_match: ETag::parse("\"E\""),
        range: ByteRange::new(2, 3),
        version_id: Some("V".into()),
        ..get("a//b/../c+d e%20")
    };
    let answer = compatible(&server).await.get(request).await.expect("get");
    assert_eq!(answer.head.size_bytes, 10);
    let declared = answer.head.checksums.other_of_whole().expect("declared");
    assert_eq!(declared.bytes(), 5_981_764_153_023_615_706_u64.to_be_bytes());
    assert_eq!(answer.head.attributes.expires.as_deref(), Some("0"));
    assert_eq!(answer.body.collect().await.expect("body"), "llo");
    let seen = server.only();
    assert_eq!(seen.header("if-match"), Some("\"E\""));
    assert_eq!(seen.header("range"), Some("bytes=2-4"));
    assert_eq!(seen.header("accept-encoding"), Some("identity"));
    assert!(!seen.header("authorization").expect("signed").contains("accept-encoding"));
    assert_eq!(seen.header("x-amz-checksum-mode"), None);
    assert!(seen.target().starts_with("/b/a//b/../c%2Bd%20e%2520?"), "{}", seen.target());
    assert!(seen.target().contains("versionId=V"));
}

#[tokio::test]
async fn a_range_is_the_one_asked_for_or_an_error() {
    for (answer, reason) in [
        (Answer::ok().body("0123456789"), "ignored the Range header"),
        (
            Answer::status(206, "Partial Content").header("content-range", "bytes 0-2/10").body("012"),
            "answered the range bytes=0-2 of 10",
        ),
        (
            Answer::status(206, "Partial Content").header("content-range", "bytes 2-4/10").body("2345"),
            "answered the range",
        ),
    ] {
        let server = Server::start(move |_| answer.clone()).await;
        let request = GetRequest { range: ByteRange::new(2, 3), ..get("k") };
        let error = compatible(&server).await.get(request).await.expect_err(reason);
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_transient_and_says_where() {
    let server = Server::start(|_| Answer::ok().header("content-length", "10").body("01234").cut()).await;
    let answer = compatible(&server).await.get(get("k")).await.expect("head");
    let error = answer.body.collect().await.expect_err("cut");
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert!(error.to_string().starts_with("GetObject lab://b key \"k\""), "{error}");
}

#[tokio::test]
async fn bytes_that_do_not_match_amazons_checksum_are_corrupt() {
    let server =
        Server::start(|_| Answer::ok().header("x-amz-checksum-crc64nvme", "AAAAAAAAAAE=").body("hello"))
            .await;
    let answer = aws(&server).await.get(get("k")).await.expect("head");
    assert_eq!(answer.body.collect().await.expect_err("mismatch").kind(), ErrorKind::Corrupt);
    assert_eq!(server.only().header("x-amz-checksum-mode"), Some("ENABLED"));
}

#[tokio::test]
async fn metadata_that_is_not_utf8_fails_its_object_and_names_the_header() {
    for name in ["x-amz-meta-name", "expires"] {
        let line = [name.as_bytes(), b": caf\xE9"].concat();
        let server = Server::start(move |_| Answer::ok().raw_header(&line).body("x")).await;
        let error = compatible(&server).await.get(get("k")).await.expect_err("latin-1");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_request_waits_for_ever() {
    // Nobody is asked anything, not even for credentials: real waiting and a paused clock do not go together.
    let config = StoreConfig {
        endpoint: Some("http://127.0.0.1:1".to_owned()),
        credentials: CredentialRef::Anonymous,
        ..StoreConfig::default()
    };
    let store = connect("lab", &config).await.expect("account").bucket("b");
    let place = store.place("GetObject", None);
    let never = std::future::pending::<Result<(), SdkError<GetObjectError, HttpResponse>>>();
    let error = answered(&place, upload_limit(1 << 20), never).await.expect_err("no answer");
    assert_eq!(error.kind(), ErrorKind::Transient);
    // A minute, and 16 s for a MiB at 64 KiB/s.
    assert!(error.to_string().contains("within 76 s"), "{error}");
}

#[tokio::test]
async fn a_refused_request_is_sent_once() {
    let server = Server::start(|_| {
        Answer::status(503, "Slow Down")
            .header("x-amz-request-id", "R")
            .body("<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>")
    })
    .await;
    let error = compatible(&server).await.head(HeadRequest::of(&key("k"))).await.expect_err("throttled");
    assert_eq!(error.kind(), ErrorKind::Throttled);
    assert_eq!(error.request_id(), Some("R"));
    server.only();
}

#[tokio::test]
async fn tags_are_read_in_their_order() {
    let server = Server::start(|_| {
        Answer::ok().body(
            "<Tagging><TagSet><Tag><Key>z</Key><Value>1</Value></Tag><Tag><Key>a</Key><Value></Value></Tag></TagSet></Tagging>",
        )
    })
    .await;
    let tags = compatible(&server).await.get_tags(&key("k"), None).await.expect("tags");
    assert_eq!(tags, [("z".to_owned(), "1".to_owned()), ("a".to_owned(), String::new())]);
}
