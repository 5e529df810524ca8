//! A side that lists in no order, sorted before anybody compares it.
//!
//! Invariants: memory is bounded by [`DISORDER_BYTES_MAX`], and what does not fit is an error; a key that is listed twice is an error,
//! since then nobody can tell which keys were left out, and a page that comes again ends the listing at once.

use std::collections::HashSet;
use std::sync::Arc;

use futures::{FutureExt as _, Stream, StreamExt as _, TryStreamExt as _, stream};

use super::cycle::CycleWatch;
use super::{ListingBounds, broken, relative};
use crate::ranges::PageSeen;
use crate::store::{ListRequest, SharedStore};
use crate::{Entry, Key, KeyRange, Result};

/// The most memory that the keys of a side without order may take: about 200,000 keys of 40 characters.
pub const DISORDER_BYTES_MAX: usize = 32 << 20;

/// The objects of a range under `prefix`, sorted.
pub(super) fn list(
    store: SharedStore,
    prefix: String,
    after: Option<String>,
    bounds: Arc<dyn ListingBounds>,
) -> impl Stream<Item = Result<Entry>> + Send {
    let entries = async move {
        let mut entries = collect(&store, &prefix).await?;
        let until = bounds.note_page(PageSeen { ends: None, keys: entries.len(), last: true });
        let range = KeyRange { after, until };
        entries.retain(|entry| entry.key.strip_prefix(&prefix).is_some_and(|key| range.contains(key)));
        Ok(stream::iter(entries).map(Ok))
    };
    entries.into_stream().try_flatten()
}

/// Every object under `prefix`, sorted.
async fn collect(store: &SharedStore, prefix: &str) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut text_bytes = 0;
    let mut cycle = CycleWatch::default();
    let mut pages_begin_with = HashSet::new();
    let twice = |key: &Key| {
        broken(
            store,
            format!("the store's listing is out of order and goes in circles: it has {key:?} twice"),
        )
    };
    let mut request = ListRequest { prefix: prefix.to_owned(), ..ListRequest::default() };
    loop {
        let page = store.list(request.clone()).await?;
        for entry in &page.entries {
            relative(store, prefix, entry)?;
            text_bytes +=
                entry.key.as_str().len() + entry.etag.as_ref().map_or(0, |etag| etag.as_str().len());
        }
        if let Some(first) = page.entries.first()
            && !pages_begin_with.insert(first.key.clone())
        {
            return Err(twice(&first.key));
        }
        let has_keys = !page.entries.is_empty();
        entries.extend(page.entries);
        if text_bytes + entries.len() * size_of::<Entry>() > DISORDER_BYTES_MAX {
            return Err(broken(
                store,
                format!(
                    "the store lists out of order, and its first {} keys already take the {} MiB there are for sorting them; \
                     copy it prefix by prefix",
                    entries.len(),
                    DISORDER_BYTES_MAX >> 20
                ),
            ));
        }
        let Some(next) = page.next else { break };
        cycle.check(&next, has_keys).map_err(|endless| broken(store, endless.to_string()))?;
        request.cursor = Some(next);
    }
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    match entries.windows(2).find(|pair| pair[0].key == pair[1].key) {
        Some(pair) => Err(twice(&pair[0].key)),
        None => Ok(entries),
    }
}
