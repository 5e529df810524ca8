//! How long answers take, and how many are given at once.
//!
//! Owns: the delay of every request and the refusal of those that come on top of too many. Invariant: a request that was
//! admitted occupies its slot until its answer's head is ready, and no longer.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// What an endpoint carries.
#[derive(Debug)]
pub(super) struct Load {
    latency: Duration,
    in_flight_max: usize,
    in_flight: AtomicUsize,
    peak: AtomicUsize,
    throttled: AtomicU64,
}

/// One request being answered.
#[derive(Debug)]
pub(super) struct Slot<'a>(&'a AtomicUsize);

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Load {
    pub(super) fn new(latency: Duration, in_flight_max: Option<usize>) -> Self {
        Self {
            latency,
            in_flight_max: in_flight_max.unwrap_or(usize::MAX),
            in_flight: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            throttled: AtomicU64::new(0),
        }
    }

    /// Takes a request in once its delay has passed; `None` where there is no room. Refusals come at once, as from a store that
    /// protects itself.
    pub(super) async fn admit(&self) -> Option<Slot<'_>> {
        let before = self.in_flight.fetch_add(1, Relaxed);
        let slot = Slot(&self.in_flight);
        if before >= self.in_flight_max {
            self.throttled.fetch_add(1, Relaxed);
            return None;
        }
        self.peak.fetch_max(before + 1, Relaxed);
        if !self.latency.is_zero() {
            tokio::time::sleep(self.latency).await;
        }
        Some(slot)
    }

    pub(super) fn throttled(&self) -> u64 {
        self.throttled.load(Relaxed)
    }

    pub(super) fn peak(&self) -> usize {
        self.peak.load(Relaxed)
    }
}
