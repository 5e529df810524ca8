//! Lists and compares both sides over one range of keys.
//!
//! Owns: the findings, in order of names. Does not own:
//! what to do about a finding: the finder makes jobs of it, a plan counts it, a verification reports it. Invariants: memory
//! does not grow with the number of keys; a listing that did not end cleanly ends the scan as an error.

pub(crate) mod judge;

use std::sync::Arc;

use self::judge::Judge;
use crate::compare::{Evidence, Reason};
use crate::diff::MergeJoin;
use crate::route::Route;
use crate::source_listing::{ListedStream, list, list_destination};
use crate::{Entry, KeyRange, Result};

/// One key, and what is to be thought of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// At the source only.
    Missing(Entry),
    /// On both sides, different.
    Different {
        /// At the source.
        source: Entry,
        /// At the destination.
        destination: Entry,
        /// How they differ.
        reason: Reason,
    },
    /// On both sides, the same.
    Same {
        /// At the source.
        source: Entry,
        /// At the destination.
        destination: Entry,
        /// How that is known.
        evidence: Evidence,
    },
    /// At the destination only, and the task is about it.
    Extra(Entry),
    /// At the source, and the task's selection leaves it out. What the destination has of that name is left alone.
    Excluded(Entry),
    /// Objects of the source that would share a name at the destination, as many of them as were met together: none can be copied.
    Contested(Vec<Entry>),
    /// Without a name on the other side: named exactly like its side's prefix while the other side has none, or, at the
    /// destination, named as the task's rewriting names nothing.
    Nameless(Entry),
}

/// A scan under way. See the module.
#[derive(Debug)]
pub struct Scan {
    judge: Judge,
    join: MergeJoin<ListedStream, ListedStream>,
}

impl Scan {
    /// Begins to list both sides over the range.
    pub fn new(route: Arc<Route>, range: &KeyRange) -> Self {
        let now = route.clock.now();
        let join = MergeJoin::new(list(&route, range, now), list_destination(&route, range));
        Self { judge: Judge::new(route), join }
    }

    /// The next finding in order of names; `None` when both listings have ended cleanly.
    pub async fn next(&mut self) -> Result<Option<Finding>> {
        while let Some(pair) = self.join.next().await? {
            if let Some(finding) = self.judge.finding(pair).await? {
                return Ok(Some(finding));
            }
        }
        Ok(None)
    }
}
