//! Why a bucket refuses a request, in S3's own words.
//!
//! Owns: the one table from reason to error code, HTTP status and what a caller can do. Sources: AWS, "Amazon S3 error
//! responses", and the error sections of the single operations.

use ferry_transfer::{Error, ErrorKind};

/// Why a bucket refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such object.
    #[error("the specified key does not exist")]
    NoSuchKey,
    /// The object has no such version, or it is a delete marker.
    #[error("the specified version does not exist")]
    NoSuchVersion,
    /// There is no such upload: completed, aborted or never begun.
    #[error("the specified multipart upload does not exist")]
    NoSuchUpload,
    /// A condition of the request did not hold.
    #[error("at least one of the preconditions did not hold")]
    PreconditionFailed,
    /// The caller has this generation already.
    #[error("not modified")]
    NotModified,
    /// The range lies outside the object.
    #[error("the requested range is not satisfiable")]
    InvalidRange,
    /// The object has no such part.
    #[error("the requested part number is not satisfiable")]
    InvalidPartNumber,
    /// The key is longer than the bucket takes.
    #[error("the key is too long")]
    KeyTooLong,
    /// A part named at completion is missing or of another generation.
    #[error("part {0} is missing, or its ETag or checksum is not the one given")]
    InvalidPart(u32),
    /// The parts named at completion do not ascend.
    #[error("the list of parts is not in ascending order")]
    InvalidPartOrder,
    /// A part other than the last is below the minimum.
    #[error("part {0} is smaller than the minimum allowed size")]
    PartTooSmall(u32),
    /// The completion names no part.
    #[error("the request names no part")]
    NoParts,
    /// The bytes are not those the named checksum stands for.
    #[error("the {0} given does not match the bytes received")]
    BadDigest(&'static str),
    /// The declared object size is not that of the parts.
    #[error("the object size given is not that of the parts")]
    WrongObjectSize,
    /// The object is archived and not restored.
    #[error("the operation is not valid for the object's storage class")]
    Archived,
    /// The object is encrypted with its writer's key, and none came.
    #[error(
        "the object was stored using a form of server-side encryption, and the correct parameters must be provided"
    )]
    CustomerKeyMissing,
    /// The object is encrypted with another key.
    #[error("the customer key is not the one the object was written with")]
    WrongCustomerKey,
    /// The object is encrypted with no customer's key, and one came.
    #[error("the encryption parameters are not applicable to this object")]
    CustomerKeyUnfit,
    /// A restore of the object is under way.
    #[error("object restore is already in progress")]
    RestoreInProgress,
    /// The bucket serves no website.
    #[error("the specified bucket does not have a website configuration")]
    NoSuchWebsite,
    /// A tag is too long, doubled, or one too many.
    #[error("the tags are not valid")]
    InvalidTag,
    /// Something else in the request makes no sense.
    #[error("{0}")]
    InvalidArgument(&'static str),
    /// A form of the request that S3 does not implement either.
    #[error("{0}")]
    NotImplemented(&'static str),
}

impl Refusal {
    /// S3's error code.
    pub fn code(self) -> &'static str {
        match self {
            Self::NoSuchKey => "NoSuchKey",
            Self::NoSuchVersion => "NoSuchVersion",
            Self::NoSuchUpload => "NoSuchUpload",
            Self::PreconditionFailed => "PreconditionFailed",
            Self::NotModified => "NotModified",
            Self::InvalidRange => "InvalidRange",
            Self::InvalidPartNumber => "InvalidPartNumber",
            Self::KeyTooLong => "KeyTooLongError",
            Self::InvalidPart(_) => "InvalidPart",
            Self::InvalidPartOrder => "InvalidPartOrder",
            Self::PartTooSmall(_) => "EntityTooSmall",
            Self::NoParts => "MalformedXML",
            Self::BadDigest(_) => "BadDigest",
            Self::WrongObjectSize | Self::CustomerKeyMissing | Self::CustomerKeyUnfit => "InvalidRequest",
            Self::WrongCustomerKey => "AccessDenied",
            Self::Archived => "InvalidObjectState",
            Self::RestoreInProgress => "RestoreAlreadyInProgress",
            Self::NoSuchWebsite => "NoSuchWebsiteConfiguration",
            Self::InvalidTag => "InvalidTag",
            Self::InvalidArgument(_) => "InvalidArgument",
            Self::NotImplemented(_) => "NotImplemented",
        }
    }

    /// The HTTP status that goes with it.
    pub fn status(self) -> u16 {
        match self {
            Self::NoSuchKey | Self::NoSuchVersion | Self::NoSuchUpload | Self::NoSuchWebsite => 404,
            Self::RestoreInProgress => 409,
            Self::PreconditionFailed => 412,
            Self::NotModified => 304,
            Self::InvalidRange | Self::InvalidPartNumber => 416,
            Self::Archived | Self::WrongCustomerKey => 403,
            Self::NotImplemented(_) => 501,
            _ => 400,
        }
    }

    /// What a caller can do about it.
    pub fn kind(self) -> ErrorKind {
        match self {
            Self::NoSuchKey | Self::NoSuchVersion | Self::NoSuchUpload => ErrorKind::NotFound,
            Self::PreconditionFailed | Self::NotModified => ErrorKind::PreconditionFailed,
            Self::BadDigest(_) => ErrorKind::Corrupt,
            Self::Archived => ErrorKind::Archived,
            Self::WrongCustomerKey => ErrorKind::PermissionDenied,
            Self::NotImplemented(_) => ErrorKind::Unsupported,
            _ => ErrorKind::InvalidInput,
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.kind(), refusal.to_string()).with_status(refusal.status()).with_code(refusal.code())
    }
}
