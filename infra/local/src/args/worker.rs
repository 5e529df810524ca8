//! `ferry worker`, as typed.

use std::time::Duration;

use clap::Args as ClapArgs;

use super::StackArgs;

/// `ferry worker`.
#[derive(Debug, ClapArgs)]
pub struct WorkerArgs {
    /// The queue to take jobs from [default: FERRY_JOB_QUEUE_URL, else the deployment's]
    #[arg(long, value_name = "URL")]
    pub queue: Option<String>,
    /// Take large objects, from the deployment's queue for them
    #[arg(long, conflicts_with = "queue")]
    pub large: bool,
    /// Batches under way at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub hands: u16,
    /// Messages in a batch; fewer where objects are large, since a batch ends with its last object
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u8).range(1..=10))]
    pub batch: u8,
    /// Seconds that a batch may take; what is not done then goes on with another message
    #[arg(long, value_name = "SECONDS", default_value_t = 840, value_parser = clap::value_parser!(u64).range(30..=39_600))]
    pub batch_secs: u64,
    /// Seconds to finish in after SIGTERM; what is not done then is handed back
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(0..=110))]
    pub grace_secs: u64,
    /// End once the queue has been empty for so many seconds [default: never]
    #[arg(long, value_name = "SECONDS")]
    pub until_idle_secs: Option<u64>,
    /// Which deployment.
    #[command(flatten)]
    pub stack: StackArgs,
}

impl WorkerArgs {
    /// How long a batch may take.
    pub fn batch_time(&self) -> Duration {
        Duration::from_secs(self.batch_secs)
    }
}
