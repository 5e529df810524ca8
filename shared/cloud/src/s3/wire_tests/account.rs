//! A store as a whole on the wire: reachability, credentials, presigned URLs, buckets.

use ferry_transfer::store::ListRequest;
use ferry_transfer::{ErrorKind, ObjectStore as _, Result};

use super::server::{Answer, Server};
use super::{compatible, key};
use crate::S3Bucket;
use crate::credentials::CredentialRef;
use crate::profile::Addressing;
use crate::store_config::{StoreConfig, connect};

const NOTHING_LISTED: &str = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";

/// The least that can be asked of a bucket.
async fn list_one_key(bucket: &S3Bucket) -> Result<()> {
    bucket.list(ListRequest { page_size: Some(1), ..ListRequest::default() }).await.map(drop)
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
    let error = list_one_key(&account.bucket("a/b")).await.expect_err("no host name");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("`addressing: path`"), "{error}");
}

#[tokio::test]
async fn a_first_listing_says_what_to_change() {
    let server = Server::start(|_| {
        Answer::status(403, "Forbidden").body("<Error><Code>SecondLevelDomainForbidden</Code></Error>")
    })
    .await;
    let error = list_one_key(&compatible(&server).await).await.expect_err("addressing");
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("`addressing: virtual`"), "{error}");
    assert!(server.only().target().contains("max-keys=1"));
    let server = Server::start(|_| Answer::ok().body(NOTHING_LISTED)).await;
    list_one_key(&compatible(&server).await).await.expect("reachable");
}

#[tokio::test]
async fn a_store_that_is_not_there_is_named() {
    let server = Server::start(|_| Answer::ok()).await;
    let store = compatible(&server).await;
    let url = server.url();
    server.stop().await;
    let error = list_one_key(&store).await.expect_err("nobody listens");
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
    list_one_key(&bucket).await.expect("keys as they were at the start");
    drop(keys);
    // The keys say that they have expired, so the reference is followed again.
    let error = list_one_key(&bucket).await.expect_err("no keys");
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
    list_one_key(&account.bucket("b")).await.expect("reachable");
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
