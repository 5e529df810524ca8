//! Archived objects: left out and told, restored and waited for, and waited for again after a kill.

use std::sync::Arc;
use std::time::Duration;

use ferry_testkit::bucket::BucketSettings;
use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::operation::Operation;
use ferry_tests::{Pair, Side, StoreSetup};
use ferry_transfer::{Attributes, StorageClass};
use tokio::sync::Notify;

use super::{World, manifest};

/// A source whose archive takes so long, in which two objects lie.
async fn world(restore_takes: time::Duration, lines: &str) -> World {
    let settings = BucketSettings { restore_takes, ..BucketSettings::default() };
    let pair = Pair::with(StoreSetup { settings, ..StoreSetup::default() }, StoreSetup::default()).await;
    let world = World::over(pair, &manifest(&format!("x-container: none\nx-layout: plain\n{lines}")));
    let frozen = Attributes { storage_class: StorageClass::parse("DEEP_ARCHIVE"), ..Attributes::default() };
    for key in ["data/05.bin", "data/zz"] {
        world.pair.from().put_object_with(key, key.to_owned(), frozen.clone());
    }
    world
}

fn exported(world: &World, key: &str) -> Option<String> {
    std::fs::read_to_string(world.device().join("docks").join(key)).ok()
}

#[tokio::test]
async fn what_is_archived_is_left_out_and_told_unless_the_manifest_asks() {
    let world = world(time::Duration::hours(5), "").await;
    let id = world.create().await;
    let report =
        world.ferry(["run", &id, "--target", "plain:device", "--json"]).run().await.expect_code(1).report();
    assert_eq!(
        (&report["progress"], &report["report"]["archived"]),
        (&"SuccessWithErrors".into(), &2.into())
    );
    assert_eq!(exported(&world, "data/05.bin"), None);
    let log = world.pair.from().bytes(&format!("logs/export-log-{id}")).expect("log");
    assert_eq!(String::from_utf8_lossy(&log).matches(",105,Archived,").count(), 2);
    assert_eq!(world.pair.server(Side::Source).log().count(Operation::RestoreObject), 0);
}

#[tokio::test]
async fn what_is_archived_is_restored_and_waited_for() {
    let world = world(time::Duration::milliseconds(1500), "x-restore: expedited\n").await;
    let id = world.create().await;
    let report =
        world.ferry(["run", &id, "--target", "plain:device", "--json"]).run().await.expect_code(0).report();
    assert_eq!(report["progress"], "Complete", "{report}");
    for key in ["data/05.bin", "data/zz"] {
        assert_eq!(exported(&world, key).as_deref(), Some(key));
    }
    assert_eq!(world.pair.server(Side::Source).log().count(Operation::RestoreObject), 2);
}

#[tokio::test]
async fn a_station_that_was_killed_while_it_waited_asks_and_waits_again() {
    let world = world(time::Duration::hours(5), "x-restore: bulk\n").await;
    let id = world.create().await;
    let waits = Arc::new(Notify::new());
    let signal = Arc::clone(&waits);
    let faults = world.pair.source.faults();
    faults.add(Rule::on(Operation::HeadObject, Action::before(move |_| signal.notify_one())).nth(2));
    let log = std::fs::File::create(world.pair.directory().join("killed.log")).expect("a file");
    let run = ["run", id.as_str(), "--target", "plain:device", "--json"];
    let mut station = world.ferry(run).start(log);
    tokio::time::timeout(Duration::from_secs(30), waits.notified()).await.expect("it waits");
    let status = world.ferry(["get-status", &id, "--json"]).run().await.expect_code(0).report();
    assert_eq!(status["progress"], "InProgress", "{status}");
    assert!(status["progress_message"].as_str().expect("text").contains("restored"), "{status}");
    station.kill().await.expect("killed");
    for key in ["data/05.bin", "data/zz"] {
        assert!(world.pair.from().restore(key));
    }
    let report = world.ferry(run).run().await.expect_code(0).report();
    assert_eq!(report["progress"], "Complete", "{report}");
    assert_eq!(exported(&world, "data/zz").as_deref(), Some("data/zz"));
}

#[tokio::test]
async fn an_object_that_left_the_archive_after_it_was_listed_is_exported() {
    let world = world(time::Duration::milliseconds(10), "x-restore: expedited\n").await;
    let id = world.create().await;
    let bucket = world.pair.from();
    let leave = move |_: &_| drop(bucket.put_object("data/zz", "data/zz"));
    world
        .pair
        .source
        .faults()
        .add(Rule::on(Operation::RestoreObject, Action::before(leave)).key_contains("data/zz"));
    let run = ["run", id.as_str(), "--target", "plain:device", "--json"];
    let report = world.ferry(run).run().await.expect_code(0).report();
    assert_eq!(report["progress"], "Complete", "{report}");
    assert_eq!(exported(&world, "data/zz").as_deref(), Some("data/zz"));
}
