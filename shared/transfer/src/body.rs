//! Object bodies: bytes in memory, or a stream of known length.
//!
//! Owns: exact length and the digests of what passes. Invariant: a stream that ends early or runs over its declared length
//! yields an error and never a short or padded body; HTTP clients otherwise hang on the one and truncate silently on
//! the other.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ferry_md5::Turn;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use tokio::time::Sleep;

use crate::checksum::{DigestSet, Digests, StreamHasher};
use crate::{Error, ErrorKind, Result};

/// An object's bytes, whole or of one range.
pub enum Body {
    /// In memory: may be sent more than once.
    Bytes(Bytes),
    /// A stream that can be read once.
    Stream(BodyStream),
}

/// A stream of exactly `length_bytes` bytes.
pub struct BodyStream {
    inner: BoxStream<'static, Result<Bytes>>,
    length_bytes: u64,
    passed_bytes: u64,
    done: bool,
}

impl Body {
    /// A body from a stream and the length its sender declared.
    pub fn stream(length_bytes: u64, stream: impl Stream<Item = Result<Bytes>> + Send + 'static) -> Self {
        Self::Stream(BodyStream { inner: stream.boxed(), length_bytes, passed_bytes: 0, done: false })
    }

    /// Declared length in bytes.
    pub fn length_bytes(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Stream(stream) => stream.length_bytes,
        }
    }

    /// The whole body in memory. For bodies the caller knows to be small.
    pub async fn collect(self) -> Result<Bytes> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Stream(mut stream) => {
                let Some(first) = stream.next().await.transpose()? else {
                    return Ok(Bytes::new());
                };
                if first.len() as u64 == stream.length_bytes {
                    // The common case of a small object: one frame, nothing copied. The next poll checks the end.
                    stream.next().await.transpose()?;
                    return Ok(first);
                }
                let mut whole = BytesMut::with_capacity(usize::try_from(stream.length_bytes).unwrap_or(0));
                whole.extend_from_slice(&first);
                while let Some(chunk) = stream.next().await.transpose()? {
                    whole.extend_from_slice(&chunk);
                }
                Ok(whole.freeze())
            }
        }
    }

    /// Computes digests of the bytes as they are read, and lets the last byte pass only if `check` accepts them: a reader that
    /// is told the length in advance never has a whole body that failed its check. The handle has the digests from then on.
    pub fn checked(
        self,
        set: DigestSet,
        check: impl FnOnce(&Digests) -> Result<()> + Send + 'static,
    ) -> Result<(Self, DigestHandle)> {
        let handle = DigestHandle::default();
        match self {
            Self::Bytes(bytes) => {
                let digests = crate::checksum::digest(&bytes, set);
                check(&digests)?;
                handle.set(digests);
                Ok((Self::Bytes(bytes), handle))
            }
            Self::Stream(stream) => {
                let length_bytes = stream.length_bytes;
                let check: Check = Box::new(check);
                let checking = Checking {
                    inner: stream,
                    pending: Some((StreamHasher::new(set), check)),
                    way: Way::default(),
                    handle: handle.clone(),
                };
                Ok((Self::stream(length_bytes, checking), handle))
            }
        }
    }

    /// Keeps the first error of the stream in the handle and passes a stand-in on, so that whoever feeds one store from another
    /// can tell which side failed.
    pub fn watched(self) -> (Self, FaultHandle) {
        let handle = FaultHandle::default();
        let body = match self {
            Self::Bytes(bytes) => Self::Bytes(bytes),
            Self::Stream(stream) => {
                let slot = handle.clone();
                Self::stream(
                    stream.length_bytes,
                    stream.map(move |chunk| {
                        chunk.map_err(|error| {
                            let stand_in = Error::new(error.kind(), "the body could not be read");
                            slot.set(error);
                            stand_in
                        })
                    }),
                )
            }
        };
        (body, handle)
    }

    /// Shows every chunk that passes to `seen`, and lets other streams go first where it says so.
    #[must_use]
    pub fn shown(self, seen: impl FnMut(&Bytes) -> Turn + Send + Unpin + 'static) -> Self {
        match self {
            Self::Bytes(bytes) => {
                let mut seen = seen;
                // There is nothing to wait for behind the only chunk.
                let _turn = seen(&bytes);
                Self::Bytes(bytes)
            }
            Self::Stream(stream) => {
                let length_bytes = stream.length_bytes;
                Self::stream(length_bytes, Shown { inner: stream, seen, way: Way::default() })
            }
        }
    }

    /// Calls `seen` with the length of every chunk that passes, for meters and progress.
    #[must_use]
    pub fn observed(self, seen: impl Fn(u64) + Send + Sync + 'static) -> Self {
        match self {
            Self::Bytes(bytes) => {
                seen(bytes.len() as u64);
                Self::Bytes(bytes)
            }
            Self::Stream(stream) => {
                let length_bytes = stream.length_bytes;
                Self::stream(
                    length_bytes,
                    stream.inspect(move |chunk| {
                        if let Ok(chunk) = chunk {
                            seen(chunk.len() as u64);
                        }
                    }),
                )
            }
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Bytes(_) => "Bytes",
            Self::Stream(_) => "Stream",
        };
        write!(f, "Body::{kind}({} bytes)", self.length_bytes())
    }
}

impl BodyStream {
    /// Declared length in bytes.
    pub fn length_bytes(&self) -> u64 {
        self.length_bytes
    }
}

impl fmt::Debug for BodyStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BodyStream({} of {} bytes)", self.passed_bytes, self.length_bytes)
    }
}

impl Stream for BodyStream {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.done {
            return Poll::Ready(None);
        }
        let item = match self.inner.poll_next_unpin(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(item) => item,
        };
        let wrong_length = |passed: u64, length: u64, end: &str| {
            Error::new(ErrorKind::Corrupt, format!("the body {end}: {passed} bytes of a declared {length}"))
        };
        match item {
            Some(Ok(chunk)) => {
                self.passed_bytes += chunk.len() as u64;
                if self.passed_bytes > self.length_bytes {
                    self.done = true;
                    return Poll::Ready(Some(Err(wrong_length(
                        self.passed_bytes,
                        self.length_bytes,
                        "ran over",
                    ))));
                }
                Poll::Ready(Some(Ok(chunk)))
            }
            Some(Err(error)) => {
                self.done = true;
                Poll::Ready(Some(Err(error)))
            }
            None => {
                self.done = true;
                if self.passed_bytes == self.length_bytes {
                    Poll::Ready(None)
                } else {
                    Poll::Ready(Some(Err(wrong_length(self.passed_bytes, self.length_bytes, "ended early"))))
                }
            }
        }
    }
}

/// Where the digests of a body appear once it has been read.
#[derive(Debug, Clone, Default)]
pub struct DigestHandle(Arc<Mutex<Option<Digests>>>);

impl DigestHandle {
    /// The digests; `None` before the last byte has passed.
    pub fn get(&self) -> Option<Digests> {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn set(&self, digests: Digests) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(digests);
    }
}

/// Where the error of a body appears that broke while it was read.
#[derive(Debug, Clone, Default)]
pub struct FaultHandle(Arc<Mutex<Option<Error>>>);

impl FaultHandle {
    /// Takes the error out, if there was one.
    pub fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }

    fn set(&self, error: Error) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(error);
    }
}

/// A stream that somebody looks at.
struct Shown<F> {
    inner: BodyStream,
    seen: F,
    way: Way,
}

impl<F: FnMut(&Bytes) -> Turn + Unpin> Stream for Shown<F> {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        ready!(self.way.poll_free(cx));
        let item = self.inner.poll_next_unpin(cx);
        if let Poll::Ready(Some(Ok(chunk))) = &item {
            let turn = (self.seen)(chunk);
            self.way.take(turn);
        }
        item
    }
}

/// How long a stream gives way. Other streams' bytes lie in their sockets or come within this, and its own wait in its socket
/// meanwhile, so that a connection is held back only above a batch in two milliseconds, some 128 MiB/s, and only where others
/// are under way.
const WAY: Duration = Duration::from_millis(1);

/// A stream that lets others go first from time to time.
#[derive(Default)]
struct Way(Option<Pin<Box<Sleep>>>);

impl Way {
    fn take(&mut self, turn: Turn) {
        if turn == Turn::GiveWay {
            self.0 = Some(Box::pin(tokio::time::sleep(WAY)));
        }
    }

    /// Ready when it may go on.
    fn poll_free(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(sleep) = &mut self.0 {
            ready!(sleep.as_mut().poll(cx));
            self.0 = None;
        }
        Poll::Ready(())
    }
}

type Check = Box<dyn FnOnce(&Digests) -> Result<()> + Send>;

/// Checks with the last byte, not with the end of the stream: an HTTP client that was told the length need not poll again.
struct Checking {
    inner: BodyStream,
    /// Until the last byte.
    pending: Option<(StreamHasher, Check)>,
    way: Way,
    handle: DigestHandle,
}

impl Stream for Checking {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        ready!(this.way.poll_free(cx));
        let item = this.inner.poll_next_unpin(cx);
        if let Poll::Ready(Some(Ok(chunk))) = &item
            && let Some((hasher, _)) = &mut this.pending
        {
            let turn = hasher.push(chunk);
            if this.inner.passed_bytes < this.inner.length_bytes {
                this.way.take(turn);
            } else if let Some((hasher, check)) = this.pending.take() {
                let digests = hasher.finish();
                if let Err(error) = check(&digests) {
                    return Poll::Ready(Some(Err(error)));
                }
                this.handle.set(digests);
            }
        }
        item
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    fn body(declared: u64, chunks: &[&'static str]) -> Body {
        let chunks: Vec<Result<Bytes>> =
            chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk.as_bytes()))).collect();
        Body::stream(declared, stream::iter(chunks))
    }

    #[tokio::test]
    async fn a_body_of_the_declared_length_arrives_whole() {
        assert_eq!(body(5, &["he", "llo"]).collect().await.expect("whole"), "hello");
        assert_eq!(body(5, &["hello"]).collect().await.expect("whole"), "hello");
        assert_eq!(body(0, &[]).collect().await.expect("whole"), "");
    }

    #[tokio::test]
    async fn short_and_long_bodies_are_corrupt() {
        for wrong in [
            body(6, &["he", "llo"]),
            body(4, &["he", "llo"]),
            body(4, &["hello"]),
            body(1, &[]),
            body(5, &["hello", "!"]),
        ] {
            assert_eq!(wrong.collect().await.expect_err("wrong length").kind(), ErrorKind::Corrupt);
        }
    }

    #[tokio::test]
    async fn digests_are_there_after_the_last_byte() {
        let set = DigestSet::MD5;
        let (body, handle) =
            body(5, &["he", "llo"]).checked(set, |_| Ok(())).expect("a stream is checked later");
        assert_eq!(handle.get(), None);
        body.collect().await.expect("whole");
        let digests = handle.get().expect("digests");
        assert_eq!(
            crate::ETag::from_md5(digests.md5.expect("md5")).as_str(),
            "5d41402abc4b2a76b9719d911017c592"
        );
        assert_eq!(digests.length_bytes, 5);
    }

    #[tokio::test]
    async fn a_body_that_fails_its_check_is_never_whole() {
        let refuse = |_: &Digests| Err(Error::new(ErrorKind::Corrupt, "wrong digest"));
        let (checked, _) = body(5, &["he", "llo"]).checked(DigestSet::default(), refuse).expect("later");
        let (watched, fault) = checked.watched();
        let Body::Stream(mut stream) = watched else { panic!("a stream") };
        assert_eq!(stream.next().await.expect("chunk").expect("he"), "he");
        assert!(stream.next().await.expect("error").is_err());
        assert_eq!(fault.take().expect("the original").to_string(), "wrong digest");
        assert!(Body::from(Bytes::from_static(b"hello")).checked(DigestSet::default(), refuse).is_err());
    }
}
