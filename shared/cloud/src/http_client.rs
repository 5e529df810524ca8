//! The process's one HTTP client.
//!
//! Owns: the connection pool that every store and queue of the process shares, and the behaviour version every SDK client is
//! built with. Does not own: timeouts of single requests, which follow from what is sent.

use std::sync::OnceLock;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::{Builder, ConnectorBuilder, tls};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_types::timeout::TimeoutConfig;

/// Longest wait for a TCP and TLS connection: the SDK's own default, stated because it is part of the retry arithmetic.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_millis(3100);

/// The behaviour version every client is built with, explicit so that an SDK update cannot change defaults unseen.
pub(crate) fn behavior_version() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

/// The pool, made at first use. A process-wide value because connections are a process-wide resource: two stores on one
/// endpoint then share them, and TLS roots are loaded once. Built like the SDK's own default: rustls with AWS-LC, proxies as
/// `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` say.
pub(crate) fn shared() -> SharedHttpClient {
    static CLIENT: OnceLock<SharedHttpClient> = OnceLock::new();
    CLIENT
        .get_or_init(|| {
            Builder::new().build_with_connector_fn(|settings, components| {
                let mut connector = ConnectorBuilder::default()
                    .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc))
                    .proxy_config(ProxyConfig::from_env());
                connector.set_connector_settings(settings.cloned());
                if let Some(components) = components {
                    connector.set_sleep_impl(components.sleep_impl());
                }
                connector.build()
            })
        })
        .clone()
}

/// Connect timeout only: attempt timeouts are set around each call, since they depend on the size of its body.
pub(crate) fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build()
}
