//! The API behind a Lambda function URL.
//!
//! Source: AWS Lambda, "Request and response payloads" of function URLs (payload format 2.0).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::api::{HttpRequest, handle};
use crate::service::Service;

/// A request as Lambda hands it over.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UrlEvent {
    raw_path: String,
    #[serde(default)]
    raw_query_string: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    request_context: Context,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

#[derive(Debug, Clone, Deserialize)]
struct Context {
    http: Http,
}

#[derive(Debug, Clone, Deserialize)]
struct Http {
    method: String,
}

/// An answer as Lambda takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UrlResponse {
    status_code: u16,
    headers: BTreeMap<String, String>,
    body: String,
    is_base64_encoded: bool,
}

/// Answers one event.
pub async fn answer(service: &Service, event: UrlEvent) -> UrlResponse {
    let body = event.body.unwrap_or_default();
    let body = if event.is_base64_encoded {
        // A body that does not decode has no signature either.
        STANDARD.decode(body).unwrap_or_default()
    } else {
        body.into_bytes()
    };
    let request = HttpRequest {
        method: event.request_context.http.method,
        path: event.raw_path,
        query: event.raw_query_string,
        headers: event.headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect(),
        body: Bytes::from(body),
    };
    let answer = handle(service, &request).await;
    let headers = [("content-type", "text/xml".to_owned()), ("x-amzn-requestid", answer.request_id)];
    UrlResponse {
        status_code: answer.status,
        headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        body: answer.body,
        is_base64_encoded: false,
    }
}
