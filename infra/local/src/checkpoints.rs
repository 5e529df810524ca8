//! The checkpoints of runs in the state directory: which run is gone on with, and keeping its checkpoint.
//!
//! Owns: the file `checkpoint/scan.json` of `runs/RUN`, and the choice that `--resume` makes. Does not own: what is covered
//! ([`ferry_transfer::checkpoint`]). Invariants: a checkpoint never says more than the receipts on disk do; a run that ended well has
//! none; a run is gone on with only by the same task, and only if no later one between its two locations ended well.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use ferry_transfer::checkpoint::{Checkpoint, Coverage, TaskDigest};
use ferry_transfer::history::History;
use ferry_transfer::state::{DirectoryState, StateCondition, StateStore as _, StateTag};
use ferry_transfer::task::Task;
use ferry_transfer::{ErrorKind, RunId, RunOutcome};
use tokio::sync::Mutex;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::args::Resume;
use crate::exit::UsageError;
use crate::run_log::RunLog;

/// What is listed and settled within it is done again after a kill.
const EVERY: Duration = Duration::from_secs(2);

/// What there is to go on with.
#[derive(Debug)]
pub enum Resumable {
    /// This.
    Run(Stored),
    /// The last run between the two locations ended well, or there was none.
    Nothing,
    /// The last run between the two locations did not end well, and was about other objects or followed other rules.
    OtherTask(RunId),
}

/// A checkpoint as it was read.
#[derive(Debug)]
pub struct Stored {
    /// What it says.
    pub checkpoint: Checkpoint,
    tag: StateTag,
}

/// Finds the run to go on with.
pub async fn find(
    state: &DirectoryState,
    resume: &Resume,
    task: &Task,
    digest: &TaskDigest,
) -> Result<Resumable> {
    match resume {
        Resume::Run(run) => match read(state, run).await? {
            Some(stored) if stored.checkpoint.task == *digest => Ok(Resumable::Run(stored)),
            Some(_) => Err(UsageError(format!(
                "run {run} cannot be gone on with, since it is of another task: the locations, the keys, the selection, \
                 the names or the rules of comparing and writing differ; `ferry runs {run}` shows them, and without \
                 --resume every name is looked at"
            ))
            .into()),
            None => Err(UsageError(format!(
                "run {run} left no checkpoint to go on with: it ended well, or is not remembered here; \
                 `ferry runs` lists those that are"
            ))
            .into()),
        },
        Resume::Latest => {
            let history = History::of(state);
            for run in history.runs().await? {
                let Some(record) = history.record(&run).await? else { continue };
                if (&record.task.source, &record.task.destination) != (&task.source, &task.destination) {
                    continue;
                }
                if record.outcome == RunOutcome::Done {
                    return Ok(Resumable::Nothing);
                }
                let Some(stored) = read(state, &run).await? else { continue };
                return Ok(if stored.checkpoint.task == *digest {
                    Resumable::Run(stored)
                } else {
                    Resumable::OtherTask(run)
                });
            }
            Ok(Resumable::Nothing)
        }
    }
}

async fn read(state: &DirectoryState, run: &RunId) -> Result<Option<Stored>> {
    let name = Checkpoint::state_name(run)?;
    let Some(stored) = state.read(&name).await? else { return Ok(None) };
    match Checkpoint::of_run(&stored.bytes, run) {
        Ok(checkpoint) => Ok(Some(Stored { checkpoint, tag: stored.tag })),
        Err(error) => Err(UsageError(format!(
            "the checkpoint {} cannot be gone on with: {}; run without --resume, which looks at every name",
            state.path(&name).display(),
            error.chain()
        ))
        .into()),
    }
}

/// Keeps the checkpoint of one run.
#[derive(Debug)]
pub struct Keeper {
    state: DirectoryState,
    log: Arc<RunLog>,
    coverage: Arc<Coverage>,
    /// Of the last writing; `None` before the first.
    tag: Mutex<Option<StateTag>>,
}

impl Keeper {
    /// Of a run that begins, or goes on with what was stored.
    pub async fn begin(
        state: DirectoryState,
        log: Arc<RunLog>,
        coverage: Arc<Coverage>,
        stored: Option<&Stored>,
    ) -> ferry_transfer::Result<Self> {
        let tag = Mutex::new(stored.map(|stored| stored.tag.clone()));
        let keeper = Self { state, log, coverage, tag };
        keeper.write(&keeper.coverage.checkpoint()).await?;
        Ok(keeper)
    }

    /// Writes it down when it has changed, until the run has ended.
    pub async fn keep(&self, ended: &CancellationToken) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut written = None;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = ended.cancelled() => return,
            }
            let now = self.coverage.checkpoint();
            if written.as_ref() == Some(&now) {
                continue;
            }
            match self.write(&now).await {
                Ok(()) => written = Some(now),
                // Somebody takes the state for their own: what they wrote is not this process's to replace.
                Err(error) if error.kind() == ErrorKind::PreconditionFailed => {
                    tracing::error!(error = %error.chain(), "the checkpoint is no longer kept");
                    return;
                }
                Err(error) => {
                    tracing::warn!(error = %error.chain(), "the checkpoint could not be written");
                }
            }
        }
    }

    /// Takes it away after a run that ended well; else writes the last one.
    pub async fn end(&self, outcome: RunOutcome) -> ferry_transfer::Result<()> {
        let checkpoint = self.coverage.checkpoint();
        match outcome {
            RunOutcome::Done => self.state.remove(&Checkpoint::state_name(&checkpoint.run)?).await,
            RunOutcome::Unfinished | RunOutcome::Failed | RunOutcome::Refused | RunOutcome::Interrupted => {
                self.write(&checkpoint).await
            }
        }
    }

    async fn write(&self, checkpoint: &Checkpoint) -> ferry_transfer::Result<()> {
        self.log.sync_receipts()?;
        let name = Checkpoint::state_name(&checkpoint.run)?;
        let bytes = Bytes::from(checkpoint.to_bytes()?);
        let mut tag = self.tag.lock().await;
        let condition = tag.clone().map_or(StateCondition::Absent, StateCondition::Matches);
        *tag = Some(self.state.write(&name, bytes, condition).await?);
        Ok(())
    }
}
