//! What is received, and giving the connection back behind it.
//!
//! Owns: driving the connection while its answer is read, and how long a sender may say nothing. Invariant: a body that was not
//! read to its end takes its connection with it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::{BoxError, Connection, IdleConnections};

/// How long a download may deliver nothing before it is given up: links across borders stall for many seconds and recover.
const STALL_MAX: Duration = Duration::from_secs(20);

/// The body of an answer, as a stream of what arrives.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    incoming: Incoming,
    /// Until the end, when it goes back to the idle ones.
    connection: Option<Connection>,
    idle: Arc<IdleConnections>,
    /// Since when the reader has been waiting; time in which nobody reads is not the sender's.
    waiting_since: Option<Instant>,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl ResponseBody {
    pub(super) fn new(incoming: Incoming, connection: Connection, idle: Arc<IdleConnections>) -> Self {
        let mut body =
            Self { incoming, connection: Some(connection), idle, waiting_since: None, alarm: None };
        body.give_back_at_end();
        body
    }

    /// At the end the connection is free, whether or not the reader asks once more.
    fn give_back_at_end(&mut self) {
        if self.incoming.is_end_stream()
            && let Some(mut connection) = self.connection.take()
            && connection.can_take_another()
        {
            self.idle.keep(connection);
        }
    }

    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        loop {
            match ready!(Pin::new(&mut self.incoming).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    // Trailers mean nothing to a store.
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => return Poll::Ready(None),
            }
        }
    }

    /// Ready when the sender has been silent for too long.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(since + STALL_MAX)));
        loop {
            ready!(alarm.as_mut().poll(cx));
            // Set for an earlier wait: an alarm is moved when it rings and not with every chunk.
            if alarm.deadline() >= since + STALL_MAX {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(since + STALL_MAX);
        }
    }
}

impl Stream for ResponseBody {
    type Item = Result<Bytes, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        // First what has arrived; the asking also tells the driver that more is wanted.
        let mut polled = this.poll_incoming(cx);
        if polled.is_pending() {
            if let Some(connection) = &mut this.connection {
                connection.drive(cx);
            }
            polled = this.poll_incoming(cx);
        }
        if polled.is_ready() {
            this.waiting_since = None;
            this.give_back_at_end();
            return polled;
        }
        ready!(this.poll_stalled(cx));
        this.connection = None;
        let silence = format!("nothing came for {} s", STALL_MAX.as_secs());
        Poll::Ready(Some(Err(silence.into())))
    }
}
