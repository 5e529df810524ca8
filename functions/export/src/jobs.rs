//! Jobs as they are stored.
//!
//! Owns: names of the records, allocation of ids, and changes that two writers cannot both make. Does not own: what a record says. Invariants: an id
//! is given out once (create-if-absent); a change is made to the record that was read, or made again to the newer one; listing reads only the
//! records of its page, since the names of an index carry the time; an entry of the index without its record, which a crash leaves, is none, and
//! no record is without its entry.

use bytes::Bytes;
use ferry_device::job::{JobId, JobRecord};
use ferry_transfer::state::{StateCondition, StateName, StateTag};
use ferry_transfer::{Error, ErrorKind, Result, SharedState};
use time::OffsetDateTime;
use time::macros::format_description;

/// Names of records and of the index begin so.
const RECORDS: &str = "export/jobs/";
const INDEX: &str = "export/index/";
/// Ids drawn before giving up: at a million jobs the chance that all are taken is 10⁻³³.
const DRAWS: usize = 20;
/// Attempts at a change that somebody else keeps overtaking.
const CHANGES: usize = 20;

/// Keeps jobs in a state store.
#[derive(Debug, Clone)]
pub struct Jobs {
    state: SharedState,
}

/// One page of jobs, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobPage {
    /// The jobs.
    pub jobs: Vec<JobRecord>,
    /// Whether there are older ones.
    pub is_truncated: bool,
}

impl Jobs {
    /// In this store.
    pub fn new(state: SharedState) -> Self {
        Self { state }
    }

    /// Stores a new job under an id that nobody has, drawn by number.
    pub async fn create(
        &self,
        mut draw: impl FnMut() -> JobId,
        now: OffsetDateTime,
        make: impl Fn(JobId) -> JobRecord,
    ) -> Result<JobRecord> {
        for _ in 0..DRAWS {
            let id = draw();
            let record = JobRecord { created: whole_microseconds(now), ..make(id) };
            // The entry first: whoever dies in between leaves an entry without its record, which is none.
            let entry = index_name(&record)?;
            self.state.write(&entry, Bytes::from_static(b"{}"), StateCondition::None).await?;
            match self.write(&record, StateCondition::Absent).await {
                Ok(_) => return Ok(record),
                Err(error) if error.kind() == ErrorKind::PreconditionFailed => {
                    self.state.remove(&entry).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(ErrorKind::Other, "no free job id was found"))
    }

    /// The job; `None` where there is none of this id.
    pub async fn get(&self, id: &JobId) -> Result<Option<JobRecord>> {
        Ok(self.read(id).await?.map(|(record, _)| record))
    }

    /// Changes a job by a pure function, which is asked again where somebody else was quicker. `Ok(None)` where there is no such job.
    pub async fn change<E>(
        &self,
        id: &JobId,
        mut change: impl FnMut(JobRecord) -> Result<JobRecord, E>,
    ) -> Result<Option<Result<JobRecord, E>>> {
        for _ in 0..CHANGES {
            let Some((record, tag)) = self.read(id).await? else { return Ok(None) };
            let changed = match change(record) {
                Ok(changed) => changed,
                Err(refused) => return Ok(Some(Err(refused))),
            };
            match self.write(&changed, StateCondition::Matches(tag)).await {
                Ok(_) => return Ok(Some(Ok(changed))),
                Err(error) if error.kind() == ErrorKind::PreconditionFailed => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(ErrorKind::Transient, format!("job {id} changes faster than it can be written")))
    }

    /// Jobs that were created since then.
    pub async fn created_since(&self, since: OffsetDateTime) -> Result<usize> {
        let from = stamp(since)?;
        let names = self.state.list(INDEX).await?;
        Ok(names
            .iter()
            .filter(|name| name.as_str().strip_prefix(INDEX).is_some_and(|rest| rest >= &*from))
            .count())
    }

    /// The wanted jobs behind `marker`, newest first.
    pub async fn list(
        &self,
        is_wanted: impl Fn(&JobRecord) -> bool,
        marker: Option<&JobId>,
        most: usize,
    ) -> Result<JobPage> {
        let names = self.state.list(INDEX).await?;
        let entries = names
            .iter()
            .rev()
            .filter_map(|name| Some((name, name.as_str().rsplit('-').next()?.parse::<JobId>().ok()?)));
        let behind = entries
            .skip_while(|(_, id)| marker.is_some_and(|marker| marker != id))
            .skip(usize::from(marker.is_some()));
        let mut jobs = Vec::new();
        for (entry, id) in behind {
            let Some(job) = self.get(&id).await? else { continue };
            // An entry of another time is one of a creation that met an id in use and died.
            if index_name(&job)? != *entry || !is_wanted(&job) {
                continue;
            }
            if jobs.len() == most {
                return Ok(JobPage { jobs, is_truncated: true });
            }
            jobs.push(job);
        }
        Ok(JobPage { jobs, is_truncated: false })
    }

    async fn read(&self, id: &JobId) -> Result<Option<(JobRecord, StateTag)>> {
        let Some(stored) = self.state.read(&record_name(id)?).await? else { return Ok(None) };
        let record = serde_json::from_slice(&stored.bytes).map_err(|error| {
            Error::new(ErrorKind::Corrupt, format!("the record of job {id} cannot be read")).caused_by(error)
        })?;
        Ok(Some((record, stored.tag)))
    }

    async fn write(&self, record: &JobRecord, condition: StateCondition) -> Result<StateTag> {
        let bytes = serde_json::to_vec_pretty(record).map_err(|error| {
            Error::new(ErrorKind::Other, format!("the record of job {} cannot be written", record.id))
                .caused_by(error)
        })?;
        self.state.write(&record_name(&record.id)?, bytes.into(), condition).await
    }
}

fn record_name(id: &JobId) -> Result<StateName> {
    name(format!("{RECORDS}{id}.json"))
}

fn index_name(job: &JobRecord) -> Result<StateName> {
    name(format!("{INDEX}{}-{}", stamp(job.created)?, job.id))
}

/// As finely as the index tells times apart.
fn whole_microseconds(time: OffsetDateTime) -> OffsetDateTime {
    time.replace_nanosecond(time.microsecond() * 1000).unwrap_or(time)
}

fn stamp(time: OffsetDateTime) -> Result<String> {
    let format = format_description!("[year][month][day]T[hour][minute][second].[subsecond digits:6]Z");
    time.to_offset(time::UtcOffset::UTC)
        .format(&format)
        .map_err(|error| Error::new(ErrorKind::Other, "the time cannot be written").caused_by(error))
}

fn name(text: String) -> Result<StateName> {
    StateName::new(text).map_err(|bad| Error::new(ErrorKind::InvalidInput, bad.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ferry_device::job::NewJob;
    use ferry_device::signature::{Signature, SigningMethod};
    use ferry_transfer::StateStore as _;
    use ferry_transfer::state::MemoryState;
    use time::Duration;

    use super::*;

    const NOW: OffsetDateTime = time::macros::datetime!(2026-11-23 10:00:00.123456789 UTC);

    fn record(id: JobId) -> JobRecord {
        let job = NewJob {
            password_name: None,
            signature: Signature::sign(SigningMethod::HmacSha1, b"key", id.as_str(), b""),
            id,
            owner: "local".into(),
            manifest: String::new(),
            log_bucket: "logs".into(),
            log_prefix: String::new(),
        };
        JobRecord::new(job, NOW, Duration::DAY)
    }

    async fn ids(jobs: &Jobs) -> Vec<JobId> {
        jobs.list(|_| true, None, 10).await.expect("list").jobs.into_iter().map(|job| job.id).collect()
    }

    #[tokio::test]
    async fn what_a_crash_leaves_of_a_creation_is_no_job_and_hides_none() {
        let state = Arc::new(MemoryState::default());
        let jobs = Jobs::new(Arc::clone(&state) as SharedState);
        let first = jobs.create(|| JobId::of_number(1), NOW, record).await.expect("created").id;
        // Died before its record was written, under an id of its own and under one in use.
        for number in [1, 2] {
            let later = JobRecord { created: NOW + Duration::SECOND, ..record(JobId::of_number(number)) };
            let entry = index_name(&later).expect("name");
            state.write(&entry, Bytes::new(), StateCondition::None).await.expect("entry");
        }
        assert_eq!(ids(&jobs).await, std::slice::from_ref(&first));
        let mut draws = [1, 2].into_iter();
        let later = NOW + Duration::MINUTE;
        let draw = || JobId::of_number(draws.next().expect("two draws do"));
        let second = jobs.create(draw, later, record).await.expect("created").id;
        assert_eq!(second, JobId::of_number(2));
        assert_eq!(ids(&jobs).await, [second, first]);
    }
}
