//! An SQS endpoint on loopback: the AWS JSON 1.0 protocol over one [`MemoryQueue`] for each queue.
//!
//! Owns: the listener, the queues' names and settings, and what the memory queue does not keep: default visibility and
//! delay, the message id given to the sender, the time of sending, attribute types. Does not own: delivery, visibility,
//! receive counts, long polling and dead letters, which are the memory queue's. Invariant: an answer says of every entry
//! of a batch whether it was carried out, in the codes and messages of SQS.
//!
//! What a sender's request adds travels with the message in one reserved attribute ([`ENVELOPE_ATTRIBUTE`]), so it
//! survives the move to a dead-letter queue; readers of the [`MemoryQueue`] itself see that attribute too.
//!
//! Left out: FIFO queues, message retention, signatures (any are accepted), the `SetQueueAttributes` family (settings are
//! fixed when a queue is created), `ApproximateFirstReceiveTimestamp`. `PurgeQueue` removes what can be received at that
//! moment, not what is in flight or delayed.

mod actions;
mod error;
mod fault;
mod message;
mod operation;
mod queues;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use ferry_transfer::queue::memory::MemoryQueue;
use ferry_transfer::{Clock, SystemClock};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use fault::{EntryFault, Faults, RequestFault};
pub use message::ENVELOPE_ATTRIBUTE;
pub use operation::{BatchOperation, Operation};
pub use queues::{QueueSettings, RedrivePolicy};

use error::{ApiError, Code};
use fault::RequestFault::{AnswerLost, Refused};
use queues::Queues;

/// Largest request body read: a batch of 1 MiB whose every byte is escaped as `\u0001`, and the JSON around it.
const REQUEST_MAX_BYTES: usize = 8 << 20;

/// How an [`SqsServer`] presents itself.
#[derive(Debug, Clone)]
pub struct SqsConfig {
    /// Port on 127.0.0.1; 0 takes any free one.
    pub port: u16,
    /// Region in ARNs.
    pub region: String,
    /// Account in ARNs and queue URLs.
    pub account_id: String,
}

impl Default for SqsConfig {
    fn default() -> Self {
        Self { port: 0, region: "us-east-1".into(), account_id: "000000000000".into() }
    }
}

/// A running endpoint. Stops when dropped; [`SqsServer::shutdown`] also waits until it has.
#[derive(Debug)]
pub struct SqsServer {
    endpoint: Arc<Endpoint>,
    stopped: JoinHandle<()>,
}

/// What the listener's tasks share.
#[derive(Debug)]
struct Endpoint {
    address: SocketAddr,
    region: String,
    account_id: String,
    queues: Queues,
    faults: Faults,
    requests: [AtomicU64; Operation::ALL.len()],
    /// Numbers requests and messages, so that ids are unique and repeat from run to run.
    sequence: AtomicU64,
    clock: Arc<dyn Clock>,
    stopping: CancellationToken,
}

impl SqsServer {
    /// Listens on loopback and answers until dropped or shut down.
    pub async fn start(config: SqsConfig) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, config.port)).await?;
        let endpoint = Arc::new(Endpoint {
            address: listener.local_addr()?,
            region: config.region,
            account_id: config.account_id,
            queues: Queues::default(),
            faults: Faults::default(),
            requests: Default::default(),
            sequence: AtomicU64::new(1),
            clock: Arc::new(SystemClock),
            stopping: CancellationToken::new(),
        });
        let routes = Router::new()
            .route("/", axum::routing::post(answer))
            .layer(DefaultBodyLimit::max(REQUEST_MAX_BYTES))
            .with_state(Arc::clone(&endpoint));
        let stopping = endpoint.stopping.clone();
        let serve = axum::serve(listener, routes).with_graceful_shutdown(stopping.cancelled_owned());
        let stopped = tokio::spawn(async move {
            if let Err(error) = serve.await {
                tracing::error!(%error, "the SQS endpoint stopped");
            }
        });
        Ok(Self { endpoint, stopped })
    }

    /// The endpoint's URL, for a client's `endpoint_url`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.endpoint.address)
    }

    /// The URL of the queue of this name, whether or not it exists yet.
    pub fn queue_url(&self, name: &str) -> String {
        self.endpoint.queue_url(name)
    }

    /// The messages of the queue of this name, which is created with default settings where it does not exist.
    pub fn queue(&self, name: &str) -> Arc<MemoryQueue> {
        self.endpoint.queues.get_or_create(name)
    }

    /// Creates a queue, as `CreateQueue` does.
    ///
    /// Fails with `InvalidInput` where the name or a setting is not allowed, where the dead-letter queue does not exist or
    /// where the queue exists with other settings.
    pub fn create_queue(
        &self,
        name: &str,
        settings: QueueSettings,
    ) -> ferry_transfer::Result<Arc<MemoryQueue>> {
        Ok(self.endpoint.queues.create(name, settings)?)
    }

    /// How many requests for this operation arrived, those that failed included.
    pub fn requests(&self, operation: Operation) -> u64 {
        self.endpoint.counter(operation).load(Ordering::Relaxed)
    }

    /// The faults to come.
    pub fn faults(&self) -> &Faults {
        &self.endpoint.faults
    }

    /// Stops listening, ends long polls and waits until the last answer is written.
    pub async fn shutdown(mut self) {
        self.endpoint.stopping.cancel();
        if let Err(error) = (&mut self.stopped).await {
            tracing::error!(%error, "the SQS endpoint did not stop cleanly");
        }
    }
}

impl Drop for SqsServer {
    fn drop(&mut self) {
        self.endpoint.stopping.cancel();
    }
}

impl Endpoint {
    fn queue_url(&self, name: &str) -> String {
        format!("http://{}/{}/{name}", self.address, self.account_id)
    }

    fn queue_arn(&self, name: &str) -> String {
        format!("arn:aws:sqs:{}:{}:{name}", self.region, self.account_id)
    }

    fn counter(&self, operation: Operation) -> &AtomicU64 {
        &self.requests[operation as usize]
    }

    fn next_id(&self, first: u32) -> String {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        format!("{first:08x}-0000-4000-8000-{sequence:012x}")
    }

    fn now_ms(&self) -> i64 {
        let now = self.clock.now();
        now.unix_timestamp() * 1_000 + i64::from(now.millisecond())
    }
}

async fn answer(State(endpoint): State<Arc<Endpoint>>, headers: HeaderMap, body: Bytes) -> Response {
    let mut response = match respond(&endpoint, &headers, &body).await {
        Ok(body) => (StatusCode::OK, body.to_string()).into_response(),
        Err(error) => error.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
    if let Ok(id) = HeaderValue::from_str(&endpoint.next_id(0x5e90_0000)) {
        headers.insert("x-amzn-requestid", id);
    }
    response
}

async fn respond(
    endpoint: &Endpoint,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<serde_json::Value, ApiError> {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let operation = Operation::from_target(target).ok_or_else(|| {
        ApiError::new(Code::UnknownOperation, format!("The operation {target:?} is not served here."))
    })?;
    endpoint.counter(operation).fetch_add(1, Ordering::Relaxed);
    match endpoint.faults.next_request(operation) {
        None => actions::perform(endpoint, operation, body).await,
        Some(Refused { status, code }) => Err(ApiError::injected(status, code)),
        Some(AnswerLost) => {
            actions::perform(endpoint, operation, body).await?;
            Err(ApiError::injected(StatusCode::INTERNAL_SERVER_ERROR, "InternalError".into()))
        }
    }
}
