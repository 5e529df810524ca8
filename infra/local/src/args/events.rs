//! The flags of `ferry events`.

use clap::{Args, Subcommand};
use ferry_transfer::task::Location;

use super::{ConfigArgs, StoreArgs};

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
