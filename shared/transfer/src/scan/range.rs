//! One range of a scan: both of its sides listed and merged.
//!
//! Owns: sending what is found to the scan's consumer in batches, and stopping where the range has been cut. Invariant: nothing behind
//! the range's end as it is *now* is sent, however much of it was listed before the cut.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Acquire, Ordering::Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{FutureExt as _, stream};
use tokio::sync::mpsc;

use crate::diff::{MergeJoin, Pair};
use crate::listing::ListingBounds;
use crate::ranges::{Assignment, PageSeen, RangeId, Ranges, Side};
use crate::route::Route;
use crate::source_listing::{self, ListedStream};
use crate::{Error, ErrorKind, Result};

use super::judge::Judge;
use super::{Finding, Reached, SentBatch};

/// Findings sent at once: a quarter of a page, so that workers begin before the next page is there.
const BATCH: usize = 256;

/// The book of ranges, shared by their listers.
#[derive(Debug)]
pub(super) struct SharedRanges {
    book: Mutex<Ranges>,
    /// Rises with every change of an end, so that listers look into the book only then.
    changes: AtomicU64,
}

/// The book in hand; whoever had it may have moved an end.
pub(super) struct Book<'a> {
    ranges: MutexGuard<'a, Ranges>,
    changes: &'a AtomicU64,
}

impl std::ops::Deref for Book<'_> {
    type Target = Ranges;

    fn deref(&self) -> &Ranges {
        &self.ranges
    }
}

impl std::ops::DerefMut for Book<'_> {
    fn deref_mut(&mut self) -> &mut Ranges {
        self.changes.fetch_add(1, Release);
        &mut self.ranges
    }
}

impl SharedRanges {
    pub(super) fn new(ranges: Ranges) -> Self {
        Self { book: Mutex::new(ranges), changes: AtomicU64::new(0) }
    }

    pub(super) fn book(&self) -> Book<'_> {
        Book { ranges: self.book.lock().unwrap_or_else(PoisonError::into_inner), changes: &self.changes }
    }
}

/// One side of a range, as its listing sees it.
#[derive(Debug)]
struct SideBounds {
    ranges: Arc<SharedRanges>,
    id: RangeId,
    side: Side,
    given_back: Arc<AtomicBool>,
}

impl ListingBounds for SideBounds {
    fn note_page(&self, page: PageSeen<'_>) -> Option<String> {
        let mut book = self.ranges.book();
        book.note_page(self.id, self.side, page);
        book.until(self.id).map(ToOwned::to_owned)
    }

    fn close(&self, until: Option<&str>) -> Result<(), Option<String>> {
        let mut book = self.ranges.book();
        if book.close_side(self.id, self.side, until) {
            return Ok(());
        }
        Err(book.until(self.id).map(ToOwned::to_owned))
    }

    fn begins_elsewhere(&self) -> bool {
        let given_back = self.given_back.load(Acquire) || self.ranges.book().give_back(self.id);
        self.given_back.store(given_back, Release);
        given_back
    }
}

/// One range being listed and compared. See the module.
pub(super) struct RangeScan {
    id: RangeId,
    ranges: Arc<SharedRanges>,
    judge: Arc<Judge>,
    join: MergeJoin<ListedStream, ListedStream>,
    /// Another lister has taken the range over: this one has found nothing and must not.
    given_back: Arc<AtomicBool>,
    until: Option<String>,
    /// What of [`SharedRanges::changes`] `until` is of.
    seen_change: Option<u64>,
}

impl RangeScan {
    pub(super) fn new(
        route: &Arc<Route>,
        ranges: &Arc<SharedRanges>,
        judge: &Arc<Judge>,
        assignment: Assignment,
    ) -> Self {
        let Assignment { id, range, empty } = assignment;
        let given_back = Arc::new(AtomicBool::new(false));
        let bounds = |side| {
            let (ranges, given_back) = (Arc::clone(ranges), Arc::clone(&given_back));
            Arc::new(SideBounds { ranges, id, side, given_back }) as Arc<dyn ListingBounds>
        };
        let [source_empty, destination_empty] = empty;
        let source: ListedStream = if source_empty {
            Box::pin(stream::empty())
        } else {
            source_listing::list(route, &range, route.clock.now(), &bounds(Side::Source))
        };
        let destination: ListedStream = if destination_empty {
            Box::pin(stream::empty())
        } else {
            source_listing::list_destination_within(route, &range, bounds(Side::Destination))
        };
        Self {
            id,
            ranges: Arc::clone(ranges),
            judge: Arc::clone(judge),
            join: MergeJoin::new(source, destination),
            given_back,
            until: None,
            seen_change: None,
        }
    }

    /// Lists to the range's end.
    pub(super) async fn run(mut self, sender: mpsc::Sender<SentBatch>) -> Result<()> {
        let mut outgoing =
            Outgoing { range: self.id, through: None, findings: Vec::with_capacity(BATCH), sender };
        loop {
            let pair = if let Some(pair) = self.join.next().now_or_never() {
                pair?
            } else {
                // A page is on its way: what was found so far is not held back for it.
                outgoing.send().await?;
                self.join.next().await?
            };
            if self.given_back.load(Acquire) {
                return Ok(());
            }
            let Some(pair) = pair else { break };
            let name = match &pair {
                Pair::SourceOnly(source) | Pair::Both { source, .. } => source.name(),
                Pair::DestinationOnly(destination) => destination.name(),
            };
            if self.is_past_end(name) {
                break;
            }
            outgoing.note(name);
            outgoing.findings.extend(self.judge.finding(pair).await?);
            if outgoing.findings.len() == BATCH {
                outgoing.send().await?;
            }
        }
        self.ranges.book().finish(self.id);
        outgoing.end().await
    }

    fn is_past_end(&mut self, relative: &str) -> bool {
        let change = self.ranges.changes.load(Acquire);
        if self.seen_change != Some(change) {
            self.until = self.ranges.book().until(self.id).map(ToOwned::to_owned);
            self.seen_change = Some(change);
        }
        self.until.as_deref().is_some_and(|until| relative > until)
    }
}

/// Findings on their way to the scan's consumer.
struct Outgoing {
    range: RangeId,
    /// The last name that was looked at. One buffer for all of them: most are never sent.
    through: Option<String>,
    findings: Vec<Finding>,
    sender: mpsc::Sender<SentBatch>,
}

impl Outgoing {
    fn note(&mut self, name: &str) {
        match &mut self.through {
            Some(through) => {
                through.clear();
                through.push_str(name);
            }
            None => self.through = Some(name.to_owned()),
        }
    }

    async fn send(&mut self) -> Result<()> {
        let Some(through) = self.through.clone().filter(|_| !self.findings.is_empty()) else {
            return Ok(());
        };
        let findings = std::mem::replace(&mut self.findings, Vec::with_capacity(BATCH));
        self.send_batch(findings, Reached::Name(through)).await
    }

    async fn end(mut self) -> Result<()> {
        let findings = std::mem::take(&mut self.findings);
        self.send_batch(findings, Reached::End).await
    }

    async fn send_batch(&mut self, findings: Vec<Finding>, reached: Reached) -> Result<()> {
        let nobody = |_closed| Error::new(ErrorKind::Cancelled, "nobody wants the findings");
        self.sender.send(SentBatch { range: self.range, findings, reached }).await.map_err(nobody)
    }
}
