//! Removes one key from the destination, once it is proven gone at the source.
//!
//! Owns: the order of things: proof, journal, trash, proof again, removal, a second look at the source. Does not own: which keys are
//! looked at (the finder's plan) nor copying back what came back ([`crate::agree`]). Invariants: nothing is removed before the source
//! answered 404 for that very key, twice and in two ways, and before the journal holds what it takes to bring it back; nothing that
//! changed since the plan was made is removed; with a trash, nothing is removed that is not in it, whole and checked.
//!
//! Objects are deleted one by one. `DeleteObjects` would save nothing where deletes are free (Amazon S3, Google Cloud Storage,
//! Cloudflare R2), its entries carry conditions on Amazon S3 alone, and each delete needs its HEADs anyway: two of the source, one of
//! the destination and a read of the source's error, $1.60 for a million at Amazon's prices.

mod journal;
mod trash;

use std::sync::Arc;

use crate::agree::{find, is_missing, rivals_at_source};
use crate::copy::{Copier, CopyError, CopyRequest, KnownClass};
use crate::job::{Job, SeenAtDestination};
use crate::receipt::SkipReason;
use crate::route::Route;
use crate::store::{DeleteRequest, WriteCondition};
use crate::task::Deletes;
use crate::{Error, ErrorKind, Key, ObjectHead, Result};

pub use journal::{DeleteJournal, JournalEntry, JournalLine, NoJournal, Step, StoredJournal};
pub use trash::{BadTrash, Trash};

/// How often one delete follows a destination that keeps changing under it.
const ROUNDS_MAX: u32 = 3;

/// How a delete ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Deletion {
    /// The object is gone at the destination.
    Deleted,
    /// It is gone, but meanwhile the source has it again: it is to be copied.
    CameBack,
    /// There was nothing to delete.
    NothingThere,
    /// It was left alone.
    Skipped(SkipReason),
}

/// Deletes the key of a job at the destination, if all that is asked for holds.
pub(crate) async fn delete(
    copier: &Copier,
    journal: &dyn DeleteJournal,
    route: &Arc<Route>,
    job: &Job,
    destination_key: &Key,
) -> Result<Deletion> {
    if route.task.deletes == Deletes::Keep || route.is_in_trash(destination_key) {
        return Ok(Deletion::Skipped(SkipReason::DeletesNotAllowed));
    }
    if !is_gone(route, &job.key).await? {
        return Ok(Deletion::Skipped(SkipReason::StillAtSource));
    }
    for _round in 0..ROUNDS_MAX {
        let Some(held) = find(&route.destination, destination_key).await? else {
            return Ok(Deletion::NothingThere);
        };
        if !route.selects(&job.key, &held) {
            return Ok(Deletion::Skipped(SkipReason::NotSelected));
        }
        if matches!(&job.destination, Some(SeenAtDestination::Etag(seen)) if held.etag.as_ref() != Some(seen))
        {
            return Ok(Deletion::Skipped(SkipReason::ChangedAtDestination));
        }
        let attempt = Attempt { copier, journal, route, job, key: destination_key, held: &held };
        if let Some(ended) = attempt.run().await? {
            return Ok(ended);
        }
    }
    Err(Error::new(
        ErrorKind::Transient,
        format!("the object changed {ROUNDS_MAX} times while it was being deleted"),
    )
    .on_key(destination_key.as_str()))
}

/// Whether the source has no such object, asked in two ways.
async fn is_gone(route: &Route, key: &Key) -> Result<bool> {
    if find(&route.source, key).await?.is_some() || !rivals_at_source(route, key).await?.is_empty() {
        return Ok(false);
    }
    is_missing(&route.source, key).await
}

/// One look at the destination, and the delete that follows from it.
struct Attempt<'a> {
    copier: &'a Copier,
    journal: &'a dyn DeleteJournal,
    route: &'a Arc<Route>,
    job: &'a Job,
    key: &'a Key,
    held: &'a ObjectHead,
}

impl Attempt<'_> {
    /// `None` where it is to be tried again from another look.
    async fn run(&self) -> Result<Option<Deletion>> {
        self.write(Step::intended(self.held)).await?;
        if let (Some(trash), Some(place)) = (&self.route.trash, &self.route.task.trash) {
            let trash_key = place.key(self.job.run.as_deref(), self.key)?;
            if let Some(reason) = self.move_to_trash(trash, trash_key).await? {
                return Ok(Some(Deletion::Skipped(reason)));
            }
            // Moving took its time.
            if !is_gone(self.route, &self.job.key).await? {
                return self.keep(SkipReason::StillAtSource).await.map(Some);
            }
        }
        let if_match = self.held.etag.clone().filter(|_| self.route.deletes_conditionally());
        let is_conditional = if_match.is_some();
        match self.route.destination.delete(DeleteRequest { if_match, ..DeleteRequest::of(self.key) }).await {
            Ok(deleted) => {
                self.write(Step::Deleted { effect: deleted.effect, version_id: deleted.version_id }).await?;
                let is_back = find(&self.route.source, &self.job.key).await?.is_some();
                Ok(Some(if is_back { Deletion::CameBack } else { Deletion::Deleted }))
            }
            Err(error) if is_conditional && error.kind() == ErrorKind::PreconditionFailed => {
                match find(&self.route.destination, self.key).await? {
                    // The store refuses a condition that does hold, as Ceph 16 does on writes.
                    Some(now) if now.etag == self.held.etag => {
                        self.route.give_up_conditional_deletes();
                        Ok(None)
                    }
                    Some(_changed) => self.keep(SkipReason::ChangedAtDestination).await.map(Some),
                    None => {
                        self.write(Step::Kept { why: "somebody else deleted it".to_owned() }).await?;
                        Ok(Some(Deletion::NothingThere))
                    }
                }
            }
            Err(error) if is_conditional && error.kind() == ErrorKind::Unsupported => {
                self.route.give_up_conditional_deletes();
                Ok(None)
            }
            Err(error) => {
                // Of what may have happened without an answer, the journal goes on saying that nobody knows.
                if error.is_permanent() {
                    self.write(Step::Kept { why: error.chain() }).await?;
                }
                Err(error.on_key(self.key.as_str()))
            }
        }
    }

    /// Copies the object into the trash, unless it is there already. A reason to leave it where it is, if there is one.
    async fn move_to_trash(&self, trash: &Arc<Route>, trash_key: Key) -> Result<Option<SkipReason>> {
        let request = CopyRequest {
            key: self.key.clone(),
            destination_key: trash_key.clone(),
            generation: self.held.etag.clone(),
            version_id: self.held.version_id.clone(),
            size_hint_bytes: Some(self.held.size_bytes),
            class: KnownClass::Known(self.held.attributes.storage_class.clone()),
            condition: if trash.writes_conditionally() {
                WriteCondition::Absent
            } else {
                WriteCondition::None
            },
            job: None,
        };
        match self.copier.copy(trash, request).await {
            Ok(_copied) => {}
            Err(CopyError::SourceChanged | CopyError::SourceGone) => {
                return self
                    .keep(SkipReason::ChangedAtDestination)
                    .await
                    .map(|_| Some(SkipReason::ChangedAtDestination));
            }
            Err(CopyError::SourceArchived) => {
                return self.keep(SkipReason::Archived).await.map(|_| Some(SkipReason::Archived));
            }
            Err(CopyError::WriteUnsupported(error)) => {
                // Once without conditions from now on, by the queue's next delivery.
                trash.give_up_conditions();
                return Err(
                    Error::new(ErrorKind::Transient, "the trash takes no conditions").caused_by(error)
                );
            }
            // An earlier delivery of this job came so far. Of the same size and generation it is what would be written now.
            Err(CopyError::DestinationChanged(error)) => {
                let there = find(&trash.destination, &trash_key).await?;
                if !there.is_some_and(|there| is_copy(&there, self.held)) {
                    return Err(error);
                }
            }
            Err(CopyError::Failed(error) | CopyError::UploadGone(error)) => return Err(error),
            Err(CopyError::Divided { .. }) => {
                let message = "a copy into the trash was shared out, and must not be: it is part of a delete";
                return Err(Error::new(ErrorKind::Other, message));
            }
        }
        self.write(Step::Trashed { trash_key }).await?;
        Ok(None)
    }

    async fn keep(&self, reason: SkipReason) -> Result<Deletion> {
        self.write(Step::Kept { why: reason.to_string() }).await?;
        Ok(Deletion::Skipped(reason))
    }

    async fn write(&self, step: Step) -> Result<()> {
        let entry = JournalEntry { key: self.key.clone(), source_key: self.job.key.clone(), step };
        self.journal.write(self.job.run.as_deref(), entry).await
    }
}

/// Whether the trash holds what is to be deleted. Within one store equal ETags are equal bytes, whatever they are made of.
fn is_copy(there: &ObjectHead, held: &ObjectHead) -> bool {
    there.size_bytes == held.size_bytes && there.etag == held.etag
}
