//! Object attributes and the headers that carry them.
//!
//! Owns: both directions, from raw headers rather than the SDK's typed fields: the SDK refuses non-ASCII values that stores hold,
//! insists that `Expires` is a date, and knows no header of another vendor. Invariant: what is read is what is written.

use std::collections::BTreeMap;

use aws_smithy_runtime_api::http::Headers;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use ferry_transfer::attribute_rules::{ObjectLock, RetentionMode};
use ferry_transfer::checksum::{Algorithm, Checksum, Coverage, DeclaredChecksum, crc64_from_base64};
use ferry_transfer::store::RestoreState;
use ferry_transfer::{
    Attributes, ByteRange, DeclaredChecksums, ETag, Encryption, Error, ErrorKind, ObjectHead, PartOfObject,
    Result, StorageClass,
};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{encoded_word, encoding};
use crate::profile::Posture;

const USER_METADATA: &str = "x-amz-meta-";

/// Headers to send, validated.
pub(super) type HeaderList = Vec<(String, String)>;

/// The headers that write these attributes.
///
/// # Errors
///
/// `InvalidInput` where a name or value cannot be a header.
pub(super) fn to_headers(attributes: &Attributes, posture: Posture) -> Result<HeaderList> {
    let Attributes {
        content_type,
        content_encoding,
        content_language,
        content_disposition,
        cache_control,
        expires,
        website_redirect,
        user_metadata,
        storage_class,
        lock,
        tags,
    } = attributes;
    let named = [
        ("content-type", content_type),
        ("content-encoding", content_encoding),
        ("content-language", content_language),
        ("content-disposition", content_disposition),
        ("cache-control", cache_control),
        ("expires", expires),
        ("x-amz-website-redirect-location", website_redirect),
    ];
    let mut headers: HeaderList =
        named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))).collect();
    if let Some(class) = storage_class.as_ref().filter(|class| !class.is_standard()) {
        headers.push(("x-amz-storage-class".to_owned(), class.to_string()));
    }
    headers.extend(lock_headers(*lock));
    if !tags.is_empty() {
        headers.push(("x-amz-tagging".to_owned(), encoding::tagging(tags)));
    }
    for (name, value) in user_metadata {
        // Amazon decodes RFC 2047 words before it stores a value; other stores keep the bytes they are sent.
        let value = match posture {
            Posture::Aws => encoded_word::encode(value),
            Posture::Compatible => value.clone(),
        };
        headers.push((format!("{USER_METADATA}{name}"), value));
    }
    for (name, value) in &headers {
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("{name:?} cannot be the name of a header"),
            ));
        }
        if http::HeaderValue::from_bytes(value.as_bytes()).is_err() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("the value of {name} has control characters and cannot be a header"),
            ));
        }
    }
    Ok(headers)
}

/// What the head of a GET or HEAD says.
///
/// # Errors
///
/// `Transient` where the size is missing, `InvalidInput` where a value that must travel is not UTF-8.
pub(super) fn to_head(headers: &Headers, posture: Posture) -> Result<ObjectHead> {
    let text = |name: &str| headers.get(name).map(ToOwned::to_owned);
    let size_bytes = match headers.get("content-range") {
        Some(range) => ByteRange::parse_content_range(range).map(|(_, total)| total),
        None => headers.get("content-length").and_then(|length| length.parse().ok()),
    }
    .ok_or_else(|| {
        Error::new(
            ErrorKind::Transient,
            "the answer does not say how large the object is: something between here and the store changes it",
        )
    })?;
    Ok(ObjectHead {
        size_bytes,
        etag: headers.get("etag").and_then(ETag::parse),
        version_id: text("x-amz-version-id").filter(|version| version != "null"),
        last_modified: headers.get("last-modified").and_then(http_date),
        attributes: Attributes {
            content_type: attribute(headers, "content-type")?,
            content_encoding: attribute(headers, "content-encoding")?
                .and_then(|value| without_aws_chunked(&value)),
            content_language: attribute(headers, "content-language")?,
            content_disposition: attribute(headers, "content-disposition")?,
            cache_control: attribute(headers, "cache-control")?,
            expires: attribute(headers, "expires")?,
            website_redirect: attribute(headers, "x-amz-website-redirect-location")?,
            user_metadata: user_metadata(headers, posture)?,
            storage_class: headers
                .get("x-amz-storage-class")
                .or_else(|| headers.get("x-oss-storage-class"))
                .and_then(StorageClass::parse)
                .filter(|class| !class.is_standard()),
            lock: lock(headers),
            tags: Vec::new(),
        },
        tag_count: headers.get("x-amz-tagging-count").and_then(|count| count.parse().ok()).unwrap_or(0),
        encryption: encryption(headers),
        restore: headers
            .get("x-amz-restore")
            .or_else(|| headers.get("x-oss-restore"))
            .map(RestoreState::parse)
            .unwrap_or_default(),
        checksums: checksums(headers),
        part: part(headers),
    })
}

/// The checksums that an answer declares of the whole object.
fn checksums(headers: &Headers) -> DeclaredChecksums {
    // Of a range that happens to be a part, Amazon tells the part's checksum. Alibaba's is always the whole object's.
    let own = |name: &str| headers.get(name).filter(|_| !headers.contains_key("content-range"));
    let of_alibaba = headers.get("x-oss-hash-crc64ecma").and_then(|crc| crc.parse::<u64>().ok());
    let of_alibaba = of_alibaba.and_then(|crc| Checksum::new(Algorithm::Crc64Xz, &crc.to_be_bytes()));
    let kind = own("x-amz-checksum-type");
    let of_amazon = Algorithm::ALL.into_iter().filter_map(|algorithm| {
        DeclaredChecksum::from_header(algorithm, own(checksum_header(algorithm)?)?, kind)
    });
    let whole = |checksum| DeclaredChecksum { checksum, coverage: Coverage::Whole };
    DeclaredChecksums {
        crc64_nvme: own("x-amz-checksum-crc64nvme").and_then(crc64_from_base64),
        other: of_alibaba
            .map(whole)
            .into_iter()
            .chain(of_amazon)
            .min_by_key(|declared| (declared.coverage != Coverage::Whole, declared.checksum.algorithm())),
    }
}

/// Amazon's header for it.
fn checksum_header(algorithm: Algorithm) -> Option<&'static str> {
    match algorithm {
        Algorithm::Crc64Xz => None,
        Algorithm::Crc32c => Some("x-amz-checksum-crc32c"),
        Algorithm::Crc32 => Some("x-amz-checksum-crc32"),
        Algorithm::Sha1 => Some("x-amz-checksum-sha1"),
        Algorithm::Sha256 => Some("x-amz-checksum-sha256"),
    }
}

/// The part that was asked about. Only an answer to such a question counts parts.
fn part(headers: &Headers) -> Option<PartOfObject> {
    let number = |name: &str| headers.get(name).and_then(|text| text.parse::<u64>().ok());
    Some(PartOfObject {
        size_bytes: number("content-length")?,
        parts: u32::try_from(number("x-amz-mp-parts-count")?).ok()?,
    })
}

const LOCK_MODE: &str = "x-amz-object-lock-mode";
const LOCK_UNTIL: &str = "x-amz-object-lock-retain-until-date";
const LEGAL_HOLD: &str = "x-amz-object-lock-legal-hold";

/// The headers that set a lock.
fn lock_headers(lock: ObjectLock) -> HeaderList {
    let mut headers = HeaderList::new();
    if let Some((mode, until)) = lock.retention
        && let Ok(until) = until.replace_nanosecond(0).unwrap_or(until).format(&Rfc3339)
    {
        headers.push((LOCK_MODE.to_owned(), mode.as_str().to_owned()));
        headers.push((LOCK_UNTIL.to_owned(), until));
    }
    if lock.legal_hold {
        headers.push((LEGAL_HOLD.to_owned(), "ON".to_owned()));
    }
    headers
}

/// The lock that an answer tells of.
fn lock(headers: &Headers) -> ObjectLock {
    let until = headers.get(LOCK_UNTIL).and_then(|until| OffsetDateTime::parse(until, &Rfc3339).ok());
    ObjectLock {
        retention: headers.get(LOCK_MODE).and_then(RetentionMode::parse).zip(until),
        legal_hold: headers.get(LEGAL_HOLD).is_some_and(|hold| hold.eq_ignore_ascii_case("ON")),
    }
}

/// Encryption at rest, from the headers of any answer about an object.
pub(super) fn encryption(headers: &Headers) -> Encryption {
    let with_kms = |name: &str| headers.get(name).is_some_and(|how| how.to_ascii_lowercase().contains("kms"));
    if headers.contains_key("x-amz-server-side-encryption-customer-algorithm") {
        Encryption::CustomerKey
    } else if with_kms("x-amz-server-side-encryption") || with_kms("x-oss-server-side-encryption") {
        Encryption::Kms
    } else {
        Encryption::StoreManaged
    }
}

fn attribute(headers: &Headers, name: &str) -> Result<Option<String>> {
    match headers.try_get(name) {
        None => Ok(None),
        Some(Ok(value)) => Ok(Some(value.to_owned())),
        Some(Err(_)) => Err(not_utf8(name)),
    }
}

fn user_metadata(headers: &Headers, posture: Posture) -> Result<BTreeMap<String, String>> {
    let mut metadata: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers.iter_bytes() {
        let Some(short) = name.strip_prefix(USER_METADATA) else {
            continue;
        };
        let value = std::str::from_utf8(value).map_err(|_| not_utf8(name))?;
        let value = match posture {
            Posture::Aws => encoded_word::decode(value),
            Posture::Compatible => value.to_owned(),
        };
        metadata
            .entry(short.to_owned())
            // Lines of one name are one list (RFC 9110, section 5.3).
            .and_modify(|earlier| *earlier = format!("{earlier},{value}"))
            .or_insert(value);
    }
    Ok(metadata)
}

fn not_utf8(name: &str) -> Error {
    Error::new(
        ErrorKind::InvalidInput,
        format!("the value of {name} is not UTF-8 and cannot be carried over unchanged"),
    )
}

/// `Content-Encoding` without the transfer framing that some writers leave in it.
fn without_aws_chunked(value: &str) -> Option<String> {
    if !value.to_ascii_lowercase().contains("aws-chunked") {
        return Some(value.to_owned());
    }
    let rest: Vec<&str> = value
        .split(',')
        .map(str::trim)
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    (!rest.is_empty()).then(|| rest.join(", "))
}

/// An HTTP date; `None` for anything else.
pub(super) fn http_date(text: &str) -> Option<OffsetDateTime> {
    to_time(&DateTime::from_str(text, Format::HttpDate).ok()?)
}

/// The SDK's time in the engine's type.
pub(super) fn to_time(time: &DateTime) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(time.as_nanos()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &[u8])]) -> Headers {
        let mut map = http::HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, http::HeaderValue::from_bytes(value).expect("value"));
        }
        Headers::try_from(map).expect("headers")
    }

    fn everything() -> Attributes {
        let text = |value: &str| Some(value.to_owned());
        Attributes {
            content_type: text("text/plain; charset=utf-8"),
            content_encoding: text("gzip"),
            content_language: text("de"),
            content_disposition: text("attachment; filename=\"年报.pdf\""),
            cache_control: text("no-cache"),
            expires: text("never"),
            website_redirect: text("/elsewhere"),
            user_metadata: [("author".to_owned(), "Łukasz 🗻".to_owned())].into(),
            storage_class: StorageClass::parse("STANDARD_IA"),
            lock: ObjectLock {
                retention: Some((RetentionMode::Governance, OffsetDateTime::UNIX_EPOCH)),
                legal_hold: true,
            },
            tags: Vec::new(),
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        for posture in [Posture::Aws, Posture::Compatible] {
            let written = to_headers(&everything(), posture).expect("headers");
            let mut map = http::HeaderMap::new();
            for (name, value) in written {
                map.append(
                    http::HeaderName::try_from(name).expect("name"),
                    http::HeaderValue::from_bytes(value.as_bytes()).expect("value"),
                );
            }
            map.append("content-length", http::HeaderValue::from_static("7"));
            let head = to_head(&Headers::try_from(map).expect("headers"), posture).expect("head");
            assert_eq!(head.attributes, everything(), "{posture:?}");
            assert_eq!(head.size_bytes, 7);
        }
    }

    #[test]
    fn every_fact_of_an_answer_is_read() {
        let head = to_head(
            &headers(&[
                ("content-length", b"100"),
                ("etag", b"\"ABC\""),
                ("last-modified", b"Tue, 15 Nov 1994 12:45:26 GMT"),
                ("content-encoding", b"aws-chunked, gzip"),
                ("x-amz-tagging-count", b"3"),
                ("x-amz-server-side-encryption", b"aws:kms:dsse"),
                ("x-amz-checksum-crc64nvme", b"rosUhgp5mIg="),
                ("x-amz-checksum-sha1", b"98PDHYCOBHMt+Wll/Mw0xHreNEE="),
                ("x-oss-hash-crc64ecma", b"5981764153023615706"),
                ("x-amz-storage-class", b"STANDARD"),
                ("x-amz-version-id", b"null"),
                ("x-amz-meta-a", b"1"),
                ("x-amz-meta-a", b"2"),
            ]),
            Posture::Compatible,
        )
        .expect("head");
        assert_eq!(head.size_bytes, 100);
        assert_eq!(head.etag, ETag::parse("abc"));
        assert_eq!(head.last_modified.map(OffsetDateTime::unix_timestamp), Some(784_903_526));
        assert_eq!(head.attributes.content_encoding.as_deref(), Some("gzip"));
        assert_eq!(head.tag_count, 3);
        assert_eq!(head.encryption, Encryption::Kms);
        assert_eq!(head.checksums.crc64_nvme, Some(0xAE8B_1486_0A79_9888));
        // Of two, the one that costs less.
        assert_eq!(of_alibaba(&head), Some(5_981_764_153_023_615_706));
        assert_eq!(head.attributes.storage_class, None);
        assert_eq!(head.version_id, None);
        assert_eq!(head.attributes.user_metadata["a"], "1,2");
    }

    #[test]
    fn bytes_that_no_text_can_hold_are_refused_and_never_altered() {
        let latin1 = headers(&[("content-length", b"1"), ("x-amz-meta-a", b"\xE9")]);
        let error = to_head(&latin1, Posture::Compatible).expect_err("not UTF-8");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("x-amz-meta-a"), "{error}");
    }

    #[test]
    fn an_answer_without_a_size_is_refused() {
        let error = to_head(&headers(&[("etag", b"\"a\"")]), Posture::Aws).expect_err("no size");
        assert_eq!(error.kind(), ErrorKind::Transient);
    }

    fn of_alibaba(head: &ObjectHead) -> Option<u64> {
        let declared = head.checksums.other_of_whole()?;
        assert_eq!(declared.algorithm(), Algorithm::Crc64Xz);
        Some(u64::from_be_bytes(declared.bytes().try_into().expect("eight bytes")))
    }

    #[test]
    fn the_whole_is_declared_better_than_its_parts() {
        let head = to_head(
            &headers(&[
                ("content-length", b"9"),
                ("x-amz-checksum-crc32c", b"4waSgw==-3"),
                ("x-amz-checksum-sha1", b"98PDHYCOBHMt+Wll/Mw0xHreNEE="),
            ]),
            Posture::Aws,
        );
        let declared = head.expect("head").checksums.other.expect("declared");
        assert_eq!((declared.checksum.algorithm(), declared.coverage), (Algorithm::Sha1, Coverage::Whole));
    }

    #[test]
    fn the_checksum_of_a_part_is_not_taken_for_the_objects() {
        let head = to_head(
            &headers(&[
                ("content-length", b"5"),
                ("content-range", b"bytes 5-9/100"),
                ("x-amz-checksum-crc64nvme", b"rosUhgp5mIg="),
                ("x-amz-checksum-crc32c", b"4waSgw=="),
                ("x-oss-hash-crc64ecma", b"7"),
            ]),
            Posture::Aws,
        )
        .expect("head");
        assert_eq!(head.checksums.crc64_nvme, None);
        // Alibaba's is always the whole object's.
        assert_eq!(of_alibaba(&head), Some(7));
    }

    #[test]
    fn framing_that_was_left_in_content_encoding_goes() {
        assert_eq!(without_aws_chunked("aws-chunked"), None);
        assert_eq!(without_aws_chunked("gzip,aws-chunked").as_deref(), Some("gzip"));
        assert_eq!(without_aws_chunked("gzip, br").as_deref(), Some("gzip, br"));
    }

    #[test]
    fn a_value_with_a_line_break_is_refused() {
        let attributes =
            Attributes { cache_control: Some("a\r\nx-amz-acl: public-read".into()), ..Attributes::default() };
        let error = to_headers(&attributes, Posture::Compatible).expect_err("line break");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}
