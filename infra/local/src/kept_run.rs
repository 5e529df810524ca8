//! A run that is remembered in a state directory: what it leaves behind, and that a later process can go on with it.
//!
//! Owns: beginning its files in an order that a kill at any point survives, keeping its checkpoint while it runs, and its end. Does not
//! own: the run ([`crate::engine`]) nor the files ([`crate::run_log`], [`crate::checkpoints`]).

use std::future::Future;
use std::sync::Arc;

use anyhow::Result;
use ferry_transfer::checkpoint::{Checkpoint, Coverage, TaskDigest};
use ferry_transfer::state::DirectoryState;
use tokio_util::sync::CancellationToken;

use crate::checkpoints::{Keeper, Stored};
use crate::engine::{Finished, Run};
use crate::report::{Report, Resumed};
use crate::run_log::RunLog;

/// What a run leaves behind, while it runs. See the module.
#[derive(Debug)]
pub struct KeptRun {
    log: Arc<RunLog>,
    keeper: Keeper,
    /// What it had done with before, where it goes on.
    pub resumed: Option<Resumed>,
}

impl KeptRun {
    /// Begins the files of a run, or goes on with those of the run that was stored.
    pub async fn begin(
        mut run: Run,
        state: DirectoryState,
        digest: TaskDigest,
        stored: Option<Stored>,
        keep_runs: u16,
    ) -> Result<(Run, Self)> {
        let resumed = stored.as_ref().map(|stored| Resumed { names: stored.checkpoint.names });
        if let Some(Stored { checkpoint, .. }) = &stored {
            run.id = checkpoint.run.clone();
        }
        let start = stored.as_ref().map(|stored| stored.checkpoint.clone());
        let coverage =
            Arc::new(Coverage::new(start.unwrap_or_else(|| Checkpoint::begin(run.id.clone(), digest))));
        let log = Arc::new(RunLog::open(state.clone(), &run.id, &run.ends.route.task, keep_runs).await?);
        let run = run.keeping(&log).covering(&coverage).remembering(Arc::new(state.clone()));
        let keeper = Keeper::begin(state, Arc::clone(&log), coverage, stored.as_ref()).await?;
        Ok((run, Self { log, keeper, resumed }))
    }

    /// Drives the run to its end, and keeps its checkpoint meanwhile.
    pub async fn drive(&self, to_end: impl Future<Output = Finished>) -> Finished {
        let ended = CancellationToken::new();
        let driven = async {
            let finished = to_end.await;
            ended.cancel();
            finished
        };
        tokio::join!(driven, self.keeper.keep(&ended)).0
    }

    /// Writes down how it ended.
    pub async fn end(&self, report: &Report) -> Result<()> {
        self.log.end(report.outcome(), serde_json::to_value(report)?).await?;
        Ok(self.keeper.end(report.outcome()).await?)
    }
}
