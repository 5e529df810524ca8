//! Writes on the wire: which checksum travels how, and attributes as they are.

use bytes::Bytes;
use ferry_transfer::checksum::{DigestSet, digest};
use ferry_transfer::store::{
    BodyChecksum, CompleteUploadRequest, CreateUploadRequest, DeleteRequest, HeadRequest, PutRequest,
    UploadId, UploadPartRequest, UploadedPart, WriteCondition,
};
use ferry_transfer::{Attributes, Body, ETag, Error, ErrorKind, ObjectStore as _, StorageClass};
use futures::stream;

use super::server::{Answer, Seen, Server};
use super::{aws, bucket, compatible, key};

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
    let unsigned = bucket(&server, "provider: other\nprofile: {payload_signing: unsigned}").await;
    unsigned.put(put(Bytes::from_static(b"hello").into())).await.expect("put");
    assert_eq!(server.only().header("x-amz-content-sha256"), Some("UNSIGNED-PAYLOAD"));
    let refusing = bucket(&server, "provider: minio\nprofile: {capabilities: {content_md5: 'no'}}").await;
    refusing.put(with_md5()).await.expect("put");
    assert_eq!(server.only().header("content-md5"), None);
}

#[tokio::test]
async fn a_store_known_to_check_crc64nvme_gets_it_in_a_header_and_never_in_a_trailer() {
    let server = Server::start(|_| Answer::ok()).await;
    let store = bucket(&server, "provider: other\nprofile: {capabilities: {crc64_nvme: 'yes'}}").await;
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
    let delete = DeleteRequest { if_match: ETag::parse("E"), ..DeleteRequest::of(&key("k")) };
    store.delete(delete).await.expect("gone");
    assert_eq!(server.only().header("if-match"), Some("\"E\""));
    store.abort_upload(&key("k"), &UploadId("U".into())).await.expect("gone");
    server.only();
    assert_eq!(store.head(HeadRequest::of(&key("k"))).await.expect_err("gone").kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_missing_bucket_is_not_a_deleted_object() {
    let server =
        Server::start(|_| Answer::status(404, "Not Found").body("<Error><Code>NoSuchBucket</Code></Error>"))
            .await;
    let error = compatible(&server).await.delete(DeleteRequest::of(&key("k"))).await.expect_err("no bucket");
    assert_eq!(error.kind(), ErrorKind::Configuration);
}

#[tokio::test]
async fn tags_go_to_a_compatible_store_under_an_md5() {
    let server = Server::start(|_| Answer::ok()).await;
    let tags = [("k".to_owned(), "v&1".to_owned())];
    compatible(&server).await.put_tags(&key("k"), None, &tags).await.expect("tagged");
    let seen = server.only();
    assert_plain(&seen);
    let md5 = md5_of(&seen.body);
    assert_eq!(seen.header("content-md5"), Some(md5.as_str()));
    assert!(String::from_utf8_lossy(&seen.body).contains("<Key>k</Key><Value>v&amp;1</Value>"));
    assert!(seen.target().contains("tagging"));
}

fn md5_of(bytes: &[u8]) -> String {
    use base64::Engine as _;
    let set = DigestSet::MD5;
    base64::engine::general_purpose::STANDARD.encode(digest(bytes, set).md5.expect("asked for"))
}
