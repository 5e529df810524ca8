//! The Lambda binaries under a Runtime API, between two stores and SQS.

mod export;
mod finder;
mod parts;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use ferry_testkit::MemoryQueue;
use ferry_testkit::sqs::{ENVELOPE_ATTRIBUTE, SqsConfig, SqsServer};
use ferry_tests::{Function, Pair, Program, Side, StoreSetup};
use ferry_transfer::Queue as _;
use ferry_transfer::queue::Delivery;
use serde_json::{Value, json};

const FINDER: &str = env!("CARGO_BIN_EXE_finder-under-test");
const WORKER: &str = env!("CARGO_BIN_EXE_worker-under-test");

/// Two stores and the queues between the functions.
struct Cloud {
    pair: Pair,
    sqs: SqsServer,
    task: Value,
}

impl Cloud {
    async fn start() -> Self {
        Self::with(json!({})).await
    }

    /// A cloud whose task has these fields beside its two ends.
    async fn with(fields: Value) -> Self {
        let end = |side: Side| json!({ "store": side.store(), "bucket": side.bucket() });
        let mut task =
            json!({ "name": "ferry", "source": end(Side::Source), "destination": end(Side::Destination) });
        for (name, value) in fields.as_object().expect("fields") {
            task[name] = value.clone();
        }
        Self {
            pair: Pair::with(StoreSetup::default(), StoreSetup::default()).await,
            sqs: SqsServer::start(SqsConfig::default()).await.expect("SQS"),
            task,
        }
    }

    /// A function's binary with the environment a deployment gives it.
    fn program(&self, path: &str) -> Program {
        let store = |side: Side| {
            let credentials = format!("env:{}", side.prefix());
            json!({ "endpoint": self.pair.server(side).endpoint(), "credentials": credentials })
        };
        let stores = json!({ "harbour": store(Side::Source), "island": store(Side::Destination) });
        self.pair
            .program(path)
            .env("FERRY_TASK", &self.task.to_string())
            .env("FERRY_STORES", &stores.to_string())
            .env("FERRY_JOB_QUEUE_URL", &self.sqs.queue_url("jobs"))
            .env("FERRY_SCAN_QUEUE_URL", &self.sqs.queue_url("scans"))
            .env("FERRY_DEAD_LETTER_QUEUE_URL", &self.sqs.queue_url("dead"))
    }

    async fn finder(&self) -> Function {
        self.sqs.queue("jobs");
        self.sqs.queue("scans");
        Function::start(self.program(FINDER)).await
    }

    async fn worker(&self) -> Function {
        self.sqs.queue("dead");
        Function::start(self.program(WORKER)).await
    }

    /// Everything a queue holds, taken off it.
    async fn take_all(&self, queue: &str) -> Vec<Delivery> {
        let queue = self.sqs.queue(queue);
        let mut taken = Vec::new();
        loop {
            let batch = receive(&queue).await;
            if batch.is_empty() {
                return taken;
            }
            let handles = batch.iter().map(|delivery| delivery.receipt_handle.clone()).collect();
            let deleted = queue.delete_batch(handles).await.expect("deleted");
            assert!(deleted.iter().all(Result::is_ok));
            taken.extend(batch);
        }
    }

    /// The dead letters: each body, and why it is here.
    async fn dead_letters(&self) -> Vec<(String, String)> {
        let letters = self.take_all("dead").await;
        let reason = |letter: &Delivery| {
            let own = letter.attributes.iter().filter(|(name, _)| name != ENVELOPE_ATTRIBUTE);
            let mut reasons = own.filter(|(name, _)| name == ferry_worker::DEAD_LETTER_REASON);
            reasons.next().expect("a reason").1.clone()
        };
        letters.into_iter().map(|letter| (letter.body.clone(), reason(&letter))).collect()
    }
}

async fn receive(queue: &Arc<MemoryQueue>) -> Vec<Delivery> {
    queue.receive(10, Duration::ZERO, Duration::from_mins(5)).await.expect("received")
}

/// Deliveries as Lambda hands them to a function.
fn event(deliveries: &[Delivery]) -> Value {
    let records: Vec<Value> = deliveries
        .iter()
        .map(|delivery| {
            json!({
                "messageId": delivery.message_id,
                "receiptHandle": delivery.receipt_handle,
                "body": delivery.body,
                "attributes": { "ApproximateReceiveCount": delivery.receive_count.to_string() },
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:jobs",
                "awsRegion": "us-east-1",
            })
        })
        .collect();
    json!({ "Records": records })
}

/// Bodies as the first delivery of messages `m0`, `m1` and on.
fn batch(bodies: &[&str]) -> Value {
    let deliveries: Vec<Delivery> = (0..)
        .zip(bodies)
        .map(|(number, body)| Delivery {
            message_id: format!("m{number}"),
            receipt_handle: format!("handle-{number}"),
            body: (*body).to_owned(),
            receive_count: 1,
            attributes: Vec::new(),
        })
        .collect();
    event(&deliveries)
}

/// The messages that an answer gives back.
fn given_back(answer: &Value) -> Vec<&str> {
    let failures =
        answer["batchItemFailures"].as_array().unwrap_or_else(|| panic!("no batch answer: {answer}"));
    failures.iter().filter_map(|failure| failure["itemIdentifier"].as_str()).collect()
}

#[tokio::test]
async fn a_function_that_is_configured_wrongly_does_not_start_and_says_why() {
    let cloud = Cloud::start().await;
    for path in [FINDER, WORKER] {
        for (name, value, words) in [
            ("FERRY_TASK", "", "FERRY_TASK is not set"),
            ("FERRY_TASK", "{\"nam\": 1}", "FERRY_TASK is not as expected"),
            ("FERRY_STORES", "{}", "no store \"harbour\" in FERRY_STORES"),
            ("HARBOUR_SECRET_ACCESS_KEY", "", "HARBOUR_SECRET_ACCESS_KEY is not set"),
        ] {
            let ended = cloud.program(path).env("AWS_REGION", "us-east-1").env(name, value).run().await;
            // The runtime prints the error as a quoted text.
            let said = ended.stderr.replace('\\', "");
            assert!(ended.code != 0 && said.contains(words), "{name}={value}: {ended}");
        }
    }
    let ended =
        cloud.program(FINDER).env("AWS_REGION", "us-east-1").without_env("FERRY_JOB_QUEUE_URL").run().await;
    assert!(ended.code != 0 && ended.shows("FERRY_JOB_QUEUE_URL is not set"), "{ended}");
    let ended = cloud
        .program(WORKER)
        .env("AWS_REGION", "us-east-1")
        .env("FERRY_MAX_RECEIVE_COUNT", "none")
        .run()
        .await;
    assert!(ended.code != 0 && ended.shows("FERRY_MAX_RECEIVE_COUNT"), "{ended}");
}
