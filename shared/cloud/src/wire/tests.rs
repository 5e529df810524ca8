use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use futures::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const HELLO: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// A server that does with each connection what it is told, and counts them.
async fn server<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> (Wire, Arc<AtomicUsize>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let origin = format!("http://{}/", listener.local_addr().expect("address"));
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            counted.fetch_add(1, Relaxed);
            tokio::spawn(serve(connection));
        }
    });
    (Wire::to(origin.parse().expect("URI")).expect("a wire"), connections)
}

/// Reads one request's head; `false` at the end of the connection.
async fn read_head(connection: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match connection.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return false,
        }
    }
    true
}

fn get() -> Request<RequestBody> {
    let mut request = Request::new(RequestBody::empty());
    *request.uri_mut() = Uri::from_static("/");
    request.headers_mut().insert("host", http::HeaderValue::from_static("h"));
    request
}

async fn read_all(mut body: ResponseBody) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(chunk) = body.next().await {
        all.extend_from_slice(&chunk.expect("a chunk"));
    }
    all
}

#[tokio::test]
async fn a_connection_is_used_again_once_its_answer_was_read() {
    let (wire, connections) = server(|mut connection| async move {
        while read_head(&mut connection).await {
            connection.write_all(HELLO).await.expect("sent");
        }
    })
    .await;
    for _ in 0..3 {
        let answer = wire.exchange(get()).await.expect("answer");
        assert_eq!(read_all(answer.into_body()).await, b"hello");
    }
    assert_eq!(connections.load(Relaxed), 1);
    // A reader that knows the length does not ask for the end.
    let mut body = wire.exchange(get()).await.expect("answer").into_body();
    assert_eq!(body.next().await.expect("a chunk").expect("read"), "hello");
    drop(body);
    drop(wire.exchange(get()).await.expect("answer"));
    assert_eq!(connections.load(Relaxed), 1);
    // That one was dropped unread, and its connection with it.
    wire.exchange(get()).await.expect("answer");
    assert_eq!(connections.load(Relaxed), 2);
}

#[tokio::test]
async fn what_was_never_sent_is_sent_over_a_new_connection() {
    let (wire, connections) = server(|mut connection| async move {
        read_head(&mut connection).await;
        connection.write_all(HELLO).await.expect("sent");
        // Closes what it promised to keep.
    })
    .await;
    for count in 1..4 {
        let answer = wire.exchange(get()).await.expect("answer");
        assert_eq!(read_all(answer.into_body()).await, b"hello");
        assert_eq!(connections.load(Relaxed), count);
        // The close arrives.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_answer_is_broken_and_not_tried_again() {
    let (wire, connections) = server(|mut connection| async move {
        read_head(&mut connection).await;
    })
    .await;
    let error = wire.exchange(get()).await.expect_err("no answer");
    assert!(matches!(error, WireError::Broken(_)), "{error:?}");
    assert_eq!(connections.load(Relaxed), 1);
}

#[tokio::test]
async fn a_sender_that_falls_silent_is_given_up() {
    let (wire, _) = server(|mut connection| async move {
        read_head(&mut connection).await;
        connection.write_all(&HELLO[..HELLO.len() - 2]).await.expect("sent");
        std::future::pending::<()>().await;
    })
    .await;
    let mut body = wire.exchange(get()).await.expect("answer").into_body();
    assert_eq!(body.next().await.expect("a chunk").expect("read"), "hel");
    // Time in which nobody reads does not count.
    tokio::time::pause();
    tokio::time::advance(Duration::from_mins(1)).await;
    let began = Instant::now();
    let error = body.next().await.expect("an item").expect_err("silence");
    assert!(error.to_string().contains("nothing came for 20 s"), "{error}");
    assert!(began.elapsed() >= Duration::from_secs(20));
}
