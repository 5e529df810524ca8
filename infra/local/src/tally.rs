//! What became of a run's jobs, counted as receipts come in.
//!
//! Owns: the counts, a bounded list of failures, and the decision that a run makes no sense any more. Does not own: the receipts
//! themselves ([`crate::run_log`]), nor requests and bytes on the wire, which the meters count. Invariants: only final receipts are counted, so a retried
//! job counts once; memory does not grow with the number of failures.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ferry_transfer::ErrorKind;
use ferry_transfer::receipt::{Copied, Outcome, ReadCheck, Receipt, ReceiptSink, SkipReason, WriteCheck};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

/// Failures kept for the report; the receipts have all of them.
const FAILURES_KEPT: usize = 1000;
/// So many refusals and not one success: the rights are missing, not an object's.
const REFUSALS_BEFORE_GIVING_UP: u64 = 20;
/// So many objects in a row that failed although each was retried for minutes: a store is down.
const OUTAGES_BEFORE_GIVING_UP: u64 = 200;

/// Running totals of a run. See the module.
#[derive(Debug)]
pub struct Tally {
    counts: Mutex<Counts>,
    /// Cancelled when going on makes no sense.
    give_up: CancellationToken,
}

/// The totals at one moment.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Counts {
    /// Copied and checked.
    pub copied: u64,
    /// Bytes of the copied objects.
    pub copied_bytes: u64,
    /// Copies by what their reading was checked against.
    pub read_checks: BTreeMap<&'static str, u64>,
    /// Copies by what their writing was checked against.
    pub write_checks: BTreeMap<&'static str, u64>,
    /// Found to be the same when their job ran.
    pub up_to_date: u64,
    /// Deleted.
    pub deleted: u64,
    /// Skipped, by reason.
    pub skipped: BTreeMap<SkipReason, u64>,
    /// Archived: their restore was asked for.
    pub parked: u64,
    /// Failed for good.
    pub failed: u64,
    /// The first failures.
    pub failures: Vec<Failure>,
    /// Attempts that failed and were made again.
    pub retried: u64,
    /// Why the run was given up, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gave_up: Option<String>,
    /// Outages since the last success.
    #[serde(skip)]
    outages_in_a_row: u64,
}

/// One object that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The source key.
    pub key: String,
    /// Why.
    pub error: String,
}

impl Counts {
    /// Objects whose jobs have ended.
    pub fn settled(&self) -> u64 {
        self.copied
            + self.up_to_date
            + self.deleted
            + self.parked
            + self.failed
            + self.skipped.values().sum::<u64>()
    }

    /// Counts what was written and how it was checked: an object, or one version of it.
    fn take_copy(&mut self, copied: &Copied) {
        self.outages_in_a_row = 0;
        self.copied_bytes += copied.size_bytes;
        *self.read_checks.entry(read_check_word(copied.read_check)).or_default() += 1;
        *self.write_checks.entry(write_check_word(copied.write_check)).or_default() += 1;
    }
}

impl Tally {
    /// Nothing counted yet.
    pub fn new(give_up: CancellationToken) -> Self {
        Self { counts: Mutex::default(), give_up }
    }

    /// The totals now.
    pub fn counts(&self) -> Counts {
        self.lock().clone()
    }

    /// Settled objects and copied bytes now, for progress: without cloning the failures.
    pub fn settled(&self) -> (u64, u64, u64) {
        let counts = self.lock();
        (counts.settled(), counts.copied_bytes, counts.failed)
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReceiptSink for Tally {
    fn record(&self, receipt: &Receipt) {
        let mut counts = self.lock();
        match &receipt.outcome {
            Outcome::Copied(copied) => {
                counts.copied += 1;
                counts.take_copy(copied);
            }
            Outcome::HistoryCopied { versions, .. } => {
                // Where nothing but a delete marker was missing, the object is deleted now.
                if versions.is_empty() {
                    counts.deleted += 1;
                } else {
                    counts.copied += 1;
                }
                for copied in versions {
                    counts.take_copy(copied);
                }
            }
            Outcome::UpToDate => counts.up_to_date += 1,
            Outcome::Divided { .. } | Outcome::Part { .. } => {}
            Outcome::Deleted => counts.deleted += 1,
            Outcome::Parked { .. } => counts.parked += 1,
            Outcome::Skipped { reason } => *counts.skipped.entry(*reason).or_default() += 1,
            Outcome::Failed(failed) if !failed.last => counts.retried += 1,
            Outcome::Failed(failed) => {
                counts.failed += 1;
                if counts.failures.len() < FAILURES_KEPT {
                    counts
                        .failures
                        .push(Failure { key: receipt.key.as_str().to_owned(), error: failed.error.clone() });
                }
                let hopeless = match failed.kind {
                    ErrorKind::Configuration => true,
                    ErrorKind::PermissionDenied => {
                        counts.failed >= REFUSALS_BEFORE_GIVING_UP && counts.settled() == counts.failed
                    }
                    ErrorKind::Transient | ErrorKind::Throttled => {
                        counts.outages_in_a_row += 1;
                        counts.outages_in_a_row >= OUTAGES_BEFORE_GIVING_UP
                    }
                    _ => false,
                };
                if hopeless && counts.gave_up.is_none() {
                    counts.gave_up = Some(failed.error.clone());
                    self.give_up.cancel();
                }
            }
        }
    }
}

fn read_check_word(check: ReadCheck) -> &'static str {
    match check {
        ReadCheck::Etag => "etag",
        ReadCheck::Crc64 => "crc64",
        ReadCheck::Crc32c => "crc32c",
        ReadCheck::Crc32 => "crc32",
        ReadCheck::Sha1 => "sha1",
        ReadCheck::Sha256 => "sha256",
        ReadCheck::ServerSide => "server-side",
        ReadCheck::Length => "length",
    }
}

fn write_check_word(check: WriteCheck) -> &'static str {
    match check {
        WriteCheck::Etag => "etag",
        WriteCheck::Crc64 => "crc64",
        WriteCheck::Length => "length",
    }
}

#[cfg(test)]
mod tests {
    use ferry_transfer::job::Action;
    use ferry_transfer::receipt::Failed;
    use ferry_transfer::{Error, Key};
    use time::OffsetDateTime;

    use super::*;

    fn failure(kind: ErrorKind, last: bool) -> Receipt {
        Receipt {
            key: Key::new("k").expect("key"),
            task: None,
            run: None,
            at: OffsetDateTime::UNIX_EPOCH,
            event_time: None,
            attempt: 1,
            action: Action::Copy,
            found: None,
            outcome: Outcome::Failed(Failed::new(&Error::new(kind, "no"), last)),
        }
    }

    fn tally() -> Tally {
        Tally::new(CancellationToken::new())
    }

    #[test]
    fn a_retried_failure_is_no_failure_yet() {
        let tally = tally();
        tally.record(&failure(ErrorKind::Transient, false));
        tally.record(&failure(ErrorKind::Transient, true));
        let counts = tally.counts();
        assert_eq!((counts.retried, counts.failed, counts.settled()), (1, 1, 1));
    }

    #[test]
    fn a_run_is_given_up_when_no_object_can_succeed() {
        let tally = tally();
        for _ in 1..REFUSALS_BEFORE_GIVING_UP {
            tally.record(&failure(ErrorKind::PermissionDenied, true));
        }
        assert!(!tally.give_up.is_cancelled());
        tally.record(&failure(ErrorKind::PermissionDenied, true));
        assert!(tally.give_up.is_cancelled());
    }

    #[test]
    fn failures_are_counted_beyond_those_kept() {
        let tally = tally();
        for _ in 0..FAILURES_KEPT + 5 {
            tally.record(&failure(ErrorKind::Other, true));
        }
        let counts = tally.counts();
        assert_eq!((counts.failed, counts.failures.len()), (FAILURES_KEPT as u64 + 5, FAILURES_KEPT));
    }
}
