//! The requests that every object costs, without the SDK: GET, HEAD, PUT, `UploadPart` and the listings.
//!
//! Owns: one bucket's address, signature and connections, and one request from its parts to a judged answer. Does not own: retries
//! (the engine's), what an error means ([`super::error`]), or any other operation: those are the SDK's, and so is every
//! bucket that this cannot speak to ([`Lean::of`]). Invariant: what goes over the wire and what comes back as an error is what the
//! SDK's path would have made; both are held to the same conformance suite and the same wire tests.

mod address;
mod list;
mod listing;
mod parts;
mod read;
mod sign;
mod verified;
mod write;
mod xml;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::config::endpoint::ResolveEndpoint;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::http::Headers;
use aws_smithy_types::body::SdkBody;
use bytes::BytesMut;
use ferry_transfer::{Clock as _, ErrorKind, Key, Result, SystemClock};
use futures::StreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};

use self::address::Address;
use self::sign::{Signable, Signer};
pub(super) use self::verified::ChecksumMismatch;
use self::xml::XmlError;
use super::error::{self, Place};
use super::no_answer;
use crate::wire::{RequestBody, ResponseBody, Wire, WireError};

/// Larger documents than this are no error messages.
const ERROR_DOCUMENT_BYTES_MAX: usize = 64 * 1024;
/// Who asks, for a store's access log.
const USER_AGENT: &str = concat!("ferry/", env!("CARGO_PKG_VERSION"));

/// What an account knows to make its buckets' lean paths.
#[derive(Debug)]
pub(super) struct LeanAccount {
    resolver: Box<dyn ResolveEndpoint>,
    region: String,
    /// `None` sends unsigned requests.
    signer: Option<Arc<Signer>>,
}

/// One bucket's lean path.
#[derive(Debug)]
pub(super) struct Lean {
    address: Address,
    wire: Wire,
    signer: Option<Arc<Signer>>,
}

/// A request, less what every request has.
struct Call<'a> {
    method: Method,
    key: Option<&'a Key>,
    /// Sorted and encoded ([`address::query`]).
    query: String,
    /// Names in lower case, each once.
    headers: Vec<(Cow<'static, str>, Cow<'a, str>)>,
    body: RequestBody,
    payload_sha256: Cow<'static, str>,
    limit: Duration,
}

impl<'a> Call<'a> {
    /// A request without a body.
    fn new(method: Method, key: Option<&'a Key>, query: String) -> Self {
        Self {
            method,
            key,
            query,
            headers: Vec::with_capacity(8),
            body: RequestBody::empty(),
            payload_sha256: sign::payload_sha256(&[]),
            limit: super::ANSWER_TIMEOUT,
        }
    }

    /// Adds a header where there is a value.
    fn header(mut self, name: &'static str, value: Option<impl Into<Cow<'a, str>>>) -> Self {
        if let Some(value) = value {
            self.headers.push((name.into(), value.into()));
        }
        self
    }
}

/// An answer that says yes.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: Headers,
    body: ResponseBody,
}

impl LeanAccount {
    /// For a store whose endpoints these rules find and whose requests these credentials sign.
    pub(super) fn new(
        resolver: impl ResolveEndpoint + 'static,
        region: String,
        credentials: Option<SharedCredentialsProvider>,
    ) -> Self {
        let signer = credentials.map(|provider| Arc::new(Signer::new(provider, region.clone())));
        Self { resolver: Box::new(resolver), region, signer }
    }
}

impl Lean {
    /// The lean path to a bucket; `None` where its address needs rules of its own, or a proxy stands before it.
    pub(super) async fn of(account: &LeanAccount, bucket: &str) -> Option<Self> {
        let address = Address::of(&*account.resolver, &account.region, bucket).await?;
        let wire = Wire::to(address.origin.clone())?;
        Some(Self { address, wire, signer: account.signer.clone() })
    }

    /// Sends a request and judges its answer.
    async fn send(&self, place: &Place<'_>, call: Call<'_>) -> Result<Answer> {
        let limit = call.limit;
        let answering = async {
            let request = self.request(place, call).await?;
            let answer =
                self.wire.exchange(request).await.map_err(|error| unanswered(place, error))?.into_parts();
            let (head, body) = answer;
            let headers = Headers::try_from(head.headers).map_err(|unreadable| {
                place
                    .error(ErrorKind::Transient, "the store's answer cannot be read")
                    .with_status(head.status.as_u16())
                    .caused_by(unreadable)
            })?;
            if head.status.is_success() {
                return Ok(Answer { status: head.status.as_u16(), headers, body });
            }
            let document = document(body).await;
            let mut refusal = HttpResponse::new(head.status.into(), SdkBody::from(document));
            *refusal.headers_mut() = headers;
            Err(error::from_answer(place, &refusal))
        };
        match tokio::time::timeout(limit, answering).await {
            Ok(answer) => answer,
            Err(_) => Err(no_answer(place, limit)),
        }
    }

    /// Sends a request whose answer is a document, and reads it. `what` names the document where it cannot be read.
    async fn read<T>(
        &self,
        place: &Place<'_>,
        call: Call<'_>,
        what: &str,
        read: impl Fn(&str) -> Result<T, XmlError>,
    ) -> Result<T> {
        let answer = self.send(place, call).await?;
        let status = answer.status;
        let document = whole(place, answer.body).await?;
        let unreadable = |cause: Box<dyn std::error::Error + Send + Sync>| {
            place
                .error(ErrorKind::Transient, format!("{what} cannot be read in full"))
                .with_status(status)
                .caused_by(cause)
        };
        let document = std::str::from_utf8(&document).map_err(|cause| unreadable(cause.into()))?;
        read(document).map_err(|cause| unreadable(cause.into()))
    }

    /// The request as it goes over the wire.
    async fn request(&self, place: &Place<'_>, call: Call<'_>) -> Result<Request<RequestBody>> {
        let Call { method, key, query, mut headers, body, payload_sha256, limit: _ } = call;
        let path = self.address.path(key.map(Key::as_str));
        let verb = method.clone();
        headers.push(("host".into(), self.address.host.as_str().into()));
        let mut signable =
            Signable { method: verb.as_str(), path: &path, query: &query, headers, payload_sha256 };
        match &self.signer {
            Some(signer) => signer
                .sign(&mut signable, SystemClock.now())
                .await
                .map_err(|error| error::without_credentials(place, &error))?,
            None if signable.payload_sha256 == sign::UNSIGNED_PAYLOAD_TRAILER => {
                let framing = signable.payload_sha256.clone();
                signable.headers.push(("x-amz-content-sha256".into(), framing));
            }
            None => {}
        }
        let unfit = || place.error(ErrorKind::InvalidInput, "the request cannot be built");
        let mut map = HeaderMap::with_capacity(signable.headers.len() + 2);
        for (name, value) in &signable.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| unfit().caused_by(error))?;
            let value =
                HeaderValue::from_bytes(value.as_bytes()).map_err(|error| unfit().caused_by(error))?;
            map.append(name, value);
        }
        // Not signed, since proxies and Google change this header. Without it a CDN may compress the object on the way and drop
        // its ETag and length.
        map.insert(http::header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        map.insert(http::header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        let target = if query.is_empty() { path } else { format!("{path}?{query}") };
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = Uri::try_from(target).map_err(|error| unfit().caused_by(error))?;
        *request.headers_mut() = map;
        Ok(request)
    }
}

/// The beginning of an error's document. What cannot be read of it is missed and no more: the status says enough.
async fn document(mut body: ResponseBody) -> Vec<u8> {
    let mut document = Vec::new();
    while let Some(Ok(chunk)) = body.next().await {
        document.extend_from_slice(&chunk);
        if document.len() > ERROR_DOCUMENT_BYTES_MAX {
            break;
        }
    }
    document
}

/// The whole of a document that must be read in full.
async fn whole(place: &Place<'_>, mut body: ResponseBody) -> Result<BytesMut> {
    let mut document = BytesMut::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk
            .map_err(|error| place.error(ErrorKind::Transient, "the answer broke off").caused_by(error))?;
        document.extend_from_slice(&chunk);
    }
    Ok(document)
}

fn unanswered(place: &Place<'_>, error: WireError) -> ferry_transfer::Error {
    let refused_certificate = match &error {
        WireError::Connect(cause) => {
            error::refused_certificate(place.endpoint, &ferry_transfer::chain(&**cause))
        }
        WireError::ConnectTimeout | WireError::Broken(_) => None,
    };
    if let Some(message) = refused_certificate {
        return place.error(ErrorKind::Configuration, message).caused_by(error);
    }
    let message = match &error {
        WireError::Connect(_) | WireError::ConnectTimeout => format!("cannot reach {}", place.endpoint),
        WireError::Broken(_) => format!("the connection to {} failed", place.endpoint),
    };
    place.error(ErrorKind::Transient, message).caused_by(error)
}
