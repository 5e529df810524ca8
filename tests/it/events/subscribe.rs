//! `ferry events subscribe` before a store that keeps what it is told.

use ferry_tests::{Pair, Side};

const FERRY: &str = env!("CARGO_BIN_EXE_ferry-under-test");
const QUEUE: &str = "arn:aws:sqs:us-east-1:000000000000:jobs";

async fn subscribe(pair: &Pair, more: &[&str]) -> ferry_tests::Ended {
    let location = Side::Source.location("photos/");
    let args = [&["events", "subscribe", &location, QUEUE, "--json"], more].concat();
    pair.program(FERRY).args(args).run().await
}

#[tokio::test]
async fn a_bucket_tells_one_more_queue_and_all_that_it_told_before() {
    let pair = Pair::start().await;
    let rehearsed = subscribe(&pair, &["--dry-run"]).await.expect_code(0).report();
    assert_eq!((&rehearsed["changed"], &rehearsed["id"]), (&false.into(), &"ferry".into()));
    let made = subscribe(&pair, &[]).await.expect_code(0).report();
    assert_eq!((&made["changed"], &made["kept"]), (&true.into(), &0.into()));
    let again = subscribe(&pair, &[]).await.expect_code(0).report();
    assert_eq!((&again["changed"], &again["id"]), (&false.into(), &serde_json::Value::Null));

    let elsewhere = Side::Source.location("videos/");
    let args = ["events", "subscribe", &elsewhere, "arn:aws:sqs:us-east-1:000000000000:other", "--json"];
    let other = pair.program(FERRY).args(args).run().await.expect_code(0).report();
    assert_eq!((&other["id"], &other["kept"]), (&"ferry-2".into(), &1.into()));
    let still = subscribe(&pair, &[]).await.expect_code(0).report();
    assert_eq!(still["changed"], false, "the first one is still there");

    let wider = Side::Source.location("");
    let refused = pair.program(FERRY).args(["events", "subscribe", &wider, QUEUE]).run().await;
    assert!(refused.code != 0 && refused.shows("\"ferry\"") && refused.shows("photos/"), "{refused}");
}
