//! A runtime played over a raw socket.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

struct Reply {
    status: u16,
    headers: HashMap<String, String>,
    body: String,
}

/// One HTTP request on a connection of its own.
async fn request(address: &str, method: &str, path: &str, body: &str) -> Reply {
    let mut stream = TcpStream::connect(address).await.expect("connect");
    let head = format!(
        "{method} /2018-06-01/runtime/{path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("head");
    stream.write_all(body.as_bytes()).await.expect("body");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.expect("reply");
    let (head, body) = reply.split_once("\r\n\r\n").expect("head and body");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("status");
    Reply {
        status: status.parse().expect("number"),
        headers: lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect(),
        body: body.to_owned(),
    }
}

fn address(api: &RuntimeApi) -> String {
    let environment: HashMap<String, String> = api.environment().into_iter().collect();
    environment["AWS_LAMBDA_RUNTIME_API"].clone()
}

/// Takes one event and answers it on `route` with `body`.
async fn serve_one(address: &str, route: &str, body: &str) -> (Reply, Reply) {
    let event = request(address, "GET", "invocation/next", "").await;
    let id = &event.headers["lambda-runtime-aws-request-id"];
    let answered = request(address, "POST", &format!("invocation/{id}/{route}"), body).await;
    (event, answered)
}

#[tokio::test]
async fn an_event_goes_to_the_runtime_and_its_answer_comes_back() {
    let api = RuntimeApi::start().await.expect("start");
    let address = address(&api);
    let event = json!({ "Records": [{ "body": "grüße" }] });
    let (outcome, (taken, answered)) = tokio::join!(
        api.invoke(&event, MINUTE),
        serve_one(&address, "response", r#"{"batchItemFailures":[]}"#)
    );
    assert_eq!(outcome, Ok(json!({ "batchItemFailures": [] })));
    assert_eq!((taken.status, answered.status), (200, 202));
    assert_eq!(serde_json::from_str::<Value>(&taken.body).expect("event"), event);
    assert!(taken.headers["lambda-runtime-invoked-function-arn"].starts_with("arn:aws:lambda:"));
    assert!(taken.headers["lambda-runtime-trace-id"].starts_with("Root=1-"));
    let deadline_ms: i64 = taken.headers["lambda-runtime-deadline-ms"].parse().expect("ms");
    let left_ms = deadline_ms - api.host.deadline_ms(Duration::ZERO);
    assert!((1..=60_000).contains(&left_ms), "{left_ms}");
}

#[tokio::test]
async fn an_error_of_the_function_is_the_outcome() {
    let api = RuntimeApi::start().await.expect("start");
    let address = address(&api);
    let report = r#"{"errorType":"Boom","errorMessage":"no disk","stackTrace":["a","b"]}"#;
    let event = json!({});
    let (outcome, _) = tokio::join!(api.invoke(&event, MINUTE), serve_one(&address, "error", report));
    let Err(InvocationError::Function(error)) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(error.to_string(), "Boom: no disk");
    assert_eq!(error.stack_trace, ["a", "b"]);
}

#[tokio::test]
async fn answers_find_back_in_any_order() {
    let api = RuntimeApi::start().await.expect("start");
    let address = address(&api);
    let runtime = async {
        let mut taken = Vec::new();
        for _ in 0..2 {
            let event = request(&address, "GET", "invocation/next", "").await;
            taken.push((event.headers["lambda-runtime-aws-request-id"].clone(), event.body));
        }
        for (id, body) in taken.into_iter().rev() {
            request(&address, "POST", &format!("invocation/{id}/response"), &body).await;
        }
    };
    let (one, two) = (json!(1), json!(2));
    let (first, second, ()) = tokio::join!(api.invoke(&one, MINUTE), api.invoke(&two, MINUTE), runtime);
    assert_eq!((first, second), (Ok(json!(1)), Ok(json!(2))));
}

#[tokio::test]
async fn an_answer_that_nobody_waits_for_any_more_is_refused() {
    let api = RuntimeApi::start().await.expect("start");
    let address = address(&api);
    let event = json!("abandoned");
    let taken = tokio::select! {
        outcome = api.invoke(&event, MINUTE) => panic!("{outcome:?}"),
        taken = request(&address, "GET", "invocation/next", "") => taken,
    };
    let id = &taken.headers["lambda-runtime-aws-request-id"];
    let late = request(&address, "POST", &format!("invocation/{id}/response"), "{}").await;
    assert_eq!(late.status, 400);
    assert!(late.body.contains("InvalidRequestID"));
}

#[tokio::test]
async fn a_deadline_ends_the_invocation_and_takes_its_event_off_the_queue() {
    let api = RuntimeApi::start().await.expect("start");
    let address = address(&api);
    let deadline = Duration::from_millis(1);
    let outcome = api.invoke(&json!("late"), deadline).await;
    assert_eq!(outcome, Err(InvocationError::DeadlineExceeded(deadline)));
    let event = json!("wanted");
    let (outcome, (taken, _)) =
        tokio::join!(api.invoke(&event, MINUTE), serve_one(&address, "response", "3"));
    assert_eq!((outcome, taken.body.as_str()), (Ok(json!(3)), "\"wanted\""));
}

#[tokio::test]
async fn a_runtime_that_hangs_up_while_waiting_does_not_block_the_next() {
    let api = RuntimeApi::start().await.expect("start");
    let address = address(&api);
    let abandoned =
        tokio::time::timeout(Duration::from_millis(50), request(&address, "GET", "invocation/next", ""));
    assert!(abandoned.await.is_err());
    // One more round trip, by the end of which the host has seen the first connection close.
    request(&address, "POST", "invocation/unknown/response", "{}").await;
    let event = json!(1);
    let (outcome, _) = tokio::join!(api.invoke(&event, MINUTE), serve_one(&address, "response", "2"));
    assert_eq!(outcome, Ok(json!(2)));
}

#[tokio::test]
async fn a_function_that_cannot_start_fails_every_invocation() {
    let api = RuntimeApi::start().await.expect("start");
    let address = address(&api);
    let report = r#"{"errorType":"Runtime.InitError","errorMessage":"no task"}"#;
    let event = json!({});
    let (outcome, reply) =
        tokio::join!(api.invoke(&event, MINUTE), request(&address, "POST", "init/error", report));
    assert_eq!(reply.status, 202);
    assert!(matches!(outcome, Err(InvocationError::Init(_))), "{outcome:?}");
    let again = api.invoke(&event, MINUTE).await;
    assert!(matches!(again, Err(InvocationError::Init(error)) if error.error_message == "no task"));
}

#[tokio::test]
async fn an_answer_that_is_not_json_is_told_apart() {
    let api = RuntimeApi::start().await.expect("start");
    let address = address(&api);
    let event = json!({});
    let (outcome, _) = tokio::join!(api.invoke(&event, MINUTE), serve_one(&address, "response", "{"));
    assert!(matches!(outcome, Err(InvocationError::NotJson(_))), "{outcome:?}");
}

#[tokio::test]
async fn shutdown_releases_a_runtime_that_waits() {
    let api = RuntimeApi::start().await.expect("start");
    let address = address(&api);
    let mut waiting = TcpStream::connect(&address).await.expect("connect");
    let head = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nhost: x\r\n\r\n";
    waiting.write_all(head.as_bytes()).await.expect("request");
    while api.host.waiting.try_lock().is_ok() {
        tokio::task::yield_now().await;
    }
    tokio::time::timeout(10 * SECOND, api.shutdown()).await.expect("prompt");
    let mut rest = String::new();
    waiting.read_to_string(&mut rest).await.expect("closed");
    assert!(rest.starts_with("HTTP/1.1 500"), "{rest}");
}
