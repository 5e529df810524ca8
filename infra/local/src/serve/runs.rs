//! Runs of tasks: begun, under way, and gone on with after a restart.
//!
//! Owns: that a task has one run at a time, and what is told of one under way. Does not own: the run itself ([`crate::engine`]), nor what it
//! leaves behind ([`crate::kept_run`]). Invariant: a run that was begun and has not ended is gone on with by the next process.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ferry_finder::ScanProgress;
use ferry_transfer::checkpoint::TaskDigest;
use ferry_transfer::copy::CopySettings;
use ferry_transfer::history::History;
use ferry_transfer::metric::{Lag, Measures, Metric};
use ferry_transfer::state::{DirectoryState, StateCondition, StateName, StateStore as _};
use ferry_transfer::{Clock as _, Error, ErrorKind, RunId, RunOutcome, RunRecord, SystemClock};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::tasks::{Pause, Shelved, TaskShelf};
use crate::args::Resume;
use crate::checkpoints::{self, Resumable, Stored};
use crate::engine::Run;
use crate::kept_run::KeptRun;
use crate::report::Report;
use crate::tally::Tally;

/// See the module.
#[derive(Debug)]
pub(crate) struct Runs {
    shelf: Arc<TaskShelf>,
    state: DirectoryState,
    remembered: u16,
    measures: Arc<Measures>,
    under_way: Mutex<HashMap<String, UnderWay>>,
    /// When each task's last run began, of this process or before.
    began: tokio::sync::Mutex<HashMap<String, OffsetDateTime>>,
}

/// A run under way.
#[derive(Debug, Clone)]
struct UnderWay {
    run: RunId,
    began: OffsetDateTime,
    progress: Arc<ScanProgress>,
    tally: Arc<Tally>,
}

/// How far a run is.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Progress {
    /// Objects listed at the source so far.
    pub(crate) found: u64,
    /// Jobs made so far.
    pub(crate) jobs: u64,
    /// Of those, the ones that have not ended.
    pub(crate) jobs_left: u64,
    pub(crate) failed: u64,
    pub(crate) copied_bytes: u64,
    pub(crate) seconds: f64,
    /// When the jobs that are known will have ended at this rate; `None` while nothing has.
    pub(crate) seconds_left: Option<f64>,
}

impl UnderWay {
    fn progress(&self) -> Progress {
        let (settled, copied_bytes, failed) = self.tally.settled();
        let jobs = self.progress.enqueued.load(Relaxed);
        let jobs_left = jobs.saturating_sub(settled);
        let seconds = (SystemClock.now() - self.began).as_seconds_f64();
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let seconds_left = (settled > 0).then(|| seconds / settled as f64 * jobs_left as f64);
        Progress {
            found: self.progress.found.load(Relaxed),
            jobs,
            jobs_left,
            failed,
            copied_bytes,
            seconds,
            seconds_left,
        }
    }
}

impl Runs {
    pub(crate) fn new(
        shelf: Arc<TaskShelf>,
        state: DirectoryState,
        remembered: u16,
        measures: Arc<Measures>,
    ) -> Self {
        let (under_way, began) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { shelf, state, remembered, measures, under_way, began }
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<String, UnderWay>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    pub(crate) fn active(&self) -> usize {
        self.under_way().len()
    }

    /// How far a run under way is.
    pub(crate) fn progress(&self, run: &RunId) -> Option<Progress> {
        self.under_way().values().find(|under_way| under_way.run == *run).map(UnderWay::progress)
    }

    /// The run of a task that is under way.
    pub(crate) fn of_task(&self, name: &str) -> Option<RunId> {
        self.under_way().get(name).map(|under_way| under_way.run.clone())
    }

    /// When the last run of a task began.
    pub(crate) async fn last_began(&self, name: &str) -> Option<OffsetDateTime> {
        let mut began = self.began.lock().await;
        if let Some(began) = began.get(name) {
            return Some(*began);
        }
        // Written down by itself, since runs are remembered for a while only.
        let written = match began_name(name) {
            Ok(place) => self.state.read(&place).await.ok().flatten(),
            Err(_) => None,
        };
        let written = written.and_then(|stored| {
            OffsetDateTime::parse(std::str::from_utf8(&stored.bytes).ok()?.trim(), &Rfc3339).ok()
        });
        let last = match written {
            Some(written) => Some(written),
            None => self.last(name).await.map(|record| record.started),
        };
        if let Some(last) = last {
            began.insert(name.to_owned(), last);
        }
        last
    }

    /// Writes down when a task's last run began. Where that fails, the run's own record tells, for as long as it is kept.
    async fn remember(&self, name: &str, now: OffsetDateTime) {
        let written = async {
            let text = now.format(&Rfc3339).unwrap_or_default();
            self.state.write(&began_name(name)?, text.into(), StateCondition::None).await
        };
        if let Err(error) = written.await {
            tracing::warn!(task = name, error = %error.chain(), "it is not written down when the run began");
        }
    }

    /// The last run of a task that looked at its stores, as it was written down. What the notifications of a task left is no run of it.
    async fn last(&self, name: &str) -> Option<RunRecord> {
        let history = History::of(&self.state);
        for run in history.runs().await.unwrap_or_default() {
            if let Ok(Some(record)) = history.record(&run).await
                && record.task.name == name
                && !super::desk::is_desk(&record)
            {
                return Some(record);
            }
        }
        None
    }

    /// Begins a run of a task; `PreconditionFailed` where one is under way.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        name: &str,
        work: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<RunId, Error> {
        self.begin_from(name, None, work, stop).await
    }

    /// Goes on with what an earlier process left.
    pub(crate) async fn begin_after_restart(self: &Arc<Self>, work: &TaskTracker, stop: &CancellationToken) {
        let Ok(tasks) = self.shelf.all() else { return };
        for (name, shelved) in tasks {
            // A run that was cut short is gone on with when its task is resumed and due, or by hand.
            let Ok(Shelved { state: Pause::Active, .. }) = shelved else { continue };
            let Some(record) = self.last(&name).await else { continue };
            if matches!(record.outcome, RunOutcome::Unfinished | RunOutcome::Interrupted) {
                tracing::info!(task = name, run = %record.run, "going on with a run that was cut short");
                if let Err(error) = self.begin_from(&name, Some(record.run), work, stop).await {
                    tracing::error!(task = name, error = %error.chain(), "the run cannot be gone on with");
                }
            }
        }
    }

    async fn begin_from(
        self: &Arc<Self>,
        name: &str,
        resume: Option<RunId>,
        work: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<RunId, Error> {
        // Held until the run is known: two who ask at once begin one.
        let mut began = self.began.lock().await;
        if let Some(run) = self.of_task(name) {
            let message = format!("run {run} of task {name} is still under way");
            return Err(Error::new(ErrorKind::PreconditionFailed, message));
        }
        let shelved = self.shelf.get(name)?;
        let task = shelved.ok_or_else(|| no_task(name))?.task;
        let ends = self.shelf.connect(&task).await?;
        let digest = TaskDigest::of(&task, &ends.endpoints())?;
        let stored = match resume {
            Some(run) => self.stored(&run, &task, &digest).await,
            None => None,
        };
        let mut run = Run::new(ends, CopySettings::default());
        run.add_receipts(Arc::clone(&self.measures) as _);
        let begun = KeptRun::begin(run, self.state.clone(), digest, stored, self.remembered).await;
        let (run, kept) = begun.map_err(of_anyhow)?;
        let id = run.id.clone();
        let now = SystemClock.now();
        began.insert(name.to_owned(), now);
        self.remember(name, now).await;
        let under_way = UnderWay {
            run: id.clone(),
            began: now,
            progress: Arc::clone(&run.progress),
            tally: Arc::clone(&run.tally),
        };
        self.under_way().insert(name.to_owned(), under_way);
        work.spawn(Arc::clone(self).drive(name.to_owned(), run, kept, stop.clone()));
        Ok(id)
    }

    /// The checkpoint of a run, where its task still is about the same objects.
    async fn stored(
        &self,
        run: &RunId,
        task: &ferry_transfer::task::Task,
        digest: &TaskDigest,
    ) -> Option<Stored> {
        match checkpoints::find(&self.state, &Resume::Run(run.clone()), task, digest).await {
            Ok(Resumable::Run(stored)) => Some(stored),
            Ok(Resumable::Nothing | Resumable::OtherTask(_)) => None,
            Err(error) => {
                tracing::warn!(%run, error = format!("{error:#}"), "the run is begun anew");
                None
            }
        }
    }

    async fn drive(self: Arc<Self>, name: String, run: Run, kept: KeptRun, stop: CancellationToken) {
        let _over = Over { runs: &self, name: &name };
        let told = run.stop_token();
        let finished = tokio::select! {
            finished = kept.drive(run.to_end()) => finished,
            never = async {
                stop.cancelled().await;
                told.cancel();
                std::future::pending::<std::convert::Infallible>().await
            } => match never {},
        };
        self.measures.add(Metric::PairsCompared, finished.scan.found);
        self.measures.add(Metric::JobsSent, finished.scan.enqueued);
        let requests = |reading: &ferry_transfer::store::metered::MeterReading| -> u64 {
            reading.requests.values().sum()
        };
        self.measures.add(Metric::Requests, requests(&finished.source) + requests(&finished.destination));
        self.measures.add(Metric::Throttles, finished.source.throttled + finished.destination.throttled);
        let task = run.ends.route.task.clone();
        let report = Report {
            resumed: kept.resumed.clone(),
            ..Report::new(finished, &task.source, &task.destination)
        };
        let outcome = report.outcome();
        if outcome == RunOutcome::Done {
            self.measures.add(Metric::ScansCompleted, 1);
            if let Some(began) = run.id.began() {
                let lag = (SystemClock.now() - began).try_into().unwrap_or_default();
                self.measures.add_lag(Lag::Scan, lag);
            }
        }
        if let Err(error) = kept.end(&report).await {
            tracing::error!(task = name, run = %run.id, error = format!("{error:#}"), "the run's end cannot be written down");
        }
        tracing::info!(task = name, run = %run.id, %outcome, copied = report.copied, failed = report.failed, "a run has ended");
    }
}

/// Takes a run off those that are under way, however it ends.
struct Over<'a> {
    runs: &'a Runs,
    name: &'a str,
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.runs.under_way().remove(self.name);
    }
}

fn began_name(task: &str) -> Result<StateName, Error> {
    StateName::new(format!("began/{task}"))
        .map_err(|bad| Error::new(ErrorKind::InvalidInput, "no name of a task").caused_by(bad))
}

pub(super) fn no_task(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no task {name:?}"))
}

fn of_anyhow(error: anyhow::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => Error::new(ErrorKind::Other, ferry_transfer::chain(error.as_ref())),
    }
}
