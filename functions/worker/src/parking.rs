//! Jobs that wait for an archive.
//!
//! Owns: when a parked job is looked at again, and for how long it is. Its clock is its own: the receive count of a message counts
//! failures, and a restore of two days is none. Invariant: a parked job is on a queue before its message is let go.

use std::time::Duration;

use ferry_transfer::job::{Job, Message};
use ferry_transfer::queue::OutgoingMessage;
use ferry_transfer::{Error, ErrorKind, Result, SharedQueue};
use time::OffsetDateTime;

/// Longest delay of a message (AWS, `SendMessage`, `DelaySeconds`).
const LONGEST: Duration = Duration::from_mins(15);

/// Where jobs wait for an archive.
#[derive(Debug)]
pub struct Parking {
    /// The queue that gives them back.
    pub queue: SharedQueue,
    /// Shortest wait before a second look.
    pub shortest: Duration,
    /// A job that has waited for so long is let go; a later run finds its object again.
    pub at_most: Duration,
    /// Most jobs that wait at once, where memory is what they wait in.
    pub places: Option<u64>,
}

/// What became of a job that is to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parked {
    /// It waits.
    Waiting,
    /// There is no place, or it has waited long enough.
    LetGo,
}

impl Parking {
    /// How long to wait after so long: a quarter as long again.
    fn delay(&self, parked: Duration) -> Duration {
        (parked / 4).clamp(self.shortest.min(LONGEST), LONGEST)
    }

    /// Lets a job wait that has been parked since then.
    pub(crate) async fn park(&self, job: Job, since: OffsetDateTime, now: OffsetDateTime) -> Result<Parked> {
        let parked = Duration::try_from(now - since).unwrap_or_default();
        if parked >= self.at_most {
            return Ok(Parked::LetGo);
        }
        if let Some(places) = self.places {
            let depth = self.queue.depth().await?;
            if depth.visible + depth.in_flight + depth.delayed >= places {
                return Ok(Parked::LetGo);
            }
        }
        let job = Job { parked_since: Some(since), ..job };
        let message = OutgoingMessage {
            // Not past the end of the wait, so that a last look is taken then.
            delay: self.delay(parked).min(self.at_most.saturating_sub(parked)),
            ..OutgoingMessage::new(Message::Object(job).to_json())
        };
        let sent = self.queue.send_batch(vec![message]).await?;
        match sent.into_iter().next() {
            Some(sent) => sent.map(|()| Parked::Waiting),
            None => Err(Error::new(ErrorKind::Other, "the queue answered for no entry of a batch of one")),
        }
    }
}

#[cfg(test)]
mod tests {
    use ferry_transfer::Key;
    use ferry_transfer::queue::Queue as _;
    use ferry_transfer::queue::memory::{MemoryQueue, MemoryQueueConfig};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_parked_job_comes_back_after_a_growing_delay_until_it_is_let_go() {
        let queue = MemoryQueue::new(MemoryQueueConfig::default());
        let parking = Parking {
            queue: std::sync::Arc::clone(&queue) as _,
            shortest: Duration::from_mins(1),
            at_most: Duration::from_hours(1),
            places: Some(1),
        };
        assert_eq!(parking.delay(Duration::ZERO), Duration::from_mins(1));
        assert_eq!(parking.delay(Duration::from_mins(20)), Duration::from_mins(5));
        assert_eq!(parking.delay(Duration::from_hours(40)), LONGEST);
        let since = OffsetDateTime::UNIX_EPOCH;
        let job = || Job::for_key(Key::new("k").expect("key"));
        assert_eq!(parking.park(job(), since, since).await.expect("parked"), Parked::Waiting);
        // The one place is taken.
        assert_eq!(parking.park(job(), since, since).await.expect("full"), Parked::LetGo);
        let early = queue.receive(1, Duration::from_secs(59), LONGEST).await.expect("queue");
        assert!(early.is_empty());
        let back = queue.receive(1, Duration::from_secs(2), LONGEST).await.expect("queue").remove(0);
        let Ok(Message::Object(back)) = Message::parse(&back.body) else { panic!("{back:?}") };
        assert_eq!(back.parked_since, Some(since));
        let late = since + time::Duration::HOUR;
        assert_eq!(parking.park(job(), since, late).await.expect("late"), Parked::LetGo);
    }
}
