//! One connection and its driver.
//!
//! Owns: polling the driver from whatever waits on the connection. Does not own: when it may be used again
//! ([`super::response_body`]).

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service as _;

use super::{BoxError, RequestBody};

type Driver = http1::Connection<MaybeHttpsStream<TokioIo<TcpStream>>, RequestBody>;

/// A connection that carries one exchange at a time.
pub(super) struct Connection {
    sender: http1::SendRequest<RequestBody>,
    /// Boxed: a connection is moved between a pool and its users, and this is half a kilobyte. `None` once it has ended.
    driver: Option<Pin<Box<Driver>>>,
}

/// Why a request got no answer.
pub(super) enum Unanswered {
    /// The connection was closed before anything was sent: here is the request.
    Unsent(Box<Request<RequestBody>>),
    /// It may have been sent.
    Broken(BoxError),
}

impl Connection {
    pub(super) async fn open(
        mut connector: HttpsConnector<HttpConnector>,
        origin: Uri,
    ) -> Result<Self, BoxError> {
        let stream = connector.call(origin).await?;
        let (sender, driver) = http1::handshake(stream).await?;
        Ok(Self { sender, driver: Some(Box::pin(driver)) })
    }

    /// Sends a request, its body included, and waits for the head of the answer.
    pub(super) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, Unanswered> {
        let mut answer = pin!(self.sender.try_send_request(request));
        let driver = &mut self.driver;
        poll_fn(move |cx| {
            drive(driver, cx);
            match answer.as_mut().poll(cx) {
                Poll::Pending if driver.is_none() => {
                    Poll::Ready(Err(Unanswered::Broken("it was closed before the answer".into())))
                }
                Poll::Pending => Poll::Pending,
                Poll::Ready(Ok(answer)) => Poll::Ready(Ok(answer)),
                Poll::Ready(Err(mut error)) => Poll::Ready(Err(match error.take_message() {
                    Some(unsent) => Unanswered::Unsent(Box::new(unsent)),
                    None => Unanswered::Broken(error.into_error().into()),
                })),
            }
        })
        .await
    }

    /// Reads and writes what can be read and written now.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        drive(&mut self.driver, cx);
    }

    /// Whether it can take another request, once what there is to read of the last answer has been read.
    pub(super) fn can_take_another(&mut self) -> bool {
        // Nobody waits for this poll, and a task that has used up its budget would otherwise lose its connection.
        if let Some(driver) = &mut self.driver {
            let polled = pin!(tokio::task::unconstrained(driver.as_mut()))
                .poll(&mut Context::from_waker(Waker::noop()));
            if polled.is_ready() {
                self.driver = None;
            }
        }
        self.driver.is_some() && self.sender.is_ready()
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

/// A driver that has ended is never polled again. Its error, if any, reaches whoever waits for the answer or the body.
fn drive(driver: &mut Option<Pin<Box<Driver>>>, cx: &mut Context<'_>) {
    if driver.as_mut().is_some_and(|driver| driver.as_mut().poll(cx).is_ready()) {
        *driver = None;
    }
}
