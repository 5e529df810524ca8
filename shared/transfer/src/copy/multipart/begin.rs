//! The beginning of an upload, and its end where it comes to nothing.
//!
//! Owns: whether an upload that another process left open is continued, replaced or unknown. Invariant: it is continued only if it was
//! begun for the same generation, cut the same way, with the same attributes. Does not own: the state of record being there at all;
//! where it fails, the copy goes on as if there were none, and only time is lost.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cut::Cut;
use super::{Leftover, Upload};
use crate::copy::{Copier, CopyError, CopyRequest};
use crate::route::Route;
use crate::store::{
    CreateUploadRequest, HeadRequest, ListPartsRequest, ListedPart, UploadId, WriteCondition,
};
use crate::upload::{AttributesName, NotedDigests, UploadOrigin, UploadRecord, UploadRecords, UploadSlot};
use crate::{Attributes, ETag, Error, ErrorKind, Key, ObjectHead, Result};

/// How often the beginning gives way to somebody who begins the same upload at the same moment.
const TURNS_MAX: u32 = 3;

/// A part that the store says it has.
pub(super) struct PartThere {
    pub(super) listed: ListedPart,
    /// What was computed when it was sent.
    pub(super) noted: Option<NotedDigests>,
}

/// The upload to go on with, and what is there of it.
struct Begun {
    id: UploadId,
    there: BTreeMap<u32, PartThere>,
    record: Option<UploadRecord>,
}

impl Begun {
    fn anew(id: UploadId, record: Option<UploadRecord>) -> Self {
        Self { id, there: BTreeMap::new(), record }
    }
}

impl Copier {
    /// Begins an upload, or finds the one that is open for the same generation.
    pub(super) async fn begin<'a>(
        &self,
        route: &'a Arc<Route>,
        request: &'a CopyRequest,
        head: &'a ObjectHead,
        generation: &'a ETag,
        cut: Cut,
    ) -> Result<(Upload<'a>, BTreeMap<u32, PartThere>), CopyError> {
        let attributes = self.attributes(route, &request.key, head).await?;
        let tags = attributes.tags.clone();
        let begun = match &self.uploads {
            Some(records) => {
                let origin = UploadOrigin {
                    source: route.source.name().clone(),
                    source_key: request.key.clone(),
                    etag: generation.clone(),
                    version_id: head.version_id.clone(),
                    size_bytes: head.size_bytes,
                    part_bytes: cut.plan.part_bytes(),
                    attributes: AttributesName::of(&attributes),
                };
                self.begin_or_continue(records, route, request, attributes, origin).await?
            }
            None => Begun::anew(create(route, request, attributes).await?, None),
        };
        let Begun { id, there, record } = begun;
        Ok((Upload { tags, ..Upload::new(route, request, head, generation, cut, id, record) }, there))
    }

    async fn begin_or_continue(
        &self,
        records: &UploadRecords,
        route: &Route,
        request: &CopyRequest,
        attributes: Attributes,
        origin: UploadOrigin,
    ) -> Result<Begun, CopyError> {
        let (store, key) = (&route.destination, &request.destination_key);
        for _turn in 0..TURNS_MAX {
            let slot = match records.find(store.name(), key).await {
                Ok(slot) => slot,
                Err(error) => {
                    state_failed(&error);
                    break;
                }
            };
            if let Some(record) = &slot.record {
                if record.origin == origin
                    && let Some(there) = parts_there(records, route, record).await?
                {
                    tracing::info!(
                        ?key,
                        upload = record.upload_id.0,
                        parts = there.len(),
                        "going on with an upload"
                    );
                    return Ok(Begun { id: record.upload_id.clone(), there, record: slot.record });
                }
                if record.origin == origin {
                    // It has ended, and perhaps well: somebody may just have completed it.
                    still_wanted(route, request).await?;
                } else {
                    drop_upload(route, &record.key, &record.upload_id).await;
                }
            } else if self.shares(route, origin.size_bytes) {
                // As above, and the record is gone already. For the largest objects that is worth a question.
                still_wanted(route, request).await?;
            }
            let id = create(route, request, attributes.clone()).await?;
            let record = UploadRecord {
                destination: store.name().clone(),
                key: key.clone(),
                upload_id: id.clone(),
                begun: self.clock.now(),
                origin: origin.clone(),
            };
            match self.remember(records, &record, slot).await {
                Ok(()) => return Ok(Begun::anew(id, Some(record))),
                Err(error) if error.kind() == ErrorKind::PreconditionFailed => {
                    drop_upload(route, key, &id).await;
                }
                Err(error) => {
                    state_failed(&error);
                    return Ok(Begun::anew(id, None));
                }
            }
        }
        Ok(Begun::anew(create(route, request, attributes).await?, None))
    }

    /// Writes the record in the place of the one it follows, whose parts are forgotten with it.
    async fn remember(&self, records: &UploadRecords, record: &UploadRecord, slot: UploadSlot) -> Result<()> {
        let earlier = slot.record.clone();
        records.begin(record, slot).await?;
        if let Some(earlier) = earlier
            && let Err(error) = records.forget(&earlier).await
        {
            state_failed(&error);
        }
        Ok(())
    }

    /// Tidies up behind an upload that this process is through with.
    pub(super) async fn leave(&self, upload: &Upload<'_>, leftover: Leftover) {
        let Some((records, record)) = self.uploads.as_ref().zip(upload.record.as_ref()) else {
            if leftover != Leftover::Nothing {
                drop_upload(upload.route, &upload.request.destination_key, &upload.id).await;
            }
            return;
        };
        match leftover {
            Leftover::Usable => return,
            Leftover::Nothing => {}
            Leftover::Waste => {
                if !drop_upload(upload.route, &record.key, &record.upload_id).await {
                    // Still there, and so is its record: a sweep finds it.
                    return;
                }
            }
        }
        if let Err(error) = records.forget(record).await {
            state_failed(&error);
        }
    }

    /// Drops what is remembered to be open for a key that turned out to need no copy.
    pub(crate) async fn drop_leftover(&self, route: &Route, destination_key: &Key) {
        let Some(records) = &self.uploads else { return };
        let dropped = async {
            if let Some(record) = records.find(route.destination.name(), destination_key).await?.record
                && drop_upload(route, &record.key, &record.upload_id).await
            {
                records.forget(&record).await?;
            }
            Ok(())
        };
        if let Err(error) = dropped.await {
            state_failed(&error);
        }
    }
}

async fn create(route: &Route, request: &CopyRequest, attributes: Attributes) -> Result<UploadId, CopyError> {
    let key = &request.destination_key;
    let create = CreateUploadRequest { key: key.clone(), attributes };
    route.destination.create_upload(create).await.map_err(|error| CopyError::at_destination(error, key))
}

/// The parts that an upload has, with what was computed of them; `None` where the upload has ended, or the store does not tell.
async fn parts_there(
    records: &UploadRecords,
    route: &Route,
    record: &UploadRecord,
) -> Result<Option<BTreeMap<u32, PartThere>>, CopyError> {
    let mut noted = records.noted_parts(record).await.unwrap_or_else(|error| {
        state_failed(&error);
        BTreeMap::new()
    });
    let mut there = BTreeMap::new();
    let mut after = 0;
    loop {
        let request = ListPartsRequest {
            key: record.key.clone(),
            upload_id: record.upload_id.clone(),
            after,
            page_size: None,
        };
        let page = match route.destination.list_parts(request).await {
            Ok(page) => page,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) if error.is_permanent() => {
                tracing::warn!(key = ?record.key, error = %error.chain(), "an upload cannot be gone on with");
                drop_upload(route, &record.key, &record.upload_id).await;
                return Ok(None);
            }
            Err(error) => return Err(CopyError::at_destination(error, &record.key)),
        };
        there.extend(page.parts.into_iter().map(|listed| {
            let noted = noted.remove(&listed.part_number);
            (listed.part_number, PartThere { listed, noted })
        }));
        match page.next {
            Some(next) => after = next,
            None => return Ok(Some(there)),
        }
    }
}

/// Whether the destination still is what the write is to find there; otherwise somebody else has completed an upload meanwhile.
async fn still_wanted(route: &Route, request: &CopyRequest) -> Result<(), CopyError> {
    let key = &request.destination_key;
    let now = match route.destination.head(HeadRequest::of(key)).await {
        Ok(head) => Some(head),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(CopyError::at_destination(error, key)),
    };
    let holds = match (&request.condition, now) {
        (WriteCondition::None, _) | (WriteCondition::Absent, None) => true,
        (WriteCondition::Matches(etag), Some(now)) => now.etag.as_ref() == Some(etag),
        (WriteCondition::Absent, Some(_)) | (WriteCondition::Matches(_), None) => false,
    };
    let completed = "somebody else has written the object meanwhile";
    let gone = || CopyError::UploadGone(Error::new(ErrorKind::Transient, completed).on_key(key.as_str()));
    if holds { Ok(()) } else { Err(gone()) }
}

/// Whether it is gone.
async fn drop_upload(route: &Route, key: &Key, id: &UploadId) -> bool {
    match route.destination.abort_upload(key, id).await {
        Ok(()) => true,
        Err(left) => {
            tracing::warn!(?key, upload = id.0, error = %left.chain(),
                "an upload that came to nothing could not be aborted and keeps costing storage");
            false
        }
    }
}

/// What cannot be remembered costs time after a crash, and no object.
pub(super) fn state_failed(error: &Error) {
    tracing::warn!(error = %error.chain(), "open uploads cannot be remembered");
}
