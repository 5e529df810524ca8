use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

async fn ask(server: &SyntheticServer, line: &str, headers: &str, body: &str) -> (String, Bytes) {
    let mut socket = TcpStream::connect(server.listener.address()).await.expect("connected");
    let request = format!(
        "{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.expect("sent");
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).await.expect("answer");
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("head");
    let head = String::from_utf8(bytes[..end].to_vec()).expect("head");
    (head, Bytes::from(bytes).slice(end + 4..))
}

async fn document(server: &SyntheticServer, line: &str) -> String {
    let (_, body) = ask(server, line, "", "").await;
    String::from_utf8(body.to_vec()).expect("text")
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    Some(text.split_once(from)?.1.split_once(to)?.0)
}

async fn listed(server: &SyntheticServer, query: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut token = String::new();
    loop {
        let text = document(server, &format!("GET {query}{token}")).await;
        keys.extend(text.split("<Key>").skip(1).filter_map(|rest| rest.split('<').next()).map(str::to_owned));
        match between(&text, "<NextContinuationToken>", "<") {
            Some(next) => token = format!("&continuation-token={next}"),
            None => return keys,
        }
    }
}

#[tokio::test]
async fn generated_keys_are_listed_once_and_from_anywhere() {
    let bucket = GeneratedBucket::new(2500, 10);
    let keys: Vec<String> = (0..2500).map(|number| bucket.key(number)).collect();
    let server =
        SyntheticServer::start(SyntheticConfig::default().generated("g", bucket)).await.expect("server");
    assert_eq!(listed(&server, "/g?list-type=2").await, keys);
    assert_eq!(server.requests(), [("ListObjectsV2", 3)].into());
    let from = "/g?list-type=2&start-after=object-0000000100&prefix=object-00000001";
    assert_eq!(listed(&server, from).await, keys[101..200]);
}

#[tokio::test]
async fn both_listings_roll_keys_up_and_go_on_behind_a_page() {
    let bucket = GeneratedBucket {
        layout: KeyLayout::Folders { prefix: "p/".to_owned(), keys_per_folder: 7 },
        ..GeneratedBucket::new(21, 1)
    };
    let server =
        SyntheticServer::start(SyntheticConfig::default().generated("g", bucket).sink("s", SinkEtag::Opaque))
            .await
            .expect("server");
    for key in ["a/1", "a/2", "b/1", "c"] {
        ask(&server, &format!("PUT /s/{key}"), "", "").await;
    }
    let page = document(&server, "GET /g?prefix=p/&delimiter=/&max-keys=2").await;
    assert_eq!(page.matches("<CommonPrefixes>").count(), 2, "{page}");
    let marker = between(&page, "<NextMarker>", "<").expect("marker");
    assert_eq!(marker, "p/00000001/");
    let page = document(&server, &format!("GET /g?prefix=p/&delimiter=/&marker={marker}")).await;
    assert!(page.contains("<Prefix>p/00000002/</Prefix>") && !page.contains("NextMarker"), "{page}");
    let page = document(&server, "GET /s?list-type=2&delimiter=/&max-keys=1").await;
    let token = between(&page, "<NextContinuationToken>", "<").expect("token");
    let page = document(&server, &format!("GET /s?list-type=2&delimiter=/&continuation-token={token}")).await;
    assert!(!page.contains("<Prefix>a/") && page.contains("<Prefix>b/") && page.contains("<Key>c"), "{page}");
}

#[tokio::test]
async fn an_endpoint_with_limits_refuses_what_comes_on_top() {
    let config = SyntheticConfig::default()
        .generated("g", GeneratedBucket::new(1, 10))
        .with_latency(std::time::Duration::from_millis(50))
        .throttling_above(2);
    let server = SyntheticServer::start(config).await.expect("server");
    let asked =
        futures::future::join_all((0..5).map(|_| ask(&server, "GET /g/object-0000000000", "", ""))).await;
    let refused = asked.iter().filter(|(head, _)| head.starts_with("HTTP/1.1 503")).count() as u64;
    assert!(refused > 0 && refused == server.throttled(), "{refused}");
    assert!(server.in_flight_peak() <= 2);
}

#[tokio::test]
async fn a_sink_deletes_many_at_once() {
    let server =
        SyntheticServer::start(SyntheticConfig::default().sink("s", SinkEtag::Opaque)).await.expect("server");
    for key in ["a%26b", "c"] {
        ask(&server, &format!("PUT /s/{key}"), "", "x").await;
    }
    let delete = "<Delete><Object><Key>a&amp;b</Key></Object><Object><Key>gone</Key></Object></Delete>";
    ask(&server, "POST /s?delete", "", delete).await;
    assert_eq!(listed(&server, "/s?list-type=2").await, ["c"]);
}

#[tokio::test]
async fn generated_bytes_are_the_same_by_range_and_whole() {
    let bucket = GeneratedBucket { etag: GeneratedEtag::Md5, ..GeneratedBucket::new(10, 3_000_000) };
    let expected = bucket.bytes("object-0000000003").expect("object");
    let server =
        SyntheticServer::start(SyntheticConfig::default().generated("g", bucket)).await.expect("server");
    let (head, body) = ask(&server, "GET /g/object-0000000003", "", "").await;
    assert!(head.starts_with("HTTP/1.1 200") && body == expected);
    let etag = between(&head, "etag: ", "\r\n").expect("etag").to_owned();
    let md5: [u8; 16] = <md5::Md5 as md5::Digest>::digest(&expected).into();
    assert_eq!(etag, ferry_transfer::ETag::from_md5(md5).quoted());
    let ranged = format!("range: bytes=1048000-2097199\r\nif-match: {etag}\r\n");
    let (head, body) = ask(&server, "GET /g/object-0000000003", &ranged, "").await;
    assert!(head.contains("content-range: bytes 1048000-2097199/3000000"), "{head}");
    assert!(body == expected.slice(1_048_000..2_097_200));
    let (head, _) = ask(&server, "GET /g/object-0000000003", "if-match: \"other\"\r\n", "").await;
    assert!(head.starts_with("HTTP/1.1 412"));
    let (head, _) = ask(&server, "GET /g/object-10", "", "").await;
    assert!(head.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn a_sink_remembers_size_and_etag_and_nothing_else() {
    let server =
        SyntheticServer::start(SyntheticConfig::default().sink("s", SinkEtag::Md5)).await.expect("server");
    let sink = server.sink("s").expect("sink");
    let (head, _) = ask(&server, "PUT /s/a%20b", "", "hello").await;
    assert!(head.contains("etag: \"5d41402abc4b2a76b9719d911017c592\""), "{head}");
    let framed = "x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\n";
    let body = "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n";
    let (head, _) = ask(&server, "PUT /s/framed", framed, body).await;
    assert!(head.contains("etag: \"5d41402abc4b2a76b9719d911017c592\""), "{head}");
    let (head, _) = ask(&server, "PUT /s/framed", "if-none-match: *\r\n", "other").await;
    assert!(head.starts_with("HTTP/1.1 412"));
    let (head, _) = ask(&server, "HEAD /s/framed", "", "").await;
    assert!(head.contains("content-length: 5"), "{head}");
    assert_eq!((sink.len(), sink.size_bytes()), (2, 10));
    assert_eq!(listed(&server, "/s?list-type=2&encoding-type=url").await, ["a+b", "framed"]);
    ask(&server, "DELETE /s/framed", "", "").await;
    assert_eq!((sink.len(), sink.size_bytes()), (1, 5));
}

#[tokio::test]
async fn a_sink_completes_uploads_by_the_usual_rule() {
    let server =
        SyntheticServer::start(SyntheticConfig::default().sink("s", SinkEtag::Md5)).await.expect("server");
    let begun = document(&server, "POST /s/k?uploads").await;
    let id = between(&begun, "<UploadId>", "<").expect("id");
    for (number, bytes) in [(1, "hello "), (2, "world")] {
        ask(&server, &format!("PUT /s/k?partNumber={number}&uploadId={id}"), "", bytes).await;
    }
    let document = "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber></Part>\
                    <Part><PartNumber>2</PartNumber></Part></CompleteMultipartUpload>";
    let (_, body) = ask(&server, &format!("POST /s/k?uploadId={id}"), "", document).await;
    let md5 = |text: &str| <md5::Md5 as md5::Digest>::digest(text).into();
    let tag = ferry_transfer::ETag::from_part_md5s(&[md5("hello "), md5("world")]);
    let body = String::from_utf8(body.to_vec()).expect("text");
    assert!(body.contains(tag.as_str()), "{body}");
    let sink = server.sink("s").expect("sink");
    assert_eq!((sink.size_of("k"), sink.open_uploads()), (Some(11), 0));
}

#[tokio::test]
async fn listings_fail_or_lie_where_that_was_asked_for() {
    let bucket = |listing_fault| GeneratedBucket { listing_fault, ..GeneratedBucket::new(1500, 1) };
    let config = SyntheticConfig::default()
        .generated("fails", bucket(ListingFault::FailsBehindFirstPage))
        .generated("lies", bucket(ListingFault::EndsEarly));
    let server = SyntheticServer::start(config).await.expect("server");
    assert_eq!(listed(&server, "/lies?list-type=2").await.len(), 1000);
    let page = document(&server, "GET /fails?list-type=2").await;
    let token = between(&page, "<NextContinuationToken>", "<").expect("token");
    for behind in [format!("continuation-token={token}"), "start-after=object-0000000500".to_owned()] {
        let (head, _) = ask(&server, &format!("GET /fails?list-type=2&{behind}"), "", "").await;
        assert!(head.starts_with("HTTP/1.1 500"), "{head}");
    }
}

#[tokio::test]
async fn a_sink_lists_the_parts_it_took_a_thousand_at_a_time() {
    let server = SyntheticServer::start(SyntheticConfig::default().sink("s", SinkEtag::Opaque)).await;
    let server = server.expect("server");
    let begun = document(&server, "POST /s/k?uploads").await;
    let id = between(&begun, "<UploadId>", "<").expect("id");
    for number in (2..=2004).rev().step_by(2) {
        ask(&server, &format!("PUT /s/k?partNumber={number}&uploadId={id}"), "", "part").await;
    }
    let numbers = |page: &str| -> Vec<u32> {
        let parts = page.split("<PartNumber>").skip(1);
        parts.filter_map(|rest| rest.split('<').next()?.parse().ok()).collect()
    };
    let first = document(&server, &format!("GET /s/k?uploadId={id}")).await;
    assert_eq!(numbers(&first), (1..=1000).map(|number| number * 2).collect::<Vec<_>>());
    assert_eq!(between(&first, "<IsTruncated>", "<"), Some("true"));
    assert_eq!(between(&first, "<Size>", "<"), Some("4"));
    let marker = between(&first, "<NextPartNumberMarker>", "<").expect("marker");
    let second = document(&server, &format!("GET /s/k?part-number-marker={marker}&uploadId={id}")).await;
    assert_eq!((numbers(&second), between(&second, "<IsTruncated>", "<")), (vec![2002, 2004], Some("false")));
    let (head, _) = ask(&server, "GET /s/k?uploadId=other", "", "").await;
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
}
