//! One HTTP request and its answer.
//!
//! Owns: sending it once over the process's own connections, with TLS and through proxies as for stores. Does not own: signatures, repetition and
//! what an answer means. Invariants: any answer is one, an error means that there was none; no body of either is ever logged, at whatever
//! level, since it may hold a secret.

use std::fmt;
use std::time::Duration;

use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime_api::client::orchestrator::{
    HttpRequest, HttpResponse, OrchestratorError, SensitiveOutput,
};
use aws_smithy_runtime_api::client::runtime_plugin::StaticRuntimePlugin;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::Layer;
use aws_smithy_types::timeout::TimeoutConfig;
use bytes::Bytes;
use ferry_transfer::chain;
use http::HeaderMap;
use http_body_util::Full;

use crate::http_client;

/// Longest wait for one answer.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// What came back.
#[derive(Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body: these are small.
    pub body: Bytes,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Never made: a refusal is an answer.
#[derive(Debug, thiserror::Error)]
#[error("never")]
struct Never;

/// Sends a request to its absolute URI; why there was no answer, as a chain.
pub async fn exchange(request: http::Request<Bytes>) -> Result<Answer, String> {
    let endpoint = format!(
        "{}://{}",
        request.uri().scheme_str().unwrap_or("https"),
        request.uri().authority().map_or("", http::uri::Authority::as_str)
    );
    let mut layer = Layer::new("exchange");
    layer.store_put(SensitiveOutput);
    let operation = Operation::builder()
        .service_name("aws")
        .operation_name("exchange")
        .behavior_version(http_client::behavior_version())
        .http_client(http_client::shared())
        .endpoint_url(&endpoint)
        .no_auth()
        .no_retry()
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(http_client::CONNECT_TIMEOUT)
                .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                .build(),
        )
        .runtime_plugin(StaticRuntimePlugin::new().with_config(layer.freeze()))
        // A body that is not shown by whoever prints the request, as bytes would be.
        .serializer(|request: http::Request<Bytes>| {
            let request = request.map(|body| SdkBody::from_body_1_x(Full::new(body)));
            Ok(HttpRequest::try_from(request)?)
        })
        .deserializer(|response: &HttpResponse| -> Result<Answer, OrchestratorError<Never>> {
            let mut headers = HeaderMap::new();
            for (name, value) in response.headers() {
                if let (Ok(name), Ok(value)) =
                    (http::HeaderName::try_from(name), http::HeaderValue::try_from(value))
                {
                    headers.insert(name, value);
                }
            }
            Ok(Answer {
                status: response.status().as_u16(),
                headers,
                body: Bytes::copy_from_slice(response.body().bytes().unwrap_or_default()),
            })
        })
        .build();
    operation.invoke(request).await.map_err(|error| chain(&error))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ferry_testkit::control_plane::ControlPlane;
    use tempfile::NamedTempFile;
    use tracing::Level;

    use crate::aws_api::{AwsApi, Service};
    use crate::parameters::{Parameters as _, Secrecy, SsmParameters};

    #[tokio::test]
    async fn nothing_secret_is_logged_at_the_most_talkative_level() {
        let log = NamedTempFile::new().expect("a file");
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::TRACE)
            .with_writer(Arc::new(log.reopen().expect("the same file")))
            .finish();
        let server = ControlPlane::start().await.expect("a server");
        let keys = aws_credential_types::Credentials::new(
            "AKID",
            "the-secret-key",
            Some("the-session-token".to_owned()),
            None,
            "test",
        );
        let parameters = SsmParameters(AwsApi::at(Service::Ssm, &server.endpoint(), keys));
        let (said, heard) = {
            let _logged = tracing::subscriber::set_default(subscriber);
            let said = parameters.put("/ferry/credentials/lab", "the-parameter", Secrecy::Secret).await;
            (said, parameters.get("/ferry/credentials/lab").await)
        };
        assert_eq!((said.expect("written"), heard.expect("read").as_deref()), (1, Some("the-parameter")));
        let log = std::fs::read_to_string(log.path()).expect("the log");
        assert!(log.contains("transmitting request") && log.contains("AmazonSSM.PutParameter"), "{log}");
        for secret in ["the-secret-key", "the-session-token", "the-parameter"] {
            let as_numbers = format!("{:?}", secret.as_bytes());
            assert!(!log.contains(secret), "{secret}: {log}");
            assert!(!log.contains(as_numbers.trim_matches(['[', ']'])), "{secret} as numbers: {log}");
        }
    }
}
