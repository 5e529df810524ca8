//! What is stored of a job.

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::{JobId, JobState, Location};
use crate::signature::Signature;
use crate::verify::Verification;

/// What is stored of a job. Its password is elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// The id.
    pub id: JobId,
    /// Where it stands.
    pub state: JobState,
    /// Where the device is.
    pub location: Location,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created: OffsetDateTime,
    /// When it last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub changed: OffsetDateTime,
    /// When it expires unless a device comes.
    #[serde(with = "time::serde::rfc3339")]
    pub expires: OffsetDateTime,
    /// The access key id of whoever created it.
    pub owner: String,
    /// The manifest, with stars in place of its password.
    pub manifest: String,
    /// What the device's SIGNATURE must say.
    pub signature: Signature,
    /// `logBucket`.
    pub log_bucket: String,
    /// The log's key.
    pub log_key: String,
    /// The key, in the log's bucket, of the manifest for the next medium, where this one was too small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_manifest_key: Option<String>,
    /// The name under which its password is kept, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_name: Option<String>,
    /// What is done of it.
    #[serde(default)]
    pub totals: Totals,
    /// How much of the medium was read back, once the job has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
    /// Why it ended as it did, where that needs words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The station that is at work on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
}

/// How much of a job is done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Objects of the plan.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that are on the device.
    pub objects_done: u64,
    /// Their bytes.
    pub bytes_done: u64,
    /// Objects that are not, and why is in the log.
    pub errors: u64,
    /// Archived objects that are being restored.
    #[serde(default)]
    pub archived: u64,
    /// Those that can be read already.
    #[serde(default)]
    pub readable: u64,
    /// Seconds that the rest of the copy will take, at the pace so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secs_left: Option<u64>,
}

/// A station's claim to a job. It lapses, so that a station that was killed holds nothing up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The station.
    pub station: String,
    /// Until when.
    #[serde(with = "time::serde::rfc3339")]
    pub until: OffsetDateTime,
}

/// What a job is made of.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// The id.
    pub id: JobId,
    /// The access key id of whoever creates it.
    pub owner: String,
    /// The manifest, with stars in place of its password.
    pub manifest: String,
    /// What the device's SIGNATURE must say.
    pub signature: Signature,
    /// `logBucket`.
    pub log_bucket: String,
    /// `logPrefix`.
    pub log_prefix: String,
    /// The name under which its password is kept, where it has one.
    pub password_name: Option<String>,
}

/// Why a job may not change so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It was called off.
    #[error("job {0} was canceled")]
    Canceled(JobId),
    /// No device came in time.
    #[error("job {0} has expired")]
    Expired(JobId),
    /// A station is at work on it, or was.
    #[error("a station is at work or was cut off on job {0}: let it end, run it again or cancel the job")]
    Unfinished(JobId),
    /// No device of it was ever here.
    #[error("job {0} has no device here")]
    NoDevice(JobId),
    /// It is at work or has ended.
    #[error("job {id} is {state:?} and can no longer change so")]
    State {
        /// The job.
        id: JobId,
        /// Where it stands.
        state: JobState,
    },
    /// Another station is at work on it.
    #[error("job {id} is held by the station {station} until {until}")]
    Leased {
        /// The job.
        id: JobId,
        /// The station.
        station: String,
        /// Until when.
        until: OffsetDateTime,
    },
}

impl JobRecord {
    /// A job that waits for its device.
    pub fn new(job: NewJob, now: OffsetDateTime, expires_after: Duration) -> Self {
        Self {
            log_key: format!("{}export-log-{}", job.log_prefix, job.id),
            id: job.id,
            state: JobState::Pending,
            location: Location::NotReceived,
            created: now,
            changed: now,
            expires: now.saturating_add(expires_after),
            owner: job.owner,
            manifest: job.manifest,
            signature: job.signature,
            log_bucket: job.log_bucket,
            next_manifest_key: None,
            password_name: job.password_name,
            totals: Totals::default(),
            verification: None,
            detail: None,
            lease: None,
        }
    }

    /// The job as it stands at this time: one whose device did not come has expired, whether anybody wrote that down or not.
    #[must_use]
    pub fn at(mut self, now: OffsetDateTime) -> Self {
        // So has one whose device was refused and never came again.
        let waits =
            !self.state.is_running() && !self.state.is_final() && self.location == Location::NotReceived;
        if waits && now >= self.expires {
            self.state = JobState::Expired;
        }
        self
    }

    fn open(&self) -> Result<(), Refusal> {
        match self.state {
            JobState::Canceled => Err(Refusal::Canceled(self.id.clone())),
            JobState::Expired => Err(Refusal::Expired(self.id.clone())),
            state if state.is_final() => Err(self.refused()),
            _ => Ok(()),
        }
    }

    fn refused(&self) -> Refusal {
        Refusal::State { id: self.id.clone(), state: self.state }
    }

    /// Takes another manifest, and the signature over it. Only while it waits for its device.
    pub fn update(mut self, job: NewJob, now: OffsetDateTime) -> Result<Self, Refusal> {
        self = self.at(now);
        self.open()?;
        if self.state != JobState::Pending {
            return Err(self.refused());
        }
        // A station has read the manifest that it had until now.
        if self.lease.as_ref().is_some_and(|lease| now < lease.until) {
            self.held_by("")?;
        }
        self.manifest = job.manifest;
        self.signature = job.signature;
        self.log_bucket = job.log_bucket;
        self.log_key = format!("{}export-log-{}", job.log_prefix, self.id);
        self.password_name = job.password_name;
        self.changed = now;
        Ok(self)
    }

    /// Calls it off. A station that is at work stops at the next object.
    pub fn cancel(self, now: OffsetDateTime) -> Result<Self, Refusal> {
        self.step(JobState::Canceled, now)
    }

    /// Takes a step.
    pub fn step(mut self, next: JobState, now: OffsetDateTime) -> Result<Self, Refusal> {
        self = self.at(now);
        self.open()?;
        if !self.state.may_become(next) {
            return Err(self.refused());
        }
        self.state = next;
        self.changed = now;
        self.detail = None;
        // Until it is let go: a job that has ended is not yet a device that was carried away.
        if next.is_running() && next != JobState::Validating {
            self.location = Location::AtAws;
        }
        if !next.is_running() {
            self.lease = None;
        }
        Ok(self)
    }

    /// Lets its device go.
    pub fn release(mut self, now: OffsetDateTime) -> Result<Self, Refusal> {
        if self.state.is_running() {
            return Err(Refusal::Unfinished(self.id));
        }
        if self.location == Location::NotReceived {
            return Err(Refusal::NoDevice(self.id));
        }
        self.location = Location::Returned;
        self.changed = now;
        Ok(self)
    }

    /// Gives the job to a station, or lets the same one keep it.
    pub fn lease_to(mut self, station: &str, now: OffsetDateTime, keeps: Duration) -> Result<Self, Refusal> {
        self = self.at(now);
        self.open()?;
        if self.lease.as_ref().is_some_and(|lease| now < lease.until) {
            self.held_by(station)?;
        }
        self.lease = Some(Lease { station: station.to_owned(), until: now.saturating_add(keeps) });
        Ok(self)
    }

    /// Whether a station still has it. One that was cut off for longer than its lease may find that another has taken over.
    pub fn held_by(&self, station: &str) -> Result<(), Refusal> {
        match &self.lease {
            Some(lease) if lease.station != station => Err(Refusal::Leased {
                id: self.id.clone(),
                station: lease.station.clone(),
                until: lease.until,
            }),
            _ => Ok(()),
        }
    }

    /// What a reader is told of its progress.
    pub fn progress_message(&self) -> String {
        let Totals { objects, bytes, objects_done, bytes_done, .. } = self.totals;
        if let Some(detail) = &self.detail {
            return format!("{} {detail}", self.state.message());
        }
        if let Some(reservation) = self.verification.as_ref().and_then(Verification::reservation) {
            return format!("{} {reservation}", self.state.message());
        }
        if matches!(self.state, JobState::Writing | JobState::Verifying) && objects > 0 {
            let share = if bytes == 0 { 100 } else { u128::from(bytes_done) * 100 / u128::from(bytes) };
            let left = self
                .totals
                .secs_left
                .filter(|_| self.state == JobState::Writing)
                .map_or(String::new(), about);
            return format!("{} {objects_done} of {objects} objects, {share} %{left}.", self.state.message());
        }
        let Totals { archived, readable, .. } = self.totals;
        if self.state == JobState::Restoring && archived > 0 {
            return format!("{} {readable} of {archived} can be read.", self.state.message());
        }
        self.state.message().to_owned()
    }
}

/// A duration as somebody who waits wants it.
fn about(secs_left: u64) -> String {
    match secs_left {
        0..100 => format!(", about {secs_left} s left"),
        100..6000 => format!(", about {} min left", secs_left.div_ceil(60)),
        _ => format!(", about {} h left", secs_left.div_ceil(3600)),
    }
}
