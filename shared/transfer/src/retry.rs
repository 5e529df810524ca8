//! When to try again.
//!
//! Owns: the schedule, as a pure function of what failed, how often and for how long. Does not own: the loops, of which there
//! is exactly one for each class of failure: [`crate::store::retrying`] for a request that can be repeated as it is,
//! [`crate::copy`] for a read piped into a write, and the queue for a whole job. Invariant: attempts and elapsed time are both
//! bounded.

use std::time::Duration;

use crate::{Clock, Error, ErrorKind};

/// How often, how long and how far apart to retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Attempts in all, the first included.
    pub attempts_max: u32,
    /// No new attempt starts after this.
    pub elapsed_max: Duration,
    /// Mean of the first delay is half of this; it doubles from attempt to attempt.
    pub base: Duration,
    /// The same for a store that asked for fewer requests. Larger, since coming back soon is what it asked us not to do.
    pub throttled_base: Duration,
    /// No delay is longer.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            attempts_max: 6,
            elapsed_max: Duration::from_mins(2),
            base: Duration::from_millis(100),
            throttled_base: Duration::from_millis(500),
            cap: Duration::from_secs(10),
        }
    }
}

/// What has happened so far.
#[derive(Debug, Clone, Copy)]
pub struct Failure {
    /// What the last attempt failed with.
    pub kind: ErrorKind,
    /// Attempts made, from 1.
    pub attempts: u32,
    /// Time since the first attempt began.
    pub elapsed: Duration,
    /// How long the store asked to be left alone, where it did.
    pub asked: Option<Duration>,
}

impl Backoff {
    /// How long to wait before the next attempt; `None` to give up. `draw` in `0.0..1.0` picks the delay between zero and
    /// the bound ("full jitter": of the usual schemes the one that finishes with the fewest calls under contention); a delay that the
    /// store asked for comes before it.
    pub fn delay(&self, failure: Failure, draw: f64) -> Option<Duration> {
        let base = match failure.kind {
            ErrorKind::Throttled => self.throttled_base,
            ErrorKind::Transient | ErrorKind::Corrupt => self.base,
            _ => return None,
        };
        if failure.attempts >= self.attempts_max || failure.elapsed >= self.elapsed_max {
            return None;
        }
        let doublings = failure.attempts.saturating_sub(1).min(16);
        let bound = base.saturating_mul(1 << doublings).min(self.cap);
        let jitter = bound.mul_f64(draw.clamp(0.0, 1.0));
        match failure.asked {
            None => Some(jitter),
            // Jitter on top, so that those who were sent away together do not come back together. Waiting beyond the end is futile.
            Some(asked) => Some(asked + jitter).filter(|delay| failure.elapsed + *delay <= self.elapsed_max),
        }
    }
}

/// The state of one retried operation.
#[derive(Debug)]
pub struct Retries<'a> {
    backoff: &'a Backoff,
    clock: &'a dyn Clock,
    started: tokio::time::Instant,
    attempts: u32,
}

impl<'a> Retries<'a> {
    /// Begins; the first attempt is about to be made.
    pub fn new(backoff: &'a Backoff, clock: &'a dyn Clock) -> Self {
        Self { backoff, clock, started: tokio::time::Instant::now(), attempts: 0 }
    }

    /// Waits, if the error is worth another attempt; gives the error back if not, or if an inner loop has given up on it:
    /// attempts must not multiply.
    pub async fn pause(&mut self, error: Error) -> Result<(), Error> {
        if error.was_given_up() {
            return Err(error);
        }
        self.attempts += 1;
        let failure = Failure {
            kind: error.kind(),
            attempts: self.attempts,
            elapsed: self.started.elapsed(),
            asked: error.retry_after(),
        };
        match self.backoff.delay(failure, self.clock.draw()) {
            None => Err(error.after_giving_up()),
            Some(delay) => {
                tracing::debug!(attempt = self.attempts, ?delay, error = %error.chain(), "trying again");
                self.clock.sleep(delay).await;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn failure(kind: ErrorKind, attempts: u32) -> Failure {
        Failure { kind, attempts, elapsed: Duration::ZERO, asked: None }
    }

    #[test]
    fn only_what_may_pass_by_itself_is_retried() {
        let backoff = Backoff::default();
        for kind in [
            ErrorKind::NotFound,
            ErrorKind::PreconditionFailed,
            ErrorKind::PermissionDenied,
            ErrorKind::Other,
        ] {
            assert_eq!(backoff.delay(failure(kind, 1), 0.5), None, "{kind}");
        }
        assert_eq!(backoff.delay(failure(ErrorKind::Transient, 1), 0.5), Some(Duration::from_millis(50)));
        assert_eq!(backoff.delay(failure(ErrorKind::Throttled, 2), 0.5), Some(Duration::from_millis(500)));
    }

    #[test]
    fn a_store_that_names_a_delay_is_left_alone_for_that_long() {
        let backoff = Backoff::default();
        let asked =
            |secs| Failure { asked: Some(Duration::from_secs(secs)), ..failure(ErrorKind::Throttled, 1) };
        assert_eq!(backoff.delay(asked(30), 0.5), Some(Duration::from_millis(30_250)));
        assert_eq!(backoff.delay(asked(3600), 0.5), None, "longer than all attempts together may take");
    }

    #[tokio::test(start_paused = true)]
    async fn nested_loops_do_not_multiply_attempts() {
        let (backoff, clock) = (Backoff::default(), crate::SystemClock);
        let mut attempts = 0;
        let mut outer = Retries::new(&backoff, &clock);
        loop {
            let mut inner = Retries::new(&backoff, &clock);
            let error = loop {
                attempts += 1;
                if let Err(error) = inner.pause(Error::new(ErrorKind::Transient, "down")).await {
                    break error;
                }
            };
            if outer.pause(error).await.is_err() {
                break;
            }
        }
        assert_eq!(attempts, backoff.attempts_max);
    }

    proptest! {
        #[test]
        fn attempts_time_and_delay_are_bounded(attempts in 1u32..100, secs in 0u64..1000, draw in 0.0..1.0f64) {
            let backoff = Backoff::default();
            let elapsed = Duration::from_secs(secs);
            let failure = Failure { kind: ErrorKind::Throttled, attempts, elapsed, asked: None };
            match backoff.delay(failure, draw) {
                None => prop_assert!(attempts >= backoff.attempts_max || secs >= backoff.elapsed_max.as_secs()),
                Some(delay) => prop_assert!(delay <= backoff.cap && attempts < backoff.attempts_max),
            }
        }
    }
}
