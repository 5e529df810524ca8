//! Google Cloud Storage through its XML API.
//!
//! Sources: Google's XML API reference, rclone's preset, zilliztech/milvus-storage 480.

use super::asked::Asked;
use super::{Manners, Rejection};
use crate::bucket::{BucketSettings, ChecksumHeaders, EtagRule, WriteConditions};
use crate::operation::Operation;

#[derive(Debug)]
pub(super) struct GoogleStorage;

impl Manners for GoogleStorage {
    fn settings(&self) -> BucketSettings {
        BucketSettings {
            etag_rule: EtagRule::OwnMultipart,
            write_conditions: WriteConditions::Ignored,
            checksum_headers: ChecksumHeaders::Overlooked,
            ..BucketSettings::default()
        }
    }

    fn reject(&self, asked: &Asked) -> Option<Rejection> {
        // Google rewrites Accept-Encoding before it checks the signature, and does not know aws-chunked.
        if asked.is_chunked() || asked.signs("accept-encoding") {
            return Some(Rejection::new(
                403,
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided.",
            ));
        }
        if asked.target.operation == Operation::DeleteObjects && !asked.headers.contains_key("content-md5") {
            return Some(Rejection::new(400, "InvalidRequest", "Missing required header: Content-MD5."));
        }
        let absent = asked.target.operation == Operation::UploadPartCopy
            || ["tagging", "versions", "restore", "attributes"].iter().any(|name| asked.query.has(name))
            || asked.headers.contains_key("x-amz-tagging");
        if absent {
            return Some(Rejection::new(400, "InvalidArgument", "Invalid argument."));
        }
        asked
            .header("x-amz-storage-class")
            .filter(|class| !["STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE"].contains(class))
            .map(|_| Rejection::new(400, "InvalidStorageClass", "The storage class is not valid."))
    }
}
