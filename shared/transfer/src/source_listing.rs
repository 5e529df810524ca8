//! The source's objects in the order of their names at the destination.
//!
//! Owns: which of the listed objects are the task's, and the merge that puts renamed keys in order. Does not own: paging
//! ([`crate::listing`]) or what the rules say ([`crate::select`], [`crate::rewrite`]). Invariants: names ascend, each comes once, so the
//! result can be merged with the destination's listing; memory is two pages for each prefix that is replaced.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt, stream};
use time::OffsetDateTime;

use crate::listing::{FixedEnd, ListingBounds};
use crate::rewrite::{Rewrite, Segment};
use crate::route::Route;
use crate::{Entry, KeyRange, Result, listing};

/// One object under its name: what is behind the prefix of its side, and for the source's, behind the destination's prefix too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// As its store lists it.
    pub entry: Entry,
    /// Whether the task is about it.
    pub standing: Standing,
    name: Name,
}

/// Whether the task is about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is.
    Selected,
    /// Its selection leaves it out.
    Excluded,
    /// It is, and about these as well, which would have the same name.
    Contested(Vec<Entry>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    /// The key's own, behind so many bytes of prefix.
    Kept(usize),
    New(String),
}

impl Listed {
    /// A selected object that keeps its name.
    pub fn plain(entry: Entry, prefix: &str) -> Self {
        Self { entry, standing: Standing::Selected, name: Name::Kept(prefix.len()) }
    }

    /// An object of a route's source.
    pub fn at_source(route: &Route, entry: Entry, now: OffsetDateTime) -> Self {
        let task = &route.task;
        let relative = entry.key.strip_prefix(&task.source.prefix).unwrap_or_default();
        let standing =
            if task.select.admits(relative, &entry, now) { Standing::Selected } else { Standing::Excluded };
        let name = match task.rewrite.apply(relative) {
            std::borrow::Cow::Borrowed(_) => Name::Kept(task.source.prefix.len()),
            std::borrow::Cow::Owned(name) => Name::New(name),
        };
        Self { entry, standing, name }
    }

    /// The name.
    pub fn name(&self) -> &str {
        match &self.name {
            Name::Kept(prefix_bytes) => self.entry.key.as_str().get(*prefix_bytes..).unwrap_or_default(),
            Name::New(name) => name,
        }
    }
}

/// Objects in the order of their names.
pub type ListedStream = Pin<Box<dyn Stream<Item = Result<Listed>> + Send>>;

/// Whether the source's keys are listed in the order of their names by one listing, so that many ranges of them can be listed at once.
pub fn keeps_order(route: &Route) -> bool {
    route.task.rewrite.is_identity()
}

/// Lists the source's objects whose names lie in a range that has no gaps, and whose end may move where [`keeps_order`] holds.
pub fn list(
    route: &Arc<Route>,
    range: &KeyRange,
    now: OffsetDateTime,
    bounds: &Arc<dyn ListingBounds>,
) -> ListedStream {
    let rewrite = &route.task.rewrite;
    let mut segments: Vec<ListedStream> = rewrite
        .segments()
        .filter_map(|segment| {
            let behind = range_behind(range, segment.to)?;
            // A piece of a range that cannot move ends where it ends.
            let bounds = keeps_order(route).then(|| Arc::clone(bounds));
            Some(list_segment(route, segment, &behind, now, bounds))
        })
        .collect();
    match segments.pop() {
        None => Box::pin(stream::empty()),
        Some(only) if segments.is_empty() => only,
        Some(last) => {
            segments.push(last);
            Box::pin(merge(segments))
        }
    }
}

/// Lists the destination's objects whose names lie in the range.
pub fn list_destination(route: &Arc<Route>, range: &KeyRange) -> ListedStream {
    list_destination_within(route, range, Arc::new(FixedEnd(range.until.clone())))
}

/// Lists the destination's objects whose names lie in the range, whose end may move.
pub fn list_destination_within(
    route: &Arc<Route>,
    range: &KeyRange,
    bounds: Arc<dyn ListingBounds>,
) -> ListedStream {
    let prefix = route.task.destination.prefix.clone();
    let (store, habits) = (Arc::clone(&route.destination), Arc::clone(&route.destination_habits));
    let entries = listing::list_within(store, &prefix, range.after.clone(), bounds, habits);
    Box::pin(entries.map(move |entry| Ok(Listed::plain(entry?, &prefix))))
}

/// Lists the keys of one segment; the range is of what follows its prefix.
fn list_segment(
    route: &Arc<Route>,
    segment: Segment<'_>,
    range: &KeyRange,
    now: OffsetDateTime,
    bounds: Option<Arc<dyn ListingBounds>>,
) -> ListedStream {
    let prefix = format!("{}{}", route.task.source.prefix, segment.from);
    let pieces = around(&route.task.rewrite, segment, range);
    let (store, habits, lister) =
        (Arc::clone(&route.source), Arc::clone(&route.source_habits), prefix.clone());
    // Each piece is begun when the one before has ended.
    let entries = stream::iter(pieces).flat_map(move |piece| {
        let end = bounds.clone().unwrap_or_else(|| Arc::new(FixedEnd(piece.until)));
        listing::list_within(Arc::clone(&store), &lister, piece.after, end, Arc::clone(&habits))
    });
    let (route, from) = (Arc::clone(route), segment.from.to_owned());
    Box::pin(entries.filter_map(move |entry| {
        let listed = entry.map(|entry| {
            let relative = entry.key.strip_prefix(&route.task.source.prefix).unwrap_or_default();
            let is_of_segment = route.task.rewrite.segment_of(relative).from == from;
            let is_wanted = is_of_segment && route.task.keys.covers(entry.key.as_str());
            is_wanted.then(|| Listed::at_source(&route, entry, now))
        });
        std::future::ready(listed.transpose())
    }))
}

/// What is left of a range of names behind a prefix that all of them have; `None` where no name in the range has it.
fn range_behind(range: &KeyRange, prefix: &str) -> Option<KeyRange> {
    let after = match range.after.as_deref() {
        Some(after) if after.starts_with(prefix) => Some(after[prefix.len()..].to_owned()),
        Some(after) if after > prefix => return None,
        _ => None,
    };
    let until = match range.until.as_deref() {
        Some(until) if until.starts_with(prefix) => Some(until[prefix.len()..].to_owned()),
        Some(until) if until < prefix => return None,
        _ => None,
    };
    Some(KeyRange { after, until })
}

/// The range without the prefixes that belong to other segments, so that their keys are not listed twice. Keys at the very edge
/// of a hole may still come and are left to the caller.
fn around(rewrite: &Rewrite, segment: Segment<'_>, range: &KeyRange) -> Vec<KeyRange> {
    let mut pieces = Vec::new();
    let mut rest = range.clone();
    for hole in rewrite.holes_of(segment) {
        let hole = &hole[segment.from.len()..];
        // No character is greater, so nothing but keys of the hole lies between the two.
        let end = format!("{hole}{}", char::MAX);
        if rest.is_past(hole) {
            break;
        }
        if rest.after.as_deref().is_none_or(|after| after < hole) {
            pieces.push(KeyRange { after: rest.after.clone(), until: Some(hole.to_owned()) });
        }
        if rest.after.as_deref().is_none_or(|after| after < end.as_str()) {
            rest.after = Some(end);
        }
    }
    if rest.after.as_deref().is_none_or(|after| !rest.is_past(after)) {
        pieces.push(rest);
    }
    pieces
}

/// Merges listings, each in the order of its names, into one. Objects that would have the same name come as one that is contested,
/// unless the selection leaves all but one of them out.
fn merge(listings: Vec<ListedStream>) -> impl Stream<Item = Result<Listed>> + Send {
    let heads: Vec<_> = listings.into_iter().map(StreamExt::peekable).map(Box::pin).collect();
    stream::try_unfold(heads, |mut heads| async move {
        let mut least: Option<(usize, String)> = None;
        for (index, head) in heads.iter_mut().enumerate() {
            match head.as_mut().peek().await {
                Some(Ok(listed)) if least.as_ref().is_none_or(|(_, name)| listed.name() < name.as_str()) => {
                    least = Some((index, listed.name().to_owned()));
                }
                // Taken below, before anything of a later name.
                Some(Err(_)) => {
                    return head.next().await.transpose().map(|listed| listed.map(|l| (l, heads)));
                }
                _ => {}
            }
        }
        let Some((first, name)) = least else { return Ok(None) };
        let mut claimants = Vec::new();
        for head in heads.iter_mut().skip(first) {
            let claims = |listed: &Result<Listed>| listed.as_ref().is_ok_and(|listed| listed.name() == name);
            if let Some(listed) = head.as_mut().next_if(claims).await {
                claimants.push(listed?);
            }
        }
        Ok(settle(claimants).map(|listed| (listed, heads)))
    })
}

/// Of several objects that would have one name: the only selected one, or any that is not, or one that is contested.
fn settle(claimants: Vec<Listed>) -> Option<Listed> {
    let (mut selected, mut excluded): (Vec<Listed>, Vec<Listed>) =
        claimants.into_iter().partition(|listed| listed.standing == Standing::Selected);
    let rivals = selected.split_off(selected.len().min(1));
    let mut listed = selected.pop().or_else(|| excluded.pop())?;
    if !rivals.is_empty() {
        listed.standing = Standing::Contested(rivals.into_iter().map(|rival| rival.entry).collect());
    }
    Some(listed)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::rewrite::PrefixRule;
    use crate::{Error, ErrorKind, Key};

    fn entry(key: &str) -> Entry {
        Entry {
            key: Key::new(key).expect("key"),
            size_bytes: 1,
            etag: None,
            last_modified: None,
            storage_class: None,
        }
    }

    fn listed(key: &str, rewrite: &Rewrite) -> Listed {
        Listed {
            entry: entry(key),
            standing: Standing::Selected,
            name: Name::New(rewrite.apply(key).into_owned()),
        }
    }

    fn rewrites() -> impl Strategy<Value = Rewrite> {
        prop::collection::btree_map("[ab]{0,2}", "[ab]{0,2}", 0..4).prop_map(|rules| {
            let rules = rules.into_iter().map(|(from, to)| PrefixRule { from, to }).collect();
            Rewrite::new(rules).expect("keys of a map differ")
        })
    }

    fn ranges() -> impl Strategy<Value = KeyRange> {
        let end = || prop::option::of("[abc]{0,3}");
        (end(), end()).prop_map(|(after, until)| KeyRange { after, until })
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().expect("runtime").block_on(future)
    }

    proptest! {
        /// What the listings of all segments give over a range, merged, is every key of the range once, under its new name.
        #[test]
        fn a_merge_of_segments_equals_the_model(
            rewrite in rewrites(),
            keys in prop::collection::btree_set("[abc]{1,4}", 0..30),
            range in ranges(),
        ) {
            let mut model: BTreeMap<String, Vec<&String>> = BTreeMap::new();
            for key in keys.iter().filter(|key| range.contains(&rewrite.apply(key))) {
                model.entry(rewrite.apply(key).into_owned()).or_default().push(key);
            }
            let listings = rewrite.segments().filter_map(|segment| {
                let pieces = around(&rewrite, segment, &range_behind(&range, segment.to)?);
                let found = pieces.iter().flat_map(|piece| {
                    keys.iter().filter(move |key| {
                        key.strip_prefix(segment.from).is_some_and(|behind| piece.contains(behind))
                    })
                });
                let entries: Vec<_> = found
                    .filter(|key| rewrite.segment_of(key) == segment)
                    .map(|key| Ok(listed(key, &rewrite)))
                    .collect();
                Some(Box::pin(stream::iter(entries)) as ListedStream)
            });
            let merged: Vec<Listed> = run(merge(listings.collect()).map(|listed| listed.expect("no error")).collect());
            prop_assert_eq!(merged.len(), model.len());
            for (listed, (name, origins)) in merged.iter().zip(&model) {
                prop_assert_eq!(listed.name(), name);
                let rivals = match &listed.standing {
                    Standing::Contested(rivals) => rivals.len(),
                    _ => 0,
                };
                prop_assert_eq!(rivals, origins.len() - 1);
            }
        }
    }

    #[test]
    fn an_object_that_is_left_out_contests_nothing() {
        let rewrite = Rewrite::new(vec![PrefixRule { from: "a".into(), to: "b".into() }]).expect("rule");
        let excluded = Listed { standing: Standing::Excluded, ..listed("a", &rewrite) };
        let listings: Vec<ListedStream> =
            vec![Box::pin(stream::iter([Ok(excluded)])), Box::pin(stream::iter([Ok(listed("b", &rewrite))]))];
        let merged: Vec<Listed> = run(merge(listings).map(|listed| listed.expect("no error")).collect());
        assert_eq!(merged.len(), 1);
        assert_eq!((merged[0].entry.key.as_str(), &merged[0].standing), ("b", &Standing::Selected));
    }

    #[test]
    fn an_error_of_one_listing_is_an_error_of_the_merge() {
        let rewrite = Rewrite::default();
        let broken =
            stream::iter([Ok(listed("a", &rewrite)), Err(Error::new(ErrorKind::Transient, "page 2"))]);
        let listings: Vec<ListedStream> =
            vec![Box::pin(stream::iter([Ok(listed("b", &rewrite))])), Box::pin(broken)];
        let merged: Vec<Result<Listed>> = run(merge(listings).collect());
        assert!(merged[0].is_ok() && merged[1].is_err() && merged.len() == 2);
    }
}
