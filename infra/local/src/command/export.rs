//! `ferry export`: buckets onto a disk, by the job manifests of AWS Import/Export.
//!
//! Owns: the service over a state directory of this machine, and which file has which subcommand. Does not own: jobs ([`ferry_export`]).

mod jobs;
mod medium;
mod serve;
mod split;
mod station;

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use ferry_cloud::documents::Buckets;
use ferry_device::manifest::Strictness;
use ferry_export::{Callers, DirectorySecrets, Limits, Service, ServiceParts};
use ferry_transfer::state::DirectoryState;
use ferry_transfer::task::Location;
use ferry_transfer::{Error, ErrorKind, SharedStore, SystemClock};

use crate::args::{ExportArgs, ExportCommand, ExportPlace, OutputArgs, SideAccess, StateArgs, StoreArgs};
use crate::config::Config;
use crate::ends::{Side, store_of};
use crate::exit::{Exit, UsageError};

/// Runs one subcommand.
pub async fn run(args: ExportArgs, output: &OutputArgs) -> Result<Exit> {
    let place = args.place;
    match args.command {
        ExportCommand::CreateJob(args) => jobs::create(&place, args, output).await,
        ExportCommand::UpdateJob(args) => jobs::update(&place, args, output).await,
        ExportCommand::CancelJob(args) => jobs::cancel(&place, &args, output).await,
        ExportCommand::GetStatus(args) => jobs::status(&place, &args, output).await,
        ExportCommand::ListJobs(args) => jobs::list(&place, &args, output).await,
        ExportCommand::GetShippingLabel(args) => jobs::label(&place, args, output).await,
        ExportCommand::Sign(args) => jobs::sign(args, output).await,
        ExportCommand::Serve(args) => serve::run(&place, args, output).await,
        ExportCommand::Plan(args) => split::run(&place, args, output).await,
        ExportCommand::Run(args) => station::run(&place, args, output).await,
        ExportCommand::Station(args) => station::pull(&place, args, output).await,
        ExportCommand::Verify(args) => medium::verify(args, output).await,
        ExportCommand::Open(args) => medium::open(args, output).await,
    }
}

/// The service over this machine's state directory.
pub(crate) fn service(place: &ExportPlace, callers: Callers) -> Result<(Arc<Service>, DirectoryState)> {
    let state = StateArgs { state_dir: place.state_dir.clone(), ..StateArgs::default() }.open()?;
    let secrets = DirectorySecrets::open(state.root().join("secrets"))?;
    let limits = Limits {
        jobs_per_day: place.jobs_per_day,
        expires_after: time::Duration::days(i64::from(place.expire_days)),
        strictness: if place.strict { Strictness::Strict } else { Strictness::Forgiving },
    };
    let address = if place.address.is_empty() {
        vec!["Nothing is shipped: bring the device to the machine that runs `ferry export run`".to_owned()]
    } else {
        place.address.clone()
    };
    let service = Service::new(ServiceParts {
        state: Arc::new(state.clone()),
        secrets: Arc::new(secrets),
        buckets: Arc::new(LocalBuckets(Config::load(&place.config())?)),
        default_store: place.store.clone(),
        callers,
        limits,
        shipping_address: address,
        clock: Arc::new(SystemClock),
    });
    Ok((Arc::new(service), state))
}

/// The stores of `ferry.yaml`.
#[derive(Debug)]
struct LocalBuckets(Config);

#[async_trait]
impl Buckets for LocalBuckets {
    async fn bucket(&self, location: &Location) -> ferry_transfer::Result<SharedStore> {
        let side = Side::connect(&self.0, &location.store, StoreArgs::default(), SideAccess::default()).await;
        let side = side
            .map_err(|error| Error::new(ErrorKind::Configuration, ferry_transfer::chain(error.as_ref())))?;
        Ok(store_of(&side, &location.bucket))
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, UsageError> {
    std::fs::read(path).map_err(|error| UsageError(format!("{} cannot be read: {error}", path.display())))
}
