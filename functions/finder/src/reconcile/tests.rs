//! Passes over stores in memory, in small steps.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use async_trait::async_trait;
use ferry_testkit::bucket::{Bucket, BucketSettings};
use ferry_testkit::operation::Operation;
use ferry_testkit::{FaultyStore, MemoryQueue, MemoryQueueConfig, MemoryStore, StoreFault};
use ferry_transfer::job::Action;
use ferry_transfer::queue::Queue as _;
use ferry_transfer::state::MemoryState;
use ferry_transfer::task::{DeleteLimit, Location, Task};

use super::*;

/// Stands where it is put.
#[derive(Debug, Default)]
struct StillClock(AtomicI64);

#[async_trait]
impl Clock for StillClock {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::from_secs(self.0.load(Relaxed).unsigned_abs())
    }

    async fn sleep(&self, _delay: Duration) {
        tokio::task::yield_now().await;
    }

    fn draw(&self) -> f64 {
        0.5
    }
}

struct Stage {
    source: Arc<Bucket>,
    destination: Arc<Bucket>,
    source_faults: Arc<FaultyStore>,
    jobs: Arc<MemoryQueue>,
    clock: Arc<StillClock>,
    reconciler: Reconciler,
}

impl Stage {
    fn new(deletes: Deletes) -> Self {
        let clock = Arc::new(StillClock::default());
        let side = |name: &str| {
            let bucket = Bucket::new(name, BucketSettings::default(), Arc::clone(&clock) as _);
            let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::over(name, Arc::clone(&bucket)))));
            let location = Location { store: name.into(), bucket: name.into(), prefix: "p/".into() };
            (bucket, store, location)
        };
        let (source, source_faults, from) = side("source");
        let (destination, destination_faults, to) = side("destination");
        let task = Task { deletes, ..Task::new("a task/é", from, to) };
        let jobs = MemoryQueue::new(MemoryQueueConfig::default());
        let reconciler = Reconciler {
            route: Arc::new(Route::new(task, Arc::clone(&source_faults) as _, destination_faults)),
            jobs: Arc::clone(&jobs) as _,
            state: Arc::new(MemoryState::default()),
            clock: Arc::clone(&clock) as _,
            backoff: Backoff::default(),
            names_a_step: 300,
        };
        Self { source, destination, source_faults, jobs, clock, reconciler }
    }

    fn fill(&self, count: usize) {
        for number in 0..count {
            self.source.put_object(&format!("p/{number:05}"), "same");
            self.destination.put_object(&format!("p/{number:05}"), "same");
        }
    }

    /// Steps until a pass has ended; how many there were, and its report.
    async fn pass(&self) -> (usize, PassReport) {
        for steps in 1..1_000 {
            if let Some(report) = step(&self.reconciler).await.expect("a step").ended {
                return (steps, report);
            }
        }
        panic!("the pass never ends");
    }

    async fn jobs(&self) -> Vec<(String, Action)> {
        let mut jobs = Vec::new();
        while let Some(delivery) =
            self.jobs.receive(1, Duration::ZERO, Duration::from_hours(1)).await.expect("queue").pop()
        {
            match Message::parse(&delivery.body).expect("a message") {
                Message::Object(job) => jobs.push((job.key.as_str().to_owned(), job.action)),
                other => panic!("{other:?}"),
            }
        }
        jobs
    }
}

fn copy(key: &str) -> (String, Action) {
    (key.to_owned(), Action::Copy)
}

#[tokio::test]
async fn a_pass_of_many_steps_finds_what_events_missed_and_says_how_far_behind_it_was() {
    let stage = Stage::new(Deletes::Keep);
    stage.fill(2_000);
    stage.clock.0.store(1_000, Relaxed);
    stage.source.put_object("p/00100", "other");
    stage.source.put_object("p/00700x", "new");
    stage.destination.put_object("p/01500x", "extra");
    stage.source.put_object("elsewhere", "no business of this task");
    stage.clock.0.store(1_060, Relaxed);
    let (steps, report) = stage.pass().await;
    assert!(steps > 3, "{steps} steps");
    let found = Divergence { at_source: 2_001, at_destination: 2_001, missing: 1, different: 1, extra: 1 };
    assert_eq!((report.found, report.found.total(), &report.deletes), (found, 3, &DeletePlan::Nothing));
    let p50 = report.behind.quantile(0.5).expect("two");
    assert!((60..73).contains(&p50.as_secs()), "{p50:?}");
    assert_eq!(stage.jobs().await, [copy("p/00100"), copy("p/00700x")]);
    assert_eq!(last_pass(&stage.reconciler).await.expect("read"), Some(report));
}

#[tokio::test]
async fn a_process_that_was_killed_is_gone_on_from() {
    let mut stage = Stage::new(Deletes::Keep);
    stage.fill(2_000);
    stage.source.put_object("p/99999", "new");
    let first = step(&stage.reconciler).await.expect("a step");
    assert!(first.ended.is_none() && first.range.after.is_none());
    let listings = stage.source_faults.calls(Operation::ListObjectsV2);
    stage.source_faults.script(|call| {
        (call.operation == Operation::ListObjectsV2).then_some(StoreFault::Fail(ErrorKind::PermissionDenied))
    });
    step(&stage.reconciler).await.expect_err("the listing fails");
    stage.source_faults.heal();
    // Another process.
    let route = Route::new(
        stage.reconciler.route.task.clone(),
        Arc::clone(&stage.reconciler.route.source),
        Arc::clone(&stage.reconciler.route.destination),
    );
    stage.reconciler.route = Arc::new(route);
    let next = step(&stage.reconciler).await.expect("a step");
    assert_eq!(next.range.after, first.range.until);
    assert!(listings > 0 && stage.jobs().await.is_empty());
    stage.pass().await;
    assert_eq!(stage.jobs().await, [copy("p/99999")]);
}

#[tokio::test]
async fn deletes_follow_a_whole_pass_within_the_limit() {
    let stage = Stage::new(Deletes::Mirror(DeleteLimit::Count(3)));
    stage.fill(1_000);
    for key in ["p/00001", "p/00700", "p/00999"] {
        stage.source.remove(key);
    }
    let first = step(&stage.reconciler).await.expect("a step");
    assert_eq!((first.found.extra, first.enqueued), (1, 0), "nothing goes before all is compared");
    let (_, report) = stage.pass().await;
    assert_eq!(report.deletes, DeletePlan::Enqueued(3));
    let deletes = stage.jobs().await;
    assert!(deletes.iter().all(|(_, action)| *action == Action::Delete));
    assert_eq!(deletes.iter().map(|(key, _)| &key[2..]).collect::<Vec<_>>(), ["00001", "00700", "00999"]);

    stage.source.remove("p/00002");
    let (_, report) = stage.pass().await;
    let refused = DeletePlan::Refused { planned: 4, held: 1_000, limit: "3".to_owned() };
    assert_eq!((report.deletes, stage.jobs().await), (refused, vec![]));
}

#[tokio::test]
async fn never_more_is_deleted_than_was_counted() {
    let stage = Stage::new(Deletes::Mirror(DeleteLimit::Percent(50)));
    stage.fill(1_000);
    stage.source.remove("p/00001");
    loop {
        let step = step(&stage.reconciler).await.expect("a step");
        assert!(step.ended.is_none());
        if step.range.until.is_none() {
            break;
        }
    }
    // Between the counting and the deletes the source is emptied.
    for number in 0..1_000 {
        stage.source.remove(&format!("p/{number:05}"));
    }
    let (_, report) = stage.pass().await;
    assert_eq!((report.deletes, stage.jobs().await.len()), (DeletePlan::Enqueued(1), 1));
    let (_, report) = stage.pass().await;
    assert!(matches!(report.deletes, DeletePlan::Refused { planned: 1_000, .. }), "{report:?}");
}

#[tokio::test]
async fn of_two_that_step_at_once_one_is_told() {
    let stage = Stage::new(Deletes::Keep);
    stage.fill(1_000);
    let (one, other) = tokio::join!(step(&stage.reconciler), step(&stage.reconciler));
    let refused = [one, other].into_iter().filter_map(Result::err).map(|error| error.kind());
    assert_eq!(refused.collect::<Vec<_>>(), [ErrorKind::PreconditionFailed]);
}
