//! Lambda's Invoke API on loopback, before the binary of one function.
//!
//! ```sh
//! cargo run -p ferry-testkit --example lambda_host -- 127.0.0.1:9001 20 target/debug/ferry-worker
//! aws lambda invoke --endpoint-url http://127.0.0.1:9001 --function-name worker --payload '{"Records":[]}' answer.json
//! ```
//!
//! The function has this program's variables, and 20 s for an invocation. `GET /sandboxes` says which processes are running. Follows the
//! AWS Lambda API Reference, `Invoke`, of the kind that waits for an answer; names and versions of functions are not looked at.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use ferry_testkit::sandbox::Sandboxes;
use http::StatusCode;
use serde_json::json;
use tokio::net::TcpListener;

/// Most bytes of an event (AWS, "Lambda quotas": 6 MB for a synchronous invocation).
const EVENT_MAX_BYTES: usize = 6 * 1024 * 1024;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, timeout_secs, program] = &arguments[..] else {
        return Err("usage: lambda_host ADDRESS TIMEOUT_SECS PROGRAM".into());
    };
    let timeout = Duration::from_secs(timeout_secs.parse()?);
    let function = Arc::new(Sandboxes::new(program, std::env::vars().collect(), timeout));
    let routes = Router::new()
        .route("/2015-03-31/functions/{name}/invocations", post(invoke))
        .route("/sandboxes", get(sandboxes))
        .layer(DefaultBodyLimit::max(EVENT_MAX_BYTES))
        .with_state(function);
    axum::serve(TcpListener::bind(address).await?, routes).await?;
    Ok(())
}

async fn invoke(State(function): State<Arc<Sandboxes>>, event: Bytes) -> Response {
    let event = match serde_json::from_slice(&event) {
        Ok(event) => event,
        Err(error) => {
            let refusal = json!({ "Type": "User", "message": format!("the event is not JSON: {error}") });
            let kind = [("x-amzn-errortype", "InvalidRequestContentException")];
            return (StatusCode::BAD_REQUEST, kind, Json(refusal)).into_response();
        }
    };
    // On a task of its own, so that an invoker who hangs up does not take the process with him.
    let invoked = tokio::spawn(async move { function.invoke(&event).await }).await;
    match invoked {
        Ok(Ok(answer)) => Json(answer).into_response(),
        Ok(Err(error)) => ([("x-amz-function-error", "Unhandled")], Json(error.document())).into_response(),
        Err(panic) => (StatusCode::INTERNAL_SERVER_ERROR, panic.to_string()).into_response(),
    }
}

async fn sandboxes(State(function): State<Arc<Sandboxes>>) -> Response {
    Json(json!({ "pids": function.pids() })).into_response()
}
