//! One HTTP request to whoever takes notifications, or tells of them.
//!
//! Owns: the client and the signature. Invariant: a notification is signed at the moment it is sent.

use anyhow::{Context as _, Result};
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use ferry_events::{SIGNATURE_HEADER, Secret, sign};
use ferry_transfer::{Clock as _, SystemClock};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::args::EventSecretArgs;
use crate::exit::UsageError;

/// The secret that is meant, where one is.
pub(super) async fn secret(args: &EventSecretArgs) -> Result<Option<Secret>> {
    let (text, from) = match (&args.secret_file, &args.secret) {
        (Some(file), _) => {
            let text = std::fs::read_to_string(file)
                .map_err(|error| UsageError(format!("{} cannot be read: {error}", file.display())))?;
            (Some(text.trim().to_owned()), format!("--secret-file {}", file.display()))
        }
        (None, Some(reference)) => {
            let keys = reference.resolve().await?;
            (keys.map(|keys| keys.secret_access_key), format!("--secret {reference}"))
        }
        (None, None) => return Ok(None),
    };
    match text.and_then(Secret::new) {
        Some(secret) => Ok(Some(secret)),
        None => Err(UsageError(format!("{from} holds no secret")).into()),
    }
}

/// Sends to one address.
pub(super) struct Sender {
    client: Client<HttpsConnector<HttpConnector>, Body>,
    to: Uri,
    secret: Option<Secret>,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Sender {
    /// To this URL, signed with this secret, where there is one.
    pub(super) fn new(to: &str, secret: Option<Secret>) -> Result<Self> {
        let to: Uri = to.parse().map_err(|error| UsageError(format!("{to:?} is no URL: {error}")))?;
        if to.host().is_none() || to.scheme().is_none() {
            return Err(UsageError(format!("{to} is no URL: write http://HOST:PORT/PATH")).into());
        }
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::aws_lc_rs::default_provider())
            .context("the system has no roots to trust")?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector), to, secret })
    }

    /// Posts one notification.
    pub(super) async fn post(&self, body: &[u8]) -> Result<Answer> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(&self.to)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_vec()))?;
        if let Some(secret) = &self.secret {
            let signature = sign(secret, SystemClock.now().unix_timestamp(), body);
            request.headers_mut().insert(SIGNATURE_HEADER, HeaderValue::from_str(&signature)?);
        }
        let response = self.exchange(request).await?;
        let status = response.status();
        Ok(Answer { status, body: response.into_body().collect().await?.to_bytes() })
    }

    /// Asks with a token, for an answer that comes bit by bit.
    pub(super) async fn follow(&self, token: &str) -> Result<Response<Incoming>> {
        let request = Request::builder()
            .uri(&self.to)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(Body::empty())?;
        self.exchange(request).await
    }

    async fn exchange(&self, request: Request<Body>) -> Result<Response<Incoming>> {
        self.client.request(request).await.with_context(|| format!("{} cannot be reached", self.to))
    }
}
