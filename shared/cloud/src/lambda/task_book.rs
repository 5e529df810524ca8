//! Tasks by name: one deployment serves many, and a new one changes no code.
//!
//! Owns: the routes of the tasks that messages have named so far, and when to look whether their text has changed. Does not own: the
//! text, which stands in parameters. Invariants: a route stays the same object as long as its task's text and those of its two stores
//! do, since it remembers what it learnt of them; a message for a task that does not exist fails for good, one that comes while the
//! parameters cannot be read does not.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use ferry_transfer::task::Task;
use ferry_transfer::{Error, ErrorKind, Result, Route, Routes};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Stores, parse};
use crate::parameters::{Parameters, SharedParameters};
use crate::store_config::StoreConfig;

/// How long a text is believed. Parameter Store gives 40 requests a second for nothing (AWS, "Parameter Store throughput"): at 1,000
/// concurrent workers and three parameters a look, that is 50 a second in the worst case of one task each.
const BELIEVED: Duration = Duration::from_mins(1);

/// The tasks of a deployment.
#[derive(Debug)]
pub struct TaskBook {
    parameters: SharedParameters,
    path: String,
    default: Option<String>,
    stores: Stores,
    places: std::sync::Mutex<HashMap<String, Place>>,
}

/// Where the route of one task stands. Held while its parameters are read: a batch of ten messages for a new task reads them once, and
/// those of other tasks do not wait.
type Place = Arc<Mutex<Option<Known>>>;

#[derive(Debug)]
struct Known {
    text: Text,
    route: Arc<Route>,
    looked: Instant,
}

/// All that a route is made of.
#[derive(Debug, PartialEq, Eq)]
struct Text {
    task: Task,
    source: StoreConfig,
    destination: StoreConfig,
}

impl TaskBook {
    /// The tasks whose text stands under `path` (which ends with a slash); messages that name none mean `default`.
    pub fn new(parameters: SharedParameters, path: String, default: Option<String>, stores: Stores) -> Self {
        Self { parameters, path, default, stores, places: std::sync::Mutex::default() }
    }

    fn places(&self) -> MutexGuard<'_, HashMap<String, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn text(&self, name: &str) -> Result<Text> {
        let place = format!("{}{name}", self.path);
        let task = task_at(&*self.parameters, &place, name, ErrorKind::InvalidInput).await?;
        Ok(Text {
            source: self.stores.config(&task.source.store).await?,
            destination: self.stores.config(&task.destination.store).await?,
            task,
        })
    }
}

/// The task of this name, whose text stands in the parameter at `place`. `missing` is what an error is where there is none: who asks knows whose mistake that is.
pub async fn task_at(
    parameters: &dyn Parameters,
    place: &str,
    name: &str,
    missing: ErrorKind,
) -> Result<Task> {
    let text = parameters.get(place).await?.ok_or_else(|| {
        let message = format!("there is no task {name:?}: no parameter {place} (`ferry task put` makes one)");
        Error::new(missing, message)
    })?;
    let task: Task = parse(place, &text)?;
    if task.name != name {
        return Err(Error::new(
            ErrorKind::Configuration,
            format!(
                "the parameter {place} holds the task {:?}; its name and the parameter's must agree",
                task.name
            ),
        ));
    }
    Ok(task)
}

#[async_trait]
impl Routes for TaskBook {
    async fn route(&self, task: Option<&str>) -> Result<Arc<Route>> {
        let name = task.or(self.default.as_deref()).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                "the message names no task, and FERRY_DEFAULT_TASK does not say which one that means",
            )
        })?;
        let place = Arc::clone(self.places().entry(name.to_owned()).or_default());
        let mut known = place.lock().await;
        if let Some(known) = known.as_ref().filter(|known| known.looked.elapsed() < BELIEVED) {
            return Ok(Arc::clone(&known.route));
        }
        let text = match (self.text(name).await, known.as_mut()) {
            (Ok(text), Some(known)) if text == known.text => {
                known.looked = Instant::now();
                return Ok(Arc::clone(&known.route));
            }
            (Ok(text), _) => text,
            // What was true a minute ago is better than nothing; who deleted a task meant it.
            (Err(error), Some(known)) if !error.is_permanent() => {
                tracing::warn!(task = name, error = %error.chain(), "going on with the task as it was read before");
                known.looked = Instant::now();
                return Ok(Arc::clone(&known.route));
            }
            (Err(error), _) => {
                *known = None;
                // Names that nobody has given to a task must not pile up.
                self.places().remove(name);
                return Err(error);
            }
        };
        let ends = (text.source.clone(), text.destination.clone());
        let route = Arc::new(self.stores.connect(text.task.clone(), ends).await?);
        tracing::info!(task = name, "the task was read");
        *known = Some(Known { text, route: Arc::clone(&route), looked: Instant::now() });
        Ok(route)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::parameters::tests::Known as Parameters;

    const STORE: &str = r#"{"endpoint":"http://127.0.0.1:1","credentials":"anonymous"}"#;

    fn task(name: &str, bucket: &str) -> String {
        format!(
            r#"{{"name":"{name}","source":{{"store":"lab","bucket":"{bucket}"}},"destination":{{"store":"attic","bucket":"b"}}}}"#
        )
    }

    fn book(default: Option<&str>) -> (TaskBook, Parameters) {
        let parameters = Parameters::default();
        parameters.say("/t/photos", &task("photos", "a"));
        parameters.say("/s/lab", STORE);
        parameters.say("/s/attic", &STORE.replace(":1", ":3"));
        let shared: SharedParameters = Arc::new(parameters.clone());
        let stores = Stores::under("/s/".to_owned(), Arc::clone(&shared));
        (TaskBook::new(shared, "/t/".to_owned(), default.map(str::to_owned), stores), parameters)
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_is_read_once_and_looked_at_again_later() {
        let (book, parameters) = book(None);
        let first = book.route(Some("photos")).await.expect("route");
        assert_eq!(parameters.asked(), ["/t/photos", "/s/lab", "/s/attic"]);
        let second = book.route(Some("photos")).await.expect("route");
        assert!(Arc::ptr_eq(&first, &second) && parameters.asked().is_empty());

        tokio::time::advance(BELIEVED).await;
        let unchanged = book.route(Some("photos")).await.expect("route");
        assert!(Arc::ptr_eq(&first, &unchanged), "what was learnt of the stores is kept");
        assert_eq!(parameters.asked().len(), 3);

        parameters.say("/t/photos", &task("photos", "other"));
        tokio::time::advance(BELIEVED).await;
        assert_eq!(book.route(Some("photos")).await.expect("route").task.source.bucket, "other");
        parameters.say("/s/lab", &STORE.replace(":1", ":2"));
        tokio::time::advance(BELIEVED).await;
        let moved = book.route(Some("photos")).await.expect("route");
        assert!(!Arc::ptr_eq(&unchanged, &moved), "another endpoint is another route");
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_of_the_parameters_stops_no_known_task() {
        let (book, parameters) = book(None);
        let known = book.route(Some("photos")).await.expect("route");
        parameters.unreachable(true);
        tokio::time::advance(BELIEVED).await;
        assert!(Arc::ptr_eq(&known, &book.route(Some("photos")).await.expect("as it was")));
        let unknown = book.route(Some("films")).await.expect_err("unknown");
        assert!(!unknown.is_permanent(), "it may exist: {unknown}");
        parameters.unreachable(false);
        parameters.forget("/t/photos");
        tokio::time::advance(BELIEVED).await;
        assert!(book.route(Some("photos")).await.expect_err("deleted").is_permanent());
    }

    #[tokio::test]
    async fn a_task_that_is_not_there_or_not_itself_is_named() {
        let (book, parameters) = book(None);
        let missing = book.route(Some("films")).await.expect_err("missing");
        assert!(missing.is_permanent() && missing.to_string().contains("/t/films"), "{missing}");
        parameters.say("/t/films", &task("photos", "a"));
        let other = book.route(Some("films")).await.expect_err("another's").to_string();
        assert!(other.contains("\"photos\""), "{other}");
        let nameless = book.route(None).await.expect_err("nameless");
        assert!(nameless.is_permanent() && nameless.to_string().contains("FERRY_DEFAULT_TASK"), "{nameless}");
        parameters.say("/t/odd", &task("odd", "a").replace("attic", "cellar"));
        let storeless = book.route(Some("odd")).await.expect_err("no store").to_string();
        assert!(storeless.contains("cellar") && storeless.contains("/s/cellar"), "{storeless}");
    }

    #[tokio::test]
    async fn a_task_that_is_being_read_holds_back_no_other() {
        let (book, parameters) = book(None);
        parameters.say("/t/films", &task("films", "a"));
        let photos = Arc::clone(book.places().entry("photos".to_owned()).or_default());
        let reading = photos.lock().await;
        let films = tokio::time::timeout(Duration::from_secs(5), book.route(Some("films"))).await;
        assert_eq!(films.expect("in time").expect("route").task.name, "films");
        drop(reading);
        book.route(Some("nobody's")).await.expect_err("missing");
        assert!(!book.places().contains_key("nobody's"));
    }

    #[tokio::test]
    async fn a_message_that_names_no_task_means_the_default() {
        let (book, _) = book(Some("photos"));
        assert_eq!(book.route(None).await.expect("route").task.name, "photos");
    }

    #[tokio::test]
    async fn amazon_itself_needs_no_parameter() {
        let stores = Stores::told(BTreeMap::new());
        assert_eq!(stores.config("s3").await.expect("s3"), StoreConfig::default());
        assert!(stores.config("lab").await.is_err());
    }
}
