//! The seam to message queues.
//!
//! Owns: the few operations the engine needs of a queue with the semantics of SQS: at-least-once, no order, a visibility
//! timeout, a receive count. Invariant: a batch answers entry by entry, in the order of the request; an entry that failed is
//! never reported as sent.

mod backlog;
pub mod disk;
pub mod lanes;
pub mod memory;
pub mod outbox;
pub mod shared_outbox;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::Result;

/// Most entries of one batch call (AWS, "Amazon SQS message quotas").
pub const BATCH_MAX: usize = 10;

/// A message to send.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutgoingMessage {
    /// The body.
    pub body: String,
    /// Not to be received before this has passed; SQS allows up to 900 s.
    pub delay: Duration,
    /// Named strings beside the body.
    pub attributes: Vec<(String, String)>,
}

impl OutgoingMessage {
    /// A body and nothing else.
    pub fn new(body: impl Into<String>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }
}

/// A message that was received and must be deleted before its visibility timeout ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The message's id, the same at every delivery.
    pub message_id: String,
    /// This delivery's handle, for deletion and for the visibility timeout.
    pub receipt_handle: String,
    /// The body.
    pub body: String,
    /// How often it was delivered, this time included: from 1.
    pub receive_count: u32,
    /// Named strings beside the body.
    pub attributes: Vec<(String, String)>,
}

/// How much a queue holds. Approximate on SQS, exact in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueDepth {
    /// Ready to be received.
    pub visible: u64,
    /// Received and not yet deleted.
    pub in_flight: u64,
    /// Sent with a delay that has not passed.
    pub delayed: u64,
}

impl QueueDepth {
    /// Nothing is left to do.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// A queue with the semantics of SQS.
#[async_trait]
pub trait Queue: Send + Sync + fmt::Debug {
    /// Sends up to [`BATCH_MAX`] messages; one result for each, in order.
    async fn send_batch(&self, messages: Vec<OutgoingMessage>) -> Result<Vec<Result<()>>>;

    /// Receives up to `max` messages (at most [`BATCH_MAX`]), waiting up to `wait` for the first. They stay hidden for
    /// `visibility`.
    async fn receive(&self, max: usize, wait: Duration, visibility: Duration) -> Result<Vec<Delivery>>;

    /// Deletes up to [`BATCH_MAX`] messages by receipt handle; one result for each, in order.
    async fn delete_batch(&self, receipt_handles: Vec<String>) -> Result<Vec<Result<()>>>;

    /// Lets a received message stay hidden for `visibility` from now; zero gives it back at once.
    async fn change_visibility(&self, receipt_handle: &str, visibility: Duration) -> Result<()>;

    /// How much it holds.
    async fn depth(&self) -> Result<QueueDepth>;
}

/// A queue shared between tasks.
pub type SharedQueue = Arc<dyn Queue>;
