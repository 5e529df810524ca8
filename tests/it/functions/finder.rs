//! The finder: an event in, jobs on the queue.

use std::collections::BTreeSet;
use std::time::Duration;

use ferry_testkit::faults::{self, Rule};
use ferry_testkit::operation;
use ferry_testkit::sqs::{BatchOperation, EntryFault, Operation, RequestFault};
use ferry_tests::{Function, Side};
use ferry_transfer::Queue as _;
use ferry_transfer::job::{Action, Job, Message};
use ferry_transfer::queue::Delivery;
use serde_json::{Value, json};

use super::{Cloud, FINDER, batch, event, given_back, receive};
use crate::objects::{fill_small, small_key};

fn jobs(deliveries: &[Delivery]) -> Vec<Job> {
    let parse = |delivery: &Delivery| match Message::parse(&delivery.body) {
        Ok(Message::Object(job)) => job,
        other => panic!("{other:?}"),
    };
    deliveries.iter().map(parse).collect()
}

fn keys(jobs: &[Job]) -> BTreeSet<String> {
    jobs.iter().map(|job| job.key.as_str().to_owned()).collect()
}

#[tokio::test]
async fn an_empty_event_enqueues_what_differs_and_nothing_else() {
    let cloud = Cloud::start().await;
    fill_small(&cloud.pair.from(), 25);
    fill_small(&cloud.pair.to(), 5);
    cloud.pair.to().put_object(&small_key(3), "another size");
    let finder = cloud.finder().await;
    let answer = finder.invoke(&json!({})).await.expect("an answer");
    for (name, count) in
        [("found", 25), ("missing", 20), ("different", 1), ("up_to_date", 4), ("enqueued", 21)]
    {
        assert_eq!(answer["report"][name], count, "{name}: {answer}");
    }
    let jobs = jobs(&cloud.take_all("jobs").await);
    assert_eq!((jobs.len(), keys(&jobs).len()), (21, 21));
    let run = answer["run"].as_str().expect("a run");
    assert!(jobs.iter().all(|job| job.run.as_deref() == Some(run) && job.task.as_deref() == Some("ferry")));
    assert_eq!(cloud.sqs.requests(Operation::SendMessageBatch), 3, "ten messages to a request");
    let log = finder.log();
    assert!(log.contains(run) && !log.contains(cloud.pair.source.secret_access_key()), "{log}");
}

#[tokio::test]
async fn a_named_task_and_run_are_kept_and_another_task_is_refused() {
    let cloud = Cloud::start().await;
    fill_small(&cloud.pair.from(), 1);
    let finder = cloud.finder().await;
    let answer =
        finder.invoke(&json!({ "task": "ferry", "run": "nightly", "time": "x" })).await.expect("an answer");
    assert_eq!(answer["run"], "nightly");
    assert_eq!(jobs(&cloud.take_all("jobs").await)[0].run.as_deref(), Some("nightly"));
    let error = finder.invoke(&json!({ "task": "other" })).await.expect_err("not this task").to_string();
    assert!(error.contains("\"other\"") && error.contains("\"ferry\""), "{error}");
}

#[tokio::test]
async fn a_scan_message_covers_its_range() {
    let cloud = Cloud::start().await;
    fill_small(&cloud.pair.from(), 30);
    let finder = cloud.finder().await;
    let scan =
        json!({ "action": "scan", "run": "r", "range": { "after": small_key(9), "until": small_key(19) } });
    let answer = finder.invoke(&batch(&[&scan.to_string()])).await.expect("an answer");
    assert_eq!(given_back(&answer), [""; 0]);
    let expected: BTreeSet<String> = (10..20).map(small_key).collect();
    assert_eq!(keys(&jobs(&cloud.take_all("jobs").await)), expected);
}

#[tokio::test]
async fn what_does_not_fit_into_the_time_goes_on_as_a_scan_message() {
    let cloud = Cloud::start().await;
    fill_small(&cloud.pair.from(), 300);
    let finder = cloud.finder().await;
    // As much as is kept free for the end: the time is up with the first batch of findings.
    let answer = finder.invoke_within(&json!({}), Duration::from_secs(20)).await.expect("an answer");
    assert!(answer["report"]["enqueued"].as_u64().is_some_and(|count| count < 300), "{answer}");
    let rest = cloud.take_all("scans").await;
    assert_eq!(rest.len(), 1, "{answer}");
    let answer = finder.invoke(&event(&rest)).await.expect("an answer");
    assert_eq!(given_back(&answer), [""; 0]);
    assert!(receive(&cloud.sqs.queue("scans")).await.is_empty());
    let jobs = jobs(&cloud.take_all("jobs").await);
    assert_eq!((jobs.len(), keys(&jobs).len()), (300, 300), "each key once");
    let runs: BTreeSet<_> = jobs.iter().map(|job| job.run.clone()).collect();
    assert_eq!(runs.len(), 1, "one run");
}

#[tokio::test]
async fn several_invocations_compare_every_name_before_one_of_them_deletes() {
    let side = Side::Destination;
    let cloud = Cloud::with(json!({
        "deletes": { "mirror": "100%" },
        "destination": { "store": side.store(), "bucket": side.bucket(), "prefix": "data/" },
    }))
    .await;
    fill_small(&cloud.pair.from(), 600);
    for extra in ["0", "m", "zzz"] {
        cloud.pair.to().put_object(&format!("data/{extra}"), "x");
    }
    cloud.sqs.queue("jobs");
    cloud.sqs.queue("scans");
    let state = side.location("state/");
    let finder = Function::start(cloud.program(FINDER).env("FERRY_STATE", &state)).await;
    // As much as is kept free for the end: each invocation gets one batch further.
    let soon = Duration::from_secs(20);
    let first = finder.invoke_within(&json!({ "run": "r" }), soon).await.expect("an answer");
    assert_eq!(first["report"]["deletes"], "not_whole_keyspace", "{first}");
    let mut deletes = Vec::new();
    let mut copies = BTreeSet::new();
    for invocation in 0.. {
        assert!(invocation < 20, "it never gets to the end");
        let (now, rest): (Vec<Job>, Vec<Job>) =
            jobs(&cloud.take_all("jobs").await).into_iter().partition(|job| job.action == Action::Delete);
        copies.extend(keys(&rest));
        assert!(now.is_empty() || copies.len() == 600, "a delete after {} names", copies.len());
        deletes.extend(keys(&now));
        let scans = cloud.take_all("scans").await;
        if scans.is_empty() {
            break;
        }
        // Each message twice, as a queue may deliver it.
        for _ in 0..2 {
            let answer = finder.invoke_within(&event(&scans), soon).await.expect("an answer");
            assert_eq!(given_back(&answer), [""; 0]);
        }
    }
    assert_eq!(deletes, ["0", "m", "zzz"]);
    assert!(cloud.pair.to().get("state/runs/r/scan.json").is_some());
}

#[tokio::test]
async fn a_scan_that_fails_is_given_back_and_the_next_one_is_not_held_up() {
    let cloud = Cloud::start().await;
    fill_small(&cloud.pair.from(), 10);
    let finder = cloud.finder().await;
    let lists = Rule::on(operation::Operation::ListObjectsV2, faults::Action::ACCESS_DENIED);
    cloud.pair.source.faults().add(lists.first(1));
    let scan = |after: u64| json!({ "action": "scan", "range": { "after": small_key(after) } }).to_string();
    let answer = finder.invoke(&batch(&[&scan(1), "not json", &scan(6)])).await.expect("an answer");
    assert_eq!(given_back(&answer), ["m0", "m1"]);
    assert_eq!(keys(&jobs(&cloud.take_all("jobs").await)).len(), 3);
    cloud
        .pair
        .source
        .faults()
        .add(Rule::on(operation::Operation::ListObjectsV2, faults::Action::ACCESS_DENIED).first(1));
    let error = finder.invoke(&json!({})).await.expect_err("no listing").to_string();
    assert!(error.contains("ListObjectsV2 harbour://docks"), "{error}");
}

#[tokio::test]
async fn entries_that_the_queue_refuses_for_now_are_sent_again() {
    let cloud = Cloud::start().await;
    fill_small(&cloud.pair.from(), 30);
    let finder = cloud.finder().await;
    let faults = cloud.sqs.faults();
    faults.fail_entries(BatchOperation::SendMessageBatch, &[0, 7], EntryFault::Service);
    faults.fail_requests(
        Operation::SendMessageBatch,
        1,
        &RequestFault::Refused {
            status: axum::http::StatusCode::SERVICE_UNAVAILABLE,
            code: "ServiceUnavailable".into(),
        },
    );
    let answer = finder.invoke(&json!({})).await.expect("an answer");
    assert_eq!(answer["report"]["enqueued"], 30);
    assert_eq!(keys(&jobs(&cloud.take_all("jobs").await)).len(), 30, "none is lost");
}

#[tokio::test]
async fn deletes_are_planned_within_the_limit_and_only_over_all_keys() {
    let cloud = Cloud::with(json!({ "deletes": { "mirror": "20%" } })).await;
    fill_small(&cloud.pair.from(), 10);
    fill_small(&cloud.pair.to(), 12);
    let finder = cloud.finder().await;
    let plan = |answer: &Value| answer["report"]["deletes"].clone();
    let answer = finder.invoke(&json!({})).await.expect("an answer");
    assert_eq!(plan(&answer), json!({ "enqueued": 2 }));
    let actions: Vec<String> = jobs(&cloud.take_all("jobs").await)
        .iter()
        .map(|job| format!("{:?} {}", job.action, job.key.as_str()))
        .collect();
    assert_eq!(actions, ["Delete small/010", "Delete small/011"]);

    cloud.pair.to().put_object("extra", "x");
    let answer = finder.invoke(&json!({})).await.expect("an answer");
    assert_eq!(plan(&answer)["refused"]["planned"], 3, "{answer}");
    let depth = cloud.sqs.queue("jobs").depth().await.expect("depth");
    assert!(depth.is_empty(), "{depth:?}");
}
