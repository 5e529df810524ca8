//! How fast a station is, and so how long the rest will take.
//!
//! Owns: the estimate, from what was written since it was first looked at: what an earlier run wrote says nothing of this one's pace. Invariant: there is none before enough was seen.

use time::{Duration, OffsetDateTime};

/// What is looked at before anything is said.
const SEEN_MIN: Duration = Duration::seconds(10);

/// The pace of one run.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When, and at how many bytes, the first were seen.
    first: Option<(OffsetDateTime, u64)>,
}

impl Pace {
    /// Seconds that the bytes that are left will take.
    pub(super) fn secs_left(&mut self, now: OffsetDateTime, bytes_done: u64, bytes: u64) -> Option<u64> {
        if bytes_done == 0 {
            return None;
        }
        let (since, from_bytes) = *self.first.get_or_insert((now, bytes_done));
        let (seen, written) = (now - since, bytes_done.saturating_sub(from_bytes));
        if seen < SEEN_MIN || written == 0 {
            return None;
        }
        let left = u128::from(bytes.saturating_sub(bytes_done));
        let millis = u128::try_from(seen.whole_milliseconds()).ok()?;
        u64::try_from(left * millis / u128::from(written) / 1000).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_takes_as_long_as_what_was_seen_and_not_as_what_an_earlier_run_wrote() {
        let at = |secs| OffsetDateTime::UNIX_EPOCH + Duration::seconds(secs);
        let mut pace = Pace::default();
        assert_eq!(pace.secs_left(at(0), 0, 1000), None);
        // Half of it was there when this run began.
        assert_eq!(pace.secs_left(at(5), 500, 1000), None);
        assert_eq!(pace.secs_left(at(10), 550, 1000), None, "too short a look");
        assert_eq!(pace.secs_left(at(25), 700, 1000), Some(30));
        assert_eq!(pace.secs_left(at(55), 1000, 1000), Some(0));
    }
}
