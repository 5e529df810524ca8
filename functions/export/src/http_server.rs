//! The API as a router, for whoever hosts a server.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{OriginalUri, Request, State};
use axum::response::Response;
use http::StatusCode;
use http::header::CONTENT_TYPE;

use crate::api::{HttpRequest, handle};
use crate::service::Service;

/// Manifests are texts of a few kilobytes.
const BODY_BYTES_MAX: usize = 4 << 20;

/// Answers at every path, since a client's endpoint may have one; nest it under the one that the endpoint has.
pub fn router(service: Arc<Service>) -> Router {
    Router::new().fallback(serve).with_state(service)
}

async fn serve(
    State(service): State<Arc<Service>>,
    OriginalUri(uri): OriginalUri,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE, "the request has a body that is too large or broke off");
    };
    let mut request = HttpRequest {
        method: parts.method.as_str().to_owned(),
        path: uri.path().to_owned(),
        query: uri.query().unwrap_or_default().to_owned(),
        headers: BTreeMap::new(),
        body,
    };
    for (name, value) in &parts.headers {
        if let Ok(value) = value.to_str() {
            request.set_header(name.as_str(), value);
        }
    }
    let answer = handle(&service, &request).await;
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let response = Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "text/xml")
        .header("x-amzn-requestid", answer.request_id)
        .body(Body::from(answer.body));
    response.unwrap_or_else(|_| plain(StatusCode::INTERNAL_SERVER_ERROR, "no answer could be made"))
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}
