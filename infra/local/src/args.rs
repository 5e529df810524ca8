//! The command line, as typed.
//!
//! Owns: flags, their help and their conflicts. Does not own: anything with a side effect; [`crate::ends`] makes arguments
//! runnable. Invariant: flags are named like the fields of a task.

#![expect(
    clippy::doc_markdown,
    rustdoc::bare_urls,
    reason = "doc comments of flags are their help texts, printed as they are"
)]

mod access;
mod attributes;
mod certificate;
mod delete;
mod events;
mod export;
mod history;
mod keys;
mod listing;
mod pace;
mod probe;
mod queue;
mod reconcile;
mod resume;
mod run;
mod serve;
mod stack;
mod state;
mod sweep;
mod task;
mod versions;
mod worker;

use std::ffi::OsStr;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Args as ClapArgs, Parser, Subcommand, ValueEnum};
use ferry_cloud::profile::Addressing;
use ferry_cloud::{CredentialRef, StoreConfig};
use ferry_transfer::CompareMode;
pub use ferry_transfer::Size;
use ferry_transfer::task::Location;

pub use self::access::{AccessArgs, SideAccess};
pub use self::attributes::AttributeArgs;
pub use self::certificate::CertificateArgs;
pub use self::delete::DeleteArgs;
pub use self::events::{
    EventSecretArgs, EventTargetArgs, EventsArgs, EventsCommand, ListenEventsArgs, ReplayEventsArgs,
    SendEventArgs, SubscribeArgs, TailEventsArgs,
};
pub use self::export::{
    CreateJobArgs, ExportArgs, ExportCommand, ExportPlace, JobArgs, JobType, LabelArgs, ListJobsArgs,
    OpenArgs, OuterFs, PasswordArgs, ReadBack, ReleaseArgs, RunArgs, SecretsPlace, ServeArgs, SignArgs,
    SplitArgs, StationArgs, UpdateJobArgs, VerifyMediumArgs, WriteArgs,
};
pub use self::history::{RunsArgs, UndeleteArgs, WhyArgs};
pub use self::keys::KeyArgs;
pub use self::listing::ListingArgs;
pub use self::pace::PaceArgs;
pub use self::probe::ProbeArgs;
pub use self::queue::{LettersArgs, PeekArgs, PurgeArgs, QueueArgs, QueueCommand, RedriveArgs};
pub use self::reconcile::ReconcileArgs;
pub use self::resume::{Resume, ResumeArgs};
pub use self::run::{RunCommand, RunCommandArgs, RunStatusArgs};
pub use self::serve::HostArgs;
pub use self::stack::StackArgs;
pub use self::state::StateArgs;
pub use self::sweep::SweepArgs;
pub use self::task::{ImportDthArgs, PutTaskArgs, TaskArgs, TaskCommand, TaskNameArgs};
pub use self::versions::VersionArgs;
pub use self::worker::WorkerArgs;

/// Moves objects between S3-compatible stores and proves that it did.
#[derive(Debug, Parser)]
#[command(name = "ferry", version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

const EXIT_CODES: &str = "\
Locations are NAME://BUCKET/PREFIX, NAME being a store of ferry.yaml; s3:// is Amazon S3 with the ambient credentials.
Credentials are references, never values: env:PREFIX, file:PATH, ssm:NAME, command:CMD, profile:NAME, anonymous.

Exit codes: 0 done and in agreement, 1 some objects failed (listed), 2 usage or configuration,
3 differences found (verify, plan --exit-code) or left (sync --restore: objects parked), 4 refused for safety.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the destination agree with the source
    Sync(Box<SyncArgs>),
    /// Say what a sync would do and cost, and do nothing
    Plan(Box<PlanArgs>),
    /// Compare both sides and list every difference
    Verify(Box<VerifyArgs>),
    /// Tell everything known about one key: past runs, both sides now, what a sync would do
    Why(Box<WhyArgs>),
    /// List past runs, or show one
    Runs(RunsArgs),
    /// Bring back what a run deleted: from the trash, a delete marker or an earlier version
    Undelete(Box<UndeleteArgs>),
    /// Show all of it at work on this machine: no account, no network, nothing left behind
    Demo(DemoArgs),
    /// List buckets or keys
    Ls(Box<LsArgs>),
    /// Try a store by doing: what it can and cannot keep, before anything depends on it
    Probe(Box<ProbeArgs>),
    /// Find uploads of parts that were left behind, and drop them
    Sweep(Box<SweepArgs>),
    /// Compare a task's two sides range by range, repair what events missed, and say how far behind they were
    Reconcile(Box<ReconcileArgs>),
    /// What stores tell of their changes
    Events(Box<EventsArgs>),
    /// Make a link that reads or writes one object without credentials
    Presign(Box<PresignArgs>),
    /// Run tasks on a schedule and as notifications come in, until it is told to stop
    Serve(Box<HostArgs>),
    /// Write buckets onto an encrypted disk, by the job manifests of AWS Import/Export
    Export(Box<ExportArgs>),
    /// Manage the tasks of a deployment on AWS: put, run, pause, list
    Task(Box<TaskArgs>),
    /// Look after the queues of a deployment: what waits, what failed and why, try again
    Queue(Box<QueueArgs>),
    /// Follow a run of a deployment
    Run(Box<RunCommandArgs>),
    /// Work for a deployment on this machine: take jobs off its queue
    Worker(Box<WorkerArgs>),
}

/// What to print.
#[derive(Debug, Clone, ClapArgs)]
pub struct OutputArgs {
    /// Print results as JSON on stdout
    #[arg(long, global = true, help_heading = "Output")]
    pub json: bool,
    /// No progress on stderr
    #[arg(long, short, global = true, help_heading = "Output")]
    pub quiet: bool,
    /// Log what happens on stderr; twice for more (FERRY_LOG takes a filter of the tracing crate)
    #[arg(long, short, global = true, action = ArgAction::Count, help_heading = "Output")]
    pub verbose: u8,
}

/// The two ends, and how they are compared.
#[derive(Debug, Clone, ClapArgs)]
pub struct PairArgs {
    /// Where objects come from: NAME://BUCKET/PREFIX
    #[arg(value_name = "SOURCE")]
    pub source: Location,
    /// Where they go: NAME://BUCKET/PREFIX
    #[arg(value_name = "DESTINATION")]
    pub destination: Location,
    /// How to tell whether an object is the same on both sides
    #[arg(long, value_enum, value_name = "HOW")]
    pub compare: Option<Compare>,
    /// Which keys, and their names
    #[command(flatten)]
    pub keys: KeyArgs,
    /// How both sides are listed.
    #[command(flatten)]
    pub listing: ListingArgs,
    /// How fast to go at most
    #[command(flatten)]
    pub pace: PaceArgs,
    /// The file that describes stores
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The source's store
    #[command(flatten)]
    pub source_store: SourceStoreArgs,
    /// The destination's store
    #[command(flatten)]
    pub dest_store: DestStoreArgs,
    /// How both are asked
    #[command(flatten)]
    pub access: AccessArgs,
}

/// The file that describes stores.
#[derive(Debug, Clone, ClapArgs)]
pub struct ConfigArgs {
    /// The file that describes stores
    #[arg(long, env = "FERRY_CONFIG", value_name = "FILE", help_heading = "Stores")]
    pub config: Option<PathBuf>,
}

/// One-off description of the source's store; each flag overrides the same field of ferry.yaml.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct SourceStoreArgs {
    /// The source's endpoint: https://HOST:PORT
    #[arg(long, value_name = "URL", help_heading = "Source store")]
    pub source_endpoint: Option<String>,
    /// The source's signing region
    #[arg(long, value_name = "REGION", help_heading = "Source store")]
    pub source_region: Option<String>,
    /// The source's make: aws, aliyun-oss, ceph, minio …
    #[arg(long, value_name = "PROVIDER", help_heading = "Source store")]
    pub source_provider: Option<String>,
    /// A profile of the AWS configuration files for the source
    #[arg(long, value_name = "NAME", conflicts_with = "source_credentials", help_heading = "Source store")]
    pub source_profile: Option<String>,
    /// Where the source's credentials come from
    #[arg(long, value_name = "REF", value_parser = RefParser::<CredentialRef>::default(), help_heading = "Source store")]
    pub source_credentials: Option<CredentialRef>,
    /// Where the source's bucket name goes
    #[arg(long, value_enum, value_name = "STYLE", help_heading = "Source store")]
    pub source_addressing: Option<AddressingStyle>,
}

/// One-off description of the destination's store; each flag overrides the same field of ferry.yaml.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct DestStoreArgs {
    /// The destination's endpoint: https://HOST:PORT
    #[arg(long, value_name = "URL", help_heading = "Destination store")]
    pub dest_endpoint: Option<String>,
    /// The destination's signing region
    #[arg(long, value_name = "REGION", help_heading = "Destination store")]
    pub dest_region: Option<String>,
    /// The destination's make: aws, aliyun-oss, ceph, minio …
    #[arg(long, value_name = "PROVIDER", help_heading = "Destination store")]
    pub dest_provider: Option<String>,
    /// A profile of the AWS configuration files for the destination
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with = "dest_credentials",
        help_heading = "Destination store"
    )]
    pub dest_profile: Option<String>,
    /// Where the destination's credentials come from
    #[arg(long, value_name = "REF", value_parser = RefParser::<CredentialRef>::default(), help_heading = "Destination store")]
    pub dest_credentials: Option<CredentialRef>,
    /// Where the destination's bucket name goes
    #[arg(long, value_enum, value_name = "STYLE", help_heading = "Destination store")]
    pub dest_addressing: Option<AddressingStyle>,
}

/// One-off description of a single store.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct StoreArgs {
    /// The endpoint: https://HOST:PORT
    #[arg(long, value_name = "URL", help_heading = "Stores")]
    pub endpoint: Option<String>,
    /// The signing region
    #[arg(long, value_name = "REGION", help_heading = "Stores")]
    pub region: Option<String>,
    /// The make: aws, aliyun-oss, ceph, minio …
    #[arg(long, value_name = "PROVIDER", help_heading = "Stores")]
    pub provider: Option<String>,
    /// A profile of the AWS configuration files
    #[arg(long, value_name = "NAME", conflicts_with = "credentials", help_heading = "Stores")]
    pub profile: Option<String>,
    /// Where the credentials come from
    #[arg(long, value_name = "REF", value_parser = RefParser::<CredentialRef>::default(), help_heading = "Stores")]
    pub credentials: Option<CredentialRef>,
    /// Where the bucket name goes
    #[arg(long, value_enum, value_name = "STYLE", help_heading = "Stores")]
    pub addressing: Option<AddressingStyle>,
}

impl From<SourceStoreArgs> for StoreArgs {
    fn from(args: SourceStoreArgs) -> Self {
        Self {
            endpoint: args.source_endpoint,
            region: args.source_region,
            provider: args.source_provider,
            profile: args.source_profile,
            credentials: args.source_credentials,
            addressing: args.source_addressing,
        }
    }
}

impl From<DestStoreArgs> for StoreArgs {
    fn from(args: DestStoreArgs) -> Self {
        Self {
            endpoint: args.dest_endpoint,
            region: args.dest_region,
            provider: args.dest_provider,
            profile: args.dest_profile,
            credentials: args.dest_credentials,
            addressing: args.dest_addressing,
        }
    }
}

impl StoreArgs {
    /// Whether no flag was given.
    pub fn is_empty(&self) -> bool {
        self.endpoint.is_none()
            && self.region.is_none()
            && self.provider.is_none()
            && self.profile.is_none()
            && self.credentials.is_none()
            && self.addressing.is_none()
    }

    /// The flags laid over a description.
    pub fn over(self, mut config: StoreConfig) -> StoreConfig {
        config.endpoint = self.endpoint.or(config.endpoint);
        config.region = self.region.or(config.region);
        config.provider = self.provider.or(config.provider);
        config.addressing = self.addressing.map(Addressing::from).or(config.addressing);
        let profile = self.profile.map(CredentialRef::Profile);
        if let Some(credentials) = self.credentials.or(profile) {
            config.credentials = credentials;
        }
        config
    }
}

/// Reads a reference to a secret. Clap's own message would repeat the text, which may be a key pasted in the wrong place.
#[derive(Debug)]
struct RefParser<T>(PhantomData<fn() -> T>);

impl<T> Default for RefParser<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T> Clone for RefParser<T> {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<T> TypedValueParser for RefParser<T>
where
    T: FromStr<Err = ferry_transfer::Error> + Clone + Send + Sync + 'static,
{
    type Value = T;

    fn parse_ref(&self, command: &clap::Command, arg: Option<&Arg>, value: &OsStr) -> Result<T, clap::Error> {
        let refused = |reason: String| {
            let flag = arg.map(ToString::to_string).unwrap_or_default();
            let message = format!("invalid value for '{flag}': {reason}\n");
            clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(command)
        };
        let text = value.to_str().ok_or_else(|| refused("it is not UTF-8".to_owned()))?;
        text.parse().map_err(|error: ferry_transfer::Error| refused(error.chain()))
    }
}

/// Where a bucket's name goes.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum AddressingStyle {
    /// https://endpoint/bucket/key
    Path,
    /// https://bucket.endpoint/key
    Virtual,
    /// https://endpoint/key: the host is the bucket
    BucketHost,
}

impl From<AddressingStyle> for Addressing {
    fn from(style: AddressingStyle) -> Self {
        match style {
            AddressingStyle::Path => Self::Path,
            AddressingStyle::Virtual => Self::Virtual,
            AddressingStyle::BucketHost => Self::BucketHost,
        }
    }
}

/// How to tell whether an object is the same on both sides.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Compare {
    /// by ETag where the two stores' tags can be compared, else by size and "source newer" (the default)
    Auto,
    /// by size alone
    Size,
    /// by size and ETag; what cannot be compared counts as different
    Etag,
    /// by size and "source newer"
    Mtime,
    /// everything counts as different
    Always,
}

impl From<Compare> for CompareMode {
    fn from(compare: Compare) -> Self {
        match compare {
            Compare::Auto => Self::Auto,
            Compare::Size => Self::Size,
            Compare::Etag => Self::Etag,
            Compare::Mtime => Self::Mtime,
            Compare::Always => Self::Always,
        }
    }
}

/// How objects are copied.
#[derive(Debug, Clone, ClapArgs)]
pub struct CopyArgs {
    /// Objects and parts on their way at once; of parts and large objects at most 32, or an eighth
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..=4096), help_heading = "Copying")]
    pub concurrency: u16,
    /// Objects of at least this size go in parts
    #[arg(long, value_name = "SIZE", default_value = "32MiB", help_heading = "Copying")]
    pub multipart_threshold: Size,
    /// Size of a part, unless the object's own boundaries are known
    #[arg(long, value_name = "SIZE", default_value = "32MiB", help_heading = "Copying")]
    pub part_size: Size,
    /// Storage class to write; default: the source's own
    #[arg(long, value_name = "CLASS", help_heading = "Copying")]
    pub storage_class: Option<String>,
    /// What to do with attributes the destination cannot hold
    #[arg(long, value_enum, value_name = "RULE", default_value = "fail", help_heading = "Copying")]
    pub unsupported: Unsupported,
    /// What travels with the bytes.
    #[command(flatten)]
    pub attributes: AttributeArgs,
}

/// What to do with attributes the destination cannot hold.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Unsupported {
    /// fail the object
    Fail,
    /// copy it without them
    Drop,
    /// copy it without them, and keep them in KEY.ferry-attributes.json beside the copy
    Sidecar,
}

/// `ferry sync`.
#[derive(Debug, ClapArgs)]
pub struct SyncArgs {
    /// The two ends.
    #[command(flatten)]
    pub pair: PairArgs,
    /// How to copy.
    #[command(flatten)]
    pub copy: CopyArgs,
    /// How much of the past.
    #[command(flatten)]
    pub versions: VersionArgs,
    /// What to delete.
    #[command(flatten)]
    pub deletes: DeleteArgs,
    /// Write one line of JSON for each job's outcome to this file
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub receipts: Option<PathBuf>,
    /// Where it is remembered.
    #[command(flatten)]
    pub state: StateArgs,
    /// What it goes on with.
    #[command(flatten)]
    pub resume: ResumeArgs,
}

/// `ferry plan`.
#[derive(Debug, ClapArgs)]
pub struct PlanArgs {
    /// The two ends.
    #[command(flatten)]
    pub pair: PairArgs,
    /// How it would be copied.
    #[command(flatten)]
    pub copy: CopyArgs,
    /// What would be deleted.
    #[command(flatten)]
    pub deletes: DeleteArgs,
    /// Prices, sizes and speeds that go before the bundled ones, in the form of shared/transfer/prices.yaml
    #[arg(long, value_name = "FILE")]
    pub prices: Option<PathBuf>,
    /// Exit with 3 when there is anything to do
    #[arg(long)]
    pub exit_code: bool,
}

/// `ferry verify`.
#[derive(Debug, ClapArgs)]
pub struct VerifyArgs {
    /// The two ends.
    #[command(flatten)]
    pub pair: PairArgs,
    /// Read objects on both sides and compare bytes and attributes
    #[arg(long, value_enum, value_name = "WHICH", default_value = "none")]
    pub read: ReadWhich,
    /// Objects that are at the destination only are no difference
    #[arg(long)]
    pub ignore_extra: bool,
    /// What to write down.
    #[command(flatten)]
    pub certificate: CertificateArgs,
}

/// Which objects a verification reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReadWhich {
    /// none: listings only
    None,
    /// those whose ETags prove nothing
    Unproven,
    /// every object
    All,
}

/// `ferry demo`.
#[derive(Debug, ClapArgs)]
pub struct DemoArgs {
    /// Small objects to fill the source with
    #[arg(long, value_name = "N", default_value_t = 3000, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    pub objects: u32,
}

/// `ferry ls`.
#[derive(Debug, ClapArgs)]
pub struct LsArgs {
    /// NAME:// for buckets, NAME://BUCKET/PREFIX for keys
    #[arg(value_name = "LOCATION")]
    pub location: String,
    /// Every key under the prefix, not rolled up at the next slash
    #[arg(long, short)]
    pub recursive: bool,
    /// The file that describes stores
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The store
    #[command(flatten)]
    pub store: StoreArgs,
}

/// `ferry presign`.
#[derive(Debug, ClapArgs)]
pub struct PresignArgs {
    /// NAME://BUCKET/KEY
    #[arg(value_name = "LOCATION")]
    pub location: Location,
    /// What the link allows
    #[arg(long, value_enum, default_value = "get")]
    pub method: PresignMethod,
    /// How long it is valid, in seconds; 7 days at most
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    pub expires_secs: u64,
    /// The file that describes stores
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The store
    #[command(flatten)]
    pub store: StoreArgs,
}

/// What a link allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PresignMethod {
    /// reading the object
    Get,
    /// writing the object
    Put,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_secret_pasted_as_a_reference_is_not_repeated() {
        let error = Args::try_parse_from(["ferry", "ls", "s3://", "--credentials", "wJalrXUtnFEMIfake"])
            .expect_err("not a reference");
        let message = error.to_string();
        assert!(message.contains("env:PREFIX") && message.contains("--credentials"), "{message}");
        assert!(!message.contains("wJalr"), "{message}");
    }
}
