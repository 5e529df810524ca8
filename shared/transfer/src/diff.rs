//! Two ordered listings, merged into pairs.
//!
//! Owns: the merge join. Does not own: fetching the listings ([`crate::listing`]) or judging a pair ([`crate::compare`]).
//! Invariants: every key of either side comes out exactly once; memory is one entry a side; the first error of either side
//! ends the merge as an error.

use std::cmp::Ordering;

use futures::{Stream, StreamExt};

use crate::source_listing::Listed;
use crate::{Error, Result};

/// One name, and where it was listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pair {
    /// Only at the source.
    SourceOnly(Listed),
    /// Only at the destination.
    DestinationOnly(Listed),
    /// On both sides.
    Both {
        /// At the source.
        source: Listed,
        /// At the destination.
        destination: Listed,
    },
}

/// Merges two listings by the names that objects have behind the prefix of their side.
pub struct MergeJoin<S, D> {
    source: Side<S>,
    destination: Side<D>,
}

struct Side<S> {
    entries: S,
    head: Head,
}

enum Head {
    Unread,
    Entry(Listed),
    End,
}

impl<S> Side<S>
where
    S: Stream<Item = Result<Listed>> + Unpin,
{
    fn new(entries: S) -> Self {
        Self { entries, head: Head::Unread }
    }

    async fn fill(&mut self) -> Result<(), Error> {
        if matches!(self.head, Head::Unread) {
            self.head = match self.entries.next().await.transpose()? {
                Some(entry) => Head::Entry(entry),
                None => Head::End,
            };
        }
        Ok(())
    }

    fn name(&self) -> Option<&str> {
        match &self.head {
            Head::Entry(listed) => Some(listed.name()),
            Head::Unread | Head::End => None,
        }
    }

    fn take(&mut self) -> Option<Listed> {
        match std::mem::replace(&mut self.head, Head::Unread) {
            Head::Entry(entry) => Some(entry),
            other => {
                self.head = other;
                None
            }
        }
    }
}

impl<S, D> MergeJoin<S, D>
where
    S: Stream<Item = Result<Listed>> + Unpin,
    D: Stream<Item = Result<Listed>> + Unpin,
{
    /// Both streams must ascend by name.
    pub fn new(source: S, destination: D) -> Self {
        Self { source: Side::new(source), destination: Side::new(destination) }
    }

    /// The next pair in order of names; `None` when both listings have ended.
    pub async fn next(&mut self) -> Result<Option<Pair>> {
        self.source.fill().await?;
        self.destination.fill().await?;
        let order = match (self.source.name(), self.destination.name()) {
            (None, None) => return Ok(None),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(source), Some(destination)) => source.cmp(destination),
        };
        Ok(match order {
            Ordering::Less => self.source.take().map(Pair::SourceOnly),
            Ordering::Greater => self.destination.take().map(Pair::DestinationOnly),
            Ordering::Equal => match (self.source.take(), self.destination.take()) {
                (Some(source), Some(destination)) => Some(Pair::Both { source, destination }),
                _ => None,
            },
        })
    }
}

impl<S, D> std::fmt::Debug for MergeJoin<S, D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MergeJoin").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use futures::stream;
    use proptest::prelude::*;

    use super::*;
    use crate::{Entry, ErrorKind, Key};

    fn entries(prefix: &str, keys: &BTreeMap<String, u64>) -> Vec<Result<Listed>> {
        keys.iter()
            .map(|(key, size)| {
                let entry = Entry {
                    key: Key::new(format!("{prefix}{key}")).expect("key"),
                    size_bytes: *size,
                    etag: None,
                    last_modified: None,
                    storage_class: None,
                };
                Ok(Listed::plain(entry, prefix))
            })
            .collect()
    }

    async fn merge(source: &BTreeMap<String, u64>, destination: &BTreeMap<String, u64>) -> Vec<Pair> {
        let mut join =
            MergeJoin::new(stream::iter(entries("s/", source)), stream::iter(entries("dd/", destination)));
        let mut pairs = Vec::new();
        while let Some(pair) = join.next().await.expect("no errors") {
            pairs.push(pair);
        }
        pairs
    }

    fn keys() -> impl Strategy<Value = BTreeMap<String, u64>> {
        // Few characters, so that the two sides overlap; awkward ones, so that byte order shows.
        prop::collection::btree_map("[ab/é\u{10FFFF}\u{1}]{1,3}", 0u64..3, 0..40)
    }

    proptest! {
        #[test]
        fn a_merge_equals_the_model_on_sets(source in keys(), destination in keys()) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
            let pairs = runtime.block_on(merge(&source, &destination));
            let all: BTreeSet<&String> = source.keys().chain(destination.keys()).collect();
            prop_assert_eq!(pairs.len(), all.len());
            for (pair, key) in pairs.iter().zip(all) {
                let found = match pair {
                    Pair::SourceOnly(s) => (Some(s.entry.size_bytes), None),
                    Pair::DestinationOnly(d) => (None, Some(d.entry.size_bytes)),
                    Pair::Both { source, destination } => {
                        (Some(source.entry.size_bytes), Some(destination.entry.size_bytes))
                    }
                };
                prop_assert_eq!(found, (source.get(key).copied(), destination.get(key).copied()));
            }
        }
    }

    #[tokio::test]
    async fn an_error_ends_the_merge_as_an_error() {
        let mut listing = entries("", &BTreeMap::from([("a".to_owned(), 1)]));
        listing.push(Err(Error::new(ErrorKind::Transient, "page 2")));
        let mut join = MergeJoin::new(stream::iter(listing), stream::iter(Vec::new()));
        assert!(matches!(join.next().await, Ok(Some(Pair::SourceOnly(_)))));
        assert!(join.next().await.is_err());
    }
}
