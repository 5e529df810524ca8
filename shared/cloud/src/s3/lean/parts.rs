//! A page of an upload's parts, from the store's XML.
//!
//! Owns: the document of `ListParts`. Read here and not by the SDK, which goes by the name of the root: moto writes
//! `ListPartsResponse` where Amazon writes `ListPartsResult`, and a listing that cannot be read would cost a killed upload all that
//! it had sent. Invariant: a document that is not such a listing, or not a whole one, is an error and never a short page.

use ferry_transfer::ETag;
use ferry_transfer::Result;
use ferry_transfer::checksum::crc64_from_base64;
use ferry_transfer::store::{ListPartsRequest, ListedPart, PartsPage};
use http::Method;

use super::address::query;
use super::xml::{Piece, Reader, XmlError};
use super::{Call, Lean};
use crate::s3::S3Bucket;
use crate::s3::uploads::PartsDocument;

const ROOTS: [&str; 2] = ["ListPartsResult", "ListPartsResponse"];

impl S3Bucket {
    pub(in crate::s3) async fn lean_parts(
        &self,
        lean: &Lean,
        request: ListPartsRequest,
    ) -> Result<PartsPage> {
        let place = self.place("ListParts", Some(&request.key));
        let page_size = request.page_size.map(|size| size.to_string());
        // Zero is the beginning; some stores refuse it when it is spelt out.
        let marker = (request.after > 0).then(|| request.after.to_string());
        let query = query([
            ("max-parts", page_size.as_deref()),
            ("part-number-marker", marker.as_deref()),
            ("uploadId", Some(request.upload_id.0.as_str())),
        ]);
        let call = Call::new(Method::GET, Some(&request.key), query);
        let document = lean.read(&place, call, "the listing of the upload's parts", read).await?;
        document.page(&place, request.after)
    }
}

fn read(document: &str) -> Result<PartsDocument, XmlError> {
    let mut reader = Reader::new(document);
    if !matches!(reader.next()?, Piece::Open(root) if ROOTS.contains(&root)) {
        return Err(reader.error("it is no listing of parts"));
    }
    let mut page = PartsDocument::default();
    loop {
        match reader.next()? {
            Piece::Open("Part") => page.parts.push(part(&mut reader)?),
            Piece::Open("IsTruncated") => page.truncated = reader.flag()?,
            Piece::Open("NextPartNumberMarker") => page.next_marker = reader.text()?.parse().ok(),
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

/// `None` where the store leaves out what a part must have.
fn part(reader: &mut Reader<'_>) -> Result<Option<ListedPart>, XmlError> {
    let (mut part_number, mut size_bytes, mut etag, mut crc64_nvme) = (None, None, None, None);
    loop {
        match reader.next()? {
            Piece::Open("PartNumber") => part_number = reader.text()?.parse().ok(),
            Piece::Open("Size") => size_bytes = reader.text()?.parse().ok(),
            Piece::Open("ETag") => etag = ETag::parse(&reader.text()?),
            Piece::Open("ChecksumCRC64NVME") => crc64_nvme = crc64_from_base64(&reader.text()?),
            Piece::Open(_) => reader.skip()?,
            Piece::Text(_) => {}
            Piece::Close => break,
            Piece::End => return Err(reader.error("it is cut off")),
        }
    }
    let named = part_number.zip(size_bytes).zip(etag);
    Ok(named.map(|((part_number, size_bytes), etag)| ListedPart {
        part_number,
        size_bytes,
        etag,
        crc64_nvme,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_under_either_root() {
        for root in ROOTS {
            let page = read(&format!(
                "<?xml version=\"1.0\"?>\n<{root} xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Key>k</Key>\
                 <NextPartNumberMarker>2</NextPartNumberMarker><IsTruncated>true</IsTruncated>\
                 <Part><PartNumber>1</PartNumber><ETag>&quot;A&quot;</ETag><Size>7</Size>\
                 <ChecksumCRC64NVME>AAAAAAAAAAE=</ChecksumCRC64NVME></Part>\
                 <Part><PartNumber>2</PartNumber><Size>7</Size></Part></{root}>"
            ))
            .expect("a page");
            let first = ListedPart {
                part_number: 1,
                size_bytes: 7,
                etag: ETag::parse("A").expect("tag"),
                crc64_nvme: Some(1),
            };
            let wanted =
                PartsDocument { parts: vec![Some(first), None], truncated: true, next_marker: Some(2) };
            assert_eq!(page, wanted);
        }
    }

    #[test]
    fn what_is_no_listing_of_parts_is_an_error() {
        for document in [
            "<html>busy</html>",
            "<ListPartsResult><Part><PartNumber>1</PartNumber>",
            "<ListPartsResult><IsTruncated>maybe</IsTruncated></ListPartsResult>",
            "<ListBucketResult></ListBucketResult>",
        ] {
            assert!(read(document).is_err(), "{document}");
        }
    }
}
