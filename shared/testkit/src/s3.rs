//! An S3 server on loopback, over buckets in memory.
//!
//! Owns: the HTTP layer (request log, faults, request ids), credentials and the set of buckets. Does not own: the protocol,
//! which is the crate `s3s`'s (signatures, payload hashes, aws-chunked framing, XML), nor the buckets' behaviour, which is
//! [`crate::bucket`]'s. Invariant: a request counts and meets its faults before anything else is known of it.
//!
//! `s3s` logs every refused request at level `ERROR`; a program that shows its log leaves the target `s3s` out.
//!
//! Path-style addressing, and virtual-hosted at the hosts it is told of. Left out: ACLs, policies, `GetObjectAttributes`; asked for, they answer
//! `NotImplemented`.

mod access;
mod attributes;
mod backend;
mod buckets;
mod encryption;
mod hosts;
mod listings;
mod objects;
mod raw_expires;
mod receive;
mod refused;
mod uploads;
mod versions;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ferry_transfer::{Clock, Result, SystemClock};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use s3s::service::{S3Service, S3ServiceBuilder};

use crate::bucket::{Bucket, BucketSettings};
use crate::error_document;
use crate::faults::{Action, Faults, Tamper, TamperedBody};
use crate::listener::{Hangup, Listener};
use crate::operation::Target;
use crate::request_log::{LoggedRequest, RequestLog};

use access::{KnownKey, OpenToAll};
use backend::{Accepted, Backend};
use buckets::Buckets;
use objects::IgnoreRange;
use raw_expires::RawExpires;
use versions::OwnDocument;

pub use hosts::VirtualHosts;

/// How an [`S3Server`] is set up.
#[derive(Clone)]
pub struct S3ServerConfig {
    /// Buckets that exist from the start.
    pub buckets: Vec<String>,
    /// The access key id that may do everything.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
    /// Whether requests without a signature are let in too.
    pub anonymous: Anonymous,
    /// What `GetBucketLocation` and `HeadBucket` say.
    pub region: String,
    /// The rules of every bucket.
    pub settings: BucketSettings,
    /// Hosts that name a bucket. Requests to an address are path-style whatever is here.
    pub hosts: VirtualHosts,
    /// Where times come from.
    pub clock: Arc<dyn Clock>,
    /// Port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// How many of the last requests are kept for inspection, beside the counts.
    pub requests_kept: usize,
}

/// What becomes of requests without a signature.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Anonymous {
    /// 403 `AccessDenied`.
    #[default]
    Refused,
    /// Let in, as to a public bucket.
    Allowed,
}

impl Default for S3ServerConfig {
    fn default() -> Self {
        Self {
            buckets: Vec::new(),
            access_key_id: "ferry-access-key".to_owned(),
            secret_access_key: "ferry-secret-key".to_owned(),
            anonymous: Anonymous::Refused,
            region: "us-east-1".to_owned(),
            settings: BucketSettings::default(),
            hosts: VirtualHosts::default(),
            clock: Arc::new(SystemClock),
            port: 0,
            requests_kept: 1000,
        }
    }
}

impl S3ServerConfig {
    /// The defaults, and these buckets.
    pub fn with_buckets<'a>(buckets: impl IntoIterator<Item = &'a str>) -> Self {
        Self { buckets: buckets.into_iter().map(str::to_owned).collect(), ..Self::default() }
    }
}

/// Without the secret.
impl fmt::Debug for S3ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3ServerConfig")
            .field("buckets", &self.buckets)
            .field("access_key_id", &self.access_key_id)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// A running server; dropping it stops it.
pub struct S3Server {
    listener: Listener,
    shared: Arc<Shared>,
    config: S3ServerConfig,
}

struct Shared {
    service: S3Service,
    buckets: Arc<Buckets>,
    log: RequestLog,
    faults: Faults,
    requests: AtomicU64,
    hosts: VirtualHosts,
}

impl S3Server {
    /// Starts to listen.
    pub async fn start(config: S3ServerConfig) -> Result<Self> {
        let buckets = Arc::new(Buckets::new(config.settings.clone(), Arc::clone(&config.clock)));
        for name in &config.buckets {
            buckets.create(name);
        }
        let backend = Backend::new(Arc::clone(&buckets), config.region.clone());
        let mut builder = S3ServiceBuilder::new(backend.clone());
        builder.set_auth(KnownKey::new(&config.access_key_id, &config.secret_access_key));
        if config.anonymous == Anonymous::Allowed {
            builder.set_access(OpenToAll);
        }
        builder.set_route(RawExpires::new(backend, config.anonymous, config.hosts.clone()));
        if !config.hosts.is_empty() {
            builder.set_host(config.hosts.clone());
        }
        let shared = Arc::new(Shared {
            service: builder.build(),
            buckets,
            log: RequestLog::new(config.requests_kept),
            faults: Faults::default(),
            requests: AtomicU64::new(0),
            hosts: config.hosts.clone(),
        });
        let handler = Arc::clone(&shared);
        let listener = Listener::start(config.port, move |request| {
            let shared = Arc::clone(&handler);
            async move { shared.answer(request).await }
        })
        .await?;
        Ok(Self { listener, shared, config })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.listener.address()
    }

    /// The hosts that name a bucket.
    pub(crate) fn hosts(&self) -> &VirtualHosts {
        &self.config.hosts
    }

    /// For looking up what a request is about.
    pub(crate) fn lookup(&self) -> impl Fn(&str) -> Option<Arc<Bucket>> + Send + Sync + use<> {
        let buckets = Arc::clone(&self.shared.buckets);
        move |name| buckets.get(name)
    }

    /// The base URL, without a slash at its end.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.listener.address())
    }

    /// The access key id it knows.
    pub fn access_key_id(&self) -> &str {
        &self.config.access_key_id
    }

    /// The secret that goes with it.
    pub fn secret_access_key(&self) -> &str {
        &self.config.secret_access_key
    }

    /// The region it claims to be in.
    pub fn region(&self) -> &str {
        &self.config.region
    }

    /// A bucket, made if it does not exist, for a test to look into or to change.
    pub fn bucket(&self, name: &str) -> Arc<Bucket> {
        self.shared.buckets.create(name)
    }

    /// Requests for each operation since the start or the last reset.
    pub fn requests(&self) -> BTreeMap<&'static str, u64> {
        self.shared.log.counts()
    }

    /// The last requests, oldest first.
    pub fn recent_requests(&self) -> Vec<LoggedRequest> {
        self.shared.log.recent()
    }

    /// Counts and last requests.
    pub fn log(&self) -> &RequestLog {
        &self.shared.log
    }

    /// Its faults, to add and remove.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// Closes every connection and waits for that. What the buckets hold stays with those who hold a bucket.
    pub async fn stop(self) {
        self.listener.stop().await;
    }
}

impl fmt::Debug for S3Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Server").field("endpoint", &self.endpoint()).finish_non_exhaustive()
    }
}

type ResponseBody = TamperedBody<s3s::Body>;

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<ResponseBody>, Hangup> {
        let bucket = self.hosts.bucket_of(request.headers());
        let target = Target::at_host(bucket, request.method(), request.uri(), request.headers());
        self.log.record(&target, request.method(), request.uri(), request.headers());
        let verdict = self.faults.judge(&target);
        for hook in verdict.hooks {
            match hook {
                Action::Delay(delay) => tokio::time::sleep(delay).await,
                Action::Before(hook) => hook(&target),
                // No other action passes a request on.
                _ => {}
            }
        }
        let mut response = self.answer_with(verdict.failure, request).await?;
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        if let Ok(id) = HeaderValue::try_from(format!("FERRY{number:011}")) {
            response.headers_mut().insert("x-amz-request-id", id);
        }
        Ok(response)
    }

    async fn answer_with(
        &self,
        failure: Option<Action>,
        mut request: Request<Incoming>,
    ) -> Result<Response<ResponseBody>, Hangup> {
        let tamper = match failure {
            // The last two pass a request on and are no failure.
            None | Some(Action::Delay(_) | Action::Before(_)) => Tamper::None,
            Some(Action::CutBody { after_bytes }) => Tamper::CutAfter(after_bytes),
            Some(Action::FlipByte { at }) => Tamper::FlipAt(at),
            Some(Action::Refuse { status, code }) => {
                drain(request).await;
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                return Ok(error_document::response(status, code, "A fault was asked for."));
            }
            Some(Action::RefuseWithStatus200 { code }) => {
                drain(request).await;
                return Ok(error_document::response(StatusCode::OK, code, "A fault was asked for."));
            }
            Some(Action::CloseConnection) => return Err(Hangup),
            Some(Action::LoseReply) => {
                self.serve(request).await?;
                return Err(Hangup);
            }
            Some(Action::IgnoreRange) => {
                request.extensions_mut().insert(IgnoreRange);
                Tamper::None
            }
        };
        let response = self.serve(request).await?;
        Ok(response.map(|body| TamperedBody::new(body, tamper)))
    }

    async fn serve(&self, request: Request<Incoming>) -> Result<Response<s3s::Body>, Hangup> {
        let is_head = request.method() == Method::HEAD;
        let mut response =
            Box::pin(self.service.call(request.map(s3s::Body::from))).await.map_err(|_| Hangup)?;
        // s3s answers a HEAD of a range or a part with 200.
        if is_head && response.headers().contains_key(http::header::CONTENT_RANGE) {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        if response.extensions().get::<Accepted>().is_some() {
            *response.status_mut() = StatusCode::ACCEPTED;
        }
        if let Some(OwnDocument(document)) = response.extensions_mut().remove::<OwnDocument>() {
            response.headers_mut().remove(http::header::CONTENT_LENGTH);
            *response.body_mut() = s3s::Body::from(document);
        }
        Ok(response)
    }
}

/// Reads a body that nobody wants, so that the client sees the answer and not a broken pipe.
async fn drain(request: Request<Incoming>) {
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
}

#[cfg(test)]
mod tests;
