//! An HTTP/1.1 server for tests: records what it is sent and answers what it is told.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Seen {
    /// Path and query.
    pub(super) fn target(&self) -> &str {
        self.head.split(' ').nth(1).expect("request line")
    }

    pub(super) fn headers(&self, name: &str) -> Vec<&str> {
        self.head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).first().copied()
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    head: Vec<u8>,
    body: Vec<u8>,
    cut: bool,
}

impl Answer {
    pub(super) fn status(status: u16, reason: &str) -> Self {
        Self { head: format!("HTTP/1.1 {status} {reason}\r\n").into_bytes(), body: Vec::new(), cut: false }
    }

    pub(super) fn ok() -> Self {
        Self::status(200, "OK")
    }

    pub(super) fn header(self, name: &str, value: &str) -> Self {
        self.raw_header(format!("{name}: {value}").as_bytes())
    }

    pub(super) fn raw_header(mut self, line: &[u8]) -> Self {
        self.head.extend_from_slice(line);
        self.head.extend_from_slice(b"\r\n");
        self
    }

    pub(super) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Closes the connection after the body, whatever length was promised.
    pub(super) fn cut(mut self) -> Self {
        self.cut = true;
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head.clone();
        if !String::from_utf8_lossy(&bytes).contains("content-length") {
            bytes.extend_from_slice(format!("content-length: {}\r\n", self.body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// The server; ends with the test.
pub(super) struct Server {
    address: std::net::SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    accepting: JoinHandle<()>,
}

impl Server {
    pub(super) async fn start(answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let answer = Arc::new(answer);
        let accepting = tokio::spawn({
            let seen = Arc::clone(&seen);
            async move {
                while let Ok((connection, _)) = listener.accept().await {
                    tokio::spawn(serve(connection, Arc::clone(&answer), Arc::clone(&seen)));
                }
            }
        });
        Self { address, seen, accepting }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests since this was last asked.
    pub(super) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().expect("lock"))
    }

    /// The one request since this was last asked.
    pub(super) fn only(&self) -> Seen {
        let mut seen = self.take();
        assert_eq!(seen.len(), 1, "{seen:#?}");
        seen.remove(0)
    }

    /// Closes the port.
    pub(super) async fn stop(self) {
        self.accepting.abort();
        self.accepting.await.expect_err("aborted");
    }
}

async fn serve(
    mut connection: TcpStream,
    answer: Arc<impl Fn(&Seen) -> Answer>,
    seen: Arc<Mutex<Vec<Seen>>>,
) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if connection.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8(buffer[..end].to_vec()).expect("request heads are UTF-8");
        let mut request = Seen { head, body: buffer.split_off(end) };
        buffer.clear();
        let length: usize =
            request.header("content-length").map_or(0, |length| length.parse().expect("length"));
        while request.body.len() < length {
            if connection.read_buf(&mut request.body).await? == 0 {
                return Ok(());
            }
        }
        let answer = answer(&request);
        seen.lock().expect("lock").push(request);
        connection.write_all(&answer.bytes()).await?;
        if answer.cut {
            return connection.shutdown().await;
        }
    }
}
