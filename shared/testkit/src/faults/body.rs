//! A response body that is cut short or changed on its way out.

use std::error::Error as StdError;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};

use crate::listener::Hangup;

/// What happens to a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tamper {
    /// Nothing.
    None,
    /// It ends in an error after this many bytes, which closes the connection.
    CutAfter(u64),
    /// The lowest bit of this byte is turned over.
    FlipAt(u64),
}

/// A body and what happens to it.
#[derive(Debug)]
pub(crate) struct TamperedBody<B> {
    inner: B,
    tamper: Tamper,
    passed_bytes: u64,
    flushed: bool,
}

impl<B> TamperedBody<B> {
    pub(crate) fn new(inner: B, tamper: Tamper) -> Self {
        Self { inner, tamper, passed_bytes: 0, flushed: false }
    }
}

impl<B: From<Bytes>> From<Bytes> for TamperedBody<B> {
    fn from(bytes: Bytes) -> Self {
        Self::new(B::from(bytes), Tamper::None)
    }
}

impl<B> Body for TamperedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn StdError + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let left = match self.tamper {
            Tamper::CutAfter(after) => after - self.passed_bytes,
            Tamper::None | Tamper::FlipAt(_) => u64::MAX,
        };
        if left == 0 {
            // One more turn, so that what has passed is written before the connection breaks.
            if !std::mem::replace(&mut self.flushed, true) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            return Poll::Ready(Some(Err(Box::new(Hangup))));
        }
        let frame = match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => return Poll::Pending,
        };
        let mut data = match frame.into_data() {
            Ok(data) => data,
            Err(other) => return Poll::Ready(Some(Ok(other))),
        };
        data.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        let start = self.passed_bytes;
        self.passed_bytes += data.len() as u64;
        if let Tamper::FlipAt(at) = self.tamper
            && (start..self.passed_bytes).contains(&at)
        {
            data = flipped(&data, at - start);
        }
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        !matches!(self.tamper, Tamper::CutAfter(_)) && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn flipped(data: &[u8], at: u64) -> Bytes {
    let mut data = BytesMut::from(data);
    if let Some(byte) = usize::try_from(at).ok().and_then(|at| data.get_mut(at)) {
        *byte ^= 1;
    }
    data.freeze()
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};

    use super::*;

    async fn frames(tamper: Tamper) -> (Vec<u8>, bool) {
        let mut body = TamperedBody::new(Full::new(Bytes::from_static(b"hello")), tamper);
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes.extend(frame.into_data().expect("data")),
                Err(_) => return (bytes, false),
            }
        }
        (bytes, true)
    }

    #[tokio::test]
    async fn a_body_is_cut_or_changed_where_the_rule_says() {
        assert_eq!(frames(Tamper::None).await, (b"hello".to_vec(), true));
        assert_eq!(frames(Tamper::CutAfter(2)).await, (b"he".to_vec(), false));
        assert_eq!(frames(Tamper::CutAfter(0)).await, (Vec::new(), false));
        assert_eq!(frames(Tamper::FlipAt(1)).await, (b"hdllo".to_vec(), true));
        assert_eq!(frames(Tamper::FlipAt(9)).await, (b"hello".to_vec(), true));
    }
}
