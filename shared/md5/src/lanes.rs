//! Streams that are hashed together.
//!
//! Owns: the bytes that wait for their stream's turn, and who hashes for whom. There is no thread of its own: a stream that has a batch
//! waiting asks its reader to let others go first, so that theirs fill too (a sender fills one connection after another). When it comes again, it hashes its batch and takes along
//! what waits of the others, each in a lane of its own, which costs it next to nothing. A stream that is alone is hashed as its bytes
//! come. Invariants: of no stream more than a batch and one piece ever wait, whatever its reader does; whoever hashes waits for
//! nobody while it does.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf as _, Bytes};
use fearless_simd::Level;

use crate::Md5;
use crate::compress::{BEGIN, LANES_MAX, compress};

/// How many bytes of a stream wait until it is hashed: enough that those at the edges of a batch do not matter, few enough to
/// be in the cache still.
const BATCH_BYTES: usize = 256 << 10;

/// What the reader of a stream does best.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Go on.
    Keep,
    /// Let other streams go first, once: what waits is then hashed together with theirs.
    GiveWay,
}

/// Streams that share the vector unit. See the module.
#[derive(Debug)]
pub struct Lanes {
    level: Level,
    batch_bytes: usize,
    streams: Mutex<Vec<Arc<Waiting>>>,
    streams_count: AtomicUsize,
}

/// The MD5 of a stream whose bytes come in pieces.
#[derive(Debug)]
pub struct Stream {
    lanes: Arc<Lanes>,
    waiting: Arc<Waiting>,
}

/// A stream as the others see it.
#[derive(Debug, Default)]
struct Waiting {
    /// Pieces that have come. Locked for moments only, so that a stream can go on while another hashes for it.
    arrived: Mutex<VecDeque<Bytes>>,
    /// Of `arrived` and of the pieces in `work`.
    bytes: AtomicUsize,
    /// Locked while it is hashed.
    work: Mutex<Work>,
}

#[derive(Debug, Default)]
struct Work {
    md5: Md5,
    pieces: VecDeque<Bytes>,
}

impl Lanes {
    /// Lanes of the best instructions that this CPU has.
    pub fn new() -> Arc<Self> {
        Self::in_batches(BATCH_BYTES)
    }

    fn in_batches(batch_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            level: Level::new(),
            batch_bytes,
            streams: Mutex::default(),
            streams_count: AtomicUsize::new(0),
        })
    }

    /// A stream that goes on from what was seen before.
    pub fn stream(self: &Arc<Self>, md5: Md5) -> Stream {
        let work = Mutex::new(Work { md5, pieces: VecDeque::new() });
        let waiting = Arc::new(Waiting { work, ..Waiting::default() });
        let mut streams = locked(&self.streams);
        streams.push(Arc::clone(&waiting));
        self.streams_count.store(streams.len(), Relaxed);
        Stream { lanes: Arc::clone(self), waiting }
    }

    /// Those that have most waiting, but for this one.
    fn fullest_beside(&self, own: &Arc<Waiting>) -> Vec<Arc<Waiting>> {
        let mut others: Vec<(usize, Arc<Waiting>)> = locked(&self.streams)
            .iter()
            .filter(|other| !Arc::ptr_eq(own, other))
            .map(|other| (other.bytes.load(Relaxed), Arc::clone(other)))
            .filter(|(bytes, _)| *bytes >= 64)
            .collect();
        others.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        others.truncate(LANES_MAX - 1);
        others.into_iter().map(|(_, other)| other).collect()
    }
}

impl Stream {
    /// Takes the next piece.
    pub fn push(&mut self, piece: &Bytes) -> Turn {
        if self.waiting.bytes.load(Relaxed) >= self.lanes.batch_bytes {
            self.hash();
        }
        locked(&self.waiting.arrived).push_back(piece.clone());
        let waiting_bytes = self.waiting.bytes.fetch_add(piece.len(), Relaxed) + piece.len();
        if self.lanes.streams_count.load(Relaxed) == 1 {
            self.hash();
            Turn::Keep
        } else if waiting_bytes < self.lanes.batch_bytes {
            Turn::Keep
        } else {
            Turn::GiveWay
        }
    }

    /// The MD5 of all that came.
    pub fn into_md5(self) -> Md5 {
        self.hash();
        locked(&self.waiting.work).md5.clone()
    }

    /// Hashes all that waits, and of the others what goes along with it.
    fn hash(&self) {
        // Where another stream is just hashing this one along, that is over after its batch.
        let own = locked(&self.waiting.work);
        let others = self.lanes.fullest_beside(&self.waiting);
        let mut lanes = Vec::with_capacity(LANES_MAX);
        lanes.push(Lane::new(&self.waiting, own));
        // Whoever is being hashed elsewhere is not waited for.
        lanes.extend(others.iter().filter_map(|other| Some(Lane::new(other, other.work.try_lock().ok()?))));
        hash_together(self.lanes.level, &mut lanes);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut streams = locked(&self.lanes.streams);
        streams.retain(|other| !Arc::ptr_eq(other, &self.waiting));
        self.lanes.streams_count.store(streams.len(), Relaxed);
    }
}

/// A stream while it is hashed.
struct Lane<'a> {
    waiting: &'a Waiting,
    work: MutexGuard<'a, Work>,
}

impl<'a> Lane<'a> {
    fn new(waiting: &'a Waiting, mut work: MutexGuard<'a, Work>) -> Self {
        work.pieces.append(&mut locked(&waiting.arrived));
        Self { waiting, work }
    }

    /// Hashes what lies over the edge of two pieces; how many whole blocks then lie ahead in one piece.
    fn settle_edges(&mut self) -> usize {
        let Work { md5, pieces } = &mut *self.work;
        while let Some(piece) = pieces.front_mut() {
            let filled = md5.tail_bytes();
            if filled == 0 && piece.len() >= 64 {
                return piece.len() / 64;
            }
            let edge = piece.split_to(piece.len().min(64 - filled));
            md5.update(&edge);
            self.waiting.bytes.fetch_sub(edge.len(), Relaxed);
            if piece.is_empty() {
                pieces.pop_front();
            }
        }
        0
    }

    fn ahead(&self) -> &[u8] {
        self.work.pieces.front().map_or(&[], |piece| piece)
    }

    fn advance(&mut self, chain: [u32; 4], blocks: usize) {
        let Work { md5, pieces } = &mut *self.work;
        md5.chain = chain;
        md5.count(blocks);
        if let Some(piece) = pieces.front_mut() {
            piece.advance(64 * blocks);
        }
        self.waiting.bytes.fetch_sub(64 * blocks, Relaxed);
    }
}

/// Hashes the first lane to its end, and the others as far as they come with it.
fn hash_together(level: Level, lanes: &mut Vec<Lane<'_>>) {
    loop {
        let mut blocks = usize::MAX;
        let mut is_first = true;
        lanes.retain_mut(|lane| {
            let ahead = lane.settle_edges();
            if ahead > 0 || is_first {
                blocks = blocks.min(ahead);
            }
            std::mem::take(&mut is_first) || ahead > 0
        });
        if blocks == 0 || blocks == usize::MAX {
            return;
        }
        let mut chains = [BEGIN; LANES_MAX];
        let mut runs: [&[[u8; 64]]; LANES_MAX] = [&[]; LANES_MAX];
        for ((lane, chain), run) in lanes.iter().zip(&mut chains).zip(&mut runs) {
            *chain = lane.work.md5.chain;
            *run = &lane.ahead().as_chunks().0[..blocks];
        }
        compress(level, &mut chains[..lanes.len()], &runs[..lanes.len()]);
        for (lane, chain) in lanes.iter_mut().zip(chains) {
            lane.advance(chain, blocks);
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use md5::Digest as _;
    use proptest::prelude::*;

    use super::*;

    fn piece(seed: usize, length: usize) -> Bytes {
        (0..length).map(|index| ((seed * 31 + index * 7 + index / 13) % 256).to_le_bytes()[0]).collect()
    }

    fn alone(pieces: &[Bytes]) -> [u8; 16] {
        let mut md5 = md5::Md5::new();
        for piece in pieces {
            md5.update(piece);
        }
        md5.finalize().into()
    }

    fn waiting(stream: &Stream) -> usize {
        stream.waiting.bytes.load(Relaxed)
    }

    proptest! {
        #[test]
        fn each_stream_has_the_md5_of_its_own_bytes(
            streams_count in 1..40_usize,
            pieces in prop::collection::vec((any::<prop::sample::Index>(), 0..700_usize), 0..200),
            batch_bytes in 1..2000_usize,
        ) {
            let lanes = Lanes::in_batches(batch_bytes);
            let mut streams: Vec<(Stream, Vec<Bytes>)> =
                (0..streams_count).map(|_| (lanes.stream(Md5::new()), Vec::new())).collect();
            for (number, (index, length)) in pieces.into_iter().enumerate() {
                let (stream, pieces) = index.get_mut(&mut streams);
                let piece = piece(number, length);
                let turn = stream.push(&piece);
                prop_assert!(waiting(stream) < batch_bytes.max(64) + piece.len());
                prop_assert_eq!(turn == Turn::GiveWay, streams_count > 1 && waiting(stream) >= batch_bytes);
                pieces.push(piece);
            }
            for (stream, pieces) in streams {
                prop_assert_eq!(stream.into_md5().finish(), alone(&pieces));
            }
            prop_assert!(locked(&lanes.streams).is_empty());
        }
    }

    #[test]
    fn streams_of_several_threads_do_not_get_mixed_up() {
        let lanes = Lanes::in_batches(4096);
        std::thread::scope(|scope| {
            for seed in 0..24 {
                let lanes = &lanes;
                scope.spawn(move || {
                    let pieces: Vec<Bytes> =
                        (0..200).map(|number| piece(seed + number, 1 + (seed * number) % 3000)).collect();
                    let mut stream = lanes.stream(Md5::new());
                    for piece in &pieces {
                        stream.push(piece);
                    }
                    assert_eq!(stream.into_md5().finish(), alone(&pieces), "stream {seed}");
                });
            }
        });
    }

    #[test]
    fn what_waits_goes_along_with_the_stream_whose_batch_is_full() {
        let lanes = Lanes::in_batches(1000);
        let (mut first, mut second) = (lanes.stream(Md5::new()), lanes.stream(Md5::new()));
        first.push(&piece(1, 700));
        assert_eq!(waiting(&first), 700);
        assert_eq!(second.push(&piece(2, 1000)), Turn::GiveWay);
        assert_eq!(first.push(&piece(3, 100)), Turn::Keep);
        second.push(&piece(4, 1));
        assert!(waiting(&first) < 64 && waiting(&second) < 64);
    }

    #[test]
    fn a_stream_that_is_alone_does_not_wait() {
        let lanes = Lanes::in_batches(1000);
        let mut stream = lanes.stream(Md5::new());
        stream.push(&piece(1, 64));
        assert_eq!(waiting(&stream), 0);
    }

    #[test]
    fn a_stream_can_be_left_and_gone_on_with_twice() {
        let lanes = Lanes::new();
        let mut stream = lanes.stream(Md5::new());
        stream.push(&piece(1, 100));
        let kept = stream.into_md5();
        for end in [piece(2, 30), piece(3, 300)] {
            let mut stream = lanes.stream(kept.clone());
            stream.push(&end);
            assert_eq!(stream.into_md5().finish(), alone(&[piece(1, 100), end]));
        }
    }
}
