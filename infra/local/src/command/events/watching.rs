//! `ferry events listen` and `tail`: what comes in, and what became of it.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use ferry_events::host::server::{Deadlines, serve};
use ferry_events::{Authenticator, Presented};
use ferry_transfer::event;
use ferry_transfer::{Clock as _, SystemClock};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::post::{Sender, secret};
use crate::args::{ListenEventsArgs, OutputArgs, TailEventsArgs};
use crate::exit::{Exit, UsageError, print};
use crate::serve::access::TOKEN_FILE;

#[derive(Debug)]
struct Listener {
    authenticator: Authenticator,
    raw: bool,
}

/// Prints notifications as they come, and does nothing of what they say.
pub(super) async fn listen(args: ListenEventsArgs, output: &OutputArgs) -> Result<Exit> {
    let authenticator = match secret(&args.secret).await? {
        Some(secret) => Authenticator::SignatureOrBearer(secret),
        None if args.listen.ip().is_loopback() => Authenticator::HostDecides,
        None => {
            let message =
                format!("anybody could send to {}: name the senders' secret with --secret-file", args.listen);
            return Err(UsageError(message).into());
        }
    };
    let listener = tokio::net::TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen at {}", args.listen))?;
    let url = format!("http://{}", listener.local_addr()?);
    if output.json {
        print(&json!({ "endpoint": url }).to_string());
    } else if !output.quiet {
        crate::exit::say(&format!("Listening at {url}: POST notifications on any path; Ctrl-C ends"));
    }
    let router = Router::new().fallback(take).with_state(Arc::new(Listener { authenticator, raw: args.raw }));
    let stop = async {
        // Where the signal cannot be heard, the process ends by it all the same.
        drop(tokio::signal::ctrl_c().await);
    };
    serve(listener, router, Deadlines::HTTP, stop).await;
    Ok(Exit::Done)
}

async fn take(State(listener): State<Arc<Listener>>, headers: HeaderMap, body: Bytes) -> Response {
    let now_secs = SystemClock.now().unix_timestamp();
    if let Err(error) = listener.authenticator.check(&Presented::by(&headers), &body, now_secs) {
        return (StatusCode::UNAUTHORIZED, error.to_string()).into_response();
    }
    let text = String::from_utf8_lossy(&body);
    let read = told(&text);
    if listener.raw {
        // On one line, for `replay`.
        let line = serde_json::from_str::<Value>(&text)
            .map_or_else(|_| text.replace('\n', " "), |json| json.to_string());
        print(&line);
    } else {
        print(&read.to_string());
    }
    let status = if read["error"].is_null() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    (status, axum::Json(read)).into_response()
}

/// What Ferry reads out of a notification.
fn told(text: &str) -> Value {
    match event::parse(text) {
        Err(error) => json!({ "error": ferry_transfer::chain(&error) }),
        Ok(notification) => json!({
            "events": notification.events.iter().map(|event| json!({
                "key": event.key,
                "bucket": event.bucket,
                "change": format!("{:?}", event.change).to_lowercase(),
                "size": event.size_bytes,
                "name": event.name,
            })).collect::<Vec<_>>(),
            "ignored": notification.ignored.iter().map(|ignored| json!({
                "name": ignored.name,
                "why": ignored.why.to_string(),
            })).collect::<Vec<_>>(),
            "unreadable": notification.unreadable,
        }),
    }
}

/// Prints what became of the notifications of a `ferry serve`, as it happens.
pub(super) async fn tail(args: TailEventsArgs) -> Result<Exit> {
    let state = args.state.open()?;
    let path = state.root().join(TOKEN_FILE);
    let token = std::fs::read_to_string(&path).map_err(|error| {
        UsageError(format!(
            "{} cannot be read: {error}; name the server's directory with --state-dir",
            path.display()
        ))
    })?;
    let url = format!("{}/api/events", args.url.trim_end_matches('/'));
    let response = Sender::new(&url, None)?.follow(token.trim()).await?;
    if !response.status().is_success() {
        return Err(UsageError(format!("{url} answers {}", response.status())).into());
    }
    let mut body = response.into_body();
    let mut rest = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.context("the server has gone")?.into_data() else { continue };
        rest.extend_from_slice(&data);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            print(String::from_utf8_lossy(&line).trim_end());
        }
    }
    Ok(Exit::Done)
}
