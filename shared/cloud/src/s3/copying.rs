//! Copies within the store: `CopyObject` and `UploadPartCopy`.
//!
//! Owns: how the source is named in a header, and which attributes a copy is told to write. Invariant: `x-amz-copy-source` names the
//! key byte for byte, whatever it is made of.

use std::time::Duration;

use aws_sdk_s3::types::{MetadataDirective, TaggingDirective};
use ferry_transfer::checksum::crc64_from_base64;
use ferry_transfer::store::{
    CarriedAttributes, CopyObjectRequest, CopyPartRequest, CopySource, PutResponse, UploadedPart,
};
use ferry_transfer::{Attributes, ETag, ErrorKind, Result, Support};

use super::attributes::to_headers;
use super::intercept::WriteHeaders;
use super::write::{condition, encryption};
use super::{ANSWER_TIMEOUT, S3Bucket, answered, encoding};

/// The slowest copy within a store that is still believed to be alive. The connection stays open until it is done (AWS, API
/// reference of `CopyObject`), which takes Amazon about a minute for 5 GiB.
const COPY_FLOOR_BYTES_PER_SEC: u64 = 8 << 20;
/// Longest wait for a copy of unknown size: as long as the largest that one request makes.
const COPY_TIMEOUT: Duration = Duration::from_mins(12);

impl S3Bucket {
    pub(super) async fn copy_one(&self, request: CopyObjectRequest) -> Result<PutResponse> {
        let place = self.place("CopyObject", Some(&request.key));
        let (attributes, directive) = match request.attributes {
            CarriedAttributes::Kept { storage_class, lock } => {
                (Attributes { storage_class, lock, ..Attributes::default() }, MetadataDirective::Copy)
            }
            CarriedAttributes::Replaced(attributes) => {
                (Attributes { tags: Vec::new(), ..*attributes }, MetadataDirective::Replace)
            }
        };
        let headers = to_headers(&attributes, self.posture()).map_err(|error| place.locate(error))?;
        let (if_match, if_none_match) = condition(&request.condition);
        let tags = self.profile().capabilities.tags.may().then_some(TaggingDirective::Copy);
        let call = self
            .client()
            .copy_object()
            .bucket(&self.name.bucket)
            .key(request.key.as_str())
            .copy_source(named(&request.source))
            .set_copy_source_if_match(request.source.if_match.as_ref().map(ETag::quoted))
            .metadata_directive(directive)
            .set_tagging_directive(tags)
            .set_if_match(if_match)
            .set_if_none_match(if_none_match)
            .customize()
            .interceptor(WriteHeaders::attributes(headers));
        let answer = answered(&place, limit(request.size_hint_bytes), call.send()).await?;
        let result = answer.copy_object_result();
        Ok(PutResponse {
            etag: result.and_then(|result| result.e_tag()).and_then(ETag::parse),
            version_id: answer.version_id().map(ToOwned::to_owned),
            encryption: encryption(answer.server_side_encryption(), answer.sse_customer_algorithm()),
            crc64_nvme: result.and_then(|result| result.checksum_crc64_nvme()).and_then(crc64_from_base64),
        })
    }

    pub(super) async fn copy_one_part(&self, request: CopyPartRequest) -> Result<UploadedPart> {
        let place = self.place("UploadPartCopy", Some(&request.key));
        let part_number = i32::try_from(request.part_number)
            .map_err(|_| place.error(ErrorKind::InvalidInput, "a part is numbered from 1 to 10,000"))?;
        let call = self
            .client()
            .upload_part_copy()
            .bucket(&self.name.bucket)
            .key(request.key.as_str())
            .upload_id(&request.upload_id.0)
            .part_number(part_number)
            .copy_source(named(&request.source))
            .copy_source_range(request.range.to_string())
            .set_copy_source_if_match(request.source.if_match.as_ref().map(ETag::quoted));
        let answer = answered(&place, limit(Some(request.range.length_bytes())), call.send()).await?;
        let result = answer.copy_part_result();
        let Some(etag) = result.and_then(|result| result.e_tag()).and_then(ETag::parse) else {
            return Err(
                place.error(ErrorKind::Transient, "the store copied a part without answering its ETag")
            );
        };
        Ok(UploadedPart {
            part_number: request.part_number,
            etag,
            crc64_nvme: result.and_then(|result| result.checksum_crc64_nvme()).and_then(crc64_from_base64),
        })
    }

    /// Whether the bucket serves a website: only then does the redirect of an object, which no copy within the store carries over,
    /// mean anything. `Unknown` where the store does not let us ask.
    pub async fn serves_website(&self) -> Support {
        let place = self.place("GetBucketWebsite", None);
        let call = self.client().get_bucket_website().bucket(&self.name.bucket);
        match answered(&place, ANSWER_TIMEOUT, call.send()).await {
            Ok(_) => Support::Yes,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Support::Unknown,
            Err(error) => {
                tracing::debug!(error = %error.chain(), "the bucket has no website configuration");
                Support::No
            }
        }
    }
}

/// `bucket/key?versionId=id`, percent-encoded (AWS, API reference of `CopyObject`).
fn named(source: &CopySource) -> String {
    let mut name = format!("{}/{}", encoding::path(&source.bucket), encoding::path(source.key.as_str()));
    if let Some(version_id) = &source.version_id {
        name.push_str("?versionId=");
        name.push_str(&encoding::path(version_id));
    }
    name
}

fn limit(size_hint_bytes: Option<u64>) -> Duration {
    match size_hint_bytes {
        Some(size_bytes) => ANSWER_TIMEOUT + Duration::from_secs(size_bytes / COPY_FLOOR_BYTES_PER_SEC),
        None => COPY_TIMEOUT,
    }
}
