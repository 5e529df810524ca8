//! Scans of stores in memory: which jobs come out, and when none may.

mod in_turns;

use std::time::Duration;

use ferry_testkit::bucket::Bucket;
use ferry_testkit::operation::Operation;
use ferry_testkit::{FaultyStore, MemoryQueue, MemoryQueueConfig, MemoryStore, StoreFault};
use ferry_transfer::queue::Queue as _;
use ferry_transfer::task::{Location, Task};
use ferry_transfer::{SingleRoute, SystemClock};

use super::*;
use crate::{FinderEvent, FinderResponse, TaskEvent};

struct Stage {
    source: Arc<Bucket>,
    destination: Arc<Bucket>,
    source_faults: Arc<FaultyStore>,
    destination_faults: Arc<FaultyStore>,
    jobs: Arc<MemoryQueue>,
    scans: Arc<MemoryQueue>,
    route: Arc<Route>,
    finder: Finder,
}

impl Stage {
    fn new(deletes: Deletes) -> Self {
        Self::between("from/", "to/", deletes)
    }

    fn between(source_prefix: &str, destination_prefix: &str, deletes: Deletes) -> Self {
        let stores = ["source", "destination"].map(|name| Arc::new(MemoryStore::new(name, "bucket")));
        let [source, destination] = stores.each_ref().map(|store| Arc::clone(store.bucket()));
        let [source_faults, destination_faults] = stores.map(|store| Arc::new(FaultyStore::new(store)));
        let location = |store: &str, prefix: &str| Location {
            store: store.into(),
            bucket: "bucket".into(),
            prefix: prefix.into(),
        };
        let (from, to) = (location("source", source_prefix), location("destination", destination_prefix));
        let task = Task { deletes, ..Task::new("t", from, to) };
        let route =
            Arc::new(Route::new(task, Arc::clone(&source_faults) as _, Arc::clone(&destination_faults) as _));
        let [jobs, scans] = [(); 2].map(|()| MemoryQueue::new(MemoryQueueConfig::default()));
        let finder = Finder {
            routes: Arc::new(SingleRoute(Arc::clone(&route))),
            jobs: Arc::clone(&jobs) as _,
            scans: Arc::clone(&scans) as _,
            documents: Arc::new(ferry_transfer::key_source::NoDocuments),
            clock: Arc::new(SystemClock),
            backoff: Backoff::default(),
            state: None,
            measures: Arc::default(),
            coverage: None,
        };
        Self { source, destination, source_faults, destination_faults, jobs, scans, route, finder }
    }

    async fn scan(&self) -> Result<ScanReport> {
        let run = RunId::new(&SystemClock);
        self.finder.scan(&self.route, &run, &Scope::All, None, &ScanProgress::default()).await
    }

    async fn jobs(&self) -> Vec<Job> {
        take(&self.jobs)
            .await
            .into_iter()
            .map(|message| match message {
                Message::Object(job) => job,
                other => panic!("{other:?} is no job of an object"),
            })
            .collect()
    }
}

async fn take(queue: &MemoryQueue) -> Vec<Message> {
    let mut messages = Vec::new();
    while let Some(delivery) =
        queue.receive(1, Duration::ZERO, Duration::from_hours(1)).await.expect("queue").pop()
    {
        messages.push(Message::parse(&delivery.body).expect("a message"));
    }
    messages
}

#[tokio::test]
async fn each_difference_becomes_a_job_with_what_was_seen_on_both_sides() {
    let stage = Stage::new(Deletes::Keep);
    stage.source.put_object("from/new", "1");
    stage.source.put_object("from/changed", "22");
    stage.source.put_object("from/same", "3");
    stage.source.put_object("elsewhere", "4");
    let old = stage.destination.put_object("to/changed", "2");
    stage.destination.put_object("to/same", "3");
    stage.destination.put_object("to/extra", "5");
    let report = stage.scan().await.expect("scan");
    assert_eq!(
        (report.found, report.missing, report.different, report.up_to_date, report.extra),
        (3, 1, 1, 1, 1)
    );
    assert_eq!((report.enqueued, report.enqueued_bytes, report.deletes), (2, 3, DeletePlan::Nothing));
    let jobs = stage.jobs().await;
    let seen: Vec<_> = jobs.iter().map(|job| (job.key.as_str(), job.destination.clone())).collect();
    assert_eq!(
        seen,
        [
            ("from/changed", Some(SeenAtDestination::Etag(old.etag.clone()))),
            ("from/new", Some(SeenAtDestination::Absent))
        ]
    );
    assert!(
        jobs.iter().all(|job| job.etag.is_some() && job.origin == Some(Origin::Scan) && job.run.is_some())
    );
}

#[tokio::test]
async fn a_key_that_would_be_empty_on_the_other_side_is_left_out_and_counted() {
    let stage = Stage::between("from/", "", Deletes::Keep);
    stage.source.put_object("from/", "");
    stage.source.put_object("from/a", "1");
    let report = stage.scan().await.expect("scan");
    assert_eq!((report.found, report.nameless, report.enqueued), (1, 1, 1));
}

#[tokio::test]
async fn deletes_are_planned_within_the_limit_or_not_at_all() {
    for (limit, expected, jobs) in [
        (DeleteLimit::Count(2), DeletePlan::Enqueued(2), 2),
        (DeleteLimit::Percent(50), DeletePlan::Refused { planned: 2, held: 3, limit: "50%".into() }, 0),
    ] {
        let stage = Stage::new(Deletes::Mirror(limit));
        stage.source.put_object("from/a", "1");
        for key in ["to/a", "to/b", "to/c"] {
            stage.destination.put_object(key, "1");
        }
        assert_eq!(stage.scan().await.expect("scan").deletes, expected);
        let jobs_made = stage.jobs().await;
        assert_eq!(jobs_made.len(), jobs);
        assert!(
            jobs_made.iter().all(|job| job.action == Action::Delete && job.key.as_str().starts_with("from/"))
        );
    }
}

#[tokio::test]
async fn a_listing_that_breaks_off_is_an_error_and_plans_no_delete() {
    for side in 0..2 {
        let stage = Stage::new(Deletes::Mirror(DeleteLimit::Percent(100)));
        for number in 0..1500 {
            stage.source.put_object(&format!("from/{number:04}"), "1");
            stage.destination.put_object(&format!("to/{number:04}"), "1");
        }
        stage.destination.put_object("to/zzz", "extra");
        let faults = if side == 0 { &stage.source_faults } else { &stage.destination_faults };
        faults.script(|call| {
            (call.operation == Operation::ListObjectsV2 && call.number > 1)
                .then_some(StoreFault::Fail(ErrorKind::Transient))
        });
        assert_eq!(stage.scan().await.expect_err("broken off").kind(), ErrorKind::Transient);
        assert!(stage.jobs().await.is_empty());
    }
}

#[tokio::test]
async fn a_listing_out_of_order_is_sorted_and_proves_no_delete() {
    let stage = Stage::new(Deletes::Mirror(DeleteLimit::Percent(100)));
    stage.source.put_object("from/a", "1");
    stage.source.put_object("from/b", "1");
    stage.destination.put_object("to/a", "1");
    stage.destination.put_object("to/c", "1");
    stage
        .source_faults
        .script(|call| (call.operation == Operation::ListObjectsV2).then_some(StoreFault::ReverseListing));
    let report = stage.scan().await.expect("sorted");
    assert_eq!((report.found, report.missing, report.up_to_date, report.extra), (2, 1, 1, 1));
    assert_eq!(report.deletes, DeletePlan::Disordered);
    assert!(report.listing.source.is_some_and(|remark| remark.contains("out of order")));
    assert_eq!(stage.jobs().await.len(), 1);
}

#[tokio::test]
async fn a_finder_out_of_time_leaves_the_rest_of_its_range_as_a_scan() {
    let stage = Stage::new(Deletes::Mirror(DeleteLimit::Percent(100)));
    for number in 0..1000 {
        stage.source.put_object(&format!("from/{number:03}"), "1");
    }
    let mut found = 0;
    let mut event = FinderEvent::Task(TaskEvent::default());
    for round in 0.. {
        assert!(round <= 4, "it never gets to the end");
        // No time at all: every invocation gets one batch further.
        let response = stage.finder.handle(event, Some(Instant::now())).await.expect("an answer");
        match response {
            FinderResponse::Scanned { report, .. } => {
                assert_eq!(report.remaining, [KeyRange { after: Some("255".into()), until: None }]);
            }
            FinderResponse::Batch(batch) => assert!(batch.batch_item_failures.is_empty()),
        }
        found += stage.jobs().await.len();
        let mut rest = take(&stage.scans).await;
        let Some(scan) = rest.pop() else { break };
        let record = serde_json::json!({ "Records": [{ "messageId": "m", "body": scan.to_json() }] });
        event = serde_json::from_value(record).expect("an event");
    }
    assert_eq!(found, 1000, "every key is found once");
}

#[tokio::test]
async fn kms_buckets_are_recognised_before_everything_is_copied_again() {
    let stage = Stage::new(Deletes::Keep);
    let opaque = ferry_testkit::bucket::BucketSettings {
        etag_rule: ferry_testkit::bucket::EtagRule::Opaque,
        ..ferry_testkit::bucket::BucketSettings::default()
    };
    // A store whose tags look like MD5s and are none, and of which the profile knows nothing.
    let bucket = Bucket::new("bucket", opaque, Arc::new(SystemClock));
    for key in ["a", "b", "c"] {
        stage.source.put_object(&format!("from/{key}"), "1");
        let past = time::OffsetDateTime::UNIX_EPOCH;
        stage.source.set_last_modified(&format!("from/{key}"), past);
        bucket.put_object(&format!("to/{key}"), "1");
    }
    let store = MemoryStore::over("destination", bucket).claiming(|capabilities| {
        capabilities.etag_is_md5 = ferry_transfer::Support::Unknown;
    });
    let route =
        Arc::new(Route::new(stage.route.task.clone(), Arc::clone(&stage.route.source), Arc::new(store)));
    let run = RunId::new(&SystemClock);
    let report =
        stage.finder.scan(&route, &run, &Scope::All, None, &ScanProgress::default()).await.expect("scan");
    assert_eq!((report.up_to_date, report.enqueued), (3, 0));
}

/// A run that began an hour ago by its name, and one whose name says nothing of that.
#[tokio::test]
async fn how_far_a_scan_is_behind_its_run_is_measured() {
    use ferry_transfer::Clock;
    use ferry_transfer::metric::Lag;
    let stage = Stage::new(Deletes::Keep);
    let hour_ago = SystemClock.now() - Duration::from_hours(1);
    let format = time::macros::format_description!("[year][month][day]T[hour][minute][second]Z-0000");
    let run = hour_ago.format(format).expect("a time");
    for run in [run.as_str(), "nightly"] {
        let event = serde_json::from_value(serde_json::json!({ "run": run })).expect("an event");
        stage.finder.handle(event, None).await.expect("scanned");
    }
    let lags = stage.finder.measures.take_lags(Lag::Scan);
    assert_eq!(lags.count(), 1);
    let secs = lags.quantile(0.5).expect("a lag").as_secs();
    // Spans are kept in buckets.
    assert!((3_200..4_200).contains(&secs), "{secs}");
}
