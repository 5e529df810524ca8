//! Plain HTTP: a webhook for anything that can post one.
//!
//! Owns: the routes, the statuses and reading bodies within bounds. Invariant: 2xx only when the queue has every job; 401 for who is not let
//! in, 400 for what can never be read, 503 and 408 for what is to be sent again.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use http_body_util::BodyExt as _;

use super::{BODY_BYTES_MAX, Door, Failure, Room};
use crate::auth::Presented;
use crate::handler::Accepted;

/// Longest that a body may take to arrive. A usual notification is one packet.
const BODY_WITHIN: Duration = Duration::from_secs(10);

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
    let (parts, body) = request.into_parts();
    let taken = match read(&door, body).await {
        Ok((body, _room)) => door.take(&Presented::by(&parts.headers), &body).await,
        Err(failure) => Err(failure),
    };
    answer(taken)
}

/// `CloudEvents` ask whether a webhook wants them (CNCF, "HTTP 1.1 Web Hooks", 4).
fn welcome(headers: &HeaderMap) -> Response {
    let origin = headers.get("webhook-request-origin").cloned();
    let origin = origin.unwrap_or_else(|| HeaderValue::from_static("*"));
    ([("webhook-allowed-origin", origin), ("webhook-allowed-rate", HeaderValue::from_static("*"))])
        .into_response()
}

/// The body, with its room in the budget, unless it is too long, breaks off or does not arrive in time.
pub(super) async fn read(door: &Door, body: Body) -> Result<(Bytes, Room), Failure> {
    match tokio::time::timeout(BODY_WITHIN, collect(door, body)).await {
        Ok(read) => read,
        Err(_elapsed) => Err(Failure::TooSlow),
    }
}

async fn collect(door: &Door, mut body: Body) -> Result<(Bytes, Room), Failure> {
    let mut room = door.room().await?;
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_broken| Failure::Broken)?.into_data() else { continue };
        let length = bytes.len() + data.len();
        if length > BODY_BYTES_MAX {
            return Err(Failure::TooLong);
        }
        door.grow(&mut room, length).await?;
        bytes.extend_from_slice(&data);
    }
    Ok((bytes.into(), room))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ferry_testkit::{MemoryQueue, MemoryQueueConfig};
    use ferry_transfer::SystemClock;
    use ferry_transfer::queue::shared_outbox::SharedOutbox;
    use ferry_transfer::retry::Backoff;
    use tokio::time::Instant;

    use super::*;
    use crate::auth::Authenticator;
    use crate::handler::Handler;
    use crate::rules::Rules;

    fn door() -> Door {
        let queue = MemoryQueue::new(MemoryQueueConfig::default());
        let clock = Arc::new(SystemClock);
        let handler = Handler {
            rules: Rules::default().into(),
            outbox: SharedOutbox::new(queue, Arc::clone(&clock) as _, Backoff::default()),
            clock,
            append_wait: Duration::ZERO,
            send_within: Duration::from_secs(1),
        };
        Door::new(handler, Authenticator::HostDecides)
    }

    /// What arrives of a body, and then nothing more.
    fn stalled(bytes: usize) -> Body {
        let first = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from(vec![b' '; bytes]))]);
        Body::from_stream(futures::StreamExt::chain(first, futures::stream::pending()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_gives_its_room_back_in_time() {
        let door = door();
        let begun = Instant::now();
        let read = read(&door, stalled(1)).await;
        assert!(matches!(read, Err(Failure::TooSlow)));
        assert_eq!(begun.elapsed(), BODY_WITHIN);
        drop(read);
        let whole = door.budget.available_permits();
        let (_body, _room) = super::read(&door, Body::from("{}")).await.expect("read");
        assert_eq!(door.budget.available_permits(), whole - 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_bodies_hold_together_is_bounded() {
        let door = door();
        let slow = (0..60).map(|_| read(&door, stalled(BODY_BYTES_MAX)));
        let ended = futures::future::join_all(slow).await;
        let busy = ended.iter().filter(|ended| matches!(ended, Err(Failure::Busy))).count();
        assert!((20..60).contains(&busy), "{busy} of 60 found no room");
        assert!(matches!(
            read(&door, Body::from(vec![b' '; BODY_BYTES_MAX + 1])).await,
            Err(Failure::TooLong)
        ));
        let (body, _room) = read(&door, Body::from("{}")).await.expect("room again");
        assert_eq!(&body[..], b"{}");
    }
}
