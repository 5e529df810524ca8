//! A page of a listing, from the store's XML straight into entries.
//!
//! Owns: both listing operations' documents, which differ in how they say where to go on. Invariant: a document that is not a
//! listing, or not a whole one, is an error and never a short page.

use std::borrow::Cow;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use ferry_transfer::{ETag, StorageClass};
use time::{Date, Month, OffsetDateTime, Time};

use super::xml::{Piece, Reader, XmlError};
use crate::s3::attributes::to_time;
use crate::s3::list::listed_class;

/// A page as the store wrote it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) objects: Vec<Listed>,
    pub(super) common_prefixes: Vec<String>,
    /// Keys, prefixes and markers are encoded for a URL.
    pub(super) encoded: bool,
    pub(super) truncated: bool,
    pub(super) next_token: Option<String>,
    pub(super) next_marker: Option<String>,
}

/// One object of a page. What is missing is `None`; what cannot be read is an error of the document.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) key: String,
    pub(super) size_bytes: Option<u64>,
    pub(super) etag: Option<ETag>,
    pub(super) last_modified: Option<OffsetDateTime>,
    pub(super) storage_class: Option<StorageClass>,
}

/// Reads a document.
pub(super) fn read(document: &str) -> Result<Document, XmlError> {
    let mut reader = Reader::new(document);
    let mut page = Document { objects: Vec::with_capacity(1000), ..Document::default() };
    if reader.next()? != Piece::Open("ListBucketResult") {
        return Err(reader.error("it is no listing"));
    }
    loop {
        match reader.next()? {
            Piece::Open("Contents") => page.objects.push(object(&mut reader)?),
            Piece::Open("CommonPrefixes") => common_prefix(&mut reader, &mut page.common_prefixes)?,
            Piece::Open("IsTruncated") => page.truncated = reader.flag()?,
            Piece::Open("EncodingType") => page.encoded = reader.text()? == "url",
            Piece::Open("NextContinuationToken") => page.next_token = present(reader.text()?),
            Piece::Open("NextMarker") => page.next_marker = present(reader.text()?),
            Piece::Open(_) => reader.skip()?,
            // White space between the elements.
            Piece::Text(_) => {}
            Piece::Close => break,
            Piece::End => return Err(reader.error("it is cut off")),
        }
    }
    match reader.next()? {
        Piece::End => Ok(page),
        _ => Err(reader.error("more than a listing")),
    }
}

fn object(reader: &mut Reader<'_>) -> Result<Listed, XmlError> {
    let mut object = Listed::default();
    loop {
        match reader.next()? {
            Piece::Open("Key") => object.key = reader.text()?.into_owned(),
            Piece::Open("Size") => {
                let size = reader.text()?.trim_ascii().parse();
                object.size_bytes = Some(size.map_err(|_| reader.error("no size"))?);
            }
            Piece::Open("ETag") => object.etag = ETag::parse(&reader.text()?),
            Piece::Open("LastModified") => {
                let text = reader.text()?;
                let time = parse_time(text.trim_ascii()).ok_or_else(|| reader.error("no date"))?;
                object.last_modified = Some(time);
            }
            Piece::Open("StorageClass") => {
                let class = reader.text()?;
                // Almost every object's.
                if class != "STANDARD" {
                    object.storage_class = listed_class(&class);
                }
            }
            Piece::Open(_) => reader.skip()?,
            Piece::Text(_) => {}
            Piece::Close => return Ok(object),
            Piece::End => return Err(reader.error("it is cut off")),
        }
    }
}

fn common_prefix(reader: &mut Reader<'_>, prefixes: &mut Vec<String>) -> Result<(), XmlError> {
    loop {
        match reader.next()? {
            Piece::Open("Prefix") => prefixes.push(reader.text()?.into_owned()),
            Piece::Open(_) => reader.skip()?,
            Piece::Text(_) => {}
            Piece::Close => return Ok(()),
            Piece::End => return Err(reader.error("it is cut off")),
        }
    }
}

fn present(text: Cow<'_, str>) -> Option<String> {
    (!text.is_empty()).then(|| text.into_owned())
}

/// A time of RFC 3339: the one form that stores write by arithmetic, which is ten times as fast, any other by the SDK.
fn parse_time(text: &str) -> Option<OffsetDateTime> {
    usual_time(text).or_else(|| to_time(&DateTime::from_str(text, Format::DateTimeWithOffset).ok()?))
}

/// `2026-01-02T03:04:05.678Z`, with any number of decimals up to nanoseconds.
fn usual_time(text: &str) -> Option<OffsetDateTime> {
    let bytes = text.as_bytes();
    let fits = text.is_ascii()
        && bytes.len() >= 20
        && (bytes[4], bytes[7], bytes[10], bytes[13], bytes[16]) == (b'-', b'-', b'T', b':', b':');
    if !fits {
        return None;
    }
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0_u32, |number, digit| {
            digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0'))
        })
    };
    let small = |digits: &[u8]| number(digits).and_then(|number| u8::try_from(number).ok());
    let decimals = bytes[19..].strip_suffix(b"Z")?;
    let nanos = match decimals.strip_prefix(b".") {
        None if decimals.is_empty() => 0,
        Some(digits @ [_, ..]) if digits.len() <= 9 => {
            number(digits)? * 10_u32.pow(9 - u32::try_from(digits.len()).ok()?)
        }
        _ => return None,
    };
    let year = i32::try_from(number(&bytes[..4])?).ok()?;
    let month = Month::try_from(small(&bytes[5..7])?).ok()?;
    let date = Date::from_calendar_date(year, month, small(&bytes[8..10])?).ok()?;
    let (hour, minute, second) = (small(&bytes[11..13])?, small(&bytes[14..16])?, small(&bytes[17..19])?);
    Some(date.with_time(Time::from_hms_nano(hour, minute, second, nanos).ok()?).assume_utc())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn everything_a_page_says_is_read() {
        let page = read(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <Name>b</Name><IsTruncated>true</IsTruncated><NextContinuationToken>T&amp;</NextContinuationToken>\n\
             <Contents><Key>a+b</Key><LastModified>2026-01-02T03:04:05.678Z</LastModified><ETag>&quot;E&quot;</ETag><Size>7</Size>\
             <Owner><ID>x</ID><DisplayName/></Owner><StorageClass>COLD</StorageClass></Contents>\
             <CommonPrefixes><Prefix>p%2F</Prefix></CommonPrefixes><EncodingType>url</EncodingType></ListBucketResult>",
        )
        .expect("a page");
        let listed = Listed {
            key: "a+b".into(),
            size_bytes: Some(7),
            etag: ETag::parse("E"),
            last_modified: OffsetDateTime::from_unix_timestamp_nanos(1_767_323_045_678_000_000).ok(),
            storage_class: StorageClass::parse("COLD"),
        };
        assert_eq!(
            page,
            Document {
                objects: vec![listed],
                common_prefixes: vec!["p%2F".into()],
                encoded: true,
                truncated: true,
                next_token: Some("T&".into()),
                next_marker: None,
            }
        );
    }

    #[test]
    fn what_is_no_listing_is_an_error() {
        for document in [
            "<html>busy</html>",
            "<Error><Code>SlowDown</Code></Error>",
            "<ListBucketResult><IsTruncated>maybe</IsTruncated></ListBucketResult>",
            "<ListBucketResult><Contents><Key>a</Key><Size>x</Size></Contents></ListBucketResult>",
            "<ListBucketResult><Contents><Key>a<b/></Key></Contents></ListBucketResult>",
            "<ListBucketResult><Contents><Key>a</Key><LastModified>then</LastModified></Contents></ListBucketResult>",
        ] {
            assert!(read(document).is_err(), "{document}");
        }
    }

    #[test]
    fn a_time_in_another_form_is_read_as_well() {
        let usual = parse_time("2026-01-02T03:04:05Z");
        assert!(usual.is_some());
        assert_eq!(parse_time("2026-01-02T04:04:05+01:00"), usual);
        assert_eq!(usual_time("2026-13-02T03:04:05Z"), None);
        assert_eq!(usual_time("2026-01-02T03:04:05.Z"), None);
    }

    proptest! {
        #[test]
        fn the_fast_way_reads_what_the_slow_way_reads(secs in 0..4_102_444_800_i64, nanos in 0..1_000_000_000_u32, digits in 0..10_usize) {
            let decimals = format!("{nanos:09}");
            let fraction = if digits == 0 { String::new() } else { format!(".{}", &decimals[..digits]) };
            let whole = DateTime::from_secs(secs).fmt(Format::DateTime).expect("a time");
            let text = format!("{}{fraction}Z", whole.trim_end_matches('Z'));
            let slow = DateTime::from_str(&text, Format::DateTime).ok().and_then(|time| to_time(&time));
            prop_assert!(slow.is_some());
            prop_assert_eq!(usual_time(&text), slow);
        }
    }
}
