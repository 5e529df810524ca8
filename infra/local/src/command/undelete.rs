//! `ferry undelete`: brings back what a run deleted.
//!
//! Owns: reading a run's journal and undoing it: out of the trash, from behind a delete marker, or from an earlier version. Does not own:
//! the journal. Invariants: nothing that is at the destination now is overwritten; an object counts as brought back when a HEAD finds it.
//! What lies in the trash stays there.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use ferry_transfer::copy::{Copier, CopyError, CopyRequest, CopySettings, KnownClass};
use ferry_transfer::deletion::Step;
use ferry_transfer::history::History;
use ferry_transfer::server_side::Ends as Found;
use ferry_transfer::store::{DeleteEffect, DeleteRequest, HeadRequest, WriteCondition};
use ferry_transfer::task::{Location, Task};
use ferry_transfer::versions::Versions;
use ferry_transfer::{Error, ErrorKind, Key, Route, RunId, SystemClock};
use serde::Serialize;

use crate::args::{OutputArgs, SideAccess, UndeleteArgs};
use crate::command::ls::shown;
use crate::command::runs;
use crate::config::Config;
use crate::ends::{Side, store_of};
use crate::exit::{Exit, print};

/// What the journal says of one object, all lines together.
#[derive(Debug, Default)]
struct Deleted {
    version_id: Option<String>,
    trash_key: Option<Key>,
    marker: Option<String>,
    was_kept: bool,
}

/// What became of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Undone {
    BroughtBack,
    ThereAlready,
    Lost,
    Failed,
}

/// Undoes a run's deletes.
pub async fn run(args: UndeleteArgs, output: &OutputArgs) -> Result<Exit> {
    let state = args.state.open()?;
    let history = History::of(&state);
    let run = RunId::from(args.run);
    let record = runs::record(&history, &run).await?;
    let place = record.task.destination;
    let side = Side::connect(
        &Config::load(&args.config)?,
        &place.store,
        args.dest_store.into(),
        SideAccess::default(),
    )
    .await?;
    let store = store_of(&side, &place.bucket);
    let bucket = Location { prefix: String::new(), ..place };
    let task = Task {
        // What is copied is no latest version: every question about it names it.
        versions: Versions::All,
        ..Task::new(format!("undelete of {run}"), bucket.clone(), bucket)
    };
    let route = Route::new(task, Arc::clone(&store), store).between(Found::OneStoreWithRedirects);
    let undoing = Undoing {
        route: Arc::new(route),
        copier: Copier::new(CopySettings::default(), Arc::new(SystemClock)),
    };

    let mut journal: BTreeMap<Key, Deleted> = BTreeMap::new();
    for line in history.deletions(&run, None).await? {
        journal.entry(line.entry.key).or_default().take(line.entry.step);
    }
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut is_complete = true;
    for (key, deleted) in journal.into_iter().filter(|(_, deleted)| !deleted.was_kept) {
        let (undone, error) = match undoing.undo(&key, &deleted).await {
            Ok(undone) => (undone, None),
            Err(error) => (Undone::Failed, Some(error.chain())),
        };
        is_complete &= matches!(undone, Undone::BroughtBack | Undone::ThereAlready);
        *counts.entry(undone.words()).or_default() += 1;
        if output.json {
            print(&serde_json::json!({ "key": key, "undone": undone, "error": error }).to_string());
        } else {
            let error = error.map(|error| format!(": {error}")).unwrap_or_default();
            print(&format!("{:<20} {}{error}", undone.words(), shown(key.as_str())));
        }
    }
    if !output.json {
        let words: Vec<String> = counts.iter().map(|(words, count)| format!("{count} {words}")).collect();
        print(&if words.is_empty() { "The run deleted nothing.".to_owned() } else { words.join(", ") });
    }
    Ok(if is_complete { Exit::Done } else { Exit::Failed })
}

impl Deleted {
    fn take(&mut self, step: Step) {
        match step {
            Step::Intended { version_id, .. } => *self = Self { version_id, ..Self::default() },
            Step::Trashed { trash_key } => self.trash_key = Some(trash_key),
            Step::Deleted { effect: DeleteEffect::Marked, version_id } => self.marker = version_id,
            Step::Deleted { effect: DeleteEffect::Removed, .. } => {}
            Step::Kept { .. } => self.was_kept = true,
        }
    }
}

impl Undone {
    fn words(self) -> &'static str {
        match self {
            Self::BroughtBack => "brought back",
            Self::ThereAlready => "there already",
            Self::Lost => "lost",
            Self::Failed => "failed",
        }
    }
}

struct Undoing {
    route: Arc<Route>,
    copier: Copier,
}

impl Undoing {
    async fn undo(&self, key: &Key, deleted: &Deleted) -> Result<Undone, Error> {
        if self.is_there(key).await? {
            return Ok(Undone::ThereAlready);
        }
        if let Some(marker) = &deleted.marker {
            let marker = DeleteRequest { version_id: Some(marker.clone()), ..DeleteRequest::of(key) };
            self.route.destination.delete(marker).await?;
            if self.is_there(key).await? {
                return Ok(Undone::BroughtBack);
            }
        }
        let from = match (&deleted.trash_key, &deleted.version_id) {
            (Some(trash_key), _) => (trash_key.clone(), None),
            (None, Some(version_id)) => (key.clone(), Some(version_id.clone())),
            // The bucket kept no version, and nobody kept a copy.
            (None, None) => return Ok(Undone::Lost),
        };
        self.copy(from, key).await?;
        Ok(if self.is_there(key).await? { Undone::BroughtBack } else { Undone::Failed })
    }

    async fn copy(&self, (from, version_id): (Key, Option<String>), key: &Key) -> Result<(), Error> {
        let request = CopyRequest {
            key: from,
            destination_key: key.clone(),
            generation: None,
            version_id,
            size_hint_bytes: None,
            class: KnownClass::Unknown,
            condition: if self.route.writes_conditionally() {
                WriteCondition::Absent
            } else {
                WriteCondition::None
            },
            job: None,
        };
        match self.copier.copy(&self.route, request).await {
            Ok(_copied) => Ok(()),
            Err(CopyError::SourceGone | CopyError::SourceChanged) => {
                Err(Error::new(ErrorKind::NotFound, "what was kept of it is not there any more"))
            }
            Err(CopyError::Divided { .. }) => {
                Err(Error::new(ErrorKind::Other, "it was divided although nobody asked for that"))
            }
            Err(CopyError::SourceArchived) => {
                Err(Error::new(ErrorKind::Archived, "what was kept of it is archived"))
            }
            Err(
                CopyError::DestinationChanged(error)
                | CopyError::WriteUnsupported(error)
                | CopyError::UploadGone(error)
                | CopyError::Failed(error),
            ) => Err(error),
        }
    }

    async fn is_there(&self, key: &Key) -> Result<bool, Error> {
        match self.route.destination.head(HeadRequest::of(key)).await {
            Ok(_head) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}
