//! A worker on a machine: what the event source mapping of Lambda does, done here.
//!
//! Owns: receiving, the time that a batch may take, deleting what is done and handing back the rest when the process is told to stop. Does
//! not own: what becomes of a message ([`Worker`]). Invariants: a message is deleted only after the worker has settled it; whatever is under way
//! when the grace is over is visible to others at once, and the uploads it had begun stay for them.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use ferry_cloud::emf::Publisher;
use ferry_transfer::queue::Delivery;
use ferry_transfer::{Error, Result, SharedQueue};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Worker;

/// Longest wait of one receive. It is never broken off, since what it brings would stay hidden for a batch's time; so a process that is told to
/// stop takes as long.
const WAIT: Duration = Duration::from_secs(10);
/// Kept between the end of a batch and the moment when others see its messages.
const MARGIN: Duration = Duration::from_mins(1);
/// Receives under way at once: each costs money also when nothing comes.
const RECEIVES: u32 = 2;
/// Pause after a receive that failed.
const PAUSE: Duration = Duration::from_secs(5);

/// How a machine works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollerSettings {
    /// Batches under way at once.
    pub hands: usize,
    /// Messages in a batch, from 1 to 10.
    pub batch: usize,
    /// How long a batch may take; what is not done then goes on with another message.
    pub batch_time: Duration,
    /// How long batches may go on once the process is told to stop.
    pub grace: Duration,
    /// End once nothing has come for so long; `None` never ends by itself.
    pub until_idle: Option<Duration>,
}

/// Takes batches off a queue until it is told to stop.
pub struct Poller {
    worker: Arc<Worker>,
    queue: SharedQueue,
    publisher: Publisher,
    settings: PollerSettings,
    receives: Semaphore,
    /// Batches that hands are at work on.
    under_way: AtomicUsize,
    /// When any hand last ended one.
    busy: Mutex<Instant>,
}

impl Poller {
    /// Of a worker and the queue that it works for.
    pub fn new(worker: Worker, queue: SharedQueue, publisher: Publisher, settings: PollerSettings) -> Self {
        let receives = Semaphore::new(RECEIVES as usize);
        Self {
            worker: Arc::new(worker),
            queue,
            publisher,
            settings,
            receives,
            under_way: AtomicUsize::new(0),
            busy: Mutex::new(Instant::now()),
        }
    }

    fn is_idle(&self) -> bool {
        let idle_for = self.last_busy().elapsed();
        self.under_way.load(Relaxed) == 0 && self.settings.until_idle.is_some_and(|idle| idle_for >= idle)
    }

    fn last_busy(&self) -> MutexGuard<'_, Instant> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works until `stop`, or until the queue has been empty for long enough. An error is one that waiting does not mend.
    pub async fn run(self, stop: &CancellationToken) -> Result<()> {
        let poller = Arc::new(self);
        let mut hands = JoinSet::new();
        for _ in 0..poller.settings.hands {
            let (poller, stop) = (Arc::clone(&poller), stop.clone());
            hands.spawn(async move { poller.work(&stop).await });
        }
        let mut outcome = Ok(());
        while let Some(ended) = hands.join_next().await {
            let ended = ended.unwrap_or_else(|panic| {
                Err(Error::new(ferry_transfer::ErrorKind::Other, "a hand of the worker panicked")
                    .caused_by(panic))
            });
            if let Err(error) = ended {
                // The others would meet the same.
                stop.cancel();
                outcome = Err(error);
            }
        }
        outcome
    }

    async fn work(&self, stop: &CancellationToken) -> Result<()> {
        while !stop.is_cancelled() {
            match self.receive(stop).await {
                Ok(deliveries) if deliveries.is_empty() => {
                    if self.is_idle() {
                        // The other hands need not wait for their turn to find the same.
                        stop.cancel();
                    }
                }
                Ok(deliveries) if stop.is_cancelled() => self.hand_back(&handles(&deliveries)).await,
                Ok(deliveries) => {
                    self.under_way.fetch_add(1, Relaxed);
                    self.settle(deliveries, stop).await;
                    *self.last_busy() = Instant::now();
                    self.under_way.fetch_sub(1, Relaxed);
                }
                Err(error) if error.is_permanent() => return Err(error),
                Err(error) => {
                    tracing::warn!(error = %error.chain(), "the queue gave nothing");
                    stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
                }
            }
        }
        Ok(())
    }

    async fn receive(&self, stop: &CancellationToken) -> Result<Vec<Delivery>> {
        let Some(Ok(_permit)) = stop.run_until_cancelled(self.receives.acquire()).await else {
            return Ok(Vec::new());
        };
        let wait = self.settings.until_idle.map_or(WAIT, |idle| idle.min(WAIT));
        self.queue.receive(self.settings.batch, wait, self.settings.batch_time + MARGIN).await
    }

    /// Settles a batch, or hands it back when the grace is over.
    async fn settle(&self, deliveries: Vec<Delivery>, stop: &CancellationToken) {
        let messages = handles(&deliveries);
        let deadline = Instant::now() + self.settings.batch_time;
        let over = async {
            stop.cancelled().await;
            tokio::time::sleep(self.settings.grace).await;
        };
        // Boxed: a batch is a large future.
        let handling = Box::pin(self.worker.handle(event(deliveries), Some(deadline)));
        let answer = tokio::select! {
            answer = handling => answer,
            () = over => {
                tracing::info!(messages = messages.len(), "the process ends; its messages are handed back");
                return self.hand_back(&messages).await;
            }
        };
        self.publisher.publish(&[("function", "worker")]);
        let given_back: HashSet<String> = match answer {
            Ok(answer) => {
                answer.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect()
            }
            Err(error) => {
                tracing::error!(error = %error.chain(), "a batch failed as a whole");
                return self.hand_back(&messages).await;
            }
        };
        let done: Vec<String> = messages
            .into_iter()
            .filter(|(id, _)| !given_back.contains(id))
            .map(|(_, handle)| handle)
            .collect();
        if done.is_empty() {
            return;
        }
        let deleted: Result<()> =
            self.queue.delete_batch(done).await.and_then(|results| results.into_iter().collect());
        if let Err(error) = deleted {
            tracing::warn!(error = %error.chain(), "messages that are done will come again, and find their objects up to date");
        }
    }

    /// Makes them visible again once no receive is under way that would take them at once.
    async fn hand_back(&self, messages: &[(String, String)]) {
        let _no_receive = self.receives.acquire_many(RECEIVES).await;
        for (id, handle) in messages {
            if let Err(error) = self.queue.change_visibility(handle, Duration::ZERO).await {
                tracing::warn!(message_id = id, error = %error.chain(), "a message stays hidden for the batch's time");
            }
        }
    }
}

/// Ids and receipt handles.
fn handles(deliveries: &[Delivery]) -> Vec<(String, String)> {
    deliveries.iter().map(|delivery| (delivery.message_id.clone(), delivery.receipt_handle.clone())).collect()
}

/// Deliveries as Lambda would hand them to the worker.
pub fn event(deliveries: Vec<Delivery>) -> SqsEvent {
    let mut event = SqsEvent::default();
    event.records = deliveries
        .into_iter()
        .map(|delivery| {
            let mut record = SqsMessage::default();
            record.message_id = Some(delivery.message_id);
            record.receipt_handle = Some(delivery.receipt_handle);
            record.body = Some(delivery.body);
            record
                .attributes
                .insert("ApproximateReceiveCount".to_owned(), delivery.receive_count.to_string());
            record
        })
        .collect();
    event
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller")
            .field("queue", &self.queue)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
