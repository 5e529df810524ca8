//! Listing uploads of parts, and the parts of one.
//!
//! Owns: one page of either listing. Invariant: a page that goes on says where, and goes forward, or is an error: a listing of parts
//! that ended early would have parts sent again, one of uploads would leave them lying.

use aws_sdk_s3::types::{EncodingType, MultipartUpload, Part};
use ferry_transfer::checksum::crc64_from_base64;
use ferry_transfer::store::{
    ListPartsRequest, ListUploadsRequest, ListedPart, OpenUpload, PartsPage, UploadId, UploadPlace,
    UploadsPage,
};
use ferry_transfer::{ETag, ErrorKind, Key, Result};

use super::error::Place;
use super::list::text;
use super::{ANSWER_TIMEOUT, S3Bucket, answered, attributes};

impl S3Bucket {
    pub(super) async fn parts_page(&self, request: ListPartsRequest) -> Result<PartsPage> {
        let place = self.place("ListParts", Some(&request.key));
        let call = self
            .client()
            .list_parts()
            .bucket(&self.name.bucket)
            .key(request.key.as_str())
            .upload_id(&request.upload_id.0)
            // Zero is the beginning; some stores refuse it when it is spelt out.
            .set_part_number_marker((request.after > 0).then(|| request.after.to_string()))
            .set_max_parts(request.page_size.and_then(|size| i32::try_from(size).ok()));
        let answer = answered(&place, ANSWER_TIMEOUT, call.send()).await?;
        PartsDocument {
            parts: answer.parts().iter().map(listed).collect(),
            truncated: answer.is_truncated() == Some(true),
            next_marker: answer.next_part_number_marker().and_then(|marker| marker.parse().ok()),
        }
        .page(&place, request.after)
    }

    pub(super) async fn uploads_page(&self, request: ListUploadsRequest) -> Result<UploadsPage> {
        let place = self.place("ListMultipartUploads", None);
        let (key_marker, id_marker) = match &request.after {
            Some(place) => (Some(place.key.clone()), place.upload_id.as_ref().map(|id| id.0.clone())),
            None => (None, None),
        };
        let call = self
            .client()
            .list_multipart_uploads()
            .bucket(&self.name.bucket)
            .set_prefix((!request.prefix.is_empty()).then(|| request.prefix.clone()))
            .set_key_marker(key_marker)
            .set_upload_id_marker(id_marker)
            .set_max_uploads(request.page_size.and_then(|size| i32::try_from(size).ok()))
            .set_encoding_type(self.profile().list_url_encoding.then_some(EncodingType::Url));
        let answer = answered(&place, ANSWER_TIMEOUT, call.send()).await?;
        let encoded = answer.encoding_type() == Some(&EncodingType::Url);
        let uploads = answer
            .uploads()
            .iter()
            .map(|upload| open(&place, upload, encoded))
            .collect::<Result<Vec<_>>>()?;
        if answer.is_truncated() != Some(true) {
            return Ok(UploadsPage { uploads, next: None });
        }
        let next = match answer.next_key_marker().filter(|marker| !marker.is_empty()) {
            Some(marker) => Some(UploadPlace {
                key: text(&place, marker, encoded)?,
                upload_id: answer
                    .next_upload_id_marker()
                    .filter(|id| !id.is_empty())
                    .map(|id| UploadId(id.to_owned())),
            }),
            None => uploads.last().map(|last| UploadPlace {
                key: last.key.as_str().to_owned(),
                upload_id: Some(last.upload_id.clone()),
            }),
        };
        match next {
            Some(next) if Some(&next) != request.after.as_ref() => {
                Ok(UploadsPage { uploads, next: Some(next) })
            }
            _ => Err(place.error(ErrorKind::Unsupported, "the listing of uploads does not advance")),
        }
    }
}

/// A page of parts as the store wrote it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PartsDocument {
    /// `None` for a part without its number, size or ETag.
    pub(super) parts: Vec<Option<ListedPart>>,
    pub(super) truncated: bool,
    pub(super) next_marker: Option<u32>,
}

impl PartsDocument {
    /// The page, asked for from behind the part of that number.
    pub(super) fn page(self, place: &Place<'_>, after: u32) -> Result<PartsPage> {
        let parts = self.parts.into_iter().collect::<Option<Vec<_>>>().ok_or_else(|| {
            place.error(ErrorKind::Unsupported, "the store lists a part without its number, size or ETag")
        })?;
        if !self.truncated {
            return Ok(PartsPage { parts, next: None });
        }
        match self.next_marker.or_else(|| parts.last().map(|part| part.part_number)) {
            Some(next) if next > after => Ok(PartsPage { parts, next: Some(next) }),
            _ => {
                Err(place.error(ErrorKind::Unsupported, "the listing of the upload's parts does not advance"))
            }
        }
    }
}

fn listed(part: &Part) -> Option<ListedPart> {
    Some(ListedPart {
        part_number: u32::try_from(part.part_number()?).ok()?,
        size_bytes: u64::try_from(part.size()?).ok()?,
        etag: part.e_tag().and_then(ETag::parse)?,
        crc64_nvme: part.checksum_crc64_nvme().and_then(crc64_from_base64),
    })
}

fn open(place: &Place<'_>, upload: &MultipartUpload, encoded: bool) -> Result<OpenUpload> {
    let unnamed = || place.error(ErrorKind::Unsupported, "the store lists an upload without its key or id");
    let key = text(place, upload.key().ok_or_else(unnamed)?, encoded)?;
    Ok(OpenUpload {
        key: Key::new(key).map_err(|empty| unnamed().caused_by(empty))?,
        upload_id: UploadId(upload.upload_id().filter(|id| !id.is_empty()).ok_or_else(unnamed)?.to_owned()),
        initiated: upload.initiated().and_then(attributes::to_time),
    })
}
