//! The keys of a bucket that have a history, those behind a delete marker among them.
//!
//! Owns: paging over one range, and the proof that keys ascend. Does not own: what each history is; the key's job lists it again, since
//! it may have grown by then. Invariant: every key of the range comes once; memory is one page.

use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::route::Route;
use crate::store::{Cursor, ListVersionsRequest, Version};
use crate::{Error, ErrorKind, Key, KeyRange, Result};

/// A key, and how much there is of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyWithHistory {
    /// The full key.
    pub key: Key,
    /// All its versions together, in bytes.
    pub size_bytes: u64,
}

/// Lists the source's keys in a range of what follows its prefix, ascending.
pub fn keys(route: &Arc<Route>, range: KeyRange) -> BoxStream<'static, Result<KeyWithHistory>> {
    let prefix = route.task.source.prefix.clone();
    let in_range = move |version: &Version| {
        let relative = version.entry.key.strip_prefix(&prefix).unwrap_or_default();
        range.until.as_deref().is_none_or(|until| relative <= until)
    };
    let start_after = range.after.map(|after| format!("{}{after}", route.task.source.prefix));
    let versions = versions(Arc::clone(route), start_after);
    let versions = versions.try_take_while(move |version| std::future::ready(Ok(in_range(version))));
    let grouped = stream::try_unfold((versions.boxed(), None), |(mut versions, begun)| async move {
        let mut current: Option<KeyWithHistory> = begun;
        while let Some(Version { entry, .. }) = versions.try_next().await? {
            match &mut current {
                Some(known) if known.key == entry.key => known.size_bytes += entry.size_bytes,
                Some(known) if known.key > entry.key => {
                    let message = format!(
                        "the store lists versions out of order: {:?} after {:?}",
                        entry.key, known.key
                    );
                    return Err(Error::new(ErrorKind::Unsupported, message));
                }
                _ => {
                    let next = KeyWithHistory { key: entry.key, size_bytes: entry.size_bytes };
                    if let Some(whole) = current.replace(next) {
                        return Ok(Some((whole, (versions, current))));
                    }
                }
            }
        }
        Ok(current.map(|whole| (whole, (versions, None))))
    });
    grouped.boxed()
}

/// Every version under the source's prefix behind a key, page by page.
fn versions(route: Arc<Route>, start_after: Option<String>) -> BoxStream<'static, Result<Version>> {
    /// The page to ask for: the first, or the one at the cursor.
    enum Page {
        First,
        At(Cursor),
        None,
    }
    let pages =
        stream::try_unfold((route, start_after, Page::First), |(route, start_after, page)| async move {
            let cursor = match page {
                Page::First => None,
                Page::At(cursor) => Some(cursor),
                Page::None => return Ok(None),
            };
            let request = ListVersionsRequest {
                prefix: route.task.source.prefix.clone(),
                start_after: start_after.clone(),
                cursor: cursor.clone(),
                page_size: None,
            };
            let answer = route.source.list_versions(request).await?;
            if answer.next.is_some() && answer.next == cursor {
                return Err(Error::new(ErrorKind::Unsupported, "the listing of versions does not advance"));
            }
            let next = answer.next.map_or(Page::None, Page::At);
            let versions = stream::iter(answer.versions.into_iter().map(Ok));
            Ok::<_, Error>(Some((versions, (route, start_after, next))))
        });
    pages.try_flatten().boxed()
}
