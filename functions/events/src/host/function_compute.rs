//! Alibaba Cloud Function Compute: a custom runtime.
//!
//! Owns: `/invoke` and `/initialize`, the lines that its log search goes by, and `x-fc-status`, without which every answer counts as a
//! success, whatever its status (Alibaba Cloud, "Custom runtime", "Event functions"). Does not own: HTTP triggers, which come in as plain
//! HTTP. Invariant: every answer has `x-fc-status`; no header of a request is logged, since some of them are credentials.

use std::io::Write as _;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::{Door, http};

/// Says whether an invocation succeeded: 200 or 404.
const STATUS_HEADER: &str = "x-fc-status";
const REQUEST_ID_HEADER: &str = "x-fc-request-id";
/// Says what the runtime is asked for. The host sets it, so that no HTTP trigger can pass for an event.
const CONTROL_HEADER: &str = "x-fc-control-path";

/// Takes invocations, and what an HTTP trigger hands on.
pub fn router(door: Door) -> Router {
    Router::new()
        .route("/invoke", post(invoke))
        .route("/initialize", post(initialize))
        .route("/healthz", get(async || "ok"))
        .fallback(http::webhook)
        .with_state(door)
}

async fn invoke(State(door): State<Door>, request: Request) -> Response {
    let request_id = request_id(request.headers());
    log(&format!("FC Invoke Start RequestId: {request_id}"));
    let response = take(&door, request).await;
    log(&format!("FC Invoke End RequestId: {request_id}"));
    with_status(response)
}

async fn take(door: &Door, request: Request) -> Response {
    let place = match door.place().await {
        Ok(place) => place,
        Err(failure) => return http::failed(&failure),
    };
    let (parts, body) = request.into_parts();
    let body = match http::read(body).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    let by_http_trigger = parts.headers.get(CONTROL_HEADER).is_some_and(|path| path != "/invoke");
    let taken = if by_http_trigger {
        door.take(&http::presented(&parts.headers), &body).await
    } else {
        door.take_trusted(&body).await
    };
    drop(place);
    http::answer(taken)
}

/// The queue's client was built when the process started: there is nothing left to do.
async fn initialize(request: Request) -> Response {
    let request_id = request_id(request.headers());
    log(&format!("FC Initialize Start RequestId: {request_id}"));
    log(&format!("FC Initialize End RequestId: {request_id}"));
    with_status(StatusCode::OK.into_response())
}

/// As the host wants it, so that a failed invocation is tried again.
fn with_status(mut response: Response) -> Response {
    let status = if response.status().is_success() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    *response.status_mut() = status;
    let text = if status == StatusCode::OK { "200" } else { "404" };
    response.headers_mut().insert(STATUS_HEADER, HeaderValue::from_static(text));
    response
}

/// Only what an id can be made of, so that no request can write lines of its own.
fn request_id(headers: &HeaderMap) -> String {
    let id = headers.get(REQUEST_ID_HEADER).and_then(|id| id.to_str().ok()).unwrap_or("unknown");
    id.chars().filter(char::is_ascii_graphic).take(100).collect()
}

/// The log search goes by whole lines of the standard output, with nothing before them.
fn log(line: &str) {
    if let Err(error) = writeln!(std::io::stdout().lock(), "{line}") {
        tracing::debug!(%error, "the standard output is closed");
    }
}
