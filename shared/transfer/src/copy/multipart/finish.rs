//! The end of an upload: its parts become the object.
//!
//! Owns: the checks of what was written, and that completing twice ends well. Invariant: nothing appears at the destination
//! unless the source still is of the generation that was read.

use super::{Part, Upload};
use crate::copy::{Copier, CopyError, same_generation};
use crate::receipt::{Copied, ReadCheck, WriteCheck};
use crate::store::{CompleteUploadRequest, HeadRequest, PutResponse};
use crate::{ETag, Error, ErrorKind, ObjectHead, Support};

impl Copier {
    /// Completes the upload out of all its parts, ascending.
    pub(super) async fn finish(
        &self,
        upload: &Upload<'_>,
        mut parts: Vec<Part>,
    ) -> Result<Copied, CopyError> {
        let (crc64_nvme, read_check) = self.prove_read(upload, &mut parts).await?;
        upload.check_still_current().await?;
        let tags = self.tags(upload, &parts).await?;
        let complete = CompleteUploadRequest {
            key: upload.request.destination_key.clone(),
            upload_id: upload.id.clone(),
            parts: parts.iter().map(|part| part.uploaded.clone()).collect(),
            condition: upload.request.condition.clone(),
            size_bytes: upload.head.size_bytes,
            crc64_nvme: Some(crc64_nvme),
        };
        let written = match upload.route.destination.complete_upload(complete).await {
            Ok(written) => written,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                upload.completed_before(error, &parts).await?
            }
            Err(error) => {
                return Err(CopyError::at_conditional_write(error, &upload.request.destination_key));
            }
        };
        upload.tag(&written, &tags).await?;
        upload.conclude(&parts, crc64_nvme, written, read_check)
    }

    /// What the object is to be tagged with, sorted. The answer to a HEAD says nothing of tags on some stores, that to a GET does.
    async fn tags(&self, upload: &Upload<'_>, parts: &[Part]) -> Result<Vec<(String, String)>, CopyError> {
        let tag_count = parts.iter().filter_map(|part| part.tag_count).max();
        let mut tags = upload.tags.clone();
        if tags.is_empty() && upload.head.tag_count == 0 {
            tags = match tag_count {
                Some(0) => Vec::new(),
                Some(tag_count) => {
                    let head = ObjectHead { tag_count, ..upload.head.clone() };
                    self.attributes(upload.route, &upload.request.key, &head).await?.tags
                }
                None => upload.unannounced_tags().await?,
            };
        }
        tags.sort();
        Ok(tags)
    }
}

impl Upload<'_> {
    /// Tags of an object of which no part was read now, because all were there: nothing but asking tells.
    async fn unannounced_tags(&self) -> Result<Vec<(String, String)>, CopyError> {
        let (source, key) = (&self.route.source, &self.request.key);
        let both_have_tags =
            source.capabilities().tags.may() && self.route.destination.capabilities().tags.may();
        if !both_have_tags {
            return Ok(Vec::new());
        }
        match source.get_tags(key, self.head.version_id.as_deref()).await {
            Ok(tags) => Ok(tags),
            // Nobody is asked to hold a right for tags that no answer announces.
            Err(error) if error.is_permanent() => Ok(Vec::new()),
            Err(error) => Err(CopyError::at_source(error, key)),
        }
    }

    /// Looks once more before the object appears. Copying parts can take hours, and where the two ETags cannot be compared the
    /// date of the copy would hide a change that came meanwhile.
    async fn check_still_current(&self) -> Result<(), CopyError> {
        let key = &self.request.key;
        let head = self
            .route
            .source
            .head(self.request.look(self.route))
            .await
            .map_err(|error| CopyError::at_source(error, key))?;
        same_generation(Some(self.generation), &head)
    }

    /// Several stores accept the tags of an upload at its beginning and lose them (Ceph 16 does). Those are written once more,
    /// apart.
    async fn tag(&self, written: &PutResponse, tags: &[(String, String)]) -> Result<(), CopyError> {
        if tags.is_empty() {
            return Ok(());
        }
        let (store, key) = (&self.route.destination, &self.request.destination_key);
        let version_id = written.version_id.as_deref();
        let tagged = async {
            match store.get_tags(key, version_id).await {
                Ok(mut held) => {
                    held.sort();
                    if held == tags {
                        return Ok(());
                    }
                }
                // What Ceph 16 stored of an upload's tags, it cannot read: it answers 200 and nothing.
                Err(error) if error.status() == Some(200) => {}
                Err(error) => return Err(error),
            }
            store.put_tags(key, version_id, tags).await
        };
        tagged.await.map_err(|error| CopyError::at_destination(error, key))
    }

    /// The reply to an earlier completion may have been lost: then the upload is gone and the object is there.
    async fn completed_before(&self, error: Error, parts: &[Part]) -> Result<PutResponse, CopyError> {
        let key = &self.request.destination_key;
        let Ok(head) = self.route.destination.head(HeadRequest::of(key)).await else {
            return Err(CopyError::UploadGone(error.on_key(key.as_str())));
        };
        let etag_fits = match (&head.etag, self.expected_etag(parts)) {
            (Some(found), Some(expected)) => *found == expected,
            (Some(found), None) => found.parts() == u32::try_from(parts.len()).ok(),
            (None, _) => false,
        };
        if head.size_bytes != self.head.size_bytes || !etag_fits {
            return Err(CopyError::UploadGone(error.on_key(key.as_str())));
        }
        Ok(PutResponse {
            etag: head.etag,
            version_id: head.version_id,
            encryption: head.encryption,
            crc64_nvme: head.checksums.crc64_nvme,
        })
    }

    /// The multipart ETag by the usual rule, where every part's MD5 is known.
    fn expected_etag(&self, parts: &[Part]) -> Option<ETag> {
        if self.route.destination.capabilities().multipart_etag_is_md5_of_md5s == Support::No {
            return None;
        }
        let md5s: Option<Vec<[u8; 16]>> = parts.iter().map(|part| part.digests.md5).collect();
        Some(ETag::from_part_md5s(&md5s?))
    }

    fn conclude(
        &self,
        parts: &[Part],
        crc64_nvme: u64,
        written: PutResponse,
        read_check: ReadCheck,
    ) -> Result<Copied, CopyError> {
        if let Some(crc) = written.crc64_nvme
            && crc != crc64_nvme
        {
            let error = Error::new(
                ErrorKind::Corrupt,
                format!("the destination has CRC64NVME {crc:016x}, {crc64_nvme:016x} was sent"),
            );
            return Err(CopyError::Failed(error.on_key(self.request.destination_key.as_str())));
        }
        // Equal multipart ETags are equal bytes, end to end: each store hashed its own.
        let same_tag = written.etag.as_ref() == Some(self.generation) && self.generation.parts().is_some();
        let read_check =
            if same_tag && read_check == ReadCheck::Length { ReadCheck::Etag } else { read_check };
        let weakest_part = if parts.iter().all(|part| part.check == WriteCheck::Crc64) {
            WriteCheck::Crc64
        } else if parts.iter().all(|part| part.check != WriteCheck::Length) {
            WriteCheck::Etag
        } else {
            WriteCheck::Length
        };
        let write_check = match weakest_part {
            _ if written.crc64_nvme.is_some() => WriteCheck::Crc64,
            WriteCheck::Length if same_tag => WriteCheck::Etag,
            weakest => weakest,
        };
        Ok(Copied {
            size_bytes: self.head.size_bytes,
            source_etag: Some(self.generation.clone()),
            destination_etag: written.etag,
            version_id: written.version_id,
            read_check,
            write_check,
        })
    }
}
