//! A bucket's refusals as `s3s` errors.

use http::StatusCode;
use s3s::{S3Error, S3ErrorCode};

use crate::bucket::Refusal;

/// The error that says so.
pub(super) fn refused(refusal: Refusal) -> S3Error {
    let mut error = with_code(refusal.code(), refusal.to_string());
    if let Ok(status) = StatusCode::from_u16(refusal.status()) {
        error.set_status_code(status);
    }
    error
}

/// An error by its code.
pub(super) fn with_code(code: &str, message: impl Into<String>) -> S3Error {
    let code = S3ErrorCode::from_bytes(code.as_bytes()).unwrap_or(S3ErrorCode::InternalError);
    S3Error::with_message(code, message.into())
}

/// What was wrong with a body that broke off. The framework's error types are private, so their text has to tell.
pub(super) fn broken_body(error: &(dyn std::error::Error + Send + Sync)) -> S3Error {
    let text = error.to_string();
    let code = if text.contains("SignatureMismatch") {
        "SignatureDoesNotMatch"
    } else if text.contains("Sha256Mismatch") {
        "XAmzContentSHA256Mismatch"
    } else {
        "IncompleteBody"
    };
    with_code(code, text)
}
