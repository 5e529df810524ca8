//! What the actions do.
//!
//! Owns: limits, signing, and changes to jobs. Does not own: the wire, whether a manifest can be meant ([`crate::checking`]), or writing disks. Invariants: a password
//! goes into [`Secrets`] and nowhere else; a job that was not created leaves nothing behind; a caller sees its own jobs only.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ferry_cloud::documents::Buckets;
use ferry_device::job::{JobId, JobRecord, NewJob, Refusal};
use ferry_device::manifest::{Manifest, Strictness, redacted};
use ferry_device::signature::Signature;
use ferry_transfer::state::StateName;
use ferry_transfer::task::Location;
use ferry_transfer::{Clock, Error, ErrorKind, SharedState};
use time::{Duration, OffsetDateTime};

use crate::api::{ApiError, ErrorCode};
use crate::auth::{Caller, Callers};
use crate::checking::Checked;
use crate::jobs::{JobPage, Jobs};
use crate::secrets::{Secret, Secrets, random, unlike_any_other};

/// Under this name the key lies that signs.
const SIGNING_KEY: &str = "signing-key";
/// Its length: the block of neither hash is shorter.
const SIGNING_KEY_BYTES: usize = 32;

/// What the original allowed, as far as it can be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Jobs that may be created in 24 hours.
    pub jobs_per_day: usize,
    /// How long a job waits for its device.
    pub expires_after: Duration,
    /// Whether what nobody needs any more is demanded.
    pub strictness: Strictness,
}

impl Default for Limits {
    /// AWS Import/Export: 50 jobs a day, 30 days.
    fn default() -> Self {
        Self { jobs_per_day: 50, expires_after: Duration::days(30), strictness: Strictness::Forgiving }
    }
}

/// Where the station is, which needs programs that the service does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StationPlace {
    /// On this machine: what it lacks is told when a job is created.
    Here,
    /// Elsewhere: nothing is known of it.
    Elsewhere,
}

/// What a service is made of.
#[derive(Debug, Clone)]
pub struct ServiceParts {
    /// Where jobs are kept.
    pub state: SharedState,
    /// Where passwords and the signing key are kept.
    pub secrets: Arc<dyn Secrets>,
    /// Connects to the buckets that manifests name.
    pub buckets: Arc<dyn Buckets>,
    /// The store of manifests that name none.
    pub default_store: String,
    /// The keys that requests may be signed with.
    pub callers: Callers,
    /// What is allowed.
    pub limits: Limits,
    /// Lines of the address that devices are brought to; the job's id is added.
    pub shipping_address: Vec<String>,
    /// Where the station is that writes the jobs.
    pub station: StationPlace,
    /// Time and chance.
    pub clock: Arc<dyn Clock>,
}

/// The service.
#[derive(Debug, Clone)]
pub struct Service {
    parts: ServiceParts,
    jobs: Jobs,
}

/// Whether a request is only checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// Nothing is changed.
    CheckOnly,
    /// What passes is done.
    CheckAndDo,
}

/// What creating a job came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// The job; `None` where the manifest was only checked.
    pub job: Option<JobRecord>,
    /// What may not be meant.
    pub warnings: Vec<String>,
}

/// What updating a job came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Updated {
    /// The job as it is now.
    pub job: JobRecord,
    /// What may not be meant.
    pub warnings: Vec<String>,
}

impl Service {
    /// Of these parts.
    pub fn new(parts: ServiceParts) -> Self {
        Self { jobs: Jobs::new(Arc::clone(&parts.state)), parts }
    }

    /// The jobs.
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// The parts.
    pub fn parts(&self) -> &ServiceParts {
        &self.parts
    }

    pub(crate) fn callers(&self) -> &Callers {
        &self.parts.callers
    }

    pub(crate) fn now(&self) -> OffsetDateTime {
        self.parts.clock.now()
    }

    /// As a UUID is written, since that is what logs are searched for.
    pub(crate) fn request_id(&self) -> String {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a draw is in 0..1")]
        let word = || (self.parts.clock.draw() * f64::from(u32::MAX)) as u32;
        let (a, b, c, d) = (word(), word(), word(), word());
        format!("{a:08x}-{:04x}-{:04x}-{:04x}-{:04x}{d:08x}", b >> 16, b & 0xFFFF, c >> 16, c & 0xFFFF)
    }

    /// Checks a manifest and creates its job.
    pub async fn create(
        &self,
        caller: &Caller,
        manifest: &[u8],
        validity: Validity,
    ) -> Result<Created, ApiError> {
        let Checked { manifest: read, warnings } = self.checked(caller, manifest).await?;
        if validity == Validity::CheckOnly {
            return Ok(Created { job: None, warnings });
        }
        let now = self.now();
        if self.jobs.created_since(now - Duration::DAY).await? >= self.parts.limits.jobs_per_day {
            let message = format!(
                "{} jobs were created within a day, which is the limit. Wait, or raise it",
                self.parts.limits.jobs_per_day
            );
            return Err(ApiError::new(ErrorCode::CreateJobQuotaExceeded, message));
        }
        let key = self.signing_key().await?;
        let shown = redacted(manifest);
        let password_name = self.keep_password(&read).await?;
        let make = |id: JobId| {
            let new = Self::new_job(id, caller, &read, manifest, &shown, &key);
            let new = NewJob { password_name: password_name.clone(), ..new };
            JobRecord::new(new, now, self.parts.limits.expires_after)
        };
        match self.jobs.create(|| self.draw_id(), now, make).await {
            Ok(job) => Ok(Created { job: Some(job), warnings }),
            Err(error) => {
                self.forget(password_name.as_deref()).await;
                Err(error.into())
            }
        }
    }

    /// Gives a job that waits for its device another manifest, and so another signature.
    pub async fn update(
        &self,
        caller: &Caller,
        id: &JobId,
        manifest: &[u8],
        validity: Validity,
    ) -> Result<Updated, ApiError> {
        let current = self.status(caller, id).await?;
        let Checked { manifest: read, warnings } = self.checked(caller, manifest).await?;
        let key = self.signing_key().await?;
        let shown = redacted(manifest);
        let change = |job: JobRecord, password_name: Option<String>| {
            let new = Self::new_job(job.id.clone(), caller, &read, manifest, &shown, &key);
            job.update(NewJob { password_name, ..new }, self.now())
        };
        let checked = change(current, None).map_err(|refusal| ApiError::updating(&refusal))?;
        if validity == Validity::CheckOnly {
            return Ok(Updated { job: checked, warnings });
        }
        let password_name = self.keep_password(&read).await?;
        let mut former = None;
        let changed = self
            .jobs
            .change(id, |job| {
                former.clone_from(&job.password_name);
                change(job, password_name.clone())
            })
            .await;
        let unchanged = match changed {
            Ok(Some(Ok(job))) => {
                self.forget(former.as_deref()).await;
                return Ok(Updated { job, warnings });
            }
            Ok(Some(Err(refusal))) => ApiError::updating(&refusal),
            Ok(None) => unknown(id),
            Err(error) => error.into(),
        };
        self.forget(password_name.as_deref()).await;
        Err(unchanged)
    }

    /// Calls a job off.
    pub async fn cancel(&self, caller: &Caller, id: &JobId) -> Result<JobRecord, ApiError> {
        let current = self.status(caller, id).await?;
        let changed = self.jobs.change(id, |job| job.cancel(self.now())).await?.ok_or_else(|| unknown(id))?;
        let is_over = current.state.is_final();
        if changed.is_ok() || is_over {
            // Also where it was called off before, and that failed half way.
            self.forget_password(changed.as_ref().unwrap_or(&current)).await?;
        }
        changed.map_err(|refusal| ApiError::cancelling(&refusal))
    }

    /// Lets a job's device go, or tells whether it could be.
    pub async fn release(
        &self,
        caller: &Caller,
        id: &JobId,
        validity: Validity,
    ) -> Result<Result<JobRecord, Refusal>, ApiError> {
        let job = self.status(caller, id).await?;
        if validity == Validity::CheckOnly {
            return Ok(job.release(self.now()));
        }
        self.jobs.change(id, |job| job.release(self.now())).await?.ok_or_else(|| unknown(id))
    }

    /// A job as it stands now.
    pub async fn status(&self, caller: &Caller, id: &JobId) -> Result<JobRecord, ApiError> {
        let job = self.jobs.get(id).await?.filter(|job| caller.sees(&job.owner));
        let job = job.ok_or_else(|| unknown(id))?.at(self.now());
        if job.state == ferry_device::job::JobState::Expired {
            // Nobody else learns of it: a job expires by the clock alone.
            self.forget(job.password_name.as_deref()).await;
        }
        Ok(job)
    }

    /// The caller's jobs behind `marker`, newest first.
    pub async fn list(
        &self,
        caller: &Caller,
        marker: Option<&JobId>,
        most: usize,
    ) -> Result<JobPage, ApiError> {
        if let Some(marker) = marker {
            // A list that begins behind nothing would be empty, and look whole.
            self.status(caller, marker).await?;
        }
        let mut page = self.jobs.list(|job| caller.sees(&job.owner), marker, most).await?;
        let now = self.now();
        page.jobs = page.jobs.into_iter().map(|job| job.at(now)).collect();
        Ok(page)
    }

    /// What is laid beside a device: which jobs it is for, and where it belongs.
    pub async fn packing_slip(
        &self,
        caller: &Caller,
        ids: &[JobId],
        address: &[&str],
    ) -> Result<String, ApiError> {
        if ids.is_empty() {
            return Err(ApiError::new(
                ErrorCode::MissingParameter,
                "the parameter jobIds is required. Name a job",
            ));
        }
        let mut slip = "PACKING SLIP\n".to_owned();
        for id in ids {
            let job = self.status(caller, id).await?;
            // Asks as an update would: a job that was called off or expired needs no label.
            match job.state {
                ferry_device::job::JobState::Canceled => {
                    return Err(ApiError::new(
                        ErrorCode::CanceledJobId,
                        format!("job {id} was canceled. Leave it out"),
                    ));
                }
                ferry_device::job::JobState::Expired => {
                    return Err(ApiError::new(
                        ErrorCode::ExpiredJobId,
                        format!("job {id} has expired. Leave it out"),
                    ));
                }
                _ => slip.push_str(&format!("JOBID {id}\n")),
            }
        }
        for line in address {
            slip.push_str(line);
            slip.push('\n');
        }
        Ok(slip)
    }

    /// Where the job's device is brought to.
    pub fn shipping_address(&self, job: &JobRecord) -> String {
        let mut lines = self.parts.shipping_address.clone();
        lines.push(format!("JOBID {}", job.id));
        lines.join("\n")
    }

    /// The password of a job; `None` for files in the clear.
    pub async fn password(&self, job: &JobRecord) -> Result<Option<Secret>, ApiError> {
        match &job.password_name {
            Some(name) => Ok(self.parts.secrets.get(&secret_name(name)?).await?),
            None => Ok(None),
        }
    }

    /// Forgets a job's password.
    pub(crate) async fn forget_password(&self, job: &JobRecord) -> Result<(), ApiError> {
        Ok(self.remove_password(job.password_name.as_deref()).await?)
    }

    /// The same where nothing can be done about a failure.
    async fn forget(&self, password_name: Option<&str>) {
        if let Err(error) = self.remove_password(password_name).await {
            let name = password_name.unwrap_or_default();
            tracing::warn!(name, error = error.chain(), "a password that nobody needs is still kept");
        }
    }

    async fn remove_password(&self, password_name: Option<&str>) -> ferry_transfer::Result<()> {
        match password_name {
            Some(name) => self.parts.secrets.remove(&secret_name(name)?).await,
            None => Ok(()),
        }
    }

    fn draw_id(&self) -> JobId {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a draw is in 0..1")]
        let number = (self.parts.clock.draw() * f64::from(JobId::COUNT)) as u32;
        JobId::of_number(number)
    }

    fn new_job(
        id: JobId,
        caller: &Caller,
        read: &Manifest,
        manifest: &[u8],
        shown: &str,
        key: &Secret,
    ) -> NewJob {
        let method = read.extensions.signing_method;
        NewJob {
            signature: Signature::sign(method, key.reveal().as_bytes(), id.as_str(), manifest),
            id,
            owner: caller.name().to_owned(),
            manifest: shown.to_owned(),
            log_bucket: read.log_bucket.clone(),
            log_prefix: read.log_prefix.clone(),
            password_name: None,
        }
    }

    /// Keeps a manifest's password under a name that no other has: a record and its password are two things, and whoever reads one has read the other's name in it.
    async fn keep_password(&self, manifest: &Manifest) -> Result<Option<String>, ApiError> {
        let Some(password) = &manifest.password else { return Ok(None) };
        let name = format!("jobs/{:016x}", unlike_any_other()?);
        self.parts.secrets.put(&secret_name(&name)?, &Secret::new(password.reveal())).await?;
        Ok(Some(name))
    }

    /// The service's own key, drawn at its first use.
    async fn signing_key(&self) -> Result<Secret, ApiError> {
        let name = secret_name(SIGNING_KEY)?;
        if let Some(key) = self.parts.secrets.get(&name).await? {
            return Ok(key);
        }
        let mut bytes = [0; SIGNING_KEY_BYTES];
        random(&mut bytes)?;
        Ok(self.parts.secrets.put_if_absent(&name, Secret::new(STANDARD.encode(bytes))).await?)
    }

    /// A bucket of the manifest's store.
    pub fn location(&self, manifest: &Manifest, bucket: &str) -> Location {
        let store = manifest.extensions.store.as_deref().unwrap_or(&self.parts.default_store);
        Location { store: store.to_owned(), bucket: bucket.to_owned(), prefix: String::new() }
    }
}

fn unknown(id: &JobId) -> ApiError {
    ApiError::new(ErrorCode::InvalidJobId, format!("there is no job {id} of yours. Look at ListJobs"))
}

fn secret_name(name: &str) -> ferry_transfer::Result<StateName> {
    StateName::new(name).map_err(|bad| Error::new(ErrorKind::InvalidInput, bad.to_string()))
}
