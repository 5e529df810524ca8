//! Copies that the store makes by itself: source and destination are one.
//!
//! Owns: one request for an object, or an upload of copied parts where one request is not allowed or would change the ETag; and
//! falling back where the store refuses. Invariants: every request names the source's generation, and the store checks it as it
//! copies, so that a copy is never older than what was compared; nothing that a copy within a store leaves behind (storage class,
//! redirect) is lost.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use super::{Copier, CopyError, CopyRequest, KnownClass, same_generation};
use crate::attribute_rules::{LockRule, ObjectLock};
use crate::checksum::combine_crc64_nvme;
use crate::receipt::{Copied, ReadCheck, WriteCheck};
use crate::route::Route;
use crate::server_side::Ends;
use crate::store::{
    CarriedAttributes, CompleteUploadRequest, CopyObjectRequest, CopyPartRequest, CopySource,
    CreateUploadRequest, HeadRequest, PutResponse, UploadId, UploadedPart, WriteCondition,
};
use crate::{
    Capabilities, ETag, Error, ErrorKind, ObjectHead, PartPlan, PartPlanError, StorageClass, Support,
};

/// Part of an object that the store copies in parts: large, since no byte of it passes by.
const PART_BYTES: u64 = 512 << 20;

/// The parts in which a store is to copy an object of this size and ETag; `None` where one request does.
pub(crate) fn parts(
    size_bytes: u64,
    etag: Option<&ETag>,
    limits: &Capabilities,
) -> Option<Result<PartPlan, PartPlanError>> {
    let own_parts = etag
        .filter(|etag| etag.parts().is_some_and(|parts| parts > 1) && limits.part_copies.may())
        .and_then(|etag| PartPlan::guess(size_bytes, etag, limits));
    if let Some(plan) = own_parts {
        // In one request the ETag would become that of one piece.
        return Some(Ok(plan));
    }
    let largest = limits.copy_bytes_max.min(limits.put_bytes_max);
    (size_bytes > largest).then(|| PartPlan::new(size_bytes, PART_BYTES.min(largest), limits))
}

impl Copier {
    /// Leaves the copy to the store. `None` where it cannot be: the bytes must pass by then.
    pub(super) async fn copy_within(
        &self,
        route: &Arc<Route>,
        request: &CopyRequest,
    ) -> Result<Option<Copied>, CopyError> {
        let ends = route.server_side.ends();
        if ends == Ends::Apart {
            return Ok(None);
        }
        let _stream = self.stream_permit().await?;
        let within = Within { copier: self, route, request };
        let copied = match (&request.class, request.size_hint_bytes) {
            (KnownClass::Known(class), Some(size_bytes))
                if ends == Ends::OneStore
                    && route.task.attributes.lock != LockRule::Copy
                    && within.plan(size_bytes, request.generation.as_ref()).is_none() =>
            {
                within.copy_unseen(class.clone(), size_bytes).await
            }
            _ => within.copy_seen().await,
        };
        match copied {
            Err(CopyError::Failed(error)) => match error.kind() {
                ErrorKind::Unsupported => {
                    tracing::debug!(store = %route.destination.name(), error = %error.chain(), "the store does not copy by itself");
                    route.server_side.give_up();
                    Ok(None)
                }
                // Rights that differ from those to read and write, an object that is no source of copies: the bytes may still pass by.
                ErrorKind::PermissionDenied | ErrorKind::InvalidInput => {
                    tracing::debug!(key = ?request.key, error = %error.chain(), "the store did not copy the object by itself");
                    Ok(None)
                }
                _ => Err(CopyError::Failed(error)),
            },
            other => other.map(Some),
        }
    }
}

/// One copy within the store.
struct Within<'a> {
    copier: &'a Copier,
    route: &'a Arc<Route>,
    request: &'a CopyRequest,
}

impl Within<'_> {
    fn plan(&self, size_bytes: u64, etag: Option<&ETag>) -> Option<Result<PartPlan, PartPlanError>> {
        parts(size_bytes, etag, self.route.destination.capabilities())
    }

    /// An object of which the listing has told enough: one request.
    async fn copy_unseen(&self, class: Option<StorageClass>, size_bytes: u64) -> Result<Copied, CopyError> {
        let storage_class = self.route.map_storage_class(class).map_err(|error| self.failed(error))?;
        let generation = self.request.generation.clone();
        let lock = self.route.lock_of_copy(ObjectLock::default());
        let carried = CarriedAttributes::Kept { storage_class, lock };
        let written = self.copy_object(carried, generation.clone(), size_bytes).await?;
        self.conclude(written, generation, size_bytes).await
    }

    /// An object that is looked at first.
    async fn copy_seen(&self) -> Result<Copied, CopyError> {
        let key = &self.request.key;
        let head = HeadRequest { version_id: self.request.version_id.clone(), ..HeadRequest::of(key) };
        let head = self.route.source.head(head).await.map_err(|error| CopyError::at_source(error, key))?;
        same_generation(self.request.generation.as_ref(), &head)?;
        if let Some(plan) = self.plan(head.size_bytes, head.etag.as_ref()) {
            let plan =
                plan.map_err(|error| self.failed(Error::new(ErrorKind::InvalidInput, error.to_string())))?;
            return self.copy_in_parts(&head, plan).await;
        }
        let (attributes, _unfit) =
            self.route.map_attributes(head.attributes.clone()).map_err(|error| self.failed(error))?;
        let carried = if head.attributes.website_redirect.is_some() {
            CarriedAttributes::Replaced(Box::new(attributes))
        } else {
            CarriedAttributes::Kept { storage_class: attributes.storage_class, lock: attributes.lock }
        };
        let written = self.copy_object(carried, head.etag.clone(), head.size_bytes).await?;
        self.conclude(written, head.etag.clone(), head.size_bytes).await
    }

    async fn copy_object(
        &self,
        attributes: CarriedAttributes,
        generation: Option<ETag>,
        size_bytes: u64,
    ) -> Result<PutResponse, CopyError> {
        // Where conditions on copies are not known to work, the generation alone decides: whatever another worker has written, the
        // source was of this generation when the store copied it.
        let conditional = self.route.destination.capabilities().conditional_copies == Support::Yes;
        let copy = CopyObjectRequest {
            source: self.source(generation.clone()),
            key: self.request.destination_key.clone(),
            attributes,
            condition: if conditional { self.request.condition.clone() } else { WriteCondition::None },
            size_hint_bytes: Some(size_bytes),
        };
        match self.route.destination.copy_object(copy).await {
            Ok(written) => Ok(written),
            Err(error) => Err(self.explained(error, generation.as_ref()).await),
        }
    }

    fn source(&self, generation: Option<ETag>) -> CopySource {
        CopySource {
            bucket: self.route.source.name().bucket.clone(),
            key: self.request.key.clone(),
            if_match: generation,
            version_id: self.request.version_id.clone(),
        }
    }

    /// Which side a refusal was about: the store answers for both with one code.
    async fn explained(&self, error: Error, generation: Option<&ETag>) -> CopyError {
        let key = &self.request.key;
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::PreconditionFailed => {}
            ErrorKind::Archived => return CopyError::SourceArchived,
            _ => return self.failed(error),
        }
        match self.route.source.head(self.request.look(self.route)).await {
            Err(gone) => CopyError::at_source(gone, key),
            Ok(head) if same_generation(generation, &head).is_err() => CopyError::SourceChanged,
            Ok(_) => CopyError::DestinationChanged(error.on_key(self.request.destination_key.as_str())),
        }
    }

    /// Both stores hash their own bytes: equal ETags prove the copy. Otherwise its size is looked at, and whether the source is
    /// still of the generation that was asked for, since some stores do not heed `x-amz-copy-source-if-match`.
    async fn conclude(
        &self,
        written: PutResponse,
        generation: Option<ETag>,
        size_bytes: u64,
    ) -> Result<Copied, CopyError> {
        let (key, destination_key) = (&self.request.key, &self.request.destination_key);
        let same_etag = written.etag.is_some() && written.etag == generation;
        if !same_etag {
            let source = self.route.source.head(self.request.look(self.route)).await;
            same_generation(generation.as_ref(), &source.map_err(|error| CopyError::at_source(error, key))?)?;
            let copy = self.route.destination.head(HeadRequest::of(destination_key)).await;
            let copy = copy.map_err(|error| CopyError::at_destination(error, destination_key))?;
            if copy.size_bytes != size_bytes {
                let held = copy.size_bytes;
                let error = format!("the store copied {held} bytes of an object of {size_bytes}");
                let error = Error::new(ErrorKind::Corrupt, error);
                return Err(CopyError::Failed(error.on_key(destination_key.as_str())));
            }
        }
        Ok(Copied {
            size_bytes,
            source_etag: generation,
            destination_etag: written.etag,
            version_id: written.version_id,
            read_check: ReadCheck::ServerSide,
            write_check: if same_etag { WriteCheck::Etag } else { WriteCheck::Length },
        })
    }

    async fn copy_in_parts(&self, head: &ObjectHead, plan: PartPlan) -> Result<Copied, CopyError> {
        let destination = &self.route.destination;
        let key = &self.request.destination_key;
        let attributes = self.copier.attributes(self.route, &self.request.key, head).await?;
        let tags = attributes.tags.clone();
        let upload_id = destination
            .create_upload(CreateUploadRequest { key: key.clone(), attributes })
            .await
            .map_err(|error| self.failed(error))?;
        let written = self.copy_parts(head, plan, &upload_id).await;
        match written {
            Ok(written) => {
                self.tag(&written, tags).await?;
                self.conclude(written, head.etag.clone(), head.size_bytes).await
            }
            Err(error) => {
                if let Err(left) = destination.abort_upload(key, &upload_id).await {
                    tracing::warn!(?key, upload = upload_id.0, error = %left.chain(),
                        "an upload that came to nothing could not be aborted and keeps costing storage");
                }
                Err(error)
            }
        }
    }

    async fn copy_parts(
        &self,
        head: &ObjectHead,
        plan: PartPlan,
        upload_id: &UploadId,
    ) -> Result<PutResponse, CopyError> {
        let destination = &self.route.destination;
        let key = &self.request.destination_key;
        let mut parts: Vec<(UploadedPart, u64)> = stream::iter(plan.parts())
            .map(|(part_number, range)| {
                let copy = CopyPartRequest {
                    source: self.source(head.etag.clone()),
                    range,
                    key: key.clone(),
                    upload_id: upload_id.clone(),
                    part_number,
                };
                async move {
                    match destination.copy_part(copy).await {
                        Ok(part) => Ok((part, range.length_bytes())),
                        Err(error) => Err(self.explained(error, head.etag.as_ref()).await),
                    }
                }
            })
            .buffer_unordered(self.copier.settings.parts_in_flight.max(1))
            .try_collect()
            .await?;
        parts.sort_unstable_by_key(|(part, _)| part.part_number);
        let crc64_nvme = parts.iter().try_fold(0, |whole, (part, length_bytes)| {
            Some(combine_crc64_nvme(whole, part.crc64_nvme?, *length_bytes))
        });
        let complete = CompleteUploadRequest {
            key: key.clone(),
            upload_id: upload_id.clone(),
            parts: parts.into_iter().map(|(part, _)| part).collect(),
            condition: self.request.condition.clone(),
            size_bytes: head.size_bytes,
            crc64_nvme,
        };
        let written = destination.complete_upload(complete).await;
        written.map_err(|error| CopyError::at_conditional_write(error, key))
    }

    /// Several stores accept the tags of an upload at its beginning and lose them (Ceph 16 does): those are written once more.
    async fn tag(&self, written: &PutResponse, mut tags: Vec<(String, String)>) -> Result<(), CopyError> {
        if tags.is_empty() {
            return Ok(());
        }
        let (store, key) = (&self.route.destination, &self.request.destination_key);
        let version_id = written.version_id.as_deref();
        let mut held = store.get_tags(key, version_id).await.unwrap_or_default();
        held.sort();
        tags.sort();
        if held == tags {
            return Ok(());
        }
        store.put_tags(key, version_id, &tags).await.map_err(|error| CopyError::at_destination(error, key))
    }

    fn failed(&self, error: Error) -> CopyError {
        CopyError::Failed(error.on_key(self.request.destination_key.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn planned(size_bytes: u64, etag: &str, limits: &Capabilities) -> Option<(u32, u64)> {
        let plan = parts(size_bytes, ETag::parse(etag).as_ref(), limits)?.expect("a plan");
        let first = plan.parts().next().expect("a part").1.length_bytes();
        Some((plan.len(), first))
    }

    #[test]
    fn one_request_copies_what_the_store_allows_and_parts_the_rest() {
        let amazon = Capabilities::default();
        assert_eq!(planned(0, "d41d8cd98f00b204e9800998ecf8427e", &amazon), None);
        assert_eq!(planned(5 * GIB, "d41d8cd98f00b204e9800998ecf8427e", &amazon), None);
        let (count, first) =
            planned(5 * GIB + 1, "d41d8cd98f00b204e9800998ecf8427e", &amazon).expect("parts");
        assert_eq!((count, first), (11, PART_BYTES));
        let largest = planned(amazon.object_bytes_max, "x", &amazon).expect("parts");
        assert_eq!(largest, (10_000, 5 * GIB));
        let alibaba = Capabilities { copy_bytes_max: GIB, ..Capabilities::default() };
        assert_eq!(planned(GIB, "x", &alibaba), None);
        assert_eq!(planned(GIB + 1, "x", &alibaba).map(|(count, _)| count), Some(3));
    }

    #[test]
    fn an_object_of_parts_keeps_its_own_boundaries_and_so_its_etag() {
        let etag = "d41d8cd98f00b204e9800998ecf8427e-3";
        assert_eq!(planned(20 << 20, etag, &Capabilities::default()), Some((3, 8 << 20)));
        let no_part_copies = Capabilities { part_copies: Support::No, ..Capabilities::default() };
        assert_eq!(planned(20 << 20, etag, &no_part_copies), None);
    }
}
