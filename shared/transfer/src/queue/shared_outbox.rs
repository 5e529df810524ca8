//! One sender for many callers, each with few messages.
//!
//! Owns: gathering messages of different callers into batches, the inspection of every entry's result, and the repetition of those that
//! failed. Does not own: a single caller's many messages ([`super::outbox`]). Invariants: a caller hears of success only when the queue has
//! taken each of its own messages, and never of another's failure; a message waits for company no longer than a few milliseconds, and not at all
//! while nothing is on its way; what waits is bounded, and a caller that went away takes along what has not been sent.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use crate::queue::{BATCH_MAX, OutgoingMessage};
use crate::retry::{Backoff, Retries};
use crate::{Clock, Error, ErrorKind, Result, SharedQueue};

/// Longest that a message waits for others to share its request: little beside the request itself.
const LINGER: Duration = Duration::from_millis(5);

/// Requests on their way at once. A queue that takes 200 ms for each is sent 3,200 messages a second.
const BATCHES_IN_FLIGHT: usize = 64;

/// Messages that wait for a batch. Behind them callers wait.
const WAITING_MAX: usize = 1024;

/// Most bytes of one batch's bodies: what SQS took before it took 1 MiB, and its clones still do.
const BATCH_BYTES_MAX: usize = 256 * 1024;

/// A sender to one queue. Clones share its batches.
#[derive(Debug, Clone)]
pub struct SharedOutbox {
    entries: mpsc::Sender<Entry>,
}

/// A message, and who waits for it.
#[derive(Debug)]
struct Entry {
    message: OutgoingMessage,
    answer: oneshot::Sender<Result<()>>,
}

impl SharedOutbox {
    /// Sends to this queue, an entry that failed as often and as long as the backoff says. Must be called within a runtime; what is on
    /// its way when the last clone is dropped is sent to its end.
    pub fn new(queue: SharedQueue, clock: Arc<dyn Clock>, backoff: Backoff) -> Self {
        let (entries, waiting) = mpsc::channel(WAITING_MAX);
        let places = Arc::new(Semaphore::new(BATCHES_IN_FLIGHT));
        let dispatcher =
            Dispatcher { way: Arc::new(Way { queue, clock, backoff }), waiting, left_over: None, places };
        tokio::spawn(dispatcher.run());
        Self { entries }
    }

    /// Sends the messages; an error is that of the first one that could not be sent, and of the others some may have been.
    pub async fn send(&self, messages: Vec<OutgoingMessage>) -> Result<()> {
        let mut answers = Vec::with_capacity(messages.len());
        for message in messages {
            let (answer, answered) = oneshot::channel();
            self.entries.send(Entry { message, answer }).await.map_err(|_closed| stopped())?;
            answers.push(answered);
        }
        for answered in answers {
            answered.await.map_err(|_dropped| stopped())??;
        }
        Ok(())
    }
}

fn stopped() -> Error {
    Error::new(ErrorKind::Cancelled, "the sender to the queue has stopped")
}

/// Makes batches of what waits.
struct Dispatcher {
    way: Arc<Way>,
    waiting: mpsc::Receiver<Entry>,
    /// Had no room in the batch before.
    left_over: Option<Entry>,
    places: Arc<Semaphore>,
}

impl Dispatcher {
    async fn run(mut self) {
        while let Some(first) = self.next().await {
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
            let batch = self.gather(first).await;
            let way = Arc::clone(&self.way);
            tokio::spawn(async move {
                way.send(batch).await;
                drop(place);
            });
        }
    }

    async fn next(&mut self) -> Option<Entry> {
        match self.left_over.take() {
            Some(entry) => Some(entry),
            None => self.waiting.recv().await,
        }
    }

    async fn gather(&mut self, first: Entry) -> Vec<Entry> {
        let nothing_under_way = self.places.available_permits() == BATCHES_IN_FLIGHT - 1;
        let until = Instant::now() + if nothing_under_way { Duration::ZERO } else { LINGER };
        let mut bytes = first.message.body.len();
        let mut batch = Vec::with_capacity(BATCH_MAX);
        batch.push(first);
        while batch.len() < BATCH_MAX {
            let Ok(Some(entry)) = tokio::time::timeout_at(until, self.waiting.recv()).await else { break };
            bytes += entry.message.body.len();
            if bytes > BATCH_BYTES_MAX {
                self.left_over = Some(entry);
                break;
            }
            batch.push(entry);
        }
        batch
    }
}

/// How batches get to the queue.
struct Way {
    queue: SharedQueue,
    clock: Arc<dyn Clock>,
    backoff: Backoff,
}

impl Way {
    /// Sends a batch until every entry is taken, can never be, or has been tried often enough.
    async fn send(&self, mut batch: Vec<Entry>) {
        let mut retries = Retries::new(&self.backoff, self.clock.as_ref());
        loop {
            batch.retain(|entry| !entry.answer.is_closed());
            if batch.is_empty() {
                return;
            }
            let messages = batch.iter().map(|entry| entry.message.clone()).collect();
            let failure = match self.queue.send_batch(messages).await {
                Ok(results) if results.len() == batch.len() => {
                    let mut failure = None;
                    let mut left = Vec::new();
                    for (entry, result) in batch.into_iter().zip(results) {
                        match result {
                            Err(error) if !error.is_permanent() => {
                                failure = Some(error);
                                left.push(entry);
                            }
                            settled => answer(entry, settled),
                        }
                    }
                    batch = left;
                    failure
                }
                Ok(results) => {
                    let (sent, answered) = (batch.len(), results.len());
                    let message = format!("the queue answered {answered} of {sent} entries of a batch");
                    return fail(batch, Error::new(ErrorKind::Other, message));
                }
                // One of them spoils the request, and nobody says which.
                Err(error) if error.kind() == ErrorKind::InvalidInput && batch.len() > 1 => {
                    for entry in batch {
                        Box::pin(self.send(vec![entry])).await;
                    }
                    return;
                }
                Err(error) => Some(error),
            };
            let Some(failure) = failure else { return };
            if let Err(error) = retries.pause(failure).await {
                return fail(batch, error);
            }
        }
    }
}

/// A caller that went away wants no answer.
fn answer(entry: Entry, result: Result<()>) {
    drop(entry.answer.send(result));
}

/// Each entry fails with what they all failed with.
fn fail(batch: Vec<Entry>, error: Error) {
    let (kind, error) = (error.kind(), Arc::new(error));
    for entry in batch {
        let own = Error::new(kind, "the queue did not take the message").caused_by(Arc::clone(&error));
        answer(entry, Err(own));
    }
}

#[cfg(test)]
mod tests;
