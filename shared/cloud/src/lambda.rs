//! What a function of Ferry is told by its environment.
//!
//! Owns: the names of the variables, and turning them into routes and queues. Does not own: the handlers. Invariant: variables hold
//! documents and references, never secrets.
//!
//! | variable | holds |
//! |---|---|
//! | `FERRY_TASK` | the task, as JSON or YAML |
//! | `FERRY_STORES` | the stores it names, as JSON or YAML: `{"name": {"provider": …, "credentials": "ssm:…"}}` |
//! | `FERRY_JOB_QUEUE_URL` | where jobs go (finder), and the parts of the largest objects and restored ones (worker) |
//! | `FERRY_SCAN_QUEUE_URL` | where what is left of a range goes (finder); default: nowhere else than the job queue |
//! | `FERRY_DEAD_LETTER_QUEUE_URL` | where jobs go that can never succeed (worker) |
//! | `FERRY_STATE` | where open uploads, receipts, delete journals and checkpoints are kept: `NAME://bucket/prefix/`, NAME a store of `FERRY_STORES`; default: nowhere |
//! | `FERRY_MAX_RECEIVE_COUNT` | the job queue's `maxReceiveCount` (worker); default 5 |

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ferry_transfer::copy::CopySettings;
use ferry_transfer::key_source::Documents;
use ferry_transfer::pace::EndpointPace;
use ferry_transfer::state::ObjectState;
use ferry_transfer::task::{Location, Task};
use ferry_transfer::{
    Clock, Error, ErrorKind, Result, Route, Routes, SharedQueue, SharedState, SharedStore, SingleRoute,
    SystemClock,
};
use tokio::time::Instant;

use crate::documents::{Buckets, StoreDocuments};
use crate::one_store;
use crate::s3::S3Bucket;
use crate::sqs::{SqsQueue, SqsQueueConfig};
use crate::store_config::{StoreConfig, connect};

const DEFAULT_MAX_RECEIVE_COUNT: u32 = 5;

/// What a function is told by its environment.
#[derive(Debug, Clone)]
pub struct Environment {
    task: Task,
    stores: BTreeMap<String, StoreConfig>,
    job_queue_url: Option<String>,
    scan_queue_url: Option<String>,
    dead_letter_queue_url: Option<String>,
    state: Option<Location>,
    max_receive_count: u32,
}

impl Environment {
    /// Reads the process's variables.
    pub fn read() -> Result<Self> {
        Self::from_variables(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        Ok(Self {
            task: parse("FERRY_TASK", variable("FERRY_TASK"))?,
            stores: match variable("FERRY_STORES") {
                None => BTreeMap::new(),
                stores => parse("FERRY_STORES", stores)?,
            },
            job_queue_url: variable("FERRY_JOB_QUEUE_URL"),
            scan_queue_url: variable("FERRY_SCAN_QUEUE_URL"),
            dead_letter_queue_url: variable("FERRY_DEAD_LETTER_QUEUE_URL"),
            state: match variable("FERRY_STATE") {
                None => None,
                Some(text) => {
                    Some(text.parse().map_err(|error| misconfigured(format!("FERRY_STATE: {error}")))?)
                }
            },
            max_receive_count: match variable("FERRY_MAX_RECEIVE_COUNT") {
                None => DEFAULT_MAX_RECEIVE_COUNT,
                Some(count) => count.parse().ok().filter(|count| *count > 0).ok_or_else(|| {
                    misconfigured(format!("FERRY_MAX_RECEIVE_COUNT is {count:?}, not a number from 1"))
                })?,
            },
        })
    }

    /// The task's route. Asks the stores nothing yet, but where both ends are one.
    pub async fn routes(&self) -> Result<Arc<dyn Routes>> {
        let source = self.bucket(&self.task.source).await?;
        let destination = self.bucket(&self.task.destination).await?;
        let destination = destination.as_destination(&self.task.attributes, source.account());
        let ends = one_store::ends(&source, &destination).await;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let valve = self.task.pace.valve(&clock);
        let streams = CopySettings::default().streams;
        // Each instance finds its own pace; what an endpoint takes from all of them together shows in what it refuses.
        let layered = |bucket: S3Bucket| {
            let pace = EndpointPace::new(streams, &self.task.pace, valve.clone(), &clock);
            bucket.layered(&Arc::default(), &Arc::new(pace))
        };
        let route = Route::new(self.task.clone(), layered(source), layered(destination)).between(ends);
        Ok(Arc::new(SingleRoute(Arc::new(route))))
    }

    /// The queue of jobs.
    pub async fn jobs(&self) -> Result<SharedQueue> {
        match &self.job_queue_url {
            Some(url) => queue(url).await,
            None => {
                Err(misconfigured("FERRY_JOB_QUEUE_URL is not set: there is nowhere to send jobs".to_owned()))
            }
        }
    }

    /// The queue of jobs, where the function was told of one.
    pub async fn part_jobs(&self) -> Result<Option<SharedQueue>> {
        optional(self.job_queue_url.as_deref()).await
    }

    /// The queue of scans, where it is one of its own.
    pub async fn scans(&self) -> Result<Option<SharedQueue>> {
        optional(self.scan_queue_url.as_deref()).await
    }

    /// The queue of dead letters, where workers may write to it.
    pub async fn dead_letters(&self) -> Result<Option<SharedQueue>> {
        optional(self.dead_letter_queue_url.as_deref()).await
    }

    /// Where what runs must remember is kept, if anywhere.
    pub async fn state(&self) -> Result<Option<SharedState>> {
        let Some(location) = &self.state else { return Ok(None) };
        let prefix = match location.prefix.trim_end_matches('/') {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        Ok(Some(Arc::new(ObjectState::new(self.bucket(location).await?.by_itself(), prefix))))
    }

    /// Deliveries after which nobody tries again.
    pub fn max_receive_count(&self) -> u32 {
        self.max_receive_count
    }

    /// The documents that the task names.
    pub fn documents(&self) -> Arc<dyn Documents> {
        Arc::new(StoreDocuments(NamedStores(self.stores.clone())))
    }

    async fn bucket(&self, location: &Location) -> Result<S3Bucket> {
        bucket_of(&self.stores, location).await
    }
}

/// The stores that the environment names.
#[derive(Debug)]
struct NamedStores(BTreeMap<String, StoreConfig>);

#[async_trait]
impl Buckets for NamedStores {
    async fn bucket(&self, location: &Location) -> Result<SharedStore> {
        bucket_of(&self.0, location).await.map(S3Bucket::by_itself)
    }
}

async fn bucket_of(stores: &BTreeMap<String, StoreConfig>, location: &Location) -> Result<S3Bucket> {
    let config = match stores.get(&location.store) {
        Some(config) => config.clone(),
        None if location.store == "s3" => StoreConfig::default(),
        None => {
            return Err(misconfigured(format!(
                "FERRY_STORES has no store {:?}, which FERRY_TASK or FERRY_STATE names",
                location.store
            )));
        }
    };
    Ok(connect(&location.store, &config).await?.bucket(&location.bucket))
}

async fn queue(url: &str) -> Result<SharedQueue> {
    Ok(Arc::new(SqsQueue::connect(SqsQueueConfig::new(url)).await?))
}

async fn optional(url: Option<&str>) -> Result<Option<SharedQueue>> {
    match url {
        Some(url) => queue(url).await.map(Some),
        None => Ok(None),
    }
}

fn parse<T: serde::de::DeserializeOwned>(name: &str, text: Option<String>) -> Result<T> {
    let text = text.ok_or_else(|| misconfigured(format!("{name} is not set")))?;
    // JSON is YAML. Without the snippet: a secret that was written into the wrong place must not end in a log.
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(&text, options)
        .map_err(|error| misconfigured(format!("{name} is not as expected: {error}")))
}

fn misconfigured(message: String) -> Error {
    Error::new(ErrorKind::Configuration, message)
}

/// The moment of an invocation's deadline, given in milliseconds of Unix time, on this process's own clock.
pub fn instant_of(deadline_ms: u64, clock: &dyn Clock) -> Instant {
    let now_ms = clock.now().unix_timestamp_nanos() / 1_000_000;
    let left_ms = i128::from(deadline_ms) - now_ms;
    Instant::now() + Duration::from_millis(u64::try_from(left_ms).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: &str =
        r#"{"name":"t","source":{"store":"lab","bucket":"a"},"destination":{"store":"s3","bucket":"b"}}"#;

    fn environment(pairs: &[(&str, &str)]) -> Result<Environment> {
        Environment::from_variables(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[tokio::test]
    async fn a_missing_or_wrong_variable_is_named() {
        let missing = environment(&[]).expect_err("no task").to_string();
        assert!(missing.contains("FERRY_TASK"), "{missing}");
        let wrong = environment(&[("FERRY_TASK", "{\"nam\": 1}")]).expect_err("wrong").to_string();
        assert!(wrong.contains("FERRY_TASK") && wrong.contains("nam"), "{wrong}");
        let count = environment(&[("FERRY_TASK", TASK), ("FERRY_MAX_RECEIVE_COUNT", "0")])
            .expect_err("zero")
            .to_string();
        assert!(count.contains("FERRY_MAX_RECEIVE_COUNT"), "{count}");
        let unknown = environment(&[("FERRY_TASK", TASK)])
            .expect("task")
            .routes()
            .await
            .expect_err("no store")
            .to_string();
        assert!(unknown.contains("lab"), "{unknown}");
    }

    #[tokio::test]
    async fn stores_and_task_make_a_route() {
        let stores = r#"{"lab":{"endpoint":"http://127.0.0.1:1","credentials":"anonymous"},
                         "s3":{"endpoint":"http://127.0.0.1:2","credentials":"anonymous"}}"#;
        let environment =
            environment(&[("FERRY_TASK", TASK), ("FERRY_STORES", stores)]).expect("environment");
        let route = environment.routes().await.expect("routes").route(None).await.expect("route");
        assert_eq!(route.source.name().to_string(), "lab://a");
        assert!(environment.jobs().await.is_err(), "a finder needs a job queue");
    }
}
