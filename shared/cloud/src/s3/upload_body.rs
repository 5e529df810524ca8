//! The engine's body as the HTTP client wants it.
//!
//! Owns: an HTTP body with an exact size. Invariant: when a source fails while its bytes are being sent, the caller gets the source's
//! error out of the handle and not the client's "connection failed".

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use ferry_transfer::{Body, BodyStream, Error, FaultHandle};
use futures::StreamExt as _;
use http_body::{Frame, SizeHint};

/// Turns a body into the SDK's; the handle holds the error of a source that failed.
pub(super) fn sdk_body(body: Body) -> (ByteStream, FaultHandle) {
    let (body, fault) = body.watched();
    let stream = match body {
        Body::Bytes(bytes) => ByteStream::from(SdkBody::from(bytes)),
        Body::Stream(stream) => ByteStream::new(SdkBody::from_body_1_x(SourceBody {
            remaining_bytes: stream.length_bytes(),
            stream: Mutex::new(stream),
        })),
    };
    (stream, fault)
}

/// The SDK wants a `Sync` body and never shares it: the mutex is only ever reached through `&mut`, so it never locks.
struct SourceBody {
    stream: Mutex<BodyStream>,
    remaining_bytes: u64,
}

impl http_body::Body for SourceBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        let stream = this.stream.get_mut().unwrap_or_else(PoisonError::into_inner);
        stream.poll_next_unpin(cx).map_ok(|chunk| {
            this.remaining_bytes = this.remaining_bytes.saturating_sub(chunk.len() as u64);
            Frame::data(chunk)
        })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining_bytes)
    }
}

#[cfg(test)]
mod tests {
    use ferry_transfer::ErrorKind;
    use futures::stream;
    use http_body::Body as _;
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_failing_source_leaves_its_own_error() {
        let chunks =
            vec![Ok(Bytes::from_static(b"ab")), Err(Error::new(ErrorKind::PreconditionFailed, "moved on"))];
        let (body, fault) = sdk_body(Body::stream(5, stream::iter(chunks)));
        let body = body.into_inner();
        assert_eq!(body.size_hint().exact(), Some(5));
        body.collect().await.expect_err("the source failed");
        assert_eq!(fault.take().expect("its error").kind(), ErrorKind::PreconditionFailed);
    }

    #[tokio::test]
    async fn a_short_source_is_an_error_and_not_a_short_body() {
        let (body, fault) = sdk_body(Body::stream(5, stream::iter(vec![Ok(Bytes::from_static(b"ab"))])));
        body.collect().await.expect_err("short");
        assert_eq!(fault.take().expect("its error").kind(), ErrorKind::Corrupt);
    }
}
