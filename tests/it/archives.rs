//! Archived objects: skipped, restored and waited for, or restored and left to a later run.

use ferry_testkit::bucket::BucketSettings;
use ferry_testkit::operation::Operation;
use ferry_tests::{Pair, Side, StoreSetup};
use ferry_transfer::{Attributes, StorageClass};

use crate::objects::{bytes, sync};

/// A source whose archive takes so long, and two objects of which one lies in it.
async fn pair(restore_takes: time::Duration) -> Pair {
    let settings = BucketSettings { restore_takes, ..BucketSettings::default() };
    let pair = Pair::with(StoreSetup { settings, ..StoreSetup::default() }, StoreSetup::default()).await;
    let frozen = Attributes { storage_class: StorageClass::parse("GLACIER"), ..Attributes::default() };
    pair.from().put_object_with("frozen", bytes(500, 1), frozen);
    pair.from().put_object("warm", bytes(500, 2));
    pair
}

const WARM_AGAIN: [&str; 2] = ["--storage-class", "STANDARD"];

#[tokio::test]
async fn an_archived_object_is_restored_waited_for_and_copied() {
    let pair = pair(time::Duration::milliseconds(1500)).await;
    let args = ["--restore", "expedited", "--restore-days", "2", "--restore-wait", "60s"];
    let ended = sync(&pair, &[&args[..], &WARM_AGAIN].concat()).await.expect_code(0);
    let report = ended.report();
    assert_eq!((report["copied"].as_u64(), report["parked"].as_u64()), (Some(2), Some(0)), "{ended}");
    // Waiting is no failure.
    assert_eq!((report["failed"].as_u64(), report["retried"].as_u64()), (Some(0), Some(0)), "{ended}");
    assert_eq!(pair.to().bytes("frozen"), Some(bytes(500, 1)));
    assert_eq!(pair.server(Side::Source).log().count(Operation::RestoreObject), 1);
}

#[tokio::test]
async fn without_waiting_the_run_says_what_is_parked_and_a_later_one_copies_it() {
    let pair = pair(time::Duration::hours(5)).await;
    let args = [&["--restore", "bulk"][..], &WARM_AGAIN].concat();
    for asked in 1..=2 {
        let ended = sync(&pair, &args).await.expect_code(3);
        let report = ended.report();
        assert_eq!((report["parked"].as_u64(), report["skipped"].as_u64()), (Some(1), Some(0)), "{ended}");
        assert!(pair.to().get("frozen").is_none() && pair.to().get("warm").is_some());
        // The second time the store answers 409: under way.
        assert_eq!(pair.server(Side::Source).log().count(Operation::RestoreObject), asked);
    }
    assert!(pair.from().restore("frozen"));
    sync(&pair, &args).await.expect_code(0);
    assert_eq!(pair.to().bytes("frozen"), Some(bytes(500, 1)));
}

#[tokio::test]
async fn a_wait_that_is_too_short_ends_and_says_so() {
    let pair = pair(time::Duration::hours(5)).await;
    let args = ["--restore", "standard", "--restore-wait", "2s"];
    let ended = sync(&pair, &args).await.expect_code(3);
    assert_eq!(ended.report()["parked"], 1, "{ended}");
}
