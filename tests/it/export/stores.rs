//! Stores that fail as a whole end a run and not a job; objects that fail by themselves are given up. Stores that list in no order are sorted.

use std::time::Duration;

use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::operation::Operation;
use ferry_tests::scripted::list_page;
use ferry_tests::{Scripted, Side};
use serde_json::Value;

use super::{World, manifest};

const RUN: [&str; 3] = ["--target", "plain:device", "--json"];

async fn world() -> (World, String) {
    let world = World::new(&manifest("x-container: none\nx-layout: plain\n")).await;
    let id = world.create().await;
    (world, id)
}

fn run(id: &str) -> Vec<&str> {
    [&["run", id][..], &RUN].concat()
}

async fn status(world: &World, id: &str) -> Value {
    world.ferry(["get-status", id, "--json"]).run().await.expect_code(0).report()
}

#[tokio::test]
async fn keys_that_lapse_end_the_run_and_the_next_one_goes_on() {
    let (world, id) = world().await;
    // Twelve objects are read; then the store knows the keys no longer.
    let lapsed = Action::Refuse { status: 403, code: "ExpiredToken" };
    world.pair.fail_from(Side::Source, Operation::GetObject, 13, 400, &lapsed);
    let ended = world.ferry(run(&id)).run().await.expect_code(1);
    assert!(ended.shows("ExpiredToken") && ended.shows("goes on from there"), "{ended}");
    assert_eq!(status(&world, &id).await["progress"], "InProgress");
    world.pair.source.faults().clear();
    let report = world.ferry(run(&id)).run().await.expect_code(0).report();
    assert_eq!((&report["progress"], &report["report"]["given_up"]), (&"Complete".into(), &0.into()));
}

#[tokio::test]
async fn a_bucket_that_may_not_be_read_makes_no_medium_of_zeros() {
    let (world, id) = world().await;
    world.pair.source.faults().add(Rule::on(Operation::GetObject, Action::ACCESS_DENIED));
    let ended = world.ferry(run(&id)).run().await.expect_code(1);
    assert!(ended.shows("AccessDenied"), "{ended}");
    assert_eq!(status(&world, &id).await["progress"], "InProgress");
    world.pair.source.faults().clear();
    world.ferry(run(&id)).run().await.expect_code(0);
}

#[tokio::test]
async fn one_object_that_may_not_be_read_is_given_up_and_told() {
    // The first of all, one in the middle, and the last.
    for key in ["data/00.bin", "data/17.bin", "data/grüße"] {
        let (world, id) = world().await;
        world
            .pair
            .source
            .faults()
            .add(Rule::on(Operation::GetObject, Action::ACCESS_DENIED).key_contains(key));
        let report = world.ferry(run(&id)).run().await.expect_code(1).report();
        assert_eq!(report["progress"], "SuccessWithErrors", "{key}: {report}");
        assert_eq!(report["report"]["given_up"], 1, "{key}: {report}");
        let log = world.pair.from().bytes(&format!("logs/export-log-{id}")).expect("log");
        let log = String::from_utf8_lossy(&log).into_owned();
        let row =
            log.lines().find(|row| row.contains(&format!("docks/{key},403,Forbidden"))).expect("its row");
        assert!(row.contains("AccessDenied"), "it says why: {row}");
    }
}

#[tokio::test]
async fn a_store_that_is_away_for_a_while_is_waited_for() {
    let (world, id) = world().await;
    world.pair.fail_from(Side::Source, Operation::GetObject, 13, 2000, &Action::INTERNAL_ERROR);
    let back = async {
        // Longer than the store's own attempts and the object's take.
        let log = world.pair.server(Side::Source).log();
        for _ in 0..600 {
            if log.count(Operation::GetObject) > 70 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        world.pair.source.faults().clear();
    };
    let (ended, ()) = tokio::join!(world.ferry(run(&id)).run(), back);
    let report = ended.expect_code(0).report();
    assert_eq!((&report["progress"], &report["report"]["given_up"]), (&"Complete".into(), &0.into()));
}

#[tokio::test]
async fn a_store_that_lists_in_no_order_is_exported_in_key_order() {
    let world = World::new(&manifest("x-container: none\nx-layout: plain\n")).await;
    let id = world.create().await;
    let scripted = Scripted::start(|_, _uri| list_page(&["data/b", "data/a"], None)).await;
    let settings = world.pair.directory().join("ferry.yaml");
    let yaml = std::fs::read_to_string(&settings).expect("settings");
    let endpoint = world.pair.server(Side::Source).endpoint();
    std::fs::write(&settings, yaml.replace(&endpoint, &scripted.endpoint())).expect("settings");
    // What is listed is not there: only the plan is looked at.
    let ended = world.ferry(run(&id)).run().await;
    assert!(!ended.stderr.contains("out of order"), "{ended}");
    let plan = world.pair.directory().join(format!("state/export/work/{id}/plan.jsonl"));
    let plan = std::fs::read_to_string(&plan).expect("a plan");
    let keys: Vec<String> = plan
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).expect("a line")["object"]["key"]
                .as_str()
                .expect("key")
                .to_owned()
        })
        .collect();
    assert_eq!(keys, ["data/a", "data/b"]);
}
