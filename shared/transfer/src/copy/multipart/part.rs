//! One part: read from the source and written to the destination, or found there.
//!
//! Owns: what proves that a part at the destination is the source's. Invariants: every read names the generation; a part that the store
//! has taken is sent again only when a second reading of the source shows that it holds other bytes.

use futures::StreamExt;

use super::begin::{PartThere, state_failed};
use super::{Part, Upload};
use crate::checksum::{DigestSet, Digests};
use crate::copy::{Copier, CopyError, same_generation};
use crate::receipt::WriteCheck;
use crate::retry::Retries;
use crate::store::{BodyChecksum, GetRequest, GetResponse, ListedPart, UploadPartRequest, UploadedPart};
use crate::{Body, ByteRange, ETag, ETagCheck, Encryption, Error, ErrorKind, ObjectHead, Support};

impl Copier {
    /// Makes sure of one part.
    pub(super) async fn settle_part(
        &self,
        upload: &Upload<'_>,
        number: u32,
        range: ByteRange,
        there: Option<PartThere>,
    ) -> Result<Part, CopyError> {
        if let Some(there) = there.filter(|there| there.listed.size_bytes == range.length_bytes()) {
            if let Some(part) = upload.known_part(&there) {
                return Ok(part);
            }
            let read = || upload.confirm_part(&there.listed, range);
            if let Some(part) = self.repeat(read).await? {
                self.settled(upload, &part).await;
                return Ok(part);
            }
        }
        self.send_part(upload, number, range).await
    }

    /// Reads one part and writes it.
    pub(super) async fn send_part(
        &self,
        upload: &Upload<'_>,
        number: u32,
        range: ByteRange,
    ) -> Result<Part, CopyError> {
        let part = self.repeat(|| upload.try_part(number, range)).await?;
        self.settled(upload, &part).await;
        Ok(part)
    }

    /// A read piped into a write, until it is done or cannot be.
    pub(super) async fn repeat<T, F>(&self, mut attempt: impl FnMut() -> F) -> Result<T, CopyError>
    where
        F: Future<Output = Result<T, CopyError>>,
    {
        let mut retries = Retries::new(&self.settings.backoff, self.clock.as_ref());
        loop {
            let done = {
                let _streams = self.large_stream_permit().await?;
                attempt().await
            };
            match done {
                Err(CopyError::Failed(error)) => retries.pause(error).await.map_err(CopyError::Failed)?,
                done => return done,
            }
        }
    }

    /// Remembers what a listing of the upload's parts will not say.
    async fn settled(&self, upload: &Upload<'_>, part: &Part) {
        upload.proof.settle();
        let Some((records, record)) = self.uploads.as_ref().zip(upload.record.as_ref()) else { return };
        if !upload.listing_says_enough()
            && let Err(error) = records.note_part(record, part.uploaded.part_number, &part.digests).await
        {
            state_failed(&error);
        }
    }
}

impl Upload<'_> {
    /// Whether the store lists every digest that is wanted, and has checked it against what was sent.
    fn listing_says_enough(&self) -> bool {
        let lists_crc = self.route.destination.capabilities().crc64_nvme == Support::Yes;
        lists_crc && self.digests == DigestSet::default()
    }

    /// A part that is there, where enough is known of it without another look at the source.
    fn known_part(&self, there: &PartThere) -> Option<Part> {
        if self.proof.needs_order() {
            // Its place in the digest of the whole has to be read.
            return None;
        }
        let PartThere { listed, noted } = there;
        let digests = match (noted, listed.crc64_nvme) {
            (Some(noted), crc) if crc.is_none_or(|crc| crc == noted.crc64_nvme) => Digests {
                crc64_nvme: noted.crc64_nvme,
                md5: noted.md5,
                other: noted.other,
                length_bytes: listed.size_bytes,
            },
            (None, Some(crc)) if self.listing_says_enough() => {
                Digests { crc64_nvme: crc, md5: None, other: None, length_bytes: listed.size_bytes }
            }
            _ => return None,
        };
        let wanted = self.digests;
        let noted_other = digests.other.map(|other| other.algorithm());
        let lacks = (wanted.md5 && digests.md5.is_none())
            || wanted.other.is_some_and(|other| noted_other != Some(other));
        if lacks { None } else { self.compared(listed, digests, None) }
    }

    /// Reads the source again, and only reads: the part that is there, if it holds the same bytes.
    async fn confirm_part(&self, listed: &ListedPart, range: ByteRange) -> Result<Option<Part>, CopyError> {
        let (head, digests) = self.look(range).await?;
        Ok(self.compared(listed, digests, Some(head.tag_count)))
    }

    /// Reads one range and keeps nothing but its digests.
    pub(super) async fn look(&self, range: ByteRange) -> Result<(ObjectHead, Digests), CopyError> {
        let at_source = |error| CopyError::at_source(error, &self.request.key);
        let GetResponse { head, body } = self.read(range).await?;
        let (body, digests) = body.checked(self.digests, |_| Ok(())).map_err(at_source)?;
        if let Body::Stream(mut stream) = body {
            while let Some(chunk) = stream.next().await {
                chunk.map_err(at_source)?;
            }
        }
        let unread = || at_source(Error::new(ErrorKind::Transient, "the body was not read to its end"));
        Ok((head, digests.get().ok_or_else(unread)?))
    }

    /// The listed part, if nothing that the store says of it speaks against these digests.
    fn compared(&self, listed: &ListedPart, digests: Digests, tag_count: Option<u32>) -> Option<Part> {
        let check = match (listed.crc64_nvme, digests.md5) {
            (Some(crc), _) if crc == digests.crc64_nvme => WriteCheck::Crc64,
            (Some(_), _) => return None,
            (None, Some(md5)) => {
                match self.route.destination_etags.check(&listed.etag, Encryption::StoreManaged, md5) {
                    ETagCheck::Match => WriteCheck::Etag,
                    ETagCheck::SaysNothing => WriteCheck::Length,
                    ETagCheck::Mismatch => return None,
                }
            }
            (None, None) => WriteCheck::Length,
        };
        let uploaded = UploadedPart {
            part_number: listed.part_number,
            etag: listed.etag.clone(),
            crc64_nvme: Some(digests.crc64_nvme),
        };
        Some(Part { uploaded, digests, check, tag_count })
    }

    /// One range of the generation, or an error.
    async fn read(&self, range: ByteRange) -> Result<GetResponse, CopyError> {
        let key = &self.request.key;
        let get = GetRequest {
            key: key.clone(),
            if_match: Some(self.generation.clone()),
            version_id: self.request.version_to_name(self.route),
            range: Some(range),
        };
        let response = self.route.source.get(get).await.map_err(|error| CopyError::at_source(error, key))?;
        same_generation(Some(self.generation), &response.head)?;
        if response.head.size_bytes != self.head.size_bytes {
            return Err(CopyError::SourceChanged);
        }
        Ok(GetResponse { body: self.proof.watch(response.body), ..response })
    }

    async fn try_part(&self, number: u32, range: ByteRange) -> Result<Part, CopyError> {
        let (key, destination_key) = (&self.request.key, &self.request.destination_key);
        let response = self.read(range).await?;
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
                    None if error.kind() == ErrorKind::NotFound => {
                        CopyError::UploadGone(error.on_key(destination_key.as_str()))
                    }
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
        Ok(Part { uploaded, digests, check, tag_count: Some(response.head.tag_count) })
    }
}
