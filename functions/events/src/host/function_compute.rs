//! Alibaba Cloud Function Compute: a custom runtime.
//!
//! Owns: `/invoke` and `/initialize`, the lines that its log search goes by, and `x-fc-status`, without which every answer counts as a
//! success, whatever its status (Alibaba Cloud, "Custom runtime", "Event functions"). Does not own: HTTP triggers, which come in as plain
//! HTTP. Invariants: every answer has `x-fc-status`; no header of a request is logged, since some of them are credentials; an event
//! without a signature is believed only where the platform is in front of the process.

use std::io::Write as _;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};

use super::server::Peer;
use super::{Door, http};
use crate::auth::Presented;
use crate::settings::Invokers;

/// Says whether an invocation succeeded: 200 or 404.
const STATUS_HEADER: &str = "x-fc-status";
const REQUEST_ID_HEADER: &str = "x-fc-request-id";
/// Says what the runtime is asked for. The host sets it, so that no HTTP trigger can pass for an event.
const CONTROL_HEADER: &str = "x-fc-control-path";

/// Takes invocations, and what an HTTP trigger hands on.
pub fn router(door: Door, invokers: Invokers) -> Router {
    Router::new()
        .route("/invoke", post(invoke))
        .route("/initialize", post(initialize))
        .route("/healthz", get(async || "ok"))
        .fallback(http::webhook)
        .layer(Extension(invokers))
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
    let (parts, body) = request.into_parts();
    let (body, _room) = match http::read(door, body).await {
        Ok(read) => read,
        Err(failure) => return http::failed(&failure),
    };
    let by_http_trigger = parts.headers.get(CONTROL_HEADER).is_some_and(|path| path != "/invoke");
    let is_trusted = !by_http_trigger
        && match parts.extensions.get::<Invokers>() {
            Some(Invokers::Platform) => true,
            Some(Invokers::SameMachine) => {
                let peer = parts.extensions.get::<Peer>();
                door.has_no_secret() && peer.is_some_and(|Peer(address)| address.ip().is_loopback())
            }
            None => false,
        };
    http::answer(if is_trusted {
        door.take_trusted(&body).await
    } else {
        door.take(&Presented::by(&parts.headers), &body).await
    })
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
