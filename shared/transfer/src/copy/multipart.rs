//! An object in parts: ranged reads streamed into part writes, in parallel, none of them held in memory.
//!
//! Owns: one upload from its beginning to its completion or its abort. Invariants: every ranged read names the generation, so
//! parts of two generations never meet in one object; the source's own part boundaries are used where they can be guessed, so
//! that ETags agree; an upload that comes to nothing is aborted.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use super::{Copier, CopyError, CopyRequest, same_generation};
use crate::checksum::{DigestSet, Digests, combine_crc64_nvme, combine_crc64_xz};
use crate::receipt::{Copied, ReadCheck, WriteCheck};
use crate::retry::Retries;
use crate::route::Route;
use crate::store::{
    BodyChecksum, CompleteUploadRequest, CreateUploadRequest, GetRequest, HeadRequest, PutResponse, UploadId,
    UploadPartRequest, UploadedPart,
};
use crate::{ByteRange, ETag, ETagCheck, Encryption, Error, ErrorKind, ObjectHead, PartPlan, Support};

/// One upload under way.
struct Upload<'a> {
    route: &'a Arc<Route>,
    request: &'a CopyRequest,
    head: &'a ObjectHead,
    generation: &'a ETag,
    id: UploadId,
    /// The tags it was begun with.
    tags: Vec<(String, String)>,
    digests: DigestSet,
}

/// A part that is at the destination, and what is known of it.
struct Part {
    uploaded: UploadedPart,
    digests: Digests,
    check: WriteCheck,
    /// How many tags its read said that the source object has.
    tag_count: u32,
}

impl Copier {
    pub(super) async fn copy_in_parts(
        &self,
        route: &Arc<Route>,
        request: CopyRequest,
    ) -> Result<Copied, CopyError> {
        let head = route
            .source
            .head(HeadRequest::of(&request.key))
            .await
            .map_err(|error| CopyError::at_source(error, &request.key))?;
        same_generation(request.generation.as_ref(), &head)?;
        let fail = |error: Error| CopyError::Failed(error.on_key(request.key.as_str()));
        let Some(generation) = &head.etag else {
            return Err(fail(Error::new(
                ErrorKind::Unsupported,
                "the source gives no ETag: an object read in several ranges could not be proven to be of one generation",
            )));
        };
        let limits = route.destination.capabilities();
        let plan = self
            .settings
            .parts(head.size_bytes, Some(generation), limits)
            .unwrap_or_else(|| PartPlan::new(head.size_bytes, self.settings.part_bytes, limits))
            .map_err(|error| fail(Error::new(ErrorKind::InvalidInput, error.to_string())))?;
        let attributes = self.attributes(route, &request.key, &head).await?;
        let tags = attributes.tags.clone();
        let create = CreateUploadRequest { key: request.destination_key.clone(), attributes };
        let id = route
            .destination
            .create_upload(create)
            .await
            .map_err(|error| CopyError::at_destination(error, &request.destination_key))?;

        let destination_says_crc = limits.crc64_nvme == Support::Yes;
        let digests = DigestSet {
            md5: !destination_says_crc && route.destination_etags.wants_md5(),
            crc64_xz: head.checksums.crc64_xz.is_some(),
        };
        let upload = Upload { route, request: &request, head: &head, generation, id, tags, digests };
        match self.run(&upload, plan).await {
            Ok(copied) => Ok(copied),
            Err(error) => {
                if let Err(left) = route.destination.abort_upload(&request.destination_key, &upload.id).await
                {
                    tracing::warn!(key = ?request.destination_key, upload = upload.id.0, error = %left.chain(),
                        "an upload that came to nothing could not be aborted and keeps costing storage");
                }
                Err(error)
            }
        }
    }

    async fn run(&self, upload: &Upload<'_>, plan: PartPlan) -> Result<Copied, CopyError> {
        let mut parts: Vec<Part> = stream::iter(plan.parts())
            .map(|(number, range)| self.copy_part(upload, number, range))
            .buffer_unordered(self.settings.parts_in_flight.max(1))
            .try_collect()
            .await?;
        parts.sort_unstable_by_key(|part| part.uploaded.part_number);

        let (crc64_nvme, read_check) = upload.check_read(&parts)?;
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
        let tag_count = parts.iter().map(|part| part.tag_count).max().unwrap_or(0);
        let mut tags = upload.tags.clone();
        if tags.is_empty() && upload.head.tag_count == 0 && tag_count > 0 {
            let head = ObjectHead { tag_count, ..upload.head.clone() };
            tags = self.attributes(upload.route, &upload.request.key, &head).await?.tags;
        }
        tags.sort();
        Ok(tags)
    }

    /// One part, read and written until it is there or cannot be.
    async fn copy_part(&self, upload: &Upload<'_>, number: u32, range: ByteRange) -> Result<Part, CopyError> {
        let mut retries = Retries::new(&self.settings.backoff, self.clock.as_ref());
        loop {
            let attempt = {
                let _stream = self.stream_permit().await?;
                upload.try_part(number, range).await
            };
            match attempt {
                Err(CopyError::Failed(error)) => retries.pause(error).await.map_err(CopyError::Failed)?,
                done => return done,
            }
        }
    }
}

impl Upload<'_> {
    async fn try_part(&self, number: u32, range: ByteRange) -> Result<Part, CopyError> {
        let (key, destination_key) = (&self.request.key, &self.request.destination_key);
        let get = GetRequest {
            key: key.clone(),
            if_match: Some(self.generation.clone()),
            // The tag names the generation well enough. A version id would take a right of its own (`s3:GetObjectVersion`), and
            // some stores ignore the range of a read that has one.
            version_id: None,
            range: Some(range),
        };
        let response = self.route.source.get(get).await.map_err(|error| CopyError::at_source(error, key))?;
        same_generation(Some(self.generation), &response.head)?;
        if response.head.size_bytes != self.head.size_bytes {
            return Err(CopyError::SourceChanged);
        }
        let (body, digests) = response
            .body
            .checked(self.digests, |_| Ok(()))
            .map_err(|error| CopyError::at_source(error, key))?;
        let (body, source_fault) = body.watched();
        let put = UploadPartRequest {
            key: destination_key.clone(),
            upload_id: self.id.clone(),
            part_number: number,
            body,
            checksum: BodyChecksum::default(),
        };
        let uploaded = match self.route.destination.upload_part(put).await {
            Ok(uploaded) => uploaded,
            Err(error) => {
                return Err(match source_fault.take() {
                    Some(fault) => CopyError::at_source(fault, key),
                    None => CopyError::at_destination(error, destination_key),
                });
            }
        };
        let corrupt = |message: String| {
            CopyError::Failed(Error::new(ErrorKind::Corrupt, message).on_key(destination_key.as_str()))
        };
        let digests = digests
            .get()
            .ok_or_else(|| corrupt(format!("part {number} was taken before its last byte was sent")))?;
        let check = match (uploaded.crc64_nvme, digests.md5) {
            (Some(crc), _) if crc == digests.crc64_nvme => WriteCheck::Crc64,
            (Some(crc), _) => {
                let sent = digests.crc64_nvme;
                return Err(corrupt(format!(
                    "the destination's part {number} has CRC64NVME {crc:016x}, {sent:016x} was sent"
                )));
            }
            (None, Some(md5)) => {
                match self.route.destination_etags.check(&uploaded.etag, Encryption::StoreManaged, md5) {
                    ETagCheck::Match => WriteCheck::Etag,
                    ETagCheck::SaysNothing => WriteCheck::Length,
                    ETagCheck::Mismatch => {
                        let (has, sent) = (&uploaded.etag, ETag::from_md5(md5));
                        return Err(corrupt(format!(
                            "the destination's part {number} has MD5 {has}, {sent} was sent"
                        )));
                    }
                }
            }
            (None, None) => WriteCheck::Length,
        };
        let uploaded = UploadedPart { crc64_nvme: Some(digests.crc64_nvme), ..uploaded };
        Ok(Part { uploaded, digests, check, tag_count: response.head.tag_count })
    }

    /// Looks once more before the object appears. Copying parts can take hours, and where the two ETags cannot be compared the
    /// date of the copy would hide a change that came meanwhile.
    async fn check_still_current(&self) -> Result<(), CopyError> {
        let key = &self.request.key;
        let head = self
            .route
            .source
            .head(HeadRequest::of(key))
            .await
            .map_err(|error| CopyError::at_source(error, key))?;
        same_generation(Some(self.generation), &head)
    }

    /// The whole object's CRC64NVME, combined from the parts, and what the source declared checked against it.
    fn check_read(&self, parts: &[Part]) -> Result<(u64, ReadCheck), CopyError> {
        let mut whole = Digests {
            crc64_nvme: 0,
            crc64_xz: self.digests.crc64_xz.then_some(0),
            md5: None,
            length_bytes: 0,
        };
        for Part { digests, .. } in parts {
            whole.crc64_nvme = combine_crc64_nvme(whole.crc64_nvme, digests.crc64_nvme, digests.length_bytes);
            whole.crc64_xz = whole
                .crc64_xz
                .zip(digests.crc64_xz)
                .map(|(before, part)| combine_crc64_xz(before, part, digests.length_bytes));
            whole.length_bytes += digests.length_bytes;
        }
        let check = super::check_read(self.route, self.head, &whole)
            .map_err(|error| CopyError::Failed(error.on_key(self.request.key.as_str())))?;
        Ok((whole.crc64_nvme, check))
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
            return Err(CopyError::at_destination(error, key));
        };
        let etag_fits = match (&head.etag, self.expected_etag(parts)) {
            (Some(found), Some(expected)) => *found == expected,
            (Some(found), None) => found.parts() == u32::try_from(parts.len()).ok(),
            (None, _) => false,
        };
        if head.size_bytes != self.head.size_bytes || !etag_fits {
            return Err(CopyError::at_destination(error, key));
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
        let read_check = if same_tag { ReadCheck::Etag } else { read_check };
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
