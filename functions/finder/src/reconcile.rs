//! Finds what events missed, one range of names after another, for as long as somebody asks for the next step.
//!
//! Owns: a step, what of a pass is remembered between steps, and the report of a pass. Does not own: when steps are taken, nor the jobs'
//! settlement. Invariants: jobs are on the queue before the place is written down, so a process that is killed loses nothing but time;
//! deletes begin when every name was compared by listings that ended cleanly and their count was checked against the task's limit, they
//! never come to more than were counted, and each is written down before it is sent; memory does not grow with the number of keys.

mod record;

use std::sync::Arc;
use std::time::Duration;

use ferry_transfer::checkpoint::TaskDigest;
use ferry_transfer::job::{Job, Message};
use ferry_transfer::latencies::Latencies;
use ferry_transfer::queue::OutgoingMessage;
use ferry_transfer::queue::outbox::Outbox;
use ferry_transfer::retry::Backoff;
use ferry_transfer::scan::{Finding, Scan};
use ferry_transfer::task::Deletes;
use ferry_transfer::versions::Versions;
use ferry_transfer::{Clock, Error, ErrorKind, KeyRange, Result, Route, RunId, SharedQueue, SharedState};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::finder::{DeletePlan, ScanReport, delete_job};
use record::{Ledger, Phase, Record};

/// Names that one step compares unless told otherwise: ten pages of either side.
pub const NAMES_A_STEP: u64 = 10_000;

/// Reconciles one task.
#[derive(Debug)]
pub struct Reconciler {
    /// The task, connected.
    pub route: Arc<Route>,
    /// Where jobs go.
    pub jobs: SharedQueue,
    /// Where it is remembered how far a pass has come.
    pub state: SharedState,
    /// Time and chance.
    pub clock: Arc<dyn Clock>,
    /// How a failed send is repeated.
    pub backoff: Backoff,
    /// About how many names one step compares.
    pub names_a_step: u64,
}

/// What one step did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The names that were looked at.
    pub range: KeyRange,
    /// What was found there.
    pub found: Divergence,
    /// Jobs on the queue.
    pub enqueued: u64,
    /// The report of the pass, where this was its last step.
    pub ended: Option<PassReport>,
}

/// How far the two sides are from each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Divergence {
    /// Objects at the source.
    pub at_source: u64,
    /// Objects at the destination.
    pub at_destination: u64,
    /// Objects that are at the source only.
    pub missing: u64,
    /// Objects that are on both sides and differ.
    pub different: u64,
    /// Objects that are at the destination only.
    pub extra: u64,
}

/// A pass over all names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassReport {
    /// Its name, by which its jobs and deletes are found.
    pub run: RunId,
    /// When it began.
    #[serde(with = "time::serde::rfc3339")]
    pub began: OffsetDateTime,
    /// When it ended.
    #[serde(with = "time::serde::rfc3339")]
    pub ended: OffsetDateTime,
    /// What it found.
    pub found: Divergence,
    /// How long ago the source took in what was missing or different: how far the destination was behind.
    pub behind: Latencies,
    /// What became of the extra objects.
    pub deletes: DeletePlan,
}

impl Divergence {
    /// Objects on which the two sides do not agree.
    pub fn total(&self) -> u64 {
        self.missing + self.different + self.extra
    }
}

impl std::ops::AddAssign for Divergence {
    fn add_assign(&mut self, other: Self) {
        self.at_source += other.at_source;
        self.at_destination += other.at_destination;
        self.missing += other.missing;
        self.different += other.different;
        self.extra += other.extra;
    }
}

impl From<&ScanReport> for Divergence {
    fn from(report: &ScanReport) -> Self {
        Self {
            at_source: report.found,
            at_destination: report.held,
            missing: report.missing,
            different: report.different,
            extra: report.extra,
        }
    }
}

/// Takes the next step of a task's reconciliation: goes on where the last one ended, whoever took it, and begins anew after a pass. Two
/// that step at once do no harm: one of them is told by an error of the kind `PreconditionFailed`.
pub async fn step(with: &Reconciler) -> Result<Step> {
    let compares = with.route.task.versions == Versions::Latest && with.route.task.keys.is_listed();
    if !compares {
        let message = "only a task that lists its source and copies latest versions can be reconciled";
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    let ledger = Ledger::new(Arc::clone(&with.state), &with.route.task.name)?;
    let task = TaskDigest::of(&with.route.task, &[])?;
    let (record, condition) = ledger.read(&task).await?;
    let record = record.unwrap_or_else(|| Record::begin(task, with.clock.as_ref(), None));
    let turn = Turn { with, ledger, condition };
    match record.phase.clone() {
        Phase::Comparing { through, extras, disordered } => {
            turn.compare(record, through, extras, disordered).await
        }
        Phase::Deleting { left, planned, at_most } => turn.delete(record, left, planned, at_most).await,
    }
}

/// The report of the last pass that came to its end; `None` before the first.
pub async fn last_pass(with: &Reconciler) -> Result<Option<PassReport>> {
    let ledger = Ledger::new(Arc::clone(&with.state), &with.route.task.name)?;
    let task = TaskDigest::of(&with.route.task, &[])?;
    Ok(ledger.read(&task).await?.0.and_then(|record| record.last))
}

/// One step under way.
struct Turn<'a> {
    with: &'a Reconciler,
    ledger: Ledger,
    condition: ferry_transfer::state::StateCondition,
}

/// What a stretch of names came to.
#[derive(Default)]
struct Stretch {
    report: ScanReport,
    behind: Latencies,
    /// How far it was looked at; `None` is to the end of all names.
    until: Option<String>,
}

impl Turn<'_> {
    async fn compare(
        self,
        mut record: Record,
        through: Option<String>,
        mut extras: Vec<KeyRange>,
        disordered: bool,
    ) -> Result<Step> {
        let rest = KeyRange { after: through, until: None };
        let stretch = match self.enqueue_copies(&rest, &record.run).await {
            // A side turned out to list in no order: the next look sorts it. What was enqueued so far stays.
            Err(_) if !disordered && self.with.route.lists_disordered() => {
                self.enqueue_copies(&rest, &record.run).await?
            }
            stretch => stretch?,
        };
        let found = Divergence::from(&stretch.report);
        let range = KeyRange { after: rest.after, until: stretch.until.clone() };
        record.found += found;
        record.behind.merge(&stretch.behind);
        if found.extra > 0 {
            record::push_bounded(&mut extras, range.clone());
        }
        let disordered = disordered || self.with.route.lists_disordered();
        let enqueued = stretch.report.enqueued;
        let plan = match stretch.until {
            Some(through) => {
                record.phase = Phase::Comparing { through: Some(through), extras, disordered };
                None
            }
            None => self.plan(&mut record, extras, disordered),
        };
        let ended = self.close(record, plan).await?;
        Ok(Step { range, found, enqueued, ended })
    }

    /// What becomes of the extra objects, now that all names have been compared; `None` where they are to be deleted.
    fn plan(&self, record: &mut Record, extras: Vec<KeyRange>, disordered: bool) -> Option<DeletePlan> {
        let Divergence { extra, at_destination: held, .. } = record.found;
        match self.with.route.task.deletes {
            _ if extra == 0 => Some(DeletePlan::Nothing),
            Deletes::Keep => Some(DeletePlan::Nothing),
            Deletes::Mirror(_) if disordered => Some(DeletePlan::Disordered),
            Deletes::Mirror(limit) if !limit.allows(extra, held) => {
                Some(DeletePlan::Refused { planned: extra, held, limit: limit.to_string() })
            }
            Deletes::Mirror(_) => {
                record.phase = Phase::Deleting { left: extras, planned: 0, at_most: extra };
                None
            }
        }
    }

    /// Makes jobs of what differs in about one step's names.
    async fn enqueue_copies(&self, rest: &KeyRange, run: &RunId) -> Result<Stretch> {
        let Reconciler { route, clock, names_a_step, .. } = self.with;
        let mut stretch = Stretch::default();
        let mut outbox = self.outbox();
        let mut names = 0;
        let mut scan = Scan::in_order(Arc::clone(route), rest);
        while let Some(batch) = scan.next_batch().await? {
            names += batch.findings.len() as u64;
            stretch.until = batch.range.until;
            for finding in batch.findings {
                for job in stretch.report.take(finding, route, run) {
                    if let Some(since) = job.last_modified {
                        stretch.behind.add(Duration::try_from(clock.now() - since).unwrap_or_default());
                    }
                    stretch.report.enqueued += 1;
                    outbox.send(message(job)).await?;
                }
            }
            // A side that has to be sorted would be listed as a whole once more by every further step.
            if names >= *names_a_step && stretch.until.is_some() && !route.lists_disordered() {
                outbox.finish().await?;
                return Ok(stretch);
            }
        }
        stretch.until = None;
        outbox.finish().await?;
        Ok(stretch)
    }

    /// Enqueues the deletes of one range that had extra objects, as far as they are still extra.
    async fn delete(
        self,
        mut record: Record,
        mut left: Vec<KeyRange>,
        planned: u64,
        at_most: u64,
    ) -> Result<Step> {
        let range = if left.is_empty() { None } else { Some(left.remove(0)) };
        let mut jobs = Vec::new();
        let mut found = Divergence::default();
        if let Some(range) = &range {
            let room = at_most - planned;
            let mut scan = Scan::in_order(Arc::clone(&self.with.route), range);
            while let Some(finding) = scan.next().await? {
                let Finding::Extra(entry) = finding else { continue };
                if jobs.len() as u64 == room {
                    tracing::warn!(
                        at_most,
                        "more objects turned extra than were counted; the next pass counts again"
                    );
                    break;
                }
                found.extra += 1;
                jobs.extend(delete_job(&self.with.route, &record.run, entry));
            }
        }
        let enqueued = jobs.len() as u64;
        let planned = planned + enqueued;
        let is_over = left.is_empty();
        record.phase = Phase::Deleting { left, planned, at_most };
        let outbox = self.outbox();
        let ended = self.close(record, is_over.then_some(DeletePlan::Enqueued(planned))).await?;
        send_all(outbox, jobs).await?;
        Ok(Step { range: range.unwrap_or_default(), found, enqueued, ended })
    }

    /// Writes down where the pass stands, or ends it.
    async fn close(self, mut record: Record, plan: Option<DeletePlan>) -> Result<Option<PassReport>> {
        let clock = self.with.clock.as_ref();
        let report = plan.map(|deletes| PassReport {
            run: record.run.clone(),
            began: record.began,
            ended: clock.now(),
            found: record.found,
            behind: record.behind.clone(),
            deletes,
        });
        if let Some(report) = &report {
            record = Record::begin(record.task, clock, Some(report.clone()));
        }
        self.ledger.write(&record, self.condition).await?;
        Ok(report)
    }

    fn outbox(&self) -> Outbox {
        let Reconciler { jobs, clock, backoff, .. } = self.with;
        Outbox::new(Arc::clone(jobs), Arc::clone(clock), *backoff)
    }
}

fn message(job: Job) -> OutgoingMessage {
    OutgoingMessage::new(Message::Object(job).to_json())
}

async fn send_all(mut outbox: Outbox, jobs: Vec<Job>) -> Result<()> {
    for job in jobs {
        outbox.send(message(job)).await?;
    }
    outbox.finish().await
}

#[cfg(test)]
mod tests;
