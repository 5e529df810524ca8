//! The promises of every store, kept by the real client over real HTTP in the wrappers it is always used in.
//!
//! The bare client is asked the same by its own crate's tests.

use std::sync::Arc;

use ferry_cloud::{Credentials, StoreConfig, connect_with};
use ferry_testkit::conformance;
use ferry_testkit::s3::{S3Server, S3ServerConfig};
use ferry_transfer::pace::{EndpointPace, Pace};
use ferry_transfer::store::metered::{Meter, RequestKind};
use ferry_transfer::{Clock, SystemClock};

/// Asks everything of a store of this description, and compares what the meter counted with what the server saw.
async fn assert_conforms(yaml: &str) {
    let server = S3Server::start(S3ServerConfig::with_buckets(["photos"])).await.expect("server");
    let mut config: StoreConfig = serde_saphyr::from_str(yaml).expect("configuration");
    config.endpoint = Some(server.endpoint());
    let keys = Credentials {
        access_key_id: server.access_key_id().to_owned(),
        secret_access_key: server.secret_access_key().to_owned(),
        session_token: None,
        expires: None,
    };
    let bucket = connect_with("lab", &config, keys).await.expect("account").bucket("photos");
    let meter = Arc::new(Meter::default());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let pace = Arc::new(EndpointPace::new(8, &Pace::default(), None, &clock));
    let store = bucket.layered(&meter, &pace);

    let report = conformance::check(store.as_ref(), &[]).await;
    assert!(report.failures().is_empty(), "{report}");
    assert_eq!(report.outcomes.len(), conformance::CHECKS.len());
    assert!(server.bucket("photos").is_empty() && server.bucket("photos").open_uploads().is_empty());

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
        assert_eq!(counted.get(&kind), server.requests().get(operation), "{operation}");
    }
}

#[tokio::test]
async fn every_promise_is_kept_in_amazons_posture() {
    assert_conforms("provider: aws\naddressing: path\n").await;
}

#[tokio::test]
async fn every_promise_is_kept_in_the_posture_for_all_others() {
    assert_conforms("provider: other\n").await;
}
