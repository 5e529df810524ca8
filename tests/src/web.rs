//! The plainest HTTP there is: one request on a connection of its own.
//!
//! For links that must work without an SDK and without credentials. Invariant: adds nothing that a signature would have to cover.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The status line and the headers, as they came.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

/// Sends one request to `http://HOST:PORT/…` and reads its answer.
pub async fn ask(method: &str, url: &str, body: &[u8]) -> Answer {
    ask_with(method, url, &[], body).await
}

/// The same with these headers.
pub async fn ask_with(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let exchange = tokio::time::timeout(Duration::from_mins(1), exchange(method, url, headers, body));
    exchange.await.expect("an answer in time").expect("an answer")
}

async fn exchange(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> std::io::Result<Answer> {
    let rest = url.strip_prefix("http://").expect("a URL of plain HTTP");
    let (host, path) = rest.split_once('/').expect("a path");
    let mut socket = TcpStream::connect(host).await?;
    let mut head = format!(
        "{method} /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    socket.write_all(head.as_bytes()).await?;
    socket.write_all(body).await?;
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).await?;
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
    Ok(Answer { status, head, body: bytes.split_off(end + 4) })
}
