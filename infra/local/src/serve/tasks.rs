//! The tasks of a server: one document each, in files that anybody can read and edit.
//!
//! Owns: `tasks/NAME.yaml` of the directory, the mark of a paused one, and the connections of each. Does not own: running them. Invariants: a
//! document that cannot be run is refused when it is put; a connection lives as long as its document's text, since it remembers what it
//! learnt of the stores; a file that somebody edits takes effect at its next use.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use ferry_transfer::state::{DirectoryState, StateCondition, StateName, StateStore as _};
use ferry_transfer::task::Task;
use ferry_transfer::{Error, ErrorKind, Route, Routes};
use time::OffsetDateTime;
use tokio::sync::Mutex;

use crate::config::Config;
use crate::ends::Ends;

const DIRECTORY: &str = "tasks";
const SUFFIX: &str = ".yaml";
const PAUSED: &str = ".paused";
/// Longest name: it is a file's, with a suffix behind it.
const NAME_MAX: usize = 100;

/// See the module.
#[derive(Debug)]
pub(crate) struct TaskShelf {
    state: DirectoryState,
    directory: PathBuf,
    config: Config,
    streams: usize,
    connected: Mutex<HashMap<String, (String, Arc<Ends>)>>,
}

/// A task on the shelf.
#[derive(Debug, Clone)]
pub(crate) struct Shelved {
    pub(crate) task: Task,
    /// Whether its schedule is heeded.
    pub(crate) state: Pause,
    /// When the document was written, or the task resumed: its schedule counts from there.
    pub(crate) since: OffsetDateTime,
}

/// Whether a task runs by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Pause {
    Active,
    Paused,
}

impl TaskShelf {
    pub(crate) fn open(state: DirectoryState, config: Config, streams: usize) -> Result<Self> {
        let directory = state.root().join(DIRECTORY);
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("{} cannot be made", directory.display()))?;
        Ok(Self { state, directory, config, streams, connected: Mutex::default() })
    }

    /// Every task, by name; of a file that is none, why.
    pub(crate) fn all(&self) -> Result<Vec<(String, Result<Shelved, Error>)>> {
        let mut names = Vec::new();
        let unreadable = || format!("{} cannot be listed", self.directory.display());
        for entry in std::fs::read_dir(&self.directory).with_context(unreadable)? {
            let name = entry.with_context(unreadable)?.file_name();
            names.extend(name.to_str().and_then(|name| name.strip_suffix(SUFFIX)).map(str::to_owned));
        }
        names.sort();
        Ok(names
            .into_iter()
            .filter_map(|name| self.get(&name).transpose().map(|task| (name, task)))
            .collect())
    }

    /// The document of the task of that name, as it is written now.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, Error> {
        let path = self.path(name)?;
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&path, "read", error)),
        }
    }

    /// The task of that name, where there is one.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Shelved>, Error> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let path = self.path(name)?;
        let task = parse(name, &text)?;
        let written = |path: &Path| {
            let modified = std::fs::metadata(path).and_then(|file| file.modified());
            modified.map_or(OffsetDateTime::UNIX_EPOCH, OffsetDateTime::from)
        };
        let mark = self.mark(name);
        let state = match std::fs::read_to_string(&mark) {
            Ok(text) if text.trim() == "paused" => Pause::Paused,
            _ => Pause::Active,
        };
        let since =
            written(&path).max(if mark.exists() { written(&mark) } else { OffsetDateTime::UNIX_EPOCH });
        Ok(Some(Shelved { task, state, since }))
    }

    /// Puts a document in the place of the task's, once both its stores have answered.
    pub(crate) async fn put(&self, name: &str, text: &str) -> Result<Task, Error> {
        self.path(name)?;
        let task = parse(name, text)?;
        self.connect(&task).await?;
        self.write(name, SUFFIX, text).await?;
        Ok(task)
    }

    /// Takes a task off; what its runs left stays. Whether there was one.
    pub(crate) async fn remove(&self, name: &str) -> Result<bool, Error> {
        let path = self.path(name)?;
        self.connected.lock().await.remove(name);
        drop(std::fs::remove_file(self.mark(name)));
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed(&path, "removed", error)),
        }
    }

    /// Heeds a task's schedule or does not.
    pub(crate) async fn set(&self, name: &str, state: Pause) -> Result<(), Error> {
        let text = match state {
            Pause::Paused => "paused\n",
            Pause::Active => "active\n",
        };
        self.write(name, PAUSED, text).await
    }

    async fn write(&self, name: &str, suffix: &str, text: &str) -> Result<(), Error> {
        let place = StateName::new(format!("{DIRECTORY}/{name}{suffix}"))
            .map_err(|bad| Error::new(ErrorKind::InvalidInput, "no name of a task").caused_by(bad))?;
        self.state.write(&place, text.to_owned().into(), StateCondition::None).await.map(drop)
    }

    /// A task's two sides, connected once while its document stays as it is.
    pub(crate) async fn ends(&self, name: &str) -> Result<Arc<Ends>, Error> {
        let Some(text) = self.text(name)? else {
            return Err(Error::new(ErrorKind::Configuration, format!("there is no task {name:?}")));
        };
        let mut connected = self.connected.lock().await;
        if let Some((before, ends)) = connected.get(name)
            && *before == text
        {
            return Ok(Arc::clone(ends));
        }
        let ends = Arc::new(self.connect(&parse(name, &text)?).await?);
        connected.insert(name.to_owned(), (text, Arc::clone(&ends)));
        Ok(ends)
    }

    /// Requests to the stores of connected tasks so far, and how many of them were refused for there being too many.
    pub(crate) async fn requests(&self) -> (u64, u64) {
        let connected = self.connected.lock().await;
        let meters = connected.values().flat_map(|(_, ends)| [&ends.source_meter, &ends.destination_meter]);
        meters.map(|meter| meter.read()).fold((0, 0), |(requests, throttles), reading| {
            (requests + reading.requests.values().sum::<u64>(), throttles + reading.throttled)
        })
    }

    /// The sides of one run, with counts of their own.
    pub(crate) async fn connect(&self, task: &Task) -> Result<Ends, Error> {
        Ends::of_task(&self.config, task.clone(), self.streams).await.map_err(|error| {
            match error.downcast::<Error>() {
                Ok(error) => error,
                Err(error) => Error::new(ErrorKind::Configuration, ferry_transfer::chain(error.as_ref())),
            }
        })
    }

    fn path(&self, name: &str) -> Result<PathBuf, Error> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || name.len() > NAME_MAX || name.starts_with('.') || !name.bytes().all(is_plain) {
            let message = format!(
                "task name {name:?}: use letters, digits, `-`, `_` and `.`, at most {NAME_MAX} of them"
            );
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        Ok(self.directory.join(format!("{name}{SUFFIX}")))
    }

    fn mark(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}{PAUSED}"))
    }
}

/// The document of the task of that name.
pub(super) fn parse(name: &str, text: &str) -> Result<Task, Error> {
    let task: Task = ferry_cloud::lambda::parse(&format!("task {name}"), text)
        .map_err(|error| Error::new(ErrorKind::InvalidInput, error.chain()))?;
    if task.name == name {
        Ok(task)
    } else {
        let message = format!("the document is of task {:?}, not of {name:?}", task.name);
        Err(Error::new(ErrorKind::InvalidInput, message))
    }
}

fn failed(path: &Path, what: &str, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Configuration, format!("{} cannot be {what}", path.display())).caused_by(error)
}

#[async_trait]
impl Routes for TaskShelf {
    async fn route(&self, task: Option<&str>) -> ferry_transfer::Result<Arc<Route>> {
        let name = task.ok_or_else(|| Error::new(ErrorKind::InvalidInput, "the job names no task"))?;
        Ok(Arc::clone(&self.ends(name).await?.route))
    }
}
