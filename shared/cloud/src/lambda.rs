//! What a function of Ferry is told by its environment.
//!
//! Owns: the names of the variables, and turning them into routes and queues. Does not own: the handlers, nor how tasks and stores are
//! looked up by name ([`TaskBook`], [`Stores`]). Invariant: variables hold documents and references, never secrets.
//!
//! | variable | holds |
//! |---|---|
//! | `FERRY_TASK` | the task, as JSON or YAML; or `ssm:/ferry/tasks/`: each task is the parameter of its name under that path |
//! | `FERRY_STORES` | the stores they name, as JSON or YAML: `{"name": {"provider": …, "credentials": "ssm:…"}}`; or `ssm:/ferry/stores/` |
//! | `FERRY_DEFAULT_TASK` | the task of messages that name none, where tasks are parameters |
//! | `FERRY_JOB_QUEUE_URL` | where jobs go (finder), and the parts of the largest objects and restored ones (worker) |
//! | `FERRY_LARGE_QUEUE_URL` | where large objects and parts go, away from the small ones; default: the job queue |
//! | `FERRY_LARGE_OBJECT_BYTES` | from which size an object is large; default 256 MiB |
//! | `FERRY_SCAN_QUEUE_URL` | where what is left of a range goes (finder); default: nowhere else than the job queue |
//! | `FERRY_DEAD_LETTER_QUEUE_URL` | where jobs go that can never succeed (worker) |
//! | `FERRY_STATE` | where open uploads, receipts, delete journals and checkpoints are kept: `NAME://bucket/prefix/`, NAME a store of `FERRY_STORES`; default: nowhere |
//! | `FERRY_MAX_RECEIVE_COUNT` | the job queue's `maxReceiveCount` (worker); default 5 |
//! | `FERRY_STACK` | the name under which metrics are published; default: none are |

mod stores;
mod task_book;

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ferry_transfer::key_source::Documents;
use ferry_transfer::queue::lanes::Lanes;
use ferry_transfer::state::ObjectState;
use ferry_transfer::store::metered::Meter;
use ferry_transfer::task::{Location, Task};
use ferry_transfer::{Clock, Error, ErrorKind, Result, Routes, SharedQueue, SharedState, SingleRoute};
use tokio::sync::OnceCell;
use tokio::time::Instant;

pub use self::stores::Stores;
pub use self::task_book::{TaskBook, task_at};
use crate::documents::StoreDocuments;
use crate::parameters::{self, SharedParameters};
use crate::sqs::{SqsQueue, SqsQueueConfig};
use crate::store_config::StoreConfig;

const DEFAULT_MAX_RECEIVE_COUNT: u32 = 5;

/// From here on an object takes a worker more than a few seconds.
const LARGE_OBJECT_BYTES: u64 = 256 << 20;

/// What a function is told by its environment.
#[derive(Debug, Clone)]
pub struct Environment {
    tasks: Tasks,
    stores: Told<BTreeMap<String, StoreConfig>>,
    job_queue_url: Option<String>,
    large: Option<(String, u64)>,
    scan_queue_url: Option<String>,
    dead_letter_queue_url: Option<String>,
    state: Option<Location>,
    max_receive_count: u32,
    stack: Option<String>,
    meter: Arc<Meter>,
    /// What several of its answers are made of is connected once: each connection reads configuration and credentials anew.
    parameters: OnceCell<SharedParameters>,
    deliveries: OnceCell<Option<SharedQueue>>,
    part_jobs: OnceCell<Option<SharedQueue>>,
}

/// Where tasks stand.
#[derive(Debug, Clone)]
enum Tasks {
    /// In the variable: there is one.
    One(Box<Task>),
    /// Under a path of SSM: there are many, and messages that name none mean this one.
    Many { path: String, default: Option<String> },
}

/// A document in a variable, or where its parts stand.
#[derive(Debug, Clone)]
enum Told<T> {
    Here(T),
    Under(String),
}

impl Environment {
    /// Reads the process's variables.
    pub fn read() -> Result<Self> {
        Self::from_variables(Self::variable)
    }

    /// A variable of the process; an empty one is none.
    pub fn variable(name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    /// Reads what these say.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        Ok(Self {
            tasks: match told("FERRY_TASK", variable("FERRY_TASK"))? {
                Told::Here(task) => Tasks::One(Box::new(task)),
                Told::Under(path) => Tasks::Many { path, default: variable("FERRY_DEFAULT_TASK") },
            },
            stores: match variable("FERRY_STORES") {
                None => Told::Here(BTreeMap::new()),
                stores => told("FERRY_STORES", stores)?,
            },
            job_queue_url: variable("FERRY_JOB_QUEUE_URL"),
            large: match variable("FERRY_LARGE_QUEUE_URL") {
                None => None,
                Some(url) => Some((
                    url,
                    number(
                        "FERRY_LARGE_OBJECT_BYTES",
                        variable("FERRY_LARGE_OBJECT_BYTES"),
                        LARGE_OBJECT_BYTES,
                    )?,
                )),
            },
            scan_queue_url: variable("FERRY_SCAN_QUEUE_URL"),
            dead_letter_queue_url: variable("FERRY_DEAD_LETTER_QUEUE_URL"),
            state: match variable("FERRY_STATE") {
                None => None,
                Some(text) => {
                    Some(text.parse().map_err(|error| misconfigured(format!("FERRY_STATE: {error}")))?)
                }
            },
            max_receive_count: number(
                "FERRY_MAX_RECEIVE_COUNT",
                variable("FERRY_MAX_RECEIVE_COUNT"),
                DEFAULT_MAX_RECEIVE_COUNT,
            )?,
            stack: variable("FERRY_STACK"),
            meter: Arc::default(),
            parameters: OnceCell::new(),
            deliveries: OnceCell::new(),
            part_jobs: OnceCell::new(),
        })
    }

    /// The routes of the tasks. Asks the stores nothing yet, but where both ends of the only task are one.
    pub async fn routes(&self) -> Result<Arc<dyn Routes>> {
        let stores = self.stores().await?;
        match &self.tasks {
            Tasks::One(task) => {
                Ok(Arc::new(SingleRoute(Arc::new(stores.route(task.as_ref().clone()).await?))))
            }
            Tasks::Many { path, default } => {
                let parameters = self.parameters().await?;
                Ok(Arc::new(TaskBook::new(parameters, path.clone(), default.clone(), stores)))
            }
        }
    }

    /// The stores that tasks name.
    async fn stores(&self) -> Result<Stores> {
        let stores = match &self.stores {
            Told::Here(stores) => Stores::told(stores.clone()),
            Told::Under(path) => Stores::under(path.clone(), self.parameters().await?),
        };
        Ok(stores.counting(Arc::clone(&self.meter)))
    }

    async fn parameters(&self) -> Result<SharedParameters> {
        self.parameters.get_or_try_init(parameters::ssm).await.cloned()
    }

    /// What counts the requests to stores.
    pub fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }

    /// The name under which this deployment publishes its metrics; `None` publishes none.
    pub fn stack(&self) -> Option<&str> {
        self.stack.as_deref()
    }

    /// The queue of jobs; two of them, where large objects have a lane of their own.
    pub async fn jobs(&self) -> Result<SharedQueue> {
        match self.part_jobs().await? {
            Some(queue) => Ok(queue),
            None => {
                Err(misconfigured("FERRY_JOB_QUEUE_URL is not set: there is nowhere to send jobs".to_owned()))
            }
        }
    }

    /// The same, where the function was told of one.
    pub async fn part_jobs(&self) -> Result<Option<SharedQueue>> {
        let lanes = async || {
            let Some(small) = self.deliveries().await? else { return Ok(None) };
            let Some((url, large_bytes)) = &self.large else { return Ok(Some(small)) };
            let lanes = Lanes { small, large: queue(url).await?, large_bytes: *large_bytes };
            Ok(Some(Arc::new(lanes) as SharedQueue))
        };
        self.part_jobs.get_or_try_init(lanes).await.cloned()
    }

    /// The queue that the messages of this function come from, where it was told of one.
    pub async fn deliveries(&self) -> Result<Option<SharedQueue>> {
        self.deliveries.get_or_try_init(|| optional(self.job_queue_url.as_deref())).await.cloned()
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
        let bucket = self.stores().await?.bucket_of(location).await?;
        Ok(Some(Arc::new(ObjectState::new(bucket.by_itself(), prefix))))
    }

    /// Deliveries after which nobody tries again.
    pub fn max_receive_count(&self) -> u32 {
        self.max_receive_count
    }

    /// The documents that tasks name.
    pub async fn documents(&self) -> Result<Arc<dyn Documents>> {
        Ok(Arc::new(StoreDocuments(self.stores().await?)))
    }
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

/// A number from 1.
fn number<T: FromStr + PartialOrd + Default>(name: &str, text: Option<String>, default: T) -> Result<T> {
    let Some(text) = text else { return Ok(default) };
    text.parse()
        .ok()
        .filter(|number| *number > T::default())
        .ok_or_else(|| misconfigured(format!("{name} is {text:?}, not a number from 1")))
}

/// A document, or the path of SSM under which its parts stand.
fn told<T: serde::de::DeserializeOwned>(name: &str, text: Option<String>) -> Result<Told<T>> {
    let text = text.ok_or_else(|| misconfigured(format!("{name} is not set")))?;
    match text.strip_prefix("ssm:") {
        Some(path) if path.starts_with('/') => Ok(Told::Under(format!("{}/", path.trim_end_matches('/')))),
        Some(path) => {
            Err(misconfigured(format!("{name} is ssm:{path}: the path of parameters begins with a slash")))
        }
        None => parse(name, &text).map(Told::Here),
    }
}

/// Reads the document that a variable or a parameter of that name holds; JSON is YAML. `Configuration`, naming it, where it is not as
/// expected.
pub fn parse<T: serde::de::DeserializeOwned>(name: &str, text: &str) -> Result<T> {
    // Without the snippet: a secret that was written into the wrong place must not end in a log.
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options)
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

    #[tokio::test]
    async fn tasks_and_stores_may_stand_elsewhere() {
        let relative = environment(&[("FERRY_TASK", "ssm:ferry/tasks")]).expect_err("no slash").to_string();
        assert!(relative.contains("FERRY_TASK") && relative.contains("slash"), "{relative}");
        let environment = environment(&[
            ("FERRY_TASK", "ssm:/ferry/tasks"),
            ("FERRY_STORES", "ssm:/ferry/stores/"),
            ("FERRY_DEFAULT_TASK", "photos"),
        ])
        .expect("environment");
        let Tasks::Many { path, default } = &environment.tasks else { panic!("{environment:?}") };
        assert_eq!((path.as_str(), default.as_deref()), ("/ferry/tasks/", Some("photos")));
        assert!(matches!(&environment.stores, Told::Under(path) if path == "/ferry/stores/"));
    }
}
