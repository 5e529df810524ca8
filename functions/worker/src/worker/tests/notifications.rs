//! What stores put on the queue themselves.

use ferry_transfer::receipt::Outcome;
use serde_json::json;

use super::*;

fn record(name: &str, key: &str) -> serde_json::Value {
    json!({ "eventSource": "aws:s3", "eventName": name, "s3": { "bucket": { "name": "source" }, "object": { "key": key } } })
}

fn notification(records: &[serde_json::Value]) -> String {
    json!({ "Records": records }).to_string()
}

fn mirror() -> Deletes {
    Deletes::Mirror(DeleteLimit::default())
}

#[tokio::test]
async fn one_message_is_as_many_jobs_as_it_has_objects() {
    let stage = Stage::new(mirror());
    stage.source.put_object("a b+c", "one");
    stage.source.put_object("second", "two");
    stage.destination.put_object("third", "gone at the source");
    let body = notification(&[
        record("ObjectCreated:Put", "a+b%2Bc"),
        record("ObjectCreated:Put", "second"),
        record("ObjectRemoved:Delete", "third"),
        record("ObjectAcl:Put", "fourth"),
    ]);
    assert_eq!(stage.deliver(&body, 1).await.batch_item_failures, []);
    assert_eq!(stage.destination.keys(), ["a b+c", "second"]);
    assert_eq!(stage.receipts.0.lock().expect("lock").len(), 3);
}

#[tokio::test]
async fn what_tries_the_line_is_done_with() {
    let stage = Stage::new(mirror());
    let answer = stage.deliver(r#"{"Event":"s3:TestEvent","Bucket":"b"}"#, 1).await;
    assert_eq!(answer.batch_item_failures, []);
    assert_eq!(stage.dead_letters.depth().await.expect("depth").visible, 0);
}

#[tokio::test]
async fn an_object_that_fails_brings_the_message_back_and_its_neighbours_are_done() {
    let stage = Stage::new(Deletes::Keep);
    stage.source.put_object("bad", "one");
    stage.source.put_object("good", "two");
    let body = notification(&[record("ObjectCreated:Put", "bad"), record("ObjectCreated:Put", "good")]);
    stage.source_faults.script(|call| {
        let is_bad = call.key.is_some_and(|key| key.as_str() == "bad");
        (call.operation == Operation::GetObject && is_bad).then_some(StoreFault::Fail(ErrorKind::Transient))
    });
    assert_eq!(stage.deliver(&body, 1).await.batch_item_failures.len(), 1);
    assert_eq!(stage.destination.keys(), ["good"]);
    // The last delivery leaves the one job with the dead letters, not the whole message.
    assert_eq!(stage.deliver(&body, 5).await.batch_item_failures, []);
    let letters = stage.dead().await;
    assert_eq!(letters.len(), 1);
    assert!(letters[0].0.contains("\"key\":\"bad\""), "{letters:?}");
}

#[tokio::test]
async fn a_record_that_cannot_be_read_ends_with_the_dead_letters_after_its_neighbours() {
    let stage = Stage::new(Deletes::Keep);
    stage.source.put_object("good", "two");
    let body = notification(&[json!({ "s3": { "object": {} } }), record("ObjectCreated:Put", "good")]);
    assert_eq!(stage.deliver(&body, 1).await.batch_item_failures, []);
    assert_eq!(stage.destination.keys(), ["good"]);
    assert_eq!(stage.dead_letters.depth().await.expect("depth").visible, 1);
}

#[tokio::test]
async fn a_delete_that_is_older_than_what_is_there_copies_it_whatever_the_task_says_of_deletes() {
    for deletes in [Deletes::Keep, mirror()] {
        let stage = Stage::new(deletes);
        stage.source.put_object("a", "newer");
        stage.destination.put_object("a", "older");
        stage.deliver(&notification(&[record("ObjectRemoved:Delete", "a")]), 1).await;
        assert_eq!(stage.destination.bytes("a"), stage.source.bytes("a"));
        assert!(matches!(stage.last_outcome(), Outcome::Copied(_)));
    }
}

#[tokio::test]
async fn a_delete_where_the_task_keeps_objects_says_so() {
    let stage = Stage::new(Deletes::Keep);
    stage.destination.put_object("a", "kept");
    stage.deliver(&notification(&[record("ObjectRemoved:Delete", "a")]), 1).await;
    assert_eq!(stage.last_outcome(), Outcome::Skipped { reason: SkipReason::DeletesNotAllowed });
    assert!(stage.destination.get("a").is_some());
}

#[tokio::test]
async fn a_job_is_buried_once_however_often_its_neighbours_come_back() {
    let stage = Stage::new(Deletes::Keep);
    stage.source.put_object("forbidden", "one");
    stage.source.put_object("late", "two");
    let body = notification(&[record("ObjectCreated:Put", "forbidden"), record("ObjectCreated:Put", "late")]);
    stage.source_faults.script(|call| {
        let fails = |key: &str| call.key.is_some_and(|called| called.as_str() == key);
        match call.operation {
            Operation::GetObject if fails("forbidden") => Some(StoreFault::Fail(ErrorKind::PermissionDenied)),
            Operation::GetObject if fails("late") => Some(StoreFault::Fail(ErrorKind::Transient)),
            _ => None,
        }
    });
    for attempt in [1, 2] {
        assert_eq!(stage.deliver(&body, attempt).await.batch_item_failures.len(), 1);
        assert_eq!(stage.dead().await.len(), 0, "it would be buried at every delivery");
    }
    assert_eq!(stage.deliver(&body, 3).await.batch_item_failures, []);
    assert_eq!(stage.dead().await.len(), 2);
    let receipts = stage.receipts.0.lock().expect("lock");
    let of_forbidden = receipts.iter().filter(|receipt| receipt.key.as_str() == "forbidden");
    let last = |receipt: &&Receipt| matches!(receipt.outcome, Outcome::Failed(Failed { last: true, .. }));
    assert_eq!(of_forbidden.filter(last).count(), 1, "{receipts:?}");
}

#[tokio::test]
async fn an_event_of_another_bucket_is_nobody_s_business() {
    let stage = Stage::new(mirror());
    stage.source.put_object("a", "of the task's bucket");
    stage.destination.put_object("gone", "its copy");
    for name in ["ObjectCreated:Put", "ObjectRemoved:Delete"] {
        for key in ["a", "gone"] {
            let mut foreign = record(name, key);
            foreign["s3"]["bucket"]["name"] = "another".into();
            assert_eq!(stage.deliver(&notification(&[foreign]), 1).await.batch_item_failures, []);
            assert_eq!(stage.last_outcome(), Outcome::Skipped { reason: SkipReason::OtherBucket });
        }
    }
    assert_eq!(stage.destination.keys(), ["gone"]);
    assert_eq!(stage.dead().await.len(), 0);
}
