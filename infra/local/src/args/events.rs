//! The flags of `ferry events`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use ferry_cloud::CredentialRef;
use ferry_transfer::task::Location;

use super::{ConfigArgs, RefParser, StateArgs, StoreArgs};

/// `ferry events`.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: EventsCommand,
}

/// What to do about events.
#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    /// Have a bucket tell a queue of its changes, beside everything it tells already
    Subscribe(Box<SubscribeArgs>),
    /// Print notifications as they are posted here, and do nothing of what they say
    Listen(ListenEventsArgs),
    /// Post one notification to any host: a sample of any store's shape, a file, or one made up for a key
    Send(SendEventArgs),
    /// Post the notifications of a file, one JSON document on each line
    Replay(ReplayEventsArgs),
    /// Follow what becomes of the notifications of a running `ferry serve`
    Tail(TailEventsArgs),
}

/// Where notifications go.
#[derive(Debug, Args)]
pub struct EventTargetArgs {
    /// Where it goes: http://HOST:PORT/events/TASK of `ferry serve`, a Function URL, or any webhook
    #[arg(long, value_name = "URL")]
    pub to: Option<String>,
    /// What it is signed with
    #[command(flatten)]
    pub secret: EventSecretArgs,
}

/// What senders sign with; without either, nothing is signed.
#[derive(Debug, Args)]
pub struct EventSecretArgs {
    /// The file that the senders' secret stands in: `events-secret` of the directory of `ferry serve`
    #[arg(long, value_name = "FILE", conflicts_with = "secret")]
    pub secret_file: Option<PathBuf>,
    /// The senders' secret as a reference (env:PREFIX …): its secret half
    #[arg(long, value_name = "REF", value_parser = RefParser::<CredentialRef>::default())]
    pub secret: Option<CredentialRef>,
}

/// `ferry events listen`.
#[derive(Debug, Args)]
pub struct ListenEventsArgs {
    /// Address and port to listen at
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8481")]
    pub listen: SocketAddr,
    /// What senders sign with, or show; without it, whoever is on this machine may send
    #[command(flatten)]
    pub secret: EventSecretArgs,
    /// Print each notification as it came, on one line, for `replay`
    #[arg(long)]
    pub raw: bool,
}

/// `ferry events send`.
#[derive(Debug, Args)]
pub struct SendEventArgs {
    /// The name of a sample, or a file
    #[arg(value_name = "SAMPLE", conflicts_with = "key")]
    pub sample: Option<String>,
    /// List the samples
    #[arg(long)]
    pub list: bool,
    /// Tell of this object instead, in the shape of Amazon S3
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// The object's bucket
    #[arg(long, value_name = "BUCKET", requires = "key")]
    pub bucket: Option<String>,
    /// The object was deleted
    #[arg(long, requires = "key")]
    pub removed: bool,
    /// Where it goes
    #[command(flatten)]
    pub target: EventTargetArgs,
}

/// `ferry events replay`.
#[derive(Debug, Args)]
pub struct ReplayEventsArgs {
    /// The file, or - for the standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// At most so many a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub per_second: Option<u32>,
    /// Where they go
    #[command(flatten)]
    pub target: EventTargetArgs,
}

/// `ferry events tail`.
#[derive(Debug, Args)]
pub struct TailEventsArgs {
    /// Where the server listens
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8460")]
    pub url: String,
    /// The server's directory, where its token is
    #[command(flatten)]
    pub state: StateArgs,
}

/// `ferry events subscribe`.
#[derive(Debug, Args)]
pub struct SubscribeArgs {
    /// The bucket, and the prefix of the keys: NAME://BUCKET/PREFIX
    #[arg(value_name = "BUCKET")]
    pub location: Location,
    /// The queue that is told: its policy must let the store send
    #[arg(value_name = "QUEUE_ARN")]
    pub queue_arn: String,
    /// Tell of deletes too, for a task that mirrors them
    #[arg(long)]
    pub deletes: bool,
    /// Say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// The file that describes stores
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The store
    #[command(flatten)]
    pub store: StoreArgs,
}
