//! One HTTP request and its answer.
//!
//! Owns: sending it once over the process's own connections, with TLS and through proxies as for stores. Does not own: signatures, repetition and
//! what an answer means. Invariant: any answer is one; an error means that there was none.

use std::time::Duration;

use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::timeout::TimeoutConfig;
use bytes::Bytes;
use ferry_transfer::chain;
use http::HeaderMap;

use crate::http_client;

/// Longest wait for one answer.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body: these are small.
    pub body: Bytes,
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
        .serializer(|request: http::Request<Bytes>| Ok(HttpRequest::try_from(request.map(SdkBody::from))?))
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
