//! An object shared out among workers: each part is a job of its own.
//!
//! Owns: the messages of the parts that are missing, and doing one of them. Nothing but the upload and its record is shared. Invariants:
//! a part that the store lists is not sent again, however often its message comes; whoever finds all parts listed can complete.

use std::sync::Arc;

use super::begin::PartThere;
use super::cut::{Boundaries, Cut};
use super::{PartPlan, Upload};
use crate::copy::{Copier, CopyError, CopyRequest, KnownClass, same_generation};
use crate::job::{Message, PartJob};
use crate::queue::{BATCH_MAX, OutgoingMessage};
use crate::route::Route;
use crate::store::{HeadRequest, ListPartsRequest, WriteCondition};
use crate::upload::UploadRecord;
use crate::{Error, ErrorKind, Key, Result};

/// Parts of one page of a listing (AWS, `ListParts`).
const PAGE_PARTS: u32 = 1000;

/// How far an object is after one of its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartProgress {
    /// Parts are missing yet.
    MoreToCome,
    /// The upload can be completed.
    AllThere,
}

impl Copier {
    /// Whether an object of this size is shared out.
    pub(super) fn shares(&self, route: &Route, size_bytes: u64) -> bool {
        let above = route.task.large.part_jobs_above;
        self.part_jobs.is_some()
            && self.uploads.is_some()
            && above.is_some_and(|above| size_bytes > above.bytes)
    }

    /// Sends a message for each part that is missing. `false` where there are too few to be worth it, where they have to be read in
    /// order, or where the copy is nobody's job.
    pub(super) async fn share(&self, upload: &Upload<'_>, missing: &[u32]) -> Result<bool, CopyError> {
        let Some((queue, job)) = self.part_jobs.as_ref().zip(upload.request.job.as_ref()) else {
            return Ok(false);
        };
        let is_large = self.shares(upload.route, upload.head.size_bytes) && upload.record.is_some();
        if !is_large || upload.proof.needs_order() || missing.len() <= self.settings.parts_in_flight {
            return Ok(false);
        }
        let message = |part_number: &u32| {
            let part = PartJob {
                key: upload.request.key.clone(),
                task: job.task.clone(),
                run: job.run.clone(),
                etag: upload.generation.clone(),
                size_bytes: upload.head.size_bytes,
                upload_id: upload.id.clone(),
                part_number: *part_number,
            };
            OutgoingMessage::new(Message::Part(part).to_json())
        };
        for batch in missing.chunks(BATCH_MAX) {
            let sent = queue.send_batch(batch.iter().map(message).collect()).await;
            // A message twice does no harm, so the whole job is simply delivered again.
            sent.and_then(|results| results.into_iter().collect::<Result<()>>())
                .map_err(CopyError::Failed)?;
        }
        Ok(true)
    }

    /// Does one part of an upload that another worker began.
    pub(crate) async fn copy_one_part(
        &self,
        route: &Arc<Route>,
        job: &PartJob,
        destination_key: &Key,
    ) -> Result<PartProgress, CopyError> {
        let fail = |error: Error| CopyError::Failed(error.on_key(job.key.as_str()));
        let gone = || {
            let message = "the upload that this part was for has ended";
            CopyError::UploadGone(Error::new(ErrorKind::NotFound, message).on_key(job.key.as_str()))
        };
        let records = self.uploads.as_ref().ok_or_else(|| {
            let message = "a part came to a worker that has no place for state: set FERRY_STATE";
            fail(Error::new(ErrorKind::Configuration, message))
        })?;
        let slot = records.find(route.destination.name(), destination_key).await.map_err(fail)?;
        let record = slot.record.filter(|record| record.upload_id == job.upload_id).ok_or_else(gone)?;
        let plan = PartPlan::of_parts(record.origin.size_bytes, record.origin.part_bytes).ok_or_else(gone)?;
        let (number, range) =
            plan.parts().nth(job.part_number.saturating_sub(1) as usize).ok_or_else(|| {
                fail(Error::new(
                    ErrorKind::InvalidInput,
                    format!("the object has no part {}", job.part_number),
                ))
            })?;

        let head = route
            .source
            .head(HeadRequest::of(&job.key))
            .await
            .map_err(|error| CopyError::at_source(error, &job.key))?;
        let generation = record.origin.etag.clone();
        same_generation(Some(&generation), &head)?;
        let request = CopyRequest {
            key: job.key.clone(),
            destination_key: destination_key.clone(),
            generation: Some(generation.clone()),
            version_id: record.origin.version_id.clone(),
            size_hint_bytes: Some(head.size_bytes),
            class: KnownClass::Unknown,
            condition: WriteCondition::None,
            job: None,
        };
        let boundaries =
            if generation.parts() == Some(plan.len()) { Boundaries::Guessed } else { Boundaries::Own };
        let upload =
            Upload::of_record(route, &request, &head, &generation, Cut { plan, boundaries }, record.clone());
        let listed = listed_part(route, &record, number).await?;
        let there = match listed {
            Some(listed) => {
                let noted = records.noted_parts(&record).await.map_err(fail)?.remove(&number);
                Some(PartThere { listed, noted })
            }
            None => None,
        };
        self.settle_part(&upload, number, range, there).await?;
        if all_listed(route, &record, plan).await? {
            Ok(PartProgress::AllThere)
        } else {
            Ok(PartProgress::MoreToCome)
        }
    }
}

async fn listed_part(
    route: &Route,
    record: &UploadRecord,
    number: u32,
) -> Result<Option<crate::store::ListedPart>, CopyError> {
    let page = page(route, record, number - 1, Some(1)).await?;
    Ok(page.parts.into_iter().find(|part| part.part_number == number))
}

/// Whether every part is there. From the last page back, since parts come about in order: until the very end that is one request.
async fn all_listed(route: &Route, record: &UploadRecord, plan: PartPlan) -> Result<bool, CopyError> {
    let parts = plan.len();
    let mut until = parts;
    while until > 0 {
        let after = (until - 1) / PAGE_PARTS * PAGE_PARTS;
        let mut seen = after;
        // A store may have shorter pages.
        while seen < until {
            let page = page(route, record, seen, None).await?;
            let in_row = page
                .parts
                .iter()
                .zip(seen + 1..=until)
                .take_while(|(part, wanted)| part.part_number == *wanted);
            let count = u32::try_from(in_row.count()).unwrap_or(0);
            if count == 0 {
                return Ok(false);
            }
            seen += count;
        }
        until = after;
    }
    Ok(true)
}

async fn page(
    route: &Route,
    record: &UploadRecord,
    after: u32,
    page_size: Option<u32>,
) -> Result<crate::store::PartsPage, CopyError> {
    let request =
        ListPartsRequest { key: record.key.clone(), upload_id: record.upload_id.clone(), after, page_size };
    route.destination.list_parts(request).await.map_err(|error| match error.kind() {
        ErrorKind::NotFound => CopyError::UploadGone(error.on_key(record.key.as_str())),
        _ => CopyError::at_destination(error, &record.key),
    })
}
