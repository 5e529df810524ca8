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
    /// The body.
    pub body: Vec<u8>,
}

/// Sends one request to `http://HOST:PORT/…` and reads its answer.
pub async fn ask(method: &str, url: &str, body: &[u8]) -> Answer {
    let exchange = tokio::time::timeout(Duration::from_secs(10), exchange(method, url, body));
    exchange.await.expect("an answer in time").expect("an answer")
}

async fn exchange(method: &str, url: &str, body: &[u8]) -> std::io::Result<Answer> {
    let rest = url.strip_prefix("http://").expect("a URL of plain HTTP");
    let (host, path) = rest.split_once('/').expect("a path");
    let mut socket = TcpStream::connect(host).await?;
    let head = format!(
        "{method} /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).await?;
    socket.write_all(body).await?;
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).await?;
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
    Ok(Answer { status, body: bytes.split_off(end + 4) })
}
