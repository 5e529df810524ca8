//! Time and chance, injected.
//!
//! Owns: the only places where the engine reads the wall clock, sleeps or draws a random number. Everything that plans takes
//! the results as arguments, so tests run with paused time and fixed draws.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;

/// Reads the time, waits and draws.
#[async_trait]
pub trait Clock: Send + Sync + fmt::Debug {
    /// The wall clock.
    fn now(&self) -> OffsetDateTime;

    /// Waits.
    async fn sleep(&self, delay: Duration);

    /// A number in `0.0..1.0`, for jitter.
    fn draw(&self) -> f64;
}

/// The machine's clock, tokio's timer and a fast generator that needs no seed.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where the clock is injected from")]
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    async fn sleep(&self, delay: Duration) {
        tokio::time::sleep(delay).await;
    }

    fn draw(&self) -> f64 {
        fastrand::f64()
    }
}
