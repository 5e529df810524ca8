//! A Lambda Runtime API on loopback: the host that a function's binary asks for work.
//!
//! Owns: the queue of invocations, their deadlines and the way answers find back to who invoked. Does not own: the
//! function's process; start it with [`RuntimeApi::environment`]. Invariant: every invocation ends exactly once, in an
//! answer, an error of the function or its deadline. Follows the AWS Lambda Developer Guide, "Using the Lambda runtime
//! API", version 2018-06-01; several runtimes may ask at the same time, as several sandboxes would.
//!
//! Left out: extensions, response streaming, `SnapStart` restore, and the freeze of a process between invocations.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use ferry_transfer::{Clock, SystemClock};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Most bytes of an answer (AWS, "Lambda quotas": 6 MB for a synchronous invocation).
const RESPONSE_MAX_BYTES: usize = 6 * 1024 * 1024;

const REGION: &str = "us-east-1";
const FUNCTION_NAME: &str = "ferry-test";
const FUNCTION_ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:ferry-test";

/// A running Runtime API. Stops when dropped; [`RuntimeApi::shutdown`] also waits until it has.
#[derive(Debug)]
pub struct RuntimeApi {
    host: Arc<Host>,
    stopped: JoinHandle<()>,
}

/// Why an invocation has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvocationError {
    /// The function answered with an error.
    #[error("the function failed: {0}")]
    Function(FunctionError),
    /// The function could not start; no invocation will be answered any more.
    #[error("the function could not start: {0}")]
    Init(FunctionError),
    /// The deadline passed without an answer.
    #[error("the function did not answer within {0:?}")]
    DeadlineExceeded(Duration),
    /// The function's answer is not JSON.
    #[error("the answer is not JSON: {0}")]
    NotJson(String),
    /// The host was stopped.
    #[error("the runtime API was stopped")]
    Stopped,
}

/// The document a runtime describes an error with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{error_type}: {error_message}")]
#[serde(rename_all = "camelCase", default)]
pub struct FunctionError {
    /// The kind of error, in the function's words.
    pub error_type: String,
    /// What happened.
    pub error_message: String,
    /// Where it happened.
    pub stack_trace: Vec<String>,
}

type Outcome = Result<Value, InvocationError>;

/// An invocation that no runtime has taken yet.
#[derive(Debug)]
struct Invocation {
    request_id: String,
    event: Vec<u8>,
    deadline_ms: i64,
}

#[derive(Debug)]
struct Host {
    address: SocketAddr,
    clock: Arc<dyn Clock>,
    sequence: AtomicU64,
    queue: mpsc::UnboundedSender<Invocation>,
    /// Locked by the runtime that waits for the next invocation; the others wait for the lock.
    waiting: tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>,
    /// Those who wait for an outcome, by request id.
    invokers: Mutex<HashMap<String, oneshot::Sender<Outcome>>>,
    init_error: watch::Sender<Option<FunctionError>>,
    stopping: CancellationToken,
}

impl RuntimeApi {
    /// Listens on a free loopback port and serves until dropped or shut down.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (queue, waiting) = mpsc::unbounded_channel();
        let host = Arc::new(Host {
            address: listener.local_addr()?,
            clock: Arc::new(SystemClock),
            sequence: AtomicU64::new(1),
            queue,
            waiting: tokio::sync::Mutex::new(waiting),
            invokers: Mutex::default(),
            init_error: watch::Sender::new(None),
            stopping: CancellationToken::new(),
        });
        let routes = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(init_error))
            .layer(DefaultBodyLimit::max(RESPONSE_MAX_BYTES))
            .with_state(Arc::clone(&host));
        let stopping = host.stopping.clone();
        let serve = axum::serve(listener, routes).with_graceful_shutdown(stopping.cancelled_owned());
        let stopped = tokio::spawn(async move {
            if let Err(error) = serve.await {
                tracing::error!(%error, "the runtime API stopped");
            }
        });
        Ok(Self { host, stopped })
    }

    /// Queues an event and waits for its outcome, for `deadline` at most, which the function is told.
    pub async fn invoke(&self, event: &Value, deadline: Duration) -> Result<Value, InvocationError> {
        let host = &self.host;
        let number = host.sequence.fetch_add(1, Ordering::Relaxed);
        let request_id = format!("1a3b0000-0000-4000-8000-{number:012x}");
        let (invoker, outcome) = oneshot::channel();
        host.invokers().insert(request_id.clone(), invoker);
        // Forgotten however this ends, also where the caller drops the future.
        let _registration = Registration { host, request_id: &request_id };
        let invocation = Invocation {
            request_id: request_id.clone(),
            event: event.to_string().into_bytes(),
            deadline_ms: host.deadline_ms(deadline),
        };
        if host.queue.send(invocation).is_err() {
            return Err(InvocationError::Stopped);
        }
        let mut init_error = host.init_error.subscribe();
        tokio::select! {
            biased;
            outcome = outcome => outcome.unwrap_or(Err(InvocationError::Stopped)),
            Ok(failed) = init_error.wait_for(Option::is_some) => {
                Err(InvocationError::Init(failed.clone().unwrap_or_default()))
            }
            () = tokio::time::sleep(deadline) => Err(InvocationError::DeadlineExceeded(deadline)),
            () = host.stopping.cancelled() => Err(InvocationError::Stopped),
        }
    }

    /// Every variable that a function's process needs, with values that reach nothing but loopback. Start the process with
    /// these and no other AWS variables.
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("AWS_LAMBDA_RUNTIME_API", self.host.address.to_string().as_str()),
            // The runtime panics where one of these three is missing.
            ("AWS_LAMBDA_FUNCTION_NAME", FUNCTION_NAME),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/ferry-test"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "2026/01/01/[$LATEST]test"),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
            ("AWS_REGION", REGION),
            ("AWS_DEFAULT_REGION", REGION),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            // Otherwise an SDK without credentials or region asks the instance metadata address.
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
    }

    /// Stops: invocations that wait end in [`InvocationError::Stopped`], runtimes that wait get an error.
    pub async fn shutdown(mut self) {
        self.host.stopping.cancel();
        if let Err(error) = (&mut self.stopped).await {
            tracing::error!(%error, "the runtime API did not stop cleanly");
        }
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.host.stopping.cancel();
    }
}

/// An invoker's place in [`Host::invokers`].
struct Registration<'a> {
    host: &'a Host,
    request_id: &'a str,
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        self.host.invokers().remove(self.request_id);
    }
}

impl Host {
    fn invokers(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<Outcome>>> {
        self.invokers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deadline_ms(&self, deadline: Duration) -> i64 {
        let at = self.clock.now() + deadline;
        at.unix_timestamp() * 1_000 + i64::from(at.millisecond())
    }

    /// Hands an outcome to its invoker; a second answer, and one after the deadline, is refused as AWS refuses it.
    fn settle(&self, request_id: &str, outcome: Outcome) -> Response {
        let invoker = self.invokers().remove(request_id);
        match invoker.map(|invoker| invoker.send(outcome)) {
            Some(Ok(())) => accepted(),
            Some(Err(_)) | None => {
                refusal(StatusCode::BAD_REQUEST, "InvalidRequestID", "no invocation of this id is waiting")
            }
        }
    }
}

fn accepted() -> Response {
    json_response(StatusCode::ACCEPTED, &json!({ "status": "OK" }))
}

fn refusal(status: StatusCode, kind: &str, message: &str) -> Response {
    json_response(status, &json!({ "errorType": kind, "errorMessage": message }))
}

fn json_response(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

async fn next(State(host): State<Arc<Host>>) -> Response {
    let taken = tokio::select! {
        taken = take(&host) => taken,
        () = host.stopping.cancelled() => None,
    };
    let Some(invocation) = taken else {
        return refusal(StatusCode::INTERNAL_SERVER_ERROR, "Stopped", "the runtime API is stopping");
    };
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("lambda-runtime-aws-request-id", invocation.request_id.clone()),
        ("lambda-runtime-deadline-ms", invocation.deadline_ms.to_string()),
        ("lambda-runtime-invoked-function-arn", FUNCTION_ARN.to_owned()),
        ("lambda-runtime-trace-id", trace_id(&invocation)),
    ];
    (axum::response::AppendHeaders(headers), invocation.event).into_response()
}

/// The next invocation that somebody still waits for.
async fn take(host: &Host) -> Option<Invocation> {
    let mut waiting = host.waiting.lock().await;
    loop {
        let invocation = waiting.recv().await?;
        if host.invokers().contains_key(&invocation.request_id) {
            return Some(invocation);
        }
    }
}

/// A trace id of the shape that X-Ray uses, not sampled.
fn trace_id(invocation: &Invocation) -> String {
    let secs = invocation.deadline_ms / 1_000;
    let number = &invocation.request_id[24..];
    format!("Root=1-{secs:08x}-000000000000{number};Parent=0000{number};Sampled=0")
}

async fn response(State(host): State<Arc<Host>>, Path(id): Path<String>, body: Bytes) -> Response {
    let outcome = serde_json::from_slice(&body).map_err(|error| InvocationError::NotJson(error.to_string()));
    host.settle(&id, outcome)
}

async fn error(State(host): State<Arc<Host>>, Path(id): Path<String>, body: Bytes) -> Response {
    host.settle(&id, Err(InvocationError::Function(FunctionError::read(&body))))
}

async fn init_error(State(host): State<Arc<Host>>, body: Bytes) -> Response {
    host.init_error.send_replace(Some(FunctionError::read(&body)));
    accepted()
}

impl FunctionError {
    /// The error in a runtime's report; a report of another shape is kept as the message.
    fn read(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_else(|_| Self {
            error_type: "Unknown".into(),
            error_message: String::from_utf8_lossy(body).into_owned(),
            stack_trace: Vec::new(),
        })
    }
}
