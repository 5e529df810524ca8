//! A cap on how much passes in a second.
//!
//! Owns: the schedule ([`Flow`], a pure function of time: the virtual scheduling form of the generic cell rate algorithm, ITU-T
//! I.371) and waiting for it ([`Valve`]). Invariants: over any stretch of time no more passes than the rate allows and one burst;
//! unused time is not saved up beyond that burst; those who come first pass first.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::Clock;

/// Unused time that may be made up for: short enough that nobody on the same line notices, long enough to bridge a timer's
/// inaccuracy.
const BURST: Duration = Duration::from_millis(50);

/// When what may pass. Times count from any one moment.
#[derive(Debug, Clone)]
pub struct Flow {
    per_sec: NonZeroU64,
    /// When everything that was let through so far will have passed at exactly the rate.
    paid_until: Duration,
}

impl Flow {
    /// So many units a second.
    pub fn new(per_sec: NonZeroU64) -> Self {
        Self { per_sec, paid_until: Duration::ZERO }
    }

    /// Lets `units` through; how long they have to wait.
    #[expect(clippy::cast_precision_loss, reason = "a rate: an error of one part in 2^53 is none")]
    pub fn take(&mut self, now: Duration, units: u64) -> Duration {
        let begins = self.paid_until.max(now.saturating_sub(BURST));
        let takes = Duration::try_from_secs_f64(units as f64 / self.per_sec.get() as f64);
        self.paid_until = begins.saturating_add(takes.unwrap_or(Duration::MAX));
        begins.saturating_sub(now)
    }
}

/// A flow that can be waited for.
pub struct Valve {
    flow: Mutex<Flow>,
    opened: tokio::time::Instant,
    clock: Arc<dyn Clock>,
}

impl Valve {
    /// So many units a second from now on.
    pub fn new(per_sec: NonZeroU64, clock: Arc<dyn Clock>) -> Self {
        Self { flow: Mutex::new(Flow::new(per_sec)), opened: tokio::time::Instant::now(), clock }
    }

    /// Waits until `units` may pass.
    pub async fn pass(&self, units: u64) {
        let wait =
            self.flow.lock().unwrap_or_else(PoisonError::into_inner).take(self.opened.elapsed(), units);
        if !wait.is_zero() {
            self.clock.sleep(wait).await;
        }
    }
}

impl fmt::Debug for Valve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Valve").field(&self.flow).finish()
    }
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "shares of small numbers")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(per_sec: u64) -> NonZeroU64 {
        NonZeroU64::new(per_sec).expect("a rate")
    }

    #[test]
    fn idle_time_is_made_up_for_by_one_burst_at_most() {
        let mut flow = Flow::new(rate(1000));
        let later = Duration::from_hours(1);
        assert_eq!(flow.take(later, 40), Duration::ZERO);
        assert_eq!(flow.take(later, 20), Duration::ZERO);
        assert_eq!(flow.take(later, 1), Duration::from_millis(10));
    }

    proptest! {
        /// Whatever the pieces and however late they come: what has passed by any moment is what the rate allows, and one burst.
        #[test]
        fn no_more_passes_than_the_rate_allows(
            pieces in prop::collection::vec((1u64..300_000, 0u64..20), 50..400),
        ) {
            let per_sec = 10_000_000;
            let mut flow = Flow::new(rate(per_sec));
            let (mut now, mut passed) = (Duration::from_secs(1), 0u64);
            for (units, pause_millis) in pieces {
                now += Duration::from_millis(pause_millis);
                now += flow.take(now, units);
                let allowed = (now.as_secs_f64() - 1.0 + BURST.as_secs_f64()) * 1e7 + 1.0;
                prop_assert!(passed as f64 <= allowed, "{passed} of {allowed}");
                passed += units;
            }
        }

        /// Somebody who always wants more gets the rate to within 5 %.
        #[test]
        fn the_rate_is_used(units in 1u64..300_000, per_sec in 1_000_000u64..1_000_000_000) {
            let mut flow = Flow::new(rate(per_sec));
            let (mut now, mut passed) = (Duration::ZERO, 0u64);
            for _ in 0..20_000 {
                now += flow.take(now, units);
                if now > Duration::from_secs(10) {
                    break;
                }
                passed += units;
            }
            prop_assume!(now > Duration::from_secs(2));
            let share = passed as f64 / now.as_secs_f64() / per_sec as f64;
            prop_assert!((share - 1.0).abs() < 0.05, "{share} of {per_sec}");
        }
    }
}
