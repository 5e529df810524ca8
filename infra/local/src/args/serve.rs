//! `ferry serve`.

use std::net::SocketAddr;

use clap::Args as ClapArgs;
use ferry_cloud::CredentialRef;

use super::{ConfigArgs, RefParser, StateArgs};

/// `ferry serve`.
#[derive(Debug, ClapArgs)]
pub struct HostArgs {
    /// Address and port to listen at
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8460", help_heading = "Listener")]
    pub listen: SocketAddr,
    /// A name that requests may use for this machine, beside 127.0.0.1 and localhost; needed to listen beyond loopback
    #[arg(long, value_name = "NAME", help_heading = "Listener")]
    pub host: Vec<String>,
    /// Jobs of notifications under way at once
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024), help_heading = "Work")]
    pub workers: u16,
    /// Requests under way at once at each store, of a run or of the notifications of a task
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..=4096), help_heading = "Work")]
    pub concurrency: u16,
    /// Keys that may ask the export API, as a reference (env:PREFIX, file:PATH); may be given several times
    #[arg(long, value_name = "REF", value_parser = RefParser::<CredentialRef>::default(), help_heading = "Export")]
    pub export_credentials: Vec<CredentialRef>,
    /// The store that export manifests mean where they name none
    #[arg(long, value_name = "NAME", default_value = "s3", help_heading = "Export")]
    pub export_store: String,
    /// Most export jobs created in 24 hours
    #[arg(long, value_name = "N", default_value_t = 50, help_heading = "Export")]
    pub export_jobs_per_day: usize,
    /// Days that an export job waits for its device
    #[arg(long, value_name = "DAYS", default_value_t = 30, help_heading = "Export")]
    pub export_expire_days: u16,
    /// Where everything is kept: tasks, the queue, runs, export jobs, secrets
    #[command(flatten)]
    pub state: StateArgs,
    /// The file that describes stores
    #[command(flatten)]
    pub config: ConfigArgs,
}
