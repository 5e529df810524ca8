//! Whether a station may go on with its job.
//!
//! Owns: that somebody called the job off, or that another station has it now. Does not own: how that is found out. Invariant: what was called off stays so for this run.

use std::sync::OnceLock;

use ferry_device::job::{JobId, Refusal};

use super::StationError;

/// How a run stands towards the record of its job.
#[derive(Debug)]
pub(super) struct Standing {
    job: JobId,
    ended: OnceLock<Refusal>,
}

impl Standing {
    pub(super) fn new(job: JobId) -> Self {
        Self { job, ended: OnceLock::new() }
    }

    /// The record was not to be changed by this run any more.
    pub(super) fn end(&self, refusal: Refusal) {
        // The first reason counts.
        self.ended.set(refusal).ok();
    }

    /// Asked before each thing that a run does.
    pub(super) fn check(&self) -> Result<(), StationError> {
        match self.ended.get() {
            None => Ok(()),
            Some(Refusal::Canceled(_)) => Err(StationError::Canceled(self.job.clone())),
            Some(refusal) => Err(StationError::Lost(refusal.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;

    #[test]
    fn a_run_ends_when_its_job_is_called_off_or_anothers() {
        let job = JobId::of_number(1);
        let standing = Standing::new(job.clone());
        assert!(standing.check().is_ok());
        let until = OffsetDateTime::UNIX_EPOCH;
        standing.end(Refusal::Leased { id: job.clone(), station: "b".into(), until });
        assert!(matches!(standing.check(), Err(StationError::Lost(_))));
        standing.end(Refusal::Canceled(job.clone()));
        assert!(matches!(standing.check(), Err(StationError::Lost(_))), "the first reason counts");
        let canceled = Standing::new(job.clone());
        canceled.end(Refusal::Canceled(job));
        assert!(matches!(canceled.check(), Err(StationError::Canceled(_))));
    }
}
