//! How much of an object's past travels.

use clap::{Args as ClapArgs, ValueEnum};
use ferry_transfer::versions::Versions;

/// How much of an object's past travels.
#[derive(Debug, Clone, Copy, ClapArgs)]
pub struct VersionArgs {
    /// Which versions to copy; all needs two buckets that keep versions, and lists every key on both sides
    #[arg(long, value_enum, value_name = "WHICH", default_value = "latest", help_heading = "Copying")]
    versions: Which,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Which {
    /// what is there now
    Latest,
    /// whole histories, delete markers included; a destination with versions of its own is left alone
    All,
}

impl VersionArgs {
    /// The same as a task says it.
    pub fn rule(self) -> Versions {
        match self.versions {
            Which::Latest => Versions::Latest,
            Which::All => Versions::All,
        }
    }
}
