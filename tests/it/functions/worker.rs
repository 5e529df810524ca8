//! The worker: jobs off the queue, objects at the destination, and every message settled on its own.

use std::collections::BTreeMap;

use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::fixtures::awkward_keys;
use ferry_testkit::operation::Operation;
use ferry_testkit::sqs;
use ferry_transfer::Queue as _;
use serde_json::{Value, json};

use super::{Cloud, batch, event, given_back, receive};
use crate::objects::{every_attribute, fill_awkward, fill_small, small_key};

const NONE: [&str; 0] = [];

fn job(key: &str) -> String {
    json!({ "key": key }).to_string()
}

#[tokio::test]
async fn finder_queue_and_worker_move_everything() {
    let cloud = Cloud::with(json!({ "deletes": { "mirror": 1 } })).await;
    fill_awkward(&cloud.pair.from(), "", 0);
    cloud.pair.from().put_object_with("tagged", "bytes", every_attribute());
    cloud.pair.to().put_object("extra", "x");
    let (finder, worker) = (cloud.finder().await, cloud.worker().await);
    finder.invoke(&json!({})).await.expect("found");
    let queue = cloud.sqs.queue("jobs");
    let mut settled = 0;
    loop {
        let deliveries = receive(&queue).await;
        if deliveries.is_empty() {
            break;
        }
        let answer = worker.invoke(&event(&deliveries)).await.expect("an answer");
        assert_eq!(given_back(&answer), NONE);
        let handles = deliveries.iter().map(|delivery| delivery.receipt_handle.clone()).collect();
        settled += queue.delete_batch(handles).await.expect("deleted").len();
    }
    assert_eq!(settled, awkward_keys().len() + 2);
    cloud.pair.assert_same();
    assert_eq!(cloud.dead_letters().await, []);
    let answer = finder.invoke(&json!({})).await.expect("found");
    assert_eq!(
        (&answer["report"]["enqueued"], &answer["report"]["extra"]),
        (&0.into(), &0.into()),
        "{answer}"
    );
}

#[tokio::test]
async fn one_bad_object_and_one_poison_body_fail_alone() {
    let cloud = Cloud::start().await;
    fill_small(&cloud.pair.from(), 10);
    let source = cloud.pair.source.faults();
    source.add(Rule::on(Operation::GetObject, Action::ACCESS_DENIED).key_contains(small_key(2)));
    source.add(Rule::on(Operation::GetObject, Action::INTERNAL_ERROR).key_contains(small_key(5)));
    let worker = cloud.worker().await;
    let jobs: Vec<String> = (0..8).map(|number| job(&small_key(number))).collect();
    let poison = ["{\"keys\": 1}", "not json at all"];
    let bodies: Vec<&str> = jobs.iter().map(String::as_str).chain(poison).collect();
    let answer = worker.invoke(&batch(&bodies)).await.expect("an answer");
    assert_eq!(given_back(&answer), ["m5"], "what may yet succeed is delivered again, and nothing else");
    assert_eq!(cloud.pair.to().len(), 6, "{:?}", cloud.pair.to().keys());
    let letters: BTreeMap<String, String> = cloud.dead_letters().await.into_iter().collect();
    assert_eq!(letters.len(), 3, "{letters:?}");
    for (body, words) in [(jobs[2].as_str(), "403"), (poison[0], "it has no key"), (poison[1], "not JSON")] {
        assert!(letters[body].contains(words), "{letters:?}");
    }
    assert!(worker.log().contains("a job failed for good"), "{}", worker.log());
    assert!(!worker.log().contains(cloud.pair.source.secret_access_key()));
}

#[tokio::test]
async fn the_last_delivery_of_a_failing_job_ends_with_the_dead_letters() {
    let cloud = Cloud::start().await;
    fill_small(&cloud.pair.from(), 2);
    cloud.pair.source.faults().add(Rule::on(Operation::GetObject, Action::INTERNAL_ERROR));
    let worker = cloud.worker().await;
    let mut event = batch(&[&job(&small_key(0)), &job(&small_key(1))]);
    event["Records"][1]["attributes"]["ApproximateReceiveCount"] = "5".into();
    let answer = worker.invoke(&event).await.expect("an answer");
    assert_eq!(given_back(&answer), ["m0"]);
    let letters = cloud.dead_letters().await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert!(letters[0].0 == job(&small_key(1)) && letters[0].1.contains("500"), "{letters:?}");
}

#[tokio::test]
async fn without_a_queue_for_them_dead_letters_are_given_back_to_the_queues_own_rule() {
    let cloud = Cloud::start().await;
    let program = cloud.program(super::WORKER).without_env("FERRY_DEAD_LETTER_QUEUE_URL");
    let worker = ferry_tests::Function::start(program).await;
    assert_eq!(given_back(&worker.invoke(&batch(&["poison"])).await.expect("an answer")), ["m0"]);
}

#[tokio::test]
async fn a_dead_letter_that_cannot_be_written_is_not_lost() {
    let cloud = Cloud::start().await;
    let worker = cloud.worker().await;
    let refused =
        sqs::RequestFault::Refused { status: axum::http::StatusCode::FORBIDDEN, code: "AccessDenied".into() };
    cloud.sqs.faults().fail_requests(sqs::Operation::SendMessageBatch, 1, &refused);
    assert_eq!(given_back(&worker.invoke(&batch(&["poison"])).await.expect("an answer")), ["m0"]);
    assert_eq!(cloud.dead_letters().await, []);
    assert_eq!(given_back(&worker.invoke(&batch(&["poison"])).await.expect("an answer")), NONE);
    assert_eq!(cloud.dead_letters().await.len(), 1);
}

#[tokio::test]
async fn a_scan_message_and_another_tasks_job_end_with_the_dead_letters() {
    let cloud = Cloud::start().await;
    fill_small(&cloud.pair.from(), 1);
    let worker = cloud.worker().await;
    let scan = json!({ "action": "scan" }).to_string();
    let other = json!({ "key": small_key(0), "task": "other" }).to_string();
    let answer = worker.invoke(&batch(&[&scan, &other])).await.expect("an answer");
    assert_eq!(given_back(&answer), NONE);
    let mut reasons: Vec<String> = cloud.dead_letters().await.into_iter().map(|(_, reason)| reason).collect();
    reasons.sort();
    assert!(reasons[0].contains("a scan message came to a worker"), "{reasons:?}");
    assert!(reasons[1].contains("for task \"other\""), "{reasons:?}");
    assert!(cloud.pair.to().is_empty());
}

#[tokio::test]
async fn the_least_that_a_message_can_say_is_enough() {
    let cloud = Cloud::start().await;
    let key = "a b+c%20.txt";
    cloud.pair.from().put_object_with(key, "bytes", every_attribute());
    let worker = cloud.worker().await;
    // The size is a hint, and a wrong one here.
    let least = json!({ "key": key, "size": 123 }).to_string();
    assert_eq!(given_back(&worker.invoke(&batch(&[&least])).await.expect("an answer")), NONE);
    cloud.pair.assert_same();
    let heads = |cloud: &Cloud| {
        [&cloud.pair.source, &cloud.pair.destination].map(|server| server.log().count(Operation::HeadObject))
    };
    assert_eq!(heads(&cloud), [1, 1], "nobody compared it lately, so both sides are asked");

    cloud.pair.reset_logs();
    assert_eq!(given_back(&worker.invoke(&batch(&[&least])).await.expect("an answer")), NONE);
    assert_eq!(heads(&cloud), [1, 1]);
    let moved = |cloud: &Cloud| {
        (
            cloud.pair.source.log().count(Operation::GetObject),
            cloud.pair.destination.log().count(Operation::PutObject),
        )
    };
    assert_eq!(moved(&cloud), (0, 0), "it is up to date");

    cloud.pair.from().put_object(key, "other bytes");
    assert_eq!(given_back(&worker.invoke(&batch(&[&least])).await.expect("an answer")), NONE);
    cloud.pair.assert_same();

    cloud.pair.from().remove(key);
    assert_eq!(given_back(&worker.invoke(&batch(&[&least])).await.expect("an answer")), NONE);
    assert!(
        cloud.pair.to().get(key).is_some(),
        "an object that is gone is nothing to copy, and no reason to delete"
    );
    assert_eq!(cloud.dead_letters().await, []);
}

#[tokio::test]
async fn a_source_bucket_that_is_not_there_lets_no_job_go() {
    let cloud = Cloud::with(json!({ "source": { "store": "harbour", "bucket": "no-such-dock" } })).await;
    let worker = cloud.worker().await;
    // Somebody told of it, a scan has seen it, and a scan has seen it large.
    let jobs = [
        json!({ "key": "told", "size": 1 }),
        json!({ "key": "found", "size": 1, "etag": "\"0\"", "destination": "absent" }),
        json!({ "key": "large", "size": 1_u64 << 30, "etag": "\"0\"", "destination": "absent" }),
    ]
    .map(|job| job.to_string());
    for job in &jobs {
        assert_eq!(given_back(&worker.invoke(&batch(&[job])).await.expect("an answer")), NONE);
    }
    let letters: BTreeMap<String, String> = cloud.dead_letters().await.into_iter().collect();
    for job in &jobs {
        assert!(letters.get(job).is_some_and(|reason| reason.contains("NoSuchBucket")), "{job}: {letters:?}");
    }
}

#[tokio::test]
async fn messages_that_are_delivered_twice_do_no_harm() {
    let cloud = Cloud::with(json!({ "deletes": { "mirror": "100%" } })).await;
    fill_small(&cloud.pair.from(), 8);
    cloud.pair.to().put_object(&small_key(3), "older");
    cloud.pair.to().put_object("extra", "x");
    let (finder, worker) = (cloud.finder().await, cloud.worker().await);
    finder.invoke(&json!({})).await.expect("found");
    let deliveries = cloud.take_all("jobs").await;
    assert_eq!(deliveries.len(), 9);
    let twice = event(&[&deliveries[..], &deliveries[..]].concat());
    for _ in 0..2 {
        assert_eq!(given_back(&worker.invoke(&twice).await.expect("an answer")), NONE);
        cloud.pair.assert_same();
    }
    // A late duplicate, after the source has moved on, brings the destination to what is there now.
    cloud.pair.from().put_object(&small_key(0), "newer than the message");
    cloud.pair.from().put_object("extra", "back again");
    assert_eq!(given_back(&worker.invoke(&event(&deliveries)).await.expect("an answer")), NONE);
    assert_eq!(cloud.pair.to().bytes(&small_key(0)), cloud.pair.from().bytes(&small_key(0)));
    assert!(cloud.pair.to().get("extra").is_none(), "a delete of what is back at the source is not done");
    assert_eq!(cloud.dead_letters().await, []);
}

#[tokio::test]
async fn a_batch_that_no_answer_could_name_fails_as_a_whole() {
    let cloud = Cloud::start().await;
    fill_small(&cloud.pair.from(), 1);
    let worker = cloud.worker().await;
    let mut event = batch(&[&job(&small_key(0))]);
    event["Records"][0]["messageId"] = Value::Null;
    let error = worker.invoke(&event).await.expect_err("no message id").to_string();
    assert!(error.contains("no message id"), "{error}");
    let answer = worker.invoke(&batch(&[&job(&small_key(0))])).await.expect("the process lives on");
    assert_eq!(given_back(&answer), NONE);
    cloud.pair.assert_same();
}
