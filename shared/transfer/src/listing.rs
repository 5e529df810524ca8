//! One side's keys in order, page by page.
//!
//! Owns: paging over one range with the next page fetched ahead, the proof that a listing is one (ascending keys, cursors that
//! advance, an end only where the store said so), and another way for stores that list in no order. Does not own: retrying a page
//! ([`crate::store::retrying`]) nor who lists what ([`crate::ranges`]). Invariants: at most two pages are in memory; a page that
//! failed, came out of order or led nowhere is an error, never an end.

mod cycle;
mod habits;
mod sorted;
mod sorter;

use std::fmt;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use crate::ranges::PageSeen;
use crate::store::{Cursor, ListPage, ListRequest, SharedStore};
use crate::{Entry, Error, ErrorKind, Result};

use self::cycle::CycleWatch;

pub use self::habits::ListingHabits;
pub use self::sorted::DISORDER_BYTES_MAX;

/// How buckets are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListingRules {
    /// Ranges of keys listed at once on each side. One lists in key order.
    pub listers: u16,
}

impl Default for ListingRules {
    /// Sixteen hide 30 ms a page behind the reading of it: one core reads a page of 1,000 keys in about 3 ms.
    fn default() -> Self {
        Self { listers: 16 }
    }
}

/// Where a listing ends, which may change while it is under way.
pub trait ListingBounds: Send + Sync + fmt::Debug {
    /// Notes a page; the range's inclusive end now, relative to the prefix.
    fn note_page(&self, page: PageSeen<'_>) -> Option<String>;

    /// Asks to stop behind `until`. Otherwise the range's end has moved, and this is where it is now.
    fn close(&self, until: Option<&str>) -> Result<(), Option<String>>;

    /// Notes that the store began at a key that is not greater than the one asked for. Whether somebody else lists this range now.
    fn begins_elsewhere(&self) -> bool;
}

/// An end that stays where it is.
#[derive(Debug)]
pub struct FixedEnd(pub Option<String>);

impl ListingBounds for FixedEnd {
    fn note_page(&self, _page: PageSeen<'_>) -> Option<String> {
        self.0.clone()
    }

    fn close(&self, _until: Option<&str>) -> Result<(), Option<String>> {
        Ok(())
    }

    fn begins_elsewhere(&self) -> bool {
        false
    }
}

/// The objects behind `after` under `prefix`, ascending by key, up to an end that may move. What the store turns out to do is
/// noted in `habits`; a side known to list in no order is sorted first.
pub fn list_within(
    store: SharedStore,
    prefix: &str,
    after: Option<String>,
    bounds: Arc<dyn ListingBounds>,
    habits: Arc<ListingHabits>,
) -> BoxStream<'static, Result<Entry>> {
    let prefix = prefix.to_owned();
    if habits.is_disordered() {
        return sorted::list(store, prefix, after, bounds, DISORDER_BYTES_MAX).boxed();
    }
    let listing = Listing::new(store, prefix, after, bounds, habits);
    stream::try_unfold(listing, |mut listing| async move {
        Ok(listing.next().await?.map(|entry| (entry, listing)))
    })
    .boxed()
}

struct Listing {
    store: SharedStore,
    prefix: String,
    /// Where it begins, relative to the prefix.
    after: Option<String>,
    bounds: Arc<dyn ListingBounds>,
    habits: Arc<ListingHabits>,
    page: std::vec::IntoIter<Entry>,
    next: NextPage,
    /// The end as the last page found it.
    until: Option<String>,
    last_key: Option<String>,
    cycle: CycleWatch,
}

/// What follows the page in hand.
enum NextPage {
    OnItsWay(PageFetch),
    /// Not asked for: the page in hand reaches the range's end.
    At(Cursor),
    None,
}

/// A page on its way; not fetched to the end when nobody wants it any more.
struct PageFetch(JoinHandle<Result<ListPage>>);

impl Drop for PageFetch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Listing {
    fn new(
        store: SharedStore,
        prefix: String,
        after: Option<String>,
        bounds: Arc<dyn ListingBounds>,
        habits: Arc<ListingHabits>,
    ) -> Self {
        let mut listing = Self {
            store,
            prefix,
            after,
            bounds,
            habits,
            page: Vec::new().into_iter(),
            next: NextPage::None,
            until: None,
            last_key: None,
            cycle: CycleWatch::default(),
        };
        listing.next = listing.fetch(None);
        listing
    }

    fn fetch(&self, cursor: Option<Cursor>) -> NextPage {
        let request = ListRequest {
            prefix: self.prefix.clone(),
            start_after: self.after.as_ref().map(|after| format!("{}{after}", self.prefix)),
            delimiter: None,
            cursor,
            page_size: None,
        };
        let store = Arc::clone(&self.store);
        NextPage::OnItsWay(PageFetch(tokio::spawn(async move { store.list(request).await })))
    }

    async fn next(&mut self) -> Result<Option<Entry>> {
        loop {
            while let Some(entry) = self.page.next() {
                let relative = relative(&self.store, &self.prefix, &entry)?;
                if self.is_past_end(relative) {
                    self.page = Vec::new().into_iter();
                    self.next = NextPage::None;
                    return Ok(None);
                }
                // A store that ignores `start-after` lists from the beginning: correct, only slower.
                if self.after.as_deref().is_none_or(|after| relative > after) {
                    return Ok(Some(entry));
                }
            }
            let mut fetch = match std::mem::replace(&mut self.next, NextPage::None) {
                NextPage::None => return Ok(None),
                NextPage::OnItsWay(fetch) => fetch,
                NextPage::At(cursor) => {
                    self.next = self.fetch(Some(cursor));
                    continue;
                }
            };
            let page = (&mut fetch.0).await.map_err(|cause| {
                broken(&self.store, "the listing was interrupted".to_owned()).caused_by(cause)
            })??;
            if !self.take(page)? {
                return Ok(None);
            }
        }
    }

    /// Takes a page in. False where somebody else lists this range now.
    fn take(&mut self, page: ListPage) -> Result<bool> {
        self.check_order(&page.entries)?;
        if let Some(cursor) = &page.next {
            self.cycle
                .check(cursor, !page.entries.is_empty())
                .map_err(|going| broken(&self.store, going.to_string()))?;
        }
        let ends = match (page.entries.first(), page.entries.last()) {
            (Some(first), Some(last)) => Some((
                relative(&self.store, &self.prefix, first)?,
                relative(&self.store, &self.prefix, last)?,
            )),
            _ => None,
        };
        let is_first = self.last_key.is_none();
        if let (true, Some((first, _)), Some(after)) = (is_first, ends, &self.after)
            && first <= after.as_str()
        {
            self.habits.note_start_after_ignored();
            if self.bounds.begins_elsewhere() {
                return Ok(false);
            }
        }
        self.until =
            self.bounds.note_page(PageSeen { ends, keys: page.entries.len(), last: page.next.is_none() });
        let reaches_end = match (ends, &self.until) {
            (Some((_, last)), Some(until)) => last > until.as_str(),
            _ => false,
        };
        self.last_key =
            page.entries.last().map(|entry| entry.key.as_str().to_owned()).or(self.last_key.take());
        self.next = match page.next {
            None => NextPage::None,
            Some(cursor) if reaches_end => NextPage::At(cursor),
            Some(cursor) => self.fetch(Some(cursor)),
        };
        self.page = page.entries.into_iter();
        Ok(true)
    }

    fn is_past_end(&mut self, relative: &str) -> bool {
        while self.until.as_deref().is_some_and(|until| relative > until) {
            match self.bounds.close(self.until.as_deref()) {
                Ok(()) => return true,
                Err(moved) => self.until = moved,
            }
        }
        false
    }

    fn check_order(&self, entries: &[Entry]) -> Result<()> {
        let mut last = self.last_key.as_deref();
        for entry in entries {
            let key = entry.key.as_str();
            match last {
                Some(last) if key == last => {
                    return Err(broken(
                        &self.store,
                        format!("the store's listing goes in circles: it lists {key:?} again"),
                    ));
                }
                Some(last) if key < last => {
                    self.habits.note_disorder();
                    return Err(broken(
                        &self.store,
                        format!(
                            "the store lists out of order: {key:?} after {last:?}; two such listings cannot be merged"
                        ),
                    ));
                }
                _ => last = Some(key),
            }
        }
        Ok(())
    }
}

/// A key as both sides name it.
fn relative<'a>(store: &SharedStore, prefix: &str, entry: &'a Entry) -> Result<&'a str> {
    entry.key.strip_prefix(prefix).ok_or_else(|| {
        broken(store, format!("the store listed {:?}, which is not under the prefix {prefix:?}", entry.key))
    })
}

fn broken(store: &SharedStore, message: String) -> Error {
    let name = store.name();
    Error::new(ErrorKind::Other, message)
        .in_operation("ListObjects")
        .at_store(name.store.as_str())
        .in_bucket(name.bucket.as_str())
}
