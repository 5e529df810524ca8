//! The listener in front of a router, for senders that nobody knows.
//!
//! Owns: connections: how many there are, how long a request's head may take, and their end. Invariant: whatever a sender does or leaves
//! undone, it holds one connection of a bounded number for a bounded time; what is at work when it is told to stop is finished.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections at a time: below the 1,024 files that most systems let a process have. Others wait in the system's own queue.
const CONNECTIONS_MAX: usize = 900;

/// What is read ahead of one connection.
const READ_AHEAD_BYTES: usize = 64 << 10;

/// How long the listener leaves the machine alone that has no connection to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that wait in the system's queue. The usual 128 overflow in a burst, and who finds no place there asks again after a second.
const BACKLOG: u32 = 4096;

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// How long senders may take.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// From the end of one request, or the connection's beginning, to the end of the next one's head. It ends idle connections too.
    pub head: Duration,
}

impl Deadlines {
    /// For senders from anywhere.
    pub const HTTP: Self = Self { head: Duration::from_secs(30) };
    /// For the one sender that keeps its connections between invocations, however far apart (Alibaba Cloud, "Custom runtime").
    pub const FUNCTION_COMPUTE: Self = Self { head: Duration::from_mins(15) };
}

/// Listens on the address with room for bursts.
pub fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As listeners usually do: a process that is started again takes the port of the one before.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Answers requests until `stop` ends, and finishes those at work.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    deadlines: Deadlines,
    stop: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (connections, stopping) = (TaskTracker::new(), CancellationToken::new());
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, peer, place)) => {
                let router = router.clone().layer(Extension(Peer(peer)));
                connections.spawn(converse(stream, router, deadlines, stopping.clone(), place));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    stopping.cancel();
    connections.close();
    connections.wait().await;
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, place))
}

async fn converse(
    stream: TcpStream,
    router: Router,
    deadlines: Deadlines,
    stopping: CancellationToken,
    _place: OwnedSemaphorePermit,
) {
    // Answers are short: waiting to fill a packet would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection sends when it likes");
    }
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(deadlines.head)
            .max_buf_size(READ_AHEAD_BYTES)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
    );
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_head_that_never_ends_is_cut_off_and_what_is_at_work_is_finished() {
        let listener = bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let address = listener.local_addr().expect("its address");
        let slow = async || {
            tokio::time::sleep(Duration::from_millis(300)).await;
            "done"
        };
        let router = Router::new().route("/slow", get(slow));
        let (stop, stopped) = oneshot::channel::<()>();
        let deadlines = Deadlines { head: Duration::from_millis(200) };
        let serving = tokio::spawn(serve(listener, router, deadlines, async {
            drop(stopped.await);
        }));
        let mut stalled = TcpStream::connect(address).await.expect("connected");
        stalled.write_all(b"GET / HT").await.expect("sent");
        let mut rest = Vec::new();
        let cut = tokio::time::timeout(Duration::from_secs(5), stalled.read_to_end(&mut rest)).await;
        assert!(cut.is_ok(), "the connection stays open");

        let mut busy = TcpStream::connect(address).await.expect("connected");
        busy.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(stop);
        let mut answer = String::new();
        busy.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.ends_with("done"), "{answer}");
        serving.await.expect("it ends");
    }
}
