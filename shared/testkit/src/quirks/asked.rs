//! A request as the makes look at it.

use http::header::HOST;
use http::{HeaderMap, Method, Request};

use crate::operation::{Query, Target};
use crate::s3::VirtualHosts;

/// What bodies that carry their checksum behind them say of themselves.
const TRAILER_SUFFIX: &str = "-TRAILER";

/// The head of a request.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) target: Target,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
    /// Without its port.
    pub(super) host: String,
    /// Whether the host names the bucket.
    pub(super) names_bucket: bool,
}

impl Asked {
    pub(super) fn of<B>(request: &Request<B>, hosts: &VirtualHosts) -> Self {
        let headers = request.headers();
        let bucket = hosts.bucket_of(headers);
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        Self {
            method: request.method().clone(),
            target: Target::at_host(bucket, request.method(), request.uri(), headers),
            query: Query::of(request.uri()),
            host: host.split_once(':').map_or(host, |(host, _port)| host).to_owned(),
            names_bucket: bucket.is_some(),
            headers: headers.clone(),
        }
    }

    /// A header's text; `None` also where it is no text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether any header begins so.
    pub(super) fn has_header_like(&self, prefix: &str) -> bool {
        self.headers.keys().any(|name| name.as_str().starts_with(prefix))
    }

    /// Whether the body is framed as `aws-chunked`, with a checksum behind it or without.
    pub(super) fn is_chunked(&self) -> bool {
        self.header("x-amz-content-sha256").is_some_and(|hash| hash.starts_with("STREAMING-"))
    }

    /// Whether a checksum comes behind the body.
    pub(super) fn has_trailer(&self) -> bool {
        self.header("x-amz-content-sha256").is_some_and(|hash| hash.ends_with(TRAILER_SUFFIX))
    }

    /// Whether a write carries a condition.
    pub(super) fn has_write_condition(&self) -> bool {
        let writes = self.method == Method::PUT || self.method == Method::POST;
        writes && ["if-match", "if-none-match"].iter().any(|name| self.headers.contains_key(*name))
    }

    /// User metadata, names without their prefix.
    pub(super) fn user_metadata(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().strip_prefix("x-amz-meta-")?, value.as_bytes())))
    }

    /// Size of the user metadata in bytes, names and values together.
    pub(super) fn user_metadata_bytes(&self) -> usize {
        self.user_metadata().map(|(name, value)| name.len() + value.len()).sum()
    }

    /// The region that the signature names.
    pub(super) fn region(&self) -> Option<&str> {
        let (_, scope) = self.header("authorization")?.split_once("Credential=")?;
        scope.split(',').next()?.split('/').nth(2)
    }

    /// Whether the signature covers this header.
    pub(super) fn signs(&self, name: &str) -> bool {
        let signed = self.header("authorization").and_then(|line| line.split_once("SignedHeaders="));
        signed.is_some_and(|(_, rest)| {
            rest.split(',').next().unwrap_or_default().split(';').any(|signed| signed == name)
        })
    }

    /// How long the body is once its framing is gone, in bytes.
    pub(super) fn body_bytes(&self) -> Option<u64> {
        let framed = self.header("x-amz-decoded-content-length");
        framed.or_else(|| self.header("content-length"))?.parse().ok()
    }
}
