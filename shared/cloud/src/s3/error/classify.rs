//! What each store's error codes mean for the engine.
//!
//! Owns: the one table from HTTP status and error code to [`ErrorKind`]. Sources: the S3 error code list, the AWS SDKs' throttle
//! lists, Alibaba's OSS error pages, and the codes that Ceph, MinIO, COS and OBS answered in tests or issue threads.

use ferry_transfer::ErrorKind;

use super::Refusal;

/// What can be done about an answer: by its code where that is known, else by its status.
pub(super) fn kind(status: u16, code: Option<&str>) -> ErrorKind {
    code.and_then(by_code).unwrap_or_else(|| by_status(status, code))
}

fn by_code(code: &str) -> Option<ErrorKind> {
    if code.starts_with("Throttl")
        || code.ends_with("RateLimitExceeded")
        || code.ends_with("QpsLimitExceeded")
    {
        return Some(ErrorKind::Throttled);
    }
    Some(match code {
        // `Throttled` is also the name of an OSS and an EC2 code; the prefix above covers Throttling and ThrottlingException.
        "SlowDown"
        | "SlowDownRead"
        | "SlowDownWrite"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "RequestLimitExceeded"
        | "TooManyRequests"
        | "TooManyRequestsException"
        | "BandwidthLimitExceeded"
        | "LimitExceededException"
        | "ProvisionedThroughputExceededException"
        | "PriorRequestNotComplete"
        | "TransactionInProgressException"
        | "EC2ThrottledException"
        | "ActiveRequestLimitExceeded"
        | "ServiceUnavailable" => ErrorKind::Throttled,

        "NoSuchKey" | "NoSuchUpload" | "NoSuchVersion" | "NotFound" | "SymlinkTargetNotExist" => ErrorKind::NotFound,

        "PreconditionFailed"
        | "ConditionalRequestConflict"
        | "OperationAborted"
        | "FileAlreadyExists"
        | "NotModified" => ErrorKind::PreconditionFailed,

        "InvalidObjectState" => ErrorKind::Archived,

        "BadDigest"
        | "InvalidDigest"
        | "XAmzContentSHA256Mismatch"
        | "XAmzContentChecksumMismatch"
        // A part that the store lost or altered: only uploading again heals it.
        | "InvalidPart" => ErrorKind::Corrupt,

        "NotImplemented" | "MethodNotAllowed" | "AccessControlListNotSupported" | "OperationNotSupported" => {
            ErrorKind::Unsupported
        }

        "NoSuchBucket"
        | "InvalidBucketName"
        | "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "InvalidSecurity"
        | "InvalidToken"
        | "ExpiredToken"
        | "TokenRefreshRequired"
        | "SecurityTokenExpired"
        | "RequestTimeTooSkewed"
        | "PermanentRedirect"
        | "TemporaryRedirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException"
        | "InvalidRegion"
        | "SecondLevelDomainForbidden"
        | "NonStandardHostForbidden"
        | "PublicEndpointForbidden"
        | "NotSignedUp"
        | "AccountProblem"
        | "UserDisable" => ErrorKind::Configuration,

        "AccessDenied" | "AllAccessDisabled" | "Forbidden" => ErrorKind::PermissionDenied,

        "RequestTimeout" | "InternalError" | "InternalServerError" | "IncompleteBody" => ErrorKind::Transient,

        "EntityTooLarge"
        | "EntityTooSmall"
        | "KeyTooLong"
        | "KeyTooLongError"
        | "InvalidArgument"
        | "InvalidRequest"
        | "InvalidObjectName"
        | "InvalidStorageClass"
        | "InvalidTag"
        | "InvalidRange"
        | "InvalidPartOrder"
        | "InvalidURI"
        | "MetadataTooLarge"
        | "MalformedXML"
        | "MissingContentLength"
        | "ApkDownloadForbidden"
        | "InvalidTargetType" => ErrorKind::InvalidInput,

        _ => return None,
    })
}

fn by_status(status: u16, code: Option<&str>) -> ErrorKind {
    match status {
        304 | 412 => ErrorKind::PreconditionFailed,
        // Two writers met; a 409 with a code that is not in the table is about something else.
        409 if code.is_none() => ErrorKind::PreconditionFailed,
        300..=399 => ErrorKind::Configuration,
        401 | 403 => ErrorKind::PermissionDenied,
        404 => ErrorKind::NotFound,
        405 | 501 => ErrorKind::Unsupported,
        429 | 503 => ErrorKind::Throttled,
        // 2xx: success in the status line and nothing that can be read as such behind it.
        200..=299 | 408 | 500..=599 => ErrorKind::Transient,
        400 | 411 | 413 | 414 | 416 => ErrorKind::InvalidInput,
        _ => ErrorKind::Other,
    }
}

/// Whether the request went to the wrong place. OSS says `AccessDenied` then, and names the right endpoint.
pub(super) fn is_misdirected(refusal: &Refusal<'_>) -> bool {
    refusal.code == Some("AccessDenied")
        && refusal.endpoint.is_some()
        && refusal.message.is_some_and(|message| message.contains("specified endpoint"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_the_table_has_its_kind() {
        use ErrorKind::{
            Archived, Configuration, Corrupt, InvalidInput, NotFound, Other, PermissionDenied,
            PreconditionFailed, Throttled, Transient, Unsupported,
        };
        let table: &[(u16, &str, ErrorKind)] = &[
            (503, "SlowDown", Throttled),
            (503, "ServiceUnavailable", Throttled),
            (429, "TooManyRequests", Throttled),
            (400, "ThrottlingException", Throttled),
            (400, "RequestLimitExceeded", Throttled),
            (503, "DownloadTrafficRateLimitExceeded", Throttled),
            (503, "UploadTrafficRateLimitExceeded", Throttled),
            (503, "MetaOperationQpsLimitExceeded", Throttled),
            (503, "TotalQpsLimitExceeded", Throttled),
            (503, "ActiveRequestLimitExceeded", Throttled),
            (404, "NoSuchKey", NotFound),
            (404, "NoSuchUpload", NotFound),
            (404, "NoSuchBucket", Configuration),
            (403, "InvalidAccessKeyId", Configuration),
            (403, "SignatureDoesNotMatch", Configuration),
            (400, "ExpiredToken", Configuration),
            (403, "RequestTimeTooSkewed", Configuration),
            (301, "PermanentRedirect", Configuration),
            (400, "AuthorizationHeaderMalformed", Configuration),
            (400, "IllegalLocationConstraintException", Configuration),
            (403, "SecondLevelDomainForbidden", Configuration),
            (400, "PublicEndpointForbidden", Configuration),
            (403, "AccessDenied", PermissionDenied),
            (403, "InvalidObjectState", Archived),
            (412, "PreconditionFailed", PreconditionFailed),
            (409, "ConditionalRequestConflict", PreconditionFailed),
            (409, "OperationAborted", PreconditionFailed),
            (409, "FileImmutable", Other),
            (501, "NotImplemented", Unsupported),
            (400, "NotImplemented", Unsupported),
            (400, "BadDigest", Corrupt),
            (400, "XAmzContentSHA256Mismatch", Corrupt),
            (400, "InvalidPart", Corrupt),
            (400, "EntityTooLarge", InvalidInput),
            (400, "KeyTooLongError", InvalidInput),
            (400, "MetadataTooLarge", InvalidInput),
            (400, "InvalidStorageClass", InvalidInput),
            (400, "SomethingNew", InvalidInput),
            (400, "RequestTimeout", Transient),
            (500, "InternalError", Transient),
            (502, "BadGateway", Transient),
        ];
        for (status, code, expected) in table {
            assert_eq!(kind(*status, Some(code)), *expected, "{status} {code}");
        }
    }

    #[test]
    fn an_answer_without_a_code_is_judged_by_its_status() {
        for (status, expected) in [
            (200, ErrorKind::Transient),
            (403, ErrorKind::PermissionDenied),
            (404, ErrorKind::NotFound),
            (412, ErrorKind::PreconditionFailed),
            (409, ErrorKind::PreconditionFailed),
            (304, ErrorKind::PreconditionFailed),
            (301, ErrorKind::Configuration),
            (405, ErrorKind::Unsupported),
            (503, ErrorKind::Throttled),
            (504, ErrorKind::Transient),
            (418, ErrorKind::Other),
        ] {
            assert_eq!(kind(status, None), expected, "{status}");
        }
    }

    #[test]
    fn no_status_but_404_is_not_found() {
        for status in (300..600).filter(|status| *status != 404) {
            assert_ne!(kind(status, None), ErrorKind::NotFound, "{status}");
        }
    }
}
