//! One side's keys in order, page by page.
//!
//! Owns: paging over one key range with the next page fetched ahead, and the proof that a listing is one: ascending keys,
//! cursors that advance, an end only where the store said so. Does not own: retrying a page ([`crate::store::retrying`]).
//! Invariants: at most two pages are in memory; a page that failed, came out of order or repeated a cursor is an error, never an
//! end.

use futures::Stream;
use futures::stream;
use tokio::task::JoinHandle;

use crate::store::{Cursor, ListPage, ListRequest, SharedStore};
use crate::{Entry, Error, ErrorKind, KeyRange, Result};

/// Lists the objects of `range` under `prefix`, ascending by key.
pub fn list(
    store: SharedStore,
    prefix: &str,
    range: &KeyRange,
) -> impl Stream<Item = Result<Entry>> + Send + use<> {
    let listing = Listing::new(store, prefix.to_owned(), range.clone());
    stream::try_unfold(listing, |mut listing| async move {
        Ok(listing.next().await?.map(|entry| (entry, listing)))
    })
}

struct Listing {
    store: SharedStore,
    prefix: String,
    range: KeyRange,
    page: std::vec::IntoIter<Entry>,
    ahead: Option<PageFetch>,
    last_key: Option<String>,
    last_cursor: Option<Cursor>,
}

/// A page on its way; not fetched to the end when nobody wants it any more.
struct PageFetch(JoinHandle<Result<ListPage>>);

impl Drop for PageFetch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Listing {
    fn new(store: SharedStore, prefix: String, range: KeyRange) -> Self {
        let mut listing = Self {
            store,
            prefix,
            range,
            page: Vec::new().into_iter(),
            ahead: None,
            last_key: None,
            last_cursor: None,
        };
        listing.fetch(None);
        listing
    }

    fn fetch(&mut self, cursor: Option<Cursor>) {
        let request = ListRequest {
            prefix: self.prefix.clone(),
            start_after: self.range.after.as_ref().map(|after| format!("{}{after}", self.prefix)),
            delimiter: None,
            cursor,
            page_size: None,
        };
        let store = std::sync::Arc::clone(&self.store);
        self.ahead = Some(PageFetch(tokio::spawn(async move { store.list(request).await })));
    }

    async fn next(&mut self) -> Result<Option<Entry>> {
        loop {
            while let Some(entry) = self.page.next() {
                self.check_order(&entry)?;
                let Some(relative) = entry.key.strip_prefix(&self.prefix) else {
                    return Err(self.error(format!(
                        "the store listed {:?}, which is not under the prefix {:?}",
                        entry.key, self.prefix
                    )));
                };
                if self.range.is_past(relative) {
                    self.ahead = None;
                    self.page = Vec::new().into_iter();
                    return Ok(None);
                }
                // A store that ignores `start-after` lists from the beginning: correct, only slower.
                let wanted = self.range.contains(relative);
                self.last_key = Some(entry.key.as_str().to_owned());
                if wanted {
                    return Ok(Some(entry));
                }
            }
            let Some(mut ahead) = self.ahead.take() else {
                return Ok(None);
            };
            let page = (&mut ahead.0)
                .await
                .map_err(|cause| self.error("the listing was interrupted".to_owned()).caused_by(cause))??;
            if let Some(next) = page.next {
                if self.last_cursor.as_ref() == Some(&next) {
                    return Err(
                        self.error(format!("the store's listing goes in circles at cursor {:?}", next.0))
                    );
                }
                self.last_cursor = Some(next.clone());
                self.fetch(Some(next));
            }
            self.page = page.entries.into_iter();
        }
    }

    fn check_order(&self, entry: &Entry) -> Result<()> {
        match &self.last_key {
            Some(last) if entry.key.as_str() <= last.as_str() => Err(self.error(format!(
                "the store lists out of order: {:?} after {last:?}; two such listings cannot be merged",
                entry.key
            ))),
            _ => Ok(()),
        }
    }

    fn error(&self, message: String) -> Error {
        let name = self.store.name();
        Error::new(ErrorKind::Other, message)
            .in_operation("ListObjects")
            .at_store(name.store.as_str())
            .in_bucket(name.bucket.as_str())
    }
}
