//! Leaving a task alone while nothing of it would succeed.
//!
//! Owns: counting a task's failures in a row that say the same of every object: the store throttles, or the credentials and the
//! configuration are wrong. Does not own: the messages, which stay on the queue meanwhile. Invariants: one task's trouble never stops
//! another's; one success ends it.
//!
//! With partial batch responses Lambda polls on at full speed however many messages fail (AWS Lambda Developer Guide, "Using
//! Lambda with Amazon SQS"), so the function itself must stop.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ferry_transfer::ErrorKind;
use tokio::time::Instant;

/// Failures in a row that open the breaker; a batch of ten sees half of its own fail.
const FAILURES: u32 = 5;
/// The first pause; each further one is twice as long.
const PAUSE: Duration = Duration::from_secs(30);
/// No pause is longer.
const PAUSE_MAX: Duration = Duration::from_mins(8);

/// Says which tasks are left alone, and for how long.
#[derive(Debug, Default)]
pub struct Breaker(Mutex<HashMap<Option<String>, Trouble>>);

#[derive(Debug, Default)]
struct Trouble {
    failures: u32,
    pauses: u32,
    until: Option<Instant>,
}

impl Breaker {
    /// For how long the task is still left alone, if at all.
    pub(crate) fn pause(&self, task: Option<&str>, now: Instant) -> Option<Duration> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let until = known.get(&task.map(str::to_owned))?.until?;
        (until > now).then(|| until - now)
    }

    /// Notes how a job ended, `None` being well; the pause, if this is what begins one.
    pub(crate) fn note(
        &self,
        task: Option<&str>,
        failure: Option<ErrorKind>,
        now: Instant,
    ) -> Option<Duration> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let task = task.map(str::to_owned);
        match failure {
            Some(ErrorKind::Throttled | ErrorKind::PermissionDenied | ErrorKind::Configuration) => {
                let trouble = known.entry(task).or_default();
                trouble.failures += 1;
                // Those that were under way when it opened say nothing new.
                if trouble.failures < FAILURES || trouble.until.is_some_and(|until| until > now) {
                    return None;
                }
                let pause = PAUSE.saturating_mul(1 << trouble.pauses.min(8)).min(PAUSE_MAX);
                trouble.pauses += 1;
                trouble.until = Some(now + pause);
                Some(pause)
            }
            None => {
                known.remove(&task);
                None
            }
            // The object's own trouble.
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_and_for_longer_each_time() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        let fail = |now| breaker.note(Some("a"), Some(ErrorKind::Throttled), now);
        for _ in 1..FAILURES {
            assert_eq!(fail(start), None);
        }
        assert_eq!(breaker.pause(Some("a"), start), None);
        assert_eq!(fail(start), Some(PAUSE));
        assert_eq!(fail(start), None, "those that were under way");
        assert_eq!(breaker.pause(Some("a"), start + Duration::from_secs(10)), Some(Duration::from_secs(20)));
        assert_eq!(breaker.pause(Some("b"), start), None, "another task goes on");
        assert_eq!(breaker.pause(Some("a"), start + PAUSE), None);
        assert_eq!(fail(start + PAUSE), Some(PAUSE * 2), "the first one after a pause tells");
        let later = start + PAUSE * 4;
        assert_eq!(breaker.note(Some("a"), None, later), None);
        assert_eq!(fail(later), None, "a success ends it");
    }

    #[test]
    fn an_objects_own_trouble_is_not_the_tasks() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..100 {
            for kind in
                [ErrorKind::Corrupt, ErrorKind::Transient, ErrorKind::InvalidInput, ErrorKind::NotFound]
            {
                assert_eq!(breaker.note(None, Some(kind), now), None);
            }
        }
        assert_eq!(breaker.pause(None, now), None);
    }
}
