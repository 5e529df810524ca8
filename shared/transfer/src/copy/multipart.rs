//! An object in parts: ranged reads streamed into part writes, in parallel, none of them held in memory.
//!
//! Owns: one upload from its beginning, or from where another process left it ([`begin`]), part by part ([`part`]) to its end
//! ([`finish`]). Invariants: every ranged read names the generation, so parts of two generations never meet in one object; the
//! source's own part boundaries are used where they can be known, so that ETags agree; a part that the store has taken is not sent
//! again; an upload that comes to nothing is dropped, one that can still be completed is remembered where there is a place for that.

mod begin;
mod cut;
mod finish;
mod part;
mod proof;
mod share;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use super::declared::writing_wants_md5;
use super::{Copier, CopyError, CopyRequest, InParts, same_generation};
use crate::checksum::{DigestSet, Digests};
use crate::receipt::{Copied, WriteCheck};
use crate::route::Route;
use crate::store::{UploadId, UploadedPart};
use crate::upload::UploadRecord;
use crate::{ETag, Error, ErrorKind, ObjectHead, PartPlan};

use begin::PartThere;
use cut::Cut;
use proof::ReadProof;
pub use share::PartProgress;

/// One upload under way.
struct Upload<'a> {
    route: &'a Arc<Route>,
    request: &'a CopyRequest,
    head: &'a ObjectHead,
    generation: &'a ETag,
    plan: PartPlan,
    id: UploadId,
    /// The tags it was begun with.
    tags: Vec<(String, String)>,
    digests: DigestSet,
    /// What proves the reading of the whole.
    proof: ReadProof,
    /// Where it is remembered.
    record: Option<UploadRecord>,
}

/// A part that is at the destination, and what is known of it.
struct Part {
    uploaded: UploadedPart,
    digests: Digests,
    check: WriteCheck,
    /// How many tags its read said that the source object has; `None` where it was not read now.
    tag_count: Option<u32>,
}

impl Copier {
    pub(super) async fn copy_in_parts(
        &self,
        route: &Arc<Route>,
        request: &CopyRequest,
    ) -> Result<InParts, CopyError> {
        let head = route
            .source
            .head(request.look(route))
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
        let Some(cut) = self.cut(route, &request.key, &head, generation).await? else {
            return Ok(InParts::Small);
        };
        let (upload, there) = self.begin(route, request, &head, generation, cut).await?;
        let missing: Vec<u32> = upload.missing(&there).collect();
        if self.share(&upload, &missing).await? {
            return Err(CopyError::Divided { parts: u32::try_from(missing.len()).unwrap_or(u32::MAX) });
        }
        let (copied, leftover) = match self.send_parts(&upload, there).await {
            Ok(parts) => {
                let copied = self.finish(&upload, parts).await;
                let leftover = Leftover::of_completion(&copied);
                (copied, leftover)
            }
            Err(error) => {
                let leftover = Leftover::of_parts(&error);
                (Err(error), leftover)
            }
        };
        self.leave(&upload, leftover).await;
        copied.map(InParts::Copied)
    }

    /// Every part, those that are there already looked at and the others sent.
    async fn send_parts(
        &self,
        upload: &Upload<'_>,
        mut there: BTreeMap<u32, PartThere>,
    ) -> Result<Vec<Part>, CopyError> {
        let at_once = if upload.proof.needs_order() { 1 } else { self.settings.parts_in_flight.max(1) };
        let mut parts: Vec<Part> = stream::iter(upload.plan.parts())
            .map(|(number, range)| self.settle_part(upload, number, range, there.remove(&number)))
            .buffer_unordered(at_once)
            .try_collect()
            .await?;
        parts.sort_unstable_by_key(|part| part.uploaded.part_number);
        Ok(parts)
    }
}

impl<'a> Upload<'a> {
    /// An upload that another process began, but for its tags.
    fn of_record(
        route: &'a Arc<Route>,
        request: &'a CopyRequest,
        head: &'a ObjectHead,
        generation: &'a ETag,
        cut: Cut,
        record: UploadRecord,
    ) -> Self {
        let id = record.upload_id.clone();
        Self::new(route, request, head, generation, cut, id, Some(record))
    }

    fn new(
        route: &'a Arc<Route>,
        request: &'a CopyRequest,
        head: &'a ObjectHead,
        generation: &'a ETag,
        cut: Cut,
        id: UploadId,
        record: Option<UploadRecord>,
    ) -> Self {
        let proof = ReadProof::choose(route, head, &cut);
        let digests = proof.digests_of_a_part(writing_wants_md5(route));
        Self {
            route,
            request,
            head,
            generation,
            plan: cut.plan,
            id,
            tags: Vec::new(),
            digests,
            proof,
            record,
        }
    }

    /// The parts that are not there, ascending.
    fn missing<'b>(&'b self, there: &'b BTreeMap<u32, PartThere>) -> impl Iterator<Item = u32> + 'b {
        self.plan
            .parts()
            .filter(|(number, range)| {
                there.get(number).is_none_or(|there| there.listed.size_bytes != range.length_bytes())
            })
            .map(|(number, _)| number)
    }
}

/// What is left of an upload that this process is through with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leftover {
    /// It has ended by itself.
    Nothing,
    /// Parts that a later attempt can go on with.
    Usable,
    /// Parts that nobody will want.
    Waste,
}

impl Leftover {
    /// Of an upload whose parts could not all be sent.
    fn of_parts(error: &CopyError) -> Self {
        match error {
            CopyError::UploadGone(_) => Self::Nothing,
            CopyError::Failed(error) => match error.kind() {
                // Configuration: most often credentials that ran out, with which nothing could be dropped either.
                ErrorKind::Cancelled | ErrorKind::Configuration => Self::Usable,
                kind if !kind.is_permanent() => Self::Usable,
                _ => Self::Waste,
            },
            _ => Self::Waste,
        }
    }

    /// Of an upload whose parts are all there.
    fn of_completion(copied: &Result<Copied, CopyError>) -> Self {
        match copied {
            Ok(_) | Err(CopyError::UploadGone(_)) => Self::Nothing,
            // The same parts can be completed under another condition.
            Err(CopyError::DestinationChanged(_) | CopyError::WriteUnsupported(_)) => Self::Usable,
            // A part that the store altered or lost stays so: what is corrupt now is not worth keeping.
            Err(CopyError::Failed(error)) => match error.kind() {
                ErrorKind::Transient
                | ErrorKind::Throttled
                | ErrorKind::Cancelled
                | ErrorKind::Configuration => Self::Usable,
                _ => Self::Waste,
            },
            Err(_) => Self::Waste,
        }
    }
}
