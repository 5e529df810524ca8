//! Plain HTTP: a webhook for anything that can post one.
//!
//! Owns: the routes, the statuses and reading bodies within bounds. Invariant: 2xx only when the queue has every job; 401 for who is not let
//! in, 400 for what can never be read, 503 for what is to be sent again.

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};

use super::{BODY_BYTES_MAX, Door, Failure};
use crate::auth::{Presented, SIGNATURE_HEADER};
use crate::handler::Accepted;

/// Takes notifications by POST on every path; answers `/healthz`.
pub fn router(door: Door) -> Router {
    Router::new().route("/healthz", get(async || "ok")).fallback(any(webhook)).with_state(door)
}

/// A notification that somebody posts.
pub(super) async fn webhook(State(door): State<Door>, request: Request) -> Response {
    let method = request.method().clone();
    if method == axum::http::Method::OPTIONS {
        return welcome(request.headers());
    }
    if method != axum::http::Method::POST && method != axum::http::Method::PUT {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST")]).into_response();
    }
    let place = match door.place().await {
        Ok(place) => place,
        Err(failure) => return failed(&failure),
    };
    let (parts, body) = request.into_parts();
    let taken = match read(body).await {
        Ok(body) => door.take(&presented(&parts.headers), &body).await,
        Err(response) => return response,
    };
    drop(place);
    answer(taken)
}

/// `CloudEvents` ask whether a webhook wants them (CNCF, "HTTP 1.1 Web Hooks", 4).
fn welcome(headers: &HeaderMap) -> Response {
    let origin = headers.get("webhook-request-origin").cloned();
    let origin = origin.unwrap_or_else(|| HeaderValue::from_static("*"));
    ([("webhook-allowed-origin", origin), ("webhook-allowed-rate", HeaderValue::from_static("*"))])
        .into_response()
}

/// The body, unless it is too long or breaks off.
pub(super) async fn read(body: Body) -> Result<axum::body::Bytes, Response> {
    axum::body::to_bytes(body, BODY_BYTES_MAX).await.map_err(|_too_long_or_broken| {
        let message = format!("the body is longer than {BODY_BYTES_MAX} bytes, or broke off\n");
        (StatusCode::PAYLOAD_TOO_LARGE, message).into_response()
    })
}

pub(super) fn presented(headers: &HeaderMap) -> Presented<'_> {
    let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Presented {
        signature: value(SIGNATURE_HEADER),
        backblaze: value("x-bz-event-notification-signature"),
        authorization: value("authorization"),
    }
}

pub(super) fn answer(taken: Result<Accepted, Failure>) -> Response {
    match taken {
        Ok(accepted) => axum::Json(accepted).into_response(),
        Err(failure) => failed(&failure),
    }
}

pub(super) fn failed(failure: &Failure) -> Response {
    let status = StatusCode::from_u16(failure.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, axum::Json(failure.body())).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
