//! An HTTP/1.1 listener on loopback.
//!
//! Owns: the socket, one task for each connection, and their end. Invariant: dropping the listener ends the accept loop and
//! every connection, whatever a client is in the middle of.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use ferry_transfer::{Error, ErrorKind, Result};
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// How long a listener that could not accept leaves the machine alone.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// A refusal to answer at all: the connection is closed instead.
#[derive(Debug, thiserror::Error)]
#[error("the connection is closed without an answer")]
pub(crate) struct Hangup;

impl From<Infallible> for Hangup {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// A listener. See the module.
#[derive(Debug)]
pub(crate) struct Listener {
    address: SocketAddr,
    connections: TaskTracker,
    stop: DropGuard,
}

impl Listener {
    /// Serves `handle` on 127.0.0.1; port 0 takes a free one.
    pub(crate) async fn start<H, F, B>(port: u16, handle: H) -> Result<Self>
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Response<B>, Hangup>> + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let failed = |error: std::io::Error| {
            Error::new(ErrorKind::Configuration, format!("cannot listen on 127.0.0.1:{port}"))
                .caused_by(error)
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let stop = CancellationToken::new();
        let connections = TaskTracker::new();
        let accept = {
            let (stop, connections) = (stop.clone(), connections.clone());
            async move {
                while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
                    match accepted {
                        Ok((socket, _)) => {
                            let connection = serve(socket, handle.clone());
                            let stop = stop.clone();
                            connections.spawn(async move { stop.run_until_cancelled(connection).await });
                        }
                        // A client that left while it waited, or no descriptor left: then only time helps.
                        Err(error) => {
                            tracing::debug!(%error, "accept failed");
                            tokio::time::sleep(ACCEPT_PAUSE).await;
                        }
                    }
                }
            }
        };
        connections.spawn(accept);
        Ok(Self { address, connections, stop: stop.drop_guard() })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes every connection and waits until all tasks have ended.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        self.connections.close();
        self.connections.wait().await;
    }
}

async fn serve<H, F, B>(socket: TcpStream, handle: H)
where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Response<B>, Hangup>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    // Small answers otherwise wait 40 ms for the client's delayed acknowledgement.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY is not set");
    }
    let served = http1::Builder::new().serve_connection(TokioIo::new(socket), service_fn(handle)).await;
    if let Err(error) = served {
        // Clients that vanish and answers that a fault withholds both end here.
        tracing::debug!(%error, "a connection ended early");
    }
}
