//! Sends jobs in batches, several on their way at once.
//!
//! Owns: filling batches, the inspection of every entry's result, and the repetition of those that failed. Invariant: when
//! [`Outbox::finish`] returns without an error, the queue has taken every message.

use std::sync::Arc;

use crate::queue::{BATCH_MAX, OutgoingMessage};
use crate::retry::{Backoff, Retries};
use crate::{Clock, Error, ErrorKind, Result, SharedQueue};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;

/// Enough to hide a queue's latency; SQS takes about ten milliseconds a batch.
const BATCHES_IN_FLIGHT: usize = 8;

/// Messages on their way to a queue.
#[derive(Debug)]
pub struct Outbox {
    queue: SharedQueue,
    clock: Arc<dyn Clock>,
    backoff: Backoff,
    batch: Vec<OutgoingMessage>,
    in_flight: FuturesUnordered<BoxFuture<'static, Result<()>>>,
}

impl Outbox {
    /// Sends to this queue, an entry that failed as often and as long as the backoff says.
    pub fn new(queue: SharedQueue, clock: Arc<dyn Clock>, backoff: Backoff) -> Self {
        Self {
            queue,
            clock,
            backoff,
            batch: Vec::with_capacity(BATCH_MAX),
            in_flight: FuturesUnordered::new(),
        }
    }

    /// Sends it with the next batch; an error is that of an earlier batch.
    pub async fn send(&mut self, message: OutgoingMessage) -> Result<()> {
        self.batch.push(message);
        if self.batch.len() == BATCH_MAX {
            self.flush().await?;
        }
        Ok(())
    }

    /// Sends what is left and waits until everything is taken.
    pub async fn finish(mut self) -> Result<()> {
        self.flush().await?;
        while let Some(sent) = self.in_flight.next().await {
            sent?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        while self.in_flight.len() >= BATCHES_IN_FLIGHT {
            if let Some(sent) = self.in_flight.next().await {
                sent?;
            }
        }
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH_MAX));
        let (queue, clock, backoff) = (Arc::clone(&self.queue), Arc::clone(&self.clock), self.backoff);
        self.in_flight.push(Box::pin(async move { send_all(&queue, clock.as_ref(), &backoff, batch).await }));
        Ok(())
    }
}

/// Sends one batch until every entry is taken or one can never be.
async fn send_all(
    queue: &SharedQueue,
    clock: &dyn Clock,
    backoff: &Backoff,
    mut batch: Vec<OutgoingMessage>,
) -> Result<()> {
    let mut retries = Retries::new(backoff, clock);
    while !batch.is_empty() {
        match queue.send_batch(batch.clone()).await {
            Err(error) => retries.pause(error).await?,
            Ok(results) => {
                if results.len() != batch.len() {
                    let (sent, answered) = (batch.len(), results.len());
                    let message = format!("the queue answered {answered} of {sent} entries of a batch");
                    return Err(Error::new(ErrorKind::Other, message));
                }
                let mut left = Vec::new();
                let mut failure = None;
                for (message, result) in batch.into_iter().zip(results) {
                    if let Err(error) = result {
                        left.push(message);
                        failure = Some(error);
                    }
                }
                batch = left;
                if let Some(error) = failure {
                    retries.pause(error).await?;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use crate::SystemClock;
    use crate::queue::memory::{MemoryQueue, MemoryQueueConfig};
    use crate::queue::{Delivery, Queue, QueueDepth};
    use async_trait::async_trait;

    use super::*;

    /// Refuses the first entry of each of the first `refusals` batches.
    #[derive(Debug)]
    struct Picky {
        inner: Arc<MemoryQueue>,
        refusals: Mutex<u32>,
        kind: ErrorKind,
    }

    #[async_trait]
    impl Queue for Picky {
        async fn send_batch(&self, messages: Vec<OutgoingMessage>) -> Result<Vec<Result<()>>> {
            let refuse = {
                let mut refusals = self.refusals.lock().expect("lock");
                let refuse = *refusals > 0;
                *refusals = refusals.saturating_sub(1);
                refuse
            };
            let mut results = Vec::new();
            for (index, message) in messages.into_iter().enumerate() {
                if refuse && index == 0 {
                    results.push(Err(Error::new(self.kind, "refused")));
                } else {
                    results.append(&mut self.inner.send_batch(vec![message]).await?);
                }
            }
            Ok(results)
        }

        async fn receive(&self, max: usize, wait: Duration, visibility: Duration) -> Result<Vec<Delivery>> {
            self.inner.receive(max, wait, visibility).await
        }

        async fn delete_batch(&self, receipt_handles: Vec<String>) -> Result<Vec<Result<()>>> {
            self.inner.delete_batch(receipt_handles).await
        }

        async fn change_visibility(&self, receipt_handle: &str, visibility: Duration) -> Result<()> {
            self.inner.change_visibility(receipt_handle, visibility).await
        }

        async fn depth(&self) -> Result<QueueDepth> {
            self.inner.depth().await
        }
    }

    async fn send_25(refusals: u32, kind: ErrorKind) -> (Result<()>, u64) {
        let inner = MemoryQueue::new(MemoryQueueConfig::default());
        let queue = Arc::new(Picky { inner: Arc::clone(&inner), refusals: Mutex::new(refusals), kind });
        let mut outbox = Outbox::new(queue, Arc::new(SystemClock), Backoff::default());
        for number in 0..25 {
            outbox.send(OutgoingMessage::new(number.to_string())).await.expect("room");
        }
        let result = outbox.finish().await;
        (result, inner.depth().await.expect("depth").visible)
    }

    #[tokio::test(start_paused = true)]
    async fn refused_entries_are_sent_again_and_only_those() {
        let (result, visible) = send_25(3, ErrorKind::Transient).await;
        assert!(result.is_ok());
        assert_eq!(visible, 25);
    }

    #[tokio::test(start_paused = true)]
    async fn an_entry_that_can_never_be_sent_is_an_error() {
        let (result, _) = send_25(1, ErrorKind::InvalidInput).await;
        assert_eq!(result.expect_err("refused").kind(), ErrorKind::InvalidInput);
    }
}
