//! Archived objects of a plan, made readable before the first byte is written.
//!
//! Owns: asking for every restore that the manifest wants, and waiting for all. Does not own: the copy. Invariants: what is asked for twice costs once (the store says so), so that a
//! station that was killed asks again; memory does not grow with the plan; a wait has an end, and the job goes on behind it when it is run again.
//!
//! All are waited for, not only the next: the order on the medium is the keys', the copies that a restore makes last some days, and a disk that is being written is not kept waiting.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ferry_device::manifest::Restore;
use ferry_device::plan::{Object, Plan, PlanEntry};
use ferry_transfer::restore_rule::RestoreTerms;
use ferry_transfer::store::{HeadRequest, RestoreAnswer, RestoreRequest, RestoreState, RestoreTier};
use ferry_transfer::{ErrorKind, StorageClass};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use time::OffsetDateTime;

use super::reading::key_of;
use super::sources::Sources;
use super::{Run, StationError};

/// Days that the readable copies are kept: a medium of 16 TB at 60 MB/s takes three.
const DAYS: u32 = 7;
/// Objects asked for, or waited for, at a time.
const AT_ONCE: usize = 16;
/// The first and the longest pause between two looks.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// The slowest that Amazon names is 48 hours, for bulk restores from Deep Archive (`RestoreObject`, "retrieval options").
const WAIT_MAX: time::Duration = time::Duration::hours(72);

/// What is asked for; `None` where archived objects are left out.
pub(super) fn terms(restore: Restore) -> Option<RestoreTerms> {
    let tier = match restore {
        Restore::Skip => return None,
        Restore::Standard => RestoreTier::Standard,
        Restore::Bulk => RestoreTier::Bulk,
        Restore::Expedited => RestoreTier::Expedited,
    };
    Some(RestoreTerms { tier, days: DAYS })
}

/// Whether the class is one whose objects have to be restored.
fn class_of(object: &Object) -> Option<StorageClass> {
    object.storage_class.as_deref().and_then(StorageClass::parse).filter(StorageClass::is_archive)
}

fn archived(plan: &Plan) -> Result<impl Iterator<Item = Result<Object, ferry_device::Error>>, StationError> {
    let is_archived = |entry: &Result<PlanEntry, _>| {
        entry.as_ref().map_or(true, |entry| entry.place.is_file() && class_of(&entry.object).is_some())
    };
    Ok(plan.entries()?.filter(is_archived).map(|entry| entry.map(|entry| entry.object)))
}

/// Asks for all of them, and returns when the last can be read.
pub(super) async fn restore(run: &Run<'_>, plan: &Plan, terms: RestoreTerms) -> Result<(), StationError> {
    let progress = run.station.progress();
    let sources = Sources::connect(run).await?;
    let asked =
        stream::iter(archived(plan)?).map(|object| ask(&sources, object, terms)).buffer_unordered(AT_ONCE);
    let asked = asked.try_fold(0_u64, |asked, ()| async move { Ok(asked + 1) }).await?;
    progress.archived.store(asked, Relaxed);
    progress.readable.store(0, Relaxed);
    let until = run.station.service.now() + WAIT_MAX;
    stream::iter(archived(plan)?)
        .map(|object| wait(run, &sources, object, until))
        .buffer_unordered(AT_ONCE)
        .try_for_each(|()| async {
            progress.readable.fetch_add(1, Relaxed);
            Ok(())
        })
        .await
}

/// Returns when the object can be read.
async fn wait(
    run: &Run<'_>,
    sources: &Sources,
    object: Result<Object, ferry_device::Error>,
    until: OffsetDateTime,
) -> Result<(), StationError> {
    let object = object?;
    let mut pause = FIRST_PAUSE;
    while !is_readable(sources, &object).await? {
        run.standing.check()?;
        if run.station.service.now() >= until {
            return Err(StationError::Stopped(format!(
                "{}/{} was asked for and is still archived after {} hours; run the job again to go on waiting",
                object.bucket,
                object.key,
                WAIT_MAX.whole_hours()
            )));
        }
        run.station.service.parts().clock.sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Ok(())
}

async fn ask(
    sources: &Sources,
    object: Result<Object, ferry_device::Error>,
    terms: RestoreTerms,
) -> Result<(), StationError> {
    let object = object?;
    let request = RestoreRequest {
        key: key_of(&object)?,
        version_id: object.version_id.clone(),
        days: terms.days_for(class_of(&object).as_ref()),
        tier: terms.tier,
    };
    match sources.of(&object)?.store.restore(request).await {
        Ok(RestoreAnswer::Begun | RestoreAnswer::InProgress | RestoreAnswer::Readable) => Ok(()),
        // It vanished, which the copy will say; or it is in no archive any more, which the wait sees.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Archived) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn is_readable(sources: &Sources, object: &Object) -> Result<bool, StationError> {
    let request = HeadRequest { version_id: object.version_id.clone(), ..HeadRequest::of(&key_of(object)?) };
    match sources.of(object)?.store.head(request).await {
        Ok(head) => {
            let class = head.attributes.storage_class.as_ref();
            Ok(head.restore == RestoreState::Done || !class.is_some_and(StorageClass::is_archive))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error.into()),
    }
}
