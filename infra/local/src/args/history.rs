//! What is asked about runs that were.

use clap::Args as ClapArgs;
use ferry_transfer::task::Location;

use super::{ConfigArgs, DestStoreArgs, SourceStoreArgs, StateArgs};

/// `ferry why`.
#[derive(Debug, ClapArgs)]
pub struct WhyArgs {
    /// The key: whole or behind the task's prefix, or NAME://BUCKET/KEY of either side
    #[arg(value_name = "KEY")]
    pub key: String,
    /// Where it comes from: NAME://BUCKET/PREFIX [default: as the newest run that is remembered]
    #[arg(value_name = "SOURCE", requires = "destination")]
    pub source: Option<Location>,
    /// Where it goes: NAME://BUCKET/PREFIX
    #[arg(value_name = "DESTINATION")]
    pub destination: Option<Location>,
    /// The file that describes stores
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The source's store
    #[command(flatten)]
    pub source_store: SourceStoreArgs,
    /// The destination's store
    #[command(flatten)]
    pub dest_store: DestStoreArgs,
    /// Where runs are remembered.
    #[command(flatten)]
    pub state: StateArgs,
}

/// `ferry runs`.
#[derive(Debug, ClapArgs)]
pub struct RunsArgs {
    /// One run, with its task and its report [default: all that are remembered, newest first]
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Where runs are remembered.
    #[command(flatten)]
    pub state: StateArgs,
}

/// `ferry undelete`.
#[derive(Debug, ClapArgs)]
pub struct UndeleteArgs {
    /// The run whose deletes are undone, as `ferry runs` names it
    #[arg(value_name = "RUN")]
    pub run: String,
    /// The file that describes stores
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The destination's store
    #[command(flatten)]
    pub dest_store: DestStoreArgs,
    /// Where runs are remembered.
    #[command(flatten)]
    pub state: StateArgs,
}
