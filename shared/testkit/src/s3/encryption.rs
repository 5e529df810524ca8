//! Encryption at rest, as headers ask for it and tell of it.
//!
//! Owns: reading what a request asks for or presents, and the headers of an answer. Invariant: a customer's key is checked against its
//! MD5 and forgotten.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ferry_transfer::checksum::{DigestSet, digest};
use http::{HeaderMap, HeaderName, HeaderValue};
use s3s::S3Result;

use super::attributes::text;
use super::refused::{refused, with_code};
use crate::bucket::{Refusal, StoredEncryption};

const ENCRYPTION: &str = "x-amz-server-side-encryption";
const KMS_KEY_ID: &str = "x-amz-server-side-encryption-aws-kms-key-id";
const CUSTOMER: &str = "x-amz-server-side-encryption-customer";
const COPY_CUSTOMER: &str = "x-amz-copy-source-server-side-encryption-customer";

/// How a write asks to be encrypted.
pub(super) fn asked(headers: &HeaderMap) -> S3Result<StoredEncryption> {
    let kind = text(headers, ENCRYPTION)?;
    match (presented(headers)?, kind.as_deref()) {
        (Some(_), Some(_)) => {
            Err(refused(Refusal::InvalidArgument("SSE-C and another encryption exclude one another")))
        }
        (Some(key_md5), None) => Ok(StoredEncryption::Customer { key_md5 }),
        (None, None) => Ok(StoredEncryption::Unasked),
        (None, Some("AES256")) => Ok(StoredEncryption::S3),
        (None, Some(kind @ ("aws:kms" | "aws:kms:dsse"))) => {
            Ok(StoredEncryption::Kms { kind: kind.to_owned(), key_id: text(headers, KMS_KEY_ID)? })
        }
        (None, Some(_)) => Err(refused(Refusal::InvalidArgument("there is no such encryption"))),
    }
}

/// The MD5 of the customer's key that came with a request.
pub(super) fn presented(headers: &HeaderMap) -> S3Result<Option<String>> {
    key_md5(headers, CUSTOMER)
}

/// The same of the key of a copy's source.
pub(super) fn presented_for_source(headers: &HeaderMap) -> S3Result<Option<String>> {
    key_md5(headers, COPY_CUSTOMER)
}

fn key_md5(headers: &HeaderMap, prefix: &str) -> S3Result<Option<String>> {
    let algorithm = text(headers, &format!("{prefix}-algorithm"))?;
    let key = text(headers, &format!("{prefix}-key"))?;
    let md5 = text(headers, &format!("{prefix}-key-md5"))?;
    let (algorithm, key, md5) = match (algorithm, key, md5) {
        (None, None, None) => return Ok(None),
        (Some(algorithm), Some(key), Some(md5)) => (algorithm, key, md5),
        _ => {
            let what = "requests with SSE-C must have an algorithm, a key and its MD5";
            return Err(refused(Refusal::InvalidArgument(what)));
        }
    };
    let key = STANDARD.decode(key).unwrap_or_default();
    let computed = digest(&key, DigestSet::MD5).md5.map(|md5| STANDARD.encode(md5));
    if algorithm != "AES256" || key.len() != 32 {
        return Err(refused(Refusal::InvalidArgument("the customer key is no AES-256 key")));
    }
    if computed.as_ref() != Some(&md5) {
        let what = "The calculated MD5 hash of the key did not match the hash that was provided.";
        return Err(with_code("InvalidArgument", what));
    }
    Ok(Some(md5))
}

/// Tells how an object is encrypted.
pub(super) fn tell(headers: &mut HeaderMap, encryption: &StoredEncryption) {
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    match encryption {
        StoredEncryption::Unasked => {}
        StoredEncryption::S3 => set(ENCRYPTION, "AES256"),
        StoredEncryption::Kms { kind, key_id } => {
            set(ENCRYPTION, kind);
            // The account's own key for S3 has a name as well.
            set(KMS_KEY_ID, key_id.as_deref().unwrap_or("arn:aws:kms:us-east-1:000000000000:key/s3"));
        }
        StoredEncryption::Customer { key_md5 } => {
            set("x-amz-server-side-encryption-customer-algorithm", "AES256");
            set("x-amz-server-side-encryption-customer-key-md5", key_md5);
        }
    }
}
