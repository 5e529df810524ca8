//! One scan: findings in, jobs out.
//!
//! Owns: which finding becomes which job, the counts, and rule 4 of deletes: no delete is planned before both listings have
//! ended cleanly over the whole keyspace and the plan has been checked against the task's limit. Invariants: memory does not
//! grow with the number of keys or deletes (the second look at the extra keys is a second listing, not a list); an
//! error of a listing or of the queue is an error of the scan.

mod histories;
mod in_turns;
mod told;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ferry_transfer::checkpoint::Coverage;
use ferry_transfer::compare::Evidence;
use ferry_transfer::job::{Action, Found, Job, Message, Origin, SeenAtDestination};
use ferry_transfer::key_source::Documents;
use ferry_transfer::metric::Measures;
use ferry_transfer::queue::OutgoingMessage;
use ferry_transfer::queue::outbox::Outbox;
use ferry_transfer::retry::Backoff;
use ferry_transfer::scan::{Finding, ListingReport, Scan};
use ferry_transfer::scan_ledger::{RangeCounts, Stretches};
use ferry_transfer::sightings::sightings;
use ferry_transfer::task::{DeleteLimit, Deletes};
use ferry_transfer::versions::Versions;
use ferry_transfer::{
    Clock, Entry, Error, ErrorKind, Key, KeyRange, Result, Route, Routes, RunId, SharedQueue, SharedState,
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// Finds what differs and enqueues it.
pub struct Finder {
    /// Where tasks are found.
    pub routes: Arc<dyn Routes>,
    /// Where jobs go.
    pub jobs: SharedQueue,
    /// Where what is left of a range goes when time is up.
    pub scans: SharedQueue,
    /// Where lists of keys are read from.
    pub documents: Arc<dyn Documents>,
    /// Time and chance.
    pub clock: Arc<dyn Clock>,
    /// Where it is remembered how far a scan of many invocations has come; without it, only an invocation that sees every name deletes.
    pub state: Option<SharedState>,
    /// How a failed send is repeated.
    pub backoff: Backoff,
    /// Counts what is compared and sent by invocations.
    pub measures: Arc<Measures>,
    /// Follows what is compared; only where it hears of the jobs' receipts too.
    pub coverage: Option<Arc<Coverage>>,
}

/// Counts that can be watched while a scan runs.
#[derive(Debug, Default)]
pub struct ScanProgress {
    /// Objects listed at the source.
    pub found: AtomicU64,
    /// Their bytes.
    pub found_bytes: AtomicU64,
    /// Of those, found to be the same at the destination.
    pub up_to_date: AtomicU64,
    /// Jobs on the queue.
    pub enqueued: AtomicU64,
    /// Bytes of the objects those jobs are to copy.
    pub enqueued_bytes: AtomicU64,
}

impl ScanProgress {
    /// What is known of a scan that did not come to its end.
    pub fn report(&self) -> ScanReport {
        ScanReport {
            found: self.found.load(Relaxed),
            found_bytes: self.found_bytes.load(Relaxed),
            up_to_date: self.up_to_date.load(Relaxed),
            enqueued: self.enqueued.load(Relaxed),
            enqueued_bytes: self.enqueued_bytes.load(Relaxed),
            ..ScanReport::default()
        }
    }
}

/// What a scan is to look at, as ranges of names that do not overlap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every name.
    All,
    /// What this run has not done with: together with what it has, every name.
    Rest(Vec<KeyRange>),
    /// No more than this.
    Part(Vec<KeyRange>),
}

impl Scope {
    /// Of one range.
    pub fn of(range: &KeyRange) -> Self {
        if *range == KeyRange::ALL { Self::All } else { Self::Part(vec![range.clone()]) }
    }

    fn ranges(&self) -> &[KeyRange] {
        match self {
            Self::All => &[KeyRange::ALL],
            Self::Rest(ranges) | Self::Part(ranges) => ranges,
        }
    }
}

/// What a scan found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanReport {
    /// Objects listed at the source.
    pub found: u64,
    /// Their bytes.
    pub found_bytes: u64,
    /// Objects listed at the destination.
    pub held: u64,
    /// At the source only.
    pub missing: u64,
    /// On both sides and different.
    pub different: u64,
    /// On both sides and the same.
    pub up_to_date: u64,
    /// Of those, by equal digests.
    pub up_to_date_by_etag: u64,
    /// At the destination only.
    pub extra: u64,
    /// Left out: the other side could not name them.
    pub nameless: u64,
    /// Left out by the task's selection.
    pub excluded: u64,
    /// Objects of the source that others would share a name with at the destination; their jobs fail and say so.
    pub contested: u64,
    /// Copy jobs on the queue.
    pub enqueued: u64,
    /// Bytes of the objects to copy.
    pub enqueued_bytes: u64,
    /// What became of the extra objects.
    pub deletes: DeletePlan,
    /// How both sides were listed.
    pub listing: ListingReport,
    /// What was compared, range by range.
    #[serde(skip)]
    pub compared: Stretches,
    /// Every name of the run has been compared, and this invocation compared the last of them.
    #[serde(skip)]
    pub is_complete: bool,
    /// What is left of the range because time was up.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remaining: Vec<KeyRange>,
}

/// What becomes of objects that are at the destination only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeletePlan {
    /// They stay: the task keeps them, or there are none.
    #[default]
    Nothing,
    /// They stay: this scan did not see the whole keyspace.
    NotWholeKeyspace,
    /// Not yet, or not all of them yet: another invocation goes on with them.
    Elsewhere,
    /// They stay: a side lists in no order, and such a listing proves too little.
    Disordered,
    /// They stay: the plan exceeds the task's limit.
    Refused {
        /// How many would have been deleted.
        planned: u64,
        /// Of how many.
        held: u64,
        /// The limit, as the task has it.
        limit: String,
    },
    /// So many delete jobs are on the queue.
    Enqueued(u64),
}

impl Finder {
    /// Scans some of a task's names. Stops at the deadline and reports what is left.
    pub async fn scan(
        &self,
        route: &Arc<Route>,
        run: &RunId,
        scope: &Scope,
        deadline: Option<Instant>,
        progress: &ScanProgress,
    ) -> Result<ScanReport> {
        let ranges = scope.ranges();
        if route.task.versions == Versions::All {
            return self.enqueue_histories(route, run, ranges, deadline, progress).await;
        }
        if let Some(told) = sightings(route, &self.documents) {
            return self.enqueue_told(route, run, told, deadline, progress).await;
        }
        let begin = || Scan::of_ranges(Arc::clone(route), ranges.iter().cloned());
        let mut scan = begin();
        let mut report = match self.find(&mut scan, route, run, deadline, progress).await {
            Err(_) if scan.may_start_over() => {
                // What was enqueued so far stays: a job asks the stores again.
                if let Some(coverage) = &self.coverage {
                    coverage.start_over();
                }
                scan = begin();
                self.find(&mut scan, route, run, deadline, progress).await?
            }
            found => found?,
        };
        report.listing = scan.report();
        if let Deletes::Mirror(limit) = route.task.deletes {
            report.deletes = self.deletes(route, run, limit, scope, &report).await?;
        }
        Ok(report)
    }

    /// What becomes of the extra objects, once the scan has ended.
    async fn deletes(
        &self,
        route: &Arc<Route>,
        run: &RunId,
        limit: DeleteLimit,
        scope: &Scope,
        report: &ScanReport,
    ) -> Result<DeletePlan> {
        let counts = match scope {
            Scope::All => report.counts(),
            Scope::Rest(_) if report.remaining.is_empty() => count_destination(route).await?,
            Scope::Rest(_) | Scope::Part(_) => {
                return Ok(match report.extra {
                    0 => DeletePlan::Nothing,
                    _ => DeletePlan::NotWholeKeyspace,
                });
            }
        };
        let RangeCounts { held, extra, .. } = counts;
        Ok(if extra == 0 {
            DeletePlan::Nothing
        } else if !report.remaining.is_empty() {
            DeletePlan::NotWholeKeyspace
        } else if route.lists_disordered() {
            DeletePlan::Disordered
        } else if limit.allows(extra, held) {
            self.plan_deletes(route, run, limit, held).await?
        } else {
            DeletePlan::Refused { planned: extra, held, limit: limit.to_string() }
        })
    }

    /// Makes jobs of a scan's findings until it ends or time is up.
    async fn find(
        &self,
        scan: &mut Scan,
        route: &Route,
        run: &RunId,
        deadline: Option<Instant>,
        progress: &ScanProgress,
    ) -> Result<ScanReport> {
        let mut report = ScanReport::default();
        let mut outbox = self.outbox();
        while let Some(batch) = scan.next_batch().await? {
            let names = batch.findings.len() as u64;
            let before = report.counts();
            let jobs: Vec<Job> =
                batch.findings.into_iter().flat_map(|finding| report.take(finding, route, run)).collect();
            let (jobs_sent, jobs_bytes) =
                (jobs.len() as u64, jobs.iter().map(|job| job.size.unwrap_or(0)).sum::<u64>());
            report.enqueued += jobs_sent;
            report.enqueued_bytes += jobs_bytes;
            report.compared.add(batch.range.clone(), report.counts() - before);
            if let Some(coverage) = &self.coverage {
                coverage.compared(batch.range, names, jobs.iter().map(|job| &job.key));
            }
            for job in jobs {
                outbox.send(OutgoingMessage::new(Message::Object(job).to_json())).await?;
            }
            report.show(progress);
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                break;
            }
        }
        outbox.finish().await?;
        report.remaining = scan.remaining();
        Ok(report)
    }

    /// Lists both sides again and enqueues a delete for every key that is still extra, never more than the limit allows.
    async fn plan_deletes(
        &self,
        route: &Arc<Route>,
        run: &RunId,
        limit: DeleteLimit,
        held: u64,
    ) -> Result<DeletePlan> {
        let mut outbox = self.outbox();
        let mut planned = 0;
        let mut scan = Scan::new(Arc::clone(route), &KeyRange::ALL);
        while let Some(finding) = scan.next().await? {
            let Finding::Extra(entry) = finding else { continue };
            let Some(job) = delete_job(route, run, entry) else { continue };
            planned += 1;
            if !limit.allows(planned, held) {
                let message = format!(
                    "more objects turned extra while deletes were planned: {planned} are over {limit}"
                );
                return Err(Error::new(ErrorKind::Other, message));
            }
            outbox.send(OutgoingMessage::new(Message::Object(job).to_json())).await?;
        }
        outbox.finish().await?;
        Ok(DeletePlan::Enqueued(planned))
    }

    fn outbox(&self) -> Outbox {
        Outbox::new(Arc::clone(&self.jobs), Arc::clone(&self.clock), self.backoff)
    }
}

/// Lists both sides as a whole to know what a plan of deletes would come to.
async fn count_destination(route: &Arc<Route>) -> Result<RangeCounts> {
    let mut counts = RangeCounts::default();
    let mut scan = Scan::new(Arc::clone(route), &KeyRange::ALL);
    while let Some(finding) = scan.next().await? {
        match finding {
            Finding::Different { .. } | Finding::Same { .. } => counts.held += 1,
            Finding::Extra(_) => {
                counts.held += 1;
                counts.extra += 1;
            }
            Finding::Missing(_) | Finding::Excluded(_) | Finding::Contested(_) | Finding::Nameless(_) => {}
        }
    }
    Ok(counts)
}

impl fmt::Debug for Finder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Finder")
            .field("routes", &self.routes)
            .field("jobs", &self.jobs)
            .finish_non_exhaustive()
    }
}

impl ScanReport {
    /// Counts a finding; the jobs that settle it, if it needs any.
    pub(crate) fn take(&mut self, finding: Finding, route: &Route, run: &RunId) -> Vec<Job> {
        let copy = match finding {
            Finding::Missing(source) => {
                self.found_one(&source);
                self.missing += 1;
                Some(copy_job(route, run, source, Some(SeenAtDestination::Absent), Found::Missing))
            }
            Finding::Different { source, destination, reason } => {
                self.found_one(&source);
                self.held += 1;
                self.different += 1;
                let seen = destination.etag.map(SeenAtDestination::Etag);
                Some(copy_job(route, run, source, seen, Found::Different(reason)))
            }
            Finding::Same { source, evidence, .. } => {
                self.found_one(&source);
                self.held += 1;
                self.up_to_date += 1;
                self.up_to_date_by_etag += u64::from(evidence == Evidence::Etag);
                None
            }
            Finding::Extra(_) => {
                self.held += 1;
                self.extra += 1;
                None
            }
            Finding::Nameless(_) => {
                self.nameless += 1;
                None
            }
            Finding::Excluded(_) => {
                self.excluded += 1;
                None
            }
            Finding::Contested(sources) => {
                self.contested += sources.len() as u64;
                for source in &sources {
                    self.found_one(source);
                }
                return sources
                    .into_iter()
                    .map(|source| copy_job(route, run, source, None, Found::Contested))
                    .collect();
            }
        };
        copy.into_iter().collect()
    }

    fn counts(&self) -> RangeCounts {
        RangeCounts {
            found: self.found,
            held: self.held,
            extra: self.extra,
            jobs: self.enqueued,
            jobs_bytes: self.enqueued_bytes,
        }
    }

    fn show(&self, progress: &ScanProgress) {
        progress.enqueued.store(self.enqueued, Relaxed);
        progress.enqueued_bytes.store(self.enqueued_bytes, Relaxed);
        progress.found.store(self.found, Relaxed);
        progress.found_bytes.store(self.found_bytes, Relaxed);
        progress.up_to_date.store(self.up_to_date, Relaxed);
    }

    fn found_one(&mut self, source: &Entry) {
        self.found += 1;
        self.found_bytes += source.size_bytes;
    }
}

fn job(route: &Route, run: &RunId, key: Key) -> Job {
    Job {
        task: Some(route.task.name.clone()),
        run: Some(run.as_str().to_owned()),
        origin: Some(Origin::Scan),
        ..Job::for_key(key)
    }
}

/// `None` where the task names nothing so.
pub(crate) fn delete_job(route: &Route, run: &RunId, extra: Entry) -> Option<Job> {
    let key = route.source_keys(&extra.key).into_iter().next()?;
    Some(Job {
        action: Action::Delete,
        destination: extra.etag.map(SeenAtDestination::Etag),
        found: Some(Found::Extra),
        ..job(route, run, key)
    })
}

fn copy_job(
    route: &Route,
    run: &RunId,
    source: Entry,
    destination: Option<SeenAtDestination>,
    found: Found,
) -> Job {
    Job {
        found: Some(found),
        size: Some(source.size_bytes),
        etag: source.etag,
        storage_class: source.storage_class,
        last_modified: source.last_modified,
        destination,
        ..job(route, run, source.key)
    }
}

#[cfg(test)]
mod tests;
