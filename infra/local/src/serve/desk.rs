//! Notifications: taken in, kept on the disk, and settled.
//!
//! Owns: the queue and the dead letters under `queue/` of the directory, the door of each task, and the hands that empty the queue. Does not
//! own: reading notifications ([`ferry_events`]) nor what a job does ([`ferry_worker`]). Invariants: a sender hears of success when the jobs
//! are on the disk; a job leaves the queue when it is settled or buried with its reason, and not before.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use ferry_events::host::{Door, http};
use ferry_events::{Authenticator, Deletes, Handler, Rules};
use ferry_transfer::copy::{Copier, CopySettings};
use ferry_transfer::deletion::DeleteJournal;
use ferry_transfer::metric::Measures;
use ferry_transfer::queue::disk::{DiskQueue, DiskQueueConfig};
use ferry_transfer::queue::shared_outbox::SharedOutbox;
use ferry_transfer::queue::{BATCH_MAX, Delivery, OutgoingMessage, Queue as _, QueueDepth};
use ferry_transfer::receipt::{EachSink, Receipt, ReceiptSink};
use ferry_transfer::retry::Backoff;
use ferry_transfer::state::DirectoryState;
use ferry_transfer::{Clock, Error, ErrorKind, RunId, RunOutcome, RunRecord, SharedQueue, task};
use ferry_worker::{Breaker, DEAD_LETTER_REASON, Parking, Worker, event};
use serde::Serialize;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::runs::no_task;
use super::tasks::{TaskShelf, parse};
use crate::run_log::{EVENTS_SUFFIX, RunLog};

/// The process has its directory alone: while it lives, nobody else gets its messages.
const VISIBILITY: Duration = Duration::from_hours(12);
/// An idle hand looks up so often.
const IDLE_WAIT: Duration = Duration::from_secs(20);
/// With the growing pauses between them, two hours: a store may be away for that long.
const MAX_RECEIVE_COUNT: u32 = 12;
/// A job that was delivered more often ends with the dead letters whatever it does: it may be what ends the process.
const DELIVERIES_MAX: u32 = 3 * MAX_RECEIVE_COUNT;
/// How long a job waits whose task cannot be connected.
const UNCONNECTED_WAIT: Duration = Duration::from_secs(30);
/// Those who append do it every few seconds.
const APPEND_WAIT: Duration = Duration::from_secs(30);
/// Longest that one notification's jobs may take to the disk.
const SEND_WITHIN: Duration = Duration::from_secs(10);
/// Receipts that a follower may be behind by.
const TAIL_BEHIND_MAX: usize = 1024;
/// How many processes' receipts of notifications are kept.
const RUNS_KEPT: u16 = 50;

/// See the module.
#[derive(Debug)]
pub(crate) struct Desk {
    jobs: Arc<DiskQueue>,
    dead: Arc<DiskQueue>,
    outbox: SharedOutbox,
    shelf: Arc<TaskShelf>,
    state: DirectoryState,
    measures: Arc<Measures>,
    clock: Arc<dyn Clock>,
    authenticator: Authenticator,
    doors: Mutex<HashMap<String, (String, Door)>>,
    clerks: tokio::sync::Mutex<HashMap<String, Arc<Clerk>>>,
    followers: broadcast::Sender<Arc<str>>,
}

/// Settles the jobs of one task.
struct Clerk {
    worker: Worker,
    log: Arc<RunLog>,
}

/// A job that nobody could do.
#[derive(Debug, Serialize)]
pub(crate) struct DeadLetter {
    reason: Option<String>,
    message: serde_json::Value,
}

/// Whether a record is of what notifications left, and not of a run.
pub(super) fn is_desk(record: &RunRecord) -> bool {
    record.run.as_str().ends_with(EVENTS_SUFFIX)
}

impl Desk {
    pub(crate) fn open(
        state: &DirectoryState,
        shelf: Arc<TaskShelf>,
        measures: Arc<Measures>,
        clock: Arc<dyn Clock>,
        authenticator: Authenticator,
    ) -> Result<Self, Error> {
        let open = |name: &str| {
            let config = DiskQueueConfig::new(Arc::clone(&clock));
            DiskQueue::open(&state.root().join("queue").join(name), config)
        };
        let (jobs, dead) = (open("jobs")?, open("dead")?);
        let backoff = Backoff { elapsed_max: SEND_WITHIN, ..Backoff::default() };
        let outbox = SharedOutbox::new(Arc::clone(&jobs) as SharedQueue, Arc::clone(&clock), backoff);
        Ok(Self {
            jobs,
            dead,
            outbox,
            shelf,
            state: state.clone(),
            measures,
            clock,
            authenticator,
            doors: Mutex::default(),
            clerks: tokio::sync::Mutex::default(),
            followers: broadcast::channel(TAIL_BEHIND_MAX).0,
        })
    }

    /// What answers the senders of a task's notifications.
    pub(crate) fn door(&self, name: &str) -> Result<Router, Error> {
        let text = self.shelf.text(name)?.ok_or_else(|| no_task(name))?;
        let mut doors = self.doors();
        if let Some((before, door)) = doors.get(name)
            && *before == text
        {
            return Ok(http::router(door.clone()));
        }
        let task = parse(name, &text)?;
        let deletes = match task.deletes {
            task::Deletes::Keep => Deletes::Leave,
            task::Deletes::Mirror(_) => Deletes::Send,
        };
        let prefixes = Some(task.source.prefix).filter(|prefix| !prefix.is_empty()).into_iter().collect();
        let rules = Rules {
            task: Some(name.to_owned()),
            bucket: Some(task.source.bucket),
            prefixes,
            suffixes: Vec::new(),
            deletes,
        };
        let handler = Handler {
            rules: rules.into(),
            outbox: self.outbox.clone(),
            clock: Arc::clone(&self.clock),
            append_wait: APPEND_WAIT,
            send_within: SEND_WITHIN,
        };
        let door = Door::new(handler, self.authenticator.clone());
        doors.insert(name.to_owned(), (text, door.clone()));
        Ok(http::router(door))
    }

    fn doors(&self) -> MutexGuard<'_, HashMap<String, (String, Door)>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets so many hands to work until it is told to stop.
    pub(crate) fn employ(self: &Arc<Self>, hands: usize, work: &TaskTracker, stop: &CancellationToken) {
        for _ in 0..hands {
            let (desk, stop) = (Arc::clone(self), stop.clone());
            work.spawn(async move {
                while !stop.is_cancelled() {
                    let received = tokio::select! {
                        received = desk.jobs.receive(1, IDLE_WAIT, VISIBILITY) => received,
                        () = stop.cancelled() => return,
                    };
                    match received {
                        Ok(deliveries) => {
                            for delivery in deliveries {
                                desk.settle(delivery).await;
                            }
                        }
                        Err(error) => {
                            tracing::error!(error = %error.chain(), "the queue gave nothing");
                            tokio::time::sleep(UNCONNECTED_WAIT).await;
                        }
                    }
                }
            });
        }
    }

    async fn settle(&self, delivery: Delivery) {
        let handle = delivery.receipt_handle.clone();
        if delivery.receive_count > DELIVERIES_MAX {
            let message = format!(
                "it was delivered {DELIVERIES_MAX} times and never ended: the process did, or was ended"
            );
            if let Err(error) = self.bury(delivery, &Error::new(ErrorKind::Other, message)).await {
                tracing::error!(error = %error.chain(), "the queue lost track of a message");
            }
            return;
        }
        let settled = match self.clerk(&delivery).await {
            Ok(clerk) => {
                let answer = clerk.worker.handle(event(vec![delivery]), None).await;
                if answer.is_ok_and(|answer| answer.batch_item_failures.is_empty()) {
                    self.forget(handle).await
                } else {
                    // The worker has hidden it for as long as it should be.
                    Ok(())
                }
            }
            Err(error) if error.is_permanent() || delivery.receive_count >= MAX_RECEIVE_COUNT => {
                self.bury(delivery, &error).await
            }
            Err(error) => {
                tracing::warn!(error = %error.chain(), "a job waits for its task");
                self.jobs.change_visibility(&handle, UNCONNECTED_WAIT).await
            }
        };
        if let Err(error) = settled {
            tracing::error!(error = %error.chain(), "the queue lost track of a message");
        }
    }

    async fn forget(&self, handle: String) -> Result<(), Error> {
        self.jobs.delete_batch(vec![handle]).await?.into_iter().collect()
    }

    /// A message that nobody can do: its reason goes along.
    async fn bury(&self, delivery: Delivery, error: &Error) -> Result<(), Error> {
        let reason = error.chain();
        tracing::error!(error = reason, "a job goes to the dead letters");
        let attributes = vec![(DEAD_LETTER_REASON.to_owned(), reason)];
        let letter = OutgoingMessage { attributes, ..OutgoingMessage::new(delivery.body) };
        self.dead.send_batch(vec![letter]).await?.into_iter().collect::<Result<(), Error>>()?;
        self.forget(delivery.receipt_handle).await
    }

    async fn clerk(&self, delivery: &Delivery) -> Result<Arc<Clerk>, Error> {
        let body: serde_json::Value = serde_json::from_str(&delivery.body).unwrap_or_default();
        let name = body["task"]
            .as_str()
            .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "the job names no task"))?;
        let ends = self.shelf.ends(name).await?;
        let mut clerks = self.clerks.lock().await;
        if let Some(clerk) = clerks.get(name) {
            return Ok(Arc::clone(clerk));
        }
        let run = RunId::from(format!("{}{EVENTS_SUFFIX}", RunId::new(self.clock.as_ref())));
        let log = Arc::new(RunLog::open(self.state.clone(), &run, &ends.route.task, RUNS_KEPT).await?);
        let copier = Copier::new(CopySettings::default(), Arc::clone(&self.clock));
        let worker = Worker {
            routes: Arc::clone(&self.shelf) as _,
            copier: Arc::new(copier.remembering(Arc::new(self.state.clone()))),
            receipts: Arc::new(EachSink(vec![
                Arc::clone(&log) as _,
                Arc::clone(&self.measures) as _,
                Arc::new(Followers(self.followers.clone())),
            ])),
            journal: Arc::clone(&log) as Arc<dyn DeleteJournal>,
            dead_letters: Some(Arc::clone(&self.dead) as _),
            deliveries: Some(Arc::clone(&self.jobs) as _),
            breaker: Some(Breaker::default()),
            parking: Some(Parking {
                queue: Arc::clone(&self.jobs) as _,
                shortest: Duration::from_mins(1),
                at_most: Duration::from_hours(96),
                places: None,
            }),
            max_receive_count: MAX_RECEIVE_COUNT,
            clock: Arc::clone(&self.clock),
        };
        let clerk = Arc::new(Clerk { worker, log });
        clerks.insert(name.to_owned(), Arc::clone(&clerk));
        Ok(clerk)
    }

    /// How many jobs there are, and how many dead letters.
    pub(crate) async fn depths(&self) -> Result<(QueueDepth, QueueDepth), Error> {
        Ok((self.jobs.depth().await?, self.dead.depth().await?))
    }

    /// The oldest dead letters.
    pub(crate) fn dead_letters(&self, max: usize) -> Result<Vec<DeadLetter>, Error> {
        let letters = self.dead.peek(max)?.into_iter().map(|letter| DeadLetter {
            reason: letter
                .attributes
                .into_iter()
                .find(|(name, _)| name == DEAD_LETTER_REASON)
                .map(|(_, why)| why),
            message: serde_json::from_str(&letter.body).unwrap_or(serde_json::Value::String(letter.body)),
        });
        Ok(letters.collect())
    }

    /// Puts every dead letter back on the queue. How many there were.
    pub(crate) async fn redrive(&self) -> Result<u64, Error> {
        self.dead.move_all(self.jobs.as_ref()).await
    }

    /// Removes every dead letter. How many there were.
    pub(crate) async fn purge(&self) -> Result<u64, Error> {
        let mut purged = 0;
        loop {
            let letters = self.dead.receive(BATCH_MAX, Duration::ZERO, VISIBILITY).await?;
            if letters.is_empty() {
                return Ok(purged);
            }
            purged += letters.len() as u64;
            let handles = letters.into_iter().map(|letter| letter.receipt_handle).collect();
            self.dead.delete_batch(handles).await?.into_iter().collect::<Result<(), Error>>()?;
        }
    }

    /// Receipts of notifications from now on, one JSON document each.
    pub(crate) fn follow(&self) -> broadcast::Receiver<Arc<str>> {
        self.followers.subscribe()
    }

    /// Brings what was written down to the disk.
    pub(crate) async fn close(&self) {
        for (task, clerk) in self.clerks.lock().await.drain() {
            if let Err(error) = clerk.log.end(RunOutcome::Done, serde_json::Value::Null).await {
                tracing::error!(task, error = %error.chain(), "receipts could not be brought to the disk");
            }
        }
    }
}

/// Shows receipts to whoever follows.
#[derive(Debug)]
struct Followers(broadcast::Sender<Arc<str>>);

impl ReceiptSink for Followers {
    fn record(&self, receipt: &Receipt) {
        if self.0.receiver_count() > 0
            && let Ok(line) = serde_json::to_string(receipt)
        {
            // Nobody may be there any more.
            drop(self.0.send(line.into()));
        }
    }
}

impl std::fmt::Debug for Clerk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clerk").field("log", &self.log).finish_non_exhaustive()
    }
}
