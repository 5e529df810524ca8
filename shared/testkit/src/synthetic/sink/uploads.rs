//! Uploads of parts to a sink.
//!
//! Owns: the number, size and ETag of every part that was taken, listing them, and the object they become. Invariant: some 60 bytes a
//! part, whatever its size.

use std::collections::BTreeMap;

use http::header::{ETAG, HeaderMap};
use http::{Response, StatusCode};

use super::{Received, SinkBucket, Tag, no_such_upload, set, set_crc};
use crate::bucket::PAGE_MAX;
use crate::error_document;
use crate::operation::{Query, Target};
use crate::synthetic::body::ResponseBody;

/// One open upload: its parts by number.
pub(super) type Upload = BTreeMap<u32, Part>;

/// A part that was taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    received: Received,
    tag: Tag,
}

impl SinkBucket {
    pub(super) fn create_upload(&self, target: &Target) -> Response<ResponseBody> {
        let mut state = self.state();
        let Tag::Number(number) = state.number() else {
            return no_such_upload();
        };
        let id = format!("upload-{number:012}");
        let document = format!(
            "<InitiateMultipartUploadResult><Bucket>{}</Bucket><UploadId>{id}</UploadId></InitiateMultipartUploadResult>",
            target.bucket
        );
        state.uploads.insert(id, Upload::new());
        error_document::xml(StatusCode::OK, document.into())
    }

    pub(super) fn upload_part(&self, query: &Query, received: Received) -> Response<ResponseBody> {
        let id = query.get("uploadId").unwrap_or_default();
        let number: u32 = query.get("partNumber").and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut state = self.state();
        let tag = match received.md5 {
            Some(md5) => Tag::Md5(md5),
            None => state.number(),
        };
        let Some(upload) = state.uploads.get_mut(id) else {
            return no_such_upload();
        };
        upload.insert(number, Part { received, tag });
        let mut response = Response::new(ResponseBody::default());
        set(&mut response, ETAG, &tag.quoted());
        set_crc(&mut response, received.crc64_nvme);
        response
    }

    /// At most a thousand of them, as S3 has it.
    pub(super) fn list_parts(&self, target: &Target, query: &Query) -> Response<ResponseBody> {
        let id = query.get("uploadId").unwrap_or_default();
        let number = |name| query.get(name).and_then(|text| text.parse::<u32>().ok());
        let after = number("part-number-marker").unwrap_or(0);
        let limit = number("max-parts").map_or(PAGE_MAX, |asked| PAGE_MAX.min(asked as usize));
        let state = self.state();
        let Some(upload) = state.uploads.get(id) else {
            return no_such_upload();
        };
        let mut left = upload.range(after.saturating_add(1)..);
        let mut listed = String::new();
        let mut last = after;
        for (number, part) in left.by_ref().take(limit) {
            last = *number;
            listed.push_str(&format!(
                "<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag><Size>{}</Size></Part>",
                error_document::escape(&part.tag.quoted()),
                part.received.size_bytes
            ));
        }
        let document = format!(
            "<ListPartsResult><Bucket>{}</Bucket><UploadId>{id}</UploadId><NextPartNumberMarker>{last}</NextPartNumberMarker>\
             <MaxParts>{limit}</MaxParts><IsTruncated>{}</IsTruncated>{listed}</ListPartsResult>",
            target.bucket,
            left.next().is_some()
        );
        error_document::xml(StatusCode::OK, document.into())
    }

    pub(super) fn complete_upload(
        &self,
        target: &Target,
        query: &Query,
        headers: &HeaderMap,
        document: &str,
    ) -> Response<ResponseBody> {
        let id = query.get("uploadId").unwrap_or_default();
        let mut state = self.state();
        if let Err(refusal) = state.check(&target.key, headers) {
            return *refusal;
        }
        let Some(upload) = state.uploads.get(id) else {
            return no_such_upload();
        };
        let named = part_numbers(document);
        let parts: Option<Vec<Part>> = named.iter().map(|number| upload.get(number).copied()).collect();
        let Some(parts) = parts.filter(|parts| !parts.is_empty()) else {
            return error_document::response(
                StatusCode::BAD_REQUEST,
                "InvalidPart",
                "One or more of the specified parts could not be found.",
            );
        };
        let md5s: Option<Vec<[u8; 16]>> = parts.iter().map(|part| part.received.md5).collect();
        let tag = match md5s {
            Some(md5s) => Tag::of_parts(&md5s),
            None => state.number(),
        };
        state.uploads.remove(id);
        let size_bytes = parts.iter().map(|part| part.received.size_bytes).sum();
        state.insert(&target.key, size_bytes, tag);
        let document = format!(
            "<CompleteMultipartUploadResult><Bucket>{}</Bucket><ETag>{}</ETag></CompleteMultipartUploadResult>",
            target.bucket,
            error_document::escape(&tag.quoted())
        );
        error_document::xml(StatusCode::OK, document.into())
    }
}

/// The part numbers of a `CompleteMultipartUpload` document, in its order.
fn part_numbers(document: &str) -> Vec<u32> {
    document
        .split("<PartNumber>")
        .skip(1)
        .filter_map(|rest| rest.split('<').next()?.trim().parse().ok())
        .collect()
}
