//! The errors of the endpoint, as they go on the wire.
//!
//! Owns: the shape name of the JSON protocol and, beside it, the legacy code of the query protocol, which SDKs prefer
//! where the `x-amzn-query-error` header carries one.

use axum::response::{IntoResponse, Response};
use ferry_transfer::{Error, ErrorKind};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

/// What SQS calls a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    BatchEntryIdsNotDistinct,
    BatchRequestTooLong,
    EmptyBatchRequest,
    InternalError,
    InvalidAttributeName,
    InvalidAttributeValue,
    InvalidBatchEntryId,
    InvalidMessageContents,
    InvalidParameterValue,
    MessageNotInflight,
    QueueDoesNotExist,
    QueueNameExists,
    ReceiptHandleIsInvalid,
    SerializationException,
    TooManyEntriesInBatchRequest,
    UnknownOperation,
}

impl Code {
    /// The name of the error's shape in the JSON protocol.
    fn shape(self) -> &'static str {
        match self {
            Self::BatchEntryIdsNotDistinct => "BatchEntryIdsNotDistinct",
            Self::BatchRequestTooLong => "BatchRequestTooLong",
            Self::EmptyBatchRequest => "EmptyBatchRequest",
            Self::InternalError => "InternalError",
            Self::InvalidAttributeName => "InvalidAttributeName",
            Self::InvalidAttributeValue => "InvalidAttributeValue",
            Self::InvalidBatchEntryId => "InvalidBatchEntryId",
            Self::InvalidMessageContents => "InvalidMessageContents",
            Self::InvalidParameterValue => "InvalidParameterValueException",
            Self::MessageNotInflight => "MessageNotInflight",
            Self::QueueDoesNotExist => "QueueDoesNotExist",
            Self::QueueNameExists => "QueueNameExists",
            Self::ReceiptHandleIsInvalid => "ReceiptHandleIsInvalid",
            Self::SerializationException => "SerializationException",
            Self::TooManyEntriesInBatchRequest => "TooManyEntriesInBatchRequest",
            Self::UnknownOperation => "UnknownOperationException",
        }
    }

    /// The code of the query protocol; also the code of a failed batch entry.
    pub(super) fn legacy(self) -> &'static str {
        match self {
            Self::BatchEntryIdsNotDistinct => "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
            Self::BatchRequestTooLong => "AWS.SimpleQueueService.BatchRequestTooLong",
            Self::EmptyBatchRequest => "AWS.SimpleQueueService.EmptyBatchRequest",
            Self::InvalidBatchEntryId => "AWS.SimpleQueueService.InvalidBatchEntryId",
            Self::MessageNotInflight => "AWS.SimpleQueueService.MessageNotInflight",
            Self::QueueDoesNotExist => "AWS.SimpleQueueService.NonExistentQueue",
            Self::TooManyEntriesInBatchRequest => "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
            Self::QueueNameExists => "QueueAlreadyExists",
            Self::InvalidParameterValue => "InvalidParameterValue",
            Self::UnknownOperation => "InvalidAction",
            Self::InternalError
            | Self::InvalidAttributeName
            | Self::InvalidAttributeValue
            | Self::InvalidMessageContents
            | Self::ReceiptHandleIsInvalid
            | Self::SerializationException => self.shape(),
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// A request, or an entry of a batch, that was not carried out.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    shape: String,
    legacy: String,
    message: String,
}

/// An entry of the `Failed` list of a batch's answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct FailedEntry {
    pub(super) id: String,
    pub(super) sender_fault: bool,
    pub(super) code: String,
    pub(super) message: String,
}

impl ApiError {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            status: code.status(),
            shape: code.shape().into(),
            legacy: code.legacy().into(),
            message: message.into(),
        }
    }

    /// A parameter outside of its range.
    pub(super) fn parameter(name: &str, value: impl std::fmt::Display, reason: &str) -> Self {
        Self::new(
            Code::InvalidParameterValue,
            format!("Value {value} for parameter {name} is invalid. Reason: {reason}"),
        )
    }

    /// A failure that a test asked for.
    pub(super) fn injected(status: StatusCode, code: String) -> Self {
        Self { status, shape: code.clone(), legacy: code, message: "Injected by the test.".into() }
    }

    pub(super) fn into_failed_entry(self, id: String) -> FailedEntry {
        FailedEntry {
            id,
            sender_fault: self.status.is_client_error(),
            code: self.legacy,
            message: self.message,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let side = if self.status.is_client_error() { "Sender" } else { "Receiver" };
        let body = serde_json::json!({
            "__type": format!("com.amazonaws.sqs#{}", self.shape),
            "message": self.message,
        });
        let mut response = (self.status, body.to_string()).into_response();
        if let Ok(value) = HeaderValue::from_str(&format!("{};{side}", self.legacy)) {
            response.headers_mut().insert("x-amzn-query-error", value);
        }
        response
    }
}

/// What the memory queue refuses.
impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let code = match error.code() {
            Some("ReceiptHandleIsInvalid") => Code::ReceiptHandleIsInvalid,
            Some("MessageNotInflight") => Code::MessageNotInflight,
            _ if error.kind() == ErrorKind::InvalidInput => Code::InvalidParameterValue,
            _ => Code::InternalError,
        };
        Self::new(code, error.chain())
    }
}

impl From<ApiError> for Error {
    fn from(error: ApiError) -> Self {
        Self::new(ErrorKind::InvalidInput, error.message).with_code(error.shape)
    }
}
