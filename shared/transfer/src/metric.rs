//! What is measured, by one list of names.
//!
//! Owns: the names, their units, and running counts of them. Does not own: how they are published, as EMF lines in the cloud and to
//! Prometheus on one machine; the dashboard and the alarms name them too, and a test holds all of them together. Invariant: a
//! name means the same everywhere.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::latencies::Latencies;
use crate::receipt::{Outcome, Receipt, ReceiptSink};

/// A span of time that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lag {
    /// From an event to the destination's agreeing.
    Event,
    /// From the beginning of a run to the end of the comparison of one of its ranges; where one process compares and copies, of the
    /// whole run.
    Scan,
}

impl Lag {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Event, Self::Scan];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Event => "EventLag",
            Self::Scan => "ScanLag",
        }
    }
}

/// A thing that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// Bytes of objects that were copied, each once.
    BytesCopied,
    /// Objects, or versions of objects, that were copied.
    ObjectsCopied,
    /// Objects that agreed already.
    ObjectsUpToDate,
    /// Objects deleted since the source had deleted them.
    ObjectsDeleted,
    /// Objects left alone on purpose, parked ones included.
    ObjectsSkipped,
    /// Objects that failed for good.
    ObjectsFailed,
    /// Jobs that failed and will be tried again.
    JobsRetried,
    /// Requests to stores, retries included.
    Requests,
    /// Requests that a store refused for there being too many.
    Throttles,
    /// Keys that a scan has compared.
    PairsCompared,
    /// Jobs that a scan has sent.
    JobsSent,
    /// Scans that ran to their end.
    ScansCompleted,
}

/// What a number of a metric counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Bytes.
    Bytes,
}

impl Metric {
    /// Every one.
    pub const ALL: [Self; 12] = [
        Self::BytesCopied,
        Self::ObjectsCopied,
        Self::ObjectsUpToDate,
        Self::ObjectsDeleted,
        Self::ObjectsSkipped,
        Self::ObjectsFailed,
        Self::JobsRetried,
        Self::Requests,
        Self::Throttles,
        Self::PairsCompared,
        Self::JobsSent,
        Self::ScansCompleted,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::BytesCopied => "BytesCopied",
            Self::ObjectsCopied => "ObjectsCopied",
            Self::ObjectsUpToDate => "ObjectsUpToDate",
            Self::ObjectsDeleted => "ObjectsDeleted",
            Self::ObjectsSkipped => "ObjectsSkipped",
            Self::ObjectsFailed => "ObjectsFailed",
            Self::JobsRetried => "JobsRetried",
            Self::Requests => "Requests",
            Self::Throttles => "Throttles",
            Self::PairsCompared => "PairsCompared",
            Self::JobsSent => "JobsSent",
            Self::ScansCompleted => "ScansCompleted",
        }
    }

    /// What it counts.
    pub fn unit(self) -> Unit {
        match self {
            Self::BytesCopied => Unit::Bytes,
            _ => Unit::Count,
        }
    }
}

/// Running counts. A sink of receipts, so that what happened to objects counts itself.
#[derive(Debug, Default)]
pub struct Measures {
    counts: [AtomicU64; Metric::ALL.len()],
    lags: [Mutex<Latencies>; Lag::ALL.len()],
}

impl Measures {
    /// Counts some more.
    pub fn add(&self, metric: Metric, count: u64) {
        self.counts[metric as usize].fetch_add(count, Relaxed);
    }

    /// The counts that are not zero, which are zero after that.
    pub fn take(&self) -> Vec<(Metric, u64)> {
        Metric::ALL
            .into_iter()
            .map(|metric| (metric, self.counts[metric as usize].swap(0, Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// Measures one more.
    pub fn add_lag(&self, lag: Lag, span: Duration) {
        self.lags(lag).add(span);
    }

    /// What was measured since the last time this was asked.
    pub fn take_lags(&self, lag: Lag) -> Latencies {
        std::mem::take(&mut *self.lags(lag))
    }

    fn lags(&self, lag: Lag) -> MutexGuard<'_, Latencies> {
        self.lags[lag as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReceiptSink for Measures {
    fn record(&self, receipt: &Receipt) {
        if let Some(lag) = receipt.lag() {
            self.add_lag(Lag::Event, lag);
        }
        match &receipt.outcome {
            Outcome::Copied(copied) => {
                self.add(Metric::ObjectsCopied, 1);
                self.add(Metric::BytesCopied, copied.size_bytes);
            }
            Outcome::HistoryCopied { versions, delete_markers: _ } => {
                self.add(Metric::ObjectsCopied, versions.len() as u64);
                self.add(Metric::BytesCopied, versions.iter().map(|copied| copied.size_bytes).sum());
            }
            Outcome::UpToDate => self.add(Metric::ObjectsUpToDate, 1),
            Outcome::Deleted => self.add(Metric::ObjectsDeleted, 1),
            Outcome::Skipped { .. } | Outcome::Parked { .. } => self.add(Metric::ObjectsSkipped, 1),
            Outcome::Failed(failed) if failed.last => self.add(Metric::ObjectsFailed, 1),
            Outcome::Failed(_) => self.add(Metric::JobsRetried, 1),
            // They are settled in the receipt of their object.
            Outcome::Divided { .. } | Outcome::Part { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_metric_has_its_own_name_and_place() {
        let names = Metric::ALL.into_iter().map(Metric::name).chain(Lag::ALL.into_iter().map(Lag::name));
        assert_eq!(names.collect::<BTreeSet<&str>>().len(), Metric::ALL.len() + Lag::ALL.len());
        for (place, lag) in Lag::ALL.into_iter().enumerate() {
            assert_eq!(lag as usize, place);
        }
        for (place, metric) in Metric::ALL.into_iter().enumerate() {
            assert_eq!(metric as usize, place);
        }
    }

    #[test]
    fn counts_are_taken_once() {
        let measures = Measures::default();
        measures.add(Metric::Requests, 2);
        measures.add(Metric::Requests, 3);
        assert_eq!(measures.take(), [(Metric::Requests, 5)]);
        assert_eq!(measures.take(), []);
    }
}
