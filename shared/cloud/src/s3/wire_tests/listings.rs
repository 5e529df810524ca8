//! Listings on the wire: keys decoded once, pages whole, no end before the end.

use ferry_transfer::store::{Cursor, ListRequest};
use ferry_transfer::{ETag, ErrorKind, ObjectStore as _, StorageClass};

use super::super::encoding;
use super::server::{Answer, Server};
use super::{bucket, compatible};
use crate::profile::ListVersion;

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
        let store = bucket(&server, &format!("provider: other\nprofile: {{list_version: {version}}}")).await;
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
            let yaml = format!("provider: other\nprofile: {{list_version: {version}}}");
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
        assert!(format!("{target}&").contains(&format!("{parameter}&")), "{parameter} in {target}");
    }
}

#[tokio::test]
async fn a_cursor_goes_to_the_operation_that_made_it_and_one_of_neither_is_refused() {
    let last = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
    let server = Server::start(move |_| Answer::ok().body(last)).await;
    let store = compatible(&server).await;
    let from = |cursor| ListRequest { cursor: Some(cursor), ..ListRequest::default() };
    for (version, parameter) in [(ListVersion::V1, "marker=k"), (ListVersion::V2, "continuation-token=k")] {
        store.list(from(encoding::cursor(version, "k"))).await.expect("a page");
        let target = server.only().target().to_owned();
        assert!(target.contains(parameter), "{parameter} in {target}");
    }
    let error = store.list(from(Cursor("k".to_owned()))).await.expect_err("of neither");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

/// A page of the older operation, for whoever asks by it.
fn older(target: &str) -> Answer {
    let first = "<ListBucketResult><IsTruncated>true</IsTruncated><Contents><Key>k1</Key><Size>1</Size></Contents>\
                 </ListBucketResult>";
    let last = "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>k2</Key><Size>1</Size></Contents>\
                </ListBucketResult>";
    Answer::ok().body(if target.contains("marker=k1") { last } else { first })
}

#[tokio::test]
async fn a_store_that_does_not_know_the_newer_listing_is_asked_by_the_older() {
    let refusal = |status, reason, code: &str| {
        Answer::status(status, reason)
            .body(format!("<Error><Code>{code}</Code><Message>no</Message></Error>"))
    };
    for client in ["lean", "sdk"] {
        let refusals = [
            refusal(501, "Not Implemented", "NotImplemented"),
            refusal(400, "Bad Request", "InvalidArgument"),
            refusal(405, "Method Not Allowed", "MethodNotAllowed"),
        ];
        for newer in refusals {
            let server = Server::start(move |seen| {
                if seen.target().contains("list-type=2") { newer.clone() } else { older(seen.target()) }
            })
            .await;
            let store = bucket(&server, &format!("provider: other\nclient: {client}")).await;
            let first = store.list(ListRequest::default()).await.expect("a page");
            assert_eq!(first.entries[0].key.as_str(), "k1");
            let request = ListRequest { cursor: first.next, ..ListRequest::default() };
            let last = store.list(request).await.expect("a page");
            assert_eq!((last.entries[0].key.as_str(), last.next), ("k2", None));
            store.list(ListRequest::default()).await.expect("a page");
            let asked: Vec<bool> =
                server.take().iter().map(|seen| seen.target().contains("list-type=2")).collect();
            assert_eq!(asked, [true, false, false, false], "it is found out once");
        }
    }
}

#[tokio::test]
async fn a_refusal_of_both_listings_is_the_newer_ones() {
    let refused = |code: &str| format!("<Error><Code>{code}</Code><Message>no</Message></Error>");
    let server = Server::start(move |seen| {
        let code = if seen.target().contains("list-type=2") { "InvalidArgument" } else { "AccessDenied" };
        Answer::status(400, "Bad Request").body(refused(code))
    })
    .await;
    let store = compatible(&server).await;
    for _ in 0..2 {
        let error = store.list(ListRequest::default()).await.expect_err("refused");
        assert_eq!(error.code(), Some("InvalidArgument"));
        assert_eq!(server.take().len(), 2, "nothing was learnt");
    }
}
