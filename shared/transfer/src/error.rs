//! The error every store and queue operation returns.
//!
//! Owns: what a caller can *do* about a failure ([`ErrorKind`]) and where it happened (operation, bucket, key, HTTP
//! status, service code, request id). Does not own: retrying ([`crate::retry`]) or logging, which happens where an error is
//! consumed. Invariant: the message of an error never repeats its source; [`Error::chain`] prints the chain once.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a caller can do about an error. Small on purpose: one variant for each different reaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The object, upload or bucket is not there (404). A 403 is never this.
    NotFound,
    /// A precondition did not hold (412), or two conditional writes raced (409): look again, then decide.
    PreconditionFailed,
    /// The credentials are wrong, expired or lack the right (401, 403).
    PermissionDenied,
    /// The store asks for fewer requests (503 `SlowDown`, 429 and their kin): wait longer, then retry.
    Throttled,
    /// Timeouts, broken connections, other 5xx: retry.
    Transient,
    /// Bytes did not match their declared length or checksum: retry the whole read and write.
    Corrupt,
    /// The object is archived and must be restored before it can be read.
    Archived,
    /// The store does not implement the operation or the option asked for.
    Unsupported,
    /// The request itself can never succeed: bad name, bad size, bad argument.
    InvalidInput,
    /// Endpoint, region, credentials or clock are set up wrongly: no object of this store will succeed.
    Configuration,
    /// The caller gave up.
    Cancelled,
    /// Anything else; not retried.
    Other,
}

impl ErrorKind {
    /// Whether trying the very same thing again can never succeed.
    pub fn is_permanent(self) -> bool {
        !matches!(self, Self::Throttled | Self::Transient | Self::Corrupt | Self::PreconditionFailed)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "not found",
            Self::PreconditionFailed => "precondition failed",
            Self::PermissionDenied => "permission denied",
            Self::Throttled => "throttled",
            Self::Transient => "transient",
            Self::Corrupt => "corrupt",
            Self::Archived => "archived",
            Self::Unsupported => "unsupported",
            Self::InvalidInput => "invalid input",
            Self::Configuration => "configuration",
            Self::Cancelled => "cancelled",
            Self::Other => "other",
        })
    }
}

/// A failed store or queue operation, with everything a support engineer asks for.
///
/// Boxed, so that a `Result` stays small on the hot path.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(Box<Details>);

#[derive(Debug, thiserror::Error)]
#[error("{}", self.headline())]
struct Details {
    kind: ErrorKind,
    message: String,
    operation: Option<&'static str>,
    store: Option<String>,
    bucket: Option<String>,
    key: Option<String>,
    status: Option<u16>,
    code: Option<String>,
    request_id: Option<String>,
    given_up: bool,
    retry_after: Option<Duration>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The result of a store or queue operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A new error; the message is lower case, without a full stop, and says what was wrong, not where.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Details {
            kind,
            message: message.into(),
            operation: None,
            store: None,
            bucket: None,
            key: None,
            status: None,
            code: None,
            request_id: None,
            given_up: false,
            retry_after: None,
            source: None,
        }))
    }

    /// Names the operation, in the store's own word (`GetObject`).
    #[must_use]
    pub fn in_operation(mut self, operation: &'static str) -> Self {
        self.0.operation = Some(operation);
        self
    }

    /// Names the store, as the user knows it.
    #[must_use]
    pub fn at_store(mut self, store: impl Into<String>) -> Self {
        self.0.store = Some(store.into());
        self
    }

    /// Names the bucket.
    #[must_use]
    pub fn in_bucket(mut self, bucket: impl Into<String>) -> Self {
        self.0.bucket = Some(bucket.into());
        self
    }

    /// Names the key, unless a deeper layer already did.
    #[must_use]
    pub fn on_key(mut self, key: impl Into<String>) -> Self {
        self.0.key.get_or_insert(key.into());
        self
    }

    /// Carries the HTTP status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.0.status = Some(status);
        self
    }

    /// Carries the service's error code (`NoSuchKey`).
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.0.code = Some(code.into());
        self
    }

    /// Carries the service's request id.
    #[must_use]
    pub fn with_request_id(mut self, request_id: impl Into<String>) -> Self {
        self.0.request_id = Some(request_id.into());
        self
    }

    /// Carries how long the store asked to be left alone.
    #[must_use]
    pub fn with_retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    /// The same failure, seen as one of another kind by somebody who has done something about it.
    #[must_use]
    pub fn as_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    /// Notes that the owner of this class of failure has retried and given up, so that no outer loop retries it as well.
    #[must_use]
    pub fn after_giving_up(mut self) -> Self {
        self.0.given_up = true;
        self
    }

    /// Whether somebody has retried this already and given up.
    pub fn was_given_up(&self) -> bool {
        self.0.given_up
    }

    /// Chains the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What can be done about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the very same request can never succeed.
    pub fn is_permanent(&self) -> bool {
        self.0.kind.is_permanent()
    }

    /// The bucket it happened in, where known.
    pub fn bucket(&self) -> Option<&str> {
        self.0.bucket.as_deref()
    }

    /// The key it happened on, where known.
    pub fn key(&self) -> Option<&str> {
        self.0.key.as_deref()
    }

    /// The HTTP status, where one was received.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// The service's error code, where one was received.
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// The service's request id, where one was received.
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// How long the store asked to be left alone, where it did.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The message and those of all its sources, joined by `: `, each once.
    pub fn chain(&self) -> String {
        chain(self)
    }
}

impl Details {
    fn headline(&self) -> String {
        let d = self;
        let mut line = String::new();
        if let Some(operation) = d.operation {
            line.push_str(operation);
            line.push(' ');
        }
        match (&d.store, &d.bucket) {
            (Some(store), Some(bucket)) => line.push_str(&format!("{store}://{bucket}")),
            (None, Some(bucket)) => line.push_str(&format!("bucket {bucket}")),
            (Some(store), None) => line.push_str(&format!("store {store}")),
            (None, None) => {}
        }
        if let Some(key) = &d.key {
            line.push_str(&format!(" key {key:?}"));
        }
        if !line.is_empty() {
            line = format!("{}: ", line.trim());
        }
        line.push_str(&d.message);
        let facts: Vec<String> = [
            d.status.map(|status| format!("HTTP {status}")),
            d.code.clone(),
            d.request_id.as_ref().map(|id| format!("request {id}")),
        ]
        .into_iter()
        .flatten()
        .collect();
        if !facts.is_empty() {
            line.push_str(&format!(" ({})", facts.join(", ")));
        }
        line
    }
}

/// An error's message and those of all its sources, joined by `: `; a source whose text the line already ends with is
/// left out, since some libraries repeat it.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let text = source.to_string();
        if !line.ends_with(&text) {
            line = format!("{line}: {text}");
        }
        next = source.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_headline_says_what_failed_on_what() {
        let error = Error::new(ErrorKind::PermissionDenied, "the credentials may not read this object")
            .in_operation("GetObject")
            .at_store("hangzhou")
            .in_bucket("photos")
            .on_key("a\nb")
            .with_status(403)
            .with_code("AccessDenied")
            .with_request_id("R1");
        assert_eq!(
            error.to_string(),
            "GetObject hangzhou://photos key \"a\\nb\": the credentials may not read this object \
             (HTTP 403, AccessDenied, request R1)"
        );
    }

    #[test]
    fn a_chain_prints_every_cause_once() {
        let error =
            Error::new(ErrorKind::Transient, "connection failed").caused_by(std::io::Error::other("reset"));
        assert_eq!(error.chain(), "connection failed: reset");
    }

    #[test]
    fn what_may_succeed_later_is_not_permanent() {
        assert!(!Error::new(ErrorKind::Throttled, "x").is_permanent());
        assert!(Error::new(ErrorKind::PermissionDenied, "x").is_permanent());
    }
}
