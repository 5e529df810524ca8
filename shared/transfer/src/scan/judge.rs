//! What is to be thought of a pair.
//!
//! Owns: the proof by looking that decides whether two stores' ETags can be compared, once a scan, whichever range needs it first.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::checksum::{DigestSet, digest};
use crate::compare::{CompareMode, Reason, Verdict, compare};
use crate::diff::Pair;
use crate::route::Route;
use crate::source_listing::{Listed, Standing};
use crate::store::{GetRequest, HeadRequest};
use crate::{ETagCheck, ETagRule, Encryption, Entry, ErrorKind, Result, SharedStore, Support};

use super::Finding;

/// Objects up to this size are read once to find out whether a store's ETags are MD5s.
const PROBE_BYTES_MAX: u64 = 1 << 20;

/// Judges pairs for all ranges of a scan.
#[derive(Debug)]
pub(crate) struct Judge {
    route: Arc<Route>,
    looked: Mutex<bool>,
}

impl Judge {
    pub(crate) fn new(route: Arc<Route>) -> Self {
        Self { route, looked: Mutex::new(false) }
    }

    /// `None` for an object of the destination that the task is not about, and for what lies in its trash.
    pub(crate) async fn finding(&self, pair: Pair) -> Result<Option<Finding>> {
        if self.is_in_trash(&pair) {
            return Ok(None);
        }
        let (source, destination) = match pair {
            Pair::SourceOnly(source) => (source, None),
            Pair::Both { source, destination } => (source, Some(destination.entry)),
            Pair::DestinationOnly(destination) => return Ok(self.extra(destination.entry)),
        };
        let Listed { entry: source, standing, .. } = source;
        match standing {
            Standing::Selected => {}
            Standing::Excluded => return Ok(Some(Finding::Excluded(source))),
            Standing::Contested(mut rivals) => {
                rivals.insert(0, source);
                return Ok(Some(Finding::Contested(rivals)));
            }
        }
        Ok(Some(match destination {
            None if self.route.destination_key(&source.key).is_err() => Finding::Nameless(source),
            None => Finding::Missing(source),
            Some(destination) => match self.verdict(&source, &destination).await? {
                Verdict::Same(evidence) => Finding::Same { source, destination, evidence },
                Verdict::Different(reason) => Finding::Different { source, destination, reason },
            },
        }))
    }

    /// What lies in the trash is no copy of anything; nor is it replaced by what the source has under that name.
    fn is_in_trash(&self, pair: &Pair) -> bool {
        match pair {
            _ if self.route.trash.is_none() => false,
            Pair::SourceOnly(source) => {
                self.route.destination_key(&source.entry.key).is_ok_and(|key| self.route.is_in_trash(&key))
            }
            Pair::DestinationOnly(destination) | Pair::Both { destination, .. } => {
                self.route.is_in_trash(&destination.entry.key)
            }
        }
    }

    fn extra(&self, destination: Entry) -> Option<Finding> {
        let origins = self.route.source_keys(&destination.key);
        if origins.is_empty() {
            return Some(Finding::Nameless(destination));
        }
        let is_selected = origins.iter().any(|key| self.route.selects(key, &destination));
        let is_copy = is_selected && !self.route.is_sidecar(&destination.key);
        is_copy.then_some(Finding::Extra(destination))
    }

    async fn verdict(&self, source: &Entry, destination: &Entry) -> Result<Verdict> {
        let mode = self.route.task.compare;
        let compared = || compare(mode, source, destination, self.route.known_etags());
        let verdict = compared();
        // Equal sizes, a copy that is not older, and yet other MD5s: either a change, or tags that only look like MD5s
        // (SSE-KMS, or a store with rules of its own). One look, once a scan, tells; else every run would copy everything.
        let suspicious = verdict == Verdict::Different(Reason::Etag)
            && mode == CompareMode::Auto
            && source.last_modified <= destination.last_modified;
        if !suspicious {
            return Ok(verdict);
        }
        let mut looked = self.looked.lock().await;
        if *looked {
            // Somebody may have looked between the comparison and the lock.
            return Ok(compared());
        }
        *looked = true;
        let sides = [
            (&self.route.destination, &self.route.destination_etags, destination),
            (&self.route.source, &self.route.source_etags, source),
        ];
        for (store, rule, entry) in sides {
            match look_at(store, rule, entry).await {
                Ok(()) => {}
                // It changed since it was listed; the next suspicious pair will tell.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PreconditionFailed) => {
                    *looked = false;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(compared())
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
    let md5 = digest(&bytes, DigestSet::MD5).md5.unwrap_or_default();
    if rule.check(&etag, head.encryption, md5) == ETagCheck::Mismatch {
        rule.disprove();
    }
    Ok(())
}
