//! Each host in its own terms, and bursts.

use axum::http::StatusCode;
use ferry_events::{Secret, sign};
use ferry_testkit::sqs::{BatchOperation, EntryFault, Operation, RequestFault};
use ferry_tests::Function;
use ferry_transfer::job::{Action, Origin};
use ferry_transfer::{Clock as _, SystemClock};
use futures::StreamExt as _;
use serde_json::{Value, json};

use super::*;

const REPORT: &str = "备份/2026 年报+终稿 100%.pdf";

fn now_secs() -> i64 {
    SystemClock.now().unix_timestamp()
}

fn signature(body: &[u8]) -> String {
    sign(&Secret::new(SECRET).expect("a secret"), now_secs(), body)
}

fn with_secret(program: Program) -> Program {
    program.credentials("SENDERS", "anyone", SECRET).env("FERRY_EVENT_SECRET", "env:SENDERS")
}

fn refused() -> RequestFault {
    RequestFault::Refused { status: StatusCode::FORBIDDEN, code: "AccessDenied".into() }
}

#[tokio::test]
async fn function_compute_invokes_and_hears_of_failures() {
    let harbour = Harbour::start().await;
    let listener = Listener::on_function_compute(harbour.program()).await;
    let headers = [
        ("x-fc-request-id", "r-1"),
        ("x-fc-access-key-secret", "never-logged"),
        ("x-fc-control-path", "/invoke"),
    ];
    let begun = listener.post("/initialize", &headers, b"").await;
    assert_eq!((begun.status, begun.head.contains("x-fc-status: 200")), (200, true), "{}", begun.head);

    let done = listener.post("/invoke", &headers, &sample("oss-fc-put-object.json")).await;
    assert_eq!((done.status, done.head.contains("x-fc-status: 200")), (200, true), "{}", done.head);
    let jobs = harbour.jobs().await;
    assert_eq!((jobs.len(), jobs[0].key.as_str(), jobs[0].origin), (1, REPORT, Some(Origin::Event)));

    // Nothing of a part of an upload, nor of a delete where nobody asked for deletes.
    for file in ["oss-fc-upload-part-ignore.json", "oss-fc-delete-object.json"] {
        assert_eq!(listener.post("/invoke", &headers, &sample(file)).await.status, 200);
    }
    assert_eq!(harbour.keys().await, Vec::<String>::new());

    harbour.sqs.faults().fail_requests(Operation::SendMessageBatch, 1, &refused());
    let failed = listener.post("/invoke", &headers, &sample("oss-fc-put-object.json")).await;
    assert_eq!((failed.status, failed.head.contains("x-fc-status: 404")), (404, true), "{}", failed.head);
    assert_eq!(harbour.keys().await, Vec::<String>::new());
    let poison = listener.post("/invoke", &headers, b"not an event").await;
    assert_eq!((poison.status, poison.head.contains("x-fc-status: 404")), (404, true), "{}", poison.head);

    let log = listener.log();
    for line in [
        "FC Initialize Start RequestId: r-1",
        "FC Invoke Start RequestId: r-1",
        "FC Invoke End RequestId: r-1",
    ] {
        assert!(log.lines().any(|logged| logged == line), "{line}:\n{log}");
    }
    assert!(!log.contains("never-logged") && !log.contains("sending-only"), "{log}");
}

#[tokio::test]
async fn an_http_trigger_of_function_compute_does_not_pass_for_an_event() {
    let harbour = Harbour::start().await;
    let listener = Listener::on_function_compute(harbour.program()).await;
    let headers = [("x-fc-control-path", "/http-invoke")];
    let answer = listener.post("/invoke", &headers, &sample("oss-fc-put-object.json")).await;
    assert_eq!((answer.status, harbour.keys().await), (404, vec![]), "{}", answer.head);
    assert_eq!(listener.post("/webhook", &headers, b"{}").await.status, 401);
}

/// Off the platform nobody has asked who invokes: a secret is not to be got round by naming another path.
#[tokio::test]
async fn an_invocation_is_believed_only_where_the_platform_is() {
    let harbour = Harbour::start().await;
    let body = sample("oss-fc-put-object.json");
    let elsewhere = Listener::on_function_compute(with_secret(harbour.program())).await;
    let answer = elsewhere.post("/invoke", &[], &body).await;
    assert_eq!((answer.status, harbour.keys().await), (404, vec![]), "{}", answer.head);
    let signed = signature(&body);
    assert_eq!(elsewhere.post("/invoke", &[("x-ferry-signature", &signed)], &body).await.status, 200);
    assert_eq!(harbour.keys().await, [REPORT]);
    let platform = with_secret(harbour.program()).env("FC_FUNCTION_NAME", "events");
    let platform = Listener::on_function_compute(platform).await;
    assert_eq!(platform.post("/invoke", &[], &body).await.status, 200);
    assert_eq!(harbour.keys().await, [REPORT]);
    let plain = Listener::on_http(with_secret(harbour.program())).await;
    assert_eq!(plain.post("/invoke", &[("x-fc-control-path", "/invoke")], &body).await.status, 401);
}

#[tokio::test]
async fn senders_that_stop_in_mid_sentence_keep_nobody_out() {
    let harbour = Harbour::start().await;
    let listener = Listener::on_function_compute(harbour.program()).await;
    let mut stalled = Vec::new();
    for number in 0..300 {
        let mut connection = TcpStream::connect(listener.address).await.expect("connected");
        let head = match number % 3 {
            0 => "POST /invoke HTTP/1.1\r\nHost: a\r\nContent-Le",
            1 => "POST /invoke HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n{",
            _ => "POST /webhook HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        };
        connection.write_all(head.as_bytes()).await.expect("sent");
        stalled.push(connection);
    }
    let begun = tokio::time::Instant::now();
    assert_eq!(listener.post("/invoke", &[], &sample("oss-fc-put-object.json")).await.status, 200);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_webhook_is_let_in_by_its_signature() {
    let harbour = Harbour::start().await;
    let listener = Listener::on_http(with_secret(harbour.program())).await;
    let body = sample("minio-webhook-object-created-put.json");
    let good = signature(&body);
    let old = sign(&Secret::new(SECRET).expect("a secret"), now_secs() - 3_600, &body);
    let of_another_body = signature(b"{}");
    for headers in [
        &[][..],
        &[("x-ferry-signature", old.as_str())],
        &[("x-ferry-signature", of_another_body.as_str())],
        &[("authorization", "Bearer hush-hush")],
    ] {
        assert_eq!(listener.post("/", headers, &body).await.status, 401, "{headers:?}");
    }
    assert_eq!(harbour.keys().await, Vec::<String>::new());
    assert_eq!(listener.post("/any/path", &[("x-ferry-signature", &good)], &body).await.status, 200);
    assert_eq!(harbour.keys().await, [REPORT]);
    assert!(!listener.log().contains(SECRET));
}

#[tokio::test]
async fn a_webhook_hears_what_is_to_be_sent_again_and_what_is_not() {
    let harbour = Harbour::start().await;
    let program = harbour.program().env("FERRY_DELETES", "yes").env("FERRY_EVENT_SUFFIXES", ".jpeg");
    let listener = Listener::on_http(program).await;
    assert_eq!(listener.post("/", &[], b"nothing").await.status, 400);
    assert_eq!(listener.post("/", &[], &vec![b' '; 3 << 20]).await.status, 413);
    let answer = listener.post("/", &[], &sample("oss-fc-put-object.json")).await;
    let said: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!((answer.status, &said["jobs"], &said["not_selected"]), (200, &0.into(), &1.into()), "{said}");
    harbour.sqs.faults().fail_requests(Operation::SendMessageBatch, 1, &refused());
    let deleted = sample("r2-queue-delete-object.json");
    assert_eq!(listener.post("/", &[], &deleted).await.status, 503);
    assert_eq!(listener.post("/", &[], &deleted).await.status, 200);
    let jobs = harbour.jobs().await;
    assert_eq!((jobs.len(), jobs[0].action), (1, Action::Delete));
}

#[tokio::test]
async fn a_function_url_answers_with_a_status_and_an_invocation_with_an_error() {
    let harbour = Harbour::start().await;
    let function = Function::start(with_secret(harbour.program())).await;
    let body = String::from_utf8(sample("b2-webhook-object-created-upload.json")).expect("text");
    let request = |signature: &str, iam: Value| {
        json!({ "version": "2.0", "headers": { "x-ferry-signature": signature }, "body": body,
            "requestContext": { "http": { "method": "POST", "path": "/" }, "authorizer": iam }, "isBase64Encoded": false })
    };
    let signed = request(&signature(body.as_bytes()), Value::Null);
    let stranger = function.invoke(&request("t=1,v1=00", Value::Null)).await.expect("an answer");
    assert_eq!((&stranger["statusCode"], harbour.keys().await), (&401.into(), vec![]));
    let known =
        function.invoke(&request("", json!({ "iam": { "accountId": "0" } }))).await.expect("an answer");
    assert_eq!((&known["statusCode"], harbour.keys().await), (&200.into(), vec![REPORT.to_owned()]));
    assert_eq!(function.invoke(&signed).await.expect("an answer")["statusCode"], 200);
    assert_eq!(harbour.keys().await, [REPORT]);

    harbour.sqs.faults().fail_requests(Operation::SendMessageBatch, 2, &refused());
    assert_eq!(function.invoke(&signed).await.expect("an answer")["statusCode"], 503);
    let notification: Value = serde_json::from_str(&body).expect("JSON");
    function.invoke(&notification).await.expect_err("Lambda must try again");
    assert_eq!(function.invoke(&notification).await.expect("an answer")["jobs"], 1);
    assert_eq!(harbour.keys().await, [REPORT]);
}

#[tokio::test]
async fn a_function_url_without_a_secret_lets_nobody_in() {
    let harbour = Harbour::start().await;
    let function = Function::start(harbour.program()).await;
    let request = json!({ "headers": {}, "body": "{\"key\":\"a\"}", "requestContext": { "http": { "method": "POST" } } });
    assert_eq!(function.invoke(&request).await.expect("an answer")["statusCode"], 401);
    assert_eq!(harbour.keys().await, Vec::<String>::new());
}

/// Posts a thousand events, at most 200 at a time, each again until it is accepted as its sender would; how many were refused.
async fn burst(listener: &Listener) -> usize {
    let posts = (0..1_000).map(|number| async move {
        let body = json!({ "events": [{ "eventName": "ObjectCreated:PutObject", "eventSource": "acs:oss",
            "oss": { "bucket": { "name": "b" }, "object": { "key": format!("burst/{number:04}"), "size": 1 } } }] });
        let body = body.to_string();
        let mut refusals = 0;
        while listener.post("/invoke", &[("x-fc-request-id", "burst")], body.as_bytes()).await.status != 200 {
            refusals += 1;
            assert!(refusals < 50, "event {number} is never accepted");
        }
        refusals
    });
    futures::stream::iter(posts).buffer_unordered(200).fold(0, async |sum, refusals| sum + refusals).await
}

async fn assert_all_there(harbour: &Harbour) {
    let mut keys = harbour.keys().await;
    keys.dedup();
    let wanted: Vec<String> = (0..1_000).map(|number| format!("burst/{number:04}")).collect();
    assert_eq!(keys, wanted);
}

/// What the process may hold at its peak; a debug build with its SDK has some 40 MB before its first event.
const PEAK_BYTES_MAX: u64 = 160 << 20;

#[tokio::test]
async fn a_burst_before_a_slow_queue_loses_nothing() {
    let harbour = Harbour::start().await;
    let server: SocketAddr =
        harbour.sqs.endpoint().trim_start_matches("http://").parse().expect("an address");
    let way = slow_way(server, Duration::from_millis(200)).await;
    let queue_url = harbour.sqs.queue_url("jobs").replace(&server.to_string(), &way.to_string());
    let listener = Listener::on_function_compute(harbour.program_before(&queue_url)).await;
    burst(&listener).await;
    assert_all_there(&harbour).await;
    assert!(listener.peak_bytes() < PEAK_BYTES_MAX, "{} bytes", listener.peak_bytes());
}

#[tokio::test]
async fn a_burst_before_a_failing_queue_loses_nothing() {
    let harbour = Harbour::start().await;
    let faults = harbour.sqs.faults();
    faults.fail_requests(Operation::SendMessageBatch, 100, &refused());
    faults.fail_requests(Operation::SendMessageBatch, 20, &RequestFault::AnswerLost);
    for _ in 0..200 {
        faults.fail_entries(BatchOperation::SendMessageBatch, &[0], EntryFault::Service);
    }
    let listener = Listener::on_function_compute(harbour.program()).await;
    assert!(burst(&listener).await >= 100, "refusals reach the sender");
    assert_all_there(&harbour).await;
    assert!(listener.peak_bytes() < PEAK_BYTES_MAX, "{} bytes", listener.peak_bytes());
}

#[tokio::test]
async fn what_is_configured_wrongly_does_not_start_and_says_why() {
    let harbour = Harbour::start().await;
    let ended = harbour.program().env("FERRY_EVENT_LISTEN", "0.0.0.0:0").run().await;
    assert!(ended.code != 0 && ended.shows("FERRY_EVENT_SECRET"), "{ended}");
    let ended = harbour.program().without_env("QUEUE_URL").run().await;
    assert!(ended.code != 0 && ended.shows("QUEUE_URL"), "{ended}");
}
