//! Makes one key at the destination agree with the source.
//!
//! Owns: what to do about a job, decided by what the two stores say *now*. Does not own: moving bytes ([`crate::copy`]) or
//! removing them ([`crate::deletion`]). Invariants: a copy is of the generation the source has at the moment of the read, whatever
//! the message said; a write is conditional on what was seen at the destination, where that works.

mod history;
mod part;
mod scope;

use std::sync::Arc;
use std::time::Duration;

use history::agree_on_history;
pub use part::agree_part;
use scope::{Look, look, refuse_contested};
pub(crate) use scope::{is_missing, rivals_at_source};

use crate::compare::{self, CompareMode, Evidence, Verdict, compare};
use crate::copy::{Copier, CopyError, CopyRequest, JobName, KnownClass};
use crate::deletion::{self, DeleteJournal, Deletion};
use crate::job::{Action, Job, Origin, SeenAtDestination};
use crate::receipt::{Copied, Outcome, SkipReason};
use crate::restore_rule::RestoreRule;
use crate::route::Route;
use crate::store::{HeadRequest, RestoreRequest, RestoreState, WriteCondition};
use crate::task::Deletes;
use crate::versions::Versions;
use crate::{ETag, Error, ErrorKind, Key, ObjectHead, Result, SharedStore};

/// How often one job follows a source or a destination that keeps changing under it before it goes back to the queue.
const ROUNDS_MAX: u32 = 5;

/// Most that the copy of an object is behind that is being appended to all the time.
const APPENDED_STALE_MAX: Duration = Duration::from_mins(5);

/// Does what the job asks, as far as the two stores agree that it should be done. Deletes are written into the journal.
pub async fn agree(
    copier: &Copier,
    journal: &dyn DeleteJournal,
    route: &Arc<Route>,
    job: &Job,
) -> Result<Outcome> {
    if is_of_another_bucket(route, job) {
        return Ok(Outcome::Skipped { reason: SkipReason::OtherBucket });
    }
    let destination_key = route.destination_key(&job.key)?;
    if !route.selects_key(&job.key) {
        return Ok(Outcome::Skipped { reason: SkipReason::NotSelected });
    }
    if route.task.versions == Versions::All {
        // A delete is part of the history too.
        return agree_on_history(copier, route, &job.key, &destination_key).await;
    }
    if job.action == Action::Delete {
        let skipped = match deletion::delete(copier, journal, route, job, &destination_key).await? {
            Deletion::Deleted => return Ok(Outcome::Deleted),
            Deletion::NothingThere => return Ok(Outcome::UpToDate),
            Deletion::CameBack => None,
            // A delete that an event tells of may be older than what is there now, and may stand for both.
            Deletion::Skipped(reason @ (SkipReason::StillAtSource | SkipReason::DeletesNotAllowed))
                if job.origin == Some(Origin::Event) =>
            {
                Some(reason)
            }
            Deletion::Skipped(reason) => return Ok(Outcome::Skipped { reason }),
        };
        let destination = if skipped.is_some() { None } else { Some(SeenAtDestination::Absent) };
        let fresh = Job { destination, ..again(job) };
        return match (copy(copier, journal, route, &fresh, destination_key).await?, skipped) {
            (Outcome::Skipped { reason: SkipReason::GoneAtSource }, Some(reason)) => {
                Ok(Outcome::Skipped { reason })
            }
            (outcome, _) => Ok(outcome),
        };
    }
    match copy(copier, journal, route, job, destination_key.clone()).await? {
        // An event says that the key may have changed, and it has: so it is with one whose copy a killed worker finished too late.
        Outcome::Skipped { reason: SkipReason::GoneAtSource } if is_mirrored_event(route, job) => {
            match deletion::delete(copier, journal, route, &again(job), &destination_key).await? {
                Deletion::Deleted => Ok(Outcome::Deleted),
                Deletion::NothingThere => Ok(Outcome::Skipped { reason: SkipReason::GoneAtSource }),
                Deletion::CameBack | Deletion::Skipped(SkipReason::StillAtSource) => {
                    copy(copier, journal, route, &again(job), destination_key).await
                }
                Deletion::Skipped(reason) => Ok(Outcome::Skipped { reason }),
            }
        }
        outcome => Ok(outcome),
    }
}

/// The job without what it says of either side.
fn again(job: &Job) -> Job {
    Job { task: job.task.clone(), run: job.run.clone(), origin: job.origin, ..Job::for_key(job.key.clone()) }
}

/// Several buckets may send to one queue, and keys of one are not keys of another.
fn is_of_another_bucket(route: &Route, job: &Job) -> bool {
    let named = job.bucket.as_ref().filter(|_| job.origin == Some(Origin::Event));
    named.is_some_and(|bucket| *bucket != route.task.source.bucket)
}

fn is_mirrored_event(route: &Route, job: &Job) -> bool {
    route.task.deletes != Deletes::Keep && job.origin == Some(Origin::Event)
}

/// What a round found at the destination, and what the next write must therefore insist on.
#[derive(Clone)]
enum Seen {
    Unknown,
    Absent,
    Generation(Option<ETag>),
}

async fn copy(
    copier: &Copier,
    journal: &dyn DeleteJournal,
    route: &Arc<Route>,
    job: &Job,
    destination_key: Key,
) -> Result<Outcome> {
    let mut wanted = Wanted::hinted(job);
    let mut seen = match &job.destination {
        None => Seen::Unknown,
        Some(SeenAtDestination::Absent) => Seen::Absent,
        Some(SeenAtDestination::Etag(etag)) => Seen::Generation(Some(etag.clone())),
    };
    if let Some(since) = job.parked_since {
        if is_being_restored(route, job).await? {
            return Ok(Outcome::Parked { since });
        }
        // What was seen is hours old.
        seen = Seen::Unknown;
    }
    for round in 0..ROUNDS_MAX {
        if matches!(seen, Seen::Unknown) {
            // Nobody compared this key lately: look at both sides before moving bytes.
            let source = match look(route, &job.key).await? {
                Look::Selected(source) => *source,
                Look::Skip(reason) => return Ok(Outcome::Skipped { reason }),
            };
            refuse_contested(route, &job.key).await?;
            let destination = find(&route.destination, &destination_key).await?;
            if let Some(destination) = &destination
                && is_same(route, &job.key, &source, destination)
            {
                tag_again(route, &source, &job.key, destination, &destination_key).await?;
                if round > 0 {
                    copier.drop_leftover(route, &destination_key).await;
                }
                return Ok(Outcome::UpToDate);
            }
            if round == 0 && is_superseded(route, job, &source, destination.as_ref()) {
                return Ok(Outcome::Skipped { reason: SkipReason::Superseded });
            }
            seen = destination.map_or(Seen::Absent, |head| Seen::Generation(head.etag));
            wanted = Wanted::now(source);
        }
        let condition = condition(route, &seen);
        let is_conditional = condition != WriteCondition::None;
        let request = CopyRequest {
            key: job.key.clone(),
            destination_key: destination_key.clone(),
            generation: wanted.generation.clone(),
            version_id: wanted.version_id.clone(),
            size_hint_bytes: wanted.size_bytes,
            class: wanted.class.clone(),
            condition,
            job: Some(JobName { task: job.task.clone(), run: job.run.clone() }),
        };
        match copier.copy(route, request).await {
            Ok(copied) => match after_write(copier, journal, route, job, &destination_key, copied).await? {
                AfterWrite::Ended(outcome) => return Ok(outcome),
                AfterWrite::Changed { source, destination_etag } => {
                    seen = Seen::Generation(destination_etag);
                    wanted = Wanted::now(*source);
                }
                AfterWrite::LookAgain => seen = Seen::Unknown,
            },
            Err(CopyError::Divided { parts }) => return Ok(Outcome::Divided { parts }),
            Err(CopyError::SourceArchived) => {
                return archived(route, job, wanted.version_id, &wanted.class).await;
            }
            Err(CopyError::SourceChanged | CopyError::SourceGone) => {
                // The source moved on. What the destination holds is still what was seen: only the generation is new.
                let source = match look(route, &job.key).await? {
                    Look::Selected(source) => *source,
                    Look::Skip(reason) => return Ok(Outcome::Skipped { reason }),
                };
                wanted = Wanted::now(source);
            }
            Err(CopyError::DestinationChanged(error)) => {
                let now = find(&route.destination, &destination_key).await?;
                // 409 says that somebody else was writing at that moment, and nothing about the condition.
                if condition_held(&seen, now.as_ref()) && error.status() != Some(409) {
                    // The store refuses a condition that does hold (Ceph 16 answers 412 to the right ETag).
                    tracing::debug!(store = %route.destination.name(), "conditional writes do not work here: going on without");
                    route.give_up_conditions();
                } else {
                    seen = Seen::Unknown;
                }
            }
            // Completed or dropped by somebody else: only a look tells which.
            Err(CopyError::UploadGone(_)) => seen = Seen::Unknown,
            // Stores without conditional writes say so (OSS: 400 or 501 `NotImplemented`, naming the header).
            Err(CopyError::WriteUnsupported(_)) if is_conditional => route.give_up_conditions(),
            Err(CopyError::Failed(error) | CopyError::WriteUnsupported(error)) => return Err(error),
        }
    }
    Err(Error::new(
        ErrorKind::Transient,
        format!("the object changed {ROUNDS_MAX} times while it was being copied"),
    )
    .on_key(job.key.as_str()))
}

/// What the next copy is to be of.
struct Wanted {
    generation: Option<ETag>,
    version_id: Option<String>,
    size_bytes: Option<u64>,
    class: KnownClass,
}

impl Wanted {
    /// What the message says: hints, as far as it goes.
    fn hinted(job: &Job) -> Self {
        Self {
            generation: job.etag.clone(),
            version_id: job.version_id.clone(),
            size_bytes: job.size,
            class: known_class(job),
        }
    }

    /// What the source has now.
    fn now(source: ObjectHead) -> Self {
        Self {
            generation: source.etag,
            version_id: source.version_id,
            size_bytes: Some(source.size_bytes),
            class: KnownClass::Known(source.attributes.storage_class),
        }
    }
}

/// Whether an archived object is on its way to being readable.
async fn is_being_restored(route: &Route, job: &Job) -> Result<bool> {
    let head = find(&route.source, &job.key).await?;
    Ok(head.is_some_and(|head| head.restore == RestoreState::Ongoing))
}

/// Skips an archived object, or has it restored.
async fn archived(
    route: &Route,
    job: &Job,
    version_id: Option<String>,
    class: &KnownClass,
) -> Result<Outcome> {
    let RestoreRule::Ask(terms) = route.task.restore else {
        return Ok(Outcome::Skipped { reason: SkipReason::Archived });
    };
    let class = match class {
        KnownClass::Known(class) => class.as_ref(),
        KnownClass::Unknown => None,
    };
    let request =
        RestoreRequest { key: job.key.clone(), version_id, days: terms.days_for(class), tier: terms.tier };
    let answer = route.source.restore(request).await.map_err(|error| error.on_key(job.key.as_str()))?;
    tracing::debug!(key = ?job.key, ?answer, "an archived object is being restored");
    Ok(Outcome::Parked { since: job.parked_since.unwrap_or_else(|| route.clock.now()) })
}

/// A listing tells the class, and leaves the standard one out.
fn known_class(job: &Job) -> KnownClass {
    match (&job.storage_class, job.origin) {
        (Some(class), _) => KnownClass::Known(Some(class.clone())),
        (None, Some(Origin::Scan)) => KnownClass::Known(None),
        (None, _) => KnownClass::Unknown,
    }
}

/// What the source says once a copy is written.
enum AfterWrite {
    /// Nothing more is to be done.
    Ended(Outcome),
    /// It has another generation, whose change the copy's newer date would hide for ever.
    Changed { source: Box<ObjectHead>, destination_etag: Option<ETag> },
    /// Nobody knows what either side has.
    LookAgain,
}

async fn after_write(
    copier: &Copier,
    journal: &dyn DeleteJournal,
    route: &Arc<Route>,
    job: &Job,
    destination_key: &Key,
    copied: Copied,
) -> Result<AfterWrite> {
    if later_scans_can_tell(route, &copied) && !may_outlive(route, job, &copied) {
        return Ok(AfterWrite::Ended(Outcome::Copied(copied)));
    }
    Ok(match find(&route.source, &job.key).await? {
        Some(source) if source.etag != copied.source_etag => {
            AfterWrite::Changed { source: Box::new(source), destination_etag: copied.destination_etag }
        }
        None if route.task.deletes != Deletes::Keep => {
            // Who was told of the delete found nothing to delete yet. Only what was written here goes.
            let written =
                Job { destination: copied.destination_etag.map(SeenAtDestination::Etag), ..again(job) };
            match deletion::delete(copier, journal, route, &written, destination_key).await? {
                Deletion::Deleted => AfterWrite::Ended(Outcome::Deleted),
                Deletion::NothingThere => {
                    AfterWrite::Ended(Outcome::Skipped { reason: SkipReason::GoneAtSource })
                }
                Deletion::CameBack | Deletion::Skipped(_) => AfterWrite::LookAgain,
            }
        }
        _ => AfterWrite::Ended(Outcome::Copied(copied)),
    })
}

/// Whether the copy may be of an object that is gone by now, and nobody else would notice: a delete that an event told of came to its
/// end while the copy was being written, or the copy took long.
fn may_outlive(route: &Route, job: &Job, copied: &Copied) -> bool {
    let in_parts = copied.destination_etag.as_ref().is_some_and(|etag| etag.parts().is_some());
    route.task.deletes != Deletes::Keep && (job.origin == Some(Origin::Event) || in_parts)
}

/// Whether the job of an append has nothing to do: there is a later state, and the event that tells of it waits on the queue. An object
/// that never comes to rest is copied every [`APPENDED_STALE_MAX`] all the same.
fn is_superseded(route: &Route, job: &Job, source: &ObjectHead, destination: Option<&ObjectHead>) -> bool {
    if !job.appended {
        return false;
    }
    let has_grown = match (&job.etag, &source.etag) {
        (Some(told), Some(now)) => told != now,
        _ => job.size.is_some_and(|told| told != source.size_bytes),
    };
    let copied_at = destination.and_then(|copy| copy.last_modified);
    has_grown && copied_at.is_some_and(|at| route.clock.now() - at < APPENDED_STALE_MAX)
}

/// Whether a later comparison would see by ETag if the source had changed before the copy was finished. If not, it would go by
/// time, and the copy is younger than that change.
fn later_scans_can_tell(route: &Route, copied: &Copied) -> bool {
    let (Some(source), Some(destination)) = (&copied.source_etag, &copied.destination_etag) else {
        return false;
    };
    compare::etags_tell(source, destination, route.known_etags()).is_some()
}

fn condition(route: &Route, seen: &Seen) -> WriteCondition {
    match seen {
        _ if !route.writes_conditionally() => WriteCondition::None,
        Seen::Absent => WriteCondition::Absent,
        Seen::Generation(Some(etag)) => WriteCondition::Matches(etag.clone()),
        Seen::Unknown | Seen::Generation(None) => WriteCondition::None,
    }
}

fn condition_held(seen: &Seen, now: Option<&ObjectHead>) -> bool {
    match (seen, now) {
        (Seen::Absent, None) => true,
        (Seen::Generation(Some(before)), Some(now)) => now.etag.as_ref() == Some(before),
        _ => false,
    }
}

/// `None` where the object is not there.
pub(crate) async fn find(store: &SharedStore, key: &Key) -> Result<Option<ObjectHead>> {
    match store.head(HeadRequest::of(key)).await {
        Ok(head) => Ok(Some(head)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.on_key(key.as_str())),
    }
}

/// Whether a job has nothing to do. Somebody has a reason to think that the object changed, and a copy of an older generation
/// may have been finished after that change: where the mode leaves it open, only equal ETags are proof.
fn is_same(route: &Route, key: &Key, source: &ObjectHead, destination: &ObjectHead) -> bool {
    let (source, destination) = (source.to_entry(key), destination.to_entry(key));
    let same = |mode| match compare(mode, &source, &destination, route.known_etags()) {
        Verdict::Same(evidence) => Some(evidence),
        Verdict::Different(_) => None,
    };
    match route.task.compare {
        // `always` is meant for scans: a job that another worker has just done must not be done again for ever.
        CompareMode::Auto | CompareMode::Always | CompareMode::Etag => {
            same(CompareMode::Auto) == Some(Evidence::Etag)
        }
        mode @ (CompareMode::Size | CompareMode::Mtime) => same(mode).is_some(),
    }
}

/// Where a store loses the tags of an upload, an object in parts is tagged once it is there. A delivery of the job that failed
/// between the two left an object that looks up to date: the rest of its work is done here.
async fn tag_again(
    route: &Route,
    source: &ObjectHead,
    key: &Key,
    destination: &ObjectHead,
    destination_key: &Key,
) -> Result<()> {
    let in_parts = destination.etag.as_ref().is_some_and(|etag| etag.parts().is_some());
    let may_have_tags =
        [&route.source, &route.destination].iter().all(|store| store.capabilities().tags.may());
    if !in_parts || !may_have_tags {
        return Ok(());
    }
    let mut wanted = match route.source.get_tags(key, source.version_id.as_deref()).await {
        Ok(wanted) if wanted.is_empty() => return Ok(()),
        Ok(wanted) => wanted,
        // Nobody was asked for tags that no read announces.
        Err(error) if error.is_permanent() && source.tag_count == 0 => return Ok(()),
        Err(error) => return Err(error.on_key(key.as_str())),
    };
    let version_id = destination.version_id.as_deref();
    let tagged = async {
        let mut held = route.destination.get_tags(destination_key, version_id).await?;
        wanted.sort();
        held.sort();
        if held == wanted {
            Ok(())
        } else {
            route.destination.put_tags(destination_key, version_id, &wanted).await
        }
    };
    tagged.await.map_err(|error: Error| error.on_key(destination_key.as_str()))
}
