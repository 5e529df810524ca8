//! The beginning of an object that is on the medium already.
//!
//! Owns: the way of its bytes from the writing thread, which reads them back, to the reading of the object, which needs every byte for what the store declared. Does not
//! own: which bytes are there ([`Session`]). Invariants: what was read back is not written again; nothing is asked of the store before all of it has come, and
//! a beginning that does not come whole is an error; at most [`PIECES`] pieces are on their way.

use std::future::ready;
use std::ops::ControlFlow;

use bytes::Bytes;
use ferry_device::part::Part;
use ferry_device::session::Session;
use ferry_device::sink::Sink;
use ferry_transfer::{Body, Error, ErrorKind, Result};
use futures::{Stream, StreamExt as _, stream};
use tokio::sync::mpsc;

/// Pieces on their way.
const PIECES: usize = 8;

/// The writing thread's end.
#[derive(Debug)]
pub(super) struct ReadBack(mpsc::Sender<Bytes>);

/// The first bytes of an object, as the medium gives them back.
#[derive(Debug)]
pub(super) struct Prefix {
    bytes: u64,
    pieces: mpsc::Receiver<Bytes>,
}

/// Both ends for a part; no prefix where there is none.
pub(super) fn of_part(part: Option<&Part>) -> (ReadBack, Option<Prefix>) {
    let (sender, pieces) = mpsc::channel(PIECES);
    (ReadBack(sender), part.map(|part| Prefix { bytes: part.bytes(), pieces }))
}

impl ReadBack {
    /// Reads back what is on the medium of the file that the session has begun. Where that does not succeed, whoever reads the object is told by its end.
    pub(super) fn run<S: Sink>(self, session: &mut Session<S>) {
        let read =
            session.read_back(&mut |piece| match self.0.blocking_send(Bytes::copy_from_slice(piece)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            });
        if let Err(error) = read {
            let error = ferry_transfer::chain(&error);
            tracing::warn!(error, "what is on the medium of an object is of no use; it is read anew");
        }
    }
}

impl Prefix {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The bytes, or an error in place of those that do not come.
    pub(super) fn into_stream(self) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        stream::unfold((self.pieces, self.bytes), async |(mut pieces, left)| {
            if left == 0 {
                return None;
            }
            Some(if let Some(piece) = pieces.recv().await {
                let left = left.saturating_sub(piece.len() as u64);
                (Ok(piece), (pieces, left))
            } else {
                let message = "the medium did not give back what was written of the object";
                (Err(Error::new(ErrorKind::Corrupt, message)), (pieces, 0))
            })
        })
    }
}

/// A body without its first `bytes`, which pass and are looked at all the same.
pub(super) fn behind(body: Body, bytes: u64) -> Body {
    let Body::Stream(body) = body else { return body };
    let mut left = bytes;
    let rest_bytes = body.length_bytes().saturating_sub(bytes);
    let rest = body.filter_map(move |piece| {
        ready(match piece {
            Ok(mut piece) if left > 0 => {
                let here = left.min(piece.len() as u64);
                left -= here;
                let rest = piece.split_off(usize::try_from(here).unwrap_or(piece.len()));
                (!rest.is_empty()).then_some(Ok(rest))
            }
            other => Some(other),
        })
    });
    Body::stream(rest_bytes, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_prefix_passes_once_and_only_whole() {
        for (given, expected) in [(&["ab", "cd"][..], Ok("e")), (&["ab"], Err(ErrorKind::Corrupt))] {
            let (back, pieces) = mpsc::channel(PIECES);
            for piece in given {
                back.send(Bytes::from_static(piece.as_bytes())).await.expect("room");
            }
            drop(back);
            let prefix = Prefix { bytes: 4, pieces };
            let rest = stream::iter([Ok(Bytes::from_static(b"e"))]);
            let body = Body::stream(5, prefix.into_stream().chain(rest));
            let rest = behind(body, 4).collect().await;
            assert_eq!(rest.as_deref().map_err(Error::kind), expected.map(str::as_bytes));
        }
    }

    #[tokio::test]
    async fn what_is_behind_a_prefix_need_not_begin_with_a_piece() {
        let pieces = ["ab", "cdef", "g"].map(|piece| Ok(Bytes::from_static(piece.as_bytes())));
        let rest = behind(Body::stream(7, stream::iter(pieces)), 3).collect().await;
        assert_eq!(rest.expect("whole"), "defg");
    }
}
