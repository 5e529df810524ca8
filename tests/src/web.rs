//! The plainest HTTP there is: one request on a connection of its own.
//!
//! For links that must work without an SDK and without credentials. Invariant: adds nothing that a signature would have to cover.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

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

/// A way to a server that takes its time with whatever is sent to it.
pub async fn slow_way(server: SocketAddr, delay: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(server) = TcpStream::connect(server).await else { return };
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let back =
                    tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
                    tokio::time::sleep(delay).await;
                    if to_server.write_all(&buffer[..read]).await.is_err() {
                        break;
                    }
                }
                drop(to_server);
                let _copied = back.await;
            });
        }
    });
    address
}
