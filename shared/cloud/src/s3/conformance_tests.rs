//! The promises of every store, kept by either client against a server that checks signatures, payload hashes and trailers.

use ferry_testkit::bucket::BucketSettings;
use ferry_testkit::conformance;
use ferry_testkit::s3::{S3Server, S3ServerConfig};
use ferry_transfer::store::Versioning;

use crate::store_config::{ClientKind, StoreConfig, connect};

/// What one client makes of every check.
async fn report(yaml: &str, client: ClientKind) -> conformance::Report {
    report_of(yaml, client, BucketSettings::default()).await
}

async fn report_of(yaml: &str, client: ClientKind, settings: BucketSettings) -> conformance::Report {
    let buckets = S3ServerConfig { settings, ..S3ServerConfig::with_buckets(["photos"]) };
    let server = S3Server::start(buckets).await.expect("server");
    let mut config: StoreConfig = serde_saphyr::from_str(yaml).expect("configuration");
    config.client = Some(client);
    config.endpoint = Some(server.endpoint());
    config.region = Some(server.region().to_owned());
    config.credentials = format!("command:echo {} {}", server.access_key_id(), server.secret_access_key())
        .parse()
        .expect("reference");
    let store = connect("lab", &config).await.expect("account").bucket("photos");
    let report = conformance::check(&store, &[]).await;
    server.stop().await;
    report
}

#[tokio::test]
async fn the_compatible_posture_keeps_every_promise() {
    for client in [ClientKind::Lean, ClientKind::Sdk] {
        let report = report("provider: minio", client).await;
        assert!(report.failures().is_empty(), "{client:?}: {report}");
    }
}

#[tokio::test]
async fn the_first_listing_operation_keeps_every_promise() {
    for client in [ClientKind::Lean, ClientKind::Sdk] {
        let report = report("provider: minio\nprofile: {list_version: 1}", client).await;
        assert!(report.failures().is_empty(), "{client:?}: {report}");
    }
}

#[tokio::test]
async fn amazons_posture_keeps_every_promise() {
    for client in [ClientKind::Lean, ClientKind::Sdk] {
        let report = report("provider: aws\naddressing: path", client).await;
        assert!(report.failures().is_empty(), "{client:?}: {report}");
    }
}

#[tokio::test]
async fn a_bucket_with_versions_keeps_every_promise() {
    let settings = BucketSettings { versioning: Versioning::Enabled, ..BucketSettings::default() };
    for client in [ClientKind::Lean, ClientKind::Sdk] {
        let report = report_of("provider: minio", client, settings.clone()).await;
        assert!(report.failures().is_empty(), "{client:?}: {report}");
    }
}
