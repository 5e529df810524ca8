//! One part of an object that is shared out among workers.
//!
//! Owns: what follows from a part. The worker that finds all parts there does the object's own job once more: it goes on with the
//! upload, has nothing left to send, and completes it. Two that find so end well, since that job looks at both sides first.

use std::sync::Arc;

use super::copy;
use super::scope::{Look, look};
use crate::Result;
use crate::copy::{Copier, CopyError, PartProgress};
use crate::deletion::DeleteJournal;
use crate::job::{Job, PartJob};
use crate::receipt::{Outcome, PartEnd, SkipReason};
use crate::route::Route;

/// Does one part, and the end of its object where it is the last.
pub async fn agree_part(
    copier: &Copier,
    journal: &dyn DeleteJournal,
    route: &Arc<Route>,
    job: &PartJob,
) -> Result<Outcome> {
    let destination_key = route.destination_key(&job.key)?;
    let ended = |end| Outcome::Part { part_number: job.part_number, end };
    match copier.copy_one_part(route, job, &destination_key).await {
        Ok(PartProgress::MoreToCome) => Ok(ended(PartEnd::Copied)),
        // Another generation is another upload, and other parts.
        Ok(PartProgress::AllThere) | Err(CopyError::SourceChanged) => {
            copy(copier, journal, route, &object_job(job), destination_key).await
        }
        Err(CopyError::UploadGone(_)) => Ok(ended(PartEnd::Outlived)),
        Err(CopyError::SourceGone) => {
            // A 404 for one range is believed once the object itself is not there.
            if matches!(look(route, &job.key).await?, Look::Skip(SkipReason::GoneAtSource)) {
                copier.drop_leftover(route, &destination_key).await;
            }
            Ok(Outcome::Skipped { reason: SkipReason::GoneAtSource })
        }
        Err(CopyError::SourceArchived) => Ok(Outcome::Skipped { reason: SkipReason::Archived }),
        Err(CopyError::Divided { parts }) => Ok(Outcome::Divided { parts }),
        Err(
            CopyError::Failed(error)
            | CopyError::DestinationChanged(error)
            | CopyError::WriteUnsupported(error),
        ) => Err(error),
    }
}

/// The job of the object that the part belongs to. Nothing is known of the destination any more.
fn object_job(job: &PartJob) -> Job {
    Job {
        size: Some(job.size_bytes),
        task: job.task.clone(),
        run: job.run.clone(),
        etag: Some(job.etag.clone()),
        ..Job::for_key(job.key.clone())
    }
}
