//! The hosts that a notification comes in by.
//!
//! Owns: what all of them share: who may send, how much is taken in at a time, and the answer as JSON. Invariants: memory is bounded: what
//! all bodies hold together fits a budget, whoever finds no room within its time is told to come again, and no body is longer than it may
//! be; a sender holds no more of the budget than it has sent.

pub mod function_compute;
pub mod http;
pub mod lambda;
pub mod server;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::auth::{Presented, Unauthenticated};
use crate::handler::{Accepted, Handler, Refused};
use crate::senders::Senders;

/// Longest body. Function Compute hands on 128 KiB of an event, SNS and SQS have 1 MiB at most.
pub const BODY_BYTES_MAX: usize = 2 << 20;

/// What all bodies may hold together: tens of thousands of usual notifications.
const BUDGET_BYTES: usize = 64 << 20;

/// The budget is given out in pieces of this size; a usual notification takes one.
const PIECE_BYTES: usize = 4 << 10;

/// Longest wait for room in the budget.
const ROOM_WITHIN: Duration = Duration::from_secs(8);

/// What the hosts share.
#[derive(Debug, Clone)]
pub struct Door {
    handler: Handler,
    senders: Senders,
    budget: Arc<Semaphore>,
}

/// Why a call failed, for a host to say in its own terms.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The sender may not.
    #[error(transparent)]
    Unauthenticated(#[from] Unauthenticated),
    /// Nothing, or not all of it, is done.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// There was no room in time.
    #[error("too many notifications at once: send it again")]
    Busy,
    /// The body did not arrive in time.
    #[error("the body did not arrive in time: send it again")]
    TooSlow,
    /// The body is longer than it may be.
    #[error("the body is longer than {BODY_BYTES_MAX} bytes")]
    TooLong,
    /// The body broke off.
    #[error("the body broke off")]
    Broken,
}

impl Failure {
    /// The status that says so in HTTP.
    pub fn status(&self) -> u16 {
        match self {
            Self::Unauthenticated(_) => 401,
            Self::Refused(Refused::Unreadable(_)) | Self::Broken => 400,
            Self::TooSlow => 408,
            Self::TooLong => 413,
            Self::Refused(Refused::NotSent(_) | Refused::NoRules(_)) | Self::Busy => 503,
        }
    }

    fn body(&self) -> Value {
        json!({ "error": self.to_string() })
    }
}

/// A share of the budget.
#[derive(Debug)]
pub(crate) struct Room(OwnedSemaphorePermit);

impl Door {
    /// Lets these senders in.
    pub fn new(handler: Handler, senders: impl Into<Senders>) -> Self {
        Self {
            handler,
            senders: senders.into(),
            budget: Arc::new(Semaphore::new(BUDGET_BYTES / PIECE_BYTES)),
        }
    }

    /// Waits for the first piece of the budget.
    pub(crate) async fn room(&self) -> Result<Room, Failure> {
        self.pieces(1).await.map(Room)
    }

    /// Waits for as much more of the budget as so many bytes need.
    pub(crate) async fn grow(&self, room: &mut Room, bytes: usize) -> Result<(), Failure> {
        let missing = bytes.div_ceil(PIECE_BYTES).saturating_sub(room.0.num_permits());
        if missing > 0 {
            let missing = u32::try_from(missing).map_err(|_too_many| Failure::TooLong)?;
            room.0.merge(self.pieces(missing).await?);
        }
        Ok(())
    }

    async fn pieces(&self, count: u32) -> Result<OwnedSemaphorePermit, Failure> {
        let acquired = Arc::clone(&self.budget).acquire_many_owned(count);
        match tokio::time::timeout(ROOM_WITHIN, acquired).await {
            Ok(Ok(pieces)) => Ok(pieces),
            Ok(Err(_)) | Err(_) => Err(Failure::Busy),
        }
    }

    /// Whether there is no secret that anybody could sign with.
    pub(crate) fn has_no_secret(&self) -> bool {
        self.senders.is_nobody()
    }

    /// Takes one notification of a sender that shows this.
    pub(crate) async fn take(&self, presented: &Presented<'_>, body: &[u8]) -> Result<Accepted, Failure> {
        let now_secs = self.handler.clock.now().unix_timestamp();
        if let Err(error) = self.senders.check(presented, body, now_secs).await {
            tracing::warn!(%error, "a notification is not let in");
            return Err(error.into());
        }
        self.take_trusted(body).await
    }

    /// Takes one notification of a sender that the host has let in.
    pub(crate) async fn take_trusted(&self, body: &[u8]) -> Result<Accepted, Failure> {
        Ok(self.handler.handle(body).await?)
    }
}
