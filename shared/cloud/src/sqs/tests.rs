//! The SDK against the endpoint of `ferry-testkit`, over a socket.

use std::sync::Arc;
use std::time::Instant;

use aws_credential_types::Credentials;
use ferry_testkit::sqs::{
    BatchOperation, EntryFault, Operation, QueueSettings, RedrivePolicy, RequestFault, SqsConfig, SqsServer,
};
use http::StatusCode;

use super::*;

const NOW: Duration = Duration::ZERO;
const MINUTE: Duration = Duration::from_mins(1);

async fn server() -> SqsServer {
    SqsServer::start(SqsConfig::default()).await.expect("start")
}

async fn connect(server: &SqsServer, name: &str) -> SqsQueue {
    SqsQueue::connect(SqsQueueConfig {
        region: Some("us-east-1".into()),
        credentials: Some(SharedCredentialsProvider::new(Credentials::new(
            "test", "test", None, None, "test",
        ))),
        ..SqsQueueConfig::new(server.queue_url(name))
    })
    .await
    .expect("connect")
}

/// A server with the queue `jobs`, and a client of it.
async fn jobs() -> (SqsServer, SqsQueue) {
    let server = server().await;
    server.queue("jobs");
    let queue = connect(&server, "jobs").await;
    (server, queue)
}

fn messages(bodies: &[&str]) -> Vec<OutgoingMessage> {
    bodies.iter().copied().map(OutgoingMessage::new).collect()
}

async fn send(queue: &SqsQueue, bodies: &[&str]) {
    let results = queue.send_batch(messages(bodies)).await.expect("batch");
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

async fn bodies(queue: &SqsQueue) -> Vec<String> {
    let deliveries = queue.receive(10, NOW, MINUTE).await.expect("receive");
    let mut bodies: Vec<String> = deliveries.into_iter().map(|delivery| delivery.body).collect();
    bodies.sort_unstable();
    bodies
}

fn unavailable() -> RequestFault {
    RequestFault::Refused { status: StatusCode::SERVICE_UNAVAILABLE, code: "ServiceUnavailable".into() }
}

#[tokio::test]
async fn a_message_arrives_as_it_was_sent_and_is_gone_when_deleted() {
    let (server, queue) = jobs().await;
    let message = OutgoingMessage {
        body: r#"{"key":"a/ü \u0001 \"😀\"","size":3}"#.into(),
        delay: Duration::ZERO,
        attributes: vec![("origin".into(), "scan".into()), ("run".into(), "r-1 é".into())],
    };
    let results = queue.send_batch(vec![message.clone()]).await.expect("batch");
    assert!(results[0].is_ok());
    let deliveries = queue.receive(10, NOW, MINUTE).await.expect("receive");
    let [delivery] = deliveries.as_slice() else {
        panic!("{deliveries:?}");
    };
    assert_eq!((&delivery.body, &delivery.attributes), (&message.body, &message.attributes));
    assert_eq!(delivery.receive_count, 1);
    assert!(!delivery.message_id.is_empty());
    assert_eq!(queue.depth().await.expect("depth").in_flight, 1);
    let deleted = queue.delete_batch(vec![delivery.receipt_handle.clone()]).await.expect("batch");
    assert!(deleted[0].is_ok());
    assert!(queue.depth().await.expect("depth").is_empty());
    assert_eq!(server.requests(Operation::SendMessageBatch), 1);
}

#[tokio::test]
async fn an_entry_that_fails_is_never_reported_as_sent() {
    let (server, queue) = jobs().await;
    let operation = BatchOperation::SendMessageBatch;
    server.faults().fail_entries(operation, &[1], EntryFault::Service);
    server.faults().fail_entries(operation, &[0, 2], EntryFault::Sender);
    let first = queue.send_batch(messages(&["a", "b", "c"])).await.expect("batch");
    let second = queue.send_batch(messages(&["d", "e", "f"])).await.expect("batch");
    let kinds = |results: Vec<Result<()>>| -> Vec<Option<ErrorKind>> {
        results.into_iter().map(|result| result.err().map(|error| error.kind())).collect()
    };
    assert_eq!(kinds(first), [None, Some(ErrorKind::Transient), None]);
    let sender = Some(ErrorKind::InvalidInput);
    assert_eq!(kinds(second), [sender, None, sender]);
    assert_eq!(bodies(&queue).await, ["a", "c", "e"]);
}

#[tokio::test]
async fn a_message_sqs_cannot_take_fails_alone() {
    let (_server, queue) = jobs().await;
    let results = queue.send_batch(messages(&["a", "\u{ffff}", ""])).await.expect("batch");
    assert!(results[0].is_ok());
    for refused in &results[1..] {
        let error = refused.as_ref().expect_err("refused");
        assert!(error.is_permanent(), "{error}");
        assert!(error.to_string().contains(queue.queue_url()), "{error}");
    }
    let code = results[1].as_ref().expect_err("refused").code().map(ToOwned::to_owned);
    assert_eq!(code.as_deref(), Some("InvalidMessageContents"));
}

#[tokio::test]
async fn messages_too_large_for_one_request_travel_in_several() {
    let (server, queue) = jobs().await;
    let large = "x".repeat(600 << 10);
    let too_large = "x".repeat((1 << 20) + 1);
    let results = queue.send_batch(messages(&[&large, &large, &too_large, "small"])).await.expect("batch");
    let sent: Vec<bool> = results.iter().map(Result::is_ok).collect();
    assert_eq!(sent, [true, true, false, true]);
    assert!(results[2].as_ref().expect_err("too large").is_permanent());
    assert_eq!(server.requests(Operation::SendMessageBatch), 4);
    assert_eq!(queue.depth().await.expect("depth").visible, 3);
}

#[tokio::test]
async fn what_was_sent_stays_sent_when_the_rest_of_a_batch_fails() {
    let (server, queue) = jobs().await;
    let large = "x".repeat(600 << 10);
    server.faults().fail_requests(
        Operation::SendMessageBatch,
        1,
        &RequestFault::Refused { status: StatusCode::BAD_REQUEST, code: "Refused".into() },
    );
    let results = queue.send_batch(messages(&[&large, &large])).await.expect("batch");
    let error = results[0].as_ref().expect_err("refused");
    assert_eq!((error.code(), error.status()), (Some("Refused"), Some(400)));
    assert!(results[1].is_ok());
}

#[tokio::test]
async fn a_batch_of_another_size_is_refused_without_a_request() {
    let (server, queue) = jobs().await;
    for count in [0, 11] {
        let error = queue.send_batch(messages(&vec!["x"; count])).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    assert!(queue.receive(11, NOW, MINUTE).await.is_err());
    assert!(queue.delete_batch(Vec::new()).await.is_err());
    let sent: u64 = Operation::ALL.into_iter().map(|operation| server.requests(operation)).sum();
    assert_eq!(sent, 0);
}

#[tokio::test]
async fn a_message_given_back_comes_again_with_a_higher_count() {
    let (_server, queue) = jobs().await;
    send(&queue, &["a"]).await;
    let first = queue.receive(1, NOW, MINUTE).await.expect("receive").remove(0);
    assert!(queue.receive(1, NOW, MINUTE).await.expect("receive").is_empty());
    queue.change_visibility(&first.receipt_handle, NOW).await.expect("given back");
    let second = queue.receive(1, NOW, MINUTE).await.expect("receive").remove(0);
    assert_eq!((first.receive_count, second.receive_count), (1, 2));
    assert_eq!(first.message_id, second.message_id);
    assert_ne!(first.receipt_handle, second.receipt_handle);

    // The first handle is stale: deleting with it succeeds and deletes nothing, as on SQS.
    let stale = queue.delete_batch(vec![first.receipt_handle.clone()]).await.expect("batch");
    assert!(stale[0].is_ok());
    assert_eq!(queue.depth().await.expect("depth").in_flight, 1);
    let error = queue
        .change_visibility(&first.receipt_handle, MINUTE)
        .await
        .expect_err("not in flight under this handle");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(error.code(), Some("MessageNotInflight"));
}

#[tokio::test]
async fn a_visibility_timeout_that_ends_brings_the_message_back() {
    let (_server, queue) = jobs().await;
    send(&queue, &["a"]).await;
    let second = Duration::from_secs(1);
    queue.receive(1, NOW, second).await.expect("receive");
    let start = Instant::now();
    let again = queue.receive(1, 10 * second, MINUTE).await.expect("receive");
    assert_eq!(again[0].receive_count, 2);
    assert!(start.elapsed() < 5 * second, "the long poll slept through the expiry");
}

#[tokio::test]
async fn deletes_fail_one_by_one() {
    let (server, queue) = jobs().await;
    send(&queue, &["a", "b"]).await;
    let mut handles: Vec<String> = queue
        .receive(10, NOW, MINUTE)
        .await
        .expect("receive")
        .into_iter()
        .map(|delivery| delivery.receipt_handle)
        .collect();
    handles.insert(1, "nonsense".into());
    server.faults().fail_entries(BatchOperation::DeleteMessageBatch, &[2], EntryFault::Service);
    let results = queue.delete_batch(handles).await.expect("batch");
    assert!(results[0].is_ok());
    let nonsense = results[1].as_ref().expect_err("nonsense");
    assert_eq!((nonsense.kind(), nonsense.code()), (ErrorKind::InvalidInput, Some("ReceiptHandleIsInvalid")));
    assert_eq!(results[2].as_ref().expect_err("fault").kind(), ErrorKind::Transient);
    assert_eq!(queue.depth().await.expect("depth").in_flight, 1);
}

#[tokio::test]
async fn poison_ends_in_the_dead_letter_queue_under_its_id() {
    let server = server().await;
    server.queue("dead");
    let settings = QueueSettings {
        redrive: Some(RedrivePolicy { dead_letter_queue: "dead".into(), max_receive_count: 2 }),
        ..QueueSettings::default()
    };
    server.create_queue("jobs", settings).expect("created");
    let queue = connect(&server, "jobs").await;
    let dead = connect(&server, "dead").await;
    let message =
        OutgoingMessage { attributes: vec![("run".into(), "r-1".into())], ..OutgoingMessage::new("poison") };
    queue.send_batch(vec![message]).await.expect("batch");
    let mut id = String::new();
    for _ in 0..2 {
        let delivery = queue.receive(1, NOW, MINUTE).await.expect("receive").remove(0);
        queue.change_visibility(&delivery.receipt_handle, NOW).await.expect("given back");
        id = delivery.message_id;
    }
    assert!(queue.receive(1, NOW, MINUTE).await.expect("receive").is_empty());
    assert!(queue.depth().await.expect("depth").is_empty());
    let delivery = dead.receive(1, NOW, MINUTE).await.expect("receive").remove(0);
    assert_eq!((delivery.body.as_str(), delivery.message_id), ("poison", id));
    assert_eq!(delivery.attributes, [("run".to_owned(), "r-1".to_owned())]);
}

#[tokio::test]
async fn a_long_poll_wakes_when_a_message_is_sent() {
    let (server, queue) = jobs().await;
    let start = Instant::now();
    let sender = async {
        while server.requests(Operation::ReceiveMessage) == 0 {
            tokio::task::yield_now().await;
        }
        send(&queue, &["now"]).await;
    };
    let (received, ()) = tokio::join!(queue.receive(10, Duration::from_secs(20), MINUTE), sender);
    assert_eq!(received.expect("receive")[0].body, "now");
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn concurrent_receivers_share_the_messages_between_them() {
    let (_server, queue) = jobs().await;
    let sent: Vec<String> = (0..60).map(|number| format!("{number:02}")).collect();
    for batch in sent.chunks(10) {
        let batch: Vec<&str> = batch.iter().map(String::as_str).collect();
        send(&queue, &batch).await;
    }
    let receivers = (0..6).map(|_| async {
        let mut received = Vec::new();
        loop {
            let deliveries = queue.receive(3, NOW, MINUTE).await.expect("receive");
            if deliveries.is_empty() {
                return received;
            }
            let (bodies, handles): (Vec<String>, Vec<String>) =
                deliveries.into_iter().map(|delivery| (delivery.body, delivery.receipt_handle)).unzip();
            let deleted = queue.delete_batch(handles).await.expect("batch");
            assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
            received.extend(bodies);
        }
    });
    let mut received = futures::future::join_all(receivers).await.concat();
    received.sort_unstable();
    assert_eq!(received, sent);
    assert!(queue.depth().await.expect("depth").is_empty());
}

#[tokio::test]
async fn a_delayed_message_counts_as_delayed_and_cannot_be_received() {
    let (_server, queue) = jobs().await;
    let late = OutgoingMessage { delay: Duration::from_millis(59_001), ..OutgoingMessage::new("late") };
    queue.send_batch(vec![late]).await.expect("batch");
    assert!(queue.receive(1, NOW, MINUTE).await.expect("receive").is_empty());
    let depth = queue.depth().await.expect("depth");
    assert_eq!((depth.delayed, depth.visible, depth.in_flight), (1, 0, 0));
}

#[tokio::test]
async fn a_hiccup_is_retried_and_an_outage_is_transient() {
    let (server, queue) = jobs().await;
    let operation = Operation::SendMessageBatch;
    server.faults().fail_requests(operation, 2, &unavailable());
    send(&queue, &["a"]).await;
    assert_eq!(server.requests(operation), 3);

    server.faults().fail_requests(operation, 3, &unavailable());
    let error = queue.send_batch(messages(&["b"])).await.expect_err("outage");
    assert_eq!((error.kind(), error.status()), (ErrorKind::Transient, Some(503)));
    assert!(error.request_id().is_some());
    assert_eq!(server.requests(operation), 6);
    assert_eq!(bodies(&queue).await, ["a"]);
}

#[tokio::test]
async fn a_lost_answer_is_sent_again_and_so_delivered_twice() {
    let (server, queue) = jobs().await;
    server.faults().fail_requests(Operation::SendMessageBatch, 1, &RequestFault::AnswerLost);
    send(&queue, &["a"]).await;
    assert_eq!(bodies(&queue).await, ["a", "a"]);
}

#[tokio::test]
async fn a_duplicate_delivery_has_the_id_of_the_first() {
    let (server, queue) = jobs().await;
    server.faults().duplicate_deliveries(1);
    send(&queue, &["a"]).await;
    let first = queue.receive(10, NOW, MINUTE).await.expect("receive").remove(0);
    queue.delete_batch(vec![first.receipt_handle]).await.expect("batch");
    let second = queue.receive(10, NOW, MINUTE).await.expect("receive").remove(0);
    assert_eq!(first.message_id, second.message_id);
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let (server, queue) = jobs().await;
    for (status, code, kind) in [
        (StatusCode::FORBIDDEN, "AccessDenied", ErrorKind::PermissionDenied),
        (StatusCode::BAD_REQUEST, "InvalidClientTokenId", ErrorKind::PermissionDenied),
        (StatusCode::BAD_REQUEST, "UnsupportedOperation", ErrorKind::Unsupported),
        (StatusCode::BAD_REQUEST, "Whatever", ErrorKind::InvalidInput),
    ] {
        let fault = RequestFault::Refused { status, code: code.into() };
        server.faults().fail_requests(Operation::GetQueueAttributes, 1, &fault);
        let error = queue.depth().await.expect_err(code);
        assert_eq!((error.kind(), error.code()), (kind, Some(code)), "{error}");
    }
    let nowhere = connect(&server, "nowhere").await;
    let error = nowhere.depth().await.expect_err("no queue");
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert_eq!(error.code(), Some("NonExistentQueue"));
    let line = error.to_string();
    assert!(line.starts_with(&format!("GetQueueAttributes: queue {}: ", nowhere.queue_url())), "{line}");
    assert!(line.contains("check the queue's url"), "{line}");
}

#[tokio::test]
async fn throttling_is_told_from_other_failures() {
    let (server, queue) = jobs().await;
    let fault = RequestFault::Refused { status: StatusCode::BAD_REQUEST, code: "RequestThrottled".into() };
    server.faults().fail_requests(Operation::ReceiveMessage, 3, &fault);
    let error = queue.receive(1, NOW, MINUTE).await.expect_err("throttled");
    assert_eq!(error.kind(), ErrorKind::Throttled);
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_transient() {
    let (server, queue) = jobs().await;
    server.shutdown().await;
    let error = queue.depth().await.expect_err("gone");
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert!(!error.is_permanent());
}

#[tokio::test]
async fn a_shutdown_ends_a_long_poll() {
    let (server, queue) = jobs().await;
    let server = Arc::new(server);
    let poll = tokio::spawn({
        let queue = queue.clone();
        async move { queue.receive(1, Duration::from_secs(20), MINUTE).await }
    });
    while server.requests(Operation::ReceiveMessage) == 0 {
        tokio::task::yield_now().await;
    }
    let server = Arc::into_inner(server).expect("one owner");
    tokio::time::timeout(Duration::from_secs(10), server.shutdown()).await.expect("prompt");
    assert!(poll.await.expect("joined").expect("empty").is_empty());
}

#[tokio::test]
async fn missing_credentials_are_a_matter_of_configuration() {
    #[derive(Debug)]
    struct Nobody;
    impl aws_credential_types::provider::ProvideCredentials for Nobody {
        fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            use aws_credential_types::provider::error::CredentialsError;
            aws_credential_types::provider::future::ProvideCredentials::ready(Err(
                CredentialsError::not_loaded("nobody is logged in"),
            ))
        }
    }
    let server = server().await;
    let queue = SqsQueue::connect(SqsQueueConfig {
        region: Some("us-east-1".into()),
        credentials: Some(SharedCredentialsProvider::new(Nobody)),
        ..SqsQueueConfig::new(server.queue_url("jobs"))
    })
    .await
    .expect("connect");
    let error = queue.depth().await.expect_err("no credentials");
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.chain().contains("nobody is logged in"), "{}", error.chain());
}
