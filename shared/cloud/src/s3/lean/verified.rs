//! The checksums that Amazon declares with an object, checked as its bytes arrive.
//!
//! Owns: every algorithm that Amazon has, since which one an object carries is up to whoever wrote it. Invariant: the last bytes of
//! a body come out only when the checksum is right.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use aws_smithy_checksums::ChecksumAlgorithm;
use aws_smithy_checksums::http::HttpChecksum;
use aws_smithy_runtime_api::http::Headers;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};

/// The bytes that arrived are not those of the declared checksum.
#[derive(Debug, thiserror::Error)]
#[error("the store declared {algorithm} {declared}, its bytes have {computed}")]
pub(in crate::s3) struct ChecksumMismatch {
    algorithm: &'static str,
    declared: String,
    computed: String,
}

/// A checksum that an answer declares of its body.
pub(super) struct Declared {
    algorithm: &'static str,
    /// Base64.
    value: String,
    computing: Box<dyn HttpChecksum>,
}

impl Declared {
    /// The first that the headers declare. One of a multipart object that is made of its parts' checksums (`…-N`) says nothing of
    /// the bytes as they come.
    pub(super) fn by(headers: &Headers) -> Option<Self> {
        ["crc64nvme", "crc32c", "crc32", "sha256", "sha1"].into_iter().find_map(|name| {
            let value = headers.get(format!("x-amz-checksum-{name}")).filter(|value| !value.contains('-'))?;
            let algorithm: ChecksumAlgorithm = name.parse().ok()?;
            Some(Self { algorithm: name, value: value.to_owned(), computing: algorithm.into_impl() })
        })
    }
}

/// A body of a known length whose checksum is declared.
pub(super) struct Verified<S> {
    inner: S,
    declared: Option<Declared>,
    remaining_bytes: u64,
}

impl<S> Verified<S> {
    pub(super) fn new(inner: S, length_bytes: u64, declared: Declared) -> Self {
        Self { inner, declared: Some(declared), remaining_bytes: length_bytes }
    }
}

impl<S, E> Stream for Verified<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: From<ChecksumMismatch>,
{
    type Item = Result<Bytes, E>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.inner.poll_next_unpin(cx));
        let (Some(Ok(chunk)), Some(declared)) = (&item, &mut self.declared) else {
            return Poll::Ready(item);
        };
        declared.computing.update(chunk);
        self.remaining_bytes = self.remaining_bytes.saturating_sub(chunk.len() as u64);
        if self.remaining_bytes == 0
            && let Some(Declared { algorithm, value, computing }) = self.declared.take()
        {
            let computed = STANDARD.encode(computing.finalize());
            if computed != value {
                let mismatch = ChecksumMismatch { algorithm, declared: value, computed };
                return Poll::Ready(Some(Err(mismatch.into())));
            }
        }
        Poll::Ready(item)
    }
}
