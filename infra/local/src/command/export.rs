//! `ferry export`: buckets onto a disk, by the job manifests of AWS Import/Export.
//!
//! Owns: the service over a state directory of this machine, and which file has which subcommand. Does not own: jobs ([`ferry_export`]).

mod jobs;
mod medium;
mod release;
mod remote;
mod serve;
mod split;
mod station;

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use ferry_cloud::documents::Buckets;
use ferry_cloud::parameters;
use ferry_device::manifest::Strictness;
use ferry_export::{
    Callers, DirectorySecrets, Limits, ParameterSecrets, Secrets, Service, ServiceParts, StationPlace,
};
use ferry_transfer::state::{DirectoryState, ObjectState};
use ferry_transfer::task::Location;
use ferry_transfer::{Error, ErrorKind, SharedState, SharedStore, SystemClock};

use crate::args::{
    ExportArgs, ExportCommand, ExportPlace, OutputArgs, SecretsPlace, SideAccess, StateArgs, StoreArgs,
};
use crate::config::Config;
use crate::ends::{Side, store_of};
use crate::exit::{Exit, UsageError};

/// Runs one subcommand.
pub async fn run(args: ExportArgs, output: &OutputArgs) -> Result<Exit> {
    let place = args.place;
    if place.endpoint_url.is_some() {
        return remote::run(&place, args.command, output).await;
    }
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
        ExportCommand::Release(args) => release::run(&place, args, output).await,
        ExportCommand::Verify(args) => medium::verify(args, output).await,
        ExportCommand::Open(args) => medium::open(args, output).await,
        ExportCommand::ShowInside => medium::show_inside().await,
    }
}

/// The service over this machine's state directory, or over the bucket and the parameters of a service elsewhere. The directory is where a station
/// works in either case.
pub(crate) async fn service(place: &ExportPlace, callers: Callers) -> Result<(Arc<Service>, DirectoryState)> {
    // Asked here and not of every command: both may be in the environment of one that needs neither.
    if place.jobs.is_some() != place.secrets.is_some() {
        let message = "--jobs (FERRY_STATE) and --secrets (FERRY_EXPORT_SECRETS) belong together: give both, or neither for the state directory";
        return Err(UsageError(message.to_owned()).into());
    }
    let state = StateArgs { state_dir: place.state_dir.clone(), ..StateArgs::default() }.open()?;
    let buckets = LocalBuckets(Config::load(&place.config())?);
    let jobs: SharedState = match &place.jobs {
        None => Arc::new(state.clone()),
        Some(location) => {
            let prefix = match location.prefix.trim_end_matches('/') {
                "" => String::new(),
                prefix => format!("{prefix}/"),
            };
            Arc::new(ObjectState::new(buckets.bucket(location).await?, prefix))
        }
    };
    let secrets: Arc<dyn Secrets> = match &place.secrets {
        None => Arc::new(DirectorySecrets::open(state.root().join("secrets"))?),
        Some(SecretsPlace(path)) => Arc::new(ParameterSecrets::new(parameters::ssm().await?, path)),
    };
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
        state: jobs,
        secrets,
        buckets: Arc::new(buckets),
        default_store: place.store.clone(),
        callers,
        limits,
        shipping_address: address,
        station: if place.jobs.is_some() { StationPlace::Elsewhere } else { StationPlace::Here },
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
