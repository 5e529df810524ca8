//! Two queues for two sizes of work.
//!
//! Owns: which queue a message goes to. Does not own: the queues. Invariants: every message goes to exactly one of them; the answer has
//! one result for each, in the order of the request. A batch with one object of an hour in it would hold back nine of a
//! millisecond, and a crash by the one would count against all.

use std::time::Duration;

use async_trait::async_trait;

use super::{Delivery, OutgoingMessage, Queue, QueueDepth, SharedQueue};
use crate::Result;
use crate::job::Message;

/// Sends large objects, and parts of them, to a queue of their own. What is received comes from the other one.
#[derive(Debug)]
pub struct Lanes {
    /// For everything else.
    pub small: SharedQueue,
    /// For large objects, and parts.
    pub large: SharedQueue,
    /// Objects from this size on are large.
    pub large_bytes: u64,
}

impl Lanes {
    fn is_large(&self, body: &str) -> bool {
        match Message::parse(body) {
            Ok(Message::Object(job)) => {
                job.action.is_copy() && job.size.is_some_and(|size| size >= self.large_bytes)
            }
            Ok(Message::Part(_)) => true,
            Ok(Message::Scan(_)) | Err(_) => false,
        }
    }
}

#[async_trait]
impl Queue for Lanes {
    async fn send_batch(&self, messages: Vec<OutgoingMessage>) -> Result<Vec<Result<()>>> {
        let lanes: Vec<bool> = messages.iter().map(|message| self.is_large(&message.body)).collect();
        let (large, small): (Vec<_>, Vec<_>) =
            messages.into_iter().zip(&lanes).partition(|(_, is_large)| **is_large);
        let mut sent = [Vec::new(), Vec::new()];
        for (results, (queue, lane)) in sent.iter_mut().zip([(&self.small, small), (&self.large, large)]) {
            if lane.is_empty() {
                continue;
            }
            let count = lane.len();
            let lane = lane.into_iter().map(|(message, _)| message).collect();
            *results = match queue.send_batch(lane).await {
                Ok(results) => results,
                // The other lane's messages may have gone out: each of these has failed, not the batch.
                Err(error) => {
                    let (kind, text) = (error.kind(), error.chain());
                    (0..count).map(|_| Err(crate::Error::new(kind, text.clone()))).collect()
                }
            };
        }
        let [small, large] = sent;
        let (mut small, mut large) = (small.into_iter(), large.into_iter());
        Ok(lanes
            .into_iter()
            .filter_map(|is_large| if is_large { large.next() } else { small.next() })
            .collect())
    }

    async fn receive(&self, max: usize, wait: Duration, visibility: Duration) -> Result<Vec<Delivery>> {
        self.small.receive(max, wait, visibility).await
    }

    async fn delete_batch(&self, receipt_handles: Vec<String>) -> Result<Vec<Result<()>>> {
        self.small.delete_batch(receipt_handles).await
    }

    async fn change_visibility(&self, receipt_handle: &str, visibility: Duration) -> Result<()> {
        self.small.change_visibility(receipt_handle, visibility).await
    }

    async fn depth(&self) -> Result<QueueDepth> {
        let (small, large) = (self.small.depth().await?, self.large.depth().await?);
        Ok(QueueDepth {
            visible: small.visible + large.visible,
            in_flight: small.in_flight + large.in_flight,
            delayed: small.delayed + large.delayed,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ErrorKind;
    use crate::queue::memory::{MemoryQueue, MemoryQueueConfig};

    /// A queue that is not there.
    #[derive(Debug)]
    struct Broken;

    #[async_trait]
    impl Queue for Broken {
        async fn send_batch(&self, _messages: Vec<OutgoingMessage>) -> Result<Vec<Result<()>>> {
            Err(crate::Error::new(ErrorKind::Transient, "no answer"))
        }
        async fn receive(&self, _: usize, _: Duration, _: Duration) -> Result<Vec<Delivery>> {
            Ok(Vec::new())
        }
        async fn delete_batch(&self, _: Vec<String>) -> Result<Vec<Result<()>>> {
            Ok(Vec::new())
        }
        async fn change_visibility(&self, _: &str, _: Duration) -> Result<()> {
            Ok(())
        }
        async fn depth(&self) -> Result<QueueDepth> {
            Ok(QueueDepth::default())
        }
    }

    const SMALL: &str = r#"{"key":"a","size":99}"#;
    const LARGE: &str = r#"{"key":"b","size":100}"#;
    const GONE: &str = r#"{"key":"c","size":100,"action":"delete"}"#;
    const ODD: &str = "what nobody can read";

    fn messages() -> Vec<OutgoingMessage> {
        [LARGE, SMALL, ODD, LARGE, GONE].map(OutgoingMessage::new).into()
    }

    async fn bodies(queue: &MemoryQueue) -> Vec<String> {
        let received = queue.receive(10, Duration::ZERO, Duration::from_mins(1)).await.expect("received");
        received.into_iter().map(|delivery| delivery.body).collect()
    }

    #[tokio::test]
    async fn each_message_goes_to_its_lane() {
        let (small, large) =
            (MemoryQueue::new(MemoryQueueConfig::default()), MemoryQueue::new(MemoryQueueConfig::default()));
        let lanes =
            Lanes { small: Arc::clone(&small) as _, large: Arc::clone(&large) as _, large_bytes: 100 };
        let results = lanes.send_batch(messages()).await.expect("sent");
        assert!(results.len() == 5 && results.iter().all(Result::is_ok));
        assert_eq!(lanes.depth().await.expect("depth").visible, 5);
        assert_eq!(bodies(&large).await, [LARGE, LARGE]);
        assert_eq!(bodies(&small).await, [SMALL, ODD, GONE]);
    }

    #[tokio::test]
    async fn a_broken_lane_fails_its_own_messages_only() {
        let small = MemoryQueue::new(MemoryQueueConfig::default());
        let lanes = Lanes { small: Arc::clone(&small) as _, large: Arc::new(Broken), large_bytes: 100 };
        let results = lanes.send_batch(messages()).await.expect("answered");
        let failed: Vec<bool> = results.iter().map(Result::is_err).collect();
        assert_eq!(failed, [true, false, false, true, false]);
        assert_eq!(bodies(&small).await.len(), 3);
    }
}
