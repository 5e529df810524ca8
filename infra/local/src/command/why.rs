//! `ferry why`: everything known about one key.
//!
//! Owns: putting together what past runs remember of a key, what both sides have now, and what a sync would do, in one answer. Does not
//! own: how any of it came about. Invariant: a store that cannot be asked is part of the answer, never the end of it.

use std::fmt;

use anyhow::Result;
use ferry_transfer::compare::{Evidence, Verdict, compare};
use ferry_transfer::deletion::{JournalLine, Step};
use ferry_transfer::history::History;
use ferry_transfer::receipt::{Outcome, PartEnd, Receipt};
use ferry_transfer::server_side::Ends as Found;
use ferry_transfer::store::{HeadRequest, ListUploadsRequest};
use ferry_transfer::task::{Location, Task};
use ferry_transfer::{ErrorKind, Key, ObjectHead, Route, RunId, RunRecord, SharedStore};
use indicatif::HumanCount;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::args::{OutputArgs, SideAccess, WhyArgs};
use crate::command::ls::shown;
use crate::config::Config;
use crate::ends::{Ends, Rules, Side};
use crate::exit::{Exit, UsageError, print};

/// Everything known about a key.
#[derive(Debug, Serialize)]
struct Why {
    source: SideNow,
    destination: SideNow,
    /// What a sync would do, in words.
    sync_would: String,
    runs: Vec<RunOfKey>,
    /// Uploads that will make the key at the destination, begun and neither completed nor dropped.
    open_uploads: Vec<String>,
    /// The answer in a sentence.
    answer: String,
}

/// What one side says of the key now.
#[derive(Debug, Serialize)]
struct SideNow {
    location: String,
    key: Key,
    #[serde(flatten)]
    state: State,
    #[serde(skip)]
    head: Option<ObjectHead>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum State {
    There {
        size_bytes: u64,
        etag: Option<String>,
        last_modified: Option<String>,
        storage_class: Option<String>,
        version_id: Option<String>,
        tags: u32,
    },
    NotThere,
    CannotTell {
        error: String,
    },
}

/// What one run did about the key.
#[derive(Debug, Serialize)]
struct RunOfKey {
    run: RunId,
    outcome: Option<String>,
    receipts: Vec<Receipt>,
    deletes: Vec<JournalLine>,
}

/// Puts it together.
pub async fn run(args: WhyArgs, output: &OutputArgs) -> Result<Exit> {
    let state = args.state.open_if_there_is_a_place()?;
    let history = state.as_ref().map(|state| History::of(state));
    let mut records: Vec<(RunId, Option<RunRecord>)> = Vec::new();
    if let Some(history) = &history {
        for run in history.runs().await? {
            let record = history.record(&run).await?;
            records.push((run, record));
        }
    }
    let task = match (args.source, args.destination) {
        (Some(source), Some(destination)) => Task::new("why", source, destination),
        _ => task_of(&args.key, &records)?,
    };
    let config = Config::load(&args.config)?;
    let source =
        Side::connect(&config, &task.source.store, args.source_store.into(), SideAccess::default()).await?;
    let destination =
        Side::connect(&config, &task.destination.store, args.dest_store.into(), SideAccess::default())
            .await?;
    let ends = Ends::join(task, Rules::default().streams, &source, &destination, Found::Apart)?;
    let route = &ends.route;
    let key = source_key(route, &args.key)?;
    let destination_key = route.destination_key(&key)?;

    let (at_source, at_destination) = futures::join!(
        SideNow::look(&route.task.source, &route.source, &key),
        SideNow::look(&route.task.destination, &route.destination, &destination_key)
    );
    let mut runs = Vec::new();
    if let Some(history) = &history {
        for (run, record) in records {
            let receipts = history.receipts(&run, &key).await?;
            let deletes = history.deletions(&run, Some(&destination_key)).await?;
            if !receipts.is_empty() || !deletes.is_empty() {
                let outcome = record.map(|record| record.outcome.to_string());
                runs.push(RunOfKey { run, outcome, receipts, deletes });
            }
        }
    }
    let (now, sync_would) = verdict(route, &key, &at_source, &at_destination);
    let past = runs.iter().find_map(RunOfKey::last_word);
    let past =
        past.unwrap_or_else(|| "No run that is remembered here had anything to do about it".to_owned());
    let why = Why {
        answer: format!("{past}; {now}."),
        sync_would,
        runs,
        open_uploads: open_uploads(&route.destination, &destination_key).await,
        source: at_source,
        destination: at_destination,
    };
    if output.json {
        print(&serde_json::to_string(&why)?);
    } else {
        print(why.to_string().trim_end());
    }
    Ok(Exit::Done)
}

/// The task of the newest run that the key can belong to.
fn task_of(key: &str, records: &[(RunId, Option<RunRecord>)]) -> Result<Task> {
    let location: Option<Location> = key.parse().ok();
    let is_about = |task: &Task| {
        location.as_ref().is_none_or(|at| {
            [&task.source, &task.destination].iter().any(|side| {
                side.store == at.store && side.bucket == at.bucket && at.prefix.starts_with(&side.prefix)
            })
        })
    };
    let mut tasks = records.iter().filter_map(|(_, record)| Some(&record.as_ref()?.task));
    let task = tasks.find(|task| is_about(task)).cloned();
    Ok(task.ok_or_else(|| {
        UsageError("no run that is remembered here can have moved it; name both sides: ferry why KEY SOURCE DESTINATION".to_owned())
    })?)
}

/// The key at the source, as whatever side and form it was named in.
fn source_key(route: &Route, text: &str) -> Result<Key, UsageError> {
    let task = &route.task;
    let empty = |_| UsageError("a key must not be empty".to_owned());
    let Ok(at) = text.parse::<Location>() else {
        let has_prefix = !task.source.prefix.is_empty() && text.starts_with(&task.source.prefix);
        let key = if has_prefix { text.to_owned() } else { format!("{}{text}", task.source.prefix) };
        return Key::new(key).map_err(empty);
    };
    let key = Key::new(at.prefix).map_err(empty)?;
    if (&at.store, &at.bucket) == (&task.source.store, &task.source.bucket)
        && key.strip_prefix(&task.source.prefix).is_some()
    {
        return Ok(key);
    }
    let is_destination = (&at.store, &at.bucket) == (&task.destination.store, &task.destination.bucket);
    let origins = if is_destination { route.source_keys(&key) } else { Vec::new() };
    let elsewhere =
        || UsageError(format!("{text} lies neither in {} nor in {}", task.source, task.destination));
    origins.into_iter().next().ok_or_else(elsewhere)
}

impl SideNow {
    async fn look(location: &Location, store: &SharedStore, key: &Key) -> Self {
        let (state, head) = match store.head(HeadRequest::of(key)).await {
            Ok(head) => (State::there(&head), Some(head)),
            Err(error) if error.kind() == ErrorKind::NotFound => (State::NotThere, None),
            Err(error) => (State::CannotTell { error: error.chain() }, None),
        };
        let location = format!("{}://{}", location.store, location.bucket);
        Self { location, key: key.clone(), state, head }
    }
}

impl State {
    fn there(head: &ObjectHead) -> Self {
        Self::There {
            size_bytes: head.size_bytes,
            etag: head.etag.as_ref().map(|etag| etag.as_str().to_owned()),
            last_modified: head.last_modified.map(text_time),
            storage_class: head.attributes.storage_class.as_ref().map(|class| class.as_str().to_owned()),
            version_id: head.version_id.clone(),
            tags: head.tag_count,
        }
    }
}

/// How the two sides stand, and what a sync would do, in words.
fn verdict(route: &Route, key: &Key, source: &SideNow, destination: &SideNow) -> (String, String) {
    for side in [source, destination] {
        if let State::CannotTell { error } = &side.state {
            return (
                format!("{} cannot be asked now: {error}", side.location),
                "fail to look at it".to_owned(),
            );
        }
    }
    let selected =
        source.head.as_ref().map_or_else(|| route.selects_key(key), |head| route.selects(key, head));
    if !selected {
        let now = "the task's selection leaves it out".to_owned();
        return (now, "leave it alone: it is outside the task's selection".to_owned());
    }
    match (&source.head, &destination.head) {
        (None, None) => ("neither side has it now".to_owned(), "do nothing".to_owned()),
        (Some(_), None) => ("only the source has it now".to_owned(), "copy it: it is missing".to_owned()),
        (None, Some(_)) => (
            "only the destination has it now".to_owned(),
            "leave it, or delete it with --delete once the source has answered 404 for it".to_owned(),
        ),
        (Some(from), Some(to)) => {
            let (from, to) = (from.to_entry(key), to.to_entry(&destination.key));
            match compare(route.task.compare, &from, &to, route.known_etags()) {
                Verdict::Same(evidence) => {
                    let evidence = match evidence {
                        Evidence::Etag => "ETag",
                        Evidence::SizeAndTime => "size and time",
                        Evidence::Size => "size",
                    };
                    (
                        format!("both sides are equal now by {evidence}"),
                        format!("do nothing: equal by {evidence}"),
                    )
                }
                Verdict::Different(reason) => {
                    let word = reason.word();
                    (format!("the two sides differ now: {word}"), format!("copy it: {word}"))
                }
            }
        }
    }
}

/// Left out where the store will not say.
async fn open_uploads(store: &SharedStore, key: &Key) -> Vec<String> {
    let request = ListUploadsRequest { prefix: key.as_str().to_owned(), ..ListUploadsRequest::default() };
    let page = store.list_uploads(request).await.unwrap_or_default();
    let of_key = page.uploads.into_iter().filter(|upload| upload.key == *key);
    of_key
        .map(|upload| {
            let begun = upload.initiated.map(|at| format!(", begun {}", text_time(at))).unwrap_or_default();
            format!("{}{begun}", upload.upload_id.0)
        })
        .collect()
}

impl RunOfKey {
    /// How it ended for the key.
    fn last_word(&self) -> Option<String> {
        let receipt = self.receipts.last()?;
        let at = text_time(receipt.at);
        Some(match &receipt.outcome {
            Outcome::Copied(_) => format!("Copied at {at}"),
            Outcome::HistoryCopied { .. } => format!("Copied with its history at {at}"),
            Outcome::UpToDate => format!("Found to be the same at {at}"),
            Outcome::Deleted => format!("Deleted at {at}"),
            Outcome::Divided { parts } => format!("Divided into {parts} parts at {at}"),
            Outcome::Part { part_number, .. } => format!("Part {part_number} settled at {at}"),
            Outcome::Failed(failed) => format!("Failed at {at} ({})", failed.kind),
            Outcome::Parked { .. } => format!("Found archived at {at}; its restore was asked for"),
            Outcome::Skipped { reason } => format!("Skipped at {at}: {reason}"),
        })
    }
}

/// An outcome in words.
fn words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Copied(copied) => format!(
            "copied {} bytes, source ETag {}, destination ETag {}",
            HumanCount(copied.size_bytes),
            copied.source_etag.as_ref().map_or("none", |etag| etag.as_str()),
            copied.destination_etag.as_ref().map_or("none", |etag| etag.as_str())
        ),
        Outcome::HistoryCopied { versions, delete_markers } => format!(
            "copied {} versions, {} bytes in all, and {} delete markers",
            HumanCount(versions.len() as u64),
            HumanCount(versions.iter().map(|copied| copied.size_bytes).sum()),
            HumanCount(*delete_markers)
        ),
        Outcome::UpToDate => "already the same".to_owned(),
        Outcome::Deleted => "deleted".to_owned(),
        Outcome::Divided { parts } => format!("divided into {parts} parts"),
        Outcome::Part { part_number, end: PartEnd::Copied } => format!("part {part_number} copied"),
        Outcome::Part { part_number, end: PartEnd::Outlived } => {
            format!("part {part_number} not needed any more: its upload was completed or dropped before")
        }
        Outcome::Parked { since } => format!("archived, being restored since {}", text_time(*since)),
        Outcome::Skipped { reason } => format!("skipped: {reason}"),
        Outcome::Failed(failed) => {
            let last = if failed.last { "failed for good" } else { "failed, to be tried again" };
            format!("{last}: {}", failed.error)
        }
    }
}

fn step_words(step: &Step) -> String {
    match step {
        Step::Intended { size_bytes, .. } => format!("about to delete {} bytes", HumanCount(*size_bytes)),
        Step::Trashed { trash_key } => format!("in the trash as {}", shown(trash_key.as_str())),
        Step::Deleted { .. } => "deleted".to_owned(),
        Step::Kept { why } => format!("left alone: {why}"),
    }
}

fn text_time(time: OffsetDateTime) -> String {
    time.replace_nanosecond(0).unwrap_or(time).format(&Rfc3339).unwrap_or_default()
}

impl fmt::Display for SideNow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}  ", self.location, shown(self.key.as_str()))?;
        match &self.state {
            State::NotThere => f.write_str("not there"),
            State::CannotTell { error } => write!(f, "cannot be asked: {error}"),
            State::There { size_bytes, etag, last_modified, storage_class, version_id, tags } => {
                write!(f, "{} bytes", HumanCount(*size_bytes))?;
                let facts = [
                    ("ETag", etag),
                    ("written", last_modified),
                    ("class", storage_class),
                    ("version", version_id),
                ];
                for (name, fact) in facts {
                    if let Some(fact) = fact {
                        write!(f, ", {name} {fact}")?;
                    }
                }
                if *tags > 0 { write!(f, ", {tags} tags") } else { Ok(()) }
            }
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "source       {}\ndestination  {}", self.source, self.destination)?;
        for upload in &self.open_uploads {
            writeln!(f, "open upload  {upload}")?;
        }
        for run in &self.runs {
            writeln!(f, "run {}  {}", run.run, run.outcome.as_deref().unwrap_or("no record"))?;
            for receipt in &run.receipts {
                if let Some(found) = receipt.found {
                    let found = serde_json::to_string(&found).unwrap_or_default();
                    writeln!(
                        f,
                        "  the scan found it {}",
                        found.replace(['"', '{', '}'], "").replace(':', ": ")
                    )?;
                }
                let (at, attempt) = (text_time(receipt.at), receipt.attempt);
                writeln!(f, "  {at}  attempt {attempt}: {}", words(&receipt.outcome))?;
            }
            for line in &run.deletes {
                writeln!(f, "  {}  journal: {}", text_time(line.at), step_words(&line.entry.step))?;
            }
        }
        writeln!(f, "A sync would {}.\n{}", self.sync_would, self.answer)
    }
}
