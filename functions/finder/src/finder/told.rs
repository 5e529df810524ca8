//! Jobs for keys that a task was told, instead of listing its source.
//!
//! Owns: the counts, and a job for each key that needs one. Does not own: reading lists and inventories
//! ([`ferry_transfer::sightings`]). Invariant: no delete ever comes of it, since a key that nobody named may be at the source all the
//! same.

use std::sync::Arc;

use ferry_transfer::job::{Job, Message};
use ferry_transfer::key_source::KeyRow;
use ferry_transfer::queue::OutgoingMessage;
use ferry_transfer::sightings::Sighting;
use ferry_transfer::{Error, ErrorKind, Result, Route, RunId};
use futures::TryStreamExt as _;
use futures::stream::BoxStream;
use tokio::time::Instant;

use super::{Finder, ScanProgress, ScanReport, job};

impl Finder {
    /// Enqueues what is to be done about each key.
    pub(super) async fn enqueue_told(
        &self,
        route: &Arc<Route>,
        run: &RunId,
        mut told: BoxStream<'static, Result<Sighting>>,
        deadline: Option<Instant>,
        progress: &ScanProgress,
    ) -> Result<ScanReport> {
        let mut report = ScanReport::default();
        let mut outbox = self.outbox();
        while let Some(sighting) = told.try_next().await? {
            let jobs = match sighting {
                Sighting::Compared(finding) => report.take(finding, route, run),
                Sighting::Named(row) => report.take_named(row, route, run).into_iter().collect(),
            };
            for job in jobs {
                report.enqueued += 1;
                report.enqueued_bytes += job.size.unwrap_or(0);
                outbox.send(OutgoingMessage::new(Message::Object(job).to_json())).await?;
            }
            report.show(progress);
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "the list of keys is longer than one invocation can read: cut it into several, or run the task \
                     with the ferry program",
                ));
            }
        }
        outbox.finish().await?;
        Ok(report)
    }
}

impl ScanReport {
    fn take_named(&mut self, row: KeyRow, route: &Route, run: &RunId) -> Option<Job> {
        // A key outside the task's prefix is not left out but wrong; its job fails and says so.
        let is_under = row.key.strip_prefix(&route.task.source.prefix).is_some();
        if is_under && !route.selects_key(&row.key) {
            self.excluded += 1;
            return None;
        }
        self.found += 1;
        self.found_bytes += row.size.unwrap_or(0);
        Some(Job { size: row.size, etag: row.etag, version_id: row.version_id, ..job(route, run, row.key) })
    }
}
