//! Writing and deleting objects, whole or in parts.
//!
//! Owns: which checksum travels how. Towards Amazon CRC64NVME always does: in a header where it is known or the body is in memory, else
//! in a trailer; a known MD5 joins it where the CRC is not known. Towards other stores a body is plain: CRC64NVME in a header where the profile says the store checks it, else
//! `Content-MD5` where it is known, else the SHA-256 that signs a body in memory.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart, ServerSideEncryption, Tag,
    Tagging,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ferry_transfer::checksum::{crc64_from_base64, crc64_to_base64};
use ferry_transfer::store::{
    BodyChecksum, CompleteUploadRequest, CreateUploadRequest, DeleteEffect, DeleteRequest, DeleteResponse,
    PutRequest, PutResponse, UploadId, UploadPartRequest, UploadedPart, WriteCondition,
};
use ferry_transfer::{Body, ETag, Encryption, ErrorKind, FaultHandle, Key, Result, Support};

use super::attributes::to_headers;
use super::error::Place;
use super::intercept::{Md5InsteadOfCrc32, WriteHeaders};
use super::upload_body::sdk_body;
use super::{ANSWER_TIMEOUT, Posture, S3Bucket, answered, upload_limit};
use crate::profile::PayloadSigning;

/// Completion may take minutes while the connection stays open (AWS, API reference of `CompleteMultipartUpload`): the store
/// assembles the object meanwhile.
const COMPLETE_TIMEOUT: Duration = Duration::from_mins(10);

/// The checksums of one request and whether its signature must cover the body too.
pub(super) struct Integrity {
    /// Names CRC64NVME as the algorithm, which makes the SDK compute what is not given.
    pub(super) algorithm: Option<ChecksumAlgorithm>,
    pub(super) crc64_nvme: Option<String>,
    pub(super) content_md5: Option<String>,
    pub(super) sign_body: bool,
}

/// A body ready to be sent.
struct Upload {
    body: ByteStream,
    length_bytes: i64,
    source_fault: FaultHandle,
    integrity: Integrity,
}

impl S3Bucket {
    pub(super) async fn put_object(&self, request: PutRequest) -> Result<PutResponse> {
        let place = self.place("PutObject", Some(&request.key));
        let headers = to_headers(&request.attributes, self.posture()).map_err(|error| place.locate(error))?;
        let limit = upload_limit(request.body.length_bytes());
        let upload = self.upload(&place, request.body, request.checksum)?;
        let (if_match, if_none_match) = condition(&request.condition);
        let mut call = self
            .client()
            .put_object()
            .bucket(&self.name.bucket)
            .key(request.key.as_str())
            .content_length(upload.length_bytes)
            .body(upload.body)
            .set_checksum_algorithm(upload.integrity.algorithm)
            .set_checksum_crc64_nvme(upload.integrity.crc64_nvme)
            .set_content_md5(upload.integrity.content_md5)
            .set_if_match(if_match)
            .set_if_none_match(if_none_match)
            .customize()
            .interceptor(WriteHeaders::attributes(headers));
        if !upload.integrity.sign_body {
            call = call.disable_payload_signing();
        }
        let answer = answered(&place, limit, call.send()).await;
        let answer = answer.map_err(|error| upload.source_fault.take().unwrap_or(error))?;
        Ok(PutResponse {
            etag: answer.e_tag().and_then(ETag::parse),
            version_id: answer.version_id().map(ToOwned::to_owned),
            encryption: encryption(answer.server_side_encryption(), answer.sse_customer_algorithm()),
            crc64_nvme: answer.checksum_crc64_nvme().and_then(crc64_from_base64),
        })
    }

    pub(super) async fn put_object_tagging(
        &self,
        key: &Key,
        version_id: Option<&str>,
        tags: &[(String, String)],
    ) -> Result<()> {
        let place = self.place("PutObjectTagging", Some(key));
        let tag_set: Option<Vec<Tag>> =
            tags.iter().map(|(name, value)| Tag::builder().key(name).value(value).build().ok()).collect();
        let tagging = Tagging::builder().set_tag_set(tag_set).build().map_err(|error| {
            place.error(ErrorKind::InvalidInput, "these cannot be an object's tags").caused_by(error)
        })?;
        let call = self
            .client()
            .put_object_tagging()
            .bucket(&self.name.bucket)
            .key(key.as_str())
            .set_version_id(version_id.map(ToOwned::to_owned))
            .tagging(tagging)
            .customize();
        let call = match self.posture() {
            Posture::Aws => call,
            Posture::Compatible => call.interceptor(Md5InsteadOfCrc32),
        };
        answered(&place, ANSWER_TIMEOUT, call.send()).await.map(drop)
    }

    pub(super) async fn create_multipart_upload(&self, request: CreateUploadRequest) -> Result<UploadId> {
        let place = self.place("CreateMultipartUpload", Some(&request.key));
        let headers = to_headers(&request.attributes, self.posture()).map_err(|error| place.locate(error))?;
        let checked = self.takes_crc64_nvme();
        let call = self
            .client()
            .create_multipart_upload()
            .bucket(&self.name.bucket)
            .key(request.key.as_str())
            .set_checksum_algorithm(checked.then_some(ChecksumAlgorithm::Crc64Nvme))
            .set_checksum_type(checked.then_some(ChecksumType::FullObject))
            .customize()
            .interceptor(WriteHeaders::attributes(headers));
        let answer = answered(&place, ANSWER_TIMEOUT, call.send()).await?;
        match answer.upload_id() {
            Some(id) if !id.is_empty() => Ok(UploadId(id.to_owned())),
            _ => Err(place.error(ErrorKind::Transient, "the store began an upload without naming it")),
        }
    }

    pub(super) async fn put_part(&self, request: UploadPartRequest) -> Result<UploadedPart> {
        let place = self.place("UploadPart", Some(&request.key));
        let part_number = i32::try_from(request.part_number)
            .map_err(|_| place.error(ErrorKind::InvalidInput, "a part is numbered from 1 to 10,000"))?;
        let limit = upload_limit(request.body.length_bytes());
        let upload = self.upload(&place, request.body, request.checksum)?;
        let mut call = self
            .client()
            .upload_part()
            .bucket(&self.name.bucket)
            .key(request.key.as_str())
            .upload_id(&request.upload_id.0)
            .part_number(part_number)
            .content_length(upload.length_bytes)
            .body(upload.body)
            .set_checksum_algorithm(upload.integrity.algorithm)
            .set_checksum_crc64_nvme(upload.integrity.crc64_nvme)
            .set_content_md5(upload.integrity.content_md5)
            .customize();
        if !upload.integrity.sign_body {
            call = call.disable_payload_signing();
        }
        let answer = answered(&place, limit, call.send()).await;
        let answer = answer.map_err(|error| upload.source_fault.take().unwrap_or(error))?;
        let Some(etag) = answer.e_tag().and_then(ETag::parse) else {
            return Err(place.error(ErrorKind::Transient, "the store took a part without answering its ETag"));
        };
        Ok(UploadedPart {
            part_number: request.part_number,
            etag,
            crc64_nvme: answer
                .checksum_crc64_nvme()
                .and_then(crc64_from_base64)
                .or(request.checksum.crc64_nvme),
        })
    }

    pub(super) async fn complete_multipart_upload(
        &self,
        request: CompleteUploadRequest,
    ) -> Result<PutResponse> {
        let place = self.place("CompleteMultipartUpload", Some(&request.key));
        let checked = self.takes_crc64_nvme();
        let (if_match, if_none_match) = condition(&request.condition);
        let parts = request.parts.iter().map(|part| completed(&place, part, checked));
        let call = self
            .client()
            .complete_multipart_upload()
            .bucket(&self.name.bucket)
            .key(request.key.as_str())
            .upload_id(&request.upload_id.0)
            .multipart_upload(
                CompletedMultipartUpload::builder().set_parts(Some(parts.collect::<Result<_>>()?)).build(),
            )
            .set_if_match(if_match)
            .set_if_none_match(if_none_match)
            .set_checksum_type(checked.then_some(ChecksumType::FullObject))
            .set_checksum_crc64_nvme(request.crc64_nvme.filter(|_| checked).map(crc64_to_base64))
            .set_mpu_object_size(match self.posture() {
                Posture::Aws => Some(signed(&place, request.size_bytes)?),
                Posture::Compatible => None,
            });
        let answer = answered(&place, COMPLETE_TIMEOUT, call.send()).await?;
        Ok(PutResponse {
            etag: answer.e_tag().and_then(ETag::parse),
            version_id: answer.version_id().map(ToOwned::to_owned),
            encryption: encryption(answer.server_side_encryption(), None),
            crc64_nvme: answer.checksum_crc64_nvme().and_then(crc64_from_base64),
        })
    }

    pub(super) async fn abort_multipart_upload(&self, key: &Key, upload_id: &UploadId) -> Result<()> {
        let place = self.place("AbortMultipartUpload", Some(key));
        let call = self
            .client()
            .abort_multipart_upload()
            .bucket(&self.name.bucket)
            .key(key.as_str())
            .upload_id(&upload_id.0);
        gone_or(answered(&place, ANSWER_TIMEOUT, call.send()).await.map(drop))
    }

    pub(super) async fn delete_object(&self, request: DeleteRequest) -> Result<DeleteResponse> {
        let place = self.place("DeleteObject", Some(&request.key));
        let call = self
            .client()
            .delete_object()
            .bucket(&self.name.bucket)
            .key(request.key.as_str())
            .set_version_id(request.version_id.clone())
            .set_if_match(request.if_match.as_ref().map(ETag::quoted));
        let deleted = answered(&place, ANSWER_TIMEOUT, call.send()).await;
        gone_or(deleted.map(|output| DeleteResponse {
            effect: match output.delete_marker() {
                // Without a version asked for, a marker in the answer is the one just made.
                Some(true) if request.version_id.is_none() => DeleteEffect::Marked,
                _ => DeleteEffect::Removed,
            },
            version_id: output.version_id,
        }))
    }

    fn upload(&self, place: &Place<'_>, body: Body, checksum: BodyChecksum) -> Result<Upload> {
        let in_memory = matches!(body, Body::Bytes(_));
        let length_bytes = signed(place, body.length_bytes())?;
        let integrity = self.integrity(checksum, in_memory);
        let (body, source_fault) = sdk_body(body);
        Ok(Upload { body, length_bytes, source_fault, integrity })
    }

    pub(super) fn integrity(&self, checksum: BodyChecksum, in_memory: bool) -> Integrity {
        let posture = self.posture();
        let crc64_nvme = checksum.crc64_nvme.filter(|_| self.takes_crc64_nvme()).map(crc64_to_base64);
        let content_md5 = checksum
            .md5
            .filter(|_| crc64_nvme.is_none() && self.profile().capabilities.content_md5.may())
            .map(|md5| STANDARD.encode(md5));
        let checked_md5 = content_md5.is_some() && self.profile().capabilities.content_md5 == Support::Yes;
        Integrity {
            algorithm: (posture == Posture::Aws).then_some(ChecksumAlgorithm::Crc64Nvme),
            // With another check on the bytes, hashing them a second time for the signature proves nothing more.
            sign_body: in_memory
                && posture == Posture::Compatible
                && self.profile().payload_signing == PayloadSigning::Signed
                && crc64_nvme.is_none()
                && !checked_md5,
            crc64_nvme,
            content_md5,
        }
    }

    fn takes_crc64_nvme(&self) -> bool {
        self.posture() == Posture::Aws || self.profile().capabilities.crc64_nvme == Support::Yes
    }
}

/// `If-Match` and `If-None-Match`.
pub(super) fn condition(condition: &WriteCondition) -> (Option<String>, Option<String>) {
    match condition {
        WriteCondition::None => (None, None),
        WriteCondition::Absent => (None, Some("*".to_owned())),
        WriteCondition::Matches(etag) => (Some(etag.quoted()), None),
    }
}

fn completed(place: &Place<'_>, part: &UploadedPart, checked: bool) -> Result<CompletedPart> {
    let part_number = i32::try_from(part.part_number)
        .map_err(|_| place.error(ErrorKind::InvalidInput, "a part is numbered from 1 to 10,000"))?;
    Ok(CompletedPart::builder()
        .part_number(part_number)
        .e_tag(part.etag.quoted())
        .set_checksum_crc64_nvme(part.crc64_nvme.filter(|_| checked).map(crc64_to_base64))
        .build())
}

fn signed(place: &Place<'_>, length_bytes: u64) -> Result<i64> {
    i64::try_from(length_bytes).map_err(|_| place.error(ErrorKind::InvalidInput, "no object is that large"))
}

/// What is already gone is as good as deleted.
fn gone_or<T: Default>(result: Result<T>) -> Result<T> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(T::default()),
        other => other,
    }
}

pub(super) fn encryption(how: Option<&ServerSideEncryption>, customer: Option<&str>) -> Encryption {
    if customer.is_some() {
        Encryption::CustomerKey
    } else if how.is_some_and(|how| how.as_str().to_ascii_lowercase().contains("kms")) {
        Encryption::Kms
    } else {
        Encryption::StoreManaged
    }
}
