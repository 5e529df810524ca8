//! Cloudflare R2.
//!
//! Sources: Cloudflare's "S3 API compatibility", "Limits" and "Multipart upload" pages, rclone's preset, vectordotdev/vector 25803.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::asked::Asked;
use super::{Manners, Rejection};
use crate::bucket::{BucketSettings, EtagRule};
use crate::operation::Operation;

/// Sizes of the parts of every upload under way.
#[derive(Debug, Default)]
pub(super) struct CloudflareR2 {
    part_bytes: Mutex<BTreeMap<String, BTreeMap<u32, u64>>>,
}

/// Regions that a signature may name.
const REGIONS: [&str; 9] = ["auto", "us-east-1", "", "wnam", "enam", "weur", "eeur", "apac", "oc"];
/// "Limits": 8,192 bytes.
const USER_METADATA_BYTES_MAX: usize = 8192;

impl CloudflareR2 {
    fn parts_differ(&self, asked: &Asked) -> bool {
        let mut uploads = self.part_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(upload) = asked.query.get("uploadId") else {
            return false;
        };
        match asked.target.operation {
            Operation::UploadPart => {
                let number = asked.query.get("partNumber").and_then(|number| number.parse().ok());
                if let (Some(number), Some(bytes)) = (number, asked.body_bytes()) {
                    uploads.entry(upload.to_owned()).or_default().insert(number, bytes);
                }
                false
            }
            Operation::CompleteMultipartUpload => {
                let sizes: Vec<u64> =
                    uploads.get(upload).map(|parts| parts.values().copied().collect()).unwrap_or_default();
                let [first, middle @ .., last] = sizes.as_slice() else {
                    return false;
                };
                middle.iter().any(|size| size != first) || last > first
            }
            _ => false,
        }
    }
}

impl Manners for CloudflareR2 {
    fn settings(&self) -> BucketSettings {
        BucketSettings { etag_rule: EtagRule::OwnMultipart, ..BucketSettings::default() }
    }

    fn reject(&self, asked: &Asked) -> Option<Rejection> {
        if asked.region().is_some_and(|region| !REGIONS.contains(&region)) {
            return Some(Rejection::new(
                400,
                "InvalidRegionName",
                "The region name is not valid. Must be one of: wnam, enam, weur, eeur, apac, oc, auto",
            ));
        }
        if self.parts_differ(asked) {
            return Some(Rejection::new(
                400,
                "InvalidPart",
                "All non-trailing parts must have the same length.",
            ));
        }
        let absent =
            ["tagging", "versions", "acl", "restore", "attributes"].iter().any(|name| asked.query.has(name));
        let refused = ["x-amz-tagging", "x-amz-acl", "x-amz-object-lock-mode"];
        if absent || refused.iter().any(|name| asked.headers.contains_key(*name)) {
            return Some(Rejection::new(501, "NotImplemented", "This is not implemented."));
        }
        let checksums = asked
            .headers
            .keys()
            .filter(|name| {
                let name = name.as_str();
                name == "content-md5"
                    || (name.starts_with("x-amz-checksum-")
                        && name != "x-amz-checksum-algorithm"
                        && name != "x-amz-checksum-type"
                        && name != "x-amz-checksum-mode")
            })
            .count();
        if checksums > 1 {
            return Some(Rejection::new(
                400,
                "InvalidRequest",
                "You can only specify one non-default checksum at a time.",
            ));
        }
        if asked.user_metadata_bytes() > USER_METADATA_BYTES_MAX {
            return Some(Rejection::new(400, "MetadataTooLarge", "Your metadata headers exceed the limit."));
        }
        asked
            .header("x-amz-storage-class")
            .filter(|class| !["STANDARD", "STANDARD_IA"].contains(class))
            .map(|_| Rejection::new(400, "InvalidStorageClass", "The storage class is not valid."))
    }
}
