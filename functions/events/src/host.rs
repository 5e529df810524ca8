//! The hosts that a notification comes in by.
//!
//! Owns: what all of them share: who may send, how many are taken at a time, and the answer as JSON. Invariant: memory is bounded: a request
//! that finds no place within its time is told to come again, and no body is longer than it may be.

pub mod function_compute;
pub mod http;
pub mod lambda;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::auth::{Authenticator, Presented, Unauthenticated};
use crate::handler::{Accepted, Handler, Refused};

/// Longest body. Function Compute hands on 128 KiB of an event, SNS and SQS have 1 MiB at most.
pub const BODY_BYTES_MAX: usize = 2 << 20;

/// Notifications at work at one time: with the longest of bodies, 128 MiB.
const AT_ONCE: usize = 64;

/// Longest wait for a place among them.
const PLACE_WITHIN: Duration = Duration::from_secs(8);

/// What the hosts share.
#[derive(Debug, Clone)]
pub struct Door {
    handler: Handler,
    authenticator: Authenticator,
    places: Arc<Semaphore>,
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
    /// There was no place in time.
    #[error("too many notifications at once: send it again")]
    Busy,
}

impl Failure {
    /// The status that says so in HTTP.
    pub fn status(&self) -> u16 {
        match self {
            Self::Unauthenticated(_) => 401,
            Self::Refused(Refused::Unreadable(_)) => 400,
            Self::Refused(Refused::NotSent(_)) | Self::Busy => 503,
        }
    }

    fn body(&self) -> Value {
        json!({ "error": self.to_string() })
    }
}

impl Door {
    /// Lets the senders in that the authenticator knows.
    pub fn new(handler: Handler, authenticator: Authenticator) -> Self {
        Self { handler, authenticator, places: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Waits for a place, before a body is read.
    pub(crate) async fn place(&self) -> Result<SemaphorePermit<'_>, Failure> {
        match tokio::time::timeout(PLACE_WITHIN, self.places.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(Failure::Busy),
        }
    }

    /// Takes one notification of a sender that shows this.
    pub(crate) async fn take(&self, presented: &Presented<'_>, body: &[u8]) -> Result<Accepted, Failure> {
        let now_secs = self.handler.clock.now().unix_timestamp();
        if let Err(error) = self.authenticator.check(presented, body, now_secs) {
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
