//! Backblaze B2.
//!
//! Sources: boto/s3transfer 327 (`x-amz-sdk-checksum-algorithm` refused), rclone's preset, Backblaze's S3 API documentation.

use super::asked::Asked;
use super::{Manners, Rejection};
use crate::bucket::{BucketSettings, EtagRule, WriteConditions};

#[derive(Debug)]
pub(super) struct BackblazeB2;

/// About 7 KB of headers together.
const USER_METADATA_BYTES_MAX: usize = 7000;

impl Manners for BackblazeB2 {
    fn settings(&self) -> BucketSettings {
        BucketSettings {
            part_bytes_min: 5_000_000,
            etag_rule: EtagRule::OwnMultipart,
            write_conditions: WriteConditions::Ignored,
            ..BucketSettings::default()
        }
    }

    fn reject(&self, asked: &Asked) -> Option<Rejection> {
        if asked.has_header_like("x-amz-sdk-checksum-algorithm") || asked.has_header_like("x-amz-checksum-") {
            return Some(Rejection::new(
                400,
                "InvalidArgument",
                "Unsupported header 'x-amz-sdk-checksum-algorithm' received for this API call.",
            ));
        }
        if asked.query.has("tagging") || asked.headers.contains_key("x-amz-tagging") {
            return Some(Rejection::new(501, "NotImplemented", "Tags are not implemented."));
        }
        if asked.user_metadata_bytes() > USER_METADATA_BYTES_MAX {
            return Some(Rejection::new(400, "InvalidRequest", "The headers are too large."));
        }
        asked
            .header("x-amz-storage-class")
            .filter(|class| *class != "STANDARD")
            .map(|_| Rejection::new(400, "InvalidStorageClass", "The storage class is not valid."))
    }
}
