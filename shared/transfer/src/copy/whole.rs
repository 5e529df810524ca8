//! An object in one piece: one GET, one PUT.
//!
//! Owns: one attempt. Small objects are held in memory within the budget, so that a failed write is repeated without reading
//! again and their digests travel in front of them; larger ones are streamed and checked before their last byte.

use std::sync::{Arc, OnceLock};

use tokio::sync::SemaphorePermit;

use super::declared::{check_read, digests_of_whole};
use super::{Copier, CopyError, CopyRequest, Whole, cancelled, same_generation};
use crate::checksum::Digests;
use crate::receipt::{Copied, ReadCheck, WriteCheck};
use crate::route::Route;
use crate::store::{BodyChecksum, GetRequest, PutRequest, PutResponse, WriteCondition};
use crate::{Body, DigestHandle, ETag, ETagCheck, Error, ErrorKind, Key, ObjectHead};

impl Copier {
    pub(super) async fn copy_whole(
        &self,
        route: &Arc<Route>,
        request: &mut CopyRequest,
    ) -> Result<Whole, CopyError> {
        let is_small = request.size_hint_bytes.is_some_and(|size_bytes| self.is_buffered(size_bytes));
        let (_large, _stream) = if is_small {
            (None, self.stream_permit().await?)
        } else {
            let (large, stream) = self.large_stream_permit().await?;
            (Some(large), stream)
        };
        let get = GetRequest {
            key: request.key.clone(),
            if_match: request.generation.clone(),
            version_id: request.version_id.clone(),
            range: None,
        };
        let response =
            route.source.get(get).await.map_err(|error| CopyError::at_source(error, &request.key))?;
        let head = response.head;
        same_generation(request.generation.as_ref(), &head)?;
        let limits = route.destination.capabilities();
        if self.settings.parts(head.size_bytes, head.etag.as_ref(), limits).is_some() {
            request.size_hint_bytes = Some(head.size_bytes);
            return Ok(Whole::TooLarge);
        }
        let attributes = self.attributes(route, &request.key, &head).await?;

        let (body, _buffer) = self.buffered(response.body, &request.key).await?;
        let (body, digests, read_check) = checked(route, &head, body)
            .map_err(|error| CopyError::Failed(error.on_key(request.key.as_str())))?;
        let (body, source_fault) = body.watched();
        let checksum = digests
            .get()
            .map(|digests| BodyChecksum { crc64_nvme: Some(digests.crc64_nvme), md5: digests.md5 })
            .unwrap_or_default();

        let put = PutRequest {
            key: request.destination_key.clone(),
            attributes,
            body,
            condition: request.condition.clone(),
            checksum,
        };
        let written = match route.destination.put(put).await {
            Ok(written) => written,
            Err(error) => {
                return Err(match source_fault.take() {
                    Some(fault) => CopyError::at_source(fault, &request.key),
                    None => CopyError::at_conditional_write(error, &request.destination_key),
                });
            }
        };
        let digests = digests.get().ok_or_else(|| {
            CopyError::Failed(
                Error::new(
                    ErrorKind::Corrupt,
                    "the destination took the object before its last byte was sent",
                )
                .on_key(request.destination_key.as_str()),
            )
        })?;
        let write_check = match check_written(route, &written, &digests) {
            Ok(check) => check,
            Err(error) => {
                // The wrong bytes are there now; the next attempt replaces exactly them.
                if let (Some(etag), true) = (&written.etag, route.writes_conditionally()) {
                    request.condition = WriteCondition::Matches(etag.clone());
                }
                return Err(CopyError::Failed(error.on_key(request.destination_key.as_str())));
            }
        };
        Ok(Whole::Copied(Copied {
            size_bytes: head.size_bytes,
            source_etag: head.etag,
            destination_etag: written.etag,
            version_id: written.version_id,
            read_check: read_check.get().copied().unwrap_or(ReadCheck::Length),
            write_check,
        }))
    }
}

impl Copier {
    /// A small body in memory, with its share of the budget; any other as it came.
    async fn buffered(
        &self,
        body: Body,
        key: &Key,
    ) -> Result<(Body, Option<SemaphorePermit<'_>>), CopyError> {
        match u32::try_from(body.length_bytes()) {
            Ok(length_bytes) if self.is_buffered(body.length_bytes()) => {
                let permit = self.buffers.acquire_many(length_bytes).await.map_err(|_closed| cancelled())?;
                let bytes = body.collect().await.map_err(|error| CopyError::at_source(error, key))?;
                Ok((Body::Bytes(bytes), Some(permit)))
            }
            _ => Ok((body, None)),
        }
    }
}

/// The body with its digests checked against what the source declared, and where the result of that check appears.
fn checked(
    route: &Arc<Route>,
    head: &ObjectHead,
    body: Body,
) -> Result<(Body, DigestHandle, Arc<OnceLock<ReadCheck>>), Error> {
    let read_check = Arc::new(OnceLock::new());
    let check = {
        let (route, head, read_check) = (Arc::clone(route), head.clone(), Arc::clone(&read_check));
        move |digests: &Digests| {
            let found = check_read(&route.source_etags, &head, digests)?;
            read_check.get_or_init(|| found);
            Ok(())
        }
    };
    let (body, digests) = body.checked(digests_of_whole(route, head), check)?;
    Ok((body, digests, read_check))
}

/// Checks what the destination says it holds against the bytes that passed.
fn check_written(route: &Route, written: &PutResponse, digests: &Digests) -> Result<WriteCheck, Error> {
    let mut check = WriteCheck::Length;
    if let Some(crc) = written.crc64_nvme {
        if crc != digests.crc64_nvme {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!("the destination has CRC64NVME {crc:016x}, {:016x} was sent", digests.crc64_nvme),
            ));
        }
        check = WriteCheck::Crc64;
    }
    if let (Some(etag), Some(md5)) = (&written.etag, digests.md5) {
        match route.destination_etags.check(etag, written.encryption, md5) {
            ETagCheck::Match if check == WriteCheck::Length => check = WriteCheck::Etag,
            ETagCheck::Mismatch if check == WriteCheck::Length => {
                let sent = ETag::from_md5(md5);
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    format!("the destination has an object of MD5 {etag}, {sent} was sent"),
                ));
            }
            _ => {}
        }
    }
    Ok(check)
}
