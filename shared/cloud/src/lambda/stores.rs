//! Stores by name.
//!
//! Owns: finding the configuration of a store that a task names, and connecting the two ends of a task. Does not own: the task's own
//! text. Invariant: `s3` needs no configuration; every other name does, and a missing one is named.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use ferry_transfer::copy::CopySettings;
use ferry_transfer::pace::EndpointPace;
use ferry_transfer::store::metered::Meter;
use ferry_transfer::task::{Location, Task};
use ferry_transfer::{Clock, Result, Route, SharedStore, SystemClock};

use super::{misconfigured, parse};
use crate::documents::Buckets;
use crate::one_store;
use crate::parameters::SharedParameters;
use crate::s3::S3Bucket;
use crate::store_config::{StoreConfig, connect};

/// Stores by name, and what counts the requests to them.
#[derive(Debug, Clone)]
pub struct Stores {
    place: Place,
    meter: Arc<Meter>,
}

/// Where stores are looked up.
#[derive(Debug, Clone)]
enum Place {
    Told(BTreeMap<String, StoreConfig>),
    Parameters { path: String, parameters: SharedParameters },
}

impl Stores {
    /// Those of one document.
    pub fn told(stores: BTreeMap<String, StoreConfig>) -> Self {
        Self { place: Place::Told(stores), meter: Arc::default() }
    }

    /// Each in a parameter of its own, whose name is `path`, which ends with a slash, and the store's.
    pub fn under(path: String, parameters: SharedParameters) -> Self {
        Self { place: Place::Parameters { path, parameters }, meter: Arc::default() }
    }

    /// The same, with requests counted there.
    #[must_use]
    pub fn counting(self, meter: Arc<Meter>) -> Self {
        Self { meter, ..self }
    }

    /// Connects the ends of a task. Asks the stores nothing yet, but where both ends are one.
    pub async fn route(&self, task: Task) -> Result<Route> {
        let ends = (self.config(&task.source.store).await?, self.config(&task.destination.store).await?);
        self.connect(task, ends).await
    }

    /// The same with what is known about the two stores.
    pub(super) async fn connect(&self, task: Task, ends: (StoreConfig, StoreConfig)) -> Result<Route> {
        let source = bucket(&task.source, &ends.0).await?;
        let destination = bucket(&task.destination, &ends.1).await?;
        let destination = destination.as_destination(&task.attributes, source.account());
        let ends = one_store::ends(&source, &destination).await;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let valve = task.pace.valve(&clock);
        let streams = CopySettings::default().streams;
        // Each instance finds its own pace; what an endpoint takes from all of them together shows in what it refuses.
        let layered = |bucket: S3Bucket| {
            let pace = EndpointPace::new(streams, &task.pace, valve.clone(), &clock);
            bucket.layered(&self.meter, &Arc::new(pace))
        };
        let (source, destination) = (layered(source), layered(destination));
        Ok(Route::new(task, source, destination).between(ends))
    }

    /// What is said about the store of that name.
    pub(super) async fn config(&self, name: &str) -> Result<StoreConfig> {
        let (found, place) = match &self.place {
            Place::Told(stores) => (stores.get(name).cloned(), "FERRY_STORES".to_owned()),
            Place::Parameters { path, parameters } => {
                let place = format!("{path}{name}");
                let text = parameters.get(&place).await?;
                (text.map(|text| parse(&place, &text)).transpose()?, place)
            }
        };
        match found {
            Some(config) => Ok(config),
            None if name == "s3" => Ok(StoreConfig::default()),
            None => Err(misconfigured(format!(
                "there is no store {name:?} in {place}, though a task or FERRY_STATE names it"
            ))),
        }
    }

    /// The bucket of a location.
    pub(super) async fn bucket_of(&self, location: &Location) -> Result<S3Bucket> {
        bucket(location, &self.config(&location.store).await?).await
    }
}

async fn bucket(location: &Location, config: &StoreConfig) -> Result<S3Bucket> {
    Ok(connect(&location.store, config).await?.bucket(&location.bucket))
}

#[async_trait]
impl Buckets for Stores {
    async fn bucket(&self, location: &Location) -> Result<SharedStore> {
        self.bucket_of(location).await.map(S3Bucket::by_itself)
    }
}
