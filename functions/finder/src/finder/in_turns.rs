//! A scan that many invocations share, each as far as its time reaches.
//!
//! Owns: which names an invocation is to compare, what it sends on, and the deletes, which begin when all names have been compared.
//! Does not own: what is remembered between invocations ([`ferry_transfer::scan_ledger`]). Invariants: what is left is on the queue before
//! what is done is written down, so a killed invocation loses nothing but time; a delete is written down before it is sent, so a killed one
//! leaves at most one step of them to the next run, and no delivery, however often, makes them more than were counted.

use std::sync::Arc;

use ferry_transfer::checkpoint::TaskDigest;
use ferry_transfer::job::{Message, ScanJob};
use ferry_transfer::queue::OutgoingMessage;
use ferry_transfer::scan::{Finding, Scan};
use ferry_transfer::scan_ledger::{DeletePass, DeletesUnderWay, Invocation, ScanLedger, ScanRecord};
use ferry_transfer::state::StateCondition;
use ferry_transfer::task::{DeleteLimit, Deletes};
use ferry_transfer::versions::Versions;
use ferry_transfer::{Error, ErrorKind, KeyRange, Result, Route, RunId, RunRecord};
use tokio::time::Instant;

use super::{DeletePlan, Finder, RangeCounts, ScanProgress, ScanReport, Scope, delete_job};

/// Deletes written down and sent at once.
const DELETES_A_STEP: usize = 1_000;

impl Finder {
    /// Scans what of the job's range nobody has compared yet. What is left goes back on the queue; where nothing is, the deletes do.
    pub(crate) async fn scan_and_continue(
        &self,
        route: &Arc<Route>,
        run: &RunId,
        scan: &ScanJob,
        stop: Option<Instant>,
    ) -> Result<ScanReport> {
        let by = Invocation::new(self.clock.as_ref());
        let turn = Turn { finder: self, route, run, scan, stop, by };
        let Some(ledger) = self.ledger(route, run)? else {
            let mut report = turn.compare(&Scope::of(&scan.range)).await?;
            report.is_complete = scan.range == KeyRange::ALL && report.remaining.is_empty();
            return Ok(report);
        };
        if scan.range == KeyRange::ALL {
            self.remember(route, run).await?;
        }
        let mut record = ledger.read().await?;
        let mut report = ScanReport::default();
        let todo = record.left_of(&scan.range);
        if !todo.is_empty() {
            report = turn.compare(&Scope::Part(todo)).await?;
            let again;
            (record, again) = ledger.note(&report.compared, route.lists_disordered()).await?;
            turn.send_on(&again).await?;
            report.is_complete = is_complete(route, &record);
        }
        if let Deletes::Mirror(limit) = route.task.deletes {
            report.deletes = if is_complete(route, &record) {
                turn.delete(&ledger, &record, limit).await?
            } else if record.counts().extra > 0 {
                DeletePlan::NotWholeKeyspace
            } else {
                DeletePlan::Nothing
            };
        }
        Ok(report)
    }

    /// Writes down which task the run is of, once.
    async fn remember(&self, route: &Route, run: &RunId) -> Result<()> {
        let Some(state) = &self.state else { return Ok(()) };
        let record =
            RunRecord::begin(run.clone(), route.task.clone(), env!("CARGO_PKG_VERSION"), self.clock.now());
        let bytes = serde_json::to_vec(&record)
            .map_err(|error| Error::new(ErrorKind::Other, "a run cannot be written down").caused_by(error))?;
        match state.write(&RunRecord::state_name(run)?, bytes.into(), StateCondition::Absent).await {
            Err(error) if error.kind() != ErrorKind::PreconditionFailed => Err(error),
            _ => Ok(()),
        }
    }

    /// `None` where nothing is remembered, and for tasks that compare nothing here.
    fn ledger(&self, route: &Route, run: &RunId) -> Result<Option<ScanLedger>> {
        let compares = route.task.versions == Versions::Latest && route.task.keys.is_listed();
        match &self.state {
            Some(state) if compares => {
                let task = TaskDigest::of(&route.task, &[])?;
                Ok(Some(ScanLedger::new(Arc::clone(state), run, task)?))
            }
            _ => Ok(None),
        }
    }
}

/// One invocation's share of a run's scan.
struct Turn<'a> {
    finder: &'a Finder,
    route: &'a Arc<Route>,
    run: &'a RunId,
    scan: &'a ScanJob,
    stop: Option<Instant>,
    by: Invocation,
}

impl Turn<'_> {
    fn is_late(&self) -> bool {
        self.stop.is_some_and(|stop| Instant::now() >= stop)
    }

    async fn compare(&self, scope: &Scope) -> Result<ScanReport> {
        let report =
            self.finder.scan(self.route, self.run, scope, self.stop, &ScanProgress::default()).await?;
        self.send_on(&report.remaining).await?;
        Ok(report)
    }

    async fn send_on(&self, ranges: &[KeyRange]) -> Result<()> {
        for range in ranges {
            let rest = Message::Scan(ScanJob {
                task: self.scan.task.clone(),
                run: Some(self.run.as_str().to_owned()),
                range: range.clone(),
            });
            let results = self.finder.scans.send_batch(vec![OutgoingMessage::new(rest.to_json())]).await?;
            results.into_iter().collect::<Result<()>>()?;
        }
        Ok(())
    }

    /// Enqueues deletes from where the run has got to.
    async fn delete(
        &self,
        ledger: &ScanLedger,
        record: &ScanRecord,
        limit: DeleteLimit,
    ) -> Result<DeletePlan> {
        let RangeCounts { held, extra, .. } = record.counts();
        match record.deletes() {
            DeletePass::NotBegun if extra == 0 => Ok(DeletePlan::Nothing),
            DeletePass::NotBegun if record.is_disordered() || self.route.lists_disordered() => {
                Ok(DeletePlan::Disordered)
            }
            DeletePass::NotBegun if !limit.allows(extra, held) => {
                Ok(DeletePlan::Refused { planned: extra, held, limit: limit.to_string() })
            }
            DeletePass::NotBegun => {
                let begun = DeletesUnderWay { through: None, planned: 0, at_most: extra, by: self.by };
                if ledger.step(&DeletePass::NotBegun, &DeletePass::UnderWay(begun.clone())).await? {
                    self.go_on_deleting(ledger, begun).await
                } else {
                    Ok(DeletePlan::Elsewhere)
                }
            }
            DeletePass::UnderWay(at) => self.go_on_deleting(ledger, at.clone()).await,
            DeletePass::Ended { planned, .. } => Ok(DeletePlan::Enqueued(*planned)),
        }
    }

    async fn go_on_deleting(&self, ledger: &ScanLedger, mut at: DeletesUnderWay) -> Result<DeletePlan> {
        // In order, so that one name says how far it has got.
        let rest = KeyRange { after: at.through.clone(), until: None };
        let mut listing = Scan::in_order(Arc::clone(self.route), &rest);
        let mut waiting = Vec::new();
        loop {
            let (findings, through) = match listing.next_batch().await? {
                Some(batch) => (batch.findings, batch.range.until),
                None => (Vec::new(), None),
            };
            let jobs = findings.into_iter().filter_map(|finding| match finding {
                Finding::Extra(entry) => delete_job(self.route, self.run, entry),
                _ => None,
            });
            waiting.extend(jobs);
            // Only the last stretch of names has no end.
            if through.is_some() && waiting.len() < DELETES_A_STEP && !self.is_late() {
                continue;
            }
            let room = usize::try_from(at.at_most - at.planned).unwrap_or(usize::MAX);
            let is_over = through.is_none() || waiting.len() > room;
            if waiting.len() > room {
                tracing::warn!(
                    at.at_most,
                    "more objects turned extra than were counted; they are left to the next run"
                );
                waiting.truncate(room);
            }
            let planned = at.planned + waiting.len() as u64;
            let next = DeletesUnderWay { through, planned, at_most: at.at_most, by: self.by };
            let step = if is_over {
                DeletePass::Ended { planned, by: self.by }
            } else {
                DeletePass::UnderWay(next.clone())
            };
            if !ledger.step(&DeletePass::UnderWay(at), &step).await? {
                return Ok(DeletePlan::Elsewhere);
            }
            let mut outbox = self.finder.outbox();
            for job in waiting.drain(..) {
                outbox.send(OutgoingMessage::new(Message::Object(job).to_json())).await?;
            }
            outbox.finish().await?;
            if is_over {
                return Ok(DeletePlan::Enqueued(planned));
            }
            if self.is_late() {
                self.send_on(&[KeyRange { after: next.through, until: None }]).await?;
                return Ok(DeletePlan::Elsewhere);
            }
            at = next;
        }
    }
}

/// Whether every name that the task is about has been compared.
fn is_complete(route: &Route, record: &ScanRecord) -> bool {
    record.left_of(&KeyRange::ALL).iter().all(|left| route.ranges_within(left).is_empty())
}
