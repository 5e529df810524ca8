//! Flags about what travels with an object's bytes, and how.

use clap::{Args as ClapArgs, ValueEnum};
use ferry_transfer::server_side::ServerSideRule;

/// What travels with an object's bytes, and how.
#[derive(Debug, Clone, ClapArgs)]
pub struct AttributeArgs {
    /// Whether the store copies by itself where both ends are one store
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto", help_heading = "Copying")]
    pub server_side: ServerSideWhen,
}

/// Whether the store copies by itself.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ServerSideWhen {
    /// where both ends have one endpoint and the same credentials
    Auto,
    /// never: every byte passes by and is checked
    Never,
}

impl From<ServerSideWhen> for ServerSideRule {
    fn from(when: ServerSideWhen) -> Self {
        match when {
            ServerSideWhen::Auto => Self::Auto,
            ServerSideWhen::Never => Self::Never,
        }
    }
}
