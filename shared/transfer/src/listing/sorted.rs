//! A side that lists in no order, sorted before anybody compares it.
//!
//! Invariants: memory is bounded by [`DISORDER_BYTES_MAX`]; what does not fit waits in temporary files; a key that is listed twice is an
//! error, since then nobody can tell which keys were left out, and a page that comes again ends the listing at once.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use futures::{FutureExt as _, Stream, StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::mpsc;

use super::cycle::CycleWatch;
use super::sorter::Sorter;
use super::{ListingBounds, broken, relative};
use crate::checksum::{DigestSet, digest};
use crate::ranges::PageSeen;
use crate::store::{ListRequest, SharedStore};
use crate::{Entry, Error, ErrorKind, Key, KeyRange, Result};

/// The most memory that the keys of a side without order take: about 200,000 keys of 40 characters.
pub const DISORDER_BYTES_MAX: usize = 32 << 20;

/// Entries handed from the thread that reads files to the one that compares, at once and ahead.
const CHUNK: usize = 1_000;
const CHUNKS_AHEAD: usize = 2;

/// The objects of a range under `prefix`, sorted in so much memory.
pub(super) fn list(
    store: SharedStore,
    prefix: String,
    after: Option<String>,
    bounds: Arc<dyn ListingBounds>,
    memory_bytes_max: usize,
) -> impl Stream<Item = Result<Entry>> + Send {
    let entries = async move {
        let (sorter, keys) = collect(&store, &prefix, Sorter::new(memory_bytes_max)).await?;
        let until = bounds.note_page(PageSeen { ends: None, keys, last: true });
        let range = KeyRange { after, until };
        let is_inside =
            move |entry: &Entry| entry.key.strip_prefix(&prefix).is_some_and(|key| range.contains(key));
        Ok(merged(store, sorter).try_filter(move |entry| std::future::ready(is_inside(entry))))
    };
    entries.into_stream().try_flatten()
}

/// Every object under `prefix`, and how many there are.
async fn collect(store: &SharedStore, prefix: &str, mut sorter: Sorter) -> Result<(Sorter, usize)> {
    let mut keys = 0;
    let mut cycle = CycleWatch::default();
    // Digests, since there is one to a page for as long as the listing lasts.
    let mut pages_begin_with = HashSet::new();
    let mut request = ListRequest { prefix: prefix.to_owned(), ..ListRequest::default() };
    loop {
        let page = store.list(request.clone()).await?;
        for entry in &page.entries {
            relative(store, prefix, entry)?;
        }
        if let Some(first) = page.entries.first()
            && !pages_begin_with
                .insert(digest(first.key.as_str().as_bytes(), DigestSet::default()).crc64_nvme)
        {
            return Err(twice(store, &first.key));
        }
        let has_keys = !page.entries.is_empty();
        keys += page.entries.len();
        sorter.add(page.entries);
        if sorter.is_full() {
            let work = tokio::task::spawn_blocking(move || sorter.spill().map(|()| sorter));
            sorter = work
                .await
                .map_err(|lost| unsorted(store, io::Error::other(lost)))?
                .map_err(|error| unsorted(store, error))?;
        }
        let Some(next) = page.next else { return Ok((sorter, keys)) };
        cycle.check(&next, has_keys).map_err(|endless| broken(store, endless.to_string()))?;
        request.cursor = Some(next);
    }
}

/// What was collected, in order. Read by a thread of its own, which ends when nobody takes what it reads.
fn merged(store: SharedStore, sorter: Sorter) -> impl Stream<Item = Result<Entry>> + Send {
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut chunk = Vec::with_capacity(CHUNK);
        let mut last: Option<Key> = None;
        let read = (|| -> Result<()> {
            for entry in sorter.into_sorted().map_err(|error| unsorted(&store, error))? {
                let entry = entry.map_err(|error| unsorted(&store, error))?;
                if last.as_ref() == Some(&entry.key) {
                    return Err(twice(&store, &entry.key));
                }
                last = Some(entry.key.clone());
                chunk.push(Ok(entry));
                if chunk.len() == CHUNK {
                    let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK));
                    if sender.blocking_send(full).is_err() {
                        return Ok(());
                    }
                }
            }
            Ok(())
        })();
        chunk.extend(read.err().map(Err));
        // Whoever has gone away wants no end either.
        drop(sender.blocking_send(chunk));
    });
    stream::unfold(receiver, |mut receiver| async move {
        let chunk: Vec<Result<Entry>> = receiver.recv().await?;
        Some((stream::iter(chunk), receiver))
    })
    .flatten()
}

fn twice(store: &SharedStore, key: &Key) -> Error {
    broken(store, format!("the store's listing is out of order and goes in circles: it has {key:?} twice"))
}

fn unsorted(store: &SharedStore, error: io::Error) -> Error {
    let name = store.name();
    let message = format!(
        "the store lists out of order, and its keys cannot be sorted in {}: make room there, or set TMPDIR",
        std::env::temp_dir().display()
    );
    Error::new(ErrorKind::Configuration, message)
        .in_operation("ListObjects")
        .at_store(name.store.as_str())
        .in_bucket(name.bucket.as_str())
        .caused_by(error)
}
