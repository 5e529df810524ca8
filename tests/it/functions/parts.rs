//! Objects that are shared out: two workers, the queue, and nothing between them but the upload and its record.

use std::time::Duration;

use ferry_testkit::bucket::Bucket;
use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::operation::Operation;
use ferry_tests::{Function, Side};
use ferry_transfer::Queue as _;
use ferry_transfer::queue::Delivery;
use serde_json::{Value, json};

use super::{Cloud, WORKER, batch, event, given_back, receive};
use crate::objects::{bytes, every_attribute, parts};

const MIB: usize = 1 << 20;
/// Nine parts and a bit, of the smallest size.
const SIZE: usize = 9 * 5 * MIB + 1;

/// Two workers that share objects above 5 MiB, and one such object.
async fn shared() -> (Cloud, [Function; 2]) {
    let cloud = Cloud::with(json!({ "large": { "part_jobs_above": "5MiB" } })).await;
    cloud.pair.from().put_object_in_parts("huge", parts(&bytes(SIZE, 1), 5 * MIB), every_attribute());
    cloud.sqs.queue("dead");
    cloud.sqs.queue("jobs");
    let state = Side::Source.location("state-of-ferry/");
    let start = || Function::start(cloud.program(WORKER).env("FERRY_STATE", &state));
    let workers = [start().await, start().await];
    (cloud, workers)
}

fn job(key: &str) -> String {
    json!({ "key": key, "size": SIZE }).to_string()
}

/// Lets both workers empty the queue side by side, a message at a time, as Lambda would. What is given back comes again.
async fn work(cloud: &Cloud, workers: &[Function]) {
    let queue = cloud.sqs.queue("jobs");
    let one = async |worker: &Function| {
        loop {
            let deliveries =
                queue.receive(1, Duration::ZERO, Duration::from_mins(5)).await.expect("received");
            let Some(delivery) = deliveries.first() else { break };
            settle(cloud, worker, delivery).await;
        }
    };
    // A worker that finds nothing may be ahead of one that is about to send: the second round is for what was sent last.
    for _ in 0..2 {
        futures::future::join_all(workers.iter().map(one)).await;
    }
}

async fn settle(cloud: &Cloud, worker: &Function, delivery: &Delivery) {
    let queue = cloud.sqs.queue("jobs");
    let answer = worker.invoke(&event(std::slice::from_ref(delivery))).await.expect("an answer");
    if given_back(&answer).is_empty() {
        queue.delete_batch(vec![delivery.receipt_handle.clone()]).await.expect("deleted");
    } else {
        queue.change_visibility(&delivery.receipt_handle, Duration::ZERO).await.expect("given back");
    }
}

fn state_left(bucket: &Bucket) -> Vec<String> {
    bucket.keys().into_iter().filter(|key| key.starts_with("state-of-ferry/uploads/")).collect()
}

fn assert_copied(cloud: &Cloud) {
    let (original, copy) = (cloud.pair.from().get("huge"), cloud.pair.to().get("huge"));
    let (original, copy) = (original.expect("original"), copy.expect("copy"));
    ferry_tests::pair::assert_same_object("huge", &original, &copy);
    assert_eq!(original.etag, copy.etag, "the source's own boundaries");
    assert!(cloud.pair.to().open_uploads().is_empty());
    assert_eq!(state_left(&cloud.pair.from()), [""; 0], "what was remembered is forgotten");
}

#[tokio::test]
async fn any_worker_does_any_part_and_one_completes() {
    let (cloud, workers) = shared().await;
    let answer = workers[0].invoke(&batch(&[&job("huge")])).await.expect("an answer");
    assert_eq!(given_back(&answer), [""; 0]);
    assert!(cloud.pair.to().is_empty(), "its parts are jobs now");
    assert_eq!(state_left(&cloud.pair.from()).len(), 1, "one small object beside the upload");
    work(&cloud, &workers).await;
    assert_copied(&cloud);
    let log = cloud.pair.destination.log();
    let written = [Operation::CreateMultipartUpload, Operation::UploadPart].map(|kind| log.count(kind));
    assert_eq!(written, [1, 10], "each part once");
    assert_eq!(cloud.dead_letters().await, []);
}

#[tokio::test]
async fn messages_that_come_twice_send_nothing_twice() {
    let (cloud, workers) = shared().await;
    let start = batch(&[&job("huge")]);
    workers[0].invoke(&start).await.expect("an answer");
    // The object's own message again, and with it every part's.
    workers[1].invoke(&start).await.expect("an answer");
    let queue = cloud.sqs.queue("jobs");
    let mut deliveries = Vec::new();
    loop {
        let more = receive(&queue).await;
        if more.is_empty() {
            break;
        }
        deliveries.extend(more);
    }
    assert_eq!(deliveries.len(), 20);
    // One after another, so that no two are about one part at one moment.
    for (number, delivery) in deliveries.iter().enumerate() {
        settle(&cloud, &workers[number % 2], delivery).await;
    }
    assert_copied(&cloud);
    assert_eq!(cloud.pair.destination.log().count(Operation::UploadPart), 10);
    // Long after the object is there, a part's message does nothing at all.
    cloud.pair.reset_logs();
    settle(&cloud, &workers[0], &deliveries[3]).await;
    assert_eq!(cloud.pair.destination.log().count(Operation::CreateMultipartUpload), 0);
    assert_eq!(cloud.dead_letters().await, []);
}

#[tokio::test]
async fn two_workers_on_one_part_and_on_one_completion_end_well() {
    let (cloud, workers) = shared().await;
    workers[0].invoke(&batch(&[&job("huge")])).await.expect("an answer");
    let deliveries: Vec<Delivery> = receive(&cloud.sqs.queue("jobs")).await;
    assert_eq!(deliveries.len(), 10);
    let doubled = event(&deliveries);
    let (first, second) = tokio::join!(workers[0].invoke(&doubled), workers[1].invoke(&doubled));
    for answer in [first, second] {
        assert_eq!(given_back(&answer.expect("an answer")), [""; 0]);
    }
    assert_copied(&cloud);
    assert_eq!(cloud.dead_letters().await, []);
}

#[tokio::test]
async fn a_source_that_changes_in_between_is_copied_as_it_is_now() {
    let (cloud, workers) = shared().await;
    workers[0].invoke(&batch(&[&job("huge")])).await.expect("an answer");
    let queue = cloud.sqs.queue("jobs");
    let some = queue.receive(4, Duration::ZERO, Duration::from_mins(5)).await.expect("received");
    for delivery in &some {
        settle(&cloud, &workers[0], delivery).await;
    }
    let changed = bytes(SIZE, 2);
    cloud.pair.from().put_object_in_parts("huge", parts(&changed, 5 * MIB), every_attribute());
    work(&cloud, &workers).await;
    assert_copied(&cloud);
    assert_eq!(cloud.dead_letters().await, []);
}

#[tokio::test]
async fn a_worker_that_dies_leaves_the_rest_to_the_others() {
    let (cloud, workers) = shared().await;
    workers[0].invoke(&batch(&[&job("huge")])).await.expect("an answer");
    let [dying, living] = workers;
    let delivery: Value =
        event(&cloud.sqs.queue("jobs").receive(1, Duration::ZERO, Duration::ZERO).await.expect("received"));
    cloud
        .pair
        .destination
        .faults()
        .add(Rule::on(Operation::UploadPart, Action::Delay(Duration::from_hours(1))).nth(1));
    let call = dying.invoke(&delivery);
    tokio::select! {
        answer = call => panic!("it ended: {answer:?}"),
        () = async { while cloud.pair.destination.log().count(Operation::UploadPart) == 0 { tokio::task::yield_now().await } } => {}
    }
    drop(dying);
    work(&cloud, std::slice::from_ref(&living)).await;
    assert_copied(&cloud);
}
