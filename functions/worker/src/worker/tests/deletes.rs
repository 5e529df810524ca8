//! Deletes: proof, journal, trash, and what keeps an object from being deleted.

use ferry_transfer::deletion::Step;
use ferry_transfer::receipt::Outcome;

use super::*;

const DELETE: &str = r#"{"key":"a","run":"r1","action":"delete"}"#;

fn mirror() -> Deletes {
    Deletes::Mirror(DeleteLimit::default())
}

/// What the journal says, each step in a word.
fn steps(stage: &Stage) -> Vec<&'static str> {
    let word = |entry: &JournalEntry| match &entry.step {
        Step::Intended { .. } => "intended",
        Step::Trashed { .. } => "trashed",
        Step::Deleted { .. } => "deleted",
        Step::Kept { .. } => "kept",
    };
    stage.journal.0.lock().expect("lock").iter().map(word).collect()
}

fn skipped(reason: SkipReason) -> Outcome {
    Outcome::Skipped { reason }
}

#[tokio::test]
async fn a_delete_is_written_down_before_and_after() {
    let stage = Stage::new(mirror());
    let held = stage.destination.put_object("a", "one");
    stage.deliver(DELETE, 1).await;
    assert_eq!(steps(&stage), ["intended", "deleted"]);
    let journal = stage.journal.0.lock().expect("lock");
    let Step::Intended { size_bytes, etag, last_modified, .. } = &journal[0].step else {
        panic!("{journal:?}")
    };
    assert_eq!((*size_bytes, etag.as_ref(), *last_modified), (3, Some(&held.etag), Some(held.last_modified)));
}

#[derive(Debug)]
struct FullDisk;

#[async_trait]
impl DeleteJournal for FullDisk {
    async fn write(&self, _run: Option<&str>, _entry: JournalEntry) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Configuration, "the disk is full"))
    }
}

#[tokio::test]
async fn a_journal_that_cannot_be_written_keeps_the_object() {
    let mut stage = Stage::new(mirror());
    stage.worker.journal = Arc::new(FullDisk);
    stage.destination.put_object("a", "one");
    stage.deliver(DELETE, 1).await;
    assert!(matches!(stage.last_outcome(), Outcome::Failed(_)));
    assert!(stage.destination.get("a").is_some());
}

#[tokio::test]
async fn what_was_written_since_the_plan_stays() {
    let stage = Stage::new(mirror());
    let planned = stage.destination.put_object("a", "one").etag.clone();
    let job = format!(
        r#"{{"key":"a","run":"r1","action":"delete","destination":{{"etag":"{}"}}}}"#,
        planned.as_str()
    );
    stage.destination.put_object("a", "another");
    stage.deliver(&job, 1).await;
    assert_eq!(stage.last_outcome(), skipped(SkipReason::ChangedAtDestination));
    assert_eq!((stage.destination.len(), steps(&stage)), (1, vec![]));
    stage.destination.put_object("a", "one");
    stage.deliver(&job, 1).await;
    assert_eq!((stage.last_outcome(), stage.destination.len()), (Outcome::Deleted, 0));
}

#[tokio::test]
async fn a_write_between_the_look_and_the_delete_wins() {
    let stage = Stage::new(mirror());
    stage.destination.put_object("a", "one");
    let bucket = Arc::clone(&stage.destination);
    stage.destination_faults.script(move |call| {
        if call.operation == Operation::DeleteObject {
            bucket.put_object("a", "another");
        }
        None
    });
    stage.deliver(DELETE, 1).await;
    assert_eq!(stage.last_outcome(), skipped(SkipReason::ChangedAtDestination));
    assert_eq!((stage.destination.len(), steps(&stage)), (1, vec!["intended", "kept"]));
}

#[tokio::test]
async fn a_store_that_refuses_a_condition_that_holds_is_asked_without() {
    for kind in [ErrorKind::PreconditionFailed, ErrorKind::Unsupported] {
        let stage = Stage::new(mirror());
        stage.destination.put_object("a", "one");
        stage.destination_faults.fail_first(Operation::DeleteObject, 1, kind);
        stage.deliver(DELETE, 1).await;
        assert_eq!((stage.last_outcome(), stage.destination.len()), (Outcome::Deleted, 0), "{kind:?}");
        assert!(!stage.route.deletes_conditionally());
    }
}

#[tokio::test]
async fn what_comes_back_at_the_source_is_copied_back() {
    let stage = Stage::new(mirror());
    stage.destination.put_object("a", "one");
    let source = Arc::clone(&stage.source);
    stage.destination_faults.script(move |call| {
        if call.operation == Operation::DeleteObject {
            source.put_object("a", "back again");
        }
        None
    });
    stage.deliver(DELETE, 1).await;
    assert!(matches!(stage.last_outcome(), Outcome::Copied(_)), "{:?}", stage.last_outcome());
    assert_eq!(stage.destination.bytes("a").as_deref(), Some(b"back again".as_slice()));
}

#[tokio::test]
async fn a_source_bucket_that_is_gone_is_no_proof() {
    let stage = Stage::new(mirror());
    stage.destination.put_object("a", "one");
    // A HEAD has no body to say which of the two is missing; a GET has.
    stage.source_faults.fail_first(Operation::HeadObject, 100, ErrorKind::NotFound);
    stage.source_faults.fail_first(Operation::GetObject, 100, ErrorKind::Configuration);
    stage.deliver(DELETE, 1).await;
    assert!(matches!(stage.last_outcome(), Outcome::Failed(_)));
    assert_eq!((stage.destination.len(), steps(&stage)), (1, vec![]));
}

#[tokio::test]
async fn a_head_that_says_404_is_believed_only_with_a_second_witness() {
    for there in ["one", ""] {
        let stage = Stage::new(mirror());
        stage.source.put_object("a", there);
        stage.destination.put_object("a", "one");
        stage.source_faults.script(|call| {
            (call.operation == Operation::HeadObject).then_some(StoreFault::Fail(ErrorKind::NotFound))
        });
        stage.deliver(DELETE, 1).await;
        assert_eq!(stage.last_outcome(), skipped(SkipReason::StillAtSource), "{there:?}");
        assert_eq!((stage.destination.len(), steps(&stage)), (1, vec![]), "{there:?}");
    }
}

#[tokio::test]
async fn who_may_not_look_has_seen_nothing() {
    for operation in [Operation::HeadObject, Operation::GetObject] {
        let stage = Stage::new(mirror());
        stage.destination.put_object("a", "one");
        stage.source_faults.script(move |call| {
            (call.operation == operation).then_some(StoreFault::Fail(ErrorKind::PermissionDenied))
        });
        stage.deliver(DELETE, 1).await;
        assert!(
            matches!(stage.last_outcome(), Outcome::Failed(_)),
            "{operation}: {:?}",
            stage.last_outcome()
        );
        assert_eq!((stage.destination.len(), steps(&stage)), (1, vec![]), "{operation}");
    }
}

#[tokio::test]
async fn what_comes_back_while_it_is_moved_to_the_trash_is_not_deleted() {
    let stage = Stage::with_trash(mirror(), Some("trash/"));
    stage.destination.put_object("a", "one");
    let source = Arc::clone(&stage.source);
    stage.destination_faults.script(move |call| {
        if call.key.is_some_and(|key| key.as_str().starts_with("trash/")) {
            source.put_object("a", "again");
        }
        None
    });
    stage.deliver(DELETE, 1).await;
    assert_eq!(stage.last_outcome(), skipped(SkipReason::StillAtSource));
    assert_eq!(stage.destination_faults.calls(Operation::DeleteObject), 0);
    assert_eq!(stage.destination.bytes("a").as_deref(), Some(b"one".as_slice()));
    assert_eq!(steps(&stage), ["intended", "trashed", "kept"]);
}

#[tokio::test]
async fn a_deleted_object_is_in_the_trash_whole_with_everything_it_had() {
    let stage = Stage::with_trash(mirror(), Some("trash/"));
    let attributes = ferry_transfer::Attributes {
        content_type: Some("text/plain".into()),
        tags: vec![("kind".into(), "odd".into())],
        ..ferry_transfer::Attributes::default()
    };
    for (key, body) in [("a", vec![7; 10]), ("b", vec![8; 40]), ("c", vec![9; 100])] {
        stage.destination.put_object_with(key, body.clone(), attributes.clone());
        stage.deliver(&DELETE.replace("\"a\"", &format!("\"{key}\"")), 1).await;
        assert_eq!(stage.last_outcome(), Outcome::Deleted, "{key}");
        let kept = stage.destination.get(&format!("trash/r1/{key}")).expect("in the trash");
        assert!(kept.payload.to_bytes() == body, "{key}");
        assert_eq!(
            (&kept.attributes.content_type, &kept.attributes.tags),
            (&attributes.content_type, &attributes.tags)
        );
    }
    assert_eq!(steps(&stage)[..3], ["intended", "trashed", "deleted"]);
    stage.deliver(&DELETE.replace("\"a\"", "\"trash/r1/a\""), 1).await;
    assert_eq!(
        stage.last_outcome(),
        skipped(SkipReason::DeletesNotAllowed),
        "nothing is deleted from the trash"
    );
    assert_eq!(stage.destination.len(), 3);
}

#[tokio::test]
async fn what_the_trash_does_not_take_is_not_deleted() {
    let stage = Stage::with_trash(mirror(), Some("trash/"));
    stage.destination.put_object("a", "one");
    for operation in [Operation::PutObject, Operation::CopyObject] {
        stage.destination_faults.fail_first(operation, 100, ErrorKind::PermissionDenied);
    }
    stage.deliver(DELETE, 1).await;
    assert!(matches!(stage.last_outcome(), Outcome::Failed(_)));
    assert_eq!((stage.destination.keys(), steps(&stage)), (vec!["a".to_owned()], vec!["intended"]));
}

#[tokio::test]
async fn a_delivery_after_one_that_came_as_far_as_the_trash_goes_on() {
    let stage = Stage::with_trash(mirror(), Some("trash/"));
    stage.destination.put_object("a", "one");
    stage.destination_faults.fail_first(Operation::DeleteObject, 1, ErrorKind::Other);
    stage.deliver(DELETE, 1).await;
    assert!(matches!(stage.last_outcome(), Outcome::Failed(_)));
    assert_eq!(stage.destination.keys(), ["a", "trash/r1/a"]);
    stage.deliver(DELETE, 2).await;
    assert_eq!(
        (stage.last_outcome(), stage.destination.keys()),
        (Outcome::Deleted, vec!["trash/r1/a".to_owned()])
    );
}
