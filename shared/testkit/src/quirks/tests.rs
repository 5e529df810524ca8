//! Each make's oddities, asked for one by one.

use bytes::Bytes;
use ferry_transfer::Attributes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::*;
use crate::s3::{Anonymous, S3ServerConfig};

/// A make in front of an open bucket `docks`.
struct Played {
    server: S3Server,
    proxy: QuirkProxy,
    client: Client<HttpConnector, Full<Bytes>>,
    /// Where its clients believe the bucket to be.
    host: String,
}

/// An answer, read to its end.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    fn code(&self) -> String {
        let text = String::from_utf8_lossy(&self.body).into_owned();
        let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
        code.map_or(String::new(), |(code, _)| code.to_owned())
    }
}

async fn play(make: Make) -> Played {
    let server = S3Server::start(S3ServerConfig {
        settings: make.settings(),
        hosts: make.hosts("docks"),
        anonymous: Anonymous::Allowed,
        ..S3ServerConfig::with_buckets(["docks"])
    })
    .await
    .expect("server");
    let proxy = QuirkProxy::start(make, &server).await.expect("proxy");
    let host = make.endpoint().trim_start_matches("http://").to_owned();
    let host = if make == Make::AliyunOss { format!("docks.{host}") } else { host };
    Played { server, proxy, client: Client::builder(TokioExecutor::new()).build_http(), host }
}

impl Played {
    async fn ask(&self, line: &str, headers: &[(&str, &str)], body: &'static str) -> Answer {
        let (method, path) = line.split_once(' ').expect("a request line");
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.proxy.url()))
            .header("host", &self.host);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body))).expect("request");
        let response: Response<_> = self.client.request(request).await.expect("an answer");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("body").to_bytes();
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    async fn code(&self, line: &str, headers: &[(&str, &str)]) -> (u16, String) {
        let answer = self.ask(line, headers, "x").await;
        (answer.status, answer.code())
    }
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn alibaba_wants_the_bucket_in_the_host_and_says_so_in_its_own_words() {
    let mut oss = play(Make::AliyunOss).await;
    oss.server.bucket("docks").put_object("k", "hello");
    assert_eq!(oss.ask("GET /k", &[], "").await.body, "hello");
    oss.host = Make::AliyunOss.endpoint().trim_start_matches("http://").to_owned();
    let answer = oss.ask("GET /docks/k", &[], "").await;
    assert_eq!((answer.status, answer.code()), refused(403, "SecondLevelDomainForbidden"));
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    for element in ["<EC>0003-00000301</EC>", "<RequestId>", "<HostId>s3.oss-cn-hangzhou"] {
        assert!(text.contains(element), "{text}");
    }
    assert_eq!(oss.proxy.rejected(), [("SecondLevelDomainForbidden", 1)].into());
}

#[tokio::test]
async fn alibaba_keeps_newer_accounts_off_its_public_hosts() {
    let mut oss = play(Make::AliyunOssSince2025).await;
    oss.server.bucket("docks").put_object("k", "hello");
    assert_eq!(oss.ask("GET /k", &[], "").await.body, "hello", "the custom domain is the bucket");
    oss.host = "docks.s3.oss-cn-hangzhou.aliyuncs.com".to_owned();
    assert_eq!(oss.code("GET /k", &[]).await, refused(400, "PublicEndpointForbidden"));
    assert_eq!(oss.ask("HEAD /", &[], "").await.status, 200, "the bucket itself can be asked");
    oss.host = "docks.s3.oss-cn-hangzhou-internal.aliyuncs.com".to_owned();
    assert_eq!(oss.ask("GET /k", &[], "").await.status, 200);
}

#[tokio::test]
async fn alibaba_refuses_what_its_s3_mode_does_not_know() {
    let oss = play(Make::AliyunOss).await;
    for hash in ["STREAMING-UNSIGNED-PAYLOAD-TRAILER", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"] {
        let answer = oss.ask("PUT /k", &[("x-amz-content-sha256", hash)], "x").await;
        assert_eq!((answer.status, answer.code()), refused(400, "InvalidArgument"));
        assert_eq!(answer.header("x-oss-ec"), Some("0017-00000804"));
    }
    for header in [("if-none-match", "*"), ("if-match", "\"a\""), ("x-amz-tagging", "a=b")] {
        assert_eq!(oss.code("PUT /k", &[header]).await, refused(400, "NotImplemented"), "{header:?}");
    }
    for line in ["GET /k?tagging", "GET /?versions", "GET /?uploads", "GET /k?acl"] {
        assert_eq!(oss.code(line, &[]).await, refused(501, "NotImplemented"), "{line}");
    }
    assert_eq!(oss.code("POST /?delete", &[]).await, refused(400, "MissingArgument"));
    assert_eq!(oss.code("PUT //k", &[]).await, refused(400, "InvalidObjectName"));
    assert_eq!(oss.code("PUT /k", &[("x-amz-meta-a_b", "c")]).await, refused(400, "InvalidArgument"));
    let long = "v".repeat(8192);
    assert_eq!(oss.code("PUT /k", &[("x-amz-meta-a", long.as_str())]).await, refused(400, "InvalidArgument"));
    let class = [("x-amz-storage-class", "DEEP_ARCHIVE")];
    assert_eq!(oss.code("PUT /k", &class).await, refused(400, "InvalidStorageClass"));
    assert!(oss.server.bucket("docks").is_empty());
}

#[tokio::test]
async fn alibaba_answers_reads_in_its_own_way() {
    let oss = play(Make::AliyunOss).await;
    let text = Attributes { content_type: Some("text/plain".into()), ..Attributes::default() };
    let bucket = oss.server.bucket("docks");
    bucket.put_object_with("k", "hello world", text.clone());
    bucket.put_object_with("long", "hello world ".repeat(100), text);
    bucket.put_object_in_parts("parts", [Bytes::from("ab"), Bytes::from("c")], Attributes::default());

    let whole = oss.ask("GET /k", &[], "").await;
    // The value of Alibaba's own SDK tests.
    assert_eq!(whole.header("x-oss-hash-crc64ecma"), Some("5981764153023615706"));
    assert_eq!(whole.header("etag"), Some("\"5EB63BBBE01EEED093CB22BB8F5ACDC3\""));
    assert_eq!(whole.header("x-oss-object-type"), Some("Normal"));
    assert_eq!(whole.header("x-oss-storage-class"), Some("Standard"));
    assert!(whole.header("x-oss-request-id").is_some() && whole.header("x-amz-request-id").is_none());
    assert_eq!(oss.ask("HEAD /parts", &[], "").await.header("x-oss-object-type"), Some("Multipart"));

    let range = async |range: &'static str| {
        let answer = oss.ask("GET /k", &[("range", range)], "").await;
        (answer.status, answer.body.len())
    };
    assert_eq!(range("bytes=0-4").await, (206, 5));
    assert_eq!(range("bytes=6-99").await, (200, 11), "an end beyond the object");
    assert_eq!(range("bytes=99-").await, (200, 11), "a beginning beyond the object");

    let zipped = oss.ask("GET /long", &[("accept-encoding", "gzip")], "").await;
    assert_eq!((zipped.status, zipped.header("content-encoding")), (200, Some("gzip")));
    assert_eq!((zipped.header("etag"), zipped.header("content-length")), (None, None));
    let plain = oss.ask("GET /long", &[("accept-encoding", "identity")], "").await;
    assert_eq!((plain.header("content-length"), plain.body.len()), (Some("1200"), 1200));

    for number in 0..120 {
        bucket.put_object(&format!("many/{number:03}"), "");
    }
    let listed = |document: &Bytes| String::from_utf8_lossy(document).matches("<Contents>").count();
    assert_eq!(listed(&oss.ask("GET /?prefix=many/", &[], "").await.body), 100, "unless asked for more");
    assert_eq!(listed(&oss.ask("GET /?prefix=many/&max-keys=1000", &[], "").await.body), 120);
}

#[tokio::test]
async fn cloudflare_wants_parts_of_one_size() {
    let r2 = play(Make::CloudflareR2).await;
    let bucket = r2.server.bucket("docks");
    let upload = bucket.create_upload("k", Attributes::default()).expect("upload");
    let put = async |number: u32, body: &'static str| {
        r2.ask(&format!("PUT /docks/k?partNumber={number}&uploadId={upload}"), &[], body).await.status
    };
    let complete = format!("POST /docks/k?uploadId={upload}");
    assert_eq!((put(1, "aaaa").await, put(2, "bb").await, put(3, "cc").await), (200, 200, 200));
    assert_eq!(r2.code(&complete, &[]).await, refused(400, "InvalidPart"));
    assert_eq!(put(2, "bbbb").await, 200);
    assert_ne!(r2.code(&complete, &[]).await, refused(400, "InvalidPart"), "the last may be shorter");
    assert_eq!(put(3, "ccccc").await, 200);
    assert_eq!(r2.code(&complete, &[]).await, refused(400, "InvalidPart"), "the last may not be longer");
}

#[tokio::test]
async fn cloudflare_knows_no_tags_and_takes_one_checksum_at_a_time() {
    let r2 = play(Make::CloudflareR2).await;
    for header in [("x-amz-tagging", "a=b"), ("x-amz-acl", "public-read")] {
        assert_eq!(r2.code("PUT /docks/k", &[header]).await, refused(501, "NotImplemented"));
    }
    let both = [("content-md5", "nTnTIWtnyb2DpN9qDnMPmg=="), ("x-amz-checksum-crc32", "jNyruA==")];
    assert_eq!(r2.code("PUT /docks/k", &both).await, refused(400, "InvalidRequest"));
    let long = "v".repeat(8192);
    assert_eq!(
        r2.code("PUT /docks/k", &[("x-amz-meta-a", long.as_str())]).await,
        refused(400, "MetadataTooLarge")
    );
    let scope = |region: &str| {
        format!(
            "AWS4-HMAC-SHA256 Credential=k/20260101/{region}/s3/aws4_request, SignedHeaders=host, Signature=0"
        )
    };
    assert_eq!(
        r2.code("GET /docks", &[("authorization", scope("eu-west-1").as_str())]).await,
        refused(400, "InvalidRegionName")
    );
    assert!(r2.server.bucket("docks").is_empty());
}

#[tokio::test]
async fn the_other_makes_refuse_what_their_users_report() {
    let trailer = [("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")];
    let google = play(Make::GoogleStorage).await;
    assert_eq!(google.code("PUT /docks/k", &trailer).await, refused(403, "SignatureDoesNotMatch"));
    let signed = "AWS4-HMAC-SHA256 Credential=k/d/auto/s3/aws4_request, SignedHeaders=accept-encoding;host, Signature=0";
    assert_eq!(
        google.code("GET /docks/k", &[("authorization", signed)]).await,
        refused(403, "SignatureDoesNotMatch")
    );
    let b2 = play(Make::BackblazeB2).await;
    let checksum = [("x-amz-sdk-checksum-algorithm", "CRC32")];
    assert_eq!(b2.code("PUT /docks/k", &checksum).await, refused(400, "InvalidArgument"));
    let ceph = play(Make::Ceph).await;
    assert_eq!(ceph.code("PUT /docks/k", &trailer).await, refused(400, "XAmzContentSHA256Mismatch"));
    assert_eq!(ceph.code("PUT /docks/k", &[("if-match", "\"x\"")]).await, refused(412, "PreconditionFailed"));
}
