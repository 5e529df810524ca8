//! What goes over the wire, byte for byte, and what is made of odd answers: against a server that records requests and answers
//! what each test says.

mod server;

use bytes::Bytes;
use ferry_transfer::store::{
    BodyChecksum, CompleteUploadRequest, CreateUploadRequest, GetRequest, ListRequest, PutRequest, UploadId,
    UploadPartRequest, UploadedPart, WriteCondition,
};
use ferry_transfer::{
    Attributes, Body, ByteRange, ETag, Error, ErrorKind, Key, ObjectStore as _, StorageClass,
};
use futures::stream;

use self::server::{Answer, Seen, Server};
use super::*;
use crate::credentials::CredentialRef;
use crate::profile::Addressing;
use crate::store_config::{StoreConfig, connect};

const NOTHING_LISTED: &str = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";

/// A bucket of a store at `server`, described by YAML lines besides the endpoint.
async fn bucket(server: &Server, yaml: &str) -> S3Bucket {
    let mut config: StoreConfig =
        serde_saphyr::from_str(&format!("region: r1\n{yaml}")).expect("configuration");
    config.endpoint = Some(server.url());
    config.credentials = CredentialRef::Command("echo AKID SECRET".into());
    connect("lab", &config).await.expect("account").bucket("b")
}

async fn compatible(server: &Server) -> S3Bucket {
    bucket(server, "provider: other").await
}

async fn aws(server: &Server) -> S3Bucket {
    bucket(server, "provider: aws\naddressing: path").await
}

fn key(key: &str) -> Key {
    Key::new(key).expect("key")
}

fn get(of: &str) -> GetRequest {
    GetRequest { key: key(of), if_match: None, version_id: None, range: None }
}

fn put(body: Body) -> PutRequest {
    PutRequest {
        key: key("k"),
        attributes: Attributes::default(),
        body,
        condition: WriteCondition::None,
        checksum: BodyChecksum::default(),
    }
}

fn stream_of(bytes: &'static [u8]) -> Body {
    Body::stream(bytes.len() as u64, stream::iter([Ok(Bytes::from_static(bytes))]))
}

fn assert_plain(seen: &Seen) {
    for header in
        ["x-amz-trailer", "x-amz-sdk-checksum-algorithm", "x-amz-decoded-content-length", "transfer-encoding"]
    {
        assert_eq!(seen.header(header), None, "{header}");
    }
    assert!(!seen.head.contains("aws-chunked"), "{}", seen.head);
    assert!(!seen.head.contains("x-amz-checksum-crc32"), "{}", seen.head);
}

#[tokio::test]
async fn a_streamed_put_to_a_compatible_store_is_plain_and_unsigned() {
    let server = Server::start(|_| Answer::ok().header("etag", "\"E\"")).await;
    let answer = compatible(&server).await.put(put(stream_of(b"hello"))).await.expect("put");
    assert_eq!(answer.etag, ETag::parse("E"));
    let seen = server.only();
    assert_plain(&seen);
    assert_eq!(seen.body, b"hello");
    assert_eq!(seen.header("content-length"), Some("5"));
    assert_eq!(seen.header("x-amz-content-sha256"), Some("UNSIGNED-PAYLOAD"));
}

#[tokio::test]
async fn a_body_in_memory_is_guarded_by_md5_or_by_the_signature() {
    let server = Server::start(|_| Answer::ok()).await;
    let other = compatible(&server).await;
    other.put(put(Bytes::from_static(b"hello").into())).await.expect("put");
    let signed = server.only();
    assert_plain(&signed);
    // sha256("hello")
    assert_eq!(
        signed.header("x-amz-content-sha256"),
        Some("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824")
    );
    let with_md5 = || PutRequest {
        checksum: BodyChecksum { crc64_nvme: Some(7), md5: Some([7; 16]) },
        ..put(Bytes::from_static(b"hello").into())
    };
    let minio = bucket(&server, "provider: minio").await;
    minio.put(with_md5()).await.expect("put");
    let guarded = server.only();
    assert_eq!(guarded.header("content-md5"), Some("BwcHBwcHBwcHBwcHBwcHBw=="));
    assert_eq!(guarded.header("x-amz-content-sha256"), Some("UNSIGNED-PAYLOAD"));
    assert_eq!(guarded.header("x-amz-checksum-crc64nvme"), None);
    let refusing = bucket(&server, "provider: minio\noverrides: {capabilities: {content_md5: 'no'}}").await;
    refusing.put(with_md5()).await.expect("put");
    assert_eq!(server.only().header("content-md5"), None);
}

#[tokio::test]
async fn a_store_known_to_check_crc64nvme_gets_it_in_a_header_and_never_in_a_trailer() {
    let server = Server::start(|_| Answer::ok()).await;
    let store = bucket(&server, "provider: other\noverrides: {capabilities: {crc64_nvme: 'yes'}}").await;
    let request = PutRequest {
        checksum: BodyChecksum { crc64_nvme: Some(0xAE8B_1486_0A79_9888), md5: None },
        ..put(stream_of(b"123456789"))
    };
    store.put(request).await.expect("put");
    let seen = server.only();
    assert_plain(&seen);
    assert_eq!(seen.header("x-amz-checksum-crc64nvme"), Some("rosUhgp5mIg="));
}

#[tokio::test]
async fn amazon_gets_crc64nvme_in_a_header_or_in_a_trailer() {
    let server = Server::start(|_| Answer::ok()).await;
    let store = aws(&server).await;
    store.put(put(Bytes::from_static(b"123456789").into())).await.expect("put");
    let in_memory = server.only();
    assert_eq!(in_memory.header("x-amz-checksum-crc64nvme"), Some("rosUhgp5mIg="));
    assert_eq!(in_memory.header("x-amz-content-sha256"), Some("UNSIGNED-PAYLOAD"));
    store.put(put(stream_of(b"123456789"))).await.expect("put");
    let streamed = server.only();
    assert_eq!(streamed.header("x-amz-trailer"), Some("x-amz-checksum-crc64nvme"));
    assert_eq!(streamed.header("x-amz-decoded-content-length"), Some("9"));
    assert!(String::from_utf8_lossy(&streamed.body).contains("x-amz-checksum-crc64nvme:rosUhgp5mIg="));
}

#[tokio::test]
async fn amazon_gets_whole_object_checksums_of_uploads_in_parts() {
    let server = Server::start(|seen| {
        if seen.target().contains("uploads") {
            Answer::ok()
                .body("<InitiateMultipartUploadResult><UploadId>U</UploadId></InitiateMultipartUploadResult>")
        } else {
            Answer::ok()
                .body("<CompleteMultipartUploadResult><ETag>\"E-1\"</ETag></CompleteMultipartUploadResult>")
        }
    })
    .await;
    let store = aws(&server).await;
    let upload_id = store
        .create_upload(CreateUploadRequest { key: key("k"), attributes: Attributes::default() })
        .await
        .expect("upload");
    let created = server.only();
    assert_eq!(created.header("x-amz-checksum-algorithm"), Some("CRC64NVME"));
    assert_eq!(created.header("x-amz-checksum-type"), Some("FULL_OBJECT"));
    let crc = 0xAE8B_1486_0A79_9888;
    store
        .complete_upload(CompleteUploadRequest {
            key: key("k"),
            upload_id,
            parts: vec![UploadedPart {
                part_number: 1,
                etag: ETag::parse("P").expect("tag"),
                crc64_nvme: Some(crc),
            }],
            condition: WriteCondition::Matches(ETag::parse("OLD").expect("tag")),
            size_bytes: 9,
            crc64_nvme: Some(crc),
        })
        .await
        .expect("completed");
    let completed = server.only();
    assert_eq!(completed.header("x-amz-checksum-crc64nvme"), Some("rosUhgp5mIg="));
    assert_eq!(completed.header("x-amz-checksum-type"), Some("FULL_OBJECT"));
    assert_eq!(completed.header("x-amz-mp-object-size"), Some("9"));
    assert_eq!(completed.header("if-match"), Some("\"OLD\""));
    let body = String::from_utf8(completed.body).expect("text");
    assert!(body.contains("<ChecksumCRC64NVME>rosUhgp5mIg=</ChecksumCRC64NVME>"), "{body}");
}

#[tokio::test]
async fn a_compatible_store_hears_nothing_of_checksums_in_an_upload_in_parts() {
    let server = Server::start(|seen| {
        if seen.target().contains("uploads") {
            Answer::ok()
                .body("<InitiateMultipartUploadResult><UploadId>U</UploadId></InitiateMultipartUploadResult>")
        } else if seen.head.starts_with("POST") {
            // As Ceph 16 answers.
            Answer::ok().body("<CompleteMultipartUploadResult><ETag></ETag></CompleteMultipartUploadResult>")
        } else {
            Answer::ok().header("etag", "\"P\"")
        }
    })
    .await;
    let store = compatible(&server).await;
    let attributes = Attributes::default();
    let upload_id =
        store.create_upload(CreateUploadRequest { key: key("k"), attributes }).await.expect("upload");
    assert!(!server.only().head.contains("checksum"));
    let part = store
        .upload_part(UploadPartRequest {
            key: key("k"),
            upload_id: upload_id.clone(),
            part_number: 1,
            body: stream_of(b"hello"),
            checksum: BodyChecksum { crc64_nvme: Some(7), md5: None },
        })
        .await
        .expect("part");
    assert_plain(&server.only());
    assert_eq!(part.crc64_nvme, Some(7));
    let whole = store
        .complete_upload(CompleteUploadRequest {
            key: key("k"),
            upload_id,
            parts: vec![part],
            condition: WriteCondition::Absent,
            size_bytes: 5,
            crc64_nvme: Some(7),
        })
        .await
        .expect("completed");
    assert_eq!(whole.etag, None);
    let completed = server.only();
    assert!(!completed.head.contains("checksum") && !completed.head.contains("x-amz-mp-object-size"));
    assert_eq!(completed.header("if-none-match"), Some("*"));
    let body = String::from_utf8(completed.body).expect("text");
    assert!(!body.contains("Checksum"), "{body}");
}

#[tokio::test]
async fn attributes_travel_as_they_are() {
    let server = Server::start(|_| Answer::ok()).await;
    let request = PutRequest {
        attributes: Attributes {
            content_type: Some("text/plain".into()),
            content_disposition: Some("attachment; filename=\"年报.pdf\"".into()),
            expires: Some("whenever".into()),
            user_metadata: [("a".to_owned(), "Łukasz".to_owned())].into(),
            storage_class: StorageClass::parse("STANDARD_IA"),
            tags: vec![("k 1".into(), "v&1".into())],
            ..Attributes::default()
        },
        condition: WriteCondition::Absent,
        ..put(Bytes::from_static(b"x").into())
    };
    compatible(&server).await.put(request).await.expect("put");
    let seen = server.only();
    for (name, value) in [
        ("content-type", "text/plain"),
        ("content-disposition", "attachment; filename=\"年报.pdf\""),
        ("expires", "whenever"),
        ("x-amz-meta-a", "Łukasz"),
        ("x-amz-storage-class", "STANDARD_IA"),
        ("x-amz-tagging", "k%201=v%261"),
        ("if-none-match", "*"),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
}

#[tokio::test]
async fn a_streams_content_encoding_keeps_the_framing_amazon_needs() {
    let server = Server::start(|_| Answer::ok()).await;
    let request = PutRequest {
        attributes: Attributes {
            content_encoding: Some("gzip".into()),
            user_metadata: [("a".to_owned(), "Łukasz".to_owned())].into(),
            ..Attributes::default()
        },
        ..put(stream_of(b"hello"))
    };
    aws(&server).await.put(request).await.expect("put");
    let seen = server.only();
    let encodings = seen.headers("content-encoding").join(",");
    assert_eq!(encodings, "gzip,aws-chunked");
    assert_eq!(seen.header("x-amz-meta-a"), Some("=?UTF-8?B?xYF1a2Fzeg==?="));
    assert_eq!(seen.header("content-type"), None);
}

#[tokio::test]
async fn a_failing_source_is_the_error_of_the_put_it_fails() {
    let server = Server::start(|_| Answer::ok()).await;
    let chunks = [
        Ok(Bytes::from_static(b"he")),
        Err(Error::new(ErrorKind::PreconditionFailed, "the source moved on").on_key("source/key")),
    ];
    let error = compatible(&server)
        .await
        .put(put(Body::stream(5, stream::iter(chunks))))
        .await
        .expect_err("the source failed");
    assert_eq!(error.kind(), ErrorKind::PreconditionFailed);
    assert_eq!(error.key(), Some("source/key"));
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
    assert_eq!(answer.head.checksums.crc64_xz, Some(5_981_764_153_023_615_706));
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

#[tokio::test]
async fn listed_keys_are_decoded_once_and_only_if_they_are_encoded() {
    let encoded = "<ListBucketResult><IsTruncated>false</IsTruncated><EncodingType>url</EncodingType><Contents>\
                   <Key>a+b%2Bc%2520</Key><Size>1</Size><ETag>&quot;E&quot;</ETag>\
                   <LastModified>2026-01-02T03:04:05.000Z</LastModified><StorageClass>COLD_THING</StorageClass></Contents>\
                   <CommonPrefixes><Prefix>p%2F</Prefix></CommonPrefixes></ListBucketResult>";
    let server = Server::start(move |_| Answer::ok().body(encoded)).await;
    let request = ListRequest {
        prefix: "a b".into(),
        start_after: Some("a+".into()),
        delimiter: Some("/".into()),
        page_size: Some(5),
        ..ListRequest::default()
    };
    let page = compatible(&server).await.list(request).await.expect("page");
    assert_eq!(page.entries[0].key.as_str(), "a b+c%20");
    assert_eq!(page.entries[0].etag, ETag::parse("E"));
    assert_eq!(page.entries[0].storage_class, StorageClass::parse("COLD_THING"));
    assert_eq!(page.common_prefixes, ["p/"]);
    assert_eq!(page.next, None);
    let target = server.only().target().to_owned();
    for part in [
        "list-type=2",
        "prefix=a%20b",
        "start-after=a%2B",
        "delimiter=%2F",
        "max-keys=5",
        "encoding-type=url",
    ] {
        assert!(target.contains(part), "{part} in {target}");
    }
    let plain = "<ListBucketResult><Contents><Key>a+b%2B</Key><Size>1</Size></Contents></ListBucketResult>";
    let server = Server::start(move |_| Answer::ok().body(plain)).await;
    let page = compatible(&server).await.list(ListRequest::default()).await.expect("page");
    assert_eq!(page.entries[0].key.as_str(), "a+b%2B");
}

#[tokio::test]
async fn a_listing_goes_on_by_token_or_by_marker() {
    let page = "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>T+/=</NextContinuationToken>\
                <Contents><Key>k1</Key><Size>1</Size></Contents><CommonPrefixes><Prefix>k2/</Prefix></CommonPrefixes>\
                </ListBucketResult>";
    let server = Server::start(move |_| Answer::ok().body(page)).await;
    for (version, parameter) in [(2, "continuation-token=T%2B%2F%3D"), (1, "marker=k2%2F")] {
        let store =
            bucket(&server, &format!("provider: other\noverrides: {{list_version: {version}}}")).await;
        let first = store.list(ListRequest::default()).await.expect("first page");
        server.only();
        let request = ListRequest { cursor: first.next, ..ListRequest::default() };
        // The server answers the same page again: a listing that does not advance.
        let error = store.list(request).await.expect_err("stuck");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("does not advance"), "{error}");
        let target = server.only().target().to_owned();
        assert!(target.contains(parameter), "{parameter} in {target}");
    }
}

#[tokio::test]
async fn a_listing_that_cannot_be_read_in_full_is_never_the_end_of_it() {
    let entry = "<Contents><Key>a</Key><Size>1</Size></Contents>";
    for document in [
        String::new(),
        "<html>busy</html>".to_owned(),
        format!("<ListBucketResult><IsTruncated>false</IsTruncated>{entry}"),
        format!("<ListBucketResult><IsTruncated>false</IsTruncated>{entry}<Contents><Key>b</Ke"),
        format!(
            "<ListBucketResult>{entry}<Contents><Key>b\u{1}</Key><Size>1</Size></Contents></ListBucketResult>"
        ),
        format!(
            "<ListBucketResult>{entry}<Contents><Key>b&nope;</Key><Size>1</Size></Contents></ListBucketResult>"
        ),
        format!("<ListBucketResult>{entry}<Oops a=\"&nope;\"/>{entry}</ListBucketResult>"),
        format!("<ListBucketResult>{entry}</Oops>{entry}</ListBucketResult>"),
    ] {
        for version in [1, 2] {
            let body = document.clone();
            let server = Server::start(move |_| Answer::ok().body(body.clone())).await;
            let yaml = format!("provider: other\noverrides: {{list_version: {version}}}");
            let error = bucket(&server, &yaml).await.list(ListRequest::default()).await.expect_err(&document);
            assert_eq!(error.kind(), ErrorKind::Transient, "{document}: {error}");
        }
    }
}

#[tokio::test]
async fn a_listing_that_goes_on_nowhere_is_an_error() {
    let endless = "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>";
    let server = Server::start(move |_| Answer::ok().body(endless)).await;
    let error = compatible(&server).await.list(ListRequest::default()).await.expect_err("no token");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn alibabas_encoded_token_is_sent_back_as_it_was_meant() {
    let page = "<ListBucketResult><IsTruncated>true</IsTruncated><EncodingType>url</EncodingType>\
                <NextContinuationToken>a%2Bb%3D%3D</NextContinuationToken></ListBucketResult>";
    let server = Server::start(move |_| Answer::ok().body(page)).await;
    for (provider, parameter) in
        [("aliyun-oss", "continuation-token=a%2Bb%3D%3D"), ("minio", "continuation-token=a%252Bb%253D%253D")]
    {
        let store = bucket(&server, &format!("provider: {provider}\naddressing: path")).await;
        let cursor = store.list(ListRequest::default()).await.expect("page").next;
        server.only();
        let request = ListRequest { cursor, ..ListRequest::default() };
        store.list(request).await.expect_err("the same page again");
        let target = server.only().target().to_owned();
        assert!(target.ends_with(parameter), "{parameter} in {target}");
    }
}

#[tokio::test]
async fn a_cursor_of_the_other_operation_is_refused() {
    let server = Server::start(|_| Answer::ok()).await;
    let request =
        ListRequest { cursor: Some(encoding::cursor(ListVersion::V1, "k")), ..ListRequest::default() };
    let error = compatible(&server).await.list(request).await.expect_err("of version 1");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_bucket_that_no_host_name_can_hold_is_refused_before_anything_is_sent() {
    let config = StoreConfig {
        endpoint: Some("http://localhost:1".into()),
        addressing: Some(Addressing::Virtual),
        credentials: CredentialRef::Anonymous,
        ..StoreConfig::default()
    };
    let account = connect("lab", &config).await.expect("account");
    let error = account.bucket("a/b").preflight().await.expect_err("no host name");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("`addressing: path`"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn no_request_waits_for_ever() {
    let server = Server::start(|_| Answer::ok()).await;
    let store = compatible(&server).await;
    let place = store.place("GetObject", None);
    let never = std::future::pending::<
        Result<(), SdkError<aws_sdk_s3::operation::get_object::GetObjectError, HttpResponse>>,
    >();
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
    let error = compatible(&server).await.head(&key("k")).await.expect_err("throttled");
    assert_eq!(error.kind(), ErrorKind::Throttled);
    assert_eq!(error.request_id(), Some("R"));
    server.only();
}

#[tokio::test]
async fn completion_that_fails_after_200_is_a_failure() {
    let server = Server::start(|_| {
        Answer::ok().body("<Error><Code>InternalError</Code><Message>later</Message></Error>")
    })
    .await;
    let error = compatible(&server)
        .await
        .complete_upload(CompleteUploadRequest {
            key: key("k"),
            upload_id: UploadId("U".into()),
            parts: Vec::new(),
            condition: WriteCondition::None,
            size_bytes: 0,
            crc64_nvme: None,
        })
        .await
        .expect_err("an error in a 200");
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert_eq!(error.code(), Some("InternalError"));
}

#[tokio::test]
async fn what_is_already_gone_is_deleted() {
    let server = Server::start(|seen| {
        let code = if seen.target().contains("uploadId") { "NoSuchUpload" } else { "NoSuchKey" };
        Answer::status(404, "Not Found").body(format!("<Error><Code>{code}</Code></Error>"))
    })
    .await;
    let store = compatible(&server).await;
    store.delete(&key("k"), ETag::parse("E").as_ref()).await.expect("gone");
    assert_eq!(server.only().header("if-match"), Some("\"E\""));
    store.abort_upload(&key("k"), &UploadId("U".into())).await.expect("gone");
    server.only();
    assert_eq!(store.head(&key("k")).await.expect_err("gone").kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_missing_bucket_is_not_a_deleted_object() {
    let server =
        Server::start(|_| Answer::status(404, "Not Found").body("<Error><Code>NoSuchBucket</Code></Error>"))
            .await;
    let error = compatible(&server).await.delete(&key("k"), None).await.expect_err("no bucket");
    assert_eq!(error.kind(), ErrorKind::Configuration);
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

#[tokio::test]
async fn preflight_says_what_to_change() {
    let server = Server::start(|_| {
        Answer::status(403, "Forbidden").body("<Error><Code>SecondLevelDomainForbidden</Code></Error>")
    })
    .await;
    let error = compatible(&server).await.preflight().await.expect_err("addressing");
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("`addressing: virtual`"), "{error}");
    assert!(server.only().target().contains("max-keys=1"));
    let server = Server::start(|_| Answer::ok().body(NOTHING_LISTED)).await;
    compatible(&server).await.preflight().await.expect("reachable");
}

#[tokio::test]
async fn a_store_that_is_not_there_is_named() {
    let server = Server::start(|_| Answer::ok()).await;
    let store = compatible(&server).await;
    let url = server.url();
    server.stop().await;
    let error = store.preflight().await.expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert!(error.to_string().contains(&format!("cannot reach {url}")), "{error}");
}

#[tokio::test]
async fn missing_credentials_are_a_matter_of_configuration() {
    let server = Server::start(|_| Answer::ok().body(NOTHING_LISTED)).await;
    let keys = tempfile::NamedTempFile::new().expect("file");
    let expired = r#"{"AccessKeyId":"AKID","SecretAccessKey":"SECRET","Expiration":"2020-01-01T00:00:00Z"}"#;
    std::fs::write(keys.path(), expired).expect("write");
    let config = StoreConfig {
        endpoint: Some(server.url()),
        credentials: CredentialRef::File(keys.path().to_owned()),
        ..StoreConfig::default()
    };
    let bucket = connect("lab", &config).await.expect("account").bucket("b");
    bucket.preflight().await.expect("keys as they were at the start");
    drop(keys);
    // The keys say that they have expired, so the reference is followed again.
    let error = bucket.preflight().await.expect_err("no keys");
    assert_eq!(error.kind(), ErrorKind::Configuration);
    let text = error.chain();
    assert!(text.contains("no credentials for this store") && text.contains("file:"), "{text}");
}

#[tokio::test]
async fn anonymous_requests_are_not_signed() {
    let server = Server::start(|_| Answer::ok().body(NOTHING_LISTED)).await;
    let config = StoreConfig {
        endpoint: Some(server.url()),
        credentials: CredentialRef::Anonymous,
        ..StoreConfig::default()
    };
    let account = connect("lab", &config).await.expect("account");
    account.bucket("b").preflight().await.expect("reachable");
    assert_eq!(server.only().header("authorization"), None);
}

#[tokio::test]
async fn a_presigned_url_has_its_key_its_time_and_a_limit() {
    let server = Server::start(|_| Answer::ok()).await;
    let store = compatible(&server).await;
    let account = store.account();
    let url = account.presign_get("b", &key("a b"), 3600).await.expect("url");
    assert!(url.starts_with(&format!("{}/b/a%20b?", server.url())), "{url}");
    assert!(url.contains("X-Amz-Expires=3600") && url.contains("X-Amz-Signature="), "{url}");
    let url = account.presign_put("b", &key("k"), 604_800).await.expect("url");
    assert!(!url.contains("checksum"), "{url}");
    for wrong in [0, 604_801] {
        let error = account.presign_get("b", &key("k"), wrong).await.expect_err("limit");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

#[tokio::test]
async fn buckets_are_listed_at_the_stores_root() {
    let server = Server::start(|_| {
        Answer::ok().body(
            "<ListAllMyBucketsResult><Buckets><Bucket><Name>b1</Name><CreationDate>2026-01-02T03:04:05.000Z</CreationDate>\
             </Bucket><Bucket><Name>b2</Name></Bucket></Buckets></ListAllMyBucketsResult>",
        )
    })
    .await;
    let buckets = compatible(&server).await.account().list_buckets().await.expect("buckets");
    let names: Vec<&str> = buckets.iter().map(|bucket| bucket.name.as_str()).collect();
    assert_eq!(names, ["b1", "b2"]);
    assert!(buckets[0].created.is_some() && server.only().target().starts_with("/?"));
}
