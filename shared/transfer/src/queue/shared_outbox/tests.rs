//! Many callers before one queue that is slow, picky or broken.

use std::sync::Mutex;

use async_trait::async_trait;
use futures::future::join_all;

use crate::SystemClock;
use crate::queue::memory::{MemoryQueue, MemoryQueueConfig};
use crate::queue::{Delivery, Queue, QueueDepth};

use super::*;

/// Takes its time, refuses bodies that say so, and notes the size of every batch.
#[derive(Debug)]
struct Slow {
    inner: Arc<MemoryQueue>,
    delay: Duration,
    batches: Mutex<Vec<usize>>,
    is_broken: bool,
}

impl Slow {
    fn new(delay: Duration) -> Self {
        let inner = MemoryQueue::new(MemoryQueueConfig::default());
        Self { inner, delay, batches: Mutex::default(), is_broken: false }
    }

    fn batches(&self) -> Vec<usize> {
        self.batches.lock().expect("lock").clone()
    }
}

#[async_trait]
impl Queue for Slow {
    async fn send_batch(&self, messages: Vec<OutgoingMessage>) -> Result<Vec<Result<()>>> {
        self.batches.lock().expect("lock").push(messages.len());
        tokio::time::sleep(self.delay).await;
        if self.is_broken {
            return Err(Error::new(ErrorKind::PermissionDenied, "nobody may send"));
        }
        if messages.iter().any(|message| message.body == "spoils") {
            return Err(Error::new(ErrorKind::InvalidInput, "the request is not valid"));
        }
        let mut results = Vec::new();
        for message in messages {
            match message.body.as_str() {
                "never" => results.push(Err(Error::new(ErrorKind::InvalidInput, "refused"))),
                _ => results.append(&mut self.inner.send_batch(vec![message]).await?),
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

fn outbox(queue: &Arc<Slow>) -> SharedOutbox {
    SharedOutbox::new(Arc::clone(queue) as _, Arc::new(SystemClock), Backoff::default())
}

fn one(body: &str) -> Vec<OutgoingMessage> {
    vec![OutgoingMessage::new(body)]
}

#[tokio::test(start_paused = true)]
async fn callers_share_requests_and_a_thousand_a_second_pass_a_queue_of_200_ms() {
    let queue = Arc::new(Slow::new(Duration::from_millis(200)));
    let outbox = outbox(&queue);
    let begun = Instant::now();
    let callers = (0..1_000).map(|number| {
        let outbox = outbox.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(number)).await;
            let sent = Instant::now();
            outbox.send(one(&number.to_string())).await.expect("sent");
            sent.elapsed()
        }
    });
    let waits = join_all(callers).await;
    assert!(begun.elapsed() < Duration::from_millis(1_450), "{:?}", begun.elapsed());
    let longest = waits.into_iter().max().expect("some");
    assert!(longest < Duration::from_millis(410), "{longest:?}");
    assert_eq!(queue.depth().await.expect("depth").visible, 1_000);
    assert!(queue.batches().len() < 250, "{} requests", queue.batches().len());
}

#[tokio::test(start_paused = true)]
async fn a_message_alone_waits_for_nobody() {
    let queue = Arc::new(Slow::new(Duration::from_millis(20)));
    let begun = Instant::now();
    outbox(&queue).send(one("alone")).await.expect("sent");
    assert_eq!(begun.elapsed(), Duration::from_millis(20));
}

#[tokio::test(start_paused = true)]
async fn every_caller_hears_of_its_own_messages_only() {
    let queue = Arc::new(Slow::new(Duration::from_millis(20)));
    let outbox = outbox(&queue);
    let send = |body: &'static str| {
        let outbox = outbox.clone();
        async move { outbox.send(one(body)).await.map_err(|error| error.kind()) }
    };
    let ended = join_all(["first", "a", "never", "b", "never", "c"].map(send)).await;
    let refused = Err(ErrorKind::InvalidInput);
    assert_eq!(ended, [Ok(()), Ok(()), refused, Ok(()), refused, Ok(())]);
    assert!(queue.batches().len() < 4, "they went together: {:?}", queue.batches());
    assert_eq!(queue.depth().await.expect("depth").visible, 4);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_refuses_everything_says_so_to_everybody() {
    let queue = Arc::new(Slow { is_broken: true, ..Slow::new(Duration::ZERO) });
    let outbox = outbox(&queue);
    let ended = join_all((0..20).map(|_| outbox.send(one("a")))).await;
    for error in ended.into_iter().map(|ended| ended.expect_err("refused")) {
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(error.chain().contains("nobody may send"), "{}", error.chain());
    }
}

#[tokio::test(start_paused = true)]
async fn long_bodies_do_not_outgrow_a_request() {
    let queue = Arc::new(Slow::new(Duration::from_millis(20)));
    let long = "x".repeat(100_000);
    outbox(&queue).send(vec![OutgoingMessage::new(long); 10]).await.expect("sent");
    assert!(queue.batches().iter().all(|batch| *batch <= 2), "{:?}", queue.batches());
    assert_eq!(queue.depth().await.expect("depth").visible, 10);
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_takes_along_what_was_not_sent() {
    let queue = Arc::new(Slow::new(Duration::from_secs(1)));
    let outbox = outbox(&queue);
    let many = (0..2_000).map(|number| OutgoingMessage::new(number.to_string())).collect();
    let sending = tokio::time::timeout(Duration::from_millis(500), outbox.send(many)).await;
    assert!(sending.is_err(), "it takes longer");
    tokio::time::sleep(Duration::from_secs(30)).await;
    let visible = queue.depth().await.expect("depth").visible;
    assert!(visible <= 10 * BATCHES_IN_FLIGHT as u64 + 10, "{visible} were sent");
    outbox.send(one("later")).await.expect("the next caller is served");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_spoils_its_request_fails_alone() {
    let queue = Arc::new(Slow::new(Duration::from_millis(20)));
    let outbox = outbox(&queue);
    let send = |body: &'static str| {
        let outbox = outbox.clone();
        async move { outbox.send(one(body)).await.is_ok() }
    };
    let ended = join_all(["first", "a", "spoils", "b"].map(send)).await;
    assert_eq!(ended, [true, true, false, true]);
}
