//! A queue in a directory, with the semantics of SQS that matter: what was taken outlives the process, and the machine.
//!
//! Owns: the order of writing down and answering, syncing for many senders at once, dead letters, and bringing back what a process left.
//! Does not own: which messages are ready (`backlog`) nor files (`journal`). Invariants: [`Queue::send_batch`] answers when
//! the messages are on the disk; a message that was received and not deleted is delivered again, by the next process at the latest,
//! and its receive count goes on; bodies are on the disk only, so memory grows by some hundred bytes a message.
//!
//! A delete is written down and not waited for: where the machine loses power right after it, the message is delivered once more, which
//! every queue may do.

mod journal;
mod record;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio::time::Instant;

use self::journal::{Journal, Place};
use self::record::{Record, Sent};
use super::backlog::{Backlog, Taken, check_batch_size, handle, long_poll, message_id};
use super::{Delivery, OutgoingMessage, Queue, QueueDepth};
use crate::{Clock, Error, ErrorKind, Result};

/// Of one file of the journal: small enough that room comes back soon, large enough that files are few.
const SEGMENT_BYTES: u64 = 16 << 20;

/// How a [`DiskQueue`] behaves.
#[derive(Debug, Clone)]
pub struct DiskQueueConfig {
    /// What time it is, for delays that outlive the process.
    pub clock: Arc<dyn Clock>,
    /// Where messages go that were received so often and came back; `None` keeps delivering them.
    pub dead_letters: Option<DiskDeadLetters>,
    /// A file of the journal is closed at this length, in bytes.
    pub segment_bytes: u64,
}

/// Where poison goes.
#[derive(Debug, Clone)]
pub struct DiskDeadLetters {
    /// The queue that takes it.
    pub queue: Arc<DiskQueue>,
    /// Deliveries before a message counts as poison.
    pub max_receive_count: u32,
}

impl DiskQueueConfig {
    /// Without dead letters.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, dead_letters: None, segment_bytes: SEGMENT_BYTES }
    }
}

/// A queue in a directory. See the module.
pub struct DiskQueue {
    path: PathBuf,
    config: DiskQueueConfig,
    state: Mutex<State>,
    /// Wakes receivers: something became ready, or will at a new time.
    arrived: Notify,
    /// Held while syncing: who waits for it finds its bytes synced along.
    synced: tokio::sync::Mutex<Synced>,
}

/// What is known to be on the disk.
enum Synced {
    /// So many bytes.
    Bytes(u64),
    /// A sync failed: what it was to bring there may be lost although the next one succeeds (Linux, `fsync(2)`), so nothing is promised
    /// any more until the queue is opened anew.
    Failed,
}

struct State {
    journal: Journal,
    backlog: Backlog,
    places: HashMap<u64, Place>,
}

/// What the lines of an earlier process come to, without the bodies.
#[derive(Default)]
struct LeftBehind {
    messages: HashMap<u64, Left>,
    last_id: Option<u64>,
}

struct Left {
    place: Place,
    received: u32,
    not_before_ms: Option<i64>,
}

impl LeftBehind {
    fn see(&mut self, record: &Record, place: Place) {
        match *record {
            // Of a message that was moved, the later place counts.
            Record::Sent(Sent { id, received, not_before_ms, .. }) => {
                self.last_id = self.last_id.max(Some(id));
                self.messages.insert(id, Left { place, received, not_before_ms });
            }
            Record::Received { id, count } => {
                if let Some(left) = self.messages.get_mut(&id) {
                    left.received = count;
                }
            }
            Record::Deleted { id } => {
                self.messages.remove(&id);
            }
        }
    }
}

impl DiskQueue {
    /// Opens a directory, made where it is missing. What an earlier process had in flight is ready again.
    ///
    /// # Errors
    ///
    /// `Configuration` where another process has it or it cannot be written, `Corrupt` where a file of it is damaged.
    pub fn open(path: &Path, config: DiskQueueConfig) -> Result<Arc<Self>> {
        let mut left = LeftBehind::default();
        let journal = Journal::open(path, config.segment_bytes, |record, place| left.see(record, place))?;
        let mut state = State { journal, backlog: Backlog::default(), places: HashMap::new() };
        state.bring_back(left, config.clock.now())?;
        Ok(Arc::new(Self {
            path: path.to_owned(),
            config,
            state: Mutex::new(state),
            arrived: Notify::new(),
            synced: tokio::sync::Mutex::new(Synced::Bytes(0)),
        }))
    }

    /// The next messages that are ready, without taking them.
    pub fn peek(&self, max: usize) -> Result<Vec<Delivery>> {
        let mut state = self.state();
        state.backlog.wake(Instant::now());
        let ids: Vec<u64> = state.backlog.ready().take(max).collect();
        let deliveries = ids.into_iter().map(|id| {
            let count = state.backlog.receive_count(id).unwrap_or(0);
            Ok(state.content(id)?.map(|sent| delivery(sent, count)))
        });
        deliveries.filter_map(Result::transpose).collect()
    }

    /// Sends everything that is ready to another queue, as new messages, and empties this one of it. How many there were.
    pub async fn move_all(&self, to: &dyn Queue) -> Result<u64> {
        let mut moved = 0;
        loop {
            let deliveries = self.receive(super::BATCH_MAX, Duration::ZERO, Duration::from_mins(5)).await?;
            if deliveries.is_empty() {
                return Ok(moved);
            }
            let messages =
                deliveries.iter().map(|delivery| OutgoingMessage::new(delivery.body.clone())).collect();
            to.send_batch(messages).await?.into_iter().collect::<Result<()>>()?;
            moved += deliveries.len() as u64;
            let handles = deliveries.into_iter().map(|delivery| delivery.receipt_handle).collect();
            self.delete_batch(handles).await?.into_iter().collect::<Result<()>>()?;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up to `max` ready messages; poison goes to the dead letters on the way.
    async fn take(&self, max: usize, visibility: Duration) -> Result<Vec<Delivery>> {
        let count_max = self.config.dead_letters.as_ref().map(|rule| rule.max_receive_count);
        let (deliveries, dead) = self.state().take(max, visibility, count_max)?;
        if let Some(rule) = &self.config.dead_letters {
            for sent in dead {
                let id = sent.id;
                let message =
                    OutgoingMessage { body: sent.body, attributes: sent.attributes, delay: Duration::ZERO };
                // Written there before it is forgotten here: a crash in between leaves it in both.
                rule.queue.send_batch(vec![message]).await?.into_iter().collect::<Result<()>>()?;
                self.state().forget(&[id])?;
            }
        }
        Ok(deliveries)
    }

    /// Waits until so many bytes are on the disk. One sync serves everybody who waits for it.
    async fn sync(&self, written: u64) -> Result<()> {
        let failed = |error| journal::failed(&self.path, "synced: restart once the disk is sound", error);
        let mut synced = self.synced.lock().await;
        match *synced {
            Synced::Bytes(bytes) if bytes >= written => return Ok(()),
            Synced::Bytes(_) => {}
            Synced::Failed => return Err(failed(std::io::Error::other("an earlier sync failed"))),
        }
        let Some((file, reached)) = self.state().journal.unsynced() else { return Ok(()) };
        let done = tokio::task::spawn_blocking(move || file.sync_data()).await;
        let done = done.map_err(|lost| {
            Error::new(ErrorKind::Cancelled, "the queue's sync was cut short").caused_by(lost)
        })?;
        *synced = match done {
            Ok(()) => Synced::Bytes(reached),
            Err(_) => Synced::Failed,
        };
        done.map_err(failed)
    }
}

impl State {
    /// Takes over what an earlier process left.
    fn bring_back(&mut self, left: LeftBehind, now: OffsetDateTime) -> Result<()> {
        if let Some(id) = left.last_id {
            // No number is given twice while any line tells of it.
            self.backlog.restore(id, 0, None);
            self.backlog.drop(id);
        }
        let mut messages: Vec<(u64, Left)> = left.messages.into_iter().collect();
        messages.sort_unstable_by_key(|(id, _)| *id);
        let started = Instant::now();
        for (id, Left { place, received, not_before_ms }) in messages {
            let now_ms = now.unix_timestamp_nanos() / 1_000_000;
            let wait_ms = not_before_ms.map_or(0, |until| (i128::from(until) - now_ms).max(0));
            let hidden_until = (received == 0 && wait_ms > 0)
                .then(|| started + Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0)));
            self.backlog.restore(id, received, hidden_until);
            self.journal.want(place);
            self.places.insert(id, place);
        }
        self.journal.drop_unwanted()
    }

    fn content(&self, id: u64) -> Result<Option<Sent>> {
        self.places.get(&id).map(|place| self.journal.read(*place)).transpose()
    }

    fn send(&mut self, messages: Vec<OutgoingMessage>, now: OffsetDateTime) -> Result<Option<u64>> {
        let first = self.backlog.next_id();
        let delays: Vec<Duration> = messages.iter().map(|message| message.delay).collect();
        let now_ms = i64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        let records: Vec<Record> = (first..)
            .zip(messages)
            .map(|(id, OutgoingMessage { body, attributes, delay })| {
                let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
                let not_before_ms = (delay_ms > 0).then(|| now_ms.saturating_add(delay_ms));
                Record::Sent(Sent { id, body, attributes, not_before_ms, received: 0 })
            })
            .collect();
        let places = self.journal.append(&records)?;
        for (place, delay) in places.into_iter().zip(delays) {
            let id = self.backlog.add((!delay.is_zero()).then(|| Instant::now() + delay));
            self.journal.want(place);
            self.places.insert(id, place);
        }
        Ok(self.journal.unsynced().map(|(_, written)| written))
    }

    fn take(
        &mut self,
        max: usize,
        visibility: Duration,
        count_max: Option<u32>,
    ) -> Result<(Vec<Delivery>, Vec<Sent>)> {
        let now = Instant::now();
        self.backlog.wake(now);
        let (mut deliveries, mut dead, mut received) = (Vec::new(), Vec::new(), Vec::new());
        while deliveries.len() < max {
            match self.backlog.take(now + visibility, count_max) {
                None => break,
                Some(Taken::Poison(id)) => dead.extend(self.content(id)?),
                Some(Taken::Delivered { id, count }) => {
                    let Some(sent) = self.content(id)? else { continue };
                    received.push(Record::Received { id, count });
                    deliveries.push(delivery(sent, count));
                }
            }
        }
        if let Err(error) = self.journal.append(&received) {
            // Nobody gets them: they are ready again, for when the disk has room.
            for delivery in &deliveries {
                self.backlog.hide(&delivery.receipt_handle, now)?;
            }
            return Err(error);
        }
        Ok((deliveries, dead))
    }

    /// Ends messages for good, and gives room back.
    fn forget(&mut self, ids: &[u64]) -> Result<()> {
        let deleted: Vec<Record> = ids.iter().map(|id| Record::Deleted { id: *id }).collect();
        self.journal.append(&deleted)?;
        for id in ids {
            if let Some(place) = self.places.remove(id) {
                self.journal.release(place);
            }
        }
        self.journal.drop_unwanted()?;
        match self.journal.to_move() {
            Some(segment) => self.move_out_of(segment),
            None => Ok(()),
        }
    }

    /// Writes the few messages of an old segment down again, so that it can go.
    fn move_out_of(&mut self, segment: u64) -> Result<()> {
        let mut ids: Vec<u64> = self
            .places
            .iter()
            .filter(|(_, place)| Journal::is_in(**place, segment))
            .map(|(id, _)| *id)
            .collect();
        ids.sort_unstable();
        for id in ids {
            let Some(sent) = self.content(id)? else { continue };
            let received = self.backlog.receive_count(id).unwrap_or(sent.received);
            for place in self.journal.append(&[Record::Sent(Sent { received, ..sent })])? {
                self.journal.want(place);
                if let Some(before) = self.places.insert(id, place) {
                    self.journal.release(before);
                }
            }
        }
        // Before the only other copy goes.
        self.journal.sync()?;
        self.journal.drop_unwanted()
    }
}

fn delivery(sent: Sent, count: u32) -> Delivery {
    Delivery {
        message_id: message_id(sent.id),
        receipt_handle: handle(sent.id, count),
        body: sent.body,
        receive_count: count,
        attributes: sent.attributes,
    }
}

#[async_trait]
impl Queue for DiskQueue {
    async fn send_batch(&self, messages: Vec<OutgoingMessage>) -> Result<Vec<Result<()>>> {
        check_batch_size(messages.len())?;
        let count = messages.len();
        let written = self.state().send(messages, self.config.clock.now())?;
        self.arrived.notify_one();
        if let Some(written) = written {
            self.sync(written).await?;
        }
        Ok((0..count).map(|_| Ok(())).collect())
    }

    async fn receive(&self, max: usize, wait: Duration, visibility: Duration) -> Result<Vec<Delivery>> {
        check_batch_size(max)?;
        let look = || self.state().backlog.outlook();
        long_poll(wait, &self.arrived, look, || self.take(max, visibility)).await
    }

    async fn delete_batch(&self, receipt_handles: Vec<String>) -> Result<Vec<Result<()>>> {
        check_batch_size(receipt_handles.len())?;
        let mut state = self.state();
        let settled: Vec<Result<Option<u64>>> =
            receipt_handles.iter().map(|handle| state.backlog.settle(handle)).collect();
        let ids: Vec<u64> = settled.iter().filter_map(|id| *id.as_ref().ok()?).collect();
        state.forget(&ids)?;
        Ok(settled.into_iter().map(|id| id.map(|_| ())).collect())
    }

    async fn change_visibility(&self, receipt_handle: &str, visibility: Duration) -> Result<()> {
        self.state().backlog.hide(receipt_handle, Instant::now() + visibility)?;
        self.arrived.notify_one();
        Ok(())
    }

    async fn depth(&self) -> Result<QueueDepth> {
        let mut state = self.state();
        state.backlog.wake(Instant::now());
        Ok(state.backlog.depth())
    }
}

impl fmt::Debug for DiskQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let depth = self.state().backlog.depth();
        f.debug_struct("DiskQueue").field("path", &self.path).field("depth", &depth).finish_non_exhaustive()
    }
}
