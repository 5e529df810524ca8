//! The promises of every store, kept by the real client over real HTTP, bare and in the wrappers it is used in.

use std::sync::Arc;

use ferry_cloud::{Credentials, S3Bucket, StoreConfig, connect_with};
use ferry_testkit::bucket::BucketSettings;
use ferry_testkit::conformance;
use ferry_testkit::s3::{S3Server, S3ServerConfig};
use ferry_transfer::retry::Backoff;
use ferry_transfer::store::metered::{Meter, MeteredStore, RequestKind};
use ferry_transfer::store::retrying::RetryingStore;
use ferry_transfer::{ObjectStore, SystemClock};

/// The two ways to talk to a store, each with a make that has it.
const MAKES: [&str; 2] = ["provider: aws\naddressing: path\n", "provider: other\n"];

async fn server() -> S3Server {
    let settings = BucketSettings::default();
    let config = S3ServerConfig { settings, ..S3ServerConfig::with_buckets(["photos"]) };
    S3Server::start(config).await.expect("server")
}

async fn bucket(server: &S3Server, yaml: &str) -> S3Bucket {
    let mut config: StoreConfig = serde_saphyr::from_str(yaml).expect("configuration");
    config.endpoint = Some(server.endpoint());
    let keys = Credentials {
        access_key_id: server.access_key_id().to_owned(),
        secret_access_key: server.secret_access_key().to_owned(),
        session_token: None,
        expires: None,
    };
    connect_with("lab", &config, keys).await.expect("account").bucket("photos")
}

async fn assert_conforms(store: &dyn ObjectStore, yaml: &str) {
    let report = conformance::check(store, &[]).await;
    assert!(report.failures().is_empty(), "{yaml}{report}");
    assert_eq!(report.outcomes.len(), conformance::CHECKS.len());
}

#[tokio::test]
async fn the_client_keeps_every_promise_in_both_postures() {
    for yaml in MAKES {
        let server = server().await;
        assert_conforms(&bucket(&server, yaml).await, yaml).await;
        assert!(server.bucket("photos").is_empty() && server.bucket("photos").open_uploads().is_empty());
    }
}

#[tokio::test]
async fn retries_and_meters_keep_every_promise_and_count_every_request() {
    for yaml in MAKES {
        let server = server().await;
        let meter = Arc::new(Meter::default());
        let metered = Arc::new(MeteredStore::new(Arc::new(bucket(&server, yaml).await), Arc::clone(&meter)));
        let store = RetryingStore::new(metered, Backoff::default(), Arc::new(SystemClock));
        assert_conforms(&store, yaml).await;
        let counted = meter.read().requests;
        for (kind, operation) in [
            (RequestKind::List, "ListObjectsV2"),
            (RequestKind::Head, "HeadObject"),
            (RequestKind::Get, "GetObject"),
            (RequestKind::CreateUpload, "CreateMultipartUpload"),
            (RequestKind::CompleteUpload, "CompleteMultipartUpload"),
            (RequestKind::AbortUpload, "AbortMultipartUpload"),
            (RequestKind::Delete, "DeleteObject"),
        ] {
            assert_eq!(counted.get(&kind), server.requests().get(operation), "{yaml}{operation}");
        }
    }
}
