//! Scans that many invocations share: duplicates, failures and limits.

use ferry_transfer::job::ScanJob;
use ferry_transfer::state::MemoryState;

use super::*;

const RUN: &str = "20261123T000000Z-8000";

/// Of this many names on both sides, each of which becomes a copy.
const NAMES: usize = 1_000;

fn name(number: usize) -> String {
    format!("{number:04}")
}

/// A stage with a state, a change in every name, and extra objects behind every hundredth.
fn stage(limit: DeleteLimit) -> Stage {
    let mut stage = Stage::new(Deletes::Mirror(limit));
    stage.finder.state = Some(Arc::new(MemoryState::default()));
    for number in 0..NAMES {
        stage.source.put_object(&format!("from/{}", name(number)), "new");
        stage.destination.put_object(&format!("to/{}", name(number)), "old one");
        if number % 100 == 0 {
            stage.destination.put_object(&format!("to/{}-extra", name(number)), "x");
        }
    }
    stage
}

fn range(after: Option<usize>, until: Option<usize>) -> KeyRange {
    KeyRange { after: after.map(name), until: until.map(name) }
}

fn scan(range: KeyRange) -> Message {
    Message::Scan(ScanJob { task: None, run: Some(RUN.to_owned()), range })
}

fn event(message: &Message) -> FinderEvent {
    let record = serde_json::json!({ "Records": [{ "messageId": "m", "body": message.to_json() }] });
    serde_json::from_value(record).expect("an event")
}

/// Whether the finder took the message for good.
async fn deliver(stage: &Stage, message: &Message, deadline: Option<Instant>) -> bool {
    match stage.finder.handle(event(message), deadline).await.expect("an answer") {
        FinderResponse::Batch(batch) => batch.batch_item_failures.is_empty(),
        FinderResponse::Scanned { .. } => panic!("it was given a batch"),
    }
}

/// Keys of deletes, and of the rest.
async fn split(stage: &Stage) -> (Vec<String>, Vec<String>) {
    let (deletes, copies): (Vec<Job>, Vec<Job>) =
        stage.jobs().await.into_iter().partition(|job| job.action == Action::Delete);
    let keys = |jobs: Vec<Job>| jobs.into_iter().map(|job| job.key.as_str().to_owned()).collect();
    (keys(deletes), keys(copies))
}

#[tokio::test]
async fn deletes_wait_until_every_range_was_compared_whatever_is_delivered_twice() {
    let stage = stage(DeleteLimit::Percent(100));
    let mut todo =
        vec![scan(range(None, Some(300))), scan(range(Some(300), Some(600))), scan(range(Some(600), None))];
    let mut copied = std::collections::BTreeSet::new();
    let mut deleted = Vec::new();
    for invocation in 0.. {
        assert!(invocation < 200, "it never gets to the end");
        let Some(message) = todo.pop() else { break };
        // No time at all: every invocation gets one batch further. Two of them at once have the same message.
        let late = Some(Instant::now());
        let (one, two) = tokio::join!(deliver(&stage, &message, late), deliver(&stage, &message, late));
        assert!(one && two);
        let (deletes, copies) = split(&stage).await;
        copied.extend(copies);
        assert!(deletes.is_empty() || copied.len() == NAMES, "a delete after {} names", copied.len());
        deleted.extend(deletes);
        todo.extend(take(&stage.scans).await);
    }
    deleted.sort();
    let expected: Vec<String> =
        (0..NAMES).step_by(100).map(|number| format!("from/{}-extra", name(number))).collect();
    assert_eq!(deleted, expected, "each once");

    // A delivery that comes late finds nothing to do.
    assert!(deliver(&stage, &scan(range(None, Some(300))), None).await);
    assert!(stage.jobs().await.is_empty() && take(&stage.scans).await.is_empty());
}

#[tokio::test]
async fn a_page_that_fails_in_one_range_keeps_every_delete_back() {
    let stage = stage(DeleteLimit::Percent(100));
    // Only the listing of the last range.
    let broken = range(Some(600), None);
    let ranges = [range(None, Some(300)), range(Some(300), Some(600)), broken.clone()];
    stage.destination_faults.script(|call| {
        let fails = call.operation == Operation::ListObjectsV2 && call.number == 3;
        fails.then_some(StoreFault::Fail(ErrorKind::Transient))
    });
    let mut taken = Vec::new();
    for range in ranges {
        taken.push(deliver(&stage, &scan(range), None).await);
    }
    assert_eq!(taken, [true, true, false]);
    let (deletes, copies) = split(&stage).await;
    assert!(deletes.is_empty(), "{deletes:?}");
    assert!(copies.len() >= 600);
    // Nor does anyone who comes again with what is done.
    assert!(deliver(&stage, &scan(range(None, Some(300))), None).await);
    assert!(split(&stage).await.0.is_empty());

    assert!(deliver(&stage, &scan(broken), None).await, "delivered again");
    assert_eq!(split(&stage).await.0.len(), 10);
}

#[tokio::test]
async fn the_limit_holds_for_all_ranges_together() {
    // Ten extra of 1,010: within each range and all together they are one more than the limit allows.
    let stage = stage(DeleteLimit::Count(9));
    for range in [range(None, Some(300)), range(Some(300), Some(600)), range(Some(600), None)] {
        assert!(deliver(&stage, &scan(range), None).await);
    }
    assert!(split(&stage).await.0.is_empty());
}

#[tokio::test]
async fn no_more_is_deleted_than_was_counted() {
    let stage = stage(DeleteLimit::Count(10));
    let late = || Some(Instant::now());
    assert!(deliver(&stage, &scan(range(None, Some(999))), None).await);
    for number in 0..100 {
        stage.destination.put_object(&format!("to/{}-later", name(number)), "x");
    }
    let mut todo = vec![scan(range(Some(999), None))];
    let mut deleted = 0;
    while let Some(message) = todo.pop() {
        assert!(deliver(&stage, &message, late()).await);
        deleted += split(&stage).await.0.len();
        todo.extend(take(&stage.scans).await);
    }
    assert_eq!(deleted, 10);
}

#[tokio::test]
async fn a_side_out_of_order_in_one_range_keeps_every_delete_back() {
    let stage = stage(DeleteLimit::Percent(100));
    assert!(deliver(&stage, &scan(range(None, Some(600))), None).await);
    stage
        .source_faults
        .script(|call| (call.operation == Operation::ListObjectsV2).then_some(StoreFault::ReverseListing));
    assert!(deliver(&stage, &scan(range(Some(600), None)), None).await);
    let (deletes, copies) = split(&stage).await;
    assert!(deletes.is_empty(), "{deletes:?}");
    assert_eq!(copies.iter().collect::<std::collections::BTreeSet<_>>().len(), NAMES);
}
