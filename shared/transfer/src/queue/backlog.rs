//! Which messages of a queue are ready, hidden or gone.
//!
//! Owns: visibility timeouts, receive counts, delays, the order of delivery, and receipt handles. Does not own: what messages hold, nor
//! where that is kept ([`super::memory`], [`super::disk`]). Invariants: a message is in exactly one of ready and hidden until it is
//! settled; a handle is good for one delivery.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::{BATCH_MAX, Delivery, QueueDepth};
use crate::{Error, ErrorKind, Result};

/// The state of every message that is not settled.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    next_id: u64,
    messages: HashMap<u64, Line>,
    ready: VecDeque<u64>,
    /// Delayed and in flight, by the time they become ready.
    hidden: BTreeSet<(Instant, u64)>,
    delayed: usize,
}

#[derive(Debug)]
struct Line {
    receive_count: u32,
    hidden_until: Option<Instant>,
}

/// A message that was ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is delivered, for the `count`th time.
    Delivered {
        /// Which.
        id: u64,
        /// From 1.
        count: u32,
    },
    /// It was delivered as often as it may be, and is nobody's any more.
    Poison(u64),
}

impl Backlog {
    /// The number that the next message gets.
    pub(super) fn next_id(&self) -> u64 {
        self.next_id
    }

    /// Adds a message that becomes ready at once or later.
    pub(super) fn add(&mut self, hidden_until: Option<Instant>) -> u64 {
        let id = self.next_id;
        self.restore(id, 0, hidden_until);
        id
    }

    /// Adds a message of an earlier process.
    pub(super) fn restore(&mut self, id: u64, receive_count: u32, hidden_until: Option<Instant>) {
        self.next_id = self.next_id.max(id + 1);
        self.messages.insert(id, Line { receive_count, hidden_until });
        match hidden_until {
            None => self.ready.push_back(id),
            Some(until) => {
                self.hidden.insert((until, id));
                self.delayed += usize::from(receive_count == 0);
            }
        }
    }

    /// Takes the next message that is ready and hides it; one that was received `count_max` times is poison.
    pub(super) fn take(&mut self, until: Instant, count_max: Option<u32>) -> Option<Taken> {
        loop {
            let id = self.ready.pop_front()?;
            let Some(line) = self.messages.get_mut(&id) else { continue };
            if count_max.is_some_and(|most| line.receive_count >= most) {
                self.messages.remove(&id);
                return Some(Taken::Poison(id));
            }
            line.receive_count += 1;
            line.hidden_until = Some(until);
            self.hidden.insert((until, id));
            return Some(Taken::Delivered { id, count: line.receive_count });
        }
    }

    /// Makes ready what has been hidden for long enough.
    pub(super) fn wake(&mut self, now: Instant) {
        while let Some(&(until, id)) = self.hidden.first()
            && until <= now
        {
            self.hidden.pop_first();
            if let Some(line) = self.messages.get_mut(&id) {
                line.hidden_until = None;
                self.delayed -= usize::from(line.receive_count == 0);
                self.ready.push_back(id);
            }
        }
    }

    /// Whether a message is ready, and when the next hidden one will be.
    pub(super) fn outlook(&self) -> (bool, Option<Instant>) {
        (!self.ready.is_empty(), self.hidden.first().map(|(until, _)| *until))
    }

    /// Ends a message by its handle. `Ok(None)`, and nothing done, where it was settled or received again since.
    pub(super) fn settle(&mut self, receipt_handle: &str) -> Result<Option<u64>> {
        let Some(id) = self.delivered(receipt_handle)? else { return Ok(None) };
        self.drop(id);
        Ok(Some(id))
    }

    /// Ends a message, whoever has it.
    pub(super) fn drop(&mut self, id: u64) {
        let Some(line) = self.messages.remove(&id) else { return };
        match line.hidden_until {
            Some(until) => {
                self.hidden.remove(&(until, id));
                self.delayed -= usize::from(line.receive_count == 0);
            }
            None => self.ready.retain(|ready| *ready != id),
        }
    }

    /// Lets a message that is in flight stay hidden until then.
    pub(super) fn hide(&mut self, receipt_handle: &str, until: Instant) -> Result<()> {
        let not_in_flight = || {
            Error::new(ErrorKind::InvalidInput, "the message is not in flight")
                .with_code("MessageNotInflight")
        };
        let id = self.delivered(receipt_handle)?.ok_or_else(not_in_flight)?;
        let line = self.messages.get_mut(&id).ok_or_else(not_in_flight)?;
        let before = line.hidden_until.replace(until);
        let Some(before) = before else {
            line.hidden_until = None;
            return Err(not_in_flight());
        };
        self.hidden.remove(&(before, id));
        self.hidden.insert((until, id));
        Ok(())
    }

    /// How often a message was received.
    pub(super) fn receive_count(&self, id: u64) -> Option<u32> {
        self.messages.get(&id).map(|line| line.receive_count)
    }

    /// Messages that are ready, the next first.
    pub(super) fn ready(&self) -> impl Iterator<Item = u64> {
        self.ready.iter().copied()
    }

    /// Messages that wait: ready, or delayed.
    pub(super) fn waiting(&self) -> usize {
        self.ready.len() + self.delayed
    }

    /// How many there are of each kind.
    pub(super) fn depth(&self) -> QueueDepth {
        QueueDepth {
            visible: self.ready.len() as u64,
            in_flight: (self.hidden.len() - self.delayed) as u64,
            delayed: self.delayed as u64,
        }
    }

    /// The message a handle names: `Ok(None)` where it was settled or received again since.
    fn delivered(&self, receipt_handle: &str) -> Result<Option<u64>> {
        let parsed = receipt_handle
            .split_once(':')
            .and_then(|(id, count)| Some((id.parse::<u64>().ok()?, count.parse::<u32>().ok()?)));
        let Some((id, count)) = parsed.filter(|(id, _)| *id < self.next_id) else {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("the receipt handle {receipt_handle:?} is not valid"),
            )
            .with_code("ReceiptHandleIsInvalid"));
        };
        Ok(self.receive_count(id).is_some_and(|current| current == count).then_some(id))
    }
}

/// Takes what is ready, and waits up to `wait` for it where nothing is: for something that arrives, or for the next message that has been
/// hidden for long enough. `look` says whether more is ready, and when the next will be.
pub(super) async fn long_poll<F>(
    wait: Duration,
    arrived: &Notify,
    look: impl Fn() -> (bool, Option<Instant>),
    mut take: impl FnMut() -> F,
) -> Result<Vec<Delivery>>
where
    F: Future<Output = Result<Vec<Delivery>>>,
{
    let deadline = Instant::now() + wait;
    loop {
        let arrival = arrived.notified();
        let deliveries = take().await?;
        let (is_more_ready, next_wake) = look();
        if !deliveries.is_empty() {
            // One notification may stand for several messages: pass it on while there is more.
            if is_more_ready {
                arrived.notify_one();
            }
            return Ok(deliveries);
        }
        if Instant::now() >= deadline {
            return Ok(Vec::new());
        }
        tokio::select! {
            () = arrival => {}
            () = tokio::time::sleep_until(next_wake.map_or(deadline, |until| deadline.min(until))) => {}
        }
    }
}

/// The handle of one delivery.
pub(super) fn handle(id: u64, count: u32) -> String {
    format!("{id}:{count}")
}

/// A message's id as SQS would write it.
pub(super) fn message_id(id: u64) -> String {
    format!("00000000-0000-4000-8000-{id:012x}")
}

pub(super) fn check_batch_size(length: usize) -> Result<()> {
    if (1..=BATCH_MAX).contains(&length) {
        Ok(())
    } else {
        Err(Error::new(
            ErrorKind::InvalidInput,
            format!("a batch holds 1 to {BATCH_MAX} entries, not {length}"),
        ))
    }
}
