//! Letting a job's device go.
//!
//! Owns: that nobody is at work on the job meanwhile, and that a disk which is detached is the one the job was written to. Does not own: syncing and detaching
//! (`ferry_device::target::letting_go`), nor who may release. Invariants: a job that never had a device, or has a station at it, is refused before anything is touched; the
//! location changes after the device was synced.

use ferry_device::job::{JobId, JobRecord};
use ferry_device::target::disk::Disk;
use ferry_device::target::{Target, letting_go};
use ferry_transfer::chain;

use super::{Station, StationError, disk, work};
use crate::auth::Caller;
use crate::service::Validity;

/// A device that is let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// Once it is synced.
    Synced,
    /// And once the system has given it up.
    Detached,
}

/// Why a device is not let go.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// For safety, or because there is none.
    #[error("{0}")]
    Refused(String),
    /// The job is unknown, or the state failed.
    #[error("{}", .0.message)]
    Api(crate::api::ApiError),
    /// The device failed.
    #[error(transparent)]
    Device(ferry_device::Error),
}

impl From<ferry_device::Error> for ReleaseError {
    fn from(error: ferry_device::Error) -> Self {
        if error.kind() == ferry_device::ErrorKind::Refused {
            return Self::Refused(chain(&error));
        }
        Self::Device(error)
    }
}

impl Station {
    /// Lets the device of a job go, from `target` where that is given.
    pub async fn release(
        &self,
        id: &JobId,
        target: Option<(&Target, Leaving)>,
    ) -> Result<JobRecord, ReleaseError> {
        self.step(id, Validity::CheckOnly).await?;
        // The record of a job that was called off says nothing of the station that is still busy with its last object.
        let held = work::hold(&self.work, id).map_err(|error| match error {
            StationError::Device(error) => ReleaseError::Device(error),
            error => ReleaseError::Refused(error.to_string()),
        })?;
        if let Some((target, leaving)) = target {
            tokio::task::block_in_place(|| {
                if let Target::Block(device) = target {
                    disk::is_the_jobs(&Disk::of_this_machine(device)?, held.directory())
                        .map_err(|refused| ReleaseError::Refused(refused.into_error().to_string()))?;
                }
                letting_go::sync(target)?;
                match leaving {
                    Leaving::Synced => Ok(()),
                    Leaving::Detached => Ok::<_, ReleaseError>(letting_go::detach(target)?),
                }
            })?;
        }
        self.step(id, Validity::CheckAndDo).await
    }

    async fn step(&self, id: &JobId, validity: Validity) -> Result<JobRecord, ReleaseError> {
        let released = self.service.release(&Caller::Holder, id, validity).await;
        released.map_err(ReleaseError::Api)?.map_err(|refusal| ReleaseError::Refused(refusal.to_string()))
    }
}
