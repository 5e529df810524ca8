//! From the SDK's errors to the engine's, in this one place.
//!
//! Owns: finding the facts in an [`SdkError`] (status, code, request id, region hints) and the user's message. Does not own: which
//! code means what, which is a table ([`classify`]). Invariant: no message repeats a header or a credential.

mod classify;
mod message;

use std::error::Error as StdError;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use ferry_transfer::{Error, ErrorKind, Key, StoreName};

use super::endpoint::UnfitBucket;

/// What was being done, to whom: everything an error names besides its cause.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) operation: &'static str,
    pub(super) name: &'a StoreName,
    pub(super) endpoint: &'a str,
    pub(super) key: Option<&'a Key>,
    /// The codes by which this make of store asks for fewer requests, beside the usual ones.
    pub(super) throttle_codes: &'a [String],
    /// Whether requests carry a key of the customer's.
    pub(super) customer_key: bool,
}

impl Place<'_> {
    /// An error of ours, not the store's, at this place.
    pub(super) fn error(&self, kind: ErrorKind, message: impl Into<String>) -> Error {
        self.locate(Error::new(kind, message))
    }

    /// Names the place in an error.
    pub(super) fn locate(&self, error: Error) -> Error {
        let mut error = error.in_operation(self.operation).at_store(&self.name.store);
        if !self.name.bucket.is_empty() {
            error = error.in_bucket(&self.name.bucket);
        }
        match self.key {
            Some(key) => error.on_key(key.as_str()),
            None => error,
        }
    }
}

/// A refusal by the store, reduced to what decides.
#[derive(Debug, Default)]
struct Refusal<'a> {
    status: u16,
    code: Option<&'a str>,
    message: Option<&'a str>,
    /// The region the store says is right, from a header or the body.
    region: Option<String>,
    /// The endpoint the store says is right.
    endpoint: Option<String>,
    /// The store's clock.
    date: Option<String>,
    /// Alibaba's finer error code, which its support asks for.
    ec: Option<String>,
}

/// The engine's error for a failed call.
pub(super) fn from_sdk<E>(place: &Place<'_>, error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    match error {
        SdkError::ServiceError(service) => {
            let code = service.err().code().filter(|code| !code.is_empty());
            refused(place, code, service.err().message(), service.raw())
        }
        SdkError::ResponseError(response) => {
            let status = response.raw().status().as_u16();
            let request_id = request_id(response.raw());
            let kind = classify::kind(status, None);
            let message = "the store's answer cannot be read";
            let mut mapped = place.error(kind, message).with_status(status);
            if let Some(id) = request_id {
                mapped = mapped.with_request_id(id);
            }
            mapped.caused_by(SdkError::<E, HttpResponse>::ResponseError(response))
        }
        SdkError::TimeoutError(_) => {
            place.error(ErrorKind::Transient, format!("no answer from {} in time", place.endpoint))
        }
        SdkError::ConstructionFailure(_) => {
            unsent(place, ErrorKind::InvalidInput, "the request cannot be built", error)
        }
        SdkError::DispatchFailure(ref failure) => {
            let (kind, message) =
                unanswered(place.endpoint, failure.is_timeout(), &ferry_transfer::chain(&error));
            unsent(place, kind, &message, error)
        }
        other => place.error(ErrorKind::Other, "the request failed").caused_by(other),
    }
}

/// What to make of a failure without an answer. By its text: the HTTP client has no typed way to ask what it was doing.
fn unanswered(endpoint: &str, timed_out: bool, text: &str) -> (ErrorKind, String) {
    if let Some(message) = refused_certificate(endpoint, text) {
        return (ErrorKind::Configuration, message);
    }
    let message = if text.contains("client error (Connect)") || text.contains("connect timeout") {
        format!("cannot reach {endpoint}")
    } else if timed_out {
        format!("no answer from {endpoint} in time")
    } else {
        format!("the connection to {endpoint} failed")
    };
    (ErrorKind::Transient, message)
}

/// What to do about a certificate that is not to be trusted, if that is what a failed connection tells of. By rustls's words.
pub(super) fn refused_certificate(endpoint: &str, text: &str) -> Option<String> {
    let (_, why) = text.split_once("invalid peer certificate")?;
    let says = |words: &[&str]| words.iter().any(|word| why.contains(word));
    let advice = if says(&["Expired", "NotValidYet", "not valid yet", "expired"]) {
        "is not valid now: check this machine's clock, and have the certificate renewed"
    } else if says(&["UnknownIssuer", "BadSignature", "CaUsedAsEndEntity"]) {
        "is signed by nobody this machine trusts: add its authority to the system's roots, or name a file of roots in SSL_CERT_FILE"
    } else {
        "is not valid for this request: check the endpoint, and whether a bucket with a dot in its name needs `addressing: path`"
    };
    Some(format!("the certificate of {endpoint} {advice}"))
}

/// The engine's error for an answer that the SDK has not seen.
pub(super) fn from_answer(place: &Place<'_>, raw: &HttpResponse) -> Error {
    let body = raw.body().bytes().map(String::from_utf8_lossy).unwrap_or_default();
    let said = |name| element(&body, name).map(|text| unescaped(&text));
    refused(place, said("Code").as_deref(), said("Message").as_deref(), raw)
}

/// Text of an error document with XML's five references undone.
fn unescaped(text: &str) -> String {
    // The ampersand last: what it makes is no reference any more.
    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")]
        .into_iter()
        .fold(text.to_owned(), |text, (reference, character)| text.replace(reference, character))
}

/// A failure without an answer. Credentials that cannot be had surface here as well, under several of the SDK's kinds.
fn unsent<E>(place: &Place<'_>, kind: ErrorKind, message: &str, error: SdkError<E, HttpResponse>) -> Error
where
    E: StdError + Send + Sync + 'static,
{
    if let Some(credentials) = find::<CredentialsError>(&error) {
        return without_credentials(place, credentials);
    }
    if let Some(unfit) = find::<UnfitBucket>(&error) {
        return place.error(ErrorKind::InvalidInput, unfit.to_string());
    }
    place.error(kind, message).caused_by(error)
}

/// Credentials that cannot be had.
pub(super) fn without_credentials(place: &Place<'_>, error: &CredentialsError) -> Error {
    let kind = match error {
        CredentialsError::ProviderTimedOut(_) => ErrorKind::Transient,
        _ => ErrorKind::Configuration,
    };
    place
        .error(
            kind,
            "no credentials for this store: set `credentials:` (env:, file:, ssm:, command:, profile: or anonymous) or \
             provide the default ones",
        )
        .caused_by(ferry_transfer::chain(error))
}

/// The first error of a type in a chain of sources.
pub(super) fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

fn refused(place: &Place<'_>, code: Option<&str>, message: Option<&str>, raw: &HttpResponse) -> Error {
    let body = raw.body().bytes().map(String::from_utf8_lossy).unwrap_or_default();
    let header = |name| raw.headers().get(name).map(ToOwned::to_owned);
    let refusal = Refusal {
        status: raw.status().as_u16(),
        code,
        message,
        region: header("x-amz-bucket-region").or_else(|| element(&body, "Region")),
        endpoint: element(&body, "Endpoint"),
        date: header("date"),
        ec: header("x-oss-ec").or_else(|| element(&body, "EC")),
    };
    let kind = if code.is_some_and(|code| place.throttle_codes.iter().any(|known| known == code)) {
        ErrorKind::Throttled
    } else {
        classify::kind(refusal.status, refusal.code)
    };
    let kind = if classify::is_misdirected(&refusal) { ErrorKind::Configuration } else { kind };
    let mut error = place.error(kind, message::compose(place, kind, &refusal)).with_status(refusal.status);
    if let Some(code) = code {
        error = error.with_code(code);
    }
    if let Some(id) = request_id(raw) {
        error = error.with_request_id(id);
    }
    if let Some(delay) = retry_after(header) {
        error = error.with_retry_after(delay);
    }
    error
}

/// How long the store asks to be left alone: `Retry-After` in seconds (RFC 9110, 10.2.3; no store was seen to send a date), and
/// Alibaba's own header in milliseconds (OSS, "Common response headers").
fn retry_after(header: impl Fn(&'static str) -> Option<String>) -> Option<Duration> {
    let number = |name| header(name)?.trim().parse::<u64>().ok();
    number("retry-after")
        .map(Duration::from_secs)
        .or_else(|| number("x-oss-qos-delay-time").map(Duration::from_millis))
}

/// The request id under any of the names stores give it.
fn request_id(raw: &HttpResponse) -> Option<String> {
    ["x-amz-request-id", "x-oss-request-id", "x-obs-request-id", "x-cos-request-id", "x-reqid"]
        .iter()
        .find_map(|name| raw.headers().get(*name))
        .map(ToOwned::to_owned)
}

/// The text of the first `<name>` element of an error document.
fn element(body: &str, name: &str) -> Option<String> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests;
