//! The steps against stores that lie, at the seam: no network.

use async_trait::async_trait;
use ferry_testkit::bucket::{Bucket, BucketSettings};
use ferry_testkit::operation::Operation;
use ferry_testkit::{FaultyStore, MemoryStore, StoreFault};
use ferry_transfer::{ObjectStore, SharedStore, StoreName, SystemClock};
use time::Duration;

use super::*;
use crate::s3::Greeting;

/// A store in memory that is what any profile says.
#[derive(Debug)]
struct Fake {
    store: Arc<FaultyStore>,
    profile: Profile,
    /// The store's clock, ahead of ours.
    ahead: Duration,
}

#[async_trait]
impl Subject for Fake {
    fn name(&self) -> &StoreName {
        self.store.name()
    }

    fn endpoint(&self) -> &'static str {
        "https://s3.example.com"
    }

    fn region(&self) -> &'static str {
        "us-east-1"
    }

    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn under(&self, _profile: Profile) -> SharedStore {
        Arc::clone(&self.store) as SharedStore
    }

    async fn greet(&self) -> Greeting {
        let date = Some(SystemClock.now() + self.ahead);
        Greeting { status: Some(200), date, region: None, outcome: Ok(()) }
    }
}

fn fake() -> (Arc<Bucket>, Fake) {
    let settings = BucketSettings { part_bytes_min: 16, ..BucketSettings::default() };
    let bucket = Bucket::new("b", settings, Arc::new(SystemClock));
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::over("lab", Arc::clone(&bucket)))));
    let mut profile = Profile::named("other").expect("profile");
    profile.capabilities.part_bytes_min = 16;
    (bucket, Fake { store, profile, ahead: Duration::ZERO })
}

async fn tried(fake: Fake) -> Report {
    let probe = Probe::new(Arc::new(fake), "p/", Role::Destination, "run", Arc::new(SystemClock));
    probe.run().await;
    probe.clean_up().await;
    probe.report()
}

fn outcome(report: &Report, check: &str) -> Outcome {
    let finding = report.findings.iter().find(|finding| finding.check == check);
    finding.unwrap_or_else(|| panic!("nothing was found of {check:?}")).outcome
}

#[tokio::test]
async fn a_store_without_fault_is_usable_and_left_empty() {
    let (bucket, fake) = fake();
    let report = tried(fake).await;
    assert!(report.usable && report.left_behind.is_empty(), "{report:?}");
    assert!(bucket.is_empty() && bucket.open_uploads().is_empty());
    assert!(report.requests <= report.requests_max, "{} of {}", report.requests, report.requests_max);
    assert_eq!(report.found_profile.capabilities.tags, ferry_transfer::Support::Yes);
}

#[tokio::test]
async fn a_listing_out_of_order_is_not_usable() {
    let (_bucket, fake) = fake();
    fake.store
        .script(|call| (call.operation == Operation::ListObjectsV2).then_some(StoreFault::ReverseListing));
    let report = tried(fake).await;
    assert_eq!(outcome(&report, "listing"), Outcome::Broken);
    assert!(!report.usable);
}

#[tokio::test]
async fn bytes_that_were_altered_are_noticed() {
    let (_bucket, fake) = fake();
    fake.store.script(|call| (call.operation == Operation::GetObject).then_some(StoreFault::CorruptBody));
    let report = tried(fake).await;
    assert_eq!((outcome(&report, "read"), outcome(&report, "range")), (Outcome::Broken, Outcome::Broken));
}

#[tokio::test]
async fn a_busy_store_says_nothing_of_what_it_can_do() {
    let (bucket, fake) = fake();
    fake.store.script(|call| {
        let busy = call.operation == Operation::PutObject
            && call
                .key
                .is_some_and(|key| key.as_str().ends_with("/tags") || key.as_str().ends_with("/conditions"));
        busy.then_some(StoreFault::Fail(ErrorKind::Throttled))
    });
    let report = tried(fake).await;
    assert_eq!(
        (outcome(&report, "tags"), outcome(&report, "write if")),
        (Outcome::Untried, Outcome::Untried)
    );
    assert!(report.differences.iter().all(|fact| fact.field != "capabilities.tags"));
    assert!(bucket.is_empty());
}

#[tokio::test]
async fn what_cannot_be_removed_is_named_and_can_be_tried_again() {
    let (bucket, fake) = fake();
    let store = Arc::clone(&fake.store);
    store.script(|call| {
        (call.operation == Operation::DeleteObject).then_some(StoreFault::Fail(ErrorKind::PermissionDenied))
    });
    let probe = Probe::new(Arc::new(fake), "", Role::Destination, "run", Arc::new(SystemClock));
    probe.run().await;
    probe.clean_up().await;
    assert!(!probe.report().left_behind.is_empty() && !bucket.is_empty());
    store.heal();
    probe.clean_up().await;
    assert!(probe.report().left_behind.is_empty() && bucket.is_empty());
}

#[tokio::test]
async fn a_clock_that_is_far_off_is_the_first_thing_said() {
    let (_bucket, fake) = fake();
    let report = tried(Fake { ahead: Duration::hours(1), ..fake }).await;
    let clock = report.findings.iter().find(|finding| finding.check == "clock").expect("a finding");
    assert!(clock.outcome == Outcome::Broken && clock.detail.contains("behind"), "{clock:?}");
}
