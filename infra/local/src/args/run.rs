//! `ferry run`, as typed.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use ferry_transfer::task::Location;

use super::{ConfigArgs, StackArgs};

/// `ferry run`.
#[derive(Debug, ClapArgs)]
pub struct RunCommandArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: RunCommand,
    /// Which deployment.
    #[command(flatten)]
    pub stack: StackArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum RunCommand {
    /// Say how far a run has come: names compared, jobs ended and left, time
    Status(RunStatusArgs),
}

/// `ferry run status`.
#[derive(Debug, ClapArgs)]
pub struct RunStatusArgs {
    /// The run [default: the newest]
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Where the deployment keeps its state: NAME://BUCKET/PREFIX [default: as the stack says]
    #[arg(long, value_name = "LOCATION", conflicts_with = "state_dir", help_heading = "State")]
    pub state: Option<Location>,
    /// A directory that remembers runs, in place of a deployment's state
    #[arg(long, value_name = "DIR", help_heading = "State")]
    pub state_dir: Option<PathBuf>,
    /// The file that describes stores
    #[command(flatten)]
    pub config: ConfigArgs,
}
