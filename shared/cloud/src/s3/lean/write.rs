//! PUT and `UploadPart`. Which checksum travels is [`super::super::write`]'s to say; here it is put into a header, or behind the body.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use ferry_transfer::checksum::{DigestSet, Hasher, crc64_from_base64, crc64_to_base64, digest};
use ferry_transfer::store::{BodyChecksum, PutRequest, PutResponse, UploadPartRequest, UploadedPart};
use ferry_transfer::{Body, ETag, ErrorKind, FaultHandle, Result};
use futures::{StreamExt as _, stream};
use http::Method;

use super::address::query;
use super::sign::{UNSIGNED_PAYLOAD, UNSIGNED_PAYLOAD_TRAILER, payload_sha256};
use super::{Answer, Call, Lean};
use crate::profile::Posture;
use crate::s3::attributes::{self, to_headers};
use crate::s3::error::Place;
use crate::s3::write::condition;
use crate::s3::{S3Bucket, upload_limit};
use crate::wire::RequestBody;

const CRC64_NVME: &str = "x-amz-checksum-crc64nvme";
const CONTENT_ENCODING: &str = "content-encoding";

impl S3Bucket {
    pub(in crate::s3) async fn lean_put(&self, lean: &Lean, request: PutRequest) -> Result<PutResponse> {
        let PutRequest { key, attributes, body, condition: wanted, checksum } = request;
        let place = self.place("PutObject", Some(&key));
        let headers = to_headers(&attributes, self.posture()).map_err(|error| place.locate(error))?;
        let (if_match, if_none_match) = condition(&wanted);
        let mut call = Call::new(Method::PUT, Some(&key), String::new())
            .header("if-match", if_match)
            .header("if-none-match", if_none_match);
        call.headers.extend(headers.into_iter().map(|(name, value)| (name.into(), value.into())));
        let answer = self.lean_upload(lean, &place, call, body, checksum).await?;
        Ok(PutResponse {
            etag: answer.headers.get("etag").and_then(ETag::parse),
            version_id: answer.headers.get("x-amz-version-id").map(ToOwned::to_owned),
            encryption: attributes::encryption(&answer.headers),
            crc64_nvme: answer.headers.get(CRC64_NVME).and_then(crc64_from_base64),
        })
    }

    pub(in crate::s3) async fn lean_part(
        &self,
        lean: &Lean,
        request: UploadPartRequest,
    ) -> Result<UploadedPart> {
        let UploadPartRequest { key, upload_id, part_number, body, checksum } = request;
        let place = self.place("UploadPart", Some(&key));
        let query =
            query([("partNumber", Some(part_number.to_string().as_str())), ("uploadId", Some(&upload_id.0))]);
        let call = Call::new(Method::PUT, Some(&key), query);
        let answer = self.lean_upload(lean, &place, call, body, checksum).await?;
        let Some(etag) = answer.headers.get("etag").and_then(ETag::parse) else {
            return Err(place.error(ErrorKind::Transient, "the store took a part without answering its ETag"));
        };
        let crc64_nvme = answer.headers.get(CRC64_NVME).and_then(crc64_from_base64).or(checksum.crc64_nvme);
        Ok(UploadedPart { part_number, etag, crc64_nvme })
    }

    async fn lean_upload(
        &self,
        lean: &Lean,
        place: &Place<'_>,
        call: Call<'_>,
        body: Body,
        checksum: BodyChecksum,
    ) -> Result<Answer> {
        let (call, source_fault) = self.with_body(call, body, checksum);
        lean.send(place, call).await.map_err(|error| source_fault.take().unwrap_or(error))
    }

    /// The request with its body and the body's checksum.
    fn with_body<'a>(
        &self,
        mut call: Call<'a>,
        body: Body,
        checksum: BodyChecksum,
    ) -> (Call<'a>, FaultHandle) {
        call.limit = upload_limit(body.length_bytes());
        let in_memory = matches!(body, Body::Bytes(_));
        let mut integrity = self.integrity(checksum, in_memory);
        if let (Posture::Aws, None, Body::Bytes(bytes)) = (self.posture(), &integrity.crc64_nvme, &body) {
            integrity.crc64_nvme = Some(crc64_to_base64(digest(bytes, DigestSet::default()).crc64_nvme));
        }
        let framed = self.posture() == Posture::Aws && integrity.crc64_nvme.is_none();
        call.payload_sha256 = match &body {
            Body::Bytes(bytes) if integrity.sign_body => payload_sha256(bytes),
            _ if framed => UNSIGNED_PAYLOAD_TRAILER.into(),
            _ => UNSIGNED_PAYLOAD.into(),
        };
        let (body, source_fault) = body.watched();
        let body = if framed {
            call = call
                .header("x-amz-trailer", Some(CRC64_NVME))
                .header("x-amz-decoded-content-length", Some(body.length_bytes().to_string()));
            frame_encoding(&mut call);
            framed_body(body)
        } else {
            body
        };
        call = call
            .header("x-amz-sdk-checksum-algorithm", integrity.algorithm.map(|_| "CRC64NVME"))
            .header(CRC64_NVME, integrity.crc64_nvme)
            .header("content-md5", integrity.content_md5)
            .header("content-length", Some(body.length_bytes().to_string()));
        call.body = RequestBody::from(body);
        (call, source_fault)
    }
}

/// Says that the body is framed, behind the object's own codings.
fn frame_encoding(call: &mut Call<'_>) {
    match call.headers.iter_mut().find(|(name, _)| name == CONTENT_ENCODING) {
        Some((_, codings)) => codings.to_mut().push_str(",aws-chunked"),
        None => call.headers.push((CONTENT_ENCODING.into(), Cow::Borrowed("aws-chunked"))),
    }
}

/// One chunk of the whole length, then the trailer: `aws-chunked` as AWS describes it under "Trailing checksums". Amazon wants
/// chunks of at least 8 KiB and sets no upper limit, and one chunk makes the length of the whole known in advance.
fn framed_body(body: Body) -> Body {
    const TRAILER_VALUE_CHARS: usize = 12;
    let length_bytes = body.length_bytes();
    let before = format!("{length_bytes:x}\r\n");
    let last_chunk = if length_bytes == 0 { "" } else { "\r\n0\r\n" };
    let trailer = move |crc: u64| format!("{last_chunk}{CRC64_NVME}:{}\r\n\r\n", crc64_to_base64(crc));
    let after_bytes =
        last_chunk.len() + CRC64_NVME.len() + ":".len() + TRAILER_VALUE_CHARS + "\r\n\r\n".len();
    let framed_bytes = (before.len() + after_bytes) as u64 + length_bytes;

    let hasher = Arc::new(Mutex::new(Hasher::new(DigestSet::default())));
    let data = match body {
        Body::Bytes(bytes) => stream::iter((!bytes.is_empty()).then_some(Ok(bytes))).boxed(),
        Body::Stream(stream) => stream.boxed(),
    };
    let hashing = Arc::clone(&hasher);
    let data = data.inspect(move |chunk| {
        if let Ok(chunk) = chunk {
            hashing.lock().unwrap_or_else(PoisonError::into_inner).update(chunk);
        }
    });
    let after = stream::once(async move {
        let crc = hasher.lock().unwrap_or_else(PoisonError::into_inner).finish().crc64_nvme;
        Ok(Bytes::from(trailer(crc)))
    });
    Body::stream(framed_bytes, stream::once(async { Ok(Bytes::from(before)) }).chain(data).chain(after))
}
