//! Bodies on their way in.
//!
//! Owns: keeping chunks as they arrive and holding every checksum that came with them, in a header or behind the body,
//! against the bytes. Invariant: a body of which any declared checksum is wrong is refused whole.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ferry_transfer::checksum::crc64_to_base64;
use futures::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue};
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Sha1, Sha256};
use s3s::dto::StreamingBlob;
use s3s::{S3Error, S3Result, TrailingHeaders};

use super::attributes::{CRC32, CRC32C, CRC64NVME, SHA1, SHA256, text};
use super::refused::{broken_body, refused, with_code};
use crate::bucket::{ChecksumHeaders, Payload, PayloadBuilder, Refusal};

/// A body that arrived, with the checksum headers for the answer.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) payload: Payload,
    pub(super) checksums: HeaderMap,
}

/// Takes a body in and checks it.
pub(super) async fn receive(
    body: Option<StreamingBlob>,
    headers: &HeaderMap,
    trailers: Option<&TrailingHeaders>,
    rule: ChecksumHeaders,
) -> S3Result<Received> {
    let announced = text(headers, "x-amz-trailer")?.unwrap_or_default();
    let wanted = |name: &str| {
        headers.contains_key(name) || announced.split(',').any(|word| word.trim().eq_ignore_ascii_case(name))
    };
    let mut hasher = ChecksumHasher {
        crc32: wanted(CRC32).then(Crc32::new),
        crc32c: wanted(CRC32C).then(Crc32c::new),
        sha1: wanted(SHA1).then(Sha1::new),
        sha256: wanted(SHA256).then(Sha256::new),
        // The payload knows its own.
        crc64nvme: None,
    };
    let mut builder = PayloadBuilder::default();
    if let Some(mut body) = body {
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| broken_body(error.as_ref()))?;
            hasher.update(&chunk);
            builder.push(chunk);
        }
    }
    let payload = builder.finish();
    check_md5(headers, &payload)?;
    let found = hasher.finalize();
    let found = [
        (CRC64NVME, Some(crc64_to_base64(payload.crc64_nvme()))),
        (CRC32, found.checksum_crc32),
        (CRC32C, found.checksum_crc32c),
        (SHA1, found.checksum_sha1),
        (SHA256, found.checksum_sha256),
    ];
    let mut checksums = HeaderMap::new();
    for (name, value) in found {
        let Some(value) = value else { continue };
        let checked = wanted(name) && rule == ChecksumHeaders::Checked;
        if checked && declared(name, headers, trailers)? != value {
            return Err(refused(Refusal::BadDigest(name)));
        }
        if let Ok(value) = HeaderValue::try_from(value) {
            checksums.insert(HeaderName::from_static(name), value);
        }
    }
    Ok(Received { payload, checksums })
}

fn declared(name: &str, headers: &HeaderMap, trailers: Option<&TrailingHeaders>) -> S3Result<String> {
    if let Some(value) = text(headers, name)? {
        return Ok(value);
    }
    trailers
        .and_then(|trailers| trailers.read(|trailers| text(trailers, name)))
        .transpose()?
        .flatten()
        .ok_or_else(|| with_code("MalformedTrailerError", format!("the trailer {name} did not come")))
}

fn check_md5(headers: &HeaderMap, payload: &Payload) -> S3Result<()> {
    let Some(declared) = text(headers, "content-md5")? else {
        return Ok(());
    };
    let invalid = || -> S3Error { with_code("InvalidDigest", "the Content-MD5 is not one") };
    let declared: [u8; 16] =
        STANDARD.decode(declared).ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(invalid)?;
    if declared == payload.md5() { Ok(()) } else { Err(refused(Refusal::BadDigest("Content-MD5"))) }
}
