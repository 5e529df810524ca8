//! From the SDK's errors to the engine's.
//!
//! Owns: which code, status or failure of the transport means what to the caller, and the user's message. Invariants: every
//! message names the queue; codes are those SQS documents, without the prefix of the old query protocol.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::operation::RequestId as _;
use aws_sdk_sqs::types::BatchResultErrorEntry;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::error::operation::BuildError;
use ferry_transfer::{Error, ErrorKind, chain};

/// What was being done, to which queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) operation: &'static str,
    pub(super) queue_url: &'a str,
}

impl Place<'_> {
    /// An error at this place.
    pub(super) fn error(self, kind: ErrorKind, message: &str) -> Error {
        Error::new(kind, format!("queue {}: {message}", self.queue_url)).in_operation(self.operation)
    }
}

/// A request that failed as a whole. Unlike an [`Error`] it can be copied, since each entry of a batch may have to carry it.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    kind: ErrorKind,
    message: String,
    status: Option<u16>,
    code: Option<String>,
    request_id: Option<String>,
    cause: Option<String>,
}

impl Failure {
    fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), status: None, code: None, request_id: None, cause: None }
    }

    /// A request that the SDK would not even build.
    pub(super) fn unbuildable(error: &BuildError) -> Self {
        Self {
            cause: Some(chain(error)),
            ..Self::new(ErrorKind::InvalidInput, "the request cannot be built")
        }
    }

    /// A request that was built and sent, or should have been.
    pub(super) fn from_sdk<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        let unsent = |kind, message| {
            let cause = Some(chain(error));
            Self { cause, ..Self::new(kind, message) }
        };
        match error {
            SdkError::ServiceError(service) => {
                let status = service.raw().status().as_u16();
                let code = service.err().code().map(short_code).filter(|code| !code.is_empty());
                let said = service.err().message().filter(|text| !text.is_empty());
                let kind = kind_of(status, code);
                Self {
                    status: Some(status),
                    code: code.map(ToOwned::to_owned),
                    request_id: error.request_id().map(ToOwned::to_owned),
                    ..Self::new(kind, advice(kind, said))
                }
            }
            SdkError::ResponseError(response) => {
                let status = response.raw().status().as_u16();
                let kind = match status {
                    // The connection broke inside of the answer.
                    200..=299 => ErrorKind::Transient,
                    _ => kind_of(status, None),
                };
                Self {
                    status: Some(status),
                    request_id: error.request_id().map(ToOwned::to_owned),
                    ..unsent(kind, "the answer cannot be read; does this endpoint speak the protocol of SQS?")
                }
            }
            SdkError::TimeoutError(_) => Self::new(ErrorKind::Transient, "no answer in time"),
            SdkError::ConstructionFailure(_) | SdkError::DispatchFailure(_) => {
                match credentials_error(error) {
                    Some(CredentialsError::ProviderTimedOut(_) | CredentialsError::ProviderError(_)) => {
                        unsent(ErrorKind::Transient, "the credentials could not be loaded")
                    }
                    Some(_) => unsent(
                        ErrorKind::Configuration,
                        "no credentials for this queue: configure them, or provide the default ones of the AWS SDK",
                    ),
                    None if matches!(error, SdkError::ConstructionFailure(_)) => {
                        unsent(ErrorKind::InvalidInput, "the request cannot be built")
                    }
                    None => unsent(ErrorKind::Transient, "the connection failed"),
                }
            }
            _ => unsent(ErrorKind::Other, "the request failed"),
        }
    }

    /// The engine's error, at this place.
    pub(super) fn at(self, place: Place<'_>) -> Error {
        let mut error = place.error(self.kind, &self.message);
        if let Some(status) = self.status {
            error = error.with_status(status);
        }
        if let Some(code) = self.code {
            error = error.with_code(code);
        }
        if let Some(request_id) = self.request_id {
            error = error.with_request_id(request_id);
        }
        match self.cause {
            Some(cause) => error.caused_by(cause),
            None => error,
        }
    }
}

/// A failed entry of a batch that was carried out otherwise.
pub(super) fn of_entry(place: Place<'_>, entry: &BatchResultErrorEntry) -> Error {
    let code = short_code(entry.code());
    let kind = if is_throttle(code) {
        ErrorKind::Throttled
    } else if entry.sender_fault() {
        ErrorKind::InvalidInput
    } else {
        ErrorKind::Transient
    };
    let message = match entry.message() {
        Some(said) => format!("the entry was refused: {said}"),
        None => "the entry was refused".into(),
    };
    place.error(kind, &message).with_code(code)
}

/// The code as SQS documents it today.
fn short_code(code: &str) -> &str {
    code.strip_prefix("AWS.SimpleQueueService.").unwrap_or(code)
}

fn is_throttle(code: &str) -> bool {
    matches!(
        code,
        "RequestThrottled"
            | "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "TooManyRequestsException"
            | "KmsThrottled"
            | "KMS.ThrottlingException"
            // 120,000 messages in flight: receiving goes on once some are deleted.
            | "OverLimit"
    )
}

fn kind_of(status: u16, code: Option<&str>) -> ErrorKind {
    match code {
        Some(code) if is_throttle(code) => return ErrorKind::Throttled,
        // Hosted queues report a queue that is not theirs in the same words.
        Some("NonExistentQueue" | "QueueDoesNotExist" | "InvalidAddress" | "RequestExpired") => {
            return ErrorKind::Configuration;
        }
        Some(
            "AccessDenied"
            | "AccessDeniedException"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "IncompleteSignature"
            | "InvalidClientTokenId"
            | "InvalidSecurity"
            | "KmsAccessDenied"
            | "MissingAuthenticationToken"
            | "NotAuthorized"
            | "SignatureDoesNotMatch"
            | "UnrecognizedClientException",
        ) => return ErrorKind::PermissionDenied,
        Some("UnsupportedOperation" | "InvalidAction" | "UnknownOperationException") => {
            return ErrorKind::Unsupported;
        }
        Some("RequestTimeout" | "RequestTimeoutException" | "InternalError" | "ServiceUnavailable") => {
            return ErrorKind::Transient;
        }
        _ => {}
    }
    match status {
        401 | 403 => ErrorKind::PermissionDenied,
        429 => ErrorKind::Throttled,
        408 | 500..=599 => ErrorKind::Transient,
        400..=499 => ErrorKind::InvalidInput,
        _ => ErrorKind::Other,
    }
}

/// What the service said and, where the operator can do something about it, what.
fn advice(kind: ErrorKind, said: Option<&str>) -> String {
    let said = said.unwrap_or("the request was refused");
    match kind {
        ErrorKind::Configuration => {
            format!("{said}; check the queue's url, its region and this machine's clock")
        }
        ErrorKind::PermissionDenied => {
            format!("{said}; check that these credentials may do this on this queue")
        }
        _ => said.to_owned(),
    }
}

/// Credentials that cannot be had surface under several of the SDK's kinds.
fn credentials_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a CredentialsError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
