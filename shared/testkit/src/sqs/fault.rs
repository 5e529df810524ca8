//! Faults a test asks for.
//!
//! Owns: what will go wrong, and how often. Invariant: each fault is used up by the requests or messages it names, in the
//! order it was asked for; afterwards the endpoint is healthy again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;

use super::error::FailedEntry;
use super::operation::{BatchOperation, Operation};

/// What goes wrong with a whole request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestFault {
    /// It is not carried out and answered with this status and code.
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// The error code, in both places where SDKs look.
        code: String,
    },
    /// It is carried out and answered with HTTP 500 all the same.
    AnswerLost,
}

/// What an entry of a batch fails with, under HTTP 200.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryFault {
    /// The sender's: `InvalidParameterValue`, which no repetition cures.
    Sender,
    /// The service's: `InternalError`.
    Service,
}

/// The faults to come.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Script>);

#[derive(Debug, Default)]
struct Script {
    requests: HashMap<Operation, VecDeque<RequestFault>>,
    batches: HashMap<BatchOperation, VecDeque<BatchFault>>,
    /// How many of the next deliveries will come again.
    duplicates: usize,
    delays: VecDeque<Duration>,
}

/// The entries of one batch that fail.
#[derive(Debug, Default)]
pub(super) struct BatchFault {
    positions: Vec<usize>,
    fault: Option<EntryFault>,
}

impl Faults {
    /// The next `count` requests of this operation end in `fault`.
    pub fn fail_requests(&self, operation: Operation, count: usize, fault: &RequestFault) {
        let mut script = self.script();
        let faults = script.requests.entry(operation).or_default();
        faults.extend(std::iter::repeat_n(fault.clone(), count));
    }

    /// The entries at these positions, from 0, of the next batch fail; the others are carried out. Each call stands for one
    /// batch.
    pub fn fail_entries(&self, operation: BatchOperation, positions: &[usize], fault: EntryFault) {
        let fault = BatchFault { positions: positions.to_vec(), fault: Some(fault) };
        self.script().batches.entry(operation).or_default().push_back(fault);
    }

    /// Each of the next `count` messages received will be delivered once more, with the same id, even where it is deleted.
    pub fn duplicate_deliveries(&self, count: usize) {
        self.script().duplicates += count;
    }

    /// Each of the next `count` messages sent is delivered `delay` later than its sender asked for.
    pub fn delay_deliveries(&self, count: usize, delay: Duration) {
        self.script().delays.extend(std::iter::repeat_n(delay, count));
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn next_request(&self, operation: Operation) -> Option<RequestFault> {
        self.script().requests.get_mut(&operation)?.pop_front()
    }

    pub(super) fn next_batch(&self, operation: BatchOperation) -> BatchFault {
        self.script().batches.get_mut(&operation).and_then(VecDeque::pop_front).unwrap_or_default()
    }

    /// Takes up to `deliveries` duplicates.
    pub(super) fn next_duplicates(&self, deliveries: usize) -> usize {
        let mut script = self.script();
        let taken = script.duplicates.min(deliveries);
        script.duplicates -= taken;
        taken
    }

    pub(super) fn next_delay(&self) -> Duration {
        self.script().delays.pop_front().unwrap_or_default()
    }
}

impl BatchFault {
    /// The failure of the entry at this position, if it is to fail.
    pub(super) fn of_entry(&self, position: usize, id: &str) -> Option<FailedEntry> {
        let fault = self.fault.filter(|_| self.positions.contains(&position))?;
        Some(FailedEntry {
            id: id.to_owned(),
            sender_fault: fault == EntryFault::Sender,
            code: match fault {
                EntryFault::Sender => "InvalidParameterValue".into(),
                EntryFault::Service => "InternalError".into(),
            },
            message: "Injected by the test.".into(),
        })
    }
}
