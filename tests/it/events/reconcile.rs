//! `ferry reconcile` after events that never came.

use ferry_tests::{Ended, Pair};

const FERRY: &str = env!("CARGO_BIN_EXE_ferry-under-test");

async fn reconcile(pair: &Pair, more: &[&str]) -> Ended {
    let task = "name: photos\nsource: {store: harbour, bucket: docks, prefix: p/}\n\
                destination: {store: island, bucket: beach}\ndeletes: {mirror: 10%}\n";
    std::fs::write(pair.directory().join("task.yaml"), task).expect("the task");
    let args =
        [&["reconcile", "task.yaml", "--json", "--keys", "300", "--state-dir", "state"], more].concat();
    pair.program(FERRY).args(args).run().await
}

#[tokio::test]
async fn what_events_missed_is_repaired_and_counted() {
    let pair = Pair::start().await;
    for number in 0..1_000 {
        let key = format!("{number:04}");
        pair.from().put_object(&format!("p/{key}"), key.clone());
        pair.to().put_object(&key, key.clone());
    }
    pair.from().put_object("p/0100", "another");
    pair.from().put_object("p/new", "one");
    pair.to().put_object("gone", "two");
    let report = reconcile(&pair, &[]).await.expect_code(0).report();
    let counts =
        ["at_source", "at_destination", "missing", "different", "extra", "copied", "deleted", "failed"];
    let counts = counts.map(|name| report[name].as_u64().expect(name));
    assert_eq!(counts, [1_001, 1_001, 1, 1, 1, 2, 1, 0], "{report}");
    assert!(report["behind_p99_secs"].as_f64().is_some_and(|secs| secs < 60.0), "{report}");
    pair.assert_same_under("p/", "");

    let again = reconcile(&pair, &[]).await.expect_code(0).report();
    assert_eq!(
        (&again["missing"], &again["extra"], &again["behind_p50_secs"]),
        (&0.into(), &0.into(), &serde_json::Value::Null)
    );

    // An emptied source is no reason to empty the destination.
    pair.from().clear();
    let refused = reconcile(&pair, &[]).await.expect_code(0).report();
    assert_eq!(
        (&refused["deletes"]["refused"]["planned"], pair.to().len()),
        (&1_001.into(), 1_001),
        "{refused}"
    );
}

#[tokio::test]
async fn a_task_that_cannot_be_read_says_where() {
    let pair = Pair::start().await;
    std::fs::write(pair.directory().join("bad.yaml"), "name: x\ncolour: red\n").expect("the task");
    let ended = pair.program(FERRY).args(["reconcile", "bad.yaml"]).run().await.expect_code(2);
    assert!(ended.shows("bad.yaml") && ended.shows("colour"), "{ended}");
}
