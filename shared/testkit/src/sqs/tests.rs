//! The wire: what a client that is not the SDK would see. The SDK drives the endpoint in `ferry-cloud`.

use std::time::Duration;

use ferry_transfer::Queue as _;
use ferry_transfer::queue::OutgoingMessage;
use serde_json::{Value, json};

use super::*;

struct Reply {
    status: u16,
    query_error: Option<String>,
    body: Value,
}

async fn call(server: &SqsServer, operation: &str, request: Value) -> Reply {
    let mut headers = HeaderMap::new();
    let target = format!("AmazonSQS.{operation}");
    headers.insert("x-amz-target", target.parse().expect("header"));
    let endpoint = State(Arc::clone(&server.endpoint));
    let response = answer(endpoint, headers, Bytes::from(request.to_string())).await;
    let status = response.status().as_u16();
    assert!(response.headers().contains_key("x-amzn-requestid"));
    assert_eq!(response.headers()["content-type"], "application/x-amz-json-1.0");
    let query_error =
        response.headers().get("x-amzn-query-error").map(|value| value.to_str().expect("ascii").to_owned());
    let body = axum::body::to_bytes(response.into_body(), REQUEST_MAX_BYTES).await.expect("body");
    Reply { status, query_error, body: serde_json::from_slice(&body).expect("json") }
}

async fn server() -> SqsServer {
    SqsServer::start(SqsConfig::default()).await.expect("start")
}

/// A server with the queue `jobs`, and the queue's URL.
async fn server_with_queue() -> (SqsServer, String) {
    let server = server().await;
    let url = server.queue_url("jobs");
    server.queue("jobs");
    (server, url)
}

fn assert_refused(reply: &Reply, shape: &str, legacy: &str) {
    assert_eq!(reply.status, 400, "{}", reply.body);
    assert_eq!(reply.body["__type"], format!("com.amazonaws.sqs#{shape}"));
    assert_eq!(reply.query_error.as_deref(), Some(format!("{legacy};Sender").as_str()));
    assert!(reply.body["message"].is_string());
}

#[tokio::test]
async fn errors_carry_the_shape_and_the_legacy_code() {
    let server = server().await;
    let url = server.queue_url("nowhere");
    let reply = call(&server, "SendMessage", json!({ "QueueUrl": url, "MessageBody": "x" })).await;
    assert_refused(&reply, "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue");
    let reply = call(&server, "TagQueue", json!({})).await;
    assert_refused(&reply, "UnknownOperationException", "InvalidAction");
    let reply = call(&server, "ReceiveMessage", json!([1])).await;
    assert_refused(&reply, "SerializationException", "SerializationException");
}

#[tokio::test]
async fn creating_a_queue_twice_is_one_queue_and_other_settings_are_a_conflict() {
    let server = server().await;
    let create = |attributes: Value| json!({ "QueueName": "jobs", "Attributes": attributes });
    let first = call(&server, "CreateQueue", create(json!({ "VisibilityTimeout": "60" }))).await;
    assert_eq!(first.body["QueueUrl"], server.queue_url("jobs"));
    let again = call(&server, "CreateQueue", create(json!({ "VisibilityTimeout": "60" }))).await;
    assert_eq!(again.status, 200);
    let unsaid = call(&server, "CreateQueue", json!({ "QueueName": "jobs" })).await;
    assert_eq!(unsaid.status, 200);
    let other = call(&server, "CreateQueue", create(json!({ "VisibilityTimeout": "61" }))).await;
    assert_refused(&other, "QueueNameExists", "QueueAlreadyExists");
    for (attributes, shape) in [
        (json!({ "VisibilityTimeout": "43201" }), "InvalidAttributeValue"),
        (json!({ "DelaySeconds": "soon" }), "InvalidAttributeValue"),
        (json!({ "FifoQueue": "true" }), "InvalidAttributeName"),
    ] {
        let refused =
            call(&server, "CreateQueue", json!({ "QueueName": "more", "Attributes": attributes })).await;
        assert_refused(&refused, shape, shape);
    }
    let fifo = call(&server, "CreateQueue", json!({ "QueueName": "jobs.fifo" })).await;
    assert_refused(&fifo, "InvalidParameterValueException", "InvalidParameterValue");
    let names = call(&server, "ListQueues", json!({ "QueueNamePrefix": "j" })).await;
    assert_eq!(names.body, json!({ "QueueUrls": [server.queue_url("jobs")] }));
}

#[tokio::test]
async fn settings_beyond_the_limits_of_sqs_are_refused() {
    let server = server().await;
    server.queue("dead");
    let beyond = |change: fn(&mut QueueSettings)| {
        let mut settings = QueueSettings::default();
        change(&mut settings);
        settings
    };
    for settings in [
        beyond(|settings| settings.visibility_timeout = Duration::from_secs(43_201)),
        beyond(|settings| settings.delay = Duration::from_secs(901)),
        beyond(|settings| {
            settings.redrive = Some(RedrivePolicy { dead_letter_queue: "dead".into(), max_receive_count: 0 });
        }),
    ] {
        let error = server.create_queue("jobs", settings).expect_err("refused");
        assert_eq!(error.code(), Some("InvalidAttributeValue"));
    }
}

#[tokio::test]
async fn a_redrive_policy_needs_its_dead_letter_queue() {
    let server = server().await;
    let policy = r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dead","maxReceiveCount":"3"}"#;
    let request = json!({ "QueueName": "jobs", "Attributes": { "RedrivePolicy": policy } });
    let refused = call(&server, "CreateQueue", request.clone()).await;
    assert_refused(&refused, "InvalidParameterValueException", "InvalidParameterValue");
    server.queue("dead");
    assert_eq!(call(&server, "CreateQueue", request).await.status, 200);
    let url = server.queue_url("jobs");
    let attributes =
        call(&server, "GetQueueAttributes", json!({ "QueueUrl": url, "AttributeNames": ["All"] })).await;
    let attributes = &attributes.body["Attributes"];
    assert_eq!(attributes["QueueArn"], "arn:aws:sqs:us-east-1:000000000000:jobs");
    assert_eq!(attributes["VisibilityTimeout"], "30");
    let policy: Value =
        serde_json::from_str(attributes["RedrivePolicy"].as_str().expect("policy")).expect("json");
    assert_eq!(policy["maxReceiveCount"], 3);
    let none = call(
        &server,
        "GetQueueAttributes",
        json!({ "QueueUrl": server.queue_url("dead"), "AttributeNames": ["RedrivePolicy"] }),
    )
    .await;
    assert_eq!(none.body, json!({ "Attributes": {} }));
}

#[tokio::test]
async fn attributes_of_every_type_arrive_as_they_were_sent() {
    let (server, url) = server_with_queue().await;
    let attributes = json!({
        "name": { "DataType": "String", "StringValue": "π" },
        "size": { "DataType": "Number.long", "StringValue": "12" },
        "raw": { "DataType": "Binary", "BinaryValue": "AAH/" },
    });
    let sent = call(
        &server,
        "SendMessage",
        json!({ "QueueUrl": url, "MessageBody": "hello world", "MessageAttributes": attributes }),
    )
    .await;
    assert_eq!(sent.body["MD5OfMessageBody"], "5eb63bbbe01eeed093cb22bb8f5acdc3");
    // Computed by an independent implementation of the published algorithm.
    assert_eq!(sent.body["MD5OfMessageAttributes"], "20ddb0b340416e7dd2e28eb497b99d36");
    let all = call(
        &server,
        "ReceiveMessage",
        json!({
            "QueueUrl": url, "VisibilityTimeout": 0,
            "MessageAttributeNames": ["All"], "MessageSystemAttributeNames": ["All"],
        }),
    )
    .await;
    let message = &all.body["Messages"][0];
    assert_eq!(message["MessageAttributes"], attributes);
    assert_eq!(message["MD5OfMessageAttributes"], sent.body["MD5OfMessageAttributes"]);
    assert_eq!(message["MessageId"], sent.body["MessageId"]);
    assert_eq!(message["Attributes"]["ApproximateReceiveCount"], "1");
    assert!(message["Attributes"]["SentTimestamp"].is_string());
    assert!(message["Attributes"]["DeadLetterQueueSourceArn"].is_null());

    let some =
        call(&server, "ReceiveMessage", json!({ "QueueUrl": url, "MessageAttributeNames": ["na.*"] })).await;
    let message = &some.body["Messages"][0];
    assert_eq!(message["MessageAttributes"], json!({ "name": attributes["name"] }));
    assert!(message["Attributes"].is_null());
}

#[tokio::test]
async fn a_batch_is_refused_as_a_whole_for_its_form() {
    let (server, url) = server_with_queue().await;
    let entry = |id: &str, body: &str| json!({ "Id": id, "MessageBody": body });
    let eleven: Vec<Value> = (0..11).map(|id| entry(&id.to_string(), "x")).collect();
    let half = "x".repeat(600 << 10);
    for (entries, code) in [
        (json!([]), "EmptyBatchRequest"),
        (json!(eleven), "TooManyEntriesInBatchRequest"),
        (json!([entry("a", "x"), entry("a", "y")]), "BatchEntryIdsNotDistinct"),
        (json!([entry("a b", "x")]), "InvalidBatchEntryId"),
        (json!([entry("a", &half), entry("b", &half)]), "BatchRequestTooLong"),
    ] {
        let reply = call(&server, "SendMessageBatch", json!({ "QueueUrl": url, "Entries": entries })).await;
        assert_refused(&reply, code, &format!("AWS.SimpleQueueService.{code}"));
    }
    assert!(server.queue("jobs").depth().await.expect("depth").is_empty());
}

#[tokio::test]
async fn the_entries_of_a_batch_fail_one_by_one() {
    let (server, url) = server_with_queue().await;
    let reply = call(
        &server,
        "SendMessageBatch",
        json!({ "QueueUrl": url, "Entries": [
            { "Id": "good", "MessageBody": "x" },
            { "Id": "empty", "MessageBody": "" },
            { "Id": "control", "MessageBody": "\u{1}" },
            { "Id": "late", "MessageBody": "x", "DelaySeconds": 901 },
            { "Id": "reserved", "MessageBody": "x",
              "MessageAttributes": { "aws.x": { "DataType": "String", "StringValue": "x" } } },
            { "Id": "untyped", "MessageBody": "x",
              "MessageAttributes": { "x": { "DataType": "Float", "StringValue": "1" } } },
        ] }),
    )
    .await;
    assert_eq!(reply.status, 200);
    let ids = |list: &str| -> Vec<String> {
        let entries = reply.body[list].as_array().expect("list");
        entries.iter().map(|entry| entry["Id"].as_str().expect("id").to_owned()).collect()
    };
    assert_eq!(ids("Successful"), ["good"]);
    assert_eq!(ids("Failed"), ["empty", "control", "late", "reserved", "untyped"]);
    assert_eq!(reply.body["Failed"][1]["Code"], "InvalidMessageContents");
    assert_eq!(reply.body["Failed"][1]["SenderFault"], true);
}

#[tokio::test]
async fn a_receipt_handle_belongs_to_its_queue() {
    let (server, url) = server_with_queue().await;
    server.queue("other");
    call(&server, "SendMessage", json!({ "QueueUrl": url, "MessageBody": "x" })).await;
    let received = call(&server, "ReceiveMessage", json!({ "QueueUrl": url })).await;
    let handle = &received.body["Messages"][0]["ReceiptHandle"];
    for (queue, handle) in [("other", handle), ("jobs", &json!("nonsense"))] {
        let request = json!({ "QueueUrl": server.queue_url(queue), "ReceiptHandle": handle });
        let refused = call(&server, "DeleteMessage", request).await;
        assert_refused(&refused, "ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid");
    }
    let batch = json!({ "QueueUrl": url, "Entries": [
        { "Id": "bad", "ReceiptHandle": "nonsense" },
        { "Id": "good", "ReceiptHandle": handle },
    ] });
    let deleted = call(&server, "DeleteMessageBatch", batch).await;
    assert_eq!(deleted.body["Successful"], json!([{ "Id": "good" }]));
    assert_eq!(deleted.body["Failed"][0]["Id"], "bad");
}

#[tokio::test]
async fn limits_of_a_receive_are_enforced() {
    let (server, url) = server_with_queue().await;
    for (name, value) in [
        ("MaxNumberOfMessages", 0),
        ("MaxNumberOfMessages", 11),
        ("WaitTimeSeconds", 21),
        ("VisibilityTimeout", 43_201),
    ] {
        let reply = call(&server, "ReceiveMessage", json!({ "QueueUrl": url, name: value })).await;
        assert_refused(&reply, "InvalidParameterValueException", "InvalidParameterValue");
    }
    let nothing = call(&server, "ReceiveMessage", json!({ "QueueUrl": url })).await;
    assert_eq!(nothing.body, json!({}));
}

#[tokio::test]
async fn a_queue_hides_and_delays_by_its_own_defaults() {
    let server = server().await;
    let settings = QueueSettings { visibility_timeout: Duration::ZERO, ..QueueSettings::default() };
    server.create_queue("jobs", settings).expect("created");
    let url = server.queue_url("jobs");
    call(&server, "SendMessage", json!({ "QueueUrl": url, "MessageBody": "x" })).await;
    for count in ["1", "2"] {
        let request = json!({ "QueueUrl": url, "AttributeNames": ["All"] });
        let received = call(&server, "ReceiveMessage", request).await;
        let attributes = &received.body["Messages"][0]["Attributes"];
        assert_eq!(attributes["ApproximateReceiveCount"], count);
    }
    let settings = QueueSettings { delay: Duration::from_mins(1), ..QueueSettings::default() };
    let later = server.create_queue("later", settings).expect("created");
    let url = server.queue_url("later");
    for delay in [json!(null), json!(0)] {
        let request = json!({ "QueueUrl": url, "MessageBody": "x", "DelaySeconds": delay });
        call(&server, "SendMessage", request).await;
    }
    let depth = later.depth().await.expect("depth");
    assert_eq!((depth.delayed, depth.visible), (1, 1));
}

#[tokio::test]
async fn a_message_put_on_the_memory_queue_is_received_like_any_other() {
    let (server, url) = server_with_queue().await;
    let message = OutgoingMessage {
        attributes: vec![("origin".into(), "scan".into())],
        ..OutgoingMessage::new("direct")
    };
    server.queue("jobs").send_batch(vec![message]).await.expect("batch");
    let request = json!({ "QueueUrl": url, "MessageAttributeNames": ["All"] });
    let received = call(&server, "ReceiveMessage", request).await;
    let message = &received.body["Messages"][0];
    assert_eq!(message["Body"], "direct");
    assert_eq!(
        message["MessageAttributes"]["origin"],
        json!({ "DataType": "String", "StringValue": "scan" })
    );
}

#[tokio::test]
async fn a_purge_leaves_nothing_to_receive() {
    let (server, url) = server_with_queue().await;
    for _ in 0..23 {
        call(&server, "SendMessage", json!({ "QueueUrl": url, "MessageBody": "x" })).await;
    }
    call(&server, "PurgeQueue", json!({ "QueueUrl": url })).await;
    assert!(server.queue("jobs").depth().await.expect("depth").is_empty());
}

#[tokio::test]
async fn faults_are_used_up_in_order() {
    let (server, url) = server_with_queue().await;
    let refused =
        RequestFault::Refused { status: StatusCode::SERVICE_UNAVAILABLE, code: "ServiceUnavailable".into() };
    server.faults().fail_requests(Operation::SendMessage, 1, &refused);
    server.faults().fail_requests(Operation::SendMessage, 1, &RequestFault::AnswerLost);
    let send = json!({ "QueueUrl": url, "MessageBody": "x" });
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(call(&server, "SendMessage", send.clone()).await.status);
    }
    assert_eq!(statuses, [503, 500, 200]);
    // The answer of the second was lost, not the message.
    assert_eq!(server.queue("jobs").depth().await.expect("depth").visible, 2);
    assert_eq!(server.requests(Operation::SendMessage), 3);
    assert_eq!(server.requests(Operation::ReceiveMessage), 0);
}

#[tokio::test]
async fn a_duplicate_comes_again_with_its_id_even_when_deleted() {
    let (server, url) = server_with_queue().await;
    server.faults().duplicate_deliveries(1);
    call(&server, "SendMessage", json!({ "QueueUrl": url, "MessageBody": "x" })).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let received = call(&server, "ReceiveMessage", json!({ "QueueUrl": url })).await;
        let message = &received.body["Messages"][0];
        ids.push(message["MessageId"].clone());
        let request = json!({ "QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"] });
        call(&server, "DeleteMessage", request).await;
    }
    assert_eq!(ids[0], ids[1]);
    assert!(server.queue("jobs").depth().await.expect("depth").is_empty());
}

#[tokio::test]
async fn a_delivery_can_be_delayed() {
    let (server, url) = server_with_queue().await;
    server.faults().delay_deliveries(1, Duration::from_mins(1));
    for _ in 0..2 {
        call(&server, "SendMessage", json!({ "QueueUrl": url, "MessageBody": "x" })).await;
    }
    let depth = server.queue("jobs").depth().await.expect("depth");
    assert_eq!((depth.delayed, depth.visible), (1, 1));
}
