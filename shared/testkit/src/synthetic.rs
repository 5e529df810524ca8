//! An S3 endpoint for big runs that costs next to nothing itself.
//!
//! Owns: buckets whose objects are computed when asked for, and buckets that take objects in and keep only key, size and
//! ETag. Does not own: signatures (any are accepted), attributes, tags and conditions other than on the ETag. Invariants:
//! no body is ever held in memory; what a generated object contains depends on its key and the offset alone.

mod body;
mod content;
mod framing;
mod generated;
mod load;
mod pages;
mod sink;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ferry_transfer::Result;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use crate::error_document;
use crate::listener::{Hangup, Listener};
use crate::operation::{Operation, Query, Target};
use crate::request_log::RequestLog;

pub use generated::{GeneratedBucket, GeneratedEtag, KeyLayout, ListingFault, Sizes};
pub use sink::{SinkBucket, SinkEtag};

use body::ResponseBody;
use content::Pool;
use load::Load;
use pages::ListVersion;

/// Which buckets a [`SyntheticServer`] has.
#[derive(Debug, Default)]
pub struct SyntheticConfig {
    generated: BTreeMap<String, GeneratedBucket>,
    sinks: BTreeMap<String, SinkEtag>,
    requests_kept: usize,
    port: u16,
    latency: Duration,
    in_flight_max: Option<usize>,
}

impl SyntheticConfig {
    /// Adds a bucket whose objects are computed.
    #[must_use]
    pub fn generated(mut self, name: impl Into<String>, bucket: GeneratedBucket) -> Self {
        self.generated.insert(name.into(), bucket);
        self
    }

    /// Adds a bucket that takes objects in and drops their bytes.
    #[must_use]
    pub fn sink(mut self, name: impl Into<String>, etag: SinkEtag) -> Self {
        self.sinks.insert(name.into(), etag);
        self
    }

    /// Keeps the last `count` requests for inspection, beside the counts.
    #[must_use]
    pub fn keeping_requests(mut self, count: usize) -> Self {
        self.requests_kept = count;
        self
    }

    /// Takes this long over every request, as a store at a distance does.
    #[must_use]
    pub fn with_latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// Answers 503 `SlowDown` to whatever comes while so many requests are being answered.
    #[must_use]
    pub fn throttling_above(mut self, in_flight_max: usize) -> Self {
        self.in_flight_max = Some(in_flight_max);
        self
    }

    /// Listens on this port of 127.0.0.1 instead of a free one.
    #[must_use]
    pub fn on_port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }
}

/// A running endpoint; dropping it stops it.
pub struct SyntheticServer {
    listener: Listener,
    shared: Arc<Shared>,
}

struct Shared {
    pool: Pool,
    generated: BTreeMap<String, GeneratedBucket>,
    sinks: BTreeMap<String, Arc<SinkBucket>>,
    log: RequestLog,
    load: Load,
}

type Answer = Result<Response<ResponseBody>, Hangup>;

impl SyntheticServer {
    /// Starts to listen.
    pub async fn start(config: SyntheticConfig) -> Result<Self> {
        let pool = Pool::new();
        for bucket in config.generated.values() {
            bucket.prepare(&pool);
        }
        let shared = Arc::new(Shared {
            pool,
            generated: config.generated,
            sinks: config
                .sinks
                .into_iter()
                .map(|(name, etag)| (name, Arc::new(SinkBucket::new(etag))))
                .collect(),
            log: RequestLog::new(config.requests_kept),
            load: Load::new(config.latency, config.in_flight_max),
        });
        let handler = Arc::clone(&shared);
        let listener = Listener::start(config.port, move |request| {
            let shared = Arc::clone(&handler);
            async move { shared.answer(request).await }
        })
        .await?;
        Ok(Self { listener, shared })
    }

    /// The base URL, without a slash at its end.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.listener.address())
    }

    /// What a sink took in; `None` where there is no sink of that name.
    pub fn sink(&self, name: &str) -> Option<Arc<SinkBucket>> {
        self.shared.sinks.get(name).cloned()
    }

    /// Requests for each operation since the start or the last reset.
    pub fn requests(&self) -> BTreeMap<&'static str, u64> {
        self.shared.log.counts()
    }

    /// Requests refused for coming while too many were being answered.
    pub fn throttled(&self) -> u64 {
        self.shared.load.throttled()
    }

    /// Most requests that were being answered at one moment.
    pub fn in_flight_peak(&self) -> usize {
        self.shared.load.peak()
    }

    /// Counts and last requests.
    pub fn log(&self) -> &RequestLog {
        &self.shared.log
    }

    /// Closes every connection and waits for that.
    pub async fn stop(self) {
        self.listener.stop().await;
    }
}

impl fmt::Debug for SyntheticServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyntheticServer").field("endpoint", &self.endpoint()).finish_non_exhaustive()
    }
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let target = Target::of(request.method(), request.uri(), request.headers());
        self.log.record(&target, request.method(), request.uri(), request.headers());
        let Some(_slot) = self.load.admit().await else {
            // Unread, a body would make the client see a broken pipe instead of the answer.
            let mut body = request.into_body();
            while let Some(Ok(_)) = body.frame().await {}
            return Ok(error_document::response(
                StatusCode::SERVICE_UNAVAILABLE,
                "SlowDown",
                "Please reduce your request rate.",
            ));
        };
        if let Some(bucket) = self.generated.get(&target.bucket) {
            return match target.operation {
                Operation::ListObjects | Operation::ListObjectsV2 => {
                    let version = match target.operation {
                        Operation::ListObjects => ListVersion::V1,
                        _ => ListVersion::V2,
                    };
                    let query = Query::of(request.uri());
                    Ok(bucket.page(&target.bucket, &query, version, &self.pool).await)
                }
                Operation::GetObject | Operation::HeadObject => {
                    Ok(bucket.read(&target.key, request.method(), request.headers(), &self.pool))
                }
                other => Ok(common(other, request.method())),
            };
        }
        if let Some(bucket) = self.sinks.get(&target.bucket) {
            return bucket.answer(&target, request).await;
        }
        Ok(error_document::response(
            StatusCode::NOT_FOUND,
            "NoSuchBucket",
            "The specified bucket does not exist",
        ))
    }
}

/// What both kinds of bucket answer alike.
fn common(operation: Operation, method: &Method) -> Response<ResponseBody> {
    match operation {
        // What clients ask before they begin; a bucket that exists already is the caller's own.
        Operation::HeadBucket | Operation::CreateBucket | Operation::PutObjectTagging => {
            Response::new(ResponseBody::default())
        }
        Operation::GetBucketVersioning => {
            error_document::xml(StatusCode::OK, "<VersioningConfiguration/>".into())
        }
        Operation::GetBucketLocation => error_document::xml(StatusCode::OK, "<LocationConstraint/>".into()),
        Operation::GetObjectTagging => {
            error_document::xml(StatusCode::OK, "<Tagging><TagSet></TagSet></Tagging>".into())
        }
        operation => error_document::response(
            StatusCode::NOT_IMPLEMENTED,
            "NotImplemented",
            &format!("{method} as {operation} is not implemented here"),
        ),
    }
}

#[cfg(test)]
mod tests;
