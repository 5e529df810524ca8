//! Events whose object goes, comes back or grows while they are on their way.

use ferry_transfer::job::{Job, Message, Origin};
use ferry_transfer::receipt::Outcome;
use ferry_transfer::{ETag, Key};

use super::*;

fn mirror() -> Deletes {
    Deletes::Mirror(DeleteLimit::Percent(100))
}

fn event(key: &str) -> Job {
    Job { origin: Some(Origin::Event), ..Job::for_key(Key::new(key).expect("key")) }
}

fn body(job: Job) -> String {
    Message::Object(job).to_json()
}

/// Removes the object at the source when the write of its copy is on its way.
fn remove_in_mid_write(stage: &Stage, then: impl Fn(&Bucket) + Send + Sync + 'static) {
    let source = Arc::clone(&stage.source);
    stage.destination_faults.script(move |call| {
        if matches!(call.operation, Operation::PutObject | Operation::CompleteMultipartUpload)
            && call.number == 1
        {
            source.remove("a");
            then(&source);
        }
        None
    });
}

#[tokio::test]
async fn a_copy_that_ends_after_its_object_s_delete_does_not_bring_it_back() {
    // In memory, streamed, in parts.
    for size in [3, 40, 100] {
        let stage = Stage::new(mirror());
        stage.source.put_object("a", vec![7; size]);
        remove_in_mid_write(&stage, |_| {});
        stage.deliver(&body(event("a")), 1).await;
        assert!(stage.destination.is_empty(), "{size} bytes: {:?}", stage.last_outcome());
        assert_eq!(stage.last_outcome(), Outcome::Deleted);
    }
}

#[tokio::test]
async fn a_task_that_keeps_objects_keeps_such_a_copy() {
    let stage = Stage::new(Deletes::Keep);
    stage.source.put_object("a", "one");
    remove_in_mid_write(&stage, |_| {});
    stage.deliver(&body(event("a")), 1).await;
    assert_eq!(stage.destination.keys(), ["a"]);
}

#[tokio::test]
async fn what_comes_back_in_another_shape_is_copied_as_it_is() {
    let stage = Stage::new(mirror());
    stage.source.put_object("a", "one");
    remove_in_mid_write(&stage, |source| {
        source.put_object("a", "another");
    });
    stage.deliver(&body(event("a")), 1).await;
    assert_eq!(stage.destination.bytes("a"), stage.source.bytes("a"));
    assert!(matches!(stage.last_outcome(), Outcome::Copied(_)));
}

#[tokio::test]
async fn what_others_wrote_over_the_copy_is_not_taken_for_it() {
    let stage = Stage::new(mirror());
    stage.source.put_object("a", "one");
    remove_in_mid_write(&stage, |_| {});
    // Somebody writes after the copy and before its delete.
    let destination = Arc::clone(&stage.destination);
    stage.destination_faults.script(move |call| {
        if call.operation == Operation::DeleteObject && call.number == 1 {
            destination.put_object("a", "another's");
        }
        None
    });
    stage.deliver(&body(event("a")), 1).await;
    // Its source is gone all the same, of which a second look made sure: it goes by the proof of its own state.
    assert!(stage.destination.is_empty() && stage.destination_faults.calls(Operation::DeleteObject) == 2);
}

#[tokio::test]
async fn a_worker_killed_between_the_write_and_the_second_look_leaves_no_ghost() {
    let stage = Stage::new(mirror());
    stage.destination.put_object("a", "written by a worker that was killed");
    stage.deliver(&body(event("a")), 2).await;
    assert_eq!((stage.last_outcome(), stage.destination.len()), (Outcome::Deleted, 0));
}

fn appended(stage: &Stage) -> String {
    let etag: Option<ETag> = stage.source.get("a").map(|object| object.etag.clone());
    body(Job { appended: true, etag, ..event("a") })
}

#[tokio::test]
async fn of_many_appends_the_last_state_is_copied_once() {
    let stage = Stage::new(Deletes::Keep);
    let mut bodies = Vec::new();
    for length in 1..=20 {
        stage.source.put_object("a", vec![b'x'; length]);
        bodies.push(appended(&stage));
        if length == 1 {
            stage.deliver(&bodies[0], 1).await;
        }
    }
    for body in &bodies[1..] {
        stage.deliver(body, 1).await;
    }
    assert_eq!(stage.destination.bytes("a"), stage.source.bytes("a"));
    assert_eq!(stage.destination_faults.calls(Operation::PutObject), 2, "the first and the last");
    let receipts = stage.receipts.0.lock().expect("lock");
    let superseded = Outcome::Skipped { reason: SkipReason::Superseded };
    assert_eq!(receipts.iter().filter(|receipt| receipt.outcome == superseded).count(), 18);
}

#[tokio::test]
async fn an_object_that_never_comes_to_rest_is_copied_now_and_then() {
    let stage = Stage::new(Deletes::Keep);
    stage.source.put_object("a", "1");
    stage.deliver(&appended(&stage), 1).await;
    let stale = appended(&stage);
    stage.source.put_object("a", "12");
    stage.deliver(&stale, 1).await;
    assert_eq!(stage.last_outcome(), Outcome::Skipped { reason: SkipReason::Superseded });
    stage.clock.0.fetch_add(300, Relaxed);
    stage.deliver(&stale, 1).await;
    assert_eq!(stage.destination.bytes("a").as_deref(), Some(b"12".as_slice()));
}

#[tokio::test]
async fn how_long_an_event_took_is_measured() {
    let mut stage = Stage::new(Deletes::Keep);
    let measures = Arc::new(ferry_transfer::metric::Measures::default());
    stage.worker.receipts = Arc::clone(&measures) as _;
    stage.source.put_object("a", "1");
    stage.clock.0.store(100, Relaxed);
    let at = OffsetDateTime::UNIX_EPOCH + Duration::from_secs(40);
    stage.deliver(&body(Job { event_time: Some(at), ..event("a") }), 1).await;
    let lag = measures.take_lags(ferry_transfer::metric::Lag::Event).quantile(0.5).expect("a lag");
    assert!((60..80).contains(&lag.as_secs()), "{lag:?}");
    assert!(measures.take_lags(ferry_transfer::metric::Lag::Event).is_empty());
}
