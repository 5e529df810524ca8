//! What other makes of store do differently, played in front of an embedded server.
//!
//! Owns: a proxy that refuses what a make refuses and changes answers the way a make writes them. Does not own: objects, conditions
//! and listings, which stay the server's ([`Make::settings`] makes it follow the make's rules). Invariants: what is passed on is
//! passed on byte for byte, host and signature included, so that the server behind still checks who asks; each make's facts
//! stand in one file with their source.
//!
//! It answers requests to its own address and, as an HTTP proxy (`HTTP_PROXY`), those to any host: so a program under test uses the
//! make's real host names.

mod aliyun_oss;
mod asked;
mod backblaze_b2;
mod ceph;
mod cloudflare_r2;
mod google_storage;
mod gzip;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use ferry_transfer::Result;
use futures::stream;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::bucket::{Bucket, BucketSettings, StoredObject};
use crate::error_document;
use crate::listener::{Hangup, Listener};
use crate::operation::Operation;
use crate::s3::{S3Server, VirtualHosts};
use asked::Asked;

/// A make of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    /// Alibaba Cloud OSS.
    AliyunOss,
    /// The same for an account made since March 2025, which may not reach objects over the public hosts: only over
    /// [`Make::CUSTOM_DOMAIN`], which denotes the bucket.
    AliyunOssSince2025,
    /// Cloudflare R2.
    CloudflareR2,
    /// Google Cloud Storage by its XML API.
    GoogleStorage,
    /// Backblaze B2.
    BackblazeB2,
    /// Ceph RGW 16.
    Ceph,
}

impl Make {
    /// A host that denotes a bucket.
    pub const CUSTOM_DOMAIN: &'static str = "files.example.cn";

    /// Every make.
    pub const ALL: [Self; 6] = [
        Self::AliyunOss,
        Self::AliyunOssSince2025,
        Self::CloudflareR2,
        Self::GoogleStorage,
        Self::BackblazeB2,
        Self::Ceph,
    ];

    /// The name that `provider:` knows it by.
    pub fn provider(self) -> &'static str {
        match self {
            Self::AliyunOss | Self::AliyunOssSince2025 => "aliyun-oss",
            Self::CloudflareR2 => "r2",
            Self::GoogleStorage => "gcs",
            Self::BackblazeB2 => "b2",
            Self::Ceph => "ceph",
        }
    }

    /// The endpoint its users write, over plain HTTP.
    pub fn endpoint(self) -> &'static str {
        match self {
            Self::AliyunOss => "http://s3.oss-cn-hangzhou.aliyuncs.com",
            Self::AliyunOssSince2025 => "http://files.example.cn",
            Self::CloudflareR2 => "http://0123456789abcdef.r2.cloudflarestorage.com",
            Self::GoogleStorage => "http://storage.googleapis.com",
            Self::BackblazeB2 => "http://s3.us-west-004.backblazeb2.com",
            Self::Ceph => "http://rgw.example.com",
        }
    }

    /// The rules of its buckets.
    pub fn settings(self) -> BucketSettings {
        self.manners().settings()
    }

    /// Whether a client must reach it by its own host names, through `HTTP_PROXY`, since the bucket is one of them.
    pub fn wants_its_hosts(self) -> bool {
        matches!(self, Self::AliyunOss | Self::AliyunOssSince2025)
    }

    /// The hosts that name `bucket`.
    pub fn hosts(self, bucket: &str) -> VirtualHosts {
        match self {
            Self::AliyunOss | Self::AliyunOssSince2025 => VirtualHosts {
                domains: aliyun_oss::HOSTS.map(str::to_owned).into(),
                custom: [(Self::CUSTOM_DOMAIN.to_owned(), bucket.to_owned())].into(),
            },
            _ => VirtualHosts::default(),
        }
    }

    fn manners(self) -> Box<dyn Manners> {
        match self {
            Self::AliyunOss => {
                Box::new(aliyun_oss::AliyunOss { public_hosts: aliyun_oss::PublicHosts::Open })
            }
            Self::AliyunOssSince2025 => {
                Box::new(aliyun_oss::AliyunOss { public_hosts: aliyun_oss::PublicHosts::Closed })
            }
            Self::CloudflareR2 => Box::<cloudflare_r2::CloudflareR2>::default(),
            Self::GoogleStorage => Box::new(google_storage::GoogleStorage),
            Self::BackblazeB2 => Box::new(backblaze_b2::BackblazeB2),
            Self::Ceph => Box::new(ceph::Ceph),
        }
    }
}

/// How one make behaves. Nothing here touches a socket.
trait Manners: Send + Sync {
    /// The rules of its buckets.
    fn settings(&self) -> BucketSettings;

    /// Why a request goes no further.
    fn reject(&self, asked: &Asked) -> Option<Rejection>;

    /// Changes the head of an answer. `object` is what the request is about, where there is one.
    fn dress(&self, _asked: &Asked, _object: Option<&StoredObject>, _head: &mut response::Parts) {}

    /// Changes an XML document on its way out.
    fn rewrite(&self, _asked: &Asked, _status: StatusCode, document: String) -> String {
        document
    }

    /// Whether this answer's body is compressed on its way out.
    fn compresses(&self, _asked: &Asked, _head: &response::Parts) -> bool {
        false
    }
}

/// A refusal in a make's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rejection {
    status: u16,
    code: &'static str,
    message: &'static str,
    /// Alibaba's finer code.
    ec: Option<&'static str>,
}

impl Rejection {
    const fn new(status: u16, code: &'static str, message: &'static str) -> Self {
        Self { status, code, message, ec: None }
    }
}

/// A running proxy; dropping it stops it.
pub struct QuirkProxy {
    listener: Listener,
    shared: Arc<Shared>,
}

struct Shared {
    make: Make,
    manners: Box<dyn Manners>,
    hosts: VirtualHosts,
    upstream: SocketAddr,
    client: Client<HttpConnector, Incoming>,
    lookup: Lookup,
    rejected: Mutex<BTreeMap<&'static str, u64>>,
}

/// Finds a bucket of the server behind, by name.
type Lookup = Box<dyn Fn(&str) -> Option<Arc<Bucket>> + Send + Sync>;
type ProxyBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

impl QuirkProxy {
    /// Plays `make` in front of a server, which should follow [`Make::settings`] and [`Make::hosts`].
    pub async fn start(make: Make, server: &S3Server) -> Result<Self> {
        let shared = Arc::new(Shared {
            make,
            manners: make.manners(),
            hosts: server.hosts().clone(),
            upstream: server.address(),
            client: Client::builder(TokioExecutor::new()).build_http(),
            lookup: Box::new(server.lookup()),
            rejected: Mutex::default(),
        });
        let handler = Arc::clone(&shared);
        let listener = Listener::start(0, move |request| {
            let shared = Arc::clone(&handler);
            async move { shared.answer(request).await }
        })
        .await?;
        Ok(Self { listener, shared })
    }

    /// Its base URL, as an endpoint and as `HTTP_PROXY`.
    pub fn url(&self) -> String {
        format!("http://{}", self.listener.address())
    }

    /// Which make it plays.
    pub fn make(&self) -> Make {
        self.shared.make
    }

    /// How many requests went no further, by error code. A client that knows the make meets none.
    pub fn rejected(&self) -> BTreeMap<&'static str, u64> {
        self.shared.rejected.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for QuirkProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuirkProxy")
            .field("make", &self.shared.make)
            .field("url", &self.url())
            .finish_non_exhaustive()
    }
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<ProxyBody>, Hangup> {
        let asked = Asked::of(&request, &self.hosts);
        if let Some(rejection) = self.manners.reject(&asked) {
            *self
                .rejected
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(rejection.code)
                .or_default() += 1;
            // Read to its end, so that the client sees the answer and not a broken pipe.
            let mut body = request.into_body();
            while let Some(Ok(_)) = body.frame().await {}
            return Ok(self.rejected_with(&asked, rejection));
        }
        let response = self.client.request(self.onward(request)?).await.map_err(|_| Hangup)?;
        let (mut head, body) = response.into_parts();
        let object = (self.lookup)(&asked.target.bucket).and_then(|bucket| bucket.get(&asked.target.key));
        self.manners.dress(&asked, object.as_deref(), &mut head);
        if self.manners.compresses(&asked, &head) {
            let whole = body.collect().await.map_err(|_| Hangup)?.to_bytes();
            head.headers.remove(CONTENT_LENGTH);
            head.headers.remove(ETAG);
            head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            // A stream says nothing of its length: the answer is chunked.
            let frames = stream::iter([Ok(Frame::data(gzip::member(&whole)))]);
            return Ok(Response::from_parts(head, StreamBody::new(frames).boxed_unsync()));
        }
        let is_document = head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "application/xml")
            && asked.method != Method::HEAD
            && (asked.target.operation != Operation::GetObject || !head.status.is_success());
        if !is_document {
            return Ok(Response::from_parts(head, body.map_err(Into::into).boxed_unsync()));
        }
        let document = body.collect().await.map_err(|_| Hangup)?.to_bytes();
        let document = String::from_utf8_lossy(&document).into_owned();
        let document = self.manners.rewrite(&asked, head.status, document);
        head.headers.remove(CONTENT_LENGTH);
        Ok(Response::from_parts(head, whole(document)))
    }

    /// The same request to the server behind. The host stays, since the signature covers it.
    fn onward(&self, request: Request<Incoming>) -> Result<Request<Incoming>, Hangup> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = Uri::try_from(format!("http://{}{path}", self.upstream)).map_err(|_| Hangup)?;
        parts.headers.remove("proxy-connection");
        Ok(Request::from_parts(parts, body))
    }

    fn rejected_with(&self, asked: &Asked, rejection: Rejection) -> Response<ProxyBody> {
        let status = StatusCode::from_u16(rejection.status).unwrap_or(StatusCode::BAD_REQUEST);
        let document = error_document::document(rejection.code, rejection.message);
        let mut document = String::from_utf8_lossy(&document).into_owned();
        if let Some(ec) = rejection.ec {
            document = document.replace("</Error>", &format!("<EC>{ec}</EC></Error>"));
        }
        let document = self.manners.rewrite(asked, status, document);
        let mut response =
            Response::new(if asked.method == Method::HEAD { whole(String::new()) } else { whole(document) });
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        if let Some(ec) = rejection.ec {
            response.headers_mut().insert("x-oss-ec", HeaderValue::from_static(ec));
        }
        response
    }
}

fn whole(document: String) -> ProxyBody {
    Full::new(Bytes::from(document)).map_err(|never| match never {}).boxed_unsync()
}

#[cfg(test)]
mod tests;
