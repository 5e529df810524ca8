//! How fast: what a store takes, what a user allows, and what happens when keys change on the way.

use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::operation::Operation;
use ferry_testkit::synthetic::{GeneratedBucket, GeneratedEtag, SinkEtag, SyntheticConfig, SyntheticServer};
use ferry_tests::{Ended, Pair, Program, Side};
use serde_json::Value;

use crate::FERRY;
use crate::objects::sync;

/// Copies from one synthetic endpoint to another.
async fn between(source: &SyntheticServer, destination: &SyntheticServer, args: &[&str]) -> Ended {
    let home = tempfile::tempdir().expect("directory");
    Program::new(FERRY, home.path())
        .credentials("BENCH", "key-id", "secret-key")
        .args(["sync", "source://from", "destination://to", "--json"])
        .args(["--source-endpoint", &source.endpoint(), "--source-credentials", "env:BENCH"])
        .args(["--dest-endpoint", &destination.endpoint(), "--dest-credentials", "env:BENCH"])
        .args(args.iter().copied())
        .run()
        .await
}

async fn server(config: SyntheticConfig) -> SyntheticServer {
    SyntheticServer::start(config).await.expect("server")
}

fn throttled(report: &Value, side: &str) -> u64 {
    report["requests"][side]["throttled"].as_u64().expect("a count")
}

#[tokio::test]
async fn a_store_that_takes_few_requests_at_once_gets_no_more_and_no_object_fails() {
    const OBJECTS: u64 = 150;
    let latency = std::time::Duration::from_millis(150);
    let source =
        server(SyntheticConfig::default().generated("from", GeneratedBucket::new(OBJECTS, 100))).await;
    let limited =
        SyntheticConfig::default().sink("to", SinkEtag::Md5).with_latency(latency).throttling_above(4);
    let destination = server(limited).await;
    let report = between(&source, &destination, &[]).await.expect_code(0).report();
    assert_eq!((&report["copied"], &report["failed"]), (&OBJECTS.into(), &0.into()), "{report}");
    let refused = throttled(&report, "destination");
    assert_eq!(refused, destination.throttled(), "{report}");
    assert!(refused > 0, "the limit was never found: {report}");
    // A run this short is mostly its beginning, eight requests at once.
    assert!(refused * 10 < OBJECTS, "more than 10 % were refused: {report}");
    let writes = &report["pace"]["destination"]["write"];
    assert_eq!(writes["throttled"], refused, "{report}");
}

/// A copy whose tag a later scan cannot compare is looked at once more behind its write; a tag that only looks like one of parts
/// costs nothing beyond that.
#[tokio::test]
async fn a_small_object_is_two_requests_and_a_look_where_its_tag_proves_nothing() {
    const OBJECTS: u64 = 40;
    for (etag, looks) in
        [(GeneratedEtag::Md5, 0), (GeneratedEtag::Opaque, OBJECTS), (GeneratedEtag::DigestAndSize, OBJECTS)]
    {
        let from = GeneratedBucket { etag, ..GeneratedBucket::new(OBJECTS, 4096) };
        let source = server(SyntheticConfig::default().generated("from", from)).await;
        let destination = server(SyntheticConfig::default().sink("to", SinkEtag::Md5)).await;
        let report = between(&source, &destination, &[]).await.expect_code(0).report();
        assert_eq!(report["copied"], OBJECTS, "{etag:?}: {report}");
        let asked =
            |server: &SyntheticServer, operation| server.requests().get(operation).copied().unwrap_or(0);
        assert_eq!(
            (asked(&source, "GetObject"), asked(&source, "HeadObject"), asked(&destination, "PutObject")),
            (OBJECTS, looks, OBJECTS),
            "{etag:?}"
        );
        assert_eq!(asked(&destination, "HeadObject"), 0, "{etag:?}");
    }
}

/// Small objects wait for answers most of the time and take next to no memory; large ones hold buffers.
#[tokio::test]
async fn more_small_objects_than_large_ones_are_on_their_way_at_once() {
    let latency = std::time::Duration::from_millis(100);
    let peak = async |objects, size_bytes| {
        let source =
            server(SyntheticConfig::default().generated("from", GeneratedBucket::new(objects, size_bytes)))
                .await;
        let slow = SyntheticConfig::default().sink("to", SinkEtag::Opaque).with_latency(latency);
        let destination = server(slow).await;
        between(&source, &destination, &[]).await.expect_code(0);
        destination.in_flight_peak()
    };
    let (small, large) = (peak(1_500, 100).await, peak(200, 2 << 20).await);
    assert!(small > 40, "{small} small objects at once");
    assert!((8..=32).contains(&large), "{large} large objects at once");
}

/// Of time, only a lower bound is judged: the machine may be as busy as it likes.
#[tokio::test]
async fn caps_are_kept() {
    let start = || async {
        let source =
            server(SyntheticConfig::default().generated("from", GeneratedBucket::new(40, 100_000))).await;
        (source, server(SyntheticConfig::default().sink("to", SinkEtag::Md5)).await)
    };
    let seconds = |report: &Value| report["seconds"].as_f64().expect("seconds");
    let (source, destination) = start().await;
    let report = between(&source, &destination, &["--max-bandwidth", "2MB"]).await.expect_code(0).report();
    // 4 MB, less one burst and what is moved with the last chunk.
    assert!(seconds(&report) > 1.8 && report["copied"] == 40, "{report}");
    let (source, destination) = start().await;
    let report = between(&source, &destination, &["--max-requests", "20"]).await.expect_code(0).report();
    // 40 reads and some listings at the source; as many writes at the destination, at the same time.
    assert!(seconds(&report) > 1.9 && report["copied"] == 40, "{report}");
}

#[tokio::test]
async fn caps_that_are_none_are_refused() {
    let pair = Pair::start().await;
    sync(&pair, &["--max-bandwidth", "fast"]).await.expect_refusal(&["--max-bandwidth", "100MiB", "1Gbit"]);
    sync(&pair, &["--max-requests", "0"]).await.expect_refusal(&["--max-requests", "at least 1"]);
}

/// A store whose keys come from a command that prints other ones from its second run on.
fn with_rotating_keys(pair: &Pair, first: &str, then: &str) {
    let script = format!("if [ -e used ]; then echo {then}; else echo {first}; fi\necho run >> used\n");
    std::fs::write(pair.directory().join("keys.sh"), script).expect("script");
    let file = pair.directory().join("ferry.yaml");
    let yaml = std::fs::read_to_string(&file).expect("ferry.yaml");
    std::fs::write(&file, yaml.replace("env:HARBOUR", "'command:sh keys.sh'")).expect("ferry.yaml");
}

fn lookups(pair: &Pair) -> usize {
    std::fs::read_to_string(pair.directory().join("used")).expect("lookups").lines().count()
}

#[tokio::test]
async fn keys_that_were_rotated_are_looked_up_once_more_and_the_run_goes_on() {
    let pair = Pair::start().await;
    for number in 0..50 {
        pair.from().put_object(&format!("{number}"), "x");
    }
    with_rotating_keys(&pair, "old-key-id old-secret-key", "harbour-key-id harbour-secret-key");
    let report = sync(&pair, &[]).await.expect_code(0).report();
    assert_eq!(report["copied"], 50, "{report}");
    pair.assert_same();
    assert_eq!(lookups(&pair), 2);
}

#[tokio::test]
async fn keys_that_expire_in_the_middle_fail_no_object() {
    let pair = Pair::start().await;
    for number in 0..50 {
        pair.from().put_object(&format!("{number}"), "x");
    }
    // The server knows one pair of keys; the second word of both is the same, the token differs.
    let keys = |token: &str| {
        format!(
            r#"'{{"access_key_id":"harbour-key-id","secret_access_key":"harbour-secret-key","session_token":"{token}"}}'"#
        )
    };
    with_rotating_keys(&pair, &keys("one"), &keys("two"));
    let expired = Action::Refuse { status: 400, code: "ExpiredToken" };
    pair.fail_from(Side::Source, Operation::GetObject, 5, 3, &expired);
    let report = sync(&pair, &[]).await.expect_code(0).report();
    assert_eq!((&report["copied"], &report["failed"]), (&50.into(), &0.into()), "{report}");
    assert_eq!(lookups(&pair), 2);
}

#[tokio::test]
async fn keys_that_stay_wrong_are_looked_up_once_more_and_then_the_run_ends() {
    let pair = Pair::start().await;
    pair.from().put_object("a", "x");
    with_rotating_keys(&pair, "old-key-id old-secret-key", "old-key-id old-secret-key");
    sync(&pair, &[]).await.expect_refusal(&["harbour://docks"]);
    assert_eq!(lookups(&pair), 2);
}

#[tokio::test]
async fn refusals_for_coming_too_fast_are_counted_and_outlasted() {
    let pair = Pair::start().await;
    pair.from().put_object("a", "x");
    pair.source.faults().add(Rule::on(Operation::GetObject, Action::SLOW_DOWN).first(2));
    let report = sync(&pair, &[]).await.expect_code(0).report();
    assert_eq!((throttled(&report, "source"), &report["failed"]), (2, &0.into()), "{report}");
}
