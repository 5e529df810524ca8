//! Conditions on writes: other writers at the destination, and stores that get conditions wrong.

use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::operation::Operation;
use ferry_tests::{Pair, StoreSetup};

use crate::objects::{bytes, sync};

const KIB: usize = 1 << 10;
const IN_PARTS: [&str; 4] = ["--part-size", "32KiB", "--multipart-threshold", "64KiB"];

/// Two objects at the source: a new one, and one of which the destination has an older generation; small, and large enough for
/// parts.
async fn new_and_changed() -> Pair {
    let pair = Pair::with(StoreSetup::with_small_parts(), StoreSetup::with_small_parts()).await;
    for (size, length) in [("small", KIB), ("large", 100 * KIB)] {
        pair.from().put_object(&format!("new/{size}"), bytes(length, 1));
        pair.from().put_object(&format!("changed/{size}"), bytes(length, 2));
        pair.to().put_object(&format!("changed/{size}"), "older");
    }
    pair
}

/// The conditions of the writes that made objects appear, in the order they came.
fn conditions(pair: &Pair, key: &str) -> Vec<Option<String>> {
    let appears = [Operation::PutObject, Operation::CompleteMultipartUpload];
    let requests = pair.destination.recent_requests();
    let writes = requests
        .iter()
        .filter(|request| request.target.key == key && appears.contains(&request.target.operation));
    writes
        .map(|request| {
            let header = |name: &str| request.headers.get(name).map(|value| format!("{name}: {value}"));
            header("if-none-match").or_else(|| header("if-match"))
        })
        .collect()
}

#[tokio::test]
async fn every_write_says_what_it_expects_to_find() {
    let pair = new_and_changed().await;
    let older = pair.to().get("changed/small").expect("older").etag.quoted();
    sync(&pair, &IN_PARTS).await.expect_code(0);
    pair.assert_same();
    for size in ["small", "large"] {
        assert_eq!(conditions(&pair, &format!("new/{size}")), [Some("if-none-match: *".to_owned())]);
        assert_eq!(conditions(&pair, &format!("changed/{size}")), [Some(format!("if-match: {older}"))]);
    }
}

#[tokio::test]
async fn a_store_that_does_not_know_conditions_is_written_without() {
    for action in [Action::NOT_IMPLEMENTED, Action::Refuse { status: 400, code: "NotImplemented" }] {
        let pair = new_and_changed().await;
        for operation in [Operation::PutObject, Operation::CompleteMultipartUpload] {
            pair.destination.faults().add(Rule::on(operation, action.clone()).first(1));
        }
        sync(&pair, &IN_PARTS).await.expect_code(0);
        pair.assert_same();
        let all: Vec<_> =
            ["new/small", "changed/small"].iter().flat_map(|key| conditions(&pair, key)).collect();
        assert!(all.contains(&None), "nobody went on without conditions: {all:?}");
    }
}

#[tokio::test]
async fn a_store_that_refuses_conditions_that_hold_is_written_without() {
    // Ceph 16 answers 412 to the right ETag.
    let pair = new_and_changed().await;
    for operation in [Operation::PutObject, Operation::CompleteMultipartUpload] {
        pair.destination.faults().add(Rule::on(operation, Action::PRECONDITION_FAILED).first(1));
    }
    let report = sync(&pair, &IN_PARTS).await.expect_code(0).report();
    assert_eq!(report["copied"], 4, "{report}");
    pair.assert_same();
}

#[tokio::test]
async fn a_conflict_with_another_writer_is_no_reason_to_write_without_conditions() {
    let conflict = Action::Refuse { status: 409, code: "ConditionalRequestConflict" };
    for operation in [Operation::PutObject, Operation::CompleteMultipartUpload] {
        let pair = new_and_changed().await;
        pair.destination.faults().add(Rule::on(operation, conflict.clone()).first(1));
        sync(&pair, &IN_PARTS).await.expect_code(0);
        pair.assert_same();
        for key in pair.from().keys() {
            let conditions = conditions(&pair, &key);
            assert!(conditions.iter().all(Option::is_some), "{operation}, {key}: {conditions:?}");
        }
    }
}

#[tokio::test]
async fn another_writer_who_comes_first_is_noticed_and_then_overwritten_knowingly() {
    for operation in [Operation::PutObject, Operation::CompleteMultipartUpload] {
        for key in ["new", "changed"] {
            let pair = new_and_changed().await;
            let bucket = pair.to();
            let race = Action::before(move |target| drop(bucket.put_object(&target.key, "another writer's")));
            pair.destination.faults().add(Rule::on(operation, race).key_contains(key).nth(1));
            let report = sync(&pair, &IN_PARTS).await.expect_code(0).report();
            assert_eq!(report["copied"], 4, "{report}");
            pair.assert_same();
            let size = if operation == Operation::PutObject { "small" } else { "large" };
            let conditions = conditions(&pair, &format!("{key}/{size}"));
            assert_eq!(conditions.len(), 2, "{conditions:?}");
            assert!(
                conditions[1].as_ref().is_some_and(|header| header.starts_with("if-match")),
                "{conditions:?}"
            );
        }
    }
}

#[tokio::test]
async fn another_writer_who_did_the_same_leaves_nothing_to_do() {
    let pair = new_and_changed().await;
    let (from, to) = (pair.from(), pair.to());
    let race = Action::before(move |target| {
        let body = from.bytes(&target.key).expect("original");
        to.put_object(&target.key, body);
    });
    pair.destination.faults().add(Rule::on(Operation::PutObject, race).first(2));
    let report = sync(&pair, &IN_PARTS).await.expect_code(0).report();
    assert_eq!((&report["copied"], &report["up_to_date"]), (&2.into(), &2.into()), "{report}");
    pair.assert_same();
}
