//! `ferry export`, as typed: the words of the original's own tool, and the same in kebab-case.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args as ClapArgs, Subcommand};
use ferry_cloud::CredentialRef;
use ferry_device::job::JobId;
use ferry_device::target::Target;
use ferry_device::verify::{BadShare, Share};
use ferry_transfer::task::Location;

use super::{ConfigArgs, RefParser, Size};

/// `ferry export`.
#[derive(Debug, ClapArgs)]
pub struct ExportArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ExportCommand,
    /// Where jobs are kept.
    #[command(flatten)]
    pub place: ExportPlace,
}

/// Where jobs and buckets are.
#[derive(Debug, Clone, ClapArgs)]
pub struct ExportPlace {
    /// The directory that keeps jobs, their passwords (files for you alone) and plans [default: ~/.local/state/ferry]
    #[arg(long, env = "FERRY_STATE_DIR", value_name = "DIR", global = true, help_heading = "State")]
    pub state_dir: Option<PathBuf>,
    /// The store of ferry.yaml that holds the buckets of manifests without x-store
    #[arg(long, value_name = "NAME", default_value = "s3", global = true, help_heading = "Stores")]
    pub store: String,
    /// The file that describes stores
    #[arg(long, env = "FERRY_CONFIG", value_name = "FILE", global = true, help_heading = "Stores")]
    pub config: Option<PathBuf>,
    /// Where the jobs of a service elsewhere are kept: STORE://BUCKET/PREFIX/ [default: the state directory]
    #[arg(long, env = "FERRY_STATE", value_name = "LOCATION", global = true, help_heading = "State")]
    pub jobs: Option<Location>,
    /// Where its passwords are kept: ssm:/PATH [default: the state directory]
    #[arg(long, env = "FERRY_EXPORT_SECRETS", value_name = "PLACE", global = true, help_heading = "State")]
    pub secrets: Option<SecretsPlace>,
    /// Ask the Import/Export API at this URL instead: create-job, update-job, cancel-job, get-status and list-jobs
    #[arg(
        long,
        value_name = "URL",
        requires = "signed_with",
        global = true,
        help_heading = "Service elsewhere"
    )]
    pub endpoint_url: Option<String>,
    /// Where the keys come from that those requests are signed with
    #[arg(long, value_name = "REF", value_parser = RefParser::<CredentialRef>::default(), global = true, help_heading = "Service elsewhere")]
    pub signed_with: Option<CredentialRef>,
    /// Most jobs created in 24 hours
    #[arg(long, value_name = "N", default_value_t = 50, global = true, help_heading = "Limits")]
    pub jobs_per_day: usize,
    /// Days that a job waits for its device
    #[arg(long, value_name = "DAYS", default_value_t = 30, global = true, help_heading = "Limits")]
    pub expire_days: u16,
    /// Demand what the original demanded for shipping, such as a return address
    #[arg(long, global = true, help_heading = "Limits")]
    pub strict: bool,
    /// A line of the address that devices are brought to; may be given several times
    #[arg(long, value_name = "LINE", global = true, help_heading = "State")]
    pub address: Vec<String>,
}

/// As without flags.
impl Default for ExportPlace {
    fn default() -> Self {
        Self {
            state_dir: None,
            store: "s3".to_owned(),
            config: None,
            jobs: None,
            secrets: None,
            endpoint_url: None,
            signed_with: None,
            jobs_per_day: 50,
            expire_days: 30,
            strict: false,
            address: Vec::new(),
        }
    }
}

impl ExportPlace {
    /// The configuration's file, as other commands take it.
    pub fn config(&self) -> ConfigArgs {
        ConfigArgs { config: self.config.clone() }
    }
}

/// A path of SSM, under which passwords are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretsPlace(pub String);

impl FromStr for SecretsPlace {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("ssm:/") {
            Some(path) if !path.is_empty() => Ok(Self(format!("/{path}"))),
            _ => Err("write ssm: and a path of parameters, which begins with a slash"),
        }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum ExportCommand {
    /// Create a job from a manifest and write its SIGNATURE
    #[command(visible_alias = "CreateJob")]
    CreateJob(CreateJobArgs),
    /// Give a job that waits for its device another manifest
    #[command(visible_alias = "UpdateJob")]
    UpdateJob(UpdateJobArgs),
    /// Call a job off
    #[command(visible_alias = "CancelJob")]
    CancelJob(JobArgs),
    /// Tell where a job stands
    #[command(visible_alias = "GetStatus")]
    GetStatus(JobArgs),
    /// List jobs, newest first
    #[command(visible_alias = "ListJobs")]
    ListJobs(ListJobsArgs),
    /// Print the slip to lay beside a device
    #[command(visible_alias = "GetShippingLabel")]
    GetShippingLabel(LabelArgs),
    /// Sign a manifest with your own secret key, as by e-mail in 2009
    Sign(SignArgs),
    /// Answer the Import/Export API on this machine
    Serve(ServeArgs),
    /// Split a manifest's data over your disks: one manifest each, with cost and hours
    Plan(SplitArgs),
    /// Write a job onto its medium, or go on with it
    Run(RunArgs),
    /// Take jobs off a queue and write them
    Station(StationArgs),
    /// Let a job's device go: everything is on it, and its location is Returned
    Release(ReleaseArgs),
    /// Read a finished medium and compare every file with the list on it; needs nothing but the medium
    Verify(VerifyMediumArgs),
    /// Take files out of a finished medium, without mounting it
    Open(OpenArgs),
    /// Show the inside of a container to ntfs-3g: what `run`, `verify` and `open` start for themselves
    #[command(hide = true)]
    ShowInside,
}

/// How much of a medium is read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadBack {
    /// All of it.
    Full,
    /// Nothing.
    Nothing,
    /// So many of the files.
    Sample(Share),
}

impl FromStr for ReadBack {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "full" => Ok(Self::Full),
            "none" => Ok(Self::Nothing),
            _ => match text.strip_prefix("sample=") {
                Some(share) => share.parse().map(Self::Sample).map_err(|bad: BadShare| bad.to_string()),
                None => Err("write full, none or sample=1%".to_owned()),
            },
        }
    }
}

/// What a disk is formatted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OuterFs {
    /// Windows reads it at once
    Ntfs,
    /// Linux does
    Ext4,
}

/// The only kind of job there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum JobType {
    /// buckets onto a device
    Export,
    /// a device into buckets: not here
    Import,
}

/// The word that asks for a check only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum Only {
    /// check the manifest and create nothing
    #[value(alias = "validateonly")]
    ValidateOnly,
}

/// `CreateJob`.
#[derive(Debug, ClapArgs)]
pub struct CreateJobArgs {
    /// Export
    #[arg(value_enum, value_name = "JOBTYPE")]
    pub job_type: JobType,
    /// The manifest's file
    #[arg(value_name = "MANIFEST")]
    pub manifest: PathBuf,
    /// The directory to write SIGNATURE to: the root of the device
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// ValidateOnly: check the manifest and create nothing
    #[arg(value_enum, value_name = "ValidateOnly")]
    pub only: Option<Only>,
    /// The same as a flag
    #[arg(long)]
    pub validate_only: bool,
}

/// `UpdateJob`.
#[derive(Debug, ClapArgs)]
pub struct UpdateJobArgs {
    /// The job
    #[arg(value_name = "JOBID")]
    pub job: JobId,
    /// Export
    #[arg(value_enum, value_name = "JOBTYPE")]
    pub job_type: JobType,
    /// The manifest's file
    #[arg(value_name = "MANIFEST")]
    pub manifest: PathBuf,
    /// The directory to write the new SIGNATURE to
    #[arg(value_name = "DIR")]
    pub directory: Option<PathBuf>,
}

/// One job.
#[derive(Debug, ClapArgs)]
pub struct JobArgs {
    /// The job
    #[arg(value_name = "JOBID")]
    pub job: JobId,
}

/// `ListJobs`.
#[derive(Debug, ClapArgs)]
pub struct ListJobsArgs {
    /// Most jobs to list
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub max_jobs: usize,
    /// Begin behind this job
    #[arg(long, value_name = "JOBID")]
    pub marker: Option<JobId>,
}

/// `GetShippingLabel`.
#[derive(Debug, ClapArgs)]
pub struct LabelArgs {
    /// The jobs
    #[arg(value_name = "JOBID", required = true)]
    pub labelled: Vec<JobId>,
    /// A line of the address that the device returns to; may be given several times
    #[arg(long, value_name = "LINE")]
    pub line: Vec<String>,
}

/// `ferry export sign`.
#[derive(Debug, ClapArgs)]
pub struct SignArgs {
    /// The manifest's file
    #[arg(value_name = "MANIFEST")]
    pub manifest: PathBuf,
    /// The job's id
    #[arg(value_name = "JOBID")]
    pub job: JobId,
    /// Where the key pair comes from whose secret half signs
    #[arg(long, value_name = "REF", value_parser = RefParser::<CredentialRef>::default())]
    pub credentials: CredentialRef,
    /// Sign with HmacSHA256 instead of the original's HmacSHA1
    #[arg(long)]
    pub sha256: bool,
}

/// `ferry export serve`.
#[derive(Debug, ClapArgs)]
pub struct ServeArgs {
    /// Where to listen; loopback only
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8787")]
    pub listen: SocketAddr,
    /// Where the keys come from that requests must be signed with; may be given several times
    #[arg(long, value_name = "REF", required = true, value_parser = RefParser::<CredentialRef>::default())]
    pub credentials: Vec<CredentialRef>,
}

/// `ferry export plan`.
#[derive(Debug, ClapArgs)]
pub struct SplitArgs {
    /// The manifest's file
    #[arg(value_name = "MANIFEST")]
    pub manifest: PathBuf,
    /// The size of a disk (4TB), in the order in which they are filled; may be given several times
    #[arg(long, value_name = "SIZE", required = true)]
    pub device: Vec<Size>,
    /// The directory to write the manifests to
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// Megabytes a second that the disks take, for the hours
    #[arg(long, value_name = "MB/S", default_value_t = 100)]
    pub speed: u32,
}

/// How a job is written.
#[derive(Debug, Clone, ClapArgs)]
pub struct WriteArgs {
    /// dir:MOUNTED-ROOT, image:FILE, block:/dev/DISK or plain:DIR
    #[arg(long, value_name = "TARGET")]
    pub target: Target,
    /// Give the whole disk this file system, and put the container onto it as a file, as the original did; without it the disk becomes the container
    #[arg(long, value_name = "FILE-SYSTEM")]
    pub outer: Option<OuterFs>,
    /// The medium's size: what has no room is cut off in key order, and a manifest for the next medium is written
    #[arg(long, value_name = "SIZE")]
    pub capacity: Option<Size>,
    /// The manifest's deviceId is on the device's sticker, and you have read it: the disk itself need not tell it
    #[arg(long)]
    pub device_id_on_sticker: bool,
    /// The serial number of the disk that block: erases, instead of typing it when asked
    #[arg(long, value_name = "SERIAL")]
    pub yes_erase: Option<String>,
    /// How much of the medium is read back: full, none, or sample=1% of the files and all documents
    #[arg(long, value_name = "HOW-MUCH", default_value = "full", conflicts_with = "no_verify")]
    pub verify: ReadBack,
    /// As --verify none
    #[arg(long, hide = true)]
    pub no_verify: bool,
    /// A topic of SNS that is told how the job ended: arn:aws:sns:REGION:ACCOUNT:NAME
    #[arg(long, value_name = "ARN")]
    pub notify_topic: Option<String>,
}

/// `ferry export run`.
#[derive(Debug, ClapArgs)]
pub struct RunArgs {
    /// The job
    #[arg(value_name = "JOBID")]
    pub job: JobId,
    /// How it is written.
    #[command(flatten)]
    pub write: WriteArgs,
}

/// `ferry export station`.
#[derive(Debug, ClapArgs)]
pub struct StationArgs {
    /// The SQS queue of jobs: {"jobId": "…"}
    #[arg(long, value_name = "URL")]
    pub queue: String,
    /// End once the queue is empty
    #[arg(long)]
    pub once: bool,
    /// How jobs are written.
    #[command(flatten)]
    pub write: WriteArgs,
}

/// Where a medium's password comes from.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct PasswordArgs {
    /// The file that holds the medium's password
    #[arg(long, value_name = "FILE", conflicts_with = "password_env")]
    pub password_file: Option<PathBuf>,
    /// The environment variable that holds it
    #[arg(long, value_name = "NAME")]
    pub password_env: Option<String>,
}

/// `ferry export release`.
#[derive(Debug, ClapArgs)]
pub struct ReleaseArgs {
    /// The job
    #[arg(value_name = "JOBID")]
    pub job: JobId,
    /// What it was written to: it is synced first
    #[arg(long, value_name = "TARGET")]
    pub target: Option<Target>,
    /// Unmount the directory, or make the kernel give the disk up
    #[arg(long, requires = "target")]
    pub detach: bool,
}

/// `ferry export verify`.
#[derive(Debug, ClapArgs)]
pub struct VerifyMediumArgs {
    /// dir:MOUNTED-ROOT, image:FILE, block:DEVICE or plain:DIR
    #[arg(value_name = "TARGET")]
    pub target: Target,
    /// Read only so many of the files, and all documents: 1%
    #[arg(long, value_name = "SHARE")]
    pub sample: Option<Share>,
    /// What opens it.
    #[command(flatten)]
    pub password: PasswordArgs,
}

/// `ferry export open`.
#[derive(Debug, ClapArgs)]
pub struct OpenArgs {
    /// dir:MOUNTED-ROOT, image:FILE, block:DEVICE or plain:DIR
    #[arg(value_name = "TARGET")]
    pub target: Target,
    /// The directory to copy to; made where it is missing, nothing in it is overwritten
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Only files whose path on the medium begins so
    #[arg(long, value_name = "PATH", default_value = "")]
    pub prefix: String,
    /// What opens it.
    #[command(flatten)]
    pub password: PasswordArgs,
}
