//! Lists and compares both sides over ranges of keys, several at once.
//!
//! Owns: the findings, the listers that make them, and how far each range has come. Does not own: the division into ranges
//! ([`crate::ranges`]), nor what to do about a finding: the finder makes jobs of it, a plan counts it, a verification reports it.
//! Invariants: both sides of a range are listed over the same keys and merged; every key is found once; within a range findings
//! come in order of names; memory does not grow with the number of keys; a listing that did not end cleanly ends the scan as an
//! error.

pub(crate) mod judge;
mod range;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::compare::{Evidence, Reason};
use crate::ranges::{RangeId, Ranges};
use crate::route::Route;
use crate::source_listing;
use crate::{Entry, Error, ErrorKind, KeyRange, Result};

use self::judge::Judge;
use self::range::{RangeScan, SharedRanges};

/// One key, and what is to be thought of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// At the source only.
    Missing(Entry),
    /// On both sides, different.
    Different {
        /// At the source.
        source: Entry,
        /// At the destination.
        destination: Entry,
        /// How they differ.
        reason: Reason,
    },
    /// On both sides, the same.
    Same {
        /// At the source.
        source: Entry,
        /// At the destination.
        destination: Entry,
        /// How that is known.
        evidence: Evidence,
    },
    /// At the destination only, and the task is about it.
    Extra(Entry),
    /// At the source, and the task's selection leaves it out. What the destination has of that name is left alone.
    Excluded(Entry),
    /// Objects of the source that would share a name at the destination, as many of them as were met together: none can be copied.
    Contested(Vec<Entry>),
    /// Without a name on the other side: named exactly like its side's prefix while the other side has none, or, at the
    /// destination, named as the task's rewriting names nothing.
    Nameless(Entry),
}

/// Findings of one stretch of names, in their order.
#[derive(Debug)]
pub struct FindingBatch {
    /// The names that were looked at: these are all findings there, and no other batch has any.
    pub range: KeyRange,
    /// The findings; none where nothing was left at the end of a range.
    pub findings: Vec<Finding>,
}

/// Findings as a lister sends them.
#[derive(Debug)]
struct SentBatch {
    range: RangeId,
    findings: Vec<Finding>,
    reached: Reached,
}

/// How far a range was looked at.
#[derive(Debug, Clone)]
enum Reached {
    /// Up to this name, itself included.
    Name(String),
    /// To its end.
    End,
}

/// How a scan listed, for reports.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListingReport {
    /// Ranges that the keyspace was divided into.
    pub ranges: usize,
    /// What was unusual about the source's listing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What was unusual about the destination's listing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
}

/// Batches on their way: enough that no lister waits for a consumer that keeps up, and about a megabyte.
const BATCHES_AHEAD: usize = 8;

/// A scan under way. See the module.
pub struct Scan {
    route: Arc<Route>,
    ranges: Arc<SharedRanges>,
    judge: Arc<Judge>,
    listers: JoinSet<Result<()>>,
    sender: mpsc::Sender<SentBatch>,
    batches: mpsc::Receiver<SentBatch>,
    /// Of the batch that [`Self::next`] hands out.
    in_hand: std::vec::IntoIter<Finding>,
    /// How much of each range its consumer has got.
    handed: BTreeMap<RangeId, Reached>,
    /// Whether both sides were believed to list in order when it began.
    began_in_order: bool,
}

impl Scan {
    /// Begins to list both sides over the range, as the task's listing rules say.
    pub fn new(route: Arc<Route>, range: &KeyRange) -> Self {
        Self::of_ranges(route, [range.clone()])
    }

    /// Begins to list both sides over the range with one lister a side, so that findings come in key order.
    pub fn in_order(route: Arc<Route>, range: &KeyRange) -> Self {
        Self::begin(route, [range.clone()], 1)
    }

    /// Begins to list both sides over ranges that do not overlap.
    pub fn of_ranges(route: Arc<Route>, ranges: impl IntoIterator<Item = KeyRange>) -> Self {
        let listers = usize::from(route.task.listing.listers);
        Self::begin(route, ranges, listers)
    }

    fn begin(route: Arc<Route>, ranges: impl IntoIterator<Item = KeyRange>, listers: usize) -> Self {
        let began_in_order = !route.lists_disordered();
        let mut ranges: Vec<KeyRange> =
            ranges.into_iter().flat_map(|range| route.ranges_within(&range)).collect();
        if !began_in_order {
            // A side that has to be sorted is listed as a whole, so all of it is compared in one go.
            ranges = KeyRange::hull(ranges).into_iter().collect();
        }
        let listers = if began_in_order && source_listing::keeps_order(&route) { listers } else { 1 };
        let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
        Self {
            ranges: Arc::new(SharedRanges::new(Ranges::new(ranges, listers))),
            judge: Arc::new(Judge::new(Arc::clone(&route))),
            listers: JoinSet::new(),
            sender,
            batches,
            in_hand: Vec::new().into_iter(),
            handed: BTreeMap::new(),
            began_in_order,
            route,
        }
    }

    /// The next finding; `None` when every listing has ended cleanly.
    pub async fn next(&mut self) -> Result<Option<Finding>> {
        loop {
            if let Some(finding) = self.in_hand.next() {
                return Ok(Some(finding));
            }
            let Some(batch) = self.next_batch().await? else { return Ok(None) };
            self.in_hand = batch.findings.into_iter();
        }
    }

    /// What is next; `None` when every listing has ended cleanly.
    pub async fn next_batch(&mut self) -> Result<Option<FindingBatch>> {
        loop {
            while let Some(assignment) = self.ranges.book().take() {
                let range = RangeScan::new(&self.route, &self.ranges, &self.judge, assignment);
                self.listers.spawn(range.run(self.sender.clone()));
            }
            let batch = tokio::select! {
                biased;
                Some(batch) = self.batches.recv() => batch,
                ended = self.listers.join_next() => {
                    match ended {
                        Some(Ok(ended)) => ended?,
                        Some(Err(lost)) => {
                            return Err(Error::new(ErrorKind::Other, "a lister was lost").caused_by(lost));
                        }
                        None => return Ok(None),
                    }
                    continue;
                }
            };
            return self.hand_out(batch).map(Some);
        }
    }

    fn hand_out(&mut self, batch: SentBatch) -> Result<FindingBatch> {
        let SentBatch { range, findings, reached } = batch;
        let Some(mut stretch) = self.left_of(range) else {
            return Err(Error::new(ErrorKind::Other, "a range was listed that is not in the book"));
        };
        if let Reached::Name(name) = &reached {
            stretch.until = Some(name.clone());
        }
        self.handed.insert(range, reached);
        Ok(FindingBatch { range: stretch, findings })
    }

    /// What of a range has not been handed out yet.
    fn left_of(&self, id: RangeId) -> Option<KeyRange> {
        let book = self.ranges.book();
        let bounds = book.bounds(id)?;
        match self.handed.get(&id) {
            None => Some(bounds.clone()),
            Some(Reached::Name(name)) => Some(bounds.remaining_after(name)),
            Some(Reached::End) => None,
        }
    }

    /// What has not been handed out yet: all of it when the scan begins, nothing once it has ended. Ascending.
    pub fn remaining(&self) -> Vec<KeyRange> {
        let ids: Vec<RangeId> = self.ranges.book().iter().map(|(id, _)| id).collect();
        let mut remaining: Vec<KeyRange> = ids.into_iter().filter_map(|id| self.left_of(id)).collect();
        remaining.sort_by(|a, b| a.after.cmp(&b.after));
        remaining
    }

    /// Where each range begins and ends now.
    pub fn ranges(&self) -> Vec<(RangeId, KeyRange)> {
        self.ranges.book().iter().map(|(id, bounds)| (id, bounds.clone())).collect()
    }

    /// Whether the error this scan ended with was a listing out of order, so that a new scan of the same route, which sorts, may
    /// come to its end. What this one found is then to be forgotten.
    pub fn may_start_over(&self) -> bool {
        self.began_in_order && self.route.lists_disordered()
    }

    /// How it has listed so far.
    pub fn report(&self) -> ListingReport {
        let remark = |habits: &crate::listing::ListingHabits| habits.remark().map(ToOwned::to_owned);
        ListingReport {
            ranges: self.ranges.book().len(),
            source: remark(&self.route.source_habits),
            destination: remark(&self.route.destination_habits),
        }
    }
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan")
            .field("route", &self.route)
            .field("ranges", &self.ranges)
            .finish_non_exhaustive()
    }
}
