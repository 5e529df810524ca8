//! The flags of `ferry reconcile`.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::Args;
use ferry_finder::reconcile::NAMES_A_STEP;

use super::{ConfigArgs, StateArgs};

/// `ferry reconcile`.
#[derive(Debug, Args)]
pub struct ReconcileArgs {
    /// The task, a file in YAML or JSON; its stores are those of ferry.yaml
    #[arg(value_name = "TASK")]
    pub task: PathBuf,
    /// End after so many passes over all keys; without this one, and with 0 never
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub passes: u32,
    /// Rest so many seconds after each range of keys, so that other traffic comes first
    #[arg(long, value_name = "SECS", default_value_t = 0)]
    pub pause_secs: u64,
    /// About how many keys to compare at a time
    #[arg(long, value_name = "N", default_value_t = NAMES_A_STEP, value_parser = clap::value_parser!(u64).range(1..))]
    pub keys: u64,
    /// Objects on their way at once
    #[arg(long, value_name = "N", default_value = "32")]
    pub concurrency: NonZeroU32,
    /// Where it is remembered how far a pass has come
    #[command(flatten)]
    pub state: StateArgs,
    /// The file that describes stores
    #[command(flatten)]
    pub config: ConfigArgs,
}
