//! A queue in memory, with the semantics of SQS that matter.
//!
//! Owns: what messages hold, long polling and dead letters, on tokio's clock. Does not own: persistence ([`super::disk`]; a killed
//! process forgets this one, and the next run compares and enqueues what is left) nor the SQS wire protocol. Invariant: with a
//! capacity, senders wait while that many messages are not yet received, so a fast finder never outgrows memory.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::backlog::{Backlog, Taken, check_batch_size, handle, long_poll, message_id};
use super::{Delivery, OutgoingMessage, Queue, QueueDepth};
use crate::Result;

/// How a [`MemoryQueue`] behaves.
#[derive(Debug, Clone, Default)]
pub struct MemoryQueueConfig {
    /// Senders wait while this many messages are not yet received; `None` takes any number.
    pub capacity: Option<usize>,
    /// Where messages go that were received `max_receive_count` times and came back; `None` keeps delivering them.
    pub dead_letters: Option<DeadLetters>,
}

/// Where poison goes.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    /// The queue that takes it.
    pub queue: Arc<MemoryQueue>,
    /// Deliveries before a message counts as poison.
    pub max_receive_count: u32,
}

/// A queue in memory. See the module.
pub struct MemoryQueue {
    config: MemoryQueueConfig,
    state: Mutex<State>,
    /// Wakes receivers: something became ready, or will at a new time.
    arrived: Notify,
    /// Wakes senders: there is room.
    room: Notify,
}

#[derive(Default)]
struct State {
    backlog: Backlog,
    messages: HashMap<u64, Content>,
}

struct Content {
    body: String,
    attributes: Vec<(String, String)>,
}

impl MemoryQueue {
    /// An empty queue.
    pub fn new(config: MemoryQueueConfig) -> Arc<Self> {
        Arc::new(Self { config, state: Mutex::default(), arrived: Notify::new(), room: Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_room(&self) -> bool {
        let waiting = self.state().backlog.waiting();
        self.config.capacity.is_none_or(|capacity| waiting < capacity)
    }

    async fn wait_for_room(&self) {
        loop {
            let room = self.room.notified();
            if self.has_room() {
                // Another sender may be waiting behind this one.
                self.room.notify_one();
                return;
            }
            room.await;
        }
    }

    /// Takes up to `max` ready messages; poison goes to the dead letters on the way.
    fn take(&self, max: usize, visibility: Duration) -> Vec<Delivery> {
        let now = Instant::now();
        let count_max = self.config.dead_letters.as_ref().map(|rule| rule.max_receive_count);
        let mut dead = Vec::new();
        let mut deliveries = Vec::new();
        {
            let mut state = self.state();
            state.backlog.wake(now);
            while deliveries.len() < max {
                match state.backlog.take(now + visibility, count_max) {
                    None => break,
                    Some(Taken::Poison(id)) => dead.extend(state.messages.remove(&id)),
                    Some(Taken::Delivered { id, count }) => {
                        let Some(content) = state.messages.get(&id) else { continue };
                        deliveries.push(Delivery {
                            message_id: message_id(id),
                            receipt_handle: handle(id, count),
                            body: content.body.clone(),
                            receive_count: count,
                            attributes: content.attributes.clone(),
                        });
                    }
                }
            }
        }
        if let Some(rule) = &self.config.dead_letters {
            for message in dead {
                rule.queue.push(message.body, message.attributes, Duration::ZERO);
            }
        }
        if !deliveries.is_empty() {
            self.room.notify_one();
        }
        deliveries
    }

    fn push(&self, body: String, attributes: Vec<(String, String)>, delay: Duration) {
        {
            let mut state = self.state();
            let id = state.backlog.add((!delay.is_zero()).then(|| Instant::now() + delay));
            state.messages.insert(id, Content { body, attributes });
        }
        self.arrived.notify_one();
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn send_batch(&self, messages: Vec<OutgoingMessage>) -> Result<Vec<Result<()>>> {
        check_batch_size(messages.len())?;
        let mut results = Vec::with_capacity(messages.len());
        for message in messages {
            self.wait_for_room().await;
            self.push(message.body, message.attributes, message.delay);
            results.push(Ok(()));
        }
        Ok(results)
    }

    async fn receive(&self, max: usize, wait: Duration, visibility: Duration) -> Result<Vec<Delivery>> {
        check_batch_size(max)?;
        let look = || self.state().backlog.outlook();
        long_poll(wait, &self.arrived, look, || std::future::ready(Ok(self.take(max, visibility)))).await
    }

    async fn delete_batch(&self, receipt_handles: Vec<String>) -> Result<Vec<Result<()>>> {
        check_batch_size(receipt_handles.len())?;
        let mut state = self.state();
        let mut delete = |handle: &String| {
            if let Some(id) = state.backlog.settle(handle)? {
                state.messages.remove(&id);
            }
            Ok(())
        };
        Ok(receipt_handles.iter().map(&mut delete).collect())
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

impl fmt::Debug for MemoryQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryQueue").field("depth", &self.state().backlog.depth()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;
    const MINUTE: Duration = Duration::from_mins(1);

    async fn send(queue: &MemoryQueue, body: &str) {
        let results = queue.send_batch(vec![OutgoingMessage::new(body)]).await.expect("batch");
        assert!(results.iter().all(Result::is_ok));
    }

    async fn receive_one(queue: &MemoryQueue, wait: Duration) -> Option<Delivery> {
        queue.receive(1, wait, MINUTE).await.expect("receive").pop()
    }

    #[tokio::test(start_paused = true)]
    async fn an_undeleted_message_comes_back_with_a_higher_count() {
        let queue = MemoryQueue::new(MemoryQueueConfig::default());
        send(&queue, "a").await;
        let first = receive_one(&queue, NOW).await.expect("first");
        assert!(receive_one(&queue, NOW).await.is_none());
        tokio::time::advance(MINUTE).await;
        let second = receive_one(&queue, NOW).await.expect("second");
        assert_eq!((first.receive_count, second.receive_count), (1, 2));
        assert_eq!(first.message_id, second.message_id);
        // The first handle is stale: deleting with it succeeds and deletes nothing, as on SQS.
        queue.delete_batch(vec![first.receipt_handle]).await.expect("batch");
        assert_eq!(queue.depth().await.expect("depth").in_flight, 1);
        queue.delete_batch(vec![second.receipt_handle]).await.expect("batch");
        assert!(queue.depth().await.expect("depth").is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn poison_ends_in_the_dead_letters() {
        let dead = MemoryQueue::new(MemoryQueueConfig::default());
        let queue = MemoryQueue::new(MemoryQueueConfig {
            dead_letters: Some(DeadLetters { queue: Arc::clone(&dead), max_receive_count: 2 }),
            ..MemoryQueueConfig::default()
        });
        send(&queue, "poison").await;
        for _ in 0..2 {
            let delivery = receive_one(&queue, NOW).await.expect("delivered");
            queue.change_visibility(&delivery.receipt_handle, NOW).await.expect("given back");
        }
        assert!(receive_one(&queue, NOW).await.is_none());
        assert!(queue.depth().await.expect("depth").is_empty());
        assert_eq!(receive_one(&dead, NOW).await.expect("dead").body, "poison");
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_poll_wakes_at_the_next_expiry_and_at_a_send() {
        let queue = MemoryQueue::new(MemoryQueueConfig::default());
        let delayed = OutgoingMessage { delay: Duration::from_secs(5), ..OutgoingMessage::new("late") };
        queue.send_batch(vec![delayed]).await.expect("batch");
        let start = Instant::now();
        assert_eq!(receive_one(&queue, MINUTE).await.expect("late").body, "late");
        assert_eq!(start.elapsed().as_secs(), 5);

        let waiting = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move { receive_one(&queue, MINUTE).await }
        });
        tokio::task::yield_now().await;
        send(&queue, "now").await;
        assert_eq!(waiting.await.expect("joined").expect("now").body, "now");
    }

    #[tokio::test(start_paused = true)]
    async fn senders_wait_for_room() {
        let queue = MemoryQueue::new(MemoryQueueConfig { capacity: Some(2), ..MemoryQueueConfig::default() });
        let sender = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move {
                for body in ["a", "b", "c", "d"] {
                    send(&queue, body).await;
                }
            }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(queue.depth().await.expect("depth").visible, 2);
        for expected in ["a", "b", "c", "d"] {
            assert_eq!(receive_one(&queue, MINUTE).await.expect("next").body, expected);
        }
        sender.await.expect("sender");
    }

    #[tokio::test]
    async fn bad_handles_and_batches_are_refused_one_by_one() {
        let queue = MemoryQueue::new(MemoryQueueConfig::default());
        send(&queue, "a").await;
        let delivery = receive_one(&queue, NOW).await.expect("a");
        let results = queue
            .delete_batch(vec!["nonsense".into(), delivery.receipt_handle, "99:1".into()])
            .await
            .expect("batch");
        let kinds: Vec<bool> = results.iter().map(Result::is_ok).collect();
        assert_eq!(kinds, [false, true, false]);
        assert!(queue.send_batch(Vec::new()).await.is_err());
    }
}
