//! What a verification writes down for later.

use std::path::PathBuf;

use clap::Args as ClapArgs;

/// What a verification writes down for later.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct CertificateArgs {
    /// Write digests of ranges of keys and every difference to this file, for anyone to check later (docs/manifest.md)
    #[arg(long, value_name = "FILE", help_heading = "Certificate")]
    pub manifest: Option<PathBuf>,
    /// Say what has changed on either side since this manifest was written
    #[arg(long, value_name = "FILE", help_heading = "Certificate")]
    pub against: Option<PathBuf>,
}
