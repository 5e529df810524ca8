//! When a range of names is covered: it was compared, and every job that came of it has settled well.
//!
//! Owns: the jobs that have not settled yet, and the checkpoint that grows as they do. Does not own: writing it down. Invariants: a
//! name whose job has not settled, or has failed for good, is never covered; memory is the jobs under way, which a queue bounds, and
//! the checkpoint's own bounded ranges.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Checkpoint;
use crate::receipt::{Outcome, Receipt, ReceiptSink};
use crate::{Key, KeyRange};

/// A checkpoint that follows a scan and its receipts. See the module.
#[derive(Debug)]
pub struct Coverage(Mutex<Book>);

#[derive(Debug)]
struct Book {
    /// Where the run began.
    start: Checkpoint,
    now: Checkpoint,
    stretches: HashMap<u64, Stretch>,
    /// Keys whose jobs have not settled, and the stretch each is of.
    unsettled: HashMap<Key, u64>,
    next: u64,
}

/// Names that were compared together.
#[derive(Debug)]
struct Stretch {
    range: KeyRange,
    names: u64,
    unsettled: usize,
}

impl Coverage {
    /// Goes on from a checkpoint.
    pub fn new(start: Checkpoint) -> Self {
        Self(Mutex::new(Book {
            now: start.clone(),
            start,
            stretches: HashMap::new(),
            unsettled: HashMap::new(),
            next: 0,
        }))
    }

    /// The checkpoint now.
    pub fn checkpoint(&self) -> Checkpoint {
        self.lock().now.clone()
    }

    /// Notes that all of a range was compared, so many names in it, and that these keys need jobs. To be said before the first of
    /// the jobs can settle.
    pub fn compared<'a>(&self, range: KeyRange, names: u64, keys: impl IntoIterator<Item = &'a Key>) {
        let mut book = self.lock();
        let id = book.next;
        book.next += 1;
        let mut stretch = Stretch { range, names, unsettled: 0 };
        for key in keys {
            let before = book.unsettled.insert(key.clone(), id);
            stretch.unsettled += usize::from(before != Some(id));
            // Receipts do not tell two jobs of one key apart, so the earlier stretch stays uncovered.
            if let Some(before) = before {
                book.stretches.remove(&before);
            }
        }
        if stretch.unsettled == 0 {
            book.cover(stretch);
        } else {
            book.stretches.insert(id, stretch);
        }
    }

    /// Forgets what this scan has compared, since it was not what it seemed to be.
    pub fn start_over(&self) {
        let mut book = self.lock();
        book.now = book.start.clone();
        book.stretches.clear();
        book.unsettled.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn cover(&mut self, stretch: Stretch) {
        if self.now.covered.insert(stretch.range) {
            self.now.names += stretch.names;
        }
    }

    fn settle(&mut self, key: &Key) {
        let Some(id) = self.unsettled.remove(key) else { return };
        // Of a stretch in which another job failed, nothing is known any more.
        let Some(mut stretch) = self.stretches.remove(&id) else { return };
        stretch.unsettled -= 1;
        if stretch.unsettled == 0 {
            self.cover(stretch);
        } else {
            self.stretches.insert(id, stretch);
        }
    }

    fn fail(&mut self, key: &Key) {
        if let Some(id) = self.unsettled.remove(key) {
            self.stretches.remove(&id);
        }
    }
}

impl ReceiptSink for Coverage {
    fn record(&self, receipt: &Receipt) {
        match &receipt.outcome {
            Outcome::Copied(_)
            | Outcome::HistoryCopied { .. }
            | Outcome::UpToDate
            | Outcome::Deleted
            | Outcome::Skipped { .. } => self.lock().settle(&receipt.key),
            Outcome::Failed(failed) if failed.last => self.lock().fail(&receipt.key),
            Outcome::Failed(_) | Outcome::Divided { .. } | Outcome::Part { .. } | Outcome::Parked { .. } => {}
        }
    }
}
