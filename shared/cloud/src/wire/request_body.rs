//! What is sent: nothing, bytes in memory, or a stream of known length.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use ferry_transfer::{Body, BodyStream, Error};
use futures::StreamExt as _;
use http_body::{Frame, SizeHint};

/// A request's body; knows its length.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// In memory; empty is no body.
    Bytes(Bytes),
    /// Read as it is sent.
    Stream {
        /// The bytes.
        stream: BodyStream,
        /// What is left of them.
        remaining_bytes: u64,
    },
}

impl RequestBody {
    /// No body.
    pub(crate) fn empty() -> Self {
        Self::Bytes(Bytes::new())
    }
}

impl From<Body> for RequestBody {
    fn from(body: Body) -> Self {
        match body {
            Body::Bytes(bytes) => Self::Bytes(bytes),
            Body::Stream(stream) => Self::Stream { remaining_bytes: stream.length_bytes(), stream },
        }
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut *self {
            Self::Bytes(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Bytes(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Stream { stream, remaining_bytes } => stream.poll_next_unpin(cx).map_ok(|chunk| {
                *remaining_bytes = remaining_bytes.saturating_sub(chunk.len() as u64);
                Frame::data(chunk)
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Bytes(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Stream { remaining_bytes, .. } => *remaining_bytes,
        })
    }
}
