//! Every function of Ferry in one process: the finder fills an in-memory queue, workers empty it.
//!
//! Owns: hosting the very handlers that run on Lambda, with the queue's semantics between them, and the end of a run. Does not own:
//! what the handlers do. Invariants: the queue is bounded, so a fast finder waits for slow workers; a run has ended when the finder
//! has and the queue is empty; a message that failed comes back after a growing delay, up to the queue's limit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ferry_finder::{Finder, ScanProgress, ScanReport, Scope};
use ferry_transfer::checkpoint::Coverage;
use ferry_transfer::copy::{Copier, CopySettings};
use ferry_transfer::deletion::{DeleteJournal, NoJournal};
use ferry_transfer::pace::PaceReading;
use ferry_transfer::queue::memory::{MemoryQueue, MemoryQueueConfig};
use ferry_transfer::queue::{Delivery, Queue, QueueDepth};
use ferry_transfer::receipt::{EachSink, ReceiptSink};
use ferry_transfer::retry::Backoff;
use ferry_transfer::state::SharedState;
use ferry_transfer::store::metered::MeterReading;
use ferry_transfer::{Clock, Error, KeyRange, RunId, SingleRoute, SystemClock};
use ferry_worker::{Parking, Worker, event};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::ends::Ends;
use crate::run_log::RunLog;
use crate::tally::{Counts, Tally};

/// Jobs waiting at most: enough that no worker waits for the finder, and a few megabytes.
const QUEUE_CAPACITY: usize = 10_000;
/// Deliveries of one message, as the cloud deployment's queue has it.
pub(crate) const MAX_RECEIVE_COUNT: u32 = 5;
/// Jobs that wait for an archive at most: some hundred bytes each.
const PARKED_MAX: u64 = 100_000;
/// How often idle workers look whether the run has ended.
const IDLE_WAIT: Duration = Duration::from_millis(25);
/// The process is the worker: while it lives, nobody else must get its messages. SQS's longest.
const VISIBILITY: Duration = Duration::from_hours(12);

/// One run: what moves, and how far it has come.
#[derive(Debug)]
pub struct Run {
    /// Its name.
    pub id: RunId,
    /// The two sides.
    pub ends: Ends,
    /// What became of its jobs so far.
    pub tally: Arc<Tally>,
    /// What was found so far.
    pub progress: Arc<ScanProgress>,
    /// Where receipts go beside the tally.
    receipts: EachSink,
    /// Where deletes are written down.
    journal: Arc<dyn DeleteJournal>,
    settings: CopySettings,
    /// How long to wait for archived objects, at most; `None` does not wait.
    restore_wait: Option<Duration>,
    /// Where open uploads are remembered.
    state: Option<SharedState>,
    /// Follows what is done with for good.
    coverage: Option<Arc<Coverage>>,
    /// The names it is about.
    scope: Scope,
    /// Ends the run early: given up, or told to stop.
    stop: CancellationToken,
}

/// How a run ended.
#[derive(Debug)]
pub struct Finished {
    /// Its name.
    pub id: RunId,
    /// What the finder found, as far as it came.
    pub scan: ScanReport,
    /// Why it did not come to the end, if it did not.
    pub scan_error: Option<Error>,
    /// What became of its jobs.
    pub counts: Counts,
    /// Requests to the source.
    pub source: MeterReading,
    /// Requests to the destination.
    pub destination: MeterReading,
    /// How fast the source was asked.
    pub source_pace: PaceReading,
    /// How fast the destination was asked.
    pub destination_pace: PaceReading,
    /// How long it took.
    pub elapsed: Duration,
    /// It was told to stop before its end.
    pub interrupted: bool,
}

impl Run {
    /// Prepares a run that leaves nothing behind but what it moves.
    pub fn new(ends: Ends, settings: CopySettings) -> Self {
        let stop = CancellationToken::new();
        Self {
            id: RunId::new(&SystemClock),
            ends,
            tally: Arc::new(Tally::new(stop.clone())),
            progress: Arc::default(),
            receipts: EachSink::default(),
            journal: Arc::new(NoJournal),
            settings,
            restore_wait: None,
            state: None,
            coverage: None,
            scope: Scope::All,
            stop,
        }
    }

    /// Writes its receipts here too.
    pub fn add_receipts(&mut self, receipts: Arc<dyn ReceiptSink>) {
        self.receipts.0.push(receipts);
    }

    /// Writes its receipts and its deletes down.
    #[must_use]
    pub fn keeping(mut self, log: &Arc<RunLog>) -> Self {
        self.add_receipts(Arc::clone(log) as _);
        self.journal = Arc::clone(log) as _;
        self
    }

    /// Remembers open uploads in this place, so that the next run goes on with them if this one is killed.
    #[must_use]
    pub fn remembering(mut self, state: SharedState) -> Self {
        self.state = Some(state);
        self
    }

    /// Waits for archived objects to be restored, at most for so long.
    #[must_use]
    pub fn waiting_for_archives(mut self, at_most: Option<Duration>) -> Self {
        self.restore_wait = at_most;
        self
    }

    /// Notes what is done with for good, and leaves out what already is.
    #[must_use]
    pub fn covering(mut self, coverage: &Arc<Coverage>) -> Self {
        let remaining = coverage.checkpoint().covered.remaining();
        self.scope = if remaining == [KeyRange::ALL] { Scope::All } else { Scope::Rest(remaining) };
        self.add_receipts(Arc::clone(coverage) as _);
        self.coverage = Some(Arc::clone(coverage));
        self
    }

    /// Ends the run after the objects on their way: cancel it.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    fn all_receipts(&self) -> Arc<dyn ReceiptSink> {
        let mut sinks = self.receipts.clone();
        sinks.0.push(Arc::clone(&self.tally) as _);
        Arc::new(sinks)
    }

    /// Runs to the end.
    pub async fn to_end(&self) -> Finished {
        let started = Instant::now();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let jobs = MemoryQueue::new(MemoryQueueConfig { capacity: Some(QUEUE_CAPACITY), dead_letters: None });
        let dead_letters = MemoryQueue::new(MemoryQueueConfig::default());
        // Of its own: a full queue of jobs must not keep out what its workers park.
        let parked = MemoryQueue::new(MemoryQueueConfig::default());
        let routes = Arc::new(SingleRoute(Arc::clone(&self.ends.route)));
        let copier = Copier::new(self.settings.clone(), Arc::clone(&clock));
        let copier = match &self.state {
            Some(state) => copier.remembering(Arc::clone(state)),
            None => copier,
        };
        let worker = Arc::new(Worker {
            routes: Arc::clone(&routes) as _,
            copier: Arc::new(copier),
            receipts: self.all_receipts(),
            journal: Arc::clone(&self.journal),
            dead_letters: Some(Arc::clone(&dead_letters) as _),
            // This process gives messages back itself, and its pace is what leaves a store alone.
            deliveries: None,
            breaker: None,
            parking: self.restore_wait.map(|at_most| Parking {
                queue: Arc::clone(&parked) as _,
                shortest: Duration::from_secs(1),
                at_most,
                places: Some(PARKED_MAX),
            }),
            max_receive_count: MAX_RECEIVE_COUNT,
            clock: Arc::clone(&clock),
        });
        let finder = Finder {
            routes,
            jobs: Arc::clone(&jobs) as _,
            scans: Arc::clone(&jobs) as _,
            documents: Arc::clone(&self.ends.documents),
            clock,
            backoff: Backoff::default(),
            state: None,
            measures: Arc::default(),
            coverage: self.coverage.clone(),
        };

        let found_all = CancellationToken::new();
        let mut workers = JoinSet::new();
        // More hands than streams: some jobs wait for a HEAD, a completion or a retry, which need no stream.
        for _ in 0..=self.settings.streams * 3 / 2 {
            let host = Hands {
                jobs: Arc::clone(&jobs),
                parked: Arc::clone(&parked),
                worker: Arc::clone(&worker),
                found_all: found_all.clone(),
                stop: self.stop.clone(),
            };
            workers.spawn(host.work());
        }
        // The receipts have said why; on one machine nobody redrives a queue that ends with the process.
        let undertaker = tokio::spawn(async move {
            while let Ok(letters) = dead_letters.receive(10, Duration::from_hours(1), VISIBILITY).await {
                let handles: Vec<String> = letters.into_iter().map(|letter| letter.receipt_handle).collect();
                if !handles.is_empty() && dead_letters.delete_batch(handles).await.is_err() {
                    break;
                }
            }
        });

        let scan = tokio::select! {
            scan = finder.scan(&self.ends.route, &self.id, &self.scope, None, &self.progress) => scan,
            () = self.stop.cancelled() => Err(Error::new(
                ferry_transfer::ErrorKind::Cancelled,
                "the scan was stopped before it had seen every key",
            )),
        };
        found_all.cancel();
        while workers.join_next().await.is_some() {}
        undertaker.abort();
        let (scan, scan_error) = match scan {
            Ok(scan) => (scan, None),
            Err(error) => (self.progress.report(), Some(error)),
        };
        Finished {
            id: self.id.clone(),
            scan,
            scan_error,
            counts: self.tally.counts(),
            source: self.ends.source_meter.read(),
            destination: self.ends.destination_meter.read(),
            source_pace: self.ends.source_pace.read(),
            destination_pace: self.ends.destination_pace.read(),
            elapsed: started.elapsed(),
            interrupted: self.stop.is_cancelled(),
        }
    }
}

/// Settles what a queue holds, what comes back of it included, or stops after the objects on their way.
pub(crate) async fn drain(
    worker: &Arc<Worker>,
    jobs: &Arc<MemoryQueue>,
    hands: usize,
    stop: &CancellationToken,
) {
    let parked = MemoryQueue::new(MemoryQueueConfig::default());
    let found_all = CancellationToken::new();
    found_all.cancel();
    let mut workers = JoinSet::new();
    for _ in 0..hands {
        let hands = Hands {
            jobs: Arc::clone(jobs),
            parked: Arc::clone(&parked),
            worker: Arc::clone(worker),
            found_all: found_all.clone(),
            stop: stop.clone(),
        };
        workers.spawn(hands.work());
    }
    while workers.join_next().await.is_some() {}
}

/// One pair of hands: takes one message at a time, so that a large object holds up nobody else's.
struct Hands {
    jobs: Arc<MemoryQueue>,
    parked: Arc<MemoryQueue>,
    worker: Arc<Worker>,
    found_all: CancellationToken,
    stop: CancellationToken,
}

impl Hands {
    async fn work(self) {
        while !self.stop.is_cancelled() {
            match self.take().await {
                Ok(Some((queue, delivery))) => self.settle(queue, delivery).await,
                Ok(None) if self.found_all.is_cancelled() && self.nothing_left().await => return,
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(error = %error.chain(), "the queue gave nothing");
                    return;
                }
            }
        }
    }

    /// The next message; one that waited for an archive only where nothing else is to be done.
    async fn take(&self) -> Result<Option<(&MemoryQueue, Delivery)>, Error> {
        for (queue, wait) in [(&self.jobs, IDLE_WAIT), (&self.parked, Duration::ZERO)] {
            if let Some(delivery) = queue.receive(1, wait, VISIBILITY).await?.pop() {
                return Ok(Some((queue, delivery)));
            }
        }
        Ok(None)
    }

    async fn nothing_left(&self) -> bool {
        for queue in [&self.jobs, &self.parked] {
            if !queue.depth().await.is_ok_and(QueueDepth::is_empty) {
                return false;
            }
        }
        true
    }

    async fn settle(&self, queue: &MemoryQueue, delivery: Delivery) {
        let handle = delivery.receipt_handle.clone();
        let attempt = delivery.receive_count;
        let answer = self.worker.handle(event(vec![delivery]), None).await;
        let again = !answer.is_ok_and(|answer| answer.batch_item_failures.is_empty());
        let settled = if again {
            // 1 s, 2 s, 4 s … with jitter, so that what failed together does not come back together.
            let delay = Duration::from_secs(1 << attempt.min(6)).mul_f64(0.25 + 0.25 * SystemClock.draw());
            queue.change_visibility(&handle, delay).await
        } else {
            queue.delete_batch(vec![handle]).await.and_then(|results| results.into_iter().collect())
        };
        if let Err(error) = settled {
            tracing::error!(error = %error.chain(), "the queue lost track of a message");
        }
    }
}
