//! The flags of `ferry probe`.

use clap::Args;

use super::{ConfigArgs, DestStoreArgs, SourceStoreArgs, StoreArgs};

/// `ferry probe`.
#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// What to try: NAME://BUCKET/PREFIX; NAME:// only says hello
    #[arg(value_name = "LOCATION")]
    pub location: String,
    /// Tries LOCATION as a source and this as its destination, and says what a copy loses
    #[arg(value_name = "DESTINATION")]
    pub destination: Option<String>,
    /// Write nothing: try LOCATION as a source
    #[arg(long)]
    pub read_only: bool,
    /// The file that describes stores
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The store
    #[command(flatten)]
    pub store: StoreArgs,
    /// The source's store, where there are two
    #[command(flatten)]
    pub source_store: SourceStoreArgs,
    /// The destination's store, where there are two
    #[command(flatten)]
    pub dest_store: DestStoreArgs,
}
