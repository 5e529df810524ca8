//! The station: the process that has the disk attached and writes an export.
//!
//! Owns: one job from its lease to its log: checks of the target, the frozen plan, the copy, reading back, log and report. Does not own: file systems,
//! containers and digests (`ferry-device`), nor reading stores ([`feed`]). Invariants: nothing is written to a target that does not carry the job's
//! SIGNATURE; two stations never hold one job; a station that was killed goes on where it was, to the same bytes.

mod begun;
mod disk;
mod feed;
pub(crate) mod listing;
mod log;
mod medium;
mod outer;
mod pace;
mod patience;
mod prefix;
mod reading;
mod releasing;
mod restoring;
mod sources;
mod standing;
mod upload;
mod work;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ferry_device::container::Format;
use ferry_device::documents::BagInfo;
use ferry_device::export_log::Report;
use ferry_device::job::{JobId, JobRecord, JobState, Refusal};
use ferry_device::manifest::{Manifest, Strictness};
use ferry_device::naming::FileSystem;
use ferry_device::ntfs::inside::InsideProgram;
use ferry_device::plan::Plan;
use ferry_device::target::disk::DeviceId;
use ferry_device::target::{Target, Unauthorised};
use ferry_device::verify::{Scope, Verdict};
use ferry_transfer::SharedStore;
use time::Duration;

use self::medium::Seal;
use self::pace::Pace;
use self::standing::Standing;
use crate::service::Service;

pub use disk::Consent;
pub(crate) use listing as selection;
pub(crate) use medium::room_of;
pub use releasing::{Leaving, ReleaseError};

/// How long a station keeps a job without a sign of life.
const LEASE: Duration = Duration::minutes(2);
/// How often it gives one.
const SIGN_OF_LIFE: std::time::Duration = std::time::Duration::from_secs(5);

/// A job that could not be run, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum StationError {
    /// Refused for safety.
    #[error("{message}")]
    Refused {
        /// What the job is then.
        state: JobState,
        /// Why.
        message: String,
    },
    /// The job is not one that can be run.
    #[error("{0}")]
    Job(String),
    /// The run ended before the job did; another run goes on.
    #[error("{0}")]
    Stopped(String),
    /// Another station has the job now.
    #[error("{0}; this station writes nothing more of it")]
    Lost(Refusal),
    /// The medium or the work directory failed.
    #[error(transparent)]
    Device(ferry_device::Error),
    /// A store or the state failed.
    #[error(transparent)]
    Store(#[from] ferry_transfer::Error),
    /// Somebody called the job off.
    #[error("job {0} was canceled; what is written so far is no whole export")]
    Canceled(JobId),
}

impl From<ferry_device::Error> for StationError {
    /// A medium that turns out to be another one is no failure of that medium.
    fn from(error: ferry_device::Error) -> Self {
        if error.kind() == ferry_device::ErrorKind::Refused {
            let message = ferry_transfer::chain(&error);
            return Self::Refused { state: JobState::MissingDevice, message };
        }
        Self::Device(error)
    }
}

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The job as it ended.
    pub job: JobRecord,
    /// The report's totals.
    pub report: Report,
    /// What reading back found; `None` where that was not asked for.
    pub verdict: Option<Verdict>,
    /// The manifest of the next medium, where this one was too small.
    pub next_manifest: Option<PathBuf>,
    /// The log on this machine.
    pub log: PathBuf,
}

/// How a job is run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Where to.
    pub target: Target,
    /// The medium's size, where it is to be other than what the target has.
    pub capacity_bytes: Option<u64>,
    /// How much of the medium is read back; `None` for nothing.
    pub read_back: Option<Scope>,
    /// How the device is known to be the manifest's.
    pub device_id: DeviceId,
    /// The file system that a whole disk gets, with the container as a file on it; `None` where the disk becomes the container.
    pub outer: Option<FileSystem>,
    /// What shows an NTFS that is in a container or an image.
    pub ntfs: InsideProgram,
    /// Who agrees that a whole disk is erased.
    pub consent: Consent,
}

/// What a run has done so far.
#[derive(Debug, Default)]
pub struct Progress {
    /// Files of the plan.
    pub objects: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
    /// Files that are written.
    pub objects_done: AtomicU64,
    /// Bytes that are written.
    pub bytes_done: AtomicU64,
    /// Archived objects that are being restored.
    pub archived: AtomicU64,
    /// Those that can be read already.
    pub readable: AtomicU64,
}

impl Progress {
    fn all(&self) -> [&AtomicU64; 6] {
        [&self.objects, &self.bytes, &self.objects_done, &self.bytes_done, &self.archived, &self.readable]
    }

    /// Another job begins.
    fn clear(&self) {
        self.all().iter().for_each(|number| number.store(0, Relaxed));
    }
}

/// A station.
#[derive(Debug, Clone)]
pub struct Station {
    service: Arc<Service>,
    /// Plans and journals are kept here, a directory for each job.
    work: PathBuf,
    name: String,
    progress: Arc<Progress>,
}

/// A job under way.
struct Run<'a> {
    station: &'a Station,
    id: JobId,
    manifest: Manifest,
    options: &'a RunOptions,
    work: PathBuf,
    standing: Arc<Standing>,
}

impl Station {
    /// A station that keeps plans and journals below `work`. Its name is kept there too: a process that takes over the work of one that was
    /// killed is the same station, and waits for no lease to lapse.
    pub fn new(service: Arc<Service>, work: PathBuf) -> Result<Self, StationError> {
        let name = work::station_name(&work)?;
        Ok(Self { service, work, name, progress: Arc::default() })
    }

    /// How far it is.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Whether nothing follows for a job: it has ended, was called off or has expired.
    pub async fn is_over(&self, id: &JobId) -> Result<bool, StationError> {
        let job = self.service.jobs().get(id).await?;
        Ok(job.is_some_and(|job| job.at(self.service.now()).state.is_final()))
    }

    /// Runs a job to its end, or goes on with it.
    pub async fn run(&self, id: &JobId, options: &RunOptions) -> Result<Finished, StationError> {
        let held = work::hold(&self.work, id)?;
        self.progress.clear();
        let now = self.service.now();
        let leased = self.service.jobs().change(id, |job| job.lease_to(&self.name, now, LEASE)).await?;
        let job = leased
            .ok_or_else(|| StationError::Job(format!("there is no job {id}")))?
            .map_err(|refusal| StationError::Job(refusal.to_string()))?;
        let manifest =
            Manifest::parse(job.manifest.as_bytes(), Strictness::Forgiving).manifest.ok_or_else(|| {
                StationError::Job(format!(
                    "the manifest in the record of job {id} cannot be read; create the job anew"
                ))
            })?;
        let work = held.directory().to_owned();
        let standing = Arc::new(Standing::new(id.clone()));
        let run = Run { station: self, id: id.clone(), manifest, options, work, standing };
        let heart = tokio::spawn(beat(
            Arc::clone(&self.service),
            id.clone(),
            self.name.clone(),
            Arc::clone(&self.progress),
            Arc::clone(&run.standing),
        ));
        let ended = Box::pin(run.to_end(&job)).await;
        heart.abort();
        if let Err(error) = &ended {
            run.note_failure(error).await;
        }
        drop(held);
        ended
    }
}

/// Keeps the lease, tells how far the job is, and hears that it was called off.
async fn beat(
    service: Arc<Service>,
    id: JobId,
    name: String,
    progress: Arc<Progress>,
    standing: Arc<Standing>,
) {
    let mut pace = Pace::default();
    loop {
        tokio::time::sleep(SIGN_OF_LIFE).await;
        let secs_left =
            pace.secs_left(service.now(), progress.bytes_done.load(Relaxed), progress.bytes.load(Relaxed));
        let changed = service
            .jobs()
            .change(&id, |mut job| {
                job.totals.objects = progress.objects.load(Relaxed);
                job.totals.bytes = progress.bytes.load(Relaxed);
                job.totals.objects_done = progress.objects_done.load(Relaxed);
                job.totals.bytes_done = progress.bytes_done.load(Relaxed);
                job.totals.archived = progress.archived.load(Relaxed);
                job.totals.readable = progress.readable.load(Relaxed);
                job.totals.secs_left = secs_left;
                job.lease_to(&name, service.now(), LEASE)
            })
            .await;
        match changed {
            Ok(Some(Ok(_))) => {}
            Ok(Some(Err(refusal))) => standing.end(refusal),
            Ok(None) => standing.end(Refusal::Canceled(id.clone())),
            Err(error) => {
                tracing::warn!(job = %id, error = error.chain(), "the job's record could not be written");
            }
        }
    }
}

impl Run<'_> {
    async fn to_end(&self, job: &JobRecord) -> Result<Finished, StationError> {
        self.step(JobState::Validating).await?;
        // A person may be asked, and mounts are made: both take their time.
        let admitted =
            tokio::task::block_in_place(|| medium::check(self.options, job, &self.manifest, &self.work))
                .map_err(Refused::into_error)?;
        let format = medium::format_of(&self.manifest);
        let arrangement = medium::arrangement_of(&self.manifest);
        let plan = if let Some(plan) = Plan::open(&self.work)? {
            plan
        } else {
            self.step(JobState::Listing).await?;
            listing::plan(self, arrangement).await?
        };
        let summary = plan.summary().clone();
        self.station.progress.objects.store(summary.objects, Relaxed);
        self.station.progress.bytes.store(summary.bytes, Relaxed);
        if let Some(terms) = restoring::terms(self.manifest.extensions.restore) {
            self.step(JobState::Restoring).await?;
            restoring::restore(self, &plan, terms).await?;
        }
        self.step(JobState::Planned).await?;
        self.step(JobState::Writing).await?;
        let seal = self.seal(job, format).await?;
        let opened = tokio::task::block_in_place(|| {
            medium::create(self.options, job, &self.manifest, &plan, seal.as_ref(), &admitted)
        })?;
        let bag = BagInfo { job: self.id.to_string(), date: job.created.date().to_string() };
        feed::write(self, &plan, opened, arrangement, bag).await?;
        let verdict = match &self.options.read_back {
            Some(scope) => {
                self.step(JobState::Verifying).await?;
                Some(medium::read_back(self, seal.as_ref(), scope.clone()).await?)
            }
            None => None,
        };
        self.step(JobState::Logging).await?;
        self.log(&plan, verdict).await
    }

    /// What the medium is encrypted with. A password that is gone never means that files are written in the clear.
    async fn seal(&self, job: &JobRecord, format: Option<Format>) -> Result<Option<Seal>, StationError> {
        let Some(format) = format else { return Ok(None) };
        let password = self.station.service.password(job).await;
        let password = password.map_err(|error| StationError::Job(error.message))?.ok_or_else(|| {
            StationError::Job(format!(
                "the password of job {} is not where passwords are kept; create the job anew",
                self.id
            ))
        })?;
        Ok(Some(Seal { format, password }))
    }

    async fn step(&self, state: JobState) -> Result<(), StationError> {
        self.standing.check()?;
        let Station { service, name, .. } = self.station;
        let step = |job: JobRecord| job.held_by(name).and_then(|()| job.step(state, service.now()));
        match service.jobs().change(&self.id, step).await? {
            Some(Ok(_)) => Ok(()),
            Some(Err(refusal)) => {
                self.standing.end(refusal);
                self.standing.check()
            }
            None => Err(StationError::Job(format!("the record of job {} is gone", self.id))),
        }
    }

    /// Writes down why a run ended early. What a later run can put right leaves the job as it is.
    async fn note_failure(&self, error: &StationError) {
        let state = match error {
            StationError::Refused { state, .. } => *state,
            StationError::Device(_) => JobState::DeviceError,
            StationError::Job(_)
            | StationError::Stopped(_)
            | StationError::Lost(_)
            | StationError::Store(_)
            | StationError::Canceled(_) => return,
        };
        let Station { service, name, .. } = self.station;
        let noted = service
            .jobs()
            .change(&self.id, |job| {
                job.held_by(name)?;
                let mut job = job.step(state, service.now())?;
                job.detail = Some(ferry_transfer::chain(error));
                Ok::<_, ferry_device::job::Refusal>(job)
            })
            .await;
        if let Err(error) = noted {
            tracing::warn!(job = %self.id, error = error.chain(), "the job's end could not be written down");
        }
    }

    async fn bucket(&self, bucket: &str) -> Result<SharedStore, StationError> {
        let location = self.station.service.location(&self.manifest, bucket);
        Ok(self.station.service.parts().buckets.bucket(&location).await?)
    }
}

/// Why a target is refused.
pub(crate) enum Refused {
    Signature(Unauthorised),
    Serial(String),
    Device(ferry_device::Error),
    Format(ferry_device::Error),
    Other(String),
}

impl Refused {
    fn into_error(self) -> StationError {
        let (state, message) = match self {
            Self::Signature(why @ Unauthorised::Missing(_)) => (JobState::MissingSignature, why.to_string()),
            Self::Signature(why) => (JobState::InvalidSignature, why.to_string()),
            Self::Serial(message) => (JobState::MissingDevice, message),
            Self::Device(error) => (JobState::UnsupportedDeviceType, ferry_transfer::chain(&error)),
            Self::Format(error) => (JobState::UnsupportedFileFormat, ferry_transfer::chain(&error)),
            Self::Other(message) => (JobState::UnsupportedDeviceType, message),
        };
        StationError::Refused { state, message }
    }
}

fn save(path: &Path, bytes: &[u8]) -> Result<(), StationError> {
    std::fs::write(path, bytes).map_err(|error| {
        ferry_device::Error::new(ferry_device::ErrorKind::Io, format!("cannot write {}", path.display()))
            .caused_by(error)
            .into()
    })
}
