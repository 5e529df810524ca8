//! What stays broken: it is reported, nothing of it appears, and nothing is left behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use ferry_testkit::bucket::Bucket;
use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::operation::Operation;
use ferry_tests::{Pair, Side, StoreSetup};
use serde_json::Value;

use crate::objects::{bytes, fill_small, sync, whole};

const KIB: usize = 1 << 10;
const IN_PARTS: [&str; 4] = ["--part-size", "32KiB", "--multipart-threshold", "64KiB"];

/// Keys by what goes wrong with them for good. `large` ones go in parts.
const AT_SOURCE: [(&str, Action); 4] = [
    ("cut-small", Action::CutBody { after_bytes: 100 }),
    ("cut-large", Action::CutBody { after_bytes: 100 }),
    ("flipped", Action::FlipByte { at: 100 }),
    ("unreadable", Action::INTERNAL_ERROR),
];
const AT_DESTINATION: [(&str, Operation); 3] = [
    ("unwritable", Operation::PutObject),
    ("part-unwritable-large", Operation::UploadPart),
    ("never-complete-large", Operation::CompleteMultipartUpload),
];
/// Every read finds another generation, so that no copy in parts is ever of one.
const RESTLESS: &str = "restless-large";
/// Somebody else writes it at the destination each time just before Ferry does.
const RACED: &str = "raced";

fn body(key: &str, generation: u64) -> Bytes {
    bytes(if key.ends_with("large") { 100 * KIB } else { 1000 }, generation)
}

/// Writes a new generation of the object that is asked for.
fn overwrite(bucket: Arc<Bucket>) -> Action {
    let count = AtomicU64::new(100);
    Action::before(move |target| {
        let generation = count.fetch_add(1, Ordering::Relaxed);
        bucket.put_object(&target.key, body(&target.key, generation));
    })
}

/// Puts all of that in place; the keys that must fail, in order.
fn break_for_good(pair: &Pair) -> Vec<&'static str> {
    let (source, destination) = (pair.source.faults(), pair.destination.faults());
    for (key, action) in AT_SOURCE {
        source.add(Rule::on(Operation::GetObject, action).key_contains(key));
    }
    for (key, operation) in AT_DESTINATION {
        destination.add(Rule::on(operation, Action::INTERNAL_ERROR).key_contains(key));
    }
    source.add(Rule::on(Operation::GetObject, overwrite(pair.from())).key_contains(RESTLESS));
    destination.add(Rule::on(Operation::PutObject, overwrite(pair.to())).key_contains(RACED));
    let mut keys: Vec<&str> = AT_SOURCE.iter().map(|(key, _)| *key).collect();
    keys.extend(AT_DESTINATION.map(|(key, _)| key));
    keys.extend([RESTLESS, RACED]);
    keys.sort_unstable();
    for key in &keys {
        pair.from().put_object(key, body(key, 1));
    }
    keys
}

/// The one run that follows the whole schedule of retries, some twenty seconds of waiting: everything that stays broken is in it.
#[tokio::test]
async fn what_stays_broken_fails_alone_after_every_attempt_and_leaves_nothing_but_what_can_be_gone_on_with() {
    let pair = Pair::with(StoreSetup::with_small_parts(), StoreSetup::with_small_parts()).await;
    fill_small(&pair.from(), 5);
    let broken = break_for_good(&pair);
    let args = [&IN_PARTS[..], &["--receipts", "receipts.jsonl"]].concat();
    let ended = sync(&pair, &args).await.expect_code(1);
    let report = ended.report();
    assert_eq!((&report["copied"], &report["failed"]), (&5.into(), &broken.len().into()), "{ended}");
    let failures = report["failures"].as_array().expect("failures");
    let mut failed: Vec<&str> = failures.iter().filter_map(|failure| failure["key"].as_str()).collect();
    failed.sort_unstable();
    assert_eq!(failed, broken);

    let raced = pair.to().bytes(RACED).expect("the other writer's");
    assert_ne!(
        raced,
        pair.from().bytes(RACED).expect("ours"),
        "another's bytes are never overwritten unseen"
    );
    pair.to().remove(RACED);
    assert_eq!(pair.to().len(), 5, "nothing appears that is not whole: {:?}", pair.to().keys());
    let open: Vec<String> = pair.to().open_uploads().into_iter().map(|upload| upload.key).collect();
    assert!(
        open.iter().all(|key| AT_SOURCE
            .iter()
            .map(|(key, _)| key)
            .chain(AT_DESTINATION.iter().map(|(key, _)| key))
            .any(|broken| broken == key)),
        "no upload is left but those the next run goes on with: {open:?}"
    );

    let text = std::fs::read_to_string(pair.directory().join("receipts.jsonl")).expect("receipts");
    let receipts: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("receipt")).collect();
    for key in &broken {
        let of_key: Vec<&Value> = receipts.iter().filter(|receipt| receipt["key"] == *key).collect();
        let last: Vec<&Value> = of_key
            .iter()
            .filter(|receipt| receipt["last"] == true)
            .map(|receipt| &receipt["attempt"])
            .collect();
        assert_eq!(last, [&Value::from(of_key.len())], "one final receipt, the last: {of_key:?}");
    }

    pair.source.faults().clear();
    pair.destination.faults().clear();
    let healed = sync(&pair, &IN_PARTS).await.expect_code(0).report();
    assert_eq!(healed["copied"], broken.len(), "and all is well once it works: {healed}");
    pair.assert_same();
}

#[tokio::test]
async fn an_upload_that_is_refused_in_the_middle_is_aborted() {
    for operation in [Operation::UploadPart, Operation::CompleteMultipartUpload] {
        let pair = Pair::with(StoreSetup::with_small_parts(), StoreSetup::with_small_parts()).await;
        pair.from().put_object("large", bytes(200 * KIB, 1));
        pair.destination.faults().add(Rule::on(operation, Action::ACCESS_DENIED).nth(1));
        // The abort has to be asked for twice.
        pair.destination
            .faults()
            .add(Rule::on(Operation::AbortMultipartUpload, Action::INTERNAL_ERROR).first(1));
        let ended = sync(&pair, &IN_PARTS).await.expect_code(1);
        assert_eq!(ended.report()["failed"], 1, "{ended}");
        assert!(pair.to().is_empty() && pair.to().open_uploads().is_empty(), "{operation}");
        assert_eq!(pair.destination.log().count(Operation::AbortMultipartUpload), 2, "{operation}");
    }
}

#[tokio::test]
async fn a_destination_that_takes_nothing_is_given_up_early() {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 900);
    pair.destination.faults().add(Rule::on(Operation::PutObject, Action::ACCESS_DENIED));
    let ended = sync(&pair, &["--concurrency", "4"]).await.expect_code(1);
    let report = ended.report();
    let reason = report["gave_up"].as_str().unwrap_or_else(|| panic!("not given up: {ended}"));
    assert!(reason.contains("PutObject island://beach") && reason.contains("403"), "{reason}");
    let puts = pair.destination.log().count(Operation::PutObject);
    assert!(puts < 100, "{puts} refusals are enough to know");
    assert_eq!(report["copied"], 0, "{ended}");
    let text = whole(&pair, "sync").run().await.expect_code(1);
    assert!(
        text.stdout.contains("Given up, since no object can succeed: PutObject island://beach"),
        "{text}"
    );
}

#[tokio::test]
async fn keys_that_stop_working_in_the_middle_end_the_run() {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 900);
    let expired = Action::Refuse { status: 400, code: "ExpiredToken" };
    pair.fail_from(Side::Source, Operation::GetObject, 50, 2_000, &expired);
    let ended = sync(&pair, &["--concurrency", "4"]).await.expect_code(1);
    let report = ended.report();
    assert!(
        report["gave_up"].as_str().is_some_and(|reason| reason.contains("session token has expired")),
        "{ended}"
    );
    let copied = report["copied"].as_u64().expect("a count");
    assert!((1..200).contains(&copied), "{ended}");
    assert_eq!(pair.to().len() as u64, copied, "what is reported is there, and no more");
}
