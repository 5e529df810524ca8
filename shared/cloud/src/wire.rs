//! HTTP/1.1 exchanges over kept connections: what carries the requests that every object costs.
//!
//! Owns: connecting to one origin, TLS, keeping connections and one exchange at a time on each. Does not own: what is said
//! ([`crate::s3`]) nor how often (the engine's retries). Invariant: a connection is used again only after the answer before was
//! read to its end.
//!
//! Why not the SDK's client: there every connection is a task of its own and every request crosses four channels to it and back.
//! Here the task that wants the answer drives the connection itself, which for a GET piped into a PUT is one task and no
//! wake-ups between threads.

mod connection;
mod request_body;
mod response_body;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use http::{Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::proxy::matcher::Matcher;
use tokio::time::Instant;

use self::connection::{Connection, Unanswered};
use crate::http_client::CONNECT_TIMEOUT;

pub(crate) use self::request_body::RequestBody;
pub(crate) use self::response_body::ResponseBody;

/// A connection unused for longer is closed: load balancers drop idle ones after 20 s and more, and what is sent into a dropped
/// one is lost.
const IDLE_MAX: Duration = Duration::from_secs(15);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// Nobody is there, or the certificate is not the host's.
    #[error("no connection")]
    Connect(#[source] BoxError),
    /// Connecting took too long.
    #[error("no connection within {} ms", CONNECT_TIMEOUT.as_millis())]
    ConnectTimeout,
    /// The connection broke before the answer.
    #[error("the connection broke")]
    Broken(#[source] BoxError),
}

/// One origin and the connections to it.
#[derive(Debug)]
pub(crate) struct Wire {
    origin: Uri,
    connector: HttpsConnector<HttpConnector>,
    idle: Arc<IdleConnections>,
}

/// Connections that wait for their next exchange.
#[derive(Debug, Default)]
struct IdleConnections(Mutex<Vec<(Connection, Instant)>>);

impl Wire {
    /// A wire to `scheme://authority`; `None` where it must go through a proxy, or TLS has no roots to trust: such an origin is
    /// left to the SDK's client.
    pub(crate) fn to(origin: Uri) -> Option<Self> {
        if proxies().intercept(&origin).is_some() {
            return None;
        }
        Some(Self { origin, connector: connector()?.clone(), idle: Arc::default() })
    }

    /// Sends a request in origin form and waits for the head of its answer. Waits for ever: the caller knows how long is too long.
    pub(crate) async fn exchange(
        &self,
        mut request: Request<RequestBody>,
    ) -> Result<Response<ResponseBody>, WireError> {
        while let Some(mut kept) = self.idle.take() {
            match kept.send(request).await {
                Ok(answer) => return Ok(self.read(kept, answer)),
                // It had been closed meanwhile, and nothing was sent.
                Err(Unanswered::Unsent(unsent)) => request = *unsent,
                Err(Unanswered::Broken(cause)) => return Err(WireError::Broken(cause)),
            }
        }
        let mut fresh = self.connect().await?;
        match fresh.send(request).await {
            Ok(answer) => Ok(self.read(fresh, answer)),
            Err(Unanswered::Unsent(_)) => {
                Err(WireError::Broken("it was closed before anything was sent".into()))
            }
            Err(Unanswered::Broken(cause)) => Err(WireError::Broken(cause)),
        }
    }

    fn read(
        &self,
        connection: Connection,
        answer: Response<hyper::body::Incoming>,
    ) -> Response<ResponseBody> {
        answer.map(|body| ResponseBody::new(body, connection, Arc::clone(&self.idle)))
    }

    async fn connect(&self) -> Result<Connection, WireError> {
        let connecting = Connection::open(self.connector.clone(), self.origin.clone());
        tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .map_err(|_| WireError::ConnectTimeout)?
            .map_err(WireError::Connect)
    }
}

impl IdleConnections {
    /// The one used last: the others may then be given up one by one.
    fn take(&self) -> Option<Connection> {
        let (connection, since) = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        (since.elapsed() < IDLE_MAX).then_some(connection)
    }

    fn keep(&self, connection: Connection) {
        let now = Instant::now();
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(_, since)| now.duration_since(*since) < IDLE_MAX);
        idle.push((connection, now));
    }
}

/// As `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` say, read once like the SDK does.
fn proxies() -> &'static Matcher {
    static PROXIES: OnceLock<Matcher> = OnceLock::new();
    PROXIES.get_or_init(Matcher::from_env)
}

/// Resolves names, races IPv6 and IPv4, and speaks TLS like the SDK's client: rustls with AWS-LC and the system's roots, which
/// are read once in a process.
fn connector() -> Option<&'static HttpsConnector<HttpConnector>> {
    static CONNECTOR: OnceLock<Option<HttpsConnector<HttpConnector>>> = OnceLock::new();
    CONNECTOR
        .get_or_init(|| {
            let mut tcp = HttpConnector::new();
            tcp.set_nodelay(true);
            // `https` is let through to TLS.
            tcp.enforce_http(false);
            let tls = HttpsConnectorBuilder::new()
                .with_provider_and_native_roots(rustls::crypto::aws_lc_rs::default_provider())
                .inspect_err(
                    |error| tracing::warn!(%error, "no roots to trust: every store goes by the SDK's client"),
                )
                .ok()?;
            Some(tls.https_or_http().enable_http1().wrap_connector(tcp))
        })
        .as_ref()
}

#[cfg(test)]
mod tests;
