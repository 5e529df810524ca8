//! Alibaba Cloud OSS through its S3-compatible API.
//!
//! Sources: Alibaba's "Compatibility with Amazon S3" (2026-03), OSS API reference and error pages, and issue threads of projects that
//! use AWS SDKs on OSS (apache/polaris 3346, apache/doris 58078).

use ferry_transfer::checksum::{Algorithm, Checksum};
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, StatusCode, response};

use super::asked::Asked;
use super::{Manners, Rejection};
use crate::bucket::{BadRange, BucketSettings, ChecksumHeaders, EtagRule, StoredObject, WriteConditions};
use crate::operation::Operation;

/// Hosts that a bucket's name stands in front of.
pub(super) const HOSTS: [&str; 3] = [
    "s3.oss-cn-hangzhou.aliyuncs.com",
    "oss-cn-hangzhou.aliyuncs.com",
    "s3.oss-cn-hangzhou-internal.aliyuncs.com",
];

/// Whether objects can be reached over the public hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PublicHosts {
    Open,
    Closed,
}

#[derive(Debug)]
pub(super) struct AliyunOss {
    pub(super) public_hosts: PublicHosts,
}

/// Below this, text is not worth compressing (`GetObject`, `Accept-Encoding`).
const COMPRESSED_FROM_BYTES: u64 = 1024;
/// "Object metadata": 8 KB.
const USER_METADATA_BYTES_MAX: usize = 8192;
/// "Object naming conventions".
const KEY_BYTES_MAX: usize = 1023;

impl AliyunOss {
    fn misaddressed(&self, asked: &Asked) -> Option<Rejection> {
        let is_public = HOSTS.iter().any(|host| asked.host.ends_with(host) && !host.contains("-internal"));
        let is_data = !matches!(
            asked.target.operation,
            Operation::ListBuckets
                | Operation::HeadBucket
                | Operation::CreateBucket
                | Operation::DeleteBucket
                | Operation::GetBucketLocation
        );
        if is_public && is_data && self.public_hosts == PublicHosts::Closed {
            return Some(Rejection {
                ec: Some("0048-00000401"),
                ..Rejection::new(
                    400,
                    "PublicEndpointForbidden",
                    "Please use a custom domain to access the bucket.",
                )
            });
        }
        (!asked.names_bucket && asked.target.operation != Operation::ListBuckets).then_some(Rejection {
            ec: Some("0003-00000301"),
            ..Rejection::new(403, "SecondLevelDomainForbidden", "Please use virtual hosted style to access.")
        })
    }

    fn unimplemented(asked: &Asked) -> Option<Rejection> {
        let absent = ["tagging", "versions", "versioning", "uploads", "restore", "attributes", "acl"]
            .iter()
            // Initiating an upload is a POST.
            .any(|name| asked.query.has(name) && !(*name == "uploads" && asked.method == http::Method::POST));
        if absent {
            return Some(Rejection::new(501, "NotImplemented", "The S3 operation is not supported."));
        }
        if asked.headers.contains_key("x-amz-tagging") {
            return Some(Rejection::new(
                400,
                "NotImplemented",
                "A header you provided implies functionality that is not implemented: x-amz-tagging.",
            ));
        }
        asked.has_write_condition().then_some(Rejection::new(
            400,
            "NotImplemented",
            "A header you provided implies functionality that is not implemented: If-Match or If-None-Match.",
        ))
    }

    fn unfit(asked: &Asked) -> Option<Rejection> {
        let writes = asked.method == http::Method::PUT || asked.method == http::Method::POST;
        let key = &asked.target.key;
        if key.len() > KEY_BYTES_MAX || key.starts_with(['/', '\\']) {
            return Some(Rejection {
                ec: Some("0016-00000001"),
                ..Rejection::new(400, "InvalidObjectName", "The specified object is not valid.")
            });
        }
        if writes && asked.user_metadata_bytes() > USER_METADATA_BYTES_MAX {
            return Some(Rejection::new(
                400,
                "InvalidArgument",
                "The total size of user metadata exceeds 8 KB.",
            ));
        }
        let plain = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if writes && asked.user_metadata().any(|(name, _)| !plain(name)) {
            return Some(Rejection::new(400, "InvalidArgument", "The name of user metadata is not valid."));
        }
        let class = asked.header("x-amz-storage-class");
        class.filter(|class| !["STANDARD", "STANDARD_IA", "GLACIER"].contains(class)).map(|_| {
            Rejection::new(400, "InvalidStorageClass", "The storage class you specified is not valid.")
        })
    }
}

impl Manners for AliyunOss {
    fn settings(&self) -> BucketSettings {
        BucketSettings {
            part_bytes_min: 100 << 10,
            key_bytes_max: KEY_BYTES_MAX,
            etag_rule: EtagRule::UpperCaseOwnMultipart,
            bad_range: BadRange::WholeObject,
            // Of a DELETE; a PUT that carries one is refused.
            write_conditions: WriteConditions::Ignored,
            checksum_headers: ChecksumHeaders::Overlooked,
            page_keys: 100,
            ..BucketSettings::default()
        }
    }

    fn reject(&self, asked: &Asked) -> Option<Rejection> {
        if let Some(rejection) = self.misaddressed(asked) {
            return Some(rejection);
        }
        if asked.has_trailer() {
            return Some(Rejection {
                ec: Some("0017-00000804"),
                ..Rejection::new(
                    400,
                    "InvalidArgument",
                    "aws-chunked encoding is not supported with the specified x-amz-content-sha256 value.",
                )
            });
        }
        if asked.target.operation == Operation::DeleteObjects && !asked.headers.contains_key("content-md5") {
            return Some(Rejection::new(
                400,
                "MissingArgument",
                "Missing Some Required Arguments: Content-MD5.",
            ));
        }
        Self::unimplemented(asked).or_else(|| Self::unfit(asked))
    }

    fn dress(&self, asked: &Asked, object: Option<&StoredObject>, head: &mut response::Parts) {
        let headers = &mut head.headers;
        if let Some(id) = headers.remove("x-amz-request-id") {
            headers.insert("x-oss-request-id", id);
        }
        // x-amz-checksum-* is neither kept nor told, tags are unknown.
        let foreign: Vec<HeaderName> = headers
            .keys()
            .filter(|name| {
                let name = name.as_str();
                name.starts_with("x-amz-checksum-")
                    || ["x-amz-tagging-count", "x-amz-mp-parts-count", "x-amz-version-id"].contains(&name)
            })
            .cloned()
            .collect();
        for name in foreign {
            headers.remove(name);
        }
        let reads = matches!(asked.target.operation, Operation::GetObject | Operation::HeadObject);
        let (true, true, Some(object)) = (reads, head.status.is_success(), object) else {
            return;
        };
        let crc = Checksum::of(Algorithm::Crc64Xz, &object.payload.to_bytes());
        if let Ok(crc) = crc.bytes().try_into().map(u64::from_be_bytes) {
            // Of the whole object, also where a range is answered; decimal.
            headers.insert("x-oss-hash-crc64ecma", HeaderValue::from(crc));
        }
        let kind = if object.part_sizes_bytes.is_empty() { "Normal" } else { "Multipart" };
        headers.insert("x-oss-object-type", HeaderValue::from_static(kind));
        let class = match object.attributes.storage_class.as_ref().map(ferry_transfer::StorageClass::as_str) {
            Some("STANDARD_IA") => "IA",
            Some("GLACIER") => "Archive",
            _ => "Standard",
        };
        headers.insert("x-oss-storage-class", HeaderValue::from_static(class));
    }

    fn rewrite(&self, asked: &Asked, status: StatusCode, document: String) -> String {
        if status.is_success() {
            return document;
        }
        let (host, code) = (&asked.host, document.contains("<EC>"));
        let ec = if code { "" } else { "<EC>0000-00000000</EC>" };
        document.replace(
            "</Error>",
            &format!("<RequestId>65B0F2C1A1B2C33031D4E5F6</RequestId><HostId>{host}</HostId>{ec}</Error>"),
        )
    }

    fn compresses(&self, asked: &Asked, head: &response::Parts) -> bool {
        let wanted = asked.header("accept-encoding").is_some_and(|codings| codings.contains("gzip"));
        let text =
            head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).is_some_and(|kind| {
                kind.starts_with("text/") || kind.contains("json") || kind.contains("xml")
            });
        let large = head
            .headers
            .get(http::header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<u64>().ok())
            .is_some_and(|length| length >= COMPRESSED_FROM_BYTES);
        asked.target.operation == Operation::GetObject
            && head.status == StatusCode::OK
            && wanted
            && text
            && large
            && !head.headers.contains_key(http::header::CONTENT_ENCODING)
    }
}
