//! `ferry reconcile`: what events missed, found and repaired, one range of keys after another.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ferry_cloud::one_store;
use ferry_finder::DeletePlan;
use ferry_finder::reconcile::{self, PassReport, Reconciler};
use ferry_transfer::copy::{Copier, CopySettings};
use ferry_transfer::deletion::StoredJournal;
use ferry_transfer::latencies::Latencies;
use ferry_transfer::queue::memory::{MemoryQueue, MemoryQueueConfig};
use ferry_transfer::receipt::{EachSink, ReceiptSink, StoredReceipts};
use ferry_transfer::retry::Backoff;
use ferry_transfer::task::Task;
use ferry_transfer::{Clock, Route, SharedState, SingleRoute, SystemClock};
use ferry_worker::Worker;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::args::{OutputArgs, ReconcileArgs, SideAccess, StoreArgs};
use crate::config::Config;
use crate::ends::{Ends, Side};
use crate::engine::{MAX_RECEIVE_COUNT, drain};
use crate::exit::{Exit, UsageError, print, say};
use crate::tally::{Counts, Tally};

/// Steps until enough passes have ended, or somebody stops it: the next one goes on from there.
pub async fn run(args: ReconcileArgs, output: &OutputArgs) -> Result<Exit> {
    let streams = args.concurrency.get() as usize;
    let task = read(&args.task)?;
    let ends = connect(task, &Config::load(&args.config)?, streams).await?;
    let state: SharedState = Arc::new(args.state.open()?);
    let stop = CancellationToken::new();
    let station = Station::new(&ends.route, &state, streams, args.keys, stop.clone());
    let interrupts = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            say("stopping after this range of keys; the next call goes on from there");
            stop.cancel();
        }
    });
    let ended = station.passes(&args, output).await;
    interrupts.abort();
    ended
}

fn read(file: &Path) -> Result<Task> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| UsageError(format!("the task {} cannot be read: {error}", file.display())))?;
    serde_saphyr::from_str(&text).map_err(|error| {
        UsageError(format!("the task {} is not as expected: {error}", file.display())).into()
    })
}

async fn connect(task: Task, config: &Config, streams: usize) -> Result<Ends> {
    let side = async |name: &str| {
        let side = Side::connect(config, name, StoreArgs::default(), SideAccess::default()).await;
        side.with_context(|| format!("store {name:?} of the task cannot be reached"))
    };
    let (source, destination) = (side(&task.source.store).await?, side(&task.destination.store).await?);
    let from = source.account.bucket(&task.source.bucket);
    let found = one_store::ends(&from, &destination.account.bucket(&task.destination.bucket)).await;
    Ends::join(task, streams, &source, &destination, found)
}

/// The reconciler, and workers that settle its jobs before it goes on.
struct Station {
    reconciler: Reconciler,
    jobs: Arc<MemoryQueue>,
    worker: Arc<Worker>,
    receipts: Arc<dyn ReceiptSink>,
    tally: Arc<Tally>,
    streams: usize,
    stop: CancellationToken,
}

impl Station {
    fn new(
        route: &Arc<Route>,
        state: &SharedState,
        streams: usize,
        keys: u64,
        stop: CancellationToken,
    ) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let jobs = MemoryQueue::new(MemoryQueueConfig::default());
        let tally = Arc::new(Tally::new(stop.clone()));
        let stored = StoredReceipts::new(Arc::clone(state), Arc::clone(&clock));
        let receipts: Arc<dyn ReceiptSink> =
            Arc::new(EachSink(vec![Arc::new(stored), Arc::clone(&tally) as Arc<dyn ReceiptSink>]));
        let copier = Copier::new(CopySettings { streams, ..CopySettings::default() }, Arc::clone(&clock));
        let worker = Worker {
            routes: Arc::new(SingleRoute(Arc::clone(route))),
            copier: Arc::new(copier.remembering(Arc::clone(state))),
            receipts: Arc::clone(&receipts),
            journal: Arc::new(StoredJournal::new(Arc::clone(state), Arc::clone(&clock))),
            // Its receipt says why, and the next pass finds it again.
            dead_letters: Some(MemoryQueue::new(MemoryQueueConfig::default())),
            deliveries: None,
            breaker: None,
            parking: None,
            max_receive_count: MAX_RECEIVE_COUNT,
            clock: Arc::clone(&clock),
        };
        let reconciler = Reconciler {
            route: Arc::clone(route),
            jobs: Arc::clone(&jobs) as _,
            state: Arc::clone(state),
            clock,
            backoff: Backoff::default(),
            names_a_step: keys,
        };
        Self { reconciler, jobs, worker: Arc::new(worker), receipts, tally, streams, stop }
    }

    async fn passes(&self, args: &ReconcileArgs, output: &OutputArgs) -> Result<Exit> {
        let mut passes = 0;
        while !self.stop.is_cancelled() {
            let step = reconcile::step(&self.reconciler).await?;
            drain(&self.worker, &self.jobs, self.streams, &self.stop).await;
            self.receipts.keep().await;
            tracing::info!(range = ?step.range, found = ?step.found, enqueued = step.enqueued, "a range is reconciled");
            if let Some(report) = step.ended {
                show(&report, &self.tally.counts(), output);
                passes += 1;
                if passes == args.passes {
                    break;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(args.pause_secs)) => {}
                () = self.stop.cancelled() => {}
            }
        }
        let counts = self.tally.counts();
        Ok(if counts.failed > 0 || self.stop.is_cancelled() { Exit::Failed } else { Exit::Done })
    }
}

/// What this call has repaired is of all of its passes together.
fn show(report: &PassReport, counts: &Counts, output: &OutputArgs) {
    let found = report.found;
    let secs = |share| report.behind.quantile(share).map(|behind| behind.as_secs_f64());
    if output.json {
        let line = json!({
            "run": report.run, "at_source": found.at_source, "at_destination": found.at_destination,
            "missing": found.missing, "different": found.different, "extra": found.extra,
            "behind_p50_secs": secs(0.5), "behind_p99_secs": secs(0.99), "deletes": report.deletes,
            "copied": counts.copied, "deleted": counts.deleted, "failed": counts.failed,
        });
        print(&line.to_string());
        return;
    }
    let deletes = match &report.deletes {
        DeletePlan::Refused { planned, held, limit } => {
            format!("; {planned} of {held} would be deleted, which is more than {limit}: none was")
        }
        DeletePlan::Disordered => "; nothing is deleted, since a side lists in no order".to_owned(),
        _ => String::new(),
    };
    print(&format!(
        "pass {}: {} objects at the source, {} at the destination; {} missing, {} different, {} extra{}; repaired so far: {} copied, \
         {} deleted, {} failed{deletes}",
        report.run,
        found.at_source,
        found.at_destination,
        found.missing,
        found.different,
        found.extra,
        behind(&report.behind),
        counts.copied,
        counts.deleted,
        counts.failed
    ));
}

fn behind(behind: &Latencies) -> String {
    match (behind.quantile(0.5), behind.quantile(0.99)) {
        (Some(p50), Some(p99)) => format!(" (behind by {}, p99 {})", coarse(p50), coarse(p99)),
        _ => String::new(),
    }
}

/// In whole units: the classes that it is counted in are no finer.
fn coarse(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        secs @ 1..120 => format!("{secs} s"),
        secs @ 120..7_200 => format!("{} min", secs / 60),
        secs @ 7_200..172_800 => format!("{} h", secs / 3_600),
        secs => format!("{} d", secs / 86_400),
    }
}
