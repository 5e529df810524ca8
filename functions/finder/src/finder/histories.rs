//! A job for every key that has a history, where a task is about all versions.
//!
//! Owns: the counts, and one job a key. Does not own: whether there is anything to do, which only the job finds out: a listing of
//! versions for each key on either side, in every run. Invariant: a key behind a delete marker gets its job like any other, and no
//! delete ever comes of it.

use std::sync::Arc;

use ferry_transfer::job::Message;
use ferry_transfer::queue::OutgoingMessage;
use ferry_transfer::versions::{ensure_kept, keys};
use ferry_transfer::{KeyRange, Result, Route, RunId};
use futures::TryStreamExt as _;
use tokio::time::Instant;

use super::{Finder, ScanProgress, ScanReport, job};

impl Finder {
    /// Enqueues the keys of ranges. Stops at the deadline and reports what is left.
    pub(super) async fn enqueue_histories(
        &self,
        route: &Arc<Route>,
        run: &RunId,
        ranges: &[KeyRange],
        deadline: Option<Instant>,
        progress: &ScanProgress,
    ) -> Result<ScanReport> {
        ensure_kept(route).await?;
        let mut report = ScanReport::default();
        let mut outbox = self.outbox();
        let mut ranges =
            ranges.iter().flat_map(|range| route.ranges_within(range)).collect::<Vec<_>>().into_iter();
        'ranges: while let Some(range) = ranges.next() {
            let mut listed = keys(route, range.clone());
            while let Some(found) = listed.try_next().await? {
                let name = route.name(&found.key)?.into_owned();
                if route.destination_key(&found.key).is_err() {
                    report.nameless += 1;
                } else if route.selects_key(&found.key) {
                    report.found += 1;
                    report.found_bytes += found.size_bytes;
                    report.enqueued += 1;
                    let job = Message::Object(job(route, run, found.key));
                    outbox.send(OutgoingMessage::new(job.to_json())).await?;
                } else {
                    report.excluded += 1;
                }
                report.show(progress);
                if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    report.remaining.push(KeyRange { after: Some(name), until: range.until });
                    report.remaining.extend(ranges);
                    break 'ranges;
                }
            }
        }
        outbox.finish().await?;
        Ok(report)
    }
}
