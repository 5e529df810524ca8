//! Multipart uploads.

use ferry_transfer::ETag;
use ferry_transfer::checksum::{crc64_from_base64, crc64_to_base64};
use http::{HeaderMap, HeaderName, HeaderValue};
use s3s::dto::{
    ChecksumType, CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart, CopyPartResult,
    ListMultipartUploadsInput, ListMultipartUploadsOutput, ListPartsInput, ListPartsOutput, MultipartUpload,
    Part, ServerSideEncryption, Timestamp, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput,
};
use s3s::{S3Request, S3Result, s3_error};

use super::attributes;
use super::backend::Backend;
use super::encryption;
use super::listings::{encoding, page_size, told};
use super::objects::{read_condition, write_condition};
use super::receive::receive;
use super::refused::refused;
use crate::bucket::{Completion, NamedPart, PAGE_MAX, Refusal, StoredEncryption, Written};

impl Backend {
    pub(super) fn create_upload(&self, bucket: &str, key: &str, headers: &HeaderMap) -> S3Result<String> {
        let written = Written {
            attributes: attributes::from_request(headers)?,
            encryption: encryption::asked(headers)?,
        };
        self.bucket(bucket)?.create_upload(key, written).map_err(refused)
    }

    /// Takes a part and answers with the headers that describe it.
    pub(super) async fn take_part(&self, request: S3Request<UploadPartInput>) -> S3Result<HeaderMap> {
        let input = request.input;
        let bucket = self.bucket(&input.bucket)?;
        let number = part_number(input.part_number)?;
        let encryption = bucket.upload_encryption(&input.key, &input.upload_id).map_err(refused)?;
        encryption.admits(encryption::presented(&request.headers)?.as_deref()).map_err(refused)?;
        let trailers = request.trailing_headers.as_ref();
        let rule = bucket.settings().checksum_headers;
        let received = receive(input.body, &request.headers, trailers, rule).await?;
        let part =
            bucket.upload_part(&input.key, &input.upload_id, number, received.payload).map_err(refused)?;
        let mut answer = received.checksums;
        if let Ok(etag) = HeaderValue::try_from(part.etag.quoted()) {
            answer.insert(http::header::ETAG, etag);
        }
        encryption::tell(&mut answer, &encryption);
        Ok(answer)
    }

    pub(super) fn copy_part(
        &self,
        request: &S3Request<UploadPartCopyInput>,
    ) -> S3Result<UploadPartCopyOutput> {
        let input = &request.input;
        let condition = read_condition(
            input.copy_source_if_match.as_ref(),
            input.copy_source_if_none_match.as_ref(),
            input.copy_source_if_modified_since.as_ref(),
            input.copy_source_if_unmodified_since.as_ref(),
        );
        let (_, _, source) = self.copy_source(&input.copy_source, &condition, &request.headers)?;
        let range = match &input.copy_source_range {
            None => 0..source.size_bytes(),
            Some(text) => {
                closed_range(text).filter(|range| range.end <= source.size_bytes()).ok_or_else(|| {
                    refused(Refusal::InvalidArgument(
                        "the x-amz-copy-source-range must be bytes=first-last within the object",
                    ))
                })?
            }
        };
        let payload = source.payload.slice(range).into_iter().collect();
        let number = part_number(input.part_number)?;
        let part = self
            .bucket(&input.bucket)?
            .upload_part(&input.key, &input.upload_id, number, payload)
            .map_err(refused)?;
        Ok(UploadPartCopyOutput {
            copy_part_result: Some(CopyPartResult {
                e_tag: Some(strong(&part.etag)),
                last_modified: Some(Timestamp::from(part.last_modified)),
                checksum_crc64nvme: Some(crc64_to_base64(part.payload.crc64_nvme())),
                ..CopyPartResult::default()
            }),
            ..UploadPartCopyOutput::default()
        })
    }

    pub(super) fn complete(
        &self,
        request: &S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<CompleteMultipartUploadOutput> {
        let input = &request.input;
        let parts =
            input.multipart_upload.as_ref().and_then(|upload| upload.parts.as_deref()).unwrap_or_default();
        let size_bytes = input
            .mpu_object_size
            .map(u64::try_from)
            .transpose()
            .map_err(|_| refused(Refusal::WrongObjectSize))?;
        let completion = Completion {
            parts: parts.iter().map(named_part).collect::<S3Result<_>>()?,
            condition: write_condition(&request.headers)?,
            size_bytes,
            crc64_nvme: crc64(input.checksum_crc64nvme.as_deref())?,
        };
        let object = self
            .bucket(&input.bucket)?
            .complete_upload(&input.key, &input.upload_id, &completion)
            .map_err(refused)?;
        Ok(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket.clone()),
            checksum_crc64nvme: Some(crc64_to_base64(object.payload.crc64_nvme())),
            checksum_type: Some(ChecksumType::from_static(ChecksumType::FULL_OBJECT)),
            e_tag: Some(strong(&object.etag)),
            key: told_key(&input.key),
            server_side_encryption: match &object.encryption {
                StoredEncryption::Kms { kind, .. } => Some(ServerSideEncryption::from(kind.clone())),
                StoredEncryption::S3 => Some(ServerSideEncryption::from_static(ServerSideEncryption::AES256)),
                _ => None,
            },
            version_id: object.version_id.clone(),
            ..CompleteMultipartUploadOutput::default()
        })
    }

    pub(super) fn list_parts(&self, input: ListPartsInput) -> S3Result<ListPartsOutput> {
        let parts = self.bucket(&input.bucket)?.parts(&input.key, &input.upload_id).map_err(refused)?;
        let after = input.part_number_marker.unwrap_or(0);
        let limit = page_size(input.max_parts, PAGE_MAX)?.min(PAGE_MAX);
        let mut left = parts
            .into_iter()
            .filter_map(|(number, part)| Some((i32::try_from(number).ok()?, part)))
            .filter(|(number, _)| *number > after);
        let listed: Vec<Part> = left
            .by_ref()
            .take(limit)
            .map(|(number, part)| Part {
                checksum_crc64nvme: Some(crc64_to_base64(part.payload.crc64_nvme())),
                e_tag: Some(strong(&part.etag)),
                last_modified: Some(Timestamp::from(part.last_modified)),
                part_number: Some(number),
                size: i64::try_from(part.payload.size_bytes()).ok(),
                ..Part::default()
            })
            .collect();
        Ok(ListPartsOutput {
            bucket: Some(input.bucket),
            is_truncated: Some(left.next().is_some()),
            key: told_key(&input.key),
            max_parts: i32::try_from(limit).ok(),
            next_part_number_marker: listed.last().and_then(|part| part.part_number),
            part_number_marker: Some(after),
            parts: Some(listed),
            upload_id: Some(input.upload_id),
            ..ListPartsOutput::default()
        })
    }

    pub(super) fn list_uploads(
        &self,
        input: ListMultipartUploadsInput,
    ) -> S3Result<ListMultipartUploadsOutput> {
        if input.delimiter.as_deref().is_some_and(|text| !text.is_empty()) {
            return Err(s3_error!(NotImplemented, "uploads are not rolled up by delimiter"));
        }
        let encoding = encoding(input.encoding_type.as_ref())?;
        let prefix = input.prefix.unwrap_or_default();
        let limit = page_size(input.max_uploads, PAGE_MAX)?.min(PAGE_MAX);
        let mut left = self
            .bucket(&input.bucket)?
            .open_uploads()
            .into_iter()
            .filter(|upload| upload.key.starts_with(&prefix))
            .filter(|upload| match (&input.key_marker, &input.upload_id_marker) {
                (None, _) => true,
                (Some(key), None) => upload.key > *key,
                (Some(key), Some(id)) => (&upload.key, &upload.upload_id) > (key, id),
            });
        let listed: Vec<_> = left.by_ref().take(limit).collect();
        let last = listed.last();
        Ok(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            encoding_type: told(encoding),
            is_truncated: Some(left.next().is_some()),
            key_marker: input.key_marker.as_deref().map(|key| encoding.write(key)),
            max_uploads: i32::try_from(limit).ok(),
            next_key_marker: last.map(|upload| encoding.write(&upload.key)),
            next_upload_id_marker: last.map(|upload| upload.upload_id.clone()),
            prefix: Some(encoding.write(&prefix)),
            upload_id_marker: input.upload_id_marker.clone(),
            uploads: Some(
                listed
                    .iter()
                    .map(|upload| MultipartUpload {
                        initiated: Some(Timestamp::from(upload.initiated)),
                        key: Some(encoding.write(&upload.key)),
                        upload_id: Some(upload.upload_id.clone()),
                        ..MultipartUpload::default()
                    })
                    .collect(),
            ),
            ..ListMultipartUploadsOutput::default()
        })
    }
}

/// The header that says a checksum is over the whole object.
pub(super) fn checksum_headers(headers: &HeaderMap) -> HeaderMap {
    let mut answer = HeaderMap::new();
    for name in ["x-amz-checksum-algorithm", "x-amz-checksum-type"] {
        if let Some(value) = headers.get(name) {
            answer.insert(HeaderName::from_static(name), value.clone());
        }
    }
    answer
}

/// A key as an XML document can hold it. S3's answers repeat the key; one that XML 1.0 has no form for is left out, since
/// the whole answer would be unreadable.
pub(super) fn told_key(key: &str) -> Option<String> {
    let representable =
        |char: char| matches!(char, '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..);
    key.chars().all(representable).then(|| key.to_owned())
}

fn strong(etag: &ETag) -> s3s::dto::ETag {
    s3s::dto::ETag::Strong(etag.as_str().to_owned())
}

fn part_number(number: i32) -> S3Result<u32> {
    u32::try_from(number)
        .map_err(|_| refused(Refusal::InvalidArgument("the part number must be between 1 and 10000")))
}

fn named_part(part: &CompletedPart) -> S3Result<NamedPart> {
    let number = part_number(part.part_number.unwrap_or(0))?;
    Ok(NamedPart {
        number,
        etag: part
            .e_tag
            .as_ref()
            .and_then(|tag| ETag::parse(tag.value()))
            .ok_or_else(|| refused(Refusal::InvalidPart(number)))?,
        crc64_nvme: crc64(part.checksum_crc64nvme.as_deref())?,
    })
}

fn crc64(text: Option<&str>) -> S3Result<Option<u64>> {
    text.map(|text| {
        crc64_from_base64(text)
            .ok_or_else(|| s3_error!(InvalidRequest, "Value for x-amz-checksum-crc64nvme header is invalid."))
    })
    .transpose()
}

/// Reads `bytes=first-last`.
fn closed_range(text: &str) -> Option<std::ops::Range<u64>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some(first..last.checked_add(1)?)
}
