//! The flags of `ferry sweep`.

use std::path::PathBuf;

use clap::Args;
use ferry_transfer::select::Moment;
use ferry_transfer::task::Location;

use super::{ConfigArgs, StoreArgs};

/// `ferry sweep`.
#[derive(Debug, Args)]
pub struct SweepArgs {
    /// Where uploads were left behind: NAME://BUCKET/PREFIX
    #[arg(value_name = "LOCATION")]
    pub location: Location,
    /// Only uploads begun before this: an age (7d, 12h) or a time
    #[arg(long, value_name = "WHEN", default_value = "7d")]
    pub older_than: Moment,
    /// Drop them; without this they are only listed
    #[arg(long)]
    pub abort: bool,
    /// Uploads of other programs too, not only those that Ferry remembers
    #[arg(long)]
    pub all: bool,
    /// The directory that remembers runs [default: ~/.local/state/ferry]
    #[arg(long, env = "FERRY_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// The file that describes stores
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The store
    #[command(flatten)]
    pub store: StoreArgs,
}
