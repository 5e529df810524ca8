//! Errors as the original service gave them.

use ferry_device::job::Refusal;
use ferry_device::manifest;

/// An error's code. The wire adds the suffix `Exception` where the original had it, which is what makes clients' typed errors fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// A code that a manifest alone can earn.
    Manifest(manifest::Code),
    /// A parameter is not there.
    MissingParameter,
    /// A parameter's value cannot be meant.
    InvalidParameter,
    /// The manifest's key is not the caller's.
    InvalidAccessKeyId,
    /// A bucket is not there.
    NoSuchBucket,
    /// A bucket may not be read or written.
    BucketPermission,
    /// Too many jobs today.
    CreateJobQuotaExceeded,
    /// There is no such job.
    InvalidJobId,
    /// The client speaks another version.
    InvalidVersion,
    /// The job expired.
    ExpiredJobId,
    /// The job was called off.
    CanceledJobId,
    /// The job has ended.
    UnableToCancelJobId,
    /// The job is at work or has ended.
    UnableToUpdateJobId,
    /// Nobody has this access key.
    InvalidClientTokenId,
    /// The request is not signed.
    MissingAuthenticationToken,
    /// The signature is incomplete.
    IncompleteSignature,
    /// The signature is not that of this request.
    SignatureDoesNotMatch,
    /// The request was signed too long ago, or in the future.
    RequestExpired,
    /// There is no such action.
    InvalidAction,
    /// The service failed.
    InternalFailure,
}

impl ErrorCode {
    /// The code on the wire.
    pub fn wire(self) -> String {
        match self {
            Self::MissingAuthenticationToken
            | Self::IncompleteSignature
            | Self::SignatureDoesNotMatch
            | Self::RequestExpired
            | Self::InvalidAction
            | Self::InternalFailure => format!("{self:?}"),
            Self::Manifest(code) => format!("{code}Exception"),
            code => format!("{code:?}Exception"),
        }
    }

    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::InvalidClientTokenId | Self::MissingAuthenticationToken | Self::SignatureDoesNotMatch => {
                403
            }
            Self::InternalFailure => 500,
            _ => 400,
        }
    }

    /// Whose mistake it is.
    pub fn fault(self) -> &'static str {
        if self == Self::InternalFailure { "Receiver" } else { "Sender" }
    }
}

/// A request that was refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// What the caller can act on.
    pub code: ErrorCode,
    /// What failed, on what, and what to do.
    pub message: String,
    /// What the service ran into, for whoever runs it. It is never on the wire.
    pub cause: Option<String>,
}

impl ApiError {
    /// An error.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), cause: None }
    }

    /// A job that may not be called off so.
    pub fn cancelling(refusal: &Refusal) -> Self {
        Self::refused(refusal, ErrorCode::UnableToCancelJobId)
    }

    /// A job that may not take another manifest.
    pub fn updating(refusal: &Refusal) -> Self {
        Self::refused(refusal, ErrorCode::UnableToUpdateJobId)
    }

    fn refused(refusal: &Refusal, unable: ErrorCode) -> Self {
        let code = match refusal {
            Refusal::Canceled(_) => ErrorCode::CanceledJobId,
            Refusal::Expired(_) => ErrorCode::ExpiredJobId,
            Refusal::State { .. }
            | Refusal::Leased { .. }
            | Refusal::NoDevice(_)
            | Refusal::Unfinished(_) => unable,
        };
        Self::new(code, format!("{refusal}. Look at GetStatus; create a new job to export again"))
    }
}

impl From<ferry_transfer::Error> for ApiError {
    fn from(error: ferry_transfer::Error) -> Self {
        tracing::error!(error = error.chain(), "the export service failed");
        let told =
            Self::new(ErrorCode::InternalFailure, "the service could not do its work; try again later");
        Self { cause: Some(error.chain()), ..told }
    }
}
