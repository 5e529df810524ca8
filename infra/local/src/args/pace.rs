//! How fast to go at most.

use clap::Args as ClapArgs;
use ferry_transfer::pace::{Bandwidth, Pace, RequestRate};

/// How fast to go at most. Without these, every store is asked as much as it answers well.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct PaceArgs {
    /// Most bytes to move in a second: 100MiB, 1Gbit …
    #[arg(long, value_name = "RATE", help_heading = "Pace")]
    pub max_bandwidth: Option<Bandwidth>,
    /// Most requests to each store in a second
    #[arg(long, value_name = "N", help_heading = "Pace")]
    pub max_requests: Option<RequestRate>,
}

impl PaceArgs {
    /// As a task has it.
    pub fn pace(&self) -> Pace {
        Pace { max_bandwidth: self.max_bandwidth, max_requests: self.max_requests }
    }
}
