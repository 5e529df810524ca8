//! Attributes to and from headers.
//!
//! Owns: reading what travels with an object's bytes from a request, and writing it into an answer. Invariants: values
//! come back as they were sent, `Expires` included, date or not; the framing word `aws-chunked` is never kept.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ferry_transfer::attribute_rules::{ObjectLock, RetentionMode};
use ferry_transfer::checksum::{Algorithm, Coverage, crc64_to_base64};
use ferry_transfer::store::RestoreState;
use ferry_transfer::{Attributes, StorageClass};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE,
    ETAG, EXPIRES, HeaderName, LAST_MODIFIED,
};
use http::{HeaderMap, HeaderValue};
use percent_encoding::percent_decode_str;
use s3s::S3Result;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::encryption;
use super::refused::{refused, with_code};
use crate::bucket::{Refusal, StoredObject};
use crate::http_date::http_date;

const META_PREFIX: &str = "x-amz-meta-";
pub(super) const TAGGING: &str = "x-amz-tagging";
pub(super) const CRC64NVME: &str = "x-amz-checksum-crc64nvme";
pub(super) const CRC32: &str = "x-amz-checksum-crc32";
pub(super) const CRC32C: &str = "x-amz-checksum-crc32c";
pub(super) const SHA1: &str = "x-amz-checksum-sha1";
pub(super) const SHA256: &str = "x-amz-checksum-sha256";

/// A header's text; `None` where there is none.
pub(super) fn text(headers: &HeaderMap, name: &str) -> S3Result<Option<String>> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    match std::str::from_utf8(value.as_bytes()) {
        Ok("") => Ok(None),
        Ok(text) => Ok(Some(text.to_owned())),
        Err(_) => Err(with_code("InvalidArgument", format!("the header {name} is not UTF-8"))),
    }
}

/// What a request says is to travel with the bytes.
pub(super) fn from_request(headers: &HeaderMap) -> S3Result<Attributes> {
    let mut attributes = Attributes {
        content_type: text(headers, CONTENT_TYPE.as_str())?,
        content_encoding: text(headers, CONTENT_ENCODING.as_str())?.and_then(without_framing),
        content_language: text(headers, CONTENT_LANGUAGE.as_str())?,
        content_disposition: text(headers, CONTENT_DISPOSITION.as_str())?,
        cache_control: text(headers, CACHE_CONTROL.as_str())?,
        expires: text(headers, EXPIRES.as_str())?,
        website_redirect: text(headers, "x-amz-website-redirect-location")?,
        storage_class: text(headers, "x-amz-storage-class")?.as_deref().and_then(StorageClass::parse),
        lock: lock(headers)?,
        tags: tags(text(headers, TAGGING)?.as_deref().unwrap_or_default())?,
        ..Attributes::default()
    };
    for name in headers.keys() {
        if let Some(short) = name.as_str().strip_prefix(META_PREFIX) {
            let value = text(headers, name.as_str())?.unwrap_or_default();
            attributes.user_metadata.insert(short.to_owned(), value);
        }
    }
    Ok(attributes)
}

const LOCK_MODE: &str = "x-amz-object-lock-mode";
const LOCK_UNTIL: &str = "x-amz-object-lock-retain-until-date";
const LEGAL_HOLD: &str = "x-amz-object-lock-legal-hold";

/// What a request says of the object's lock: mode and date come together or not at all.
fn lock(headers: &HeaderMap) -> S3Result<ObjectLock> {
    let mode = text(headers, LOCK_MODE)?.as_deref().and_then(RetentionMode::parse);
    let until = text(headers, LOCK_UNTIL)?.and_then(|until| OffsetDateTime::parse(&until, &Rfc3339).ok());
    if mode.is_some() != until.is_some() {
        return Err(refused(Refusal::InvalidArgument(
            "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied",
        )));
    }
    let legal_hold = text(headers, LEGAL_HOLD)?.as_deref() == Some("ON");
    Ok(ObjectLock { retention: mode.zip(until), legal_hold })
}

/// `Content-Encoding` without what only says how the request was framed.
fn without_framing(encoding: String) -> Option<String> {
    if !encoding.contains("aws-chunked") {
        return Some(encoding);
    }
    let kept: Vec<&str> = encoding
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty() && *word != "aws-chunked")
        .collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

/// Reads `x-amz-tagging`: pairs in the encoding of a query.
fn tags(header: &str) -> S3Result<Vec<(String, String)>> {
    let decode = |text: &str| {
        percent_decode_str(&text.replace('+', " "))
            .decode_utf8()
            .map(std::borrow::Cow::into_owned)
            .map_err(|_| refused(Refusal::InvalidTag))
    };
    header
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| Ok((decode(name)?, decode(value)?)))
        .collect()
}

/// Whether an answer says the whole object's checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChecksumMode {
    /// It was asked for, and the answer is about the whole object.
    Told,
    /// Otherwise.
    Silent,
}

/// What an answer says of an object.
pub(super) fn to_answer(object: &StoredObject, restore: RestoreState, checksum: ChecksumMode) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut set = |name: HeaderName, value: Option<&str>| {
        if let Some(value) = value.and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok()) {
            headers.insert(name, value);
        }
    };
    let known = HeaderName::from_static;
    let attributes = &object.attributes;
    // What S3 says of an object that was written without a type.
    let content_type = attributes.content_type.as_deref();
    set(CONTENT_TYPE, content_type.or(Some("binary/octet-stream")));
    set(CONTENT_ENCODING, attributes.content_encoding.as_deref());
    set(CONTENT_LANGUAGE, attributes.content_language.as_deref());
    set(CONTENT_DISPOSITION, attributes.content_disposition.as_deref());
    set(CACHE_CONTROL, attributes.cache_control.as_deref());
    set(EXPIRES, attributes.expires.as_deref());
    set(known("x-amz-website-redirect-location"), attributes.website_redirect.as_deref());
    let class = attributes.storage_class.as_ref().map(StorageClass::as_str);
    set(known("x-amz-storage-class"), class);
    for (name, value) in &attributes.user_metadata {
        if let Ok(name) = HeaderName::try_from(format!("{META_PREFIX}{name}")) {
            set(name, Some(&rfc2047(value)));
        }
    }
    if !attributes.tags.is_empty() {
        let count = attributes.tags.len().to_string();
        set(known("x-amz-tagging-count"), Some(&count));
    }
    if let Some((mode, until)) = attributes.lock.retention {
        set(known(LOCK_MODE), Some(mode.as_str()));
        set(known(LOCK_UNTIL), until.format(&Rfc3339).ok().as_deref());
    }
    if attributes.lock.legal_hold {
        set(known(LEGAL_HOLD), Some("ON"));
    }
    match restore {
        RestoreState::None => {}
        RestoreState::Ongoing => set(known("x-amz-restore"), Some("ongoing-request=\"true\"")),
        RestoreState::Done => {
            let ends = object.restore.map(|restore| http_date(restore.ends)).unwrap_or_default();
            let told = format!("ongoing-request=\"false\", expiry-date=\"{ends}\"");
            set(known("x-amz-restore"), Some(&told));
        }
    }
    set(ETAG, Some(&object.etag.quoted()));
    set(LAST_MODIFIED, Some(&http_date(object.last_modified)));
    set(ACCEPT_RANGES, Some("bytes"));
    if checksum == ChecksumMode::Told {
        let mut kind = None;
        if let Some(crc) = object.checksums.crc64_nvme {
            set(known(CRC64NVME), Some(&crc64_to_base64(crc)));
            kind = Some("FULL_OBJECT");
        }
        if let Some(declared) = object.checksums.other
            && let Some(name) = checksum_header(declared.checksum.algorithm())
        {
            set(known(name), Some(&declared.to_header()));
            kind = Some(if declared.coverage == Coverage::Whole { "FULL_OBJECT" } else { "COMPOSITE" });
        }
        set(known("x-amz-checksum-type"), kind);
    }
    encryption::tell(&mut headers, &object.encryption);
    headers
}

/// Amazon's header for a checksum.
fn checksum_header(algorithm: Algorithm) -> Option<&'static str> {
    match algorithm {
        Algorithm::Crc64Xz => None,
        Algorithm::Crc32c => Some(CRC32C),
        Algorithm::Crc32 => Some(CRC32),
        Algorithm::Sha1 => Some(SHA1),
        Algorithm::Sha256 => Some(SHA256),
    }
}

/// User metadata beyond ASCII comes back as an encoded word (AWS, "Working with object metadata").
fn rfc2047(value: &str) -> String {
    if value.is_ascii() { value.to_owned() } else { format!("=?UTF-8?B?{}?=", STANDARD.encode(value)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_framing_word_is_no_encoding() {
        let encoding = |text: &str| without_framing(text.to_owned());
        assert_eq!(encoding("gzip").as_deref(), Some("gzip"));
        assert_eq!(encoding("aws-chunked"), None);
        assert_eq!(encoding("aws-chunked, gzip").as_deref(), Some("gzip"));
        assert_eq!(encoding("gzip,aws-chunked").as_deref(), Some("gzip"));
    }

    #[test]
    fn tags_are_read_as_a_query() {
        let read = tags("a=b&c+d=%E6%97%A5&empty=").expect("tags");
        let expected = [("a", "b"), ("c d", "日"), ("empty", "")];
        assert_eq!(read, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert!(tags("a=%FF").is_err());
    }
}
