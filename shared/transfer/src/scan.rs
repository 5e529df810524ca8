//! Lists and compares both sides over one range of keys.
//!
//! Owns: the findings, in key order, and the proof by looking that decides whether two stores' ETags can be compared. Does not own:
//! what to do about a finding: the finder makes jobs of it, a plan counts it, a verification reports it. Invariants: memory
//! does not grow with the number of keys; a listing that did not end cleanly ends the scan as an error.

use std::sync::Arc;

use crate::checksum::{DigestSet, digest};
use crate::compare::{CompareMode, Evidence, Reason, Verdict, compare};
use crate::diff::{MergeJoin, Pair};
use crate::route::Route;
use crate::source_listing::{Listed, ListedStream, Standing, list, list_destination};
use crate::store::{GetRequest, HeadRequest};
use crate::{ETagCheck, ETagRule, Encryption, Entry, ErrorKind, KeyRange, Result, SharedStore, Support};

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
    /// Several objects of the source that would have one name at the destination: none of them can be copied.
    Contested(Vec<Entry>),
    /// Without a name on the other side: named exactly like its side's prefix while the other side has none, or, at the
    /// destination, named as the task's rewriting names nothing.
    Nameless(Entry),
}

/// A scan under way. See the module.
#[derive(Debug)]
pub struct Scan {
    route: Arc<Route>,
    mode: CompareMode,
    join: MergeJoin<ListedStream, ListedStream>,
    looked: bool,
}

/// Objects up to this size are read once to find out whether a store's ETags are MD5s.
const PROBE_BYTES_MAX: u64 = 1 << 20;

impl Scan {
    /// Begins to list both sides over the range.
    pub fn new(route: Arc<Route>, range: &KeyRange) -> Self {
        let now = route.clock.now();
        let join = MergeJoin::new(list(&route, range, now), list_destination(&route, range));
        Self { mode: route.task.compare, join, looked: false, route }
    }

    /// The next finding in order of names; `None` when both listings have ended cleanly.
    pub async fn next(&mut self) -> Result<Option<Finding>> {
        while let Some(pair) = self.join.next().await? {
            let finding = match pair {
                Pair::SourceOnly(source) => self.settle(source, None).await?,
                Pair::Both { source, destination } => self.settle(source, Some(destination.entry)).await?,
                Pair::DestinationOnly(destination) => match self.settle_extra(destination.entry) {
                    Some(finding) => finding,
                    None => continue,
                },
            };
            return Ok(Some(finding));
        }
        Ok(None)
    }

    async fn settle(&mut self, source: Listed, destination: Option<Entry>) -> Result<Finding> {
        let Listed { entry: source, standing, .. } = source;
        match standing {
            Standing::Selected => {}
            Standing::Excluded => return Ok(Finding::Excluded(source)),
            Standing::Contested(mut rivals) => {
                rivals.insert(0, source);
                return Ok(Finding::Contested(rivals));
            }
        }
        Ok(match destination {
            None if self.route.destination_key(&source.key).is_err() => Finding::Nameless(source),
            None => Finding::Missing(source),
            Some(destination) => match self.judge(&source, &destination).await? {
                Verdict::Same(evidence) => Finding::Same { source, destination, evidence },
                Verdict::Different(reason) => Finding::Different { source, destination, reason },
            },
        })
    }

    /// `None` where the task is not about it.
    fn settle_extra(&self, destination: Entry) -> Option<Finding> {
        let origins = self.route.source_keys(&destination.key);
        if origins.is_empty() {
            return Some(Finding::Nameless(destination));
        }
        let is_selected = origins.iter().any(|key| self.route.selects(key, &destination));
        is_selected.then_some(Finding::Extra(destination))
    }

    async fn judge(&mut self, source: &Entry, destination: &Entry) -> Result<Verdict> {
        let verdict = compare(self.mode, source, destination, self.route.known_etags());
        // Equal sizes, a copy that is not older, and yet other MD5s: either a change, or tags that only look like MD5s
        // (SSE-KMS, or a store with rules of its own). One look, once a scan, tells; else every run would copy everything.
        let suspicious = verdict == Verdict::Different(Reason::Etag)
            && self.mode == CompareMode::Auto
            && source.last_modified <= destination.last_modified;
        if !suspicious || self.looked {
            return Ok(verdict);
        }
        self.looked = true;
        let route = Arc::clone(&self.route);
        let sides = [
            (&route.destination, &route.destination_etags, destination),
            (&route.source, &route.source_etags, source),
        ];
        for (store, rule, entry) in sides {
            match look_at(store, rule, entry).await {
                Ok(()) => {}
                // It changed since it was listed; the next suspicious pair will tell.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PreconditionFailed) => {
                    self.looked = false;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(compare(self.mode, source, destination, self.route.known_etags()))
    }
}

/// Finds out whether a store's ETags are MD5s: by asking how the object is encrypted, and where the profile does not know the
/// rule, by reading a small object and computing its MD5.
async fn look_at(store: &SharedStore, rule: &ETagRule, entry: &Entry) -> Result<()> {
    let known = rule.is_md5();
    if known == Support::No {
        return Ok(());
    }
    let head = store.head(HeadRequest::of(&entry.key)).await?;
    if head.encryption != Encryption::StoreManaged {
        rule.disprove();
        return Ok(());
    }
    let Some(etag) =
        head.etag.clone().filter(|_| known == Support::Unknown && head.size_bytes <= PROBE_BYTES_MAX)
    else {
        return Ok(());
    };
    let get =
        GetRequest { key: entry.key.clone(), if_match: head.etag, version_id: head.version_id, range: None };
    let bytes = store.get(get).await?.body.collect().await?;
    let md5 = digest(&bytes, DigestSet { md5: true, crc64_xz: false }).md5.unwrap_or_default();
    if rule.check(&etag, head.encryption, md5) == ETagCheck::Mismatch {
        rule.disprove();
    }
    Ok(())
}
