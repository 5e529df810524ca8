//! How much of an object's past travels.
//!
//! Owns: the rule of a task, what must hold for it to be followed, and what the histories of a key on both sides say of each other.
//! Does not own: copying what is missing ([`crate::agree`]) or listing a bucket's keys ([`keys`]). Invariant: a history only ever
//! grows at its end: what the destination has of its own is never removed, replaced or put in another order.

mod keys;

use serde::{Deserialize, Serialize};

use crate::compare::{KnownETags, etags_tell};
use crate::restore_rule::RestoreRule;
use crate::route::Route;
use crate::select::Select;
use crate::store::{Cursor, ListVersionsRequest, Version, Versioning};
use crate::task::{Deletes, Task, UnsupportedRule};
use crate::{Error, ErrorKind, Key, Result, SharedStore};

pub use keys::{KeyWithHistory, keys};

/// Which versions of an object a task is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Versions {
    /// The one that is there now.
    #[default]
    Latest,
    /// Every version and every delete marker, oldest first. Each key costs a listing on either side, in every run.
    All,
}

/// What the histories of one key say of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// They are the same.
    Same,
    /// The destination has the source's first so many versions, and nothing else.
    Behind(usize),
    /// After so many equal versions the destination has one that the source has not, at least not there.
    Diverged(usize),
}

/// Compares two histories, each oldest first, by kind, size and ETag, as far as the two stores' ETags can be compared.
pub fn compare_histories(source: &[Version], destination: &[Version], known: KnownETags) -> Standing {
    let alike = source.iter().zip(destination).take_while(|(ours, theirs)| are_alike(ours, theirs, known));
    match alike.count() {
        alike if alike < destination.len() => Standing::Diverged(alike),
        alike if alike < source.len() => Standing::Behind(alike),
        _ => Standing::Same,
    }
}

fn are_alike(source: &Version, destination: &Version, known: KnownETags) -> bool {
    let tags = source.entry.etag.as_ref().zip(destination.entry.etag.as_ref());
    source.kind == destination.kind
        && source.entry.size_bytes == destination.entry.size_bytes
        && tags.is_none_or(|(ours, theirs)| etags_tell(ours, theirs, known) != Some(false))
}

/// The whole history of exactly this key, oldest first; empty where the store has never heard of it.
pub(crate) async fn history(store: &SharedStore, key: &Key) -> Result<Vec<Version>> {
    let mut history = Vec::new();
    let mut cursor: Option<Cursor> = None;
    loop {
        let request = ListVersionsRequest {
            prefix: key.as_str().to_owned(),
            cursor: cursor.clone(),
            ..ListVersionsRequest::default()
        };
        let page = store.list_versions(request).await.map_err(|error| error.on_key(key.as_str()))?;
        // Of all keys that begin so, the key itself comes first.
        let is_past = page.versions.last().is_some_and(|version| version.entry.key != *key);
        history.extend(page.versions.into_iter().filter(|version| version.entry.key == *key));
        if is_past || page.next.is_none() {
            break;
        }
        if page.next == cursor {
            let message = "the listing of versions does not advance";
            return Err(Error::new(ErrorKind::Unsupported, message).on_key(key.as_str()));
        }
        cursor = page.next;
    }
    history.reverse();
    Ok(history)
}

/// Refuses a task that is about all versions and cannot be followed: for what it says beside that, or because one of its buckets keeps
/// no versions. Asks each store once for as long as the route lives.
pub async fn ensure_kept(route: &Route) -> Result<()> {
    if route.task.versions == Versions::Latest {
        return Ok(());
    }
    let asked = route.keeps_versions.get_or_try_init(|| async {
        ensure_followable(&route.task)?;
        for store in [&route.source, &route.destination] {
            let problem = match store.versioning().await {
                Ok(Versioning::Enabled) => continue,
                Ok(Versioning::Suspended) => "has stopped keeping versions".to_owned(),
                Ok(Versioning::Never) => "keeps no versions".to_owned(),
                Err(error) if error.kind() == ErrorKind::Unsupported => {
                    format!("cannot be asked for versions ({})", error.chain())
                }
                Err(error) => return Err(error),
            };
            return Err(wrong(format!(
                "--versions all needs two buckets that keep versions, and {} {problem}: enable versioning there, or copy \
                 what is there now with --versions latest",
                store.name()
            )));
        }
        Ok(())
    });
    asked.await.copied()
}

fn ensure_followable(task: &Task) -> Result<()> {
    let by_key_alone = Select { rules: task.select.rules.clone(), ..Select::default() };
    let conflict = if task.deletes != Deletes::Keep {
        "delete markers travel as part of the history: leave --delete out"
    } else if !task.keys.is_listed() {
        "a list or an inventory names keys, not histories: leave it out"
    } else if !task.rewrite.is_identity() {
        "keys that became one at the destination would have their histories mixed: leave --rewrite-prefix out"
    } else if task.select != by_key_alone {
        "a history with holes could not be continued: select by key alone, not by size, age or storage class"
    } else if task.unsupported == UnsupportedRule::Sidecar {
        "one document beside a key could not say which of its versions it is about: choose --unsupported fail or drop"
    } else if task.restore != RestoreRule::Skip {
        "a history waits for its oldest version, and a restore of each would cost more than it looks: restore what is to \
         travel first, and leave --restore out"
    } else {
        return Ok(());
    };
    Err(wrong(format!("--versions all: {conflict}")))
}

fn wrong(message: String) -> Error {
    Error::new(ErrorKind::Configuration, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::VersionKind;
    use crate::{ETag, Entry, Support};

    const COMPARABLE: KnownETags =
        KnownETags { source_is_md5: Support::Yes, destination_is_md5: Support::Yes };

    /// One of few contents, so that equal neighbours and equal histories are common; 0 is a delete marker.
    fn version(content: u8) -> Version {
        let key = Key::new("k").expect("key");
        let (entry, kind) = if content == 0 {
            (Entry::marker(key, None), VersionKind::DeleteMarker)
        } else {
            let entry = Entry {
                key,
                size_bytes: u64::from(content / 2),
                etag: Some(ETag::from_md5([content; 16])),
                last_modified: None,
                storage_class: None,
            };
            (entry, VersionKind::Object)
        };
        Version { entry, version_id: format!("v{content}"), kind }
    }

    fn history_of(contents: &[u8]) -> Vec<Version> {
        contents.iter().copied().map(version).collect()
    }

    fn contents() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(0_u8..4, 0..8)
    }

    proptest! {
        #[test]
        fn the_verdict_is_that_of_the_model(source in contents(), destination in contents()) {
            let standing = compare_histories(&history_of(&source), &history_of(&destination), COMPARABLE);
            let is_prefix = source.starts_with(&destination);
            match standing {
                Standing::Same => prop_assert_eq!(source, destination),
                Standing::Behind(have) => {
                    prop_assert!(is_prefix && have == destination.len() && have < source.len());
                }
                Standing::Diverged(alike) => {
                    prop_assert!(!is_prefix);
                    prop_assert_eq!(&source[..alike], &destination[..alike]);
                    prop_assert_ne!(source.get(alike), destination.get(alike));
                }
            }
        }

        /// However often a copy is killed, wherever it was, going on where the destination ends makes the two the same.
        #[test]
        fn a_copy_that_was_cut_short_goes_on(source in contents(), cuts in prop::collection::vec(0_usize..4, 0..4)) {
            let source = history_of(&source);
            let mut destination: Vec<Version> = Vec::new();
            for most in cuts.into_iter().chain([usize::MAX]) {
                match compare_histories(&source, &destination, COMPARABLE) {
                    Standing::Same => break,
                    Standing::Behind(have) => destination.extend(source.iter().skip(have).take(most).cloned()),
                    Standing::Diverged(_) => prop_assert!(false, "a prefix has not diverged"),
                }
            }
            prop_assert_eq!(compare_histories(&source, &destination, COMPARABLE), Standing::Same);
        }
    }

    #[test]
    fn tags_that_cannot_be_compared_leave_it_to_kind_and_size() {
        let incomparable = KnownETags { source_is_md5: Support::No, ..COMPARABLE };
        // 2 and 3 are of one size.
        let (ours, theirs) = (history_of(&[2, 0]), history_of(&[3, 0]));
        assert_eq!(compare_histories(&ours, &theirs, COMPARABLE), Standing::Diverged(0));
        assert_eq!(compare_histories(&ours, &theirs, incomparable), Standing::Same);
        assert_eq!(
            compare_histories(&ours, &history_of(&[3, 1]), incomparable),
            Standing::Diverged(1),
            "a marker is no empty object"
        );
    }
}
