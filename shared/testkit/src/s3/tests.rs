//! Requests spelled out byte by byte, without signatures. What needs a signature is tested through the SDK, where that is at
//! hand.

use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use ferry_transfer::Attributes;
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::faults::Rule;
use crate::fixtures::{awkward_keys, body_of};
use crate::operation::Operation;

struct Reply {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Reply {
    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("text")
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

async fn open_server() -> S3Server {
    S3Server::start(S3ServerConfig {
        anonymous: Anonymous::Allowed,
        settings: BucketSettings { part_bytes_min: 4, ..BucketSettings::default() },
        ..S3ServerConfig::with_buckets(["bucket"])
    })
    .await
    .expect("server")
}

/// One request on a connection of its own. `None` when the connection closes before a whole head came.
async fn send(server: &S3Server, line: &str, headers: &[(&str, &str)], body: &str) -> Option<Reply> {
    let mut socket = TcpStream::connect(server.listener.address()).await.expect("connected");
    let mut request = format!(
        "{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    request.push_str(body);
    socket.write_all(request.as_bytes()).await.expect("sent");
    let mut bytes = Vec::new();
    // A connection that a fault breaks may end in a reset.
    let _end = socket.read_to_end(&mut bytes).await;
    let head_end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8(bytes[..head_end].to_vec()).expect("head");
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    Some(Reply { status, headers, body: bytes[head_end + 4..].to_vec() })
}

async fn ask(server: &S3Server, line: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    send(server, line, headers, body).await.expect("an answer")
}

#[tokio::test]
async fn without_a_signature_nothing_is_told() {
    let server = S3Server::start(S3ServerConfig::with_buckets(["bucket"])).await.expect("server");
    server.bucket("bucket").put_object("k", "secret");
    let reply = ask(&server, "GET /bucket/k", &[], "").await;
    assert_eq!(reply.status, 403);
    assert!(reply.text().contains("<Code>AccessDenied</Code>"));
    assert!(reply.header("x-amz-request-id").is_some());
    let put = ask(&server, "PUT /bucket/k", &[("expires", "never")], "x").await;
    assert_eq!(put.status, 403);
    assert_eq!(server.requests(), [("GetObject", 1), ("PutObject", 1)].into());
}

#[tokio::test]
async fn attributes_come_back_as_they_were_sent() {
    let server = open_server().await;
    let sent = [
        ("content-type", "text/x-ferry"),
        ("content-encoding", "gzip, aws-chunked"),
        ("content-language", "de"),
        ("content-disposition", "attachment"),
        ("cache-control", "private"),
        ("expires", "when it pleases"),
        ("x-amz-website-redirect-location", "/there"),
        ("x-amz-storage-class", "STANDARD_IA"),
        ("x-amz-meta-owner", "me"),
        ("x-amz-meta-name", "Ünal"),
        ("x-amz-tagging", "a=b&c+d=e"),
    ];
    assert_eq!(ask(&server, "PUT /bucket/k", &sent, "hello").await.status, 200);
    let got = ask(&server, "GET /bucket/k", &[], "").await;
    assert_eq!(got.text(), "hello");
    for (name, value) in sent {
        let expected = match name {
            "x-amz-tagging" => None,
            "content-encoding" => Some("gzip"),
            "x-amz-meta-name" => Some("=?UTF-8?B?w5xuYWw=?="),
            _ => Some(value),
        };
        assert_eq!(got.header(name), expected, "{name}");
    }
    assert_eq!(got.header("x-amz-tagging-count"), Some("2"));
    assert_eq!(got.header("x-amz-checksum-crc64nvme"), None);
    assert_eq!(got.header("etag"), Some("\"5d41402abc4b2a76b9719d911017c592\""));
    let asked = [("x-amz-checksum-mode", "ENABLED")];
    let head = ask(&server, "HEAD /bucket/k", &asked, "").await;
    assert_eq!(head.header("x-amz-checksum-crc64nvme"), Some("M3eFcAZSQlc="));
    assert_eq!(head.header("expires"), Some("when it pleases"));
    let tags = server.bucket("bucket").get("k").expect("object").attributes.tags.clone();
    assert_eq!(tags[1], ("c d".to_owned(), "e".to_owned()));
}

#[tokio::test]
async fn ranges_conditions_and_parts_answer_as_s3_does() {
    let server = open_server().await;
    let bucket = server.bucket("bucket");
    bucket.put_object("k", "hello world");
    let get = async |headers: &[(&str, &str)]| ask(&server, "GET /bucket/k", headers, "").await;
    let ranged = get(&[("range", "bytes=6-8")]).await;
    assert_eq!((ranged.status, ranged.text().as_str()), (206, "wor"));
    assert_eq!(ranged.header("content-range"), Some("bytes 6-8/11"));
    let clamped = get(&[("range", "bytes=6-99")]).await;
    assert_eq!(clamped.header("content-range"), Some("bytes 6-10/11"));
    assert_eq!(get(&[("range", "bytes=11-12")]).await.status, 416);
    assert_eq!(get(&[("if-match", "\"other\"")]).await.status, 412);
    let etag = "\"5eb63bbbe01eeed093cb22bb8f5acdc3\"";
    assert_eq!(get(&[("if-match", etag), ("range", "bytes=0-0")]).await.status, 206);
    assert_eq!(get(&[("if-none-match", etag)]).await.status, 304);
    let head = ask(&server, "HEAD /bucket/k", &[("range", "bytes=0-3")], "").await;
    assert_eq!((head.status, head.header("content-length")), (206, Some("4")));

    bucket.put_object_in_parts("parts", [Bytes::from("hello "), Bytes::from("world")], Attributes::default());
    let part = ask(&server, "GET /bucket/parts?partNumber=2", &[], "").await;
    assert_eq!((part.status, part.text().as_str()), (206, "world"));
    assert_eq!(part.header("x-amz-mp-parts-count"), Some("2"));
    assert_eq!(ask(&server, "GET /bucket/parts?partNumber=3", &[], "").await.status, 416);
}

#[tokio::test]
async fn a_wrong_checksum_is_refused_wherever_it_stands() {
    let server = open_server().await;
    let md5 = base64::engine::general_purpose::STANDARD.encode([1; 16]);
    for header in [
        ("content-md5", md5.as_str()),
        ("x-amz-checksum-crc32", "AAAAAA=="),
        ("x-amz-checksum-crc32c", "AAAAAA=="),
        ("x-amz-checksum-crc64nvme", "AAAAAAAAAAA="),
        ("x-amz-checksum-sha1", "2jmj7l5rSw0yVb/vlWAYkK/YBwk="),
        ("x-amz-checksum-sha256", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
    ] {
        let reply = ask(&server, "PUT /bucket/k", &[header], "hello").await;
        assert_eq!(reply.status, 400, "{}", header.0);
        assert!(reply.text().contains("<Code>BadDigest</Code>"), "{}", reply.text());
    }
    assert!(server.bucket("bucket").is_empty());
    let right = [("x-amz-checksum-crc32", "NhCmhg==")];
    let reply = ask(&server, "PUT /bucket/k", &right, "hello").await;
    assert_eq!((reply.status, reply.header("x-amz-checksum-crc32")), (200, Some("NhCmhg==")));
}

#[tokio::test]
async fn a_listing_in_url_encoding_holds_every_awkward_key() {
    let server = open_server().await;
    let bucket = server.bucket("bucket");
    for key in awkward_keys() {
        bucket.put_object(&key, body_of(&key));
    }
    let mut listed = Vec::new();
    let mut token = String::new();
    loop {
        let line = format!("GET /bucket?list-type=2&encoding-type=url&max-keys=7{token}");
        let text = ask(&server, &line, &[], "").await.text();
        for rest in text.split("<Key>").skip(1) {
            let (key, _) = rest.split_once("</Key>").expect("key");
            let key = key.replace('+', " ");
            listed.push(percent_decode_str(&key).decode_utf8().expect("utf-8").into_owned());
        }
        let Some((_, rest)) = text.split_once("<NextContinuationToken>") else {
            break;
        };
        token = format!("&continuation-token={}", rest.split_once('<').expect("token").0);
    }
    assert_eq!(listed, bucket.keys());
    let text = ask(&server, "GET /bucket?max-keys=0", &[], "").await.text();
    assert!(text.contains("<IsTruncated>false</IsTruncated>") && !text.contains("<Key>"));
}

#[tokio::test]
async fn the_older_listing_goes_on_behind_a_rolled_up_prefix() {
    let server = open_server().await;
    for key in ["a/1", "a/2", "b", "c/1"] {
        server.bucket("bucket").put_object(key, "");
    }
    let mut marker = String::new();
    let mut seen = Vec::new();
    for _ in 0..4 {
        let line = format!("GET /bucket?delimiter=/&max-keys=1&marker={marker}");
        let text = ask(&server, &line, &[], "").await.text();
        let between = |from: &str, to: &str| {
            let (_, rest) = text.split_once(from)?;
            Some(rest.split_once(to)?.0.to_owned())
        };
        seen.extend(between("<Key>", "</Key>"));
        seen.extend(between("<CommonPrefixes><Prefix>", "</Prefix>"));
        match between("<NextMarker>", "</NextMarker>") {
            Some(next) => marker = next,
            None => break,
        }
    }
    assert_eq!(seen, ["a/", "b", "c/"]);
}

#[tokio::test]
async fn parts_are_uploaded_listed_and_completed() {
    let server = open_server().await;
    let begun = [("expires", "no date"), ("x-amz-meta-owner", "me")];
    let text = ask(&server, "POST /bucket/k?uploads", &begun, "").await.text();
    let (_, rest) = text.split_once("<UploadId>").expect("upload id");
    let id = rest.split_once('<').expect("upload id").0.to_owned();
    let mut document = String::from("<CompleteMultipartUpload>");
    for (number, bytes) in [(1, "hello "), (2, "world")] {
        let line = format!("PUT /bucket/k?partNumber={number}&uploadId={id}");
        let reply = ask(&server, &line, &[], bytes).await;
        let etag = reply.header("etag").expect("etag");
        document.push_str(&format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"));
    }
    document.push_str("</CompleteMultipartUpload>");
    let text = ask(&server, &format!("GET /bucket/k?uploadId={id}&max-parts=1"), &[], "").await.text();
    assert!(text.contains("<Size>6</Size>") && text.contains("<IsTruncated>true</IsTruncated>"));
    let text = ask(&server, "GET /bucket?uploads&prefix=k", &[], "").await.text();
    assert!(text.contains(&id), "{text}");

    let complete = format!("POST /bucket/k?uploadId={id}");
    let wrong = [("x-amz-checksum-crc64nvme", "AAAAAAAAAAA=")];
    assert_eq!(ask(&server, &complete, &wrong, &document).await.status, 400);
    let absent = [("if-none-match", "*")];
    let reply = ask(&server, &complete, &absent, &document).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let object = server.bucket("bucket").get("k").expect("object");
    assert_eq!(object.payload.to_bytes(), "hello world");
    assert_eq!(object.attributes.expires.as_deref(), Some("no date"));
    assert_eq!(ask(&server, &complete, &[], &document).await.status, 404);
}

#[tokio::test]
async fn copies_keep_or_replace_attributes() {
    let server = open_server().await;
    let bucket = server.bucket("bucket");
    let attributes = Attributes { cache_control: Some("private".to_owned()), ..Attributes::default() };
    bucket.put_object_in_parts("from here", [Bytes::from("hello "), Bytes::from("world")], attributes);
    let copy = [("x-amz-copy-source", "/bucket/from%20here")];
    assert_eq!(ask(&server, "PUT /bucket/to", &copy, "").await.status, 200);
    let copied = bucket.get("to").expect("copy");
    assert_eq!(copied.attributes.cache_control.as_deref(), Some("private"));
    assert_eq!(copied.etag.as_str(), "5eb63bbbe01eeed093cb22bb8f5acdc3");
    let replace = [copy[0], ("x-amz-metadata-directive", "REPLACE"), ("if-none-match", "*")];
    assert_eq!(ask(&server, "PUT /bucket/to", &replace, "").await.status, 412);
    assert_eq!(ask(&server, "PUT /bucket/new", &replace, "").await.status, 200);
    let replaced = bucket.get("new").expect("copy");
    assert_eq!(replaced.attributes.cache_control, None);
}

#[tokio::test]
async fn buckets_are_listed_made_and_found() {
    let server = open_server().await;
    assert_eq!(ask(&server, "PUT /second", &[], "").await.status, 200);
    assert_eq!(ask(&server, "PUT /second", &[], "").await.status, 409);
    let text = ask(&server, "GET /", &[], "").await.text();
    assert!(text.contains("<Name>bucket</Name>") && text.contains("<Name>second</Name>"), "{text}");
    let head = ask(&server, "HEAD /bucket", &[], "").await;
    assert_eq!((head.status, head.header("x-amz-bucket-region")), (200, Some("us-east-1")));
    assert_eq!(ask(&server, "HEAD /third", &[], "").await.status, 404);
    let reply = ask(&server, "PUT /third/k", &[], "x").await;
    assert!(reply.text().contains("<Code>NoSuchBucket</Code>"), "{}", reply.text());
    let text = ask(&server, "GET /bucket?location", &[], "").await.text();
    assert!(text.contains("LocationConstraint"), "{text}");
    assert_eq!(ask(&server, "GET /bucket?versioning", &[], "").await.status, 200);
    assert_eq!(ask(&server, "GET /bucket?acl", &[], "").await.status, 501);
}

#[tokio::test]
async fn a_batch_of_deletes_fails_entry_by_entry() {
    let server = open_server().await;
    let bucket = server.bucket("bucket");
    for key in ["a&b", "kept", "c"] {
        bucket.put_object(key, "x");
    }
    let document = "<Delete><Object><Key>a&amp;b</Key></Object><Object><Key>kept</Key><ETag>\"other\"</ETag></Object>\
                    <Object><Key>missing</Key></Object><Quiet>true</Quiet></Delete>";
    let reply = ask(&server, "POST /bucket?delete", &[], document).await;
    let text = reply.text();
    assert_eq!(reply.status, 200, "{text}");
    assert!(text.contains("<Key>kept</Key>") && text.contains("<Code>PreconditionFailed</Code>"), "{text}");
    assert!(!text.contains("<Deleted>"), "{text}");
    assert_eq!(bucket.keys(), ["c", "kept"]);
}

#[tokio::test]
async fn tags_are_replaced_read_and_removed() {
    let server = open_server().await;
    server.bucket("bucket").put_object("k", "x");
    let document = "<Tagging><TagSet><Tag><Key>b</Key><Value>&lt;2&gt;</Value></Tag><Tag><Key>a</Key>\
                    <Value></Value></Tag></TagSet></Tagging>";
    assert_eq!(ask(&server, "PUT /bucket/k?tagging", &[], document).await.status, 200);
    let text = ask(&server, "GET /bucket/k?tagging", &[], "").await.text();
    let (b, a) = (text.find("<Key>b</Key>"), text.find("<Key>a</Key>"));
    assert!(b.is_some() && b < a && text.contains("&lt;2&gt;"), "{text}");
    assert_eq!(ask(&server, "DELETE /bucket/k?tagging", &[], "").await.status, 204);
    let head = ask(&server, "HEAD /bucket/k", &[], "").await;
    assert_eq!(head.header("x-amz-tagging-count"), None);
    assert_eq!(ask(&server, "GET /bucket/missing?tagging", &[], "").await.status, 404);
}

#[tokio::test]
async fn a_part_can_be_copied_out_of_an_object() {
    let server = open_server().await;
    let bucket = server.bucket("bucket");
    bucket.put_object("source", "hello world");
    let id = bucket.create_upload("k", Attributes::default()).expect("begun");
    let line = format!("PUT /bucket/k?partNumber=1&uploadId={id}");
    let copy = ("x-amz-copy-source", "bucket/source");
    for (range, status) in [("bytes=6-11", 400), ("bytes=6-10", 200)] {
        let headers = [copy, ("x-amz-copy-source-range", range)];
        assert_eq!(ask(&server, &line, &headers, "").await.status, status, "{range}");
    }
    let parts = bucket.parts("k", &id).expect("parts");
    assert_eq!(parts[0].1.payload.to_bytes(), "world");
}

#[tokio::test]
async fn an_archived_object_is_refused_until_it_is_restored() {
    let server = open_server().await;
    let archived = [("x-amz-storage-class", "GLACIER")];
    ask(&server, "PUT /bucket/k", &archived, "cold").await;
    let reply = ask(&server, "GET /bucket/k", &[], "").await;
    assert_eq!(reply.status, 403);
    assert!(reply.text().contains("InvalidObjectState"));
    assert_eq!(ask(&server, "HEAD /bucket/k", &[], "").await.status, 200);
    server.bucket("bucket").restore("k");
    assert_eq!(ask(&server, "GET /bucket/k", &[], "").await.text(), "cold");
}

#[tokio::test]
async fn faults_strike_where_they_were_asked_for() {
    let server = open_server().await;
    let bucket = server.bucket("bucket");
    bucket.put_object("k", "hello world");
    let get = || send(&server, "GET /bucket/k", &[("range", "bytes=0-4")], "");

    let rule = server.faults().add(Rule::on(Operation::GetObject, Action::SLOW_DOWN).nth(2));
    let statuses = [get().await, get().await, get().await].map(|reply| reply.expect("reply").status);
    assert_eq!(statuses, [206, 503, 206]);
    assert_eq!(server.faults().fired(rule), 1);
    assert_eq!(server.requests(), [("GetObject", 3)].into());
    server.faults().clear();

    for (action, status, body) in [
        (Action::CutBody { after_bytes: 2 }, 206, "he"),
        (Action::CutBody { after_bytes: 0 }, 206, ""),
        (Action::FlipByte { at: 1 }, 206, "hdllo"),
        (Action::IgnoreRange, 200, "hello world"),
        (Action::Delay(Duration::from_millis(1)), 206, "hello"),
    ] {
        let what = format!("{action:?}");
        server.faults().add(Rule::on_any(action));
        let reply = get().await.expect("reply");
        assert_eq!((reply.status, reply.text().as_str()), (status, body), "{what}");
        server.faults().clear();
    }

    server.faults().add(Rule::on(Operation::PutObject, Action::LoseReply).first(1));
    assert!(send(&server, "PUT /bucket/lost", &[], "kept").await.is_none());
    assert_eq!(bucket.bytes("lost").expect("committed"), "kept");
    server.faults().add(Rule::on(Operation::PutObject, Action::CloseConnection).first(1));
    assert!(send(&server, "PUT /bucket/never", &[], "dropped").await.is_none());
    assert!(bucket.get("never").is_none());

    let half_way = Arc::clone(&bucket);
    let overwrite = Action::before(move |target| {
        half_way.put_object(&target.key, "another generation");
    });
    server.faults().add(Rule::on(Operation::GetObject, overwrite).key_contains("k").first(1));
    assert_eq!(get().await.expect("reply").text(), "anoth");
}

#[tokio::test]
async fn an_error_may_come_with_status_200() {
    let server = open_server().await;
    let id = server.bucket("bucket").create_upload("k", Attributes::default()).expect("begun");
    let rule =
        Rule::on(Operation::CompleteMultipartUpload, Action::RefuseWithStatus200 { code: "InternalError" });
    server.faults().add(rule);
    let line = format!("POST /bucket/k?uploadId={id}");
    let reply = ask(&server, &line, &[], "<CompleteMultipartUpload/>").await;
    assert_eq!(reply.status, 200);
    assert!(reply.text().contains("<Code>InternalError</Code>"));
    assert_eq!(server.bucket("bucket").open_uploads().len(), 1);
}

#[tokio::test]
async fn a_stopped_server_no_longer_listens() {
    let server = open_server().await;
    let address = server.listener.address();
    let bucket = server.bucket("bucket");
    bucket.put_object("k", "kept");
    server.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
    assert_eq!(bucket.bytes("k").expect("kept"), "kept");
}
